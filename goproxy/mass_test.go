package goproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"
)

// asAnswers is a backend that answers every request, with 1 GiB where
// much is asked for, and keeps connections
// for as long as its clients do.
func asAnswers() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "listens at %s\n", ln.Addr())
	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })
	http.HandleFunc("GET /much", func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, 64<<10)
		for range 1 << 30 / len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	panic(http.Serve(ln, nil))
}

// get asks once on a connection.
func get(conn net.Conn, fields string) error {
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n"+fields+"\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && string(body) != "here" {
		err = fmt.Errorf("the body is %q", body)
	}
	return err
}

// openTime is the median time of so many new connections with a request each.
func openTime(t *testing.T, addr string, n int) time.Duration {
	t.Helper()
	all := make([]time.Duration, n)
	for i := range all {
		began := time.Now()
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			err = get(conn, "")
			_ = conn.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		all[i] = time.Since(began)
	}
	return median(all)
}

// TestR09IdleMass: connections that rest cost little memory and no processor
// time, and do not stand in the way of others. IDLE_CONNECTIONS=9900 is the
// most that one proxy can have with 20,000 descriptors, IDLE_SECONDS=600 how
// long they rest in a run by hand.
func TestR09IdleMass(t *testing.T) {
	n, seconds := handSize(t, "IDLE_CONNECTIONS", 1000), handSize(t, "IDLE_SECONDS", 5)
	backend := startProcess(t, "answers", "")
	p := startGoproxy(t, backend.says("listens at (.*)")[1], "")
	alone := openTime(t, p.addr, 50)
	before := p.resident()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			t.Cleanup(func() { _ = conn.Close() })
			err = get(conn, "")
		}
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns[i] = conn
	}
	// The limit is for the whole process, with what it had before.
	limit := int64(n)*16<<10 + before
	if raceDetector {
		limit *= 6
	}
	eventually(t, "the memory of a burst is given back", func() bool { return p.resident() <= limit })
	t.Logf("%d bytes for each of %d connections", (p.resident()-before)/int64(n), n)

	spent, began := p.spent(), time.Now()
	time.Sleep(time.Duration(seconds) * time.Second)
	share := float64(p.spent()-spent) / float64(time.Since(began))
	if share > 0.01 {
		t.Errorf("resting takes %.1f %% of a CPU", 100*share)
	}
	if among := openTime(t, p.addr, 50); among > 2*alone+5*time.Millisecond {
		t.Errorf("a new connection takes %v, %v without the others", among, alone)
	}
	for i, conn := range conns {
		if err := get(conn, ""); err != nil {
			t.Fatalf("connection %d after its rest: %v", i, err)
		}
	}
	if p.resident() > 2*limit {
		t.Errorf("%d bytes resident when they all spoke again", p.resident())
	}
}

// openFiles counts the descriptors of a process.
func (p *process) openFiles() int {
	p.t.Helper()
	all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	return len(all)
}

// TestR10ChurnInAProcess: after many short connections the process has the
// descriptors and the memory that it had. SHORT_CONNECTIONS=200000 is for a run
// by hand.
func TestR10ChurnInAProcess(t *testing.T) {
	n := handSize(t, "SHORT_CONNECTIONS", 20000)
	backend := startProcess(t, "answers", "")
	p := startGoproxy(t, backend.says("listens at (.*)")[1], "")
	churn := func(n int) {
		const workers = 8
		var all sync.WaitGroup
		for range workers {
			all.Go(func() {
				for range n / workers {
					conn, err := net.Dial("tcp", p.addr)
					if err == nil {
						err = get(conn, "Connection: close\r\n")
						_ = conn.Close()
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	// rested waits until the memory of a burst was given back: it is the least
	// that is seen within some seconds.
	rested := func() (files int, bytes int64) {
		bytes = p.resident()
		for end := time.Now().Add(trimEvery + 2*restTime); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			bytes = min(bytes, p.resident())
		}
		return p.openFiles(), bytes
	}
	churn(n / 4) // pools fill, and the record of ended connections
	files, bytes := rested()
	churn(n)
	filesAfter, bytesAfter := rested()
	t.Logf("descriptors %d, then %d; bytes %d, then %d", files, filesAfter, bytes, bytesAfter)
	if filesAfter > files {
		t.Errorf("%d descriptors, %d before", filesAfter, files)
	}
	more := bytes / 20
	if raceDetector {
		more = bytes // it keeps a shadow of all that was ever used
	}
	if bytesAfter > bytes+more {
		t.Errorf("%d bytes resident, %d before", bytesAfter, bytes)
	}
}

// TestR07SlowReadersInAProcess: clients that ask for 1 GiB and take it slowly,
// or say their request a byte at a time, take no more than 1 MiB each, and others
// do not notice them. SLOW_CONNECTIONS=500 and SLOW_SECONDS=60 are for a
// run by hand.
func TestR07SlowReadersInAProcess(t *testing.T) {
	n, seconds := handSize(t, "SLOW_CONNECTIONS", 40), handSize(t, "SLOW_SECONDS", 3)
	backend := startProcess(t, "answers", "")
	p := startGoproxy(t, backend.says("listens at (.*)")[1], "", "CAPTURE_MEMORY_LIMIT=16MiB")
	alone, before := openTime(t, p.addr, 50), p.resident()
	readers, writers := make([]net.Conn, n), make([]net.Conn, n)
	for i := range 2 * n {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		say := "GET /much HTTP/1.1\r\nHost: x\r\n\r\n"
		if i < n {
			readers[i] = conn
		} else {
			writers[i-n], say = conn, "GET / HT"
		}
		if _, err := io.WriteString(conn, say); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 8<<10)
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); time.Sleep(125 * time.Millisecond) {
		for i := range n { // 64 KiB a second
			if _, err := io.ReadFull(readers[i], buf); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(writers[i], "T"); err != nil {
				t.Fatal(err)
			}
		}
	}
	limit := int64(n) << 20
	if raceDetector {
		limit *= 6
	}
	if more := p.resident() - before; more > limit {
		t.Errorf("%d bytes more for %d slow readers", more, n)
	}
	if among := openTime(t, p.addr, 50); among > 2*alone+5*time.Millisecond {
		t.Errorf("a new connection takes %v, %v without the slow ones", among, alone)
	}
}
