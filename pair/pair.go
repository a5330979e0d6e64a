// Package pair turns what decoders report into request/response pairs. It is
// one algorithm for every protocol: a response belongs to the request with its
// key, or, where the protocol has no keys, to the oldest one that has none
// yet. A half that stays alone becomes a pair with a reason.
//
// A pair holds its share of the memory budget from the moment it begins. As
// memory runs short, tails of bodies go first, then whole bodies, then pairs;
// each is flagged or counted.
package pair

import (
	"sync"

	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

const (
	// MaxOpen bounds the exchanges that are open on one connection at a time.
	MaxOpen = 1024
	// MaxChunks and maxChunkLines bound the side list of chunks of one
	// message, in chunks and in bytes of their lines. A message with more has
	// no list, and a tag that says so.
	MaxChunks     = 1024
	maxChunkLines = 16 << 10
	// maxInterim bounds the interim responses that are kept before one
	// response.
	maxInterim = 16

	// What a pair takes beside the bytes that it carries, for the budget: while
	// it is open the exchange with its room for text, and when it was emitted
	// its encoding and its part of a batch, sizes rounded up.
	pairOverhead    = textBytes + 5<<8
	emittedOverhead = 1 << 10
	// chunkOverhead is the same for a chunk.
	chunkOverhead = 64
)

// Settings are what all connections of a process share.
type Settings struct {
	// BodyLimit is how many bytes of each body are kept.
	BodyLimit int
	Budget    *budget.Budget
	Ledger    *ledger.Ledger
	// NewID makes the id of a pair that began at a time.
	NewID func(at protocol.Time) [16]byte
	// Emit takes a pair that is over, and with it the held bytes of the
	// budget: it gives them back when it lets go of what it made of the pair.
	// rest is what is kept of the bodies of request and response behind their
	// Message.Body, in pieces. All of it, with all that the pair points to, its
	// strings too, is lent until Emit returns: it is made of memory that the
	// next one uses. Emit must not block.
	Emit func(p *capturev1.RRPair, rest [2][][]byte, held int64)
}

// Pairer makes the pairs of many connections.
type Pairer struct {
	set       Settings
	hashers   sync.Pool
	exchanges sync.Pool
	pages     sync.Pool
	pieces    sync.Pool
}

// New makes a Pairer.
func New(set Settings) *Pairer {
	p := &Pairer{set: set}
	p.hashers.New = func() any { return xxh3.New() }
	p.exchanges.New = func() any { return &exchange{text: make([]byte, 0, textBytes)} }
	p.pages.New = func() any { return new([pageBytes]byte) }
	p.pieces.New = func() any { return new([pieceBytes]byte) }
	return p
}

// Link is what all pairs of a connection say about it.
type Link struct {
	// ID counts connections from 0.
	ID uint64
	// Client and Server are "ip:port".
	Client, Server string
	// Accepted and Connected are when the client and the upstream were.
	Accepted, Connected protocol.Time
	Direction           capturev1.Direction
	// KeepOneIn says how the connection was sampled: one in so many is kept
	// (0 and 1: all of them). Sampled: it is not one of those, and only what
	// went wrong on it or took long is kept.
	KeepOneIn uint32
	Sampled   bool
}

// Conn makes the pairs of one connection. It is a protocol.Sink; like a
// decoder, it is called by one goroutine at a time.
type Conn struct {
	p        *Pairer
	link     *Link
	protocol string
	tags     []protocol.Attr

	// exchanges are open, in the order of their requests.
	exchanges []*exchange
	current   [2]*message // by direction; nil between messages
	seq       uint64
	cause     string
	overflow  bool
	// unsettled: an exchange whose messages ended broken waits for Settle.
	unsettled bool
	wire      [2]uint64
	observer  Observer // may be nil
}

// Observer hears of the exchanges of a connection, for the log.
type Observer interface {
	// Request: the head of request seq is complete. path is borrowed.
	Request(seq uint64, path []byte)
	// Response: the response of exchange seq is over; size is its body's.
	Response(seq, size uint64)
}

// Conn begins the pairs of a connection that speaks a protocol. link is
// shared with the caller, who fills it before the first report. obs may be
// nil.
func (p *Pairer) Conn(link *Link, proto string, tags []protocol.Attr, obs Observer) *Conn {
	return &Conn{p: p, link: link, protocol: proto, tags: tags, observer: obs}
}

// exchange is a request with its response as far as they were seen.
type exchange struct {
	key uint64
	seq uint64
	// pair is nil when there was no memory for it: the exchange still has its
	// place in the order.
	// Otherwise it is &parts.pair.
	pair  *capturev1.RRPair
	parts parts
	// text is where heads and words of the pair are copied to.
	text []byte
	held int64
	// Of the request: it is over, or none was seen; it never gets a response.
	asked, alone bool
	// Of the response: its head was seen; it is over.
	answering, answered bool
	flags               flags
	shed                bool // counted as such
	req, resp           message
}

type flags uint16

func (f *flags) set(g capturev1.Flag) { *f |= 1 << g }

func (f flags) list() []capturev1.Flag {
	var l []capturev1.Flag
	for g := capturev1.Flag(1); int(g) < len(capturev1.Flag_name); g++ {
		if f&(1<<g) != 0 {
			l = append(l, g)
		}
	}
	return l
}

// Open is how many exchanges are not over.
func (c *Conn) Open() int { return len(c.exchanges) }

// Seq is the place that the next exchange of the connection gets.
func (c *Conn) Seq() uint64 { return c.seq }

// Wire is how many bytes of a direction belong to messages that are over.
func (c *Conn) Wire(d protocol.Direction) uint64 { return c.wire[d] }

// Overflow says that more exchanges are open than are followed. The caller
// ends decoding.
func (c *Conn) Overflow() bool { return c.overflow }

// SetCause says why the connection is ending: the error of pairs that end with
// it and are not whole.
func (c *Conn) SetCause(text string) { c.cause = text }

// Begin implements protocol.Sink.
func (c *Conn) Begin(b protocol.Begin) {
	switch b.Kind {
	case protocol.Request:
		c.beginRequest(&b)
	case protocol.Response:
		c.beginResponse(&b)
	case protocol.Interim:
		c.interim(&b)
	}
}

func (c *Conn) beginRequest(b *protocol.Begin) {
	e := c.begin(b.First, len(b.Head)+len(b.Method)+len(b.Host)+len(b.Path)+len(b.Query))
	e.key, e.alone = b.Key, b.NoResponse
	c.current[b.Dir] = &e.req
	if e.pair != nil {
		e.pair.Method, e.pair.Host, e.pair.Path, e.pair.Query = e.word(b.Method), e.word(b.Host), e.word(b.Path), e.word(b.Query)
		e.pair.Timing.RequestFirst = b.First
		e.pair.Request = &e.parts.request
		e.pair.Request.Head = e.keep(b.Head)
		e.req.out = e.pair.Request
	}
	if c.observer != nil {
		c.observer.Request(e.seq, b.Path)
	}
}

func (c *Conn) beginResponse(b *protocol.Begin) {
	e := c.waiting(b.Key)
	if e == nil {
		e = c.begin(b.First, 0)
		e.asked = true
		e.flags.set(capturev1.Flag_FLAG_MIDSTREAM)
		if e.pair != nil {
			e.pair.Error = "response without request"
			// A pair without a request is dated by its response.
			e.pair.Timing.RequestFirst = b.First
		}
	}
	e.answering = true
	c.current[b.Dir] = &e.resp
	if !c.hold(e, len(b.Head)) {
		return
	}
	e.pair.Status = int32(b.Status)
	e.pair.Timing.ResponseFirst = b.First
	e.response().Head = e.keep(b.Head)
	e.resp.out = e.pair.Response
}

// waiting finds the request that a response answers.
func (c *Conn) waiting(key uint64) *exchange {
	for _, e := range c.exchanges {
		if !e.answering && !e.alone && (key == 0 || e.key == key) {
			return e
		}
	}
	return nil
}

func (c *Conn) interim(b *protocol.Begin) {
	c.wire[b.Dir] += uint64(len(b.Head))
	e := c.waiting(b.Key)
	if e == nil || e.pair == nil {
		return
	}
	r := e.response()
	if len(r.Interim) == maxInterim {
		e.flags.set(capturev1.Flag_FLAG_TRUNCATED)
		return
	}
	if c.hold(e, len(b.Head)) {
		r.Interim = append(r.Interim, e.keep(b.Head))
	}
}

func (e *exchange) response() *capturev1.Message {
	e.pair.Response = &e.parts.response
	return e.pair.Response
}

// begin opens an exchange; size is what it carries so far.
func (c *Conn) begin(at protocol.Time, size int) *exchange {
	e := c.p.exchanges.Get().(*exchange) // the pool holds nothing else
	e.seq = c.seq
	e.req.e, e.resp.e = e, e
	c.seq++
	c.exchanges = append(c.exchanges, e)
	c.overflow = c.overflow || len(c.exchanges) > MaxOpen
	c.p.set.Ledger.Seen()
	e.held = int64(pairOverhead + size)
	if !c.p.set.Budget.Take(budget.Pair, e.held) {
		e.held = 0
		c.p.set.Ledger.Dropped(ledger.Memory)
		return e
	}
	e.parts.id = c.p.set.NewID(at)
	e.parts.timing.Accepted, e.parts.timing.Connected = c.link.Accepted, c.link.Connected
	p := &e.parts.pair
	p.Id, p.Direction, p.Protocol = e.parts.id[:], c.link.Direction, c.protocol
	p.Client, p.Server, p.Conn, p.Seq = c.link.Client, c.link.Server, c.link.ID, e.seq
	p.Timing, p.Tags = &e.parts.timing, tags(c.tags)
	e.pair = p
	return e
}

// hold takes memory that a pair cannot be without. When there is none, the
// pair is dropped, and its place in the order remains.
func (c *Conn) hold(e *exchange, n int) bool {
	if e.pair == nil {
		return false
	}
	if c.p.set.Budget.Take(budget.Pair, int64(n)) {
		e.held += int64(n)
		return true
	}
	c.drop(e, ledger.Memory)
	return false
}

func (c *Conn) drop(e *exchange, why ledger.Reason) {
	if e.pair == nil {
		return
	}
	e.pair, e.req.out, e.resp.out = nil, nil, nil
	c.release(&e.req)
	c.release(&e.resp)
	c.p.clear(e)
	c.p.set.Budget.Give(e.held)
	e.held = 0
	c.p.set.Ledger.Dropped(why)
}

// Body implements protocol.Sink.
func (c *Conn) Body(b protocol.Body) {
	m := c.current[b.Dir]
	if m == nil {
		return
	}
	if b.Chunk != nil && m.out != nil {
		c.chunk(m, b.Chunk)
	}
	if b.Missing > 0 {
		c.missing(m, uint64(b.Missing))
	}
	if len(b.Data) > 0 {
		c.body(m, b.Data)
	}
}

// End implements protocol.Sink.
func (c *Conn) End(end protocol.End) {
	m := c.current[end.Dir]
	if m == nil {
		return
	}
	c.current[end.Dir] = nil
	c.wire[end.Dir] += end.Wire
	e := m.e
	if end.Incomplete {
		e.flags.set(capturev1.Flag_FLAG_INCOMPLETE)
	}
	if e.pair != nil && len(end.Trailers) > 0 && c.hold(e, len(end.Trailers)) {
		m.out.Trailers = e.keep(end.Trailers)
	}
	if m == &e.req {
		e.asked = true
		if e.pair != nil {
			e.pair.Timing.RequestLast = end.At
		}
	} else {
		e.answered = true
		if e.pair != nil {
			e.pair.Timing.ResponseLast = end.At
		}
	}
	if e.pair != nil {
		m.out.WireSize = end.Wire
		c.seal(m, end.Incomplete)
	}
	if m == &e.resp && c.observer != nil {
		c.observer.Response(e.seq, m.size)
	}
	switch {
	case end.Incomplete:
		c.unsettled = true
	case e.over():
		c.finish(e)
	}
}

// over says that nothing more can come of an exchange.
func (e *exchange) over() bool { return e.asked && (e.answered || e.alone) }

// Settle lets exchanges go whose messages broke off. Why they did is known
// only after the call to the decoder that reported it; the caller sets the
// cause in between.
func (c *Conn) Settle() {
	if !c.unsettled {
		return
	}
	c.unsettled = false
	for i := 0; i < len(c.exchanges); {
		if e := c.exchanges[i]; e.over() {
			c.finish(e)
		} else {
			i++
		}
	}
}

// finish lets an exchange go that is over.
func (c *Conn) finish(e *exchange) {
	for i := range c.exchanges {
		if c.exchanges[i] == e {
			copy(c.exchanges[i:], c.exchanges[i+1:])
			c.exchanges[len(c.exchanges)-1] = nil
			c.exchanges = c.exchanges[:len(c.exchanges)-1]
			break
		}
	}
	// Nobody else knows of the exchange now. Where what follows fails, it is
	// left to the garbage collector.
	if e.pair == nil {
		c.p.recycle(e)
		return
	}
	broken := flags(0)
	broken.set(capturev1.Flag_FLAG_INCOMPLETE)
	broken.set(capturev1.Flag_FLAG_NO_RESPONSE)
	if e.pair.Error == "" && e.flags&broken != 0 {
		e.pair.Error = c.cause
	}
	e.pair.Flags = e.flags.list()
	// What was taken for the exchange, and for room that was not needed, stays
	// with it.
	slack := pairOverhead - emittedOverhead + air(e.pair.Request) + air(e.pair.Response)
	c.p.set.Budget.Give(slack)
	c.p.emit(c.link, e.pair, [2][][]byte{e.req.rest, e.resp.rest}, e.held-slack, c.link.KeepOneIn > 1 && !remarkable(e.pair))
	c.p.recycle(e)
}

// Close ends the pairs that are still open, because the connection ended or
// because it is not decoded any further; the cause says why. Extra flags go to
// all of them.
func (c *Conn) Close(extra ...capturev1.Flag) {
	for len(c.exchanges) > 0 {
		e := c.exchanges[0]
		for _, m := range [...]*message{&e.req, &e.resp} {
			if m.out != nil {
				c.seal(m, true)
			}
		}
		if !e.asked || e.answering && !e.answered {
			e.flags.set(capturev1.Flag_FLAG_INCOMPLETE)
		}
		if !e.answering && !e.alone {
			e.flags.set(capturev1.Flag_FLAG_NO_RESPONSE)
		}
		for _, f := range extra {
			e.flags.set(f)
		}
		c.finish(e)
	}
	c.current = [2]*message{}
}

// Discard drops the pairs that are still open, because what they hold cannot
// be trusted.
func (c *Conn) Discard(why ledger.Reason) {
	for _, e := range c.exchanges {
		c.drop(e, why)
	}
	c.exchanges, c.current = nil, [2]*message{}
}
