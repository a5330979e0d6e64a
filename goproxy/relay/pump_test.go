package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// TestR04EndBehindData: a server that answers and closes, or resets, at once gives
// one event for both. A relay that waited for another one would wait for ever.
func TestR04EndBehindData(t *testing.T) {
	for _, reset := range []bool{false, true} {
		up := listen(t)
		go func() {
			for {
				c, err := up.Accept()
				if err != nil {
					return
				}
				go func() {
					_, _ = c.Read(make([]byte, 64))
					_, _ = c.Write([]byte("bye"))
					if reset {
						_ = c.(*net.TCPConn).SetLinger(0)
					}
					_ = c.Close()
				}()
			}
		}()
		p := newProxy(t, up.Addr().String())
		for i := range 500 {
			c, err := net.Dial("tcp", p.ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			got, err := io.ReadAll(c)
			if reset && !errors.Is(err, syscall.ECONNRESET) || !reset && (err != nil || string(got) != "bye") {
				t.Fatalf("reset %v, connection %d: %q, %v", reset, i, got, err)
			}
			_ = c.Close()
		}
	}
}

// TestR08LargeBuffersArePassedOn: a direction that comes back full gets the large
// buffer, and what arrives is the same.
func TestR08LargeBuffersArePassedOn(t *testing.T) {
	up := listen(t)
	payload := make([]byte, 24<<20+12345)
	for i := range payload {
		payload[i] = byte(i * 7 >> 3)
	}
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	p := newProxy(t, up.Addr().String())
	c, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	go func() {
		_, _ = c.Write(payload)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, payload) {
		t.Errorf("%d of %d bytes came back, %v", len(got), len(payload), err)
	}
	p.mu.Lock()
	w := p.witnesses[0]
	p.mu.Unlock()
	wait(t, "everything to be handed over", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return bytes.Equal(w.bytes[0], payload) && bytes.Equal(w.bytes[1], payload)
	})
}
