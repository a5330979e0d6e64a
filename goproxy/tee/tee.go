// Package tee hands what a relay carries to whoever looks at it: after the
// bytes were written, without a copy, and in an order in which nothing comes
// before what it answers.
//
// The order is the difficulty. The two directions are carried by two
// goroutines. A request's bytes may reach the server, and its response come
// back and be written to the client, before the goroutine that carried the
// request gets to hand it over. So a chunk is announced before it is written
// (Begin), and handed over afterwards (Done). Whatever answers a chunk was
// announced after it; therefore chunks are handed over in the order in which
// they were announced: a direction that is done first hands over an earlier
// chunk of the other direction on its way. That chunk is lent, and its owner
// cannot use the buffer for anything else before its own Done, which takes the
// same lock. Nothing is copied, nothing waits, nothing is bounded because
// nothing is kept.
package tee

import "sync"

// Direction says which way bytes travel.
type Direction uint8

const (
	ClientToServer Direction = iota
	ServerToClient
)

// Cause says why a direction ended.
type Cause uint8

const (
	// Going: it did not end.
	Going Cause = iota
	// Closed by a FIN of the client or the server.
	ClientClosed
	ServerClosed
	// Reset, or gone in another way that its kernel called an error.
	ClientReset
	ServerReset
	// Cut by the proxy, which stops.
	Cut
)

func (c Cause) String() string {
	return [...]string{
		Going: "", ClientClosed: "closed by client", ServerClosed: "closed by server",
		ClientReset: "reset by client", ServerReset: "reset by server", Cut: "cut when the proxy stopped",
	}[c]
}

// Clean says that the direction ended with a FIN.
func (c Cause) Clean() bool { return c == ClientClosed || c == ServerClosed }

// Event is a chunk of bytes, or the end of a direction.
type Event struct {
	Dir Direction
	// At is when the bytes, or the end, were read: nanoseconds since the Unix
	// epoch, from a clock that never runs backwards.
	At int64
	// Bytes are lent until the callback returns. Empty at the end.
	Bytes []byte
	// Cause is set when the direction ended.
	Cause Cause
}

// Tee serves one connection. Its methods are called by one goroutine per
// direction.
type Tee struct {
	mu      sync.Mutex
	observe func(Event)
	idle    func() bool
	flying  [2]flight
	begun   uint64
	closed  bool
}

// flight is a chunk between Begin and Done.
type flight struct {
	event Event
	order uint64
	// up: it was not handed over. writing: it is still being written; a chunk
	// that was answered before that was handed over early.
	up, writing bool
}

// New makes a tee that hands events to observe, one at a time. observe must
// not block and must not panic. idle, called in the same way, says whether the
// connection rests between exchanges.
func New(observe func(Event), idle func() bool) *Tee {
	return &Tee{observe: observe, idle: idle}
}

// Begin announces bytes that were read at a time and are about to be written.
// They are lent until Done or Failed returns.
func (t *Tee) Begin(d Direction, at int64, b []byte) {
	t.mu.Lock()
	t.begun++
	t.flying[d] = flight{event: Event{Dir: d, At: at, Bytes: b}, order: t.begun, up: true, writing: true}
	t.mu.Unlock()
}

// Done says that the bytes were written, or the end passed on.
func (t *Tee) Done(d Direction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.handOver(d)
}

// Failed says that only the first n bytes were written. What was handed over
// already, because something answered it, cannot be taken back.
func (t *Tee) Failed(d Direction, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := &t.flying[d]; f.up {
		f.event.Bytes = f.event.Bytes[:n]
	}
	t.handOver(d)
}

// BeginEnd announces that a direction ended, which is about to be passed on:
// the end that this brings about in the other direction comes after it. Done
// follows; it is the direction's last event.
func (t *Tee) BeginEnd(d Direction, at int64, cause Cause) {
	t.mu.Lock()
	t.begun++
	t.flying[d] = flight{event: Event{Dir: d, At: at, Cause: cause}, order: t.begun, up: true}
	t.mu.Unlock()
}

// Idle says whether the connection rests between exchanges: nothing is on its
// way, and the observer sees nothing open.
func (t *Tee) Idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.closed && !t.flying[ClientToServer].writing && !t.flying[ServerToClient].writing && t.idle()
}

// Close says that both directions have ended. Neither function of the observer
// is called any more when it has returned: what they look at may be another
// connection's by then.
func (t *Tee) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
}

// handOver lends the chunk of a direction, and before it an earlier one of the
// other direction. t.mu is held.
func (t *Tee) handOver(d Direction) {
	f, other := &t.flying[d], &t.flying[d^1]
	f.writing = false
	if !f.up {
		return // the other direction handed it over
	}
	if other.up && other.order < f.order {
		other.up = false
		t.lend(other)
	}
	f.up = false
	t.lend(f)
}

func (t *Tee) lend(f *flight) {
	e := f.event
	f.event.Bytes = nil
	if len(e.Bytes) > 0 || e.Cause != Going {
		t.observe(e)
	}
}
