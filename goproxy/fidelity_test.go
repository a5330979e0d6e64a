package goproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/protocol/protocoltest"
)

// quiet keeps a proxy that carries much from filling its log.
func quiet(c *Config) { c.LogLevel = slog.LevelInfo }

// connect opens a connection to addr, and gives both its ends: the client's
// and the one that ln accepts, at once or behind a proxy.
func connect(t testing.TB, ln net.Listener, addr string) (client, server *net.TCPConn) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.(*net.TCPListener).SetDeadline(deadline)
	s, err := ln.Accept()
	if err != nil {
		_ = c.Close()
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{c, s} {
		_ = conn.SetDeadline(deadline)
		t.Cleanup(func() { _ = conn.Close() })
	}
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// ending reads an end that must come now, and says of which kind it is.
func ending(c net.Conn) string {
	n, err := c.Read(make([]byte, 1))
	switch {
	case n > 0:
		return "more bytes"
	case errors.Is(err, io.EOF):
		return "FIN"
	case errors.Is(err, syscall.ECONNRESET):
		return "RST"
	}
	return err.Error()
}

// exchange has one end write and the other read, in step, and returns what was
// read. A step of many segments is bounded: their number is what takes time.
func exchange(t testing.TB, from, to net.Conn, data []byte, segment int) []byte {
	t.Helper()
	if segment > 0 {
		data = data[:min(len(data), 1000*segment)]
	} else {
		segment = max(len(data), 1)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for piece := range slices.Chunk(data, segment) {
			if _, err := from.Write(piece); err != nil {
				t.Errorf("write: %v", err)
				return
			}
		}
	})
	got := make([]byte, len(data))
	n, err := io.ReadFull(to, got)
	if err != nil {
		t.Errorf("read %d of %d bytes: %v", n, len(got), err)
		_ = from.Close()
	}
	wg.Wait()
	return got[:n]
}

// transcript plays a conversation, and tells what each end received and how it
// ended for it.
func transcript(t testing.TB, ln net.Listener, addr string, steps []protocoltest.Step, segment int) string {
	t.Helper()
	client, server := connect(t, ln, addr)
	ends := [2]*net.TCPConn{client, server} // by the direction that they send in
	var got [2]bytes.Buffer
	var how [2]string
	end := func(d int, reset bool) {
		if reset {
			_ = ends[d].SetLinger(0)
			_ = ends[d].Close()
		} else if err := ends[d].CloseWrite(); err != nil {
			t.Error(err)
		}
		how[d] = ending(ends[1-d])
	}
	for _, s := range steps {
		d := int(s.Dir)
		switch {
		case t.Failed() || how[0] == "RST" || how[1] == "RST" || how[d] != "":
		case s.End:
			end(d, s.Reset)
		case s.Gap > 0: // a decoder did not see them; they were carried all the same
			got[d].Write(exchange(t, ends[d], ends[1-d], make([]byte, min(s.Gap, 64<<10)), segment))
		default:
			got[d].Write(exchange(t, ends[d], ends[1-d], s.Data, segment))
		}
	}
	for d := range ends {
		if how[0] != "RST" && how[1] != "RST" && how[d] == "" {
			end(d, false)
		}
	}
	_, _ = client.Close(), server.Close()
	var out strings.Builder
	for d, who := range []string{"client", "server"} {
		fmt.Fprintf(&out, "the %s said %d bytes %x, and ended: %s\n", who, got[d].Len(), xxh3.Hash128(got[d].Bytes()).Bytes(), how[d])
	}
	return out.String()
}

// TestR01Conversations plays every conversation that a decoder is tested with
// directly and through the proxy, with capture on, in segments of several
// sizes: what either end receives, and how it ends, must not differ. (The
// corner cases of ends are relay's TestR01.)
func TestR01Conversations(t *testing.T) {
	files, err := filepath.Glob("../protocol/*/testdata/*.conv")
	if err != nil || len(files) < 200 {
		t.Fatalf("%d conversations: %v", len(files), err)
	}
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), quiet)
	protocols := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		conv, err := protocoltest.ParseConversation(string(text))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), "../protocol/"), ".conv")
		of, _, _ := strings.Cut(name, "/")
		protocols[of] = true
		t.Run(strings.Replace(name, "/testdata/", "/", 1), func(t *testing.T) {
			for _, segment := range []int{1, 7, 1448, 0} {
				direct := transcript(t, ln, ln.Addr().String(), conv.Steps, segment)
				if proxied := transcript(t, ln, b.Addr().String(), conv.Steps, segment); proxied != direct {
					t.Errorf("segments of %d\ndirect:\n%sproxied:\n%s", segment, direct, proxied)
				}
			}
		})
	}
	if n := b.ledger.Faults.Load(); n != 0 {
		t.Errorf("%d faults of capture", n)
	}
	if len(protocols) < 10 {
		t.Errorf("conversations of %d protocols only: %v", len(protocols), protocols)
	}
}

// TestR02NoDetectionStall: nobody waits for the proxy to find out what is
// spoken. That a machine is busy adds to one exchange or another; a stall would
// be in each of them, and be no shorter than a person's idea of a timeout. So
// direct and proxied exchanges take turns, and the faster half of either is
// compared.
func TestR02NoDetectionStall(t *testing.T) {
	for name, c := range map[string]struct{ greeting, say, reply string }{
		"mysql": {greeting: "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00mysql_native\x00"},
		"smtp":  {greeting: "220 mail.example ESMTP ready\r\n"},
		"nats":  {greeting: `INFO {"server_id":"a","version":"2.10.0"}` + "\r\n"},
		// A first byte that several protocols could begin with.
		"one byte": {say: "G", reply: "ok"},
	} {
		t.Run(name, func(t *testing.T) {
			ln := listenLoop(t)
			b := start(t, ln.Addr().String(), quiet)
			first := func(addr string) time.Duration {
				client, server := connect(t, ln, addr)
				defer func() { _, _ = client.Close(), server.Close() }()
				began := time.Now()
				if c.greeting != "" {
					exchange(t, server, client, []byte(c.greeting), 0) // the client is silent
				} else {
					exchange(t, client, server, []byte(c.say), 0) // and waits
					exchange(t, server, client, []byte(c.reply), 0)
				}
				return time.Since(began)
			}
			var direct, proxied []time.Duration
			for range 51 {
				direct, proxied = append(direct, first(ln.Addr().String())), append(proxied, first(b.Addr().String()))
			}
			slices.Sort(direct)
			slices.Sort(proxied)
			quarter := len(direct) / 4
			t.Logf("to the first byte: %v directly, %v through the proxy (median); %v and %v (first quarter)",
				direct[2*quarter], proxied[2*quarter], direct[quarter], proxied[quarter])
			if proxied[quarter] > direct[quarter]+2*time.Millisecond {
				t.Errorf("the proxy adds %v", proxied[quarter]-direct[quarter])
			}
		})
	}
}

// openFiles counts the descriptors of this process.
func openFiles(t testing.TB) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

// TestR03HalfClose: a side that has said all it has to say is answered in
// full, however late, and nothing is left of the connection.
func TestR03HalfClose(t *testing.T) {
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), quiet)
	files, routines := b.settled()
	const answer = "the whole answer"
	for _, who := range []string{"client", "server"} {
		for range 5 {
			first, second := connect(t, ln, b.Addr().String())
			if who == "server" {
				first, second = second, first
			}
			exchange(t, first, second, []byte("all there is"), 0)
			if err := first.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if how := ending(second); how != "FIN" {
				t.Fatalf("the %s closed its half; the other end sees %s", who, how)
			}
			time.Sleep(20 * time.Millisecond) // it thinks about it
			if _, err := second.Write([]byte(answer)); err != nil {
				t.Fatal(err)
			}
			_ = second.CloseWrite()
			if got, err := io.ReadAll(first); err != nil || string(got) != answer {
				t.Errorf("the %s closed its half, and received %q, %v", who, got, err)
			}
			_, _ = first.Close(), second.Close()
		}
	}
	for range 5 { // both at once
		client, server := connect(t, ln, b.Addr().String())
		_, _ = client.CloseWrite(), server.CloseWrite()
		if a, b := ending(client), ending(server); a != "FIN" || b != "FIN" {
			t.Errorf("both closed; they see %s and %s", a, b)
		}
		_, _ = client.Close(), server.Close()
	}
	eventually(t, "nothing is left of the connections", func() bool {
		return b.conns.len() == 0 && openFiles(t) <= files+1 && runtime.NumGoroutine() <= routines+2
	})
}

// TestR04Resets: a reset arrives as one, within 50 ms, behind all that was sent
// before it, and the pair says whose it was.
func TestR04Resets(t *testing.T) {
	const (
		request  = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
		response = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalfhalf"
		half     = len(response) - 4
	)
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), quiet)
	for _, who := range []string{"client", "server"} {
		for _, c := range []struct {
			when, request, response string
			flag                    capturev1.Flag
		}{
			{when: "before anything"},
			{"behind a request", request, "", capturev1.Flag_FLAG_NO_RESPONSE},
			{"within a response", request, response[:half], capturev1.Flag_FLAG_INCOMPLETE},
			{"behind a response", request, response, 0},
		} {
			t.Run(who+" "+c.when, func(t *testing.T) {
				fastest := time.Hour // of a few: others want the machine too
				for range 5 {
					client, server := connect(t, ln, b.Addr().String())
					exchange(t, client, server, []byte(c.request), 0)
					me, other := client, server
					if who == "server" {
						me, other = server, client
					}
					// The last bytes are on their way when the reset is sent; a reset
					// of the receiver's own makes them worthless.
					if who == "server" {
						_, _ = server.Write([]byte(c.response))
					} else {
						exchange(t, server, client, []byte(c.response), 0)
					}
					began := time.Now()
					_ = me.SetLinger(0)
					_ = me.Close()
					got, err := io.ReadAll(other)
					if !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("the other end sees %v", err)
					}
					fastest = min(fastest, time.Since(began))
					if who == "server" && string(got) != c.response {
						t.Errorf("%q arrived before it", got)
					}
					_ = other.Close()
					if c.request == "" {
						continue
					}
					p := b.pairOf(client.LocalAddr())
					if want := "reset by " + who; c.flag != 0 && (p.Error != want || !has(p, c.flag)) || c.flag == 0 && (p.Error != "" || len(p.Flags) > 0) {
						t.Errorf("the pair says %q %v", p.Error, p.Flags)
					}
				}
				if fastest > 50*time.Millisecond {
					t.Errorf("the reset took %v", fastest)
				}
			})
		}
	}
}

// TestR05BackendDiesMidResponse: the client sees the same prefix and the same
// end as it would without a proxy, and the pair says that it is not whole.
func TestR05BackendDiesMidResponse(t *testing.T) {
	const body = "0123456789abcdef"
	for framing, response := range map[string][2]string{
		"length":  {"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", body},
		"chunked": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\n" + body + "\r\n0\r\n\r\n"},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s reset=%v", framing, reset), func(t *testing.T) {
				ln := listenLoop(t)
				b := start(t, ln.Addr().String(), quiet)
				want := "closed by server"
				if reset {
					want = "reset by server"
				}
				pairs := 0
				for _, k := range []int{-1, 0, 1, len(response[1]) / 2, len(response[1]) - 1} {
					says := ""
					if k >= 0 {
						says = response[0] + response[1][:k]
					}
					var seen [2]string
					for i, addr := range []string{ln.Addr().String(), b.Addr().String()} {
						client, server := connect(t, ln, addr)
						exchange(t, client, server, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0)
						got := exchange(t, server, client, []byte(says), 0)
						if reset {
							_ = server.SetLinger(0)
						}
						_ = server.Close()
						seen[i] = fmt.Sprintf("%q, %s", got, ending(client))
						_ = client.Close()
					}
					if seen[0] != seen[1] {
						t.Errorf("%d bytes of the body\ndirect:  %s\nproxied: %s", k, seen[0], seen[1])
					}
					pairs++
					flag := capturev1.Flag_FLAG_INCOMPLETE
					if k < 0 {
						flag = capturev1.Flag_FLAG_NO_RESPONSE
					}
					if p := b.pairs(pairs)[pairs-1]; !has(p, flag) || p.Error != want {
						t.Errorf("%d bytes of the body: %v %q", k, p.Flags, p.Error)
					}
				}
			})
		}
	}
}

// blackHole is an address that takes no connection and refuses none: whoever
// listens there accepts nothing, and its queue is full.
func blackHole(t *testing.T) string {
	t.Helper()
	ln := listenLoop(t)
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = unix.Listen(int(fd), 0) }); err != nil || failed != nil {
		t.Fatal(err, failed)
	}
	for range 10 {
		conn, err := net.DialTimeout("tcp", ln.Addr().String(), 200*time.Millisecond)
		if err != nil {
			return ln.Addr().String()
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// TestR06ABlackHole: a dial that nobody answers ends with its timeout. Other
// clients are accepted meanwhile, and nothing piles up.
func TestR06ABlackHole(t *testing.T) {
	const timeout = 400 * time.Millisecond
	b := start(t, blackHole(t), nil, func(p *Proxy) { p.dialer.Timeout = timeout })
	_, routines := b.settled()
	const n = 20
	began := time.Now()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			conn, err := net.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetReadDeadline(began.Add(10 * time.Second))
			how := ending(conn)
			if d := time.Since(began); how != "RST" || d < timeout || d > timeout+5*time.Second {
				t.Errorf("the client sees %s after %v", how, d)
			}
		})
	}
	eventually(t, "all are accepted, although none is through", func() bool { return b.ledger.ConnsAccepted.Load() == n })
	wg.Wait()
	for _, p := range b.pairs(n) {
		if p.Error != "dial: timeout" || !has(p, capturev1.Flag_FLAG_NO_RESPONSE) {
			t.Errorf("%v", p)
		}
	}
	eventually(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= routines+2 })
	if lines := strings.Count(b.log.String(), `"M":"dial() `); lines == 0 || lines > 3 {
		t.Errorf("%d lines for %d dials within a second", lines, n)
	}
}

// pattern gives n bytes in pieces.
type pattern struct{ n int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.n == 0 {
		return 0, io.EOF
	}
	n := min(len(b), len(large), p.n)
	p.n -= copy(b[:n], large)
	return n, nil
}

// TestR08LargeBodies: 100 MiB each way cost no more memory than small ones; the
// pair has the first of them, the size and the hash of the whole.
func TestR08LargeBodies(t *testing.T) {
	const size = 100 << 20
	var received atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received.Store(n)
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(size))
		}
		_, _ = io.Copy(w, &pattern{size})
	}))
	t.Cleanup(srv.Close)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { quiet(c); c.BodyLimit = 64 << 10 })
	heap := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse)
	}
	before := heap()
	for i, path := range []string{"/length", "/chunked"} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", b.url(path), &pattern{size})
		if err != nil {
			t.Fatal(err)
		}
		if path == "/length" {
			req.ContentLength = size
		}
		c := client(t)
		c.Timeout = time.Minute
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		hash, n := xxh3.New(), 0
		for buf := make([]byte, 64<<10); ; {
			k, err := resp.Body.Read(buf)
			_, _ = hash.Write(buf[:k])
			n += k
			if n>>23 != (n-k)>>23 { // now and then
				if grown := heap() - before; grown > 32<<20 {
					t.Fatalf("after %d bytes the heap has grown by %d", n, grown)
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = resp.Body.Close()
		if n != size || received.Load() != size {
			t.Errorf("%s: %d bytes down, %d up", path, n, received.Load())
		}
		p := b.pairs(i + 1)[i]
		sum := hash.Sum128().Bytes()
		if m := p.Response; m.BodySize != size || !m.Truncated || len(m.Body) != 64<<10 || !bytes.Equal(m.BodyHash, sum[:]) {
			t.Errorf("%s: %d bytes, truncated %v, %d kept, hash %x of %x", path, m.BodySize, m.Truncated, len(m.Body), m.BodyHash, sum)
		}
		if m := p.Request; m.BodySize != size || !m.Truncated || len(m.Body) != 64<<10 {
			t.Errorf("%s: %d bytes up, truncated %v, %d kept", path, m.BodySize, m.Truncated, len(m.Body))
		}
	}
}

// TestR10Churn: short connections leave nothing behind.
func TestR10Churn(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), quiet)
	files, routines := b.settled()
	const workers, each = 4, 500
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				conn, err := net.Dial("tcp", b.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.WriteString(conn, "GET /echo/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
				got, err := io.ReadAll(conn)
				_ = conn.Close()
				if err != nil || !bytes.HasSuffix(got, []byte("\r\n\r\n1:")) {
					t.Errorf("%q, %v", got, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.pairs(workers * each)
	eventually(t, "nothing is left of the connections", func() bool {
		return b.conns.len() == 0 && openFiles(t) <= files+2 && runtime.NumGoroutine() <= routines+5
	})
}

// TestR42ClientAddress: the pair has the address that the client itself knows.
func TestR42ClientAddress(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /echo/1 HTTP/1.0\r\n\r\n")
	if _, err := io.ReadAll(conn); err != nil {
		t.Fatal(err)
	}
	if p := b.pairs(1)[0]; p.Client != conn.LocalAddr().String() || p.Server != srv.Listener.Addr().String() {
		t.Errorf("from %s to %s; the client is %v", p.Client, p.Server, conn.LocalAddr())
	}
}

// TestR07SlowClients: many clients that send a head a byte at a time, or ask
// for much and do not read it, cost no more than their buffers, and nobody
// else notices them.
func TestR07SlowClients(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), quiet)
	const each = 60
	var slow []net.Conn
	for i := range 2 * each {
		conn, err := net.Dial("tcp", b.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if slow = append(slow, conn); i < each {
			_, _ = io.WriteString(conn, "GET /echo/1 HT")
		} else {
			_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
			_, _ = io.WriteString(conn, "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
		}
	}
	eventually(t, "all are served", func() bool { return b.conns.len() == 2*each && b.ledger.Pairs().Seen >= each })
	c := client(t)
	for range 50 {
		for _, conn := range slow[:each] {
			_, _ = io.WriteString(conn, "T")
		}
		if _, body := fetch(t, c, "GET", b.url("/echo/quick"), nil); string(body) != "quick:" {
			t.Errorf("%q", body)
		}
	}
	if used := b.budget.Used(); used > b.budget.Limit() {
		t.Errorf("capture holds %d bytes of %d", used, b.budget.Limit())
	}
	for _, conn := range slow {
		_ = conn.Close()
	}
	eventually(t, "all are over", func() bool { return b.conns.len() <= 1 })
}
