package observe

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol"
)

// Conn observes one connection. Its methods are called one at a time: the tee
// sees to that while the connection is carried, and before and after there is
// only one goroutine that knows it. Only State may be called at any time.
type Conn struct {
	o    *Observer
	link pair.Link
	// last is the latest time that was told. No earlier one counts after it,
	// whatever clock it comes from: no duration is negative.
	last int64

	state  atomic.Uint32
	spoken atomic.Pointer[protocol.Protocol]

	prefix prefix

	decoder *protocol.Driver
	pairs   *pair.Conn
	opaque  *pair.Opaque
	// carried are the bytes that were given to the decoder, by direction.
	carried [2]uint64
	// held is what the decoder keeps, as it counts against the budget.
	held int64
	// seq is the place of the next pair that the opaque part makes.
	seq uint64
	// why the rest is not decoded, and what its pair says about it.
	why   string
	flags []capturev1.Flag
	tags  []protocol.Attr
	cause tee.Cause
}

type state uint32

const (
	detecting state = iota
	decoding
	// counting: the connection, or its rest, is opaque.
	counting
	// missing: capture was off while bytes passed.
	missing
	// lost: capture failed, and failed again on the way out.
	lost
)

func (s state) String() string {
	return [...]string{"detecting", "decoding", "opaque", "not captured", "failed"}[s]
}

// State says what is done with the connection, and which protocol it speaks
// as far as that is known. It may be called by any goroutine.
func (c *Conn) State() (doing, proto string) {
	if p := c.spoken.Load(); p != nil {
		proto = p.Name
	}
	return state(c.state.Load()).String(), proto
}

// Cause says how the connection ended: by a reset or a cut where there was
// one, else by the first FIN. It is for after Close.
func (c *Conn) Cause() tee.Cause { return c.cause }

func (c *Conn) is(s state) bool { return c.state.Load() == uint32(s) }
func (c *Conn) become(s state)  { c.state.Store(uint32(s)) }

// Connected says that the upstream was dialled.
func (c *Conn) Connected(server string, at int64) {
	c.link.Server, c.link.Connected = server, c.time(at)
	c.log("Connection established")
}

// time is at, or the latest time that was told.
func (c *Conn) time(at int64) int64 {
	c.last = max(c.last, at)
	return c.last
}

// DialFailed says that it could not be. The connection is over.
func (c *Conn) DialFailed(server string, at int64, err error) {
	defer c.recover()
	if !c.o.Capture() {
		return
	}
	c.link.Server = server
	c.o.set.Pairs.Opaque(&c.link, unread, nil, 0, c.time(at), "dial: "+Reason(err), capturev1.Flag_FLAG_NO_RESPONSE).Close("")
}

// unread is the protocol of what was not detected.
const unread = "opaque"

// Event takes what the tee hands over.
func (c *Conn) Event(e tee.Event) {
	defer c.recover()
	e.At = c.time(e.At)
	if e.Cause != tee.Going && (c.cause == tee.Going || c.cause.Clean() && !e.Cause.Clean()) {
		c.cause = e.Cause
	}
	if len(e.Bytes) > 0 && !c.o.capture.Load() {
		c.miss()
		return
	}
	c.take(e)
}

// take does with an event what the connection's state asks for.
func (c *Conn) take(e tee.Event) {
	switch state(c.state.Load()) {
	case detecting:
		c.detect(e)
	case decoding:
		c.decode(e)
	case counting:
		c.count(e)
	case missing:
		if len(e.Bytes) > 0 {
			c.flags = []capturev1.Flag{capturev1.Flag_FLAG_MIDSTREAM}
			c.become(counting)
			c.count(e)
		}
	case lost:
	}
}

// Close says that the connection is over.
func (c *Conn) Close() {
	defer c.recover()
	if c.is(detecting) && c.anything() && c.o.Capture() {
		c.decide(c.prefix.held, true)
		c.replay()
	}
	switch state(c.state.Load()) {
	case decoding:
		c.pairs.SetCause(c.cause.String())
		c.pairs.Close()
		c.dropDecoder()
	case counting:
		c.describe(nil)
		c.closeOpaque()
	case detecting, missing, lost:
	}
	c.forget()
}

// Idle says that the connection rests: nothing is open, and no message is
// half there.
func (c *Conn) Idle() bool {
	switch state(c.state.Load()) {
	case detecting:
		return !c.anything()
	case decoding:
		return c.pairs.Open() == 0 && c.held == 0
	default:
		return false
	}
}

// decode gives an event to the decoder.
func (c *Conn) decode(e tee.Event) {
	d := protocol.Direction(e.Dir)
	var err error
	if e.Cause == tee.Going {
		c.carried[d] += uint64(len(e.Bytes))
		err = c.decoder.Data(d, e.At, e.Bytes)
	} else {
		err = c.decoder.Close(d, e.At, e.Cause.Clean())
	}
	if err == nil {
		if err = c.afford(); err != nil {
			c.breakOff(e.At)
		}
	}
	if err != nil {
		c.undecodable(e.At, err)
		return
	}
	if e.Cause != tee.Going {
		c.pairs.SetCause(c.cause.String())
	}
	c.pairs.Settle()
}

// Reasons of afford.
var (
	errCrowded = fmt.Errorf("follow exchanges: more than %d are open at a time", pair.MaxOpen)
	errHeld    = fmt.Errorf("the decoder kept more than %d bytes", protocol.MaxHeld)
	errMemory  = errors.New("capture ran short of memory")
)

// afford says why decoding cannot go on, although the decoder could. It counts
// what the decoder keeps now.
func (c *Conn) afford() error {
	if c.pairs.Overflow() {
		return errCrowded
	}
	held := c.decoder.Held()
	if held > protocol.MaxHeld {
		return errHeld
	}
	more := int64(held) - c.held
	if more > 0 && !c.o.set.Budget.Take(budget.Pair, more) {
		return errMemory
	}
	if more < 0 {
		c.o.set.Budget.Give(-more)
	}
	c.held += more
	return nil
}

// breakOff has the decoder end the messages that are open, as it does by
// itself when it fails, so that it is known how many bytes belong to them.
func (c *Conn) breakOff(at int64) {
	for _, d := range [...]protocol.Direction{protocol.ClientToServer, protocol.ServerToClient} {
		if c.decoder.Close(d, at, false) != nil {
			return // it ended them all
		}
	}
}

// dropDecoder ends decoding.
func (c *Conn) dropDecoder() {
	c.o.set.Budget.Give(c.held)
	c.decoder, c.held = nil, 0
}

// undecodable ends decoding for good: what follows is one opaque pair.
func (c *Conn) undecodable(at int64, err error) {
	var flags []capturev1.Flag
	if errors.Is(err, protocol.ErrUpgraded) {
		// Nothing is wrong: it is only another protocol from here.
		c.tags = append(c.tags, protocol.Attr{Key: "upgraded_from", Value: c.spoken.Load().Name})
	} else {
		c.why = err.Error()
		f := failure(err)
		c.o.set.Ledger.Failed(f)
		switch f {
		case ledger.Ambiguous:
			flags = append(flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS)
		case ledger.Gap:
			flags = append(flags, capturev1.Flag_FLAG_GAP)
		default:
		}
	}
	c.pairs.SetCause(err.Error())
	c.pairs.Close(flags...)
	c.dropDecoder()
	c.flags = flags
	c.become(counting)
	for _, d := range [...]protocol.Direction{protocol.ClientToServer, protocol.ServerToClient} {
		if wire := c.pairs.Wire(d); c.carried[d] > wire {
			c.countBytes(d, at, c.carried[d]-wire)
		}
	}
}

// failure is what an error that ends decoding counts as.
func failure(err error) ledger.Failure {
	switch {
	case errors.Is(err, protocol.ErrAmbiguous):
		return ledger.Ambiguous
	case errors.Is(err, protocol.ErrGap):
		return ledger.Gap
	case errors.Is(err, protocol.ErrTooLarge):
		return ledger.TooLarge
	case errors.Is(err, errCrowded):
		return ledger.Crowded
	case errors.Is(err, errHeld), errors.Is(err, errMemory):
		return ledger.Held
	}
	return ledger.Malformed
}

// count counts what an opaque connection carries.
func (c *Conn) count(e tee.Event) {
	if e.Cause != tee.Going {
		return
	}
	c.countBytes(protocol.Direction(e.Dir), e.At, uint64(len(e.Bytes)))
	c.hear(e)
}

// countBytes begins the opaque pair with the first byte that is counted.
func (c *Conn) countBytes(d protocol.Direction, at int64, n uint64) {
	if c.opaque == nil {
		if c.pairs != nil {
			c.seq = c.pairs.Seq()
		}
		name := unread
		if p := c.spoken.Load(); p != nil && p.New == nil {
			name = p.Name
		}
		c.opaque = c.o.set.Pairs.Opaque(&c.link, name, c.tags, c.seq, at, c.why, c.flags...)
	}
	c.opaque.Bytes(d, at, n)
}

func (c *Conn) closeOpaque() {
	if c.opaque == nil {
		return
	}
	cause := c.cause.String()
	if c.cause.Clean() {
		cause = "" // as connections do
	}
	c.opaque.Close(cause)
	c.opaque = nil
}

// miss ends what was being captured, because bytes passed while capture is
// off: whatever follows is the middle of something.
func (c *Conn) miss() {
	const why = "capture was switched off"
	switch state(c.state.Load()) {
	case decoding:
		c.pairs.SetCause(why)
		c.pairs.Close()
		c.seq = c.pairs.Seq()
	case counting:
		if c.opaque != nil {
			c.opaque.Close(why, capturev1.Flag_FLAG_INCOMPLETE)
			c.opaque = nil
			c.seq++
		} else if c.pairs != nil {
			c.seq = c.pairs.Seq()
		}
	case detecting, missing, lost:
	}
	c.pairs = nil
	c.dropDecoder()
	c.forget()
	if !c.is(lost) {
		c.become(missing)
	}
}

// recover keeps a fault of capture from the peers: the connection goes on,
// opaque, and what was open on it is dropped and counted.
func (c *Conn) recover() {
	v := recover()
	if v == nil {
		return
	}
	c.o.set.Ledger.Faults.Add(1)
	if v == protocol.ErrFuel {
		c.o.set.Ledger.Failed(ledger.Fuel)
	} else {
		c.o.set.Ledger.Failed(ledger.Panic)
	}
	c.o.set.Repeated.Log(slog.LevelError, "Capture failed on a connection, which goes on uncaptured",
		slog.Uint64("cid", c.link.ID), slog.String("error", fmt.Sprint(v)), slog.String("stack", string(debug.Stack())))
	if c.is(lost) {
		return
	}
	if c.opaque != nil {
		c.opaque = nil
		c.o.set.Ledger.Dropped(ledger.Fault)
	}
	was := state(c.state.Load())
	c.become(lost)
	defer func() {
		if recover() != nil {
			c.o.set.Ledger.Faults.Add(1)
		}
	}()
	c.dropDecoder()
	c.forget()
	if c.pairs != nil {
		c.pairs.Discard(ledger.Fault)
	}
	if was != counting {
		c.why = "capture failed on this connection"
		c.become(counting)
	}
}
