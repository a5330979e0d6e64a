// Package relay carries a connection: the same bytes, in the same order, with
// the same ends, both ways. It knows nothing of what the bytes mean, and never
// waits for any of them in order to find out.
//
// A direction is carried by one goroutine that reads, writes, and then lends
// what it wrote to the tee (pump.go). How a direction ends is kept:
//
//   - a FIN becomes a FIN, and the other direction goes on;
//   - a reset becomes a reset, after what was received before it was delivered;
//   - a peer that cannot be written to any more was reset.
//
// There is no deadline on traffic. A peer that vanished is found by TCP's
// keepalive.
package relay

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/nonblock"
	"github.com/weir-capture/weir/internal/stack"
)

// resetGrace is how long a reset waits, without progress, for a peer to take
// what was received before it.
const resetGrace = 5 * time.Second

// finishGrace is how long peers have to close a connection that rested and was
// closed by the proxy's end.
const finishGrace = time.Second

// restTime is how long a connection must have rested to be closed by the
// proxy's end out of the blue: a client that is about to speak does so sooner.
const restTime = 500 * time.Millisecond

// Relay carries connections. Its buffers are shared by all of them.
type Relay struct {
	now     func() int64
	buffers buffers
	// Bytes carried, by direction.
	bytes [2]*atomic.Uint64
}

// New makes a relay with a clock in nanoseconds, which adds what it carries to
// two counters as it goes.
func New(now func() int64, clientToServer, serverToClient *atomic.Uint64) *Relay {
	r := &Relay{now: now, bytes: [2]*atomic.Uint64{clientToServer, serverToClient}}
	r.buffers.init()
	return r
}

// Conn is one accepted connection and its upstream.
type Conn struct {
	relay *Relay
	tee   *tee.Tee
	// ends are the client and the server: direction d reads from ends[d] and
	// writes to ends[d^1].
	ends  [2]end
	pumps [2]pump
	// over: the direction ended. watching: it ended with a FIN, and its
	// goroutine waits to see whether more than that happens to its source.
	over, watching [2]atomic.Bool
	bytes          [2]atomic.Uint64
	last           atomic.Int64 // when something was carried, or the connection began
	// first is 1 and the direction in which something came first, or 0.
	first atomic.Uint32

	draining  atomic.Bool
	finishing atomic.Bool
	cut       atomic.Bool
}

// end is one of the two TCP connections.
type end struct {
	conn *nonblock.Socket
	raw  syscall.RawConn
	// dead: it was reset, or can no longer be written to.
	dead atomic.Bool
	// writing: somebody writes to it, and may have learned of a reset that
	// dead does not say yet.
	writing atomic.Bool
	// shut: our side of it was closed for writing.
	shut atomic.Bool
	// hurried: writing to it has resetGrace to make progress.
	hurried atomic.Bool
}

// Conn joins a client with the upstream that was dialled for it. It takes both
// connections over.
func (r *Relay) Conn(client, server *nonblock.Socket, t *tee.Tee) *Conn {
	c := &Conn{relay: r, tee: t}
	c.last.Store(r.now())
	for i, conn := range [...]*nonblock.Socket{client, server} {
		c.ends[i].conn, c.ends[i].raw = conn, conn.Raw()
	}
	for d := range c.pumps {
		c.pumps[d].init(c, tee.Direction(d))
	}
	return c
}

// Bytes are what was carried so far in each direction.
func (c *Conn) Bytes() (clientToServer, serverToClient uint64) {
	return c.bytes[tee.ClientToServer].Load(), c.bytes[tee.ServerToClient].Load()
}

// First is the direction in which something came first; false while nothing
// has.
func (c *Conn) First() (tee.Direction, bool) {
	first := c.first.Load()
	return tee.Direction(max(first, 1) - 1), first != 0
}

// Socket is what the kernel says about one of the two TCP connections: its
// state, by the name that the kernel has for it, what the peer sent and was
// not read, and what was written and the peer has not acknowledged, in bytes.
// SendBuffer is the most of the latter that the kernel keeps; 0: it does not
// tell.
type Socket struct {
	State           string
	Unread, Unacked int
	SendBuffer      int
}

// Sockets asks the kernel about the client's connection and the server's. Its
// answer is empty once they are closed, and where the system has none.
func (c *Conn) Sockets() (client, server Socket) {
	return socket(c.ends[tee.ClientToServer].raw), socket(c.ends[tee.ServerToClient].raw)
}

// KeepAlive has the kernel find out when the server vanishes, as it does for
// the client from the beginning.
func (c *Conn) KeepAlive() {
	_ = c.ends[tee.ServerToClient].conn.KeepAlive() // fails once it is closed
}

// Run carries the connection until it is over. Both ends are closed when it
// returns.
func (c *Conn) Run() {
	var wg sync.WaitGroup
	wg.Go(func() {
		stack.Grow()
		c.carry(tee.ServerToClient)
	})
	c.carry(tee.ClientToServer)
	wg.Wait()
	// Whoever asks from now on whether it rests finds nobody to ask.
	c.tee.Close()
	c.close()
}

// carry carries one direction to its end, and sees to it that the other one
// ends too where it must.
func (c *Conn) carry(d tee.Direction) {
	cause := c.pumps[d].run()
	src, dst := &c.ends[d], &c.ends[d^1]
	c.tee.BeginEnd(d, c.relay.now(), cause)
	switch {
	case cause.Clean() && c.over[d^1].Load():
		// Nothing goes the other way any more: closing sends the FIN.
	case cause.Clean():
		dst.closeWrite()
	case cause == tee.Cut:
		c.Cut()
	case dst.dead.Load():
		// What dst sent before it went may still be in its receive buffer; the
		// other direction delivers that and then finds the end. It is not to
		// wait for src longer than src takes to read it.
		_ = dst.conn.SetReadDeadline(time.Now().Add(resetGrace))
		src.hurry()
	default:
		// src is gone: nothing can be brought to it any more.
		_ = dst.conn.SetReadDeadline(past)
	}
	c.tee.Done(d)
	c.over[d].Store(true)
	if c.watching[d^1].Load() {
		_ = dst.conn.SetReadDeadline(past)
	}
	if cause.Clean() && !c.over[d^1].Load() {
		c.watch(d)
	}
}

// past is a deadline that ends a read at once.
var past = time.Unix(1, 0)

// watch waits, when the source of a direction has closed its side, for the
// other direction to end. A source that is reset meanwhile, or vanishes, ends
// it: nobody reads from it any more, so nobody else would notice.
func (c *Conn) watch(d tee.Direction) {
	src, dst := &c.ends[d], &c.ends[d^1]
	c.watching[d].Store(true)
	for !c.over[d^1].Load() {
		looked := false
		err := src.raw.Read(func(fd uintptr) bool {
			// The first call is before waiting, the second when the kernel has
			// news. All that can come after a FIN is an error.
			defer func() { looked = true }()
			return looked || c.over[d^1].Load() || tcpClosed(fd)
		})
		if err != nil || c.over[d^1].Load() || src.shut.Load() {
			return
		}
		if src.closed() {
			src.dead.Store(true)
			_ = dst.conn.SetReadDeadline(past)
			return
		}
	}
}

// closeWrite passes a FIN on.
func (e *end) closeWrite() {
	e.shut.Store(true)
	_ = e.conn.CloseWrite() // fails only where nobody is left to be told
}

// gone says, at the end of what can be read, whether the end was a reset: its
// error may have been taken by a write of the other direction. It need ask the
// kernel only while one is under way.
func (e *end) gone() bool {
	if e.writing.Load() && e.closed() {
		e.dead.Store(true)
	}
	// Last: who writes sets dead before it is done.
	return e.dead.Load()
}

// closed says whether the kernel has given the connection up without having
// been asked to.
func (e *end) closed() (closed bool) {
	err := e.raw.Control(func(fd uintptr) { closed = tcpClosed(fd) })
	// Only now: between this question and the one before, the other direction
	// may have closed our side, and the peer, which had closed its own, taken
	// note. shut is set before that is begun.
	return (err != nil || closed) && !e.shut.Load()
}

// hurry bounds how long writing to an end may take from now on.
func (e *end) hurry() {
	e.hurried.Store(true)
	_ = e.conn.SetWriteDeadline(time.Now().Add(resetGrace))
}

// close ends both connections as they ended.
func (c *Conn) close() {
	client, server := &c.ends[tee.ClientToServer], &c.ends[tee.ServerToClient]
	for _, e := range [...]*end{client, server} {
		if !c.cut.Load() && !client.dead.Load() && !server.dead.Load() {
			_ = e.conn.Close()
			continue
		}
		if !e.dead.Load() {
			delivered(e.raw, resetGrace, &c.cut)
		}
		e.conn.Reset()
	}
}

// Drain asks the connection to end between two exchanges: behind the next
// response, or now if it has rested for a while. It may be called again.
func (c *Conn) Drain() {
	c.draining.Store(true)
	if c.relay.now()-c.last.Load() >= int64(restTime) {
		c.finishIfIdle()
	}
}

// finishIfIdle closes a connection that rests: both peers see a FIN, as from a
// server that is done. Directly behind a response it reaches the client before
// most could send another request.
func (c *Conn) finishIfIdle() {
	if !c.tee.Idle() || c.finishing.Swap(true) {
		return
	}
	for i := range c.ends {
		e := &c.ends[i]
		e.closeWrite()
		_ = e.conn.SetReadDeadline(time.Now().Add(finishGrace))
	}
}

// Cut ends the connection now, with a reset to both peers, so that neither
// takes what it has for the whole.
func (c *Conn) Cut() {
	c.cut.Store(true)
	for i := range c.ends {
		_ = c.ends[i].conn.SetDeadline(past)
	}
}
