package harness

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Cutter stands between two programs that speak TCP. It can lose what the
// server answers while what the client sends still arrives, and break all
// connections off.
type Cutter struct {
	// Port is where clients connect.
	Port int

	target string
	deaf   atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	done  bool
}

// StartCutter carries connections to a port of the loopback until the test
// ends. Nobody needs to listen there yet.
func StartCutter(t testing.TB, target int) *Cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen: %v", err)
	}
	c := &Cutter{Port: l.Addr().(*net.TCPAddr).Port, target: Addr(target), conns: map[net.Conn]struct{}{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.carry(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		c.mu.Lock()
		c.done = true
		c.mu.Unlock()
		c.Cut()
		wg.Wait()
	})
	return c
}

// Deafen loses every answer from now on, until Cut.
func (c *Cutter) Deafen() { c.deaf.Store(true) }

// Cut resets all connections. New ones hear again.
func (c *Cutter) Cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
	c.deaf.Store(false)
}

// hold remembers a connection, so that Cut finds it.
func (c *Cutter) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		conn.Close()
		return false
	}
	c.conns[conn] = struct{}{}
	return true
}

func (c *Cutter) release(conn net.Conn) {
	c.mu.Lock()
	delete(c.conns, conn)
	c.mu.Unlock()
	conn.Close()
}

func (c *Cutter) carry(client net.Conn) {
	if !c.hold(client) {
		return
	}
	defer c.release(client)
	server, err := net.DialTimeout("tcp", c.target, time.Second)
	if err != nil || !c.hold(server) {
		return
	}
	defer c.release(server)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	wg.Go(func() {
		_, _ = io.Copy(hearing{c, client}, server)
		client.Close()
	})
	wg.Wait()
}

// hearing loses what is written to it while its cutter is deaf.
type hearing struct {
	c  *Cutter
	to net.Conn
}

func (h hearing) Write(p []byte) (int, error) {
	if h.c.deaf.Load() {
		return len(p), nil
	}
	return h.to.Write(p)
}
