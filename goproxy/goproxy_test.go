package goproxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVar); role != "" {
		roles[role]()
		return
	}
	goleak.VerifyTestMain(m)
}

// bench is a proxy between a test and its server, with a forwarder.
type bench struct {
	*Proxy
	t         testing.TB
	forwarder *shiptest.Forwarder
	log       *lockedBuffer
	stop      func() error // ends the proxy and returns what Run did
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// listenLoop opens a listener on a free port of the loopback.
func listenLoop(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// config is a configuration for tests that carries traffic to addr.
func config(t testing.TB, addr, forwarder string) Config {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		ListenHost: "127.0.0.1", UpstreamHost: host, UpstreamPort: n,
		App: "shop", Pod: "shop-1", Namespace: "test", Forwarder: forwarder,
		LogLevel: slog.LevelDebug, Capture: true, BodyLimit: 1 << 20, MemoryLimit: 64 << 20,
		DrainTimeout: 5 * time.Second,
	}
}

// start runs a proxy in front of addr. edit may change its configuration,
// prepare what was made of it.
func start(t testing.TB, addr string, edit func(*Config), prepare ...func(*Proxy)) *bench {
	t.Helper()
	b := &bench{t: t, forwarder: &shiptest.Forwarder{ID: "f"}, log: new(lockedBuffer)}
	ln := listenLoop(t)
	stopForwarder := b.forwarder.Serve(ln)
	cfg := config(t, addr, ln.Addr().String())
	if edit != nil {
		edit(&cfg)
	}
	p, err := New(cfg, slog.New(daemon.NewHandler(b.log, daemon.Ordered, cfg.LogLevel)))
	if err != nil {
		t.Fatal(err)
	}
	b.Proxy = p
	for _, f := range prepare {
		f(p)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	b.stop = sync.OnceValue(func() error {
		cancel()
		err := <-done
		stopForwarder()
		return err
	})
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if used := p.budget.Used(); used != 0 && p.shipper.Parcels() == 0 {
			t.Errorf("capture still holds %d bytes at the end", used)
		}
		if t.Failed() {
			log := b.log.String()
			t.Logf("log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return b
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// pairs waits for n pairs at the forwarder.
func (b *bench) pairs(n int) []*capturev1.RRPair {
	b.t.Helper()
	eventually(b.t, fmt.Sprintf("%d pairs", n), func() bool { return len(b.forwarder.Pairs()) >= n })
	pairs := b.forwarder.Pairs()
	if len(pairs) != n {
		b.t.Fatalf("%d pairs, want %d: %v", len(pairs), n, pairs)
	}
	return pairs
}

// pairOf is the pair of a client's only request. Others may be there: a server
// that resets a connection as soon as it has it may be taken for one that
// refuses it.
func (b *bench) pairOf(client net.Addr) (found *capturev1.RRPair) {
	b.t.Helper()
	eventually(b.t, "the pair of "+client.String(), func() bool {
		for _, p := range b.forwarder.Pairs() {
			if p.GetClient() == client.String() {
				found = p
			}
		}
		return found != nil
	})
	return found
}

// settled waits until the proxy is at work and carries nothing, and says how
// many descriptors and goroutines the process has then.
func (b *bench) settled() (files, routines int) {
	b.t.Helper()
	eventually(b.t, "the proxy is registered", func() bool { return strings.Contains(b.log.String(), "Successfully registered") })
	eventually(b.t, "nothing changes any more", func() bool {
		files, routines = openFiles(b.t), runtime.NumGoroutine()
		time.Sleep(20 * time.Millisecond)
		return b.conns.len() == 0 && openFiles(b.t) == files && runtime.NumGoroutine() == routines
	})
	return files, routines
}

func (b *bench) url(path string) string { return "http://" + b.Addr().String() + path }

// client is an HTTP client whose connections end with the test.
func client(t testing.TB) *http.Client {
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func TestAnExchangeReachesTheForwarder(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Answer", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "got %s", body)
	}))
	t.Cleanup(app.Close)
	b := start(t, app.Listener.Addr().String(), nil)
	for i := range 3 {
		resp, err := client(t).Post(b.url("/product?token=secret"), "text/plain", strings.NewReader(fmt.Sprint("body", i)))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Body.Close() != nil || string(body) != fmt.Sprint("got body", i) {
			t.Fatalf("%q %v", body, err)
		}
		b.pairs(i + 1) // each has a connection of its own: else any order is right
	}
	for i, p := range b.pairs(3) {
		if p.Method != "POST" || p.Path != "/product" || p.Query != "token=secret" || p.Status != 201 || p.Protocol != "http" || p.Error != "" || len(p.Flags) != 0 {
			t.Errorf("pair %d: %v", i, p)
		}
		if string(p.Request.Body) != fmt.Sprint("body", i) || string(p.Response.Body) != fmt.Sprint("got body", i) {
			t.Errorf("bodies %q %q", p.Request.Body, p.Response.Body)
		}
		if !bytes.Contains(p.Response.Head, []byte("X-Answer: yes\r\n")) {
			t.Errorf("head %q", p.Response.Head)
		}
		tm := p.Timing
		if !(0 < tm.Accepted && tm.Accepted <= tm.Connected && tm.Connected <= tm.RequestFirst && tm.RequestFirst <= tm.RequestLast &&
			tm.RequestLast <= tm.ResponseFirst && tm.ResponseFirst <= tm.ResponseLast) {
			t.Errorf("times are out of order: %v", tm)
		}
		if p.ProxySeq != uint64(i+1) || p.Server != app.Listener.Addr().String() {
			t.Errorf("pair %d: %v", i, p)
		}
	}
	if strings.Contains(b.log.String(), "secret") {
		t.Error("the query is in the log")
	}
}
