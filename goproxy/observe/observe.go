// Package observe is the passive side of a connection: it finds out which
// protocol is spoken, has it decoded, and has the messages paired. It sees
// bytes that were carried already, so nothing that happens here is felt by the
// peers; whatever goes wrong here makes the connection opaque, and is counted.
package observe

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol"
)

// patience is how long after its first byte a connection may stay undecided.
// Nobody waits meanwhile; it bounds what is held of the connection.
const patience = 10 * time.Second

// Settings are what all connections of a process share.
type Settings struct {
	// Protocols are the ones that Detect may find.
	Protocols []protocol.Protocol
	// Detect is protocols.Detect, or a test's own.
	Detect func(client, server []byte, final bool) (protocol.Protocol, protocol.Verdict)
	Pairs  *pair.Pairer
	Budget *budget.Budget
	Ledger *ledger.Ledger
	// Now is the clock that the events of the tee use too.
	Now func() int64
	Log *slog.Logger
	// LogPath is what the log shows of a path, which may have secrets in it;
	// nil shows it as it is.
	LogPath func(path []byte) []byte
	// Repeated limits what many connections may say at once.
	Repeated *lograte.Logger
	// Capture is the state of the kill switch to begin with.
	Capture bool
	// Sampler decides which connections are kept; nil keeps all.
	Sampler *Sampler
}

// Observer makes the observers of connections.
type Observer struct {
	set     Settings
	debug   bool
	capture atomic.Bool
	// spoken counts connections by the protocol that was detected. The map is
	// not changed after New.
	spoken map[string]*spoken
}

type spoken struct {
	conns atomic.Uint64
	told  atomic.Bool
}

// New makes an Observer.
func New(set Settings) *Observer {
	if set.LogPath == nil {
		set.LogPath = func(path []byte) []byte { return path }
	}
	o := &Observer{
		set:    set,
		debug:  set.Log.Enabled(context.Background(), slog.LevelDebug),
		spoken: make(map[string]*spoken, len(set.Protocols)),
	}
	o.capture.Store(set.Capture)
	for _, p := range set.Protocols {
		o.spoken[p.Name] = new(spoken)
	}
	return o
}

// SetCapture turns the kill switch. What is carried while capture is off is
// not seen at all.
func (o *Observer) SetCapture(on bool) { o.capture.Store(on) }

// Capture says whether capture is on.
func (o *Observer) Capture() bool { return o.capture.Load() }

// Protocols counts connections by detected protocol; only those that occurred.
func (o *Observer) Protocols() map[string]uint64 {
	counts := make(map[string]uint64)
	for _, name := range slices.Sorted(maps.Keys(o.spoken)) {
		if n := o.spoken[name].conns.Load(); n > 0 {
			counts[name] = n
		}
	}
	return counts
}

// Conn begins to observe a connection that was accepted from client.
func (o *Observer) Conn(id uint64, client string, accepted int64) *Conn {
	c := &Conn{o: o, last: accepted, link: pair.Link{
		ID: id, Client: client, Accepted: accepted, Direction: capturev1.Direction_DIRECTION_INBOUND,
	}}
	if o.set.Sampler != nil {
		var kept bool
		c.link.KeepOneIn, kept = o.set.Sampler.Conn(id)
		c.link.Sampled = !kept
	}
	c.state.Store(uint32(detecting))
	return c
}

// Reason is what a pair says about a failed dial, in few words: without the
// addresses, which the pair has.
func Reason(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return "timeout"
	}
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}
