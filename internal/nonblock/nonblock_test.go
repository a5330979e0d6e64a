package nonblock

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

func pair(t *testing.T) (a net.Conn, b *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = Wrap(dialled), accepted.(*net.TCPConn)
	if _, ok := a.(*Conn); !ok {
		t.Fatalf("%T", a)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// TestEcho: more than the buffers of the system hold, both ways at once.
func TestEcho(t *testing.T) {
	a, b := pair(t)
	sent := make([]byte, 8<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(rnd.Uint32())
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := io.Copy(b, b); err != nil {
			t.Error(err)
		}
		_ = b.CloseWrite()
	})
	all.Go(func() {
		if n, err := a.Write(sent); err != nil || n != len(sent) {
			t.Error(n, err)
		}
		_ = a.(*Conn).CloseWrite()
	})
	got, err := io.ReadAll(a)
	all.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestErrors(t *testing.T) {
	t.Run("a deadline", func(t *testing.T) {
		a, _ := pair(t)
		_ = a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
	t.Run("closed", func(t *testing.T) {
		a, _ := pair(t)
		done := make(chan error, 1)
		go func() { _, err := a.Read(make([]byte, 1)); done <- err }()
		_ = a.Close()
		if err := <-done; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if _, err := a.Write([]byte("a")); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
	t.Run("a reset", func(t *testing.T) {
		a, b := pair(t)
		_ = b.SetLinger(0)
		_ = b.Close()
		if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
	})
	t.Run("nothing to do", func(t *testing.T) {
		a, _ := pair(t)
		if n, err := a.Read(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
		if n, err := a.Write(nil); n != 0 || err != nil {
			t.Error(n, err)
		}
	})
	t.Run("not TCP", func(t *testing.T) {
		a, _ := net.Pipe()
		if Wrap(a) != a {
			t.Error("wrapped")
		}
	})
}
