package goproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// ask makes a request on a connection and reads its answer.
func ask(conn net.Conn, path string) (string, error) {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return "", err
	}
	return answer(conn)
}

func answer(conn net.Conn) (string, error) {
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), errors.Join(err, resp.Body.Close())
}

// TestR21FewDescriptors: a process that may have 64 files open and little
// memory serves as many as it can, makes the others wait without spinning, and
// serves them when there is room.
func TestR21FewDescriptors(t *testing.T) {
	srv := app(t)
	p := startGoproxy(t, srv.Listener.Addr().String(), "ulimit -n 64", "GOMEMLIMIT=64MiB", "CAPTURE_MEMORY_LIMIT=1MiB")
	const n = 60 // each takes two descriptors
	conns := make([]net.Conn, n)
	var served atomic.Int64
	type outcome struct {
		conn net.Conn
		err  error
	}
	answers := make(chan outcome, n)
	for i := range conns {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
	}
	for i, conn := range conns {
		go func() {
			got, err := ask(conn, fmt.Sprint("/echo/", i))
			if err == nil && got != fmt.Sprint(i, ":") {
				err = fmt.Errorf("%d got %q", i, got)
			}
			served.Add(1)
			answers <- outcome{conn, err}
		}()
	}
	stable := func() (m int64) {
		eventually(t, "no more are served", func() bool {
			m = served.Load()
			time.Sleep(300 * time.Millisecond)
			return m > 0 && served.Load() == m
		})
		return m
	}
	first := stable()
	if first >= n/2 {
		t.Fatalf("%d of %d are served: the limit is not felt", first, n)
	}
	// Nothing spins while the others wait.
	before, began := p.spent(), time.Now()
	time.Sleep(time.Second)
	if used, passed := p.spent()-before, time.Since(began); used > passed/4 {
		t.Errorf("%v of processor time in %v of waiting", used, passed)
	}
	// Who is there goes on.
	there := <-answers
	if got, err := ask(there.conn, "/echo/again"); there.err != nil || err != nil || got != "again:" {
		t.Errorf("%q, %v, %v", got, err, there.err)
	}
	answers <- there
	// As they leave, the others are served.
	for left := n; left > 0; left-- {
		select {
		case o := <-answers:
			if o.err != nil {
				t.Error(o.err)
			}
			_ = o.conn.Close()
		case <-time.After(20 * time.Second):
			t.Fatalf("%d are never served", left)
		}
	}
	if n := strings.Count(p.log.String(), "At the limit of open connections"); n == 0 || n > 20 {
		t.Errorf("it says %d times that it is at the limit", n)
	}
}

// application for the end: /held answers when it is told to, /stream goes on
// for a while after that.
func heldApp(t *testing.T) (srv *httptest.Server, held *atomic.Int64, release chan struct{}) {
	held, release = new(atomic.Int64), make(chan struct{})
	const ticks = 40
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/held":
			held.Add(1)
			select {
			case <-release:
			case <-r.Context().Done():
			}
			_, _ = io.WriteString(w, "held")
		case "/stream":
			held.Add(1)
			for range ticks {
				_, _ = io.WriteString(w, "tick\n")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(50 * time.Millisecond):
				case <-r.Context().Done():
					return
				}
			}
			_, _ = io.WriteString(w, "over")
		default:
			_, _ = io.WriteString(w, "late")
		}
	}))
	t.Cleanup(srv.Close)
	return srv, held, release
}

// TestR31InOrder: at the end of a process with 500 requests in flight, streams
// among them, readiness fails first, connections are accepted for the drain
// delay, then no longer; what is in flight finishes, what was captured is
// shipped, and the status is 0.
func TestR31InOrder(t *testing.T) {
	srv, held, release := heldApp(t)
	diagnostics := deadAddr(t)
	const delay = time.Second
	p := startGoproxy(t, srv.Listener.Addr().String(), "", "DRAIN_DELAY="+delay.String(), "DRAIN_TIMEOUT=60s", "DIAGNOSTICS_ADDR="+diagnostics)
	const n, streams = 500, 25
	answers := make(chan error, n)
	for i := range n {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		path, want := "/held", "held"
		if i < streams {
			path, want = "/stream", strings.Repeat("tick\n", 40)+"over"
		}
		go func() {
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
			var got string
			if err == nil {
				got, err = answer(conn)
			}
			if err == nil && got != want {
				err = fmt.Errorf("%s: %q", path, got)
			}
			answers <- err
		}()
	}
	eventually(t, "all are in flight", func() bool { return held.Load() == n })

	p.signal(syscall.SIGTERM)
	began := time.Now()
	c := client(t)
	eventually(t, "it is not ready", func() bool {
		resp, _ := fetch(t, c, "GET", "http://"+diagnostics+"/readyz", nil)
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	late, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatalf("within the delay: %v", err)
	}
	defer late.Close()
	if got, err := ask(late, "/late"); err != nil || got != "late" {
		t.Errorf("within the delay: %q, %v", got, err)
	}
	eventually(t, "nobody is accepted any more", func() bool {
		conn, err := net.Dial("tcp", p.addr)
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if d := time.Since(began); d < delay {
		t.Errorf("the port closed %v after the signal, before the delay was over", d)
	}
	select {
	case <-p.done:
		t.Fatal("it is gone, with requests in flight")
	default:
	}
	close(release)
	for range n {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if s := p.status(20 * time.Second); s != 0 {
		t.Errorf("status %d", s)
	}
	// Connections that looked whether the port was open are no pairs.
	if got := len(p.forwarder.Pairs()); got != n+1 {
		t.Errorf("%d pairs were shipped, of %d", got, n+1)
	}
	hs := p.forwarder.Heartbeats()
	if len(hs) == 0 || !hs[len(hs)-1].Goodbye {
		t.Error("no goodbye")
	}
}

// TestR31TheSecondSignalIsTheLast: whatever is in flight.
func TestR31TheSecondSignalIsTheLast(t *testing.T) {
	srv, held, _ := heldApp(t)
	p := startGoproxy(t, srv.Listener.Addr().String(), "", "DRAIN_TIMEOUT=60s")
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in flight", func() bool { return held.Load() == 1 })
	p.signal(syscall.SIGTERM)
	p.says("Stopping: connections in flight may finish")
	select {
	case <-p.done:
		t.Fatal("it did not wait")
	case <-time.After(300 * time.Millisecond):
	}
	p.signal(syscall.SIGTERM)
	if s := p.status(10 * time.Second); s != daemonFailed {
		t.Errorf("status %d", s)
	}
}

// TestR24WithinAMoment: from the signal on nothing new is captured within
// 100 ms. That a machine is busy delays one signal or another, so it is the
// median that counts.
func TestR24WithinAMoment(t *testing.T) {
	b := start(t, app(t).Listener.Addr().String(), quiet)
	b.settled()
	var took []time.Duration
	for i := range 21 {
		on := i%2 == 1
		began := time.Now()
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the signal is heard", func() bool { return b.observer.Capture() == on })
		took = append(took, time.Since(began))
	}
	if m := median(took); m > 100*time.Millisecond {
		t.Errorf("it takes %v", m)
	}
}

// TestR08InAProcess: 100 MiB each way do not make the process larger. By hand:
// WEIR_R08_BYTES=5368709120.
func TestR08InAProcess(t *testing.T) {
	size := handSize(t, "WEIR_R08_BYTES", 100<<20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil || n != int64(size) {
			http.Error(w, fmt.Sprintf("%d bytes, %v", n, err), http.StatusBadRequest)
			return
		}
		_, _ = io.Copy(w, &pattern{size})
	}))
	t.Cleanup(srv.Close)
	p := startGoproxy(t, srv.Listener.Addr().String(), "", "CAPTURE_BODY_LIMIT=64KiB")
	// The first one takes what the process keeps.
	exchangeBodies(t, p.addr, 8<<20, false)
	before := p.resident()
	var most atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			most.Store(max(most.Load(), p.resident()))
			time.Sleep(20 * time.Millisecond)
		}
	})
	exchangeBodies(t, p.addr, size, true)
	cancel()
	wg.Wait()
	if grown := most.Load() - before; grown > 32<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	} else {
		t.Logf("%d MiB each way: the process grew from %d MiB by %d KiB at most", size>>20, before>>20, grown>>10)
	}
	eventually(t, "a pair has the whole sizes", func() bool {
		for _, rr := range p.forwarder.Pairs() {
			if rr.Status == http.StatusOK && rr.Response.BodySize == uint64(size) && rr.Request.BodySize == uint64(size) && rr.Response.Truncated {
				return true
			}
		}
		return false
	})
}

// TestR03NothingIsLeftInTheKernel: behind half-closed connections of every kind
// no socket of the proxy waits for an end that came.
func TestR03NothingIsLeftInTheKernel(t *testing.T) {
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), quiet)
	for i := range 30 {
		client, server := connect(t, ln, b.Addr().String())
		exchange(t, client, server, []byte("all there is"), 0)
		first, second := client, server
		if i%2 == 1 {
			first, second = server, client
		}
		_ = first.CloseWrite()
		if i%3 == 0 { // the other end says more; or nothing; or is gone at once
			exchange(t, second, first, []byte("and an answer"), 0)
		}
		if i%3 == 2 {
			_ = second.SetLinger(0)
		}
		_, _ = second.Close(), first.Close()
	}
	front, back := b.Addr().(*net.TCPAddr).Port, ln.Addr().(*net.TCPAddr).Port
	eventually(t, "no socket waits", func() bool { return waitingSockets(t, front, back) == 0 })
}

// waitingSockets counts the proxy's sockets in CLOSE_WAIT and FIN_WAIT2: those
// of its port, and those to its upstream's.
func waitingSockets(t *testing.T, front, back int) (n int) {
	t.Helper()
	data, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		t.Fatal(err)
	}
	const finWait2, closeWait = "05", "08"
	mine, theirs := fmt.Sprintf(":%04X", front), fmt.Sprintf(":%04X", back)
	for line := range strings.Lines(string(data)) { // there may be many of others
		f := strings.Fields(line) // slot, local address, remote address, state
		if len(f) > 3 && (f[3] == finWait2 || f[3] == closeWait) && (strings.HasSuffix(f[1], mine) || strings.HasSuffix(f[2], theirs)) {
			n++
		}
	}
	return n
}

// TestR39LatencyCost prints what the proxy adds to a small exchange on a kept
// connection, with capture on and off, beside none: direct, off and on take
// turns. It sets no limit, because machines that run tests are busy; make
// bench-all measures the same beside other proxies.
func TestR39LatencyCost(t *testing.T) {
	srv := app(t)
	upstream := srv.Listener.Addr().String()
	on := start(t, upstream, quiet)
	off := start(t, upstream, func(c *Config) { quiet(c); c.Capture = false })
	ways := []struct {
		name, addr string
		took       []time.Duration
		conn       net.Conn
	}{{name: "direct", addr: upstream}, {name: "capture off", addr: off.Addr().String()}, {name: "capture on", addr: on.Addr().String()}}
	for i := range ways {
		conn, err := net.Dial("tcp", ways[i].addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ways[i].conn = conn
	}
	const rounds = 2000
	for n := range rounds {
		for i := range ways {
			w := &ways[(i+n)%len(ways)] // nobody is always first
			began := time.Now()
			if got, err := ask(w.conn, "/echo/1"); err != nil || got != "1:" {
				t.Fatalf("%s: %q, %v", w.name, got, err)
			}
			w.took = append(w.took, time.Since(began))
		}
	}
	for i := range ways {
		slices.Sort(ways[i].took)
	}
	at := func(i, per1000 int) time.Duration { return ways[i].took[rounds*per1000/1000] }
	for i, w := range ways {
		ratio := func(per1000 int) float64 { return float64(at(i, per1000)) / float64(at(0, per1000)) }
		t.Logf("%-11s  p50 %v (%.2f of direct)  p99 %v (%.2f of direct)", w.name, at(i, 500), ratio(500), at(i, 990), ratio(990))
	}
}
