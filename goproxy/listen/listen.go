// Package listen accepts connections. Its loop does nothing else: it never
// dials, and it never spins when the process runs out of descriptors.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/nonblock"
	"github.com/weir-capture/weir/internal/stack"
)

// Listener is one listening port.
type Listener struct {
	ln    listening
	addr  *net.TCPAddr
	slots chan struct{}
	log   *lograte.Logger
	wg    sync.WaitGroup
}

// Open listens on an address. At most limit connections are served at a time;
// more wait in the kernel's queue.
func Open(addr string, limit int, log *lograte.Logger) (*Listener, error) {
	how := config()
	// Nobody multiplexes a path through a sidecar; each connection that is
	// accepted of such a listener costs more.
	how.SetMultipathTCP(false)
	ln, err := how.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not TCP", addr), ln.Close())
	}
	l := &Listener{addr: tcp.Addr().(*net.TCPAddr), slots: make(chan struct{}, max(limit, 1)), log: log} // a TCPListener has no other
	if l.ln, err = newListening(tcp); err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// Addr is where it listens.
func (l *Listener) Addr() *net.TCPAddr { return l.addr }

// settleTime is how long a listener that stops waits for handshakes that were
// under way.
const settleTime = 50 * time.Millisecond

// Serve accepts until ctx ends, and hands each connection to serve, in a
// goroutine of its own. It returns when it accepts no more; Wait waits for
// what was accepted. It closes the listener.
//
// A connection that the kernel completed before the end is served, not reset:
// its client was told that it is there. So the end first turns new ones away,
// where the system can, then accepts what waits, then closes.
func (l *Listener) Serve(ctx context.Context, serve func(*nonblock.Socket)) {
	stop := context.AfterFunc(ctx, func() {
		settled := time.Now()
		if l.ln.ignoreSYN() {
			settled = settled.Add(settleTime)
		}
		_ = l.ln.setDeadline(settled)
	})
	defer stop()
	l.accept(ctx, serve)
	rest := l.ln.takeWaiting(cap(l.slots) - len(l.slots))
	_ = l.ln.close()
	for _, conn := range rest {
		l.slots <- struct{}{}
		l.handle(conn, serve)
	}
}

func (l *Listener) handle(conn *nonblock.Socket, serve func(*nonblock.Socket)) {
	l.wg.Go(func() {
		stack.Grow()
		defer func() { <-l.slots }()
		serve(conn)
	})
}

// accept is the loop.
func (l *Listener) accept(ctx context.Context, serve func(*nonblock.Socket)) {
	retry := backoff.Backoff{Min: 10 * time.Millisecond, Max: time.Second, Rand: func() float64 { return 1 }}
	slot := false // one is held for the next connection
	take := func(conn *nonblock.Socket) (more bool) {
		retry.Reset()
		l.handle(conn, serve)
		select {
		case l.slots <- struct{}{}:
		default:
			slot = false
		}
		return slot
	}
	for slot || l.slot(ctx) {
		slot = true
		err := l.ln.accept(take)
		if err == nil {
			continue
		}
		<-l.slots
		slot = false
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors or memory, or a peer that gave up: none of them
		// ends a listener, and none is better for being asked again at once.
		wait := retry.Next()
		l.log.Log(slog.LevelError, "Could not accept a connection", slog.Any("error", err), slog.Duration("retryIn", wait))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// slot waits until one more connection may be served, at the end of ctx no
// longer.
func (l *Listener) slot(ctx context.Context) bool {
	select {
	case l.slots <- struct{}{}:
		return true
	default:
	}
	l.log.Log(slog.LevelWarn, "At the limit of open connections; new ones wait", slog.Int("limit", cap(l.slots)))
	select {
	case l.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Wait waits until every connection that was accepted has been served. It is
// called after Serve returned.
func (l *Listener) Wait() { l.wg.Wait() }

// Close ends a listener that is not served.
func (l *Listener) Close() error { return l.ln.close() }
