package goproxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/relay"
)

// app is an application that answers in every way that matters.
func app(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/echo/{id}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Id", r.PathValue("id"))
		_, _ = w.Write(append([]byte(r.PathValue("id")+":"), body...))
	})
	mux.HandleFunc("/status/204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/status/500", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oh", http.StatusInternalServerError) })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(large) })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(large[:5000])
		_ = z.Close()
	})
	mux.HandleFunc("/chunked", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		for i := range 3 {
			fmt.Fprintf(w, "part %d;", i)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("X-Sum", "3")
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := fmt.Fprint(w, "data: tick\n\n"); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
				// Returning would end the body properly, which nobody would
				// then call broken off.
				panic(http.ErrAbortHandler)
			case <-time.After(5 * time.Millisecond):
			}
		}
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(400 * time.Millisecond):
		}
		fmt.Fprint(w, "done")
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv
}

var large = func() []byte {
	b := make([]byte, 3<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(b)
	return b
}()

func fetch(t testing.TB, c *http.Client, method, url string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func has(p *capturev1.RRPair, f capturev1.Flag) bool { return slices.Contains(p.Flags, f) }

func TestR25AnswersOfEveryKind(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	c := client(t)
	for _, want := range []struct {
		method, path string
		status       int32
		size         int
	}{
		{"GET", "/status/204", 204, 0},
		{"GET", "/status/500", 500, 3},
		{"HEAD", "/large", 200, 0},
		{"GET", "/large", 200, len(large)},
		{"GET", "/gzip", 200, -1},
		{"GET", "/chunked", 200, 21},
	} {
		before := len(b.forwarder.Pairs())
		_, body := fetch(t, c, want.method, b.url(want.path), nil)
		p := b.pairs(before + 1)[before]
		if p.Status != want.status || p.Method != want.method || p.Path != want.path || p.Error != "" {
			t.Errorf("%s %s: %d %q", p.Method, p.Path, p.Status, p.Error)
		}
		if want.size >= 0 && len(body) != want.size {
			t.Errorf("%s: the client received %d bytes", want.path, len(body))
		}
		m := p.Response
		if m.BodySize != uint64(len(body)) || !bytes.HasPrefix(body, m.Body) {
			t.Errorf("%s: %d bytes in the pair, %d at the client", want.path, m.BodySize, len(body))
		}
		if len(body) > 0 {
			if h := xxh3.Hash128(body).Bytes(); !bytes.Equal(m.BodyHash, h[:]) {
				t.Errorf("%s: the hash is not that of what the client received", want.path)
			}
		}
		if truncated := len(body) > 1<<20; m.Truncated != truncated || has(p, capturev1.Flag_FLAG_TRUNCATED) != truncated || truncated && len(m.Body) != 1<<20 {
			t.Errorf("%s: truncated %v, %d bytes kept", want.path, m.Truncated, len(m.Body))
		}
		switch want.path {
		case "/chunked":
			if len(m.Chunks) != 3 || !bytes.Contains(m.Trailers, []byte("X-Sum: 3")) {
				t.Errorf("chunks %v, trailers %q", m.Chunks, m.Trailers)
			}
		case "/gzip":
			z, err := gzip.NewReader(bytes.NewReader(m.Body))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, large[:5000]) {
				t.Errorf("the body does not unpack to what was sent: %v", err)
			}
		}
	}
}

// TestNothingLostTwiceOrMixed: many clients on kept connections, every request
// with an id; the pairs must tell the same story as the clients.
func TestNothingLostTwiceOrMixed(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	const clients, requests = 8, 60
	var wg sync.WaitGroup
	for w := range clients {
		c := client(t)
		wg.Go(func() {
			for i := range requests {
				id := fmt.Sprintf("%d-%d", w, i)
				resp, err := c.Post(b.url("/echo/"+id), "text/plain", strings.NewReader("body of "+id))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || string(body) != id+":body of "+id {
					t.Errorf("%q %v", body, err)
				}
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, p := range b.pairs(clients * requests) {
		id := strings.TrimPrefix(p.Path, "/echo/")
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if string(p.Request.Body) != "body of "+id || string(p.Response.Body) != id+":body of "+id || p.Error != "" || len(p.Flags) != 0 {
			t.Errorf("%s: %q %q %q %v", id, p.Request.Body, p.Response.Body, p.Error, p.Flags)
		}
	}
	if l := b.ledger.Pairs(); l.Seen != clients*requests || l.Open != 0 {
		t.Errorf("%+v", l)
	}
}

func TestR25Pipelining(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 100
	var out bytes.Buffer
	for i := range n {
		fmt.Fprintf(&out, "GET /echo/%d HTTP/1.1\r\nHost: x\r\n\r\n", i)
	}
	if _, err := conn.Write(out.Bytes()); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(conn)
	for range n {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
	for i, p := range b.pairs(n) {
		if want := fmt.Sprintf("%d:", i); p.Seq != uint64(i) || p.Path != fmt.Sprint("/echo/", i) || string(p.Response.Body) != want {
			t.Errorf("pair %d: %s %q", i, p.Path, p.Response.Body)
		}
	}
}

func TestR04AnAbortedDownload(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", b.url("/stream"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 36)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = resp.Body.Close()
	p := b.pairs(1)[0]
	if !has(p, capturev1.Flag_FLAG_INCOMPLETE) || !strings.HasSuffix(p.Error, "by client") || !bytes.HasPrefix(p.Response.Body, []byte("data: tick\n\n")) {
		t.Errorf("%q %v %q", p.Error, p.Flags, p.Response.Body)
	}
}

func TestTLSIsCarriedAndNamed(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "private") }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	b := start(t, srv.Listener.Addr().String(), nil)
	tr := srv.Client().Transport.(*http.Transport).Clone()
	tr.TLSClientConfig.ServerName = "example.com"
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", b.Addr().String())
	}
	resp, body := fetch(t, &http.Client{Transport: tr}, "GET", "https://example.com/", nil)
	if string(body) != "private" || resp.TLS == nil || resp.ProtoMajor != 2 {
		t.Errorf("%q", body)
	}
	tr.CloseIdleConnections()
	p := b.pairs(1)[0]
	if p.Protocol != "tls" || p.Tags["tls.sni"] != "example.com" || !strings.Contains(p.Tags["tls.alpn"], "h2") || p.Request.BodySize == 0 || p.Response.BodySize == 0 || len(p.Request.Body) != 0 {
		t.Errorf("%v", p)
	}
	// A client that closes with something unread resets.
	if p.Error != "" && p.Error != "reset by client" {
		t.Error(p.Error)
	}
	if !strings.Contains(b.log.String(), "terminate TLS before goproxy") {
		t.Error("nobody says what that means")
	}
}

// TestR02TheServerMaySpeakFirst: a client that waits for a greeting gets it.
func TestR02TheServerMaySpeakFirst(t *testing.T) {
	ln := listenLoop(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 mail.example ready\r\n")
		_, _ = io.Copy(io.Discard, c)
	})
	t.Cleanup(wg.Wait)
	b := start(t, ln.Addr().String(), nil)
	conn, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	greeting := make([]byte, 24)
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, greeting); err != nil || string(greeting) != "220 mail.example ready\r\n" {
		t.Fatalf("%q %v", greeting, err)
	}
	_ = conn.Close()
	if p := b.pairs(1)[0]; p.Protocol != "opaque" || p.Response.BodySize != 24 {
		t.Errorf("%v", p)
	}
}

// deadAddr is an address where nobody listens.
func deadAddr(t *testing.T) string {
	t.Helper()
	ln := listenLoop(t)
	_ = ln.Close()
	return ln.Addr().String()
}

func TestR06AnUpstreamThatRefuses(t *testing.T) {
	addr := deadAddr(t)
	b := start(t, addr, nil, func(p *Proxy) { p.advisor.container = true })
	const n = 20
	for range n {
		conn, err := net.Dial("tcp", b.Addr().String())
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			_, err = conn.Read(make([]byte, 1))
			_ = conn.Close()
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("the client sees %v, want a reset", err)
		}
	}
	for _, p := range b.pairs(n) {
		if p.Error != "dial: connection refused" || !has(p, capturev1.Flag_FLAG_NO_RESPONSE) || p.Server != addr {
			t.Errorf("%v", p)
		}
	}
	if s := b.state(); !strings.Contains(s.UpstreamError, "connection refused") {
		t.Errorf("%v", s)
	}
	eventually(t, "the rest of the failures is counted", func() bool { return strings.Contains(b.log.String(), `"suppressed":`) })
	var dial, giveUp []string
	for line := range strings.Lines(b.log.String()) {
		if _, line, ok := strings.Cut(line, `Z","M":"dial() `); ok {
			dial = append(dial, line)
		}
		if _, line, ok := strings.Cut(line, `Z","M":"DIRECT||`); ok {
			giveUp = append(giveUp, line)
		}
	}
	hint := `"hint":"goproxy runs in a container, where 127.0.0.1 is the container itself: set REVERSE_PROXY_HOST to the name or address of the host."`
	failed := `"error":"dial tcp ` + addr + `: connect: connection refused",` + hint + "}\n"
	if want := `ERR could not connect","addr":"` + addr + `",` + failed; dial[0] != want {
		t.Errorf("got  %swant %s", dial[0], want)
	}
	if want := `Could not connect, giving up",` + failed; giveUp[0] != want {
		t.Errorf("got  %swant %s", giveUp[0], want)
	}
	if len(dial) > 3 || len(giveUp) > 3 {
		t.Errorf("%d and %d lines", len(dial), len(giveUp))
	}
}

// TestR21MemoryIsShedAndTrafficIsNot: no forwarder, little memory, large bodies.
func TestR21MemoryIsShedAndTrafficIsNot(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) {
		c.Forwarder = deadAddr(t)
		c.MemoryLimit = 1 << 20
	})
	var wg sync.WaitGroup
	for range 4 {
		c := client(t)
		wg.Go(func() {
			for i := range 150 {
				if i%30 == 0 {
					resp, err := c.Get(b.url("/large"))
					if err != nil {
						t.Error(err)
						return
					}
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || !bytes.Equal(body, large) {
						t.Errorf("%d bytes: %v", len(body), err)
					}
				}
				id := fmt.Sprint(i)
				resp, err := c.Post(b.url("/echo/"+id), "text/plain", bytes.NewReader(large[:8000]))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || !bytes.Equal(body, append([]byte(id+":"), large[:8000]...)) {
					t.Errorf("%d bytes: %v", len(body), err)
				}
				if u := b.budget.Used(); u > 1<<20 {
					t.Errorf("capture holds %d bytes", u)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "no pair is open", func() bool { return b.ledger.Pairs().Open == 0 })
	l := b.ledger.Pairs()
	if l.Seen != 4*155 || l.Dropped["memory"] == 0 || l.Waiting == 0 || l.Seen != l.Waiting+l.Dropped["memory"] || b.ledger.BodiesShed.Load() == 0 {
		t.Errorf("%+v, %d bodies shed", l, b.ledger.BodiesShed.Load())
	}
}

// TestTheForwarderComesLater: start order does not matter.
func TestTheForwarderComesLater(t *testing.T) {
	srv := app(t)
	ln := listenLoop(t)
	addr := ln.Addr().String()
	_ = ln.Close()
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.Forwarder = addr })
	fetch(t, client(t), "GET", b.url("/status/204"), nil)
	again, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	stop := b.forwarder.Serve(again)
	t.Cleanup(func() { _ = b.stop(); stop() })
	b.pairs(1)
}

// TestR24KillSwitchUnderLoad turns capture off and on under load: no client notices, and
// what passed meanwhile is not in any pair.
func TestR24KillSwitchUnderLoad(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	var phase atomic.Value
	phase.Store("before")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		c := client(t)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				id := phase.Load().(string)
				resp, err := c.Get(b.url("/echo/" + id))
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != id+":" {
					t.Errorf("%q %v", body, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
	wait := func(what string, cond func() bool) { eventually(t, what, cond) }
	bytesCarried := b.ledger.ServerToClient.Load
	toggle := func(on bool) {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		wait("the signal is heard", func() bool { return b.observer.Capture() == on })
	}
	wait("pairs come", func() bool { return len(b.forwarder.Pairs()) > 50 })
	toggle(false)
	phase.Store("off")
	start := bytesCarried()
	wait("traffic goes on", func() bool { return bytesCarried() > start+50_000 })
	phase.Store("late")
	start = bytesCarried()
	wait("traffic goes on", func() bool { return bytesCarried() > start+50_000 })
	toggle(true)
	phase.Store("after")
	// The kept connections are opaque for good; a new one is not.
	fetch(t, client(t), "GET", b.url("/echo/fresh"), nil)
	close(stop)
	wg.Wait()
	b.conns.cut()
	wait("the connections are over", func() bool { return b.conns.len() == 0 && b.ledger.Pairs().Open == 0 })
	var midstream int
	var fresh bool
	eventually(t, "everything arrives", func() bool {
		l := b.ledger.Pairs()
		return l.Waiting == 0 && uint64(len(b.forwarder.Pairs())) == l.Batched
	})
	for _, p := range b.forwarder.Pairs() {
		if p.Path == "/echo/off" {
			t.Errorf("captured while off: %v", p)
		}
		if has(p, capturev1.Flag_FLAG_MIDSTREAM) {
			midstream++
			if p.Protocol != "opaque" || len(p.Request.GetHead()) != 0 {
				t.Errorf("joined in the middle: %v", p)
			}
		}
		fresh = fresh || p.Path == "/echo/fresh"
	}
	if midstream == 0 || !fresh {
		t.Errorf("%d connections were joined in the middle; the new one is there: %v", midstream, fresh)
	}
}

// TestR41ALoopIsCut: an upstream that turns out at run time to be the proxy
// itself is dialled by nobody.
func TestR41ALoopIsCut(t *testing.T) {
	for _, host := range []string{"localhost", "127.0.0.1"} {
		t.Run(host, func(t *testing.T) {
			b := start(t, deadAddr(t), nil, func(p *Proxy) {
				p.dialer = relay.NewDialer(net.JoinHostPort(host, strconv.Itoa(p.listener.Addr().Port)), dialTimeout, p.refuseOwn)
			})
			conn, err := net.Dial("tcp", b.Addr().String())
			if err == nil {
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				_, err = conn.Read(make([]byte, 1))
				_ = conn.Close()
			}
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client sees %v, want a reset", err)
			}
			eventually(t, "it is over", func() bool { return b.ledger.ConnsFailed.Load() > 0 && b.conns.len() == 0 })
			if n := b.ledger.ConnsAccepted.Load(); n > 3 {
				t.Errorf("the loop went round %d times", n)
			}
			if !strings.Contains(b.log.String(), "leads back to this proxy") {
				t.Error("nobody says so")
			}
		})
	}
}

func TestR41SelfIsRefusedAtTheStart(t *testing.T) {
	ln := listenLoop(t)
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	for _, edit := range []func(*Config){
		func(c *Config) { c.UpstreamHost = "localhost" },
		func(c *Config) { c.UpstreamHost = "127.0.0.1" },
		func(c *Config) { c.UpstreamHost = "127.9.9.9" },
		func(c *Config) { c.UpstreamHost = "0.0.0.0" },
		func(c *Config) { c.UpstreamPort, c.Forwarder = 1, joinPort("127.0.0.1", port) },
	} {
		cfg := config(t, "127.0.0.1:1", "127.0.0.1:2")
		cfg.ListenHost, cfg.InPort, cfg.UpstreamPort = "", port, port
		edit(&cfg)
		if p, err := New(cfg, nil); err == nil {
			_ = p.listener.Close()
			t.Errorf("%s is this proxy", cfg.upstream())
		} else if !strings.Contains(err.Error(), "this proxy itself") {
			t.Error(err)
		}
	}
}

func TestDiagnosticsAndMetrics(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.DiagnosticsAddr, c.Metrics, c.MetricsPort = "127.0.0.1:0", true, 0 })
	if len(b.services) != 2 {
		t.Fatalf("%d services", len(b.services))
	}
	at := func(i int, path string) string {
		return fmt.Sprintf("http://127.0.0.1:%d%s", b.services[i].ln.Addr().(*net.TCPAddr).Port, path)
	}
	c := client(t)
	fetch(t, c, "GET", b.url("/echo/1"), nil)
	b.pairs(1)
	var d Diagnostics
	_, body := fetch(t, c, "GET", at(0, "/"), nil)
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Connections) != 1 || d.Connections[0].Protocol != "http" || d.Connections[0].State != "decoding" || d.Connections[0].ClientToServer == 0 ||
		!d.Capture || d.Pairs.Seen != 1 || d.Memory.CaptureLimit != 64<<20 {
		t.Errorf("%s", body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if resp, _ := fetch(t, c, "GET", at(0, path), nil); resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	_, body = fetch(t, c, "GET", at(1, "/metrics"), nil)
	for _, want := range []string{
		"weir_goproxy_pairs_seen_total 1\n", `weir_goproxy_connections_detected_total{protocol="http"} 1`, "weir_goproxy_connections_open 1\n",
		`weir_goproxy_pairs_dropped_total{reason="memory"} 0`, `weir_goproxy_bytes_total{direction="client_to_server"}`, "weir_goproxy_capture_on 1\n",
		`weir_goproxy_pairs_dropped_total{reason="ring"} 0`, `weir_goproxy_pairs_dropped_total{reason="stopped"} 0`, "weir_goproxy_pairs_sampled_total 0\n",
		"weir_goproxy_pairs_waiting 0\n", "weir_goproxy_sample_keep_one_in 1\n", "weir_goproxy_ring_bytes 0\n", "weir_goproxy_ring_limit_bytes 0\n",
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	// A second proxy on the machine goes on without these ports.
	b2 := start(t, srv.Listener.Addr().String(), func(c *Config) { c.DiagnosticsAddr = b.services[0].ln.Addr().String() })
	fetch(t, c, "GET", b2.url("/echo/2"), nil)
	if !strings.Contains(b2.log.String(), "Could not open diagnostics") {
		t.Error("nobody says that the port is taken")
	}
}

func TestATakenPort(t *testing.T) {
	ln := listenLoop(t)
	cfg := config(t, "127.0.0.1:1", "127.0.0.1:2")
	cfg.InPort = ln.Addr().(*net.TCPAddr).Port
	if _, err := New(cfg, nil); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("%v", err)
	}
}

func TestInContainer(t *testing.T) {
	for _, c := range []struct {
		file, cgroup, env string
		want              bool
	}{
		{"", "0::/init.scope\n", "", false},
		{"", "", "", false},
		{"/.dockerenv", "", "", true},
		{"/run/.containerenv", "", "", true},
		{"", "", "10.0.0.1", true},
		{"", "12:cpu:/docker/abc\n", "", true},
		{"", "0::/kubepods.slice/x\n", "", true},
	} {
		got := inContainer(
			func(p string) bool { return p == c.file },
			func(string) ([]byte, error) {
				if c.cgroup == "" {
					return nil, errors.New("no such file")
				}
				return []byte(c.cgroup), nil
			},
			func(string) string { return c.env },
		)
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestHints(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	unknown := &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "db", IsNotFound: true}}
	in, out := advisor{container: true}, advisor{}
	for _, c := range []struct {
		a    advisor
		addr string
		err  error
		want string
	}{
		{out, "localhost:80", refused, ""},
		{in, "localhost:80", &net.OpError{Op: "read", Err: syscall.ECONNRESET}, ""},
		{in, "10.1.2.3:80", refused, ""},
		{in, "localhost:80", refused, "is the container itself"},
		{in, "[::1]:80", refused, "is the container itself"},
		{in, "db:80", unknown, `the name "db" does not resolve`},
		{out, "db:80", unknown, ""},
	} {
		if got := c.a.hint(c.addr, "REVERSE_PROXY_HOST", c.err); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q", c.addr, got)
		}
	}
}
