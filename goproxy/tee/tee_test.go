package tee

import (
	"bytes"
	"encoding/binary"
	"net"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// TestHandsOverInTheOrderOfBegin: whatever answers a chunk begins after it, so
// this order never puts an answer first.
func TestHandsOverInTheOrderOfBegin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var began, got []uint64
		te := New(func(e Event) {
			if e.Cause != Going {
				got = append(got, uint64(e.At))
				return
			}
			if n := binary.BigEndian.Uint64(e.Bytes); n != uint64(e.At) {
				t.Fatalf("the bytes of %d were lent as %d", n, e.At)
			}
			got = append(got, uint64(e.At))
		}, func() bool { return true })
		var next uint64
		var up, ended [2]bool
		bufs := [2][]byte{make([]byte, 8), make([]byte, 8)}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			d := Direction(rapid.IntRange(0, 1).Draw(t, "direction"))
			switch {
			case up[d]:
				te.Done(d)
				up[d] = false
			case ended[d]:
			case rapid.IntRange(0, 9).Draw(t, "end") == 0:
				next++
				began = append(began, next)
				te.BeginEnd(d, int64(next), ClientClosed)
				up[d], ended[d] = true, true
			default:
				next++
				began = append(began, next)
				binary.BigEndian.PutUint64(bufs[d], next) // as a pump reuses its buffer
				te.Begin(d, int64(next), bufs[d])
				up[d] = true
			}
		}
		for d := range up {
			if up[d] {
				te.Done(Direction(d))
			}
		}
		if len(got) != len(began) {
			t.Fatalf("handed over %v of %v", got, began)
		}
		for i := range began {
			if got[i] != began[i] {
				t.Fatalf("handed over %v, begun %v", got, began)
			}
		}
	})
}

func TestFailedHandsOverWhatWasWritten(t *testing.T) {
	var got []byte
	te := New(func(e Event) { got = append(got, e.Bytes...) }, func() bool { return true })
	te.Begin(ClientToServer, 1, []byte("written and not"))
	te.Failed(ClientToServer, len("written"))
	te.Begin(ClientToServer, 2, []byte("nothing"))
	te.Failed(ClientToServer, 0)
	if string(got) != "written" {
		t.Errorf("handed over %q", got)
	}
}

func TestFailedAfterItWasHandedOver(t *testing.T) {
	var got []string
	te := New(func(e Event) { got = append(got, string(e.Bytes)) }, func() bool { return true })
	te.Begin(ClientToServer, 1, []byte("a long request"))
	te.Begin(ServerToClient, 2, []byte("an early answer"))
	te.Done(ServerToClient)
	if te.Idle() {
		t.Error("idle while the request is being written")
	}
	te.Failed(ClientToServer, len("a long"))
	if want := []string{"a long request", "an early answer"}; !slices.Equal(got, want) {
		t.Errorf("handed over %q, want %q", got, want)
	}
	if !te.Idle() {
		t.Error("nothing is on its way any more")
	}
}

func TestIdle(t *testing.T) {
	rests := true
	te := New(func(Event) {}, func() bool { return rests })
	if !te.Idle() {
		t.Error("nothing is on its way")
	}
	te.Begin(ClientToServer, 1, []byte("x"))
	if te.Idle() {
		t.Error("a chunk is on its way")
	}
	te.Done(ClientToServer)
	rests = false
	if te.Idle() {
		t.Error("the observer sees something open")
	}
}

// TestNoResponseComesBeforeItsRequest plays what two goroutines of a relay do,
// with a server that answers as fast as it can.
// TestNobodyIsAskedBehindTheEnd: a proxy that stops asks every connection that
// it knows whether it rests, also one that is just over.
func TestNobodyIsAskedBehindTheEnd(t *testing.T) {
	over := false // not guarded: the race detector sees who looks
	tee := New(func(Event) {}, func() bool { return over })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			_ = tee.Idle()
		}
	}()
	tee.Close()
	over = true
	<-done
	if tee.Idle() {
		t.Error("it was asked")
	}
}

func TestNoResponseComesBeforeItsRequest(t *testing.T) {
	const exchanges = 3000
	var requests, responses int
	te := New(func(e Event) {
		n := bytes.Count(e.Bytes, []byte("x"))
		if e.Dir == ClientToServer {
			requests += n
		} else {
			responses += n
		}
		if responses > requests {
			t.Errorf("%d responses after %d requests", responses, requests)
		}
	}, func() bool { return true })
	client, proxyClient := net.Pipe()
	proxyServer, server := net.Pipe()
	var wg sync.WaitGroup
	pump := func(d Direction, src, dst net.Conn) {
		buf := make([]byte, 64)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			te.Begin(d, 0, buf[:n])
			if _, err := dst.Write(buf[:n]); err != nil {
				te.Failed(d, 0)
				return
			}
			te.Done(d)
		}
	}
	wg.Go(func() { pump(ClientToServer, proxyClient, proxyServer) })
	wg.Go(func() { pump(ServerToClient, proxyServer, proxyClient) })
	wg.Go(func() {
		b := make([]byte, 1)
		for range exchanges {
			if _, err := server.Read(b); err != nil {
				t.Error(err)
				return
			}
			if _, err := server.Write(b); err != nil {
				t.Error(err)
				return
			}
		}
	})
	b := make([]byte, 1)
	for range exchanges {
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []net.Conn{client, proxyClient, proxyServer, server} {
		_ = c.Close()
	}
	wg.Wait()
	if requests != exchanges {
		t.Errorf("%d requests", requests)
	}
}
