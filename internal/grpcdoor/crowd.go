package grpcdoor

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// crowd is the connections that are open. The door's lock guards it.
type crowd struct {
	open    int
	byIP    map[netip.Addr]*tally
	waiting *list.List // of *conn, not proven yet, oldest first
}

// tally counts one address's.
type tally struct{ open, unproven int }

func newCrowd() crowd {
	return crowd{byIP: map[netip.Addr]*tally{}, waiting: list.New()}
}

// listener gives the connections that the door takes in.
type listener struct {
	net.Listener
	d *Door
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if in := l.d.admit(c); in != nil {
			return in, nil
		}
		l.d.count(Connections)
		_ = c.Close() // a word to it would be one to an attacker
	}
}

// conn is one connection.
type conn struct {
	net.Conn
	d    *Door
	from *address
	// place is where it waits to be proven; nil afterwards. The door's lock
	// guards it.
	place *list.Element
	timer *time.Timer
	once  sync.Once

	// The rest is of whoever holds the connection's lock in gRPC.
	streams *rate.Limiter
	refused int
}

// address is the remote one, and leads from a stream to its connection.
type address struct {
	net.Addr
	ip   netip.Addr
	conn *conn
}

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.from }

// admit counts a connection; nil where there are too many.
func (d *Door) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, d: d, streams: rate.NewLimiter(streamRate, streamBurst)}
	c.from = &address{Addr: raw.RemoteAddr(), conn: c}
	if at, err := netip.ParseAddrPort(raw.RemoteAddr().String()); err == nil {
		c.from.ip = at.Addr().Unmap().WithZone("")
	}
	d.mu.Lock()
	t := d.conns.byIP[c.from.ip]
	if t == nil {
		t = &tally{}
	}
	if t.open >= d.set.PerAddress || t.unproven >= d.set.Unproven {
		d.mu.Unlock()
		return nil
	}
	var makesRoom *conn
	if d.conns.open >= d.set.Conns {
		// Who has shown nothing for longest goes first.
		first := d.conns.waiting.Front()
		if first == nil {
			d.mu.Unlock()
			return nil
		}
		makesRoom = first.Value.(*conn)
	}
	d.conns.byIP[c.from.ip] = t
	t.open++
	t.unproven++
	d.conns.open++
	c.place = d.conns.waiting.PushBack(c)
	c.timer = time.AfterFunc(d.set.ProveTime, c.late)
	d.mu.Unlock()
	if makesRoom != nil {
		d.count(Connections)
		makesRoom.drop()
	}
	return c
}

// late ends a connection that asked for nothing in time.
func (c *conn) late() {
	c.d.mu.Lock()
	waits := c.place != nil
	c.d.mu.Unlock()
	if waits {
		c.d.count(Silent)
		c.drop()
	}
}

// prove notes that somebody was let in by the connection.
func (d *Door) prove(c *conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle(c)
}

// settle is prove. d.mu is held.
func (d *Door) settle(c *conn) {
	if c.place == nil {
		return
	}
	d.conns.waiting.Remove(c.place)
	c.place = nil
	c.timer.Stop()
	d.conns.byIP[c.from.ip].unproven--
}

// drop cuts the connection; whoever serves it finds it closed. What may not
// wait for the peer, a TLS goodbye, is left out.
func (c *conn) drop() { _ = c.Close() }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.d.mu.Lock()
		defer c.d.mu.Unlock()
		c.d.settle(c)
		c.d.conns.open--
		t := c.d.conns.byIP[c.from.ip]
		if t.open--; t.open == 0 {
			delete(c.d.conns.byIP, c.from.ip)
		}
	})
	return c.Conn.Close()
}

// mayOpen says whether the connection may open a stream more now.
func (c *conn) mayOpen(now time.Time) bool { return c.streams.AllowN(now, 1) }

// refuse notes that a stream was refused, and says whether that was one too
// many.
func (c *conn) refuse() bool {
	c.refused++
	return c.refused > maxRefused
}
