package harness

import (
	"io"
	"net"
	"testing"
	"time"
)

// TestCutter: while it is deaf what clients send arrives and what is answered
// does not; then everything is cut, and the next connection hears again.
func TestCutter(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan byte, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				b := make([]byte, 1)
				for {
					if _, err := conn.Read(b); err != nil {
						return
					}
					got <- b[0]
					if _, err := conn.Write(b); err != nil {
						return
					}
				}
			}()
		}
	}()
	c := StartCutter(t, l.Addr().(*net.TCPAddr).Port)
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", Addr(c.Port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	send := func(conn net.Conn, b byte) {
		t.Helper()
		if _, err := conn.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		select {
		case g := <-got:
			if g != b {
				t.Fatalf("the server got %q, not %q", g, b)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%q did not arrive", b)
		}
	}
	hears := func(conn net.Conn) error {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := io.ReadFull(conn, make([]byte, 1))
		return err
	}
	conn := dial()
	send(conn, 'a')
	if err := hears(conn); err != nil {
		t.Fatalf("no answer: %v", err)
	}
	c.Deafen()
	send(conn, 'b')
	_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatal("an answer came through")
	}
	c.Cut()
	if err := hears(conn); err == nil {
		t.Fatal("the connection outlived the cut")
	}
	conn = dial()
	send(conn, 'c')
	if err := hears(conn); err != nil {
		t.Fatalf("no answer after the cut: %v", err)
	}
}
