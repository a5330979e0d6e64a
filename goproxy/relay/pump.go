package relay

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/nonblock"
)

const (
	// smallBuf is what one read may bring at first, bigBuf when reads come back
	// full: a large body then needs an eighth of the calls. A direction holds a
	// buffer only while it has something to carry, so that idle connections
	// hold none.
	smallBuf = 32 << 10
	bigBuf   = 256 << 10
	// turn is how many buffers are carried before deadlines are looked at
	// again: how soon a direction that always has something can be cut.
	turn = 16
)

// buffers are the pools of both sizes.
type buffers struct{ small, big sync.Pool }

func (b *buffers) init() {
	b.small.New = func() any { p := make([]byte, smallBuf); return &p }
	b.big.New = func() any { p := make([]byte, bigBuf); return &p }
}

// get and put take a buffer from the pool of its size, and give it back. The
// pools hold nothing else.
func (b *buffers) get(big bool) *[]byte {
	if big {
		return b.big.Get().(*[]byte)
	}
	return b.small.Get().(*[]byte)
}

func (b *buffers) put(p *[]byte) {
	if len(*p) == bigBuf {
		b.big.Put(p)
		return
	}
	b.small.Put(p)
}

// pump carries one direction of a connection. Its loop runs inside the
// runtime's poller: one RawConn.Read whose callback reads, writes and lends for
// as long as there is something, and says “wait” when there is not. That saves
// what an ordinary Read does around each system call, and above all the
// scheduler's watch over calls that might block: at low load it is most of what
// a proxy in Go costs. None of the calls here can block; the sockets are
// non-blocking.
//
// What makes it safe to read and write descriptors by hand:
//
//   - src's descriptor is used only inside src.raw.Read's callback, dst's only
//     inside dst.raw.Write's. Both hold the descriptor: a Close from elsewhere
//     takes effect when the callback has returned, so that its number cannot
//     meanwhile have become another connection's.
//   - It waits only after a read that said EAGAIN. The poller is
//     edge-triggered: what comes after that read is a new edge, which it
//     remembers. A read that brought less than it could is no reason to wait: a
//     FIN or a reset that arrived together with the bytes is behind them, and
//     gives no edge of its own. (Linux can say with a read how much is left,
//     TCP_INQ, and counts a FIN; it does not count a reset.)
//   - A short write is finished, or fails, before anything else is read.
type pump struct {
	c        *Conn
	d        tee.Direction
	src, dst *end

	// big: the last read filled its buffer.
	big bool
	// cause says how the direction ended, once it has.
	cause tee.Cause
	// err is what reading gave; io.EOF at the end.
	err error

	// ready and attempt are methods, bound once.
	ready, attempt func(fd uintptr) bool
	// rest is what attempt has still to write, and written what it has.
	rest     []byte
	written  int
	writeErr error
}

func (p *pump) init(c *Conn, d tee.Direction) {
	p.c, p.d, p.src, p.dst = c, d, &c.ends[d], &c.ends[d^1]
	p.ready, p.attempt = p.carry, p.write
}

// run moves bytes until the direction ends, and says why it did.
func (p *pump) run() tee.Cause {
	c, src, dst := p.c, p.src, p.dst
	closed, reset, dstReset := tee.ClientClosed, tee.ClientReset, tee.ServerReset
	if p.d == tee.ServerToClient {
		closed, reset, dstReset = tee.ServerClosed, tee.ServerReset, tee.ClientReset
	}
	for {
		err := src.raw.Read(p.ready)
		if err == nil {
			err = p.err
		}
		switch {
		case p.cause != tee.Going:
			return p.cause
		case err == nil:
		case c.cut.Load():
			return tee.Cut
		case err == io.EOF && src.gone():
			return reset
		case err == io.EOF:
			return closed
		case errors.Is(err, os.ErrDeadlineExceeded) && c.finishing.Load():
			return closed // or would have, had it looked
		case errors.Is(err, os.ErrDeadlineExceeded):
			// The other direction found out that dst, or src, is gone.
			if dst.dead.Load() {
				return dstReset
			}
			return reset
		default:
			src.dead.Store(true)
			return reset
		}
	}
}

// carry is the callback: false waits for more, true ends this turn, with err or
// cause set if something came to its end.
func (p *pump) carry(fd uintptr) (done bool) {
	pool := &p.c.relay.buffers
	for range turn {
		buf := pool.get(p.big)
		n, err := nonblock.Read(fd, *buf)
		if err != nil || n == 0 {
			pool.put(buf)
			p.big = false
			if err == syscall.EAGAIN {
				return false
			}
			p.err = io.EOF
			if err != nil {
				p.err = os.NewSyscallError("read", err)
			}
			return true
		}
		p.big = n == len(*buf)
		ok := p.move((*buf)[:n])
		pool.put(buf)
		if !ok {
			return true
		}
	}
	return true
}

// move writes bytes and lends them to the tee. It returns false when the
// direction is over.
func (p *pump) move(b []byte) bool {
	c, d := p.c, p.d
	if c.finishing.Load() && d == tee.ClientToServer {
		p.cause = tee.Cut // it came too late
		return false
	}
	at := c.relay.now()
	c.last.Store(at)
	if c.first.Load() == 0 {
		c.first.CompareAndSwap(0, 1+uint32(d))
	}
	c.tee.Begin(d, at, b)
	if p.dst.hurried.Load() {
		_ = p.dst.conn.SetWriteDeadline(time.Now().Add(resetGrace))
	}
	p.rest, p.written, p.writeErr = b, 0, nil
	p.dst.writing.Store(true)
	err := p.dst.raw.Write(p.attempt)
	if err == nil {
		err = p.writeErr
	}
	p.rest = nil
	if err == nil {
		p.dst.writing.Store(false)
	}
	c.bytes[d].Add(uint64(p.written))
	c.relay.bytes[d].Add(uint64(p.written))
	if err != nil {
		c.tee.Failed(d, p.written)
		if c.cut.Load() || c.finishing.Load() {
			p.cause = tee.Cut
			return false
		}
		p.dst.dead.Store(true) // and writing stays: nothing is written any more
		p.cause = tee.ServerReset
		if d == tee.ServerToClient {
			p.cause = tee.ClientReset
		}
		return false
	}
	c.tee.Done(d)
	if d == tee.ServerToClient && c.draining.Load() {
		c.finishIfIdle()
	}
	return true
}

// write is the callback that writes rest: false waits until there is room.
func (p *pump) write(fd uintptr) (done bool) {
	for len(p.rest) > 0 {
		n, err := nonblock.Write(fd, p.rest)
		switch err {
		case nil:
			p.rest = p.rest[n:]
			p.written += n
			// A deadline bounds how long nothing moves, not how long it takes.
			if p.dst.hurried.Load() && len(p.rest) > 0 {
				_ = p.dst.conn.SetWriteDeadline(time.Now().Add(resetGrace))
			}
		case syscall.EAGAIN:
			return false
		default:
			p.writeErr = os.NewSyscallError("write", err)
			return true
		}
	}
	return true
}
