package goproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestR41AClientMayHaveThePortOfAnUpstream: the system gives the same local port
// to connections that go to different places. A client on the proxy's own
// machine may have the address of a connection that the proxy dialled, and is
// no loop.
func TestR41AClientMayHaveThePortOfAnUpstream(t *testing.T) {
	up := listenLoop(t)
	dialled := make(chan net.Addr, 2)
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			dialled <- c.RemoteAddr()
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	b := start(t, up.Addr().String(), nil)
	echoes := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Errorf("the connection of %v: %v", c.LocalAddr(), err)
		}
	}
	first, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.Close() }()
	echoes(first)
	port := (<-dialled).(*net.TCPAddr).Port
	fromPort := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		const localPortRange = 51 // IP_LOCAL_PORT_RANGE of ip(7)
		_ = raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, localPortRange, port<<16|port)
		})
		return err
	}}
	second, err := fromPort.DialContext(context.Background(), "tcp", b.Addr().String())
	if errors.Is(err, unix.ENOPROTOOPT) {
		t.Skip("this needs Linux 6.3, where a client can ask for a port that is taken towards elsewhere")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = second.Close() }()
	if got := second.LocalAddr().(*net.TCPAddr).Port; got != port {
		t.Fatalf("the client has port %d, want %d", got, port)
	}
	echoes(second)
}

// TestR41TranslatedLoops: where an address was translated on its way, a
// connection that is accepted and dialled is found from either side, and
// whichever side is known first.
func TestR41TranslatedLoops(t *testing.T) {
	at := netip.MustParseAddrPort
	client := route{from: at("10.0.0.9:1000"), to: at("10.0.0.1:80")}
	turn := route{from: at("10.0.0.1:2000"), to: at("10.0.0.1:80")}
	var l loops
	if !l.accept(client) || !l.dial(turn, client) {
		t.Error("a client's first connection is no loop")
	}
	if l.accept(turn) {
		t.Error("the proxy accepted what it dialled")
	}
	l.hangUp(turn)
	l.leave(client)

	l = loops{}
	next := route{from: at("10.0.0.1:2001"), to: at("10.0.0.1:80")}
	if !l.accept(client) || !l.accept(turn) {
		t.Error("it cannot be known yet")
	}
	if l.dial(turn, client) {
		t.Error("the proxy dialled what it has accepted")
	}
	l = loops{}
	if !l.accept(client) || !l.accept(turn) || !l.dial(next, turn) || l.dial(turn, client) {
		t.Error("the second turn was dialled first; the first is found all the same")
	}
}
