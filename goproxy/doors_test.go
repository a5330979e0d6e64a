package goproxy

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/weir-capture/weir/daemon"
)

// TestS21Upstreams: the proxy carries nobody to a port of Weir's own, whatever
// name leads there, at the start or later.
func TestS21Upstreams(t *testing.T) {
	forwarder := listenLoop(t).Addr().String()
	_, port, err := net.SplitHostPort(forwarder)
	if err != nil {
		t.Fatal(err)
	}
	for upstream, what := range map[string]string{
		forwarder:                 "the forwarder",
		"localhost:" + port:       "the forwarder",
		"127.0.0.1:4190":          "the analyzer's viewer",
		"localhost:4190":          "the analyzer's viewer",
		"[::1]:4191":              "the analyzer's ingest",
		"[::ffff:127.0.0.1]:4191": "the analyzer's ingest",
		"127.0.0.1:4100":          "this proxy's diagnostics",
		"0.0.0.0:4145":            "this proxy's metrics",
	} {
		cfg := config(t, upstream, forwarder)
		cfg.DiagnosticsAddr, cfg.Metrics, cfg.MetricsPort = defaultDiagnostics, true, defaultMetricsPort
		_, err := New(cfg, slog.New(slog.DiscardHandler))
		hinted, ok := err.(*daemon.Hinted)
		if !ok || !strings.Contains(err.Error(), what+" listens") || hinted.Hint == "" {
			t.Errorf("%s: %v", upstream, err)
		}
	}
	// A name that comes to lead there later.
	app := listenLoop(t)
	b := start(t, app.Addr().String(), nil)
	at, err := netip.ParseAddrPort(b.cfg.Forwarder)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []netip.AddrPort{at, netip.MustParseAddrPort("127.0.0.1:4190"), netip.MustParseAddrPort("[::ffff:127.0.0.1]:4191")} {
		if err := b.refuseOwn(to); err == nil {
			t.Errorf("%v was dialled", to)
		}
	}
	for _, to := range []string{app.Addr().String(), "192.0.2.1:4190", "192.0.2.1:80"} {
		if err := b.refuseOwn(netip.MustParseAddrPort(to)); err != nil {
			t.Errorf("%s: %v", to, err)
		}
	}
}

// TestS12Diagnostics are reached from this machine alone, profiles and metrics
// are there when they were asked for.
func TestS12Diagnostics(t *testing.T) {
	vars := map[string]string{"PROXY_TYPE": "reverse", "PROXY_IN_PORT": "4143", "APP_LABEL": "a", "APP_POD_NAME": "p", "FORWARDER_ADDR": "f:8888"}
	cfg, err := load(vars)
	if err != nil {
		t.Fatal(err)
	}
	if at, err := netip.ParseAddrPort(cfg.DiagnosticsAddr); err != nil || !at.Addr().IsLoopback() || cfg.Metrics || cfg.Pprof {
		t.Errorf("without being asked: %s, metrics %v, profiles %v", cfg.DiagnosticsAddr, cfg.Metrics, cfg.Pprof)
	}
	for _, pprof := range []bool{false, true} {
		t.Run(fmt.Sprint("profiles ", pprof), func(t *testing.T) {
			b := start(t, listenLoop(t).Addr().String(), func(c *Config) {
				c.DiagnosticsAddr, c.Pprof = "127.0.0.1:0", pprof
			})
			if len(b.services) != 1 || !b.services[0].ln.Addr().(*net.TCPAddr).IP.IsLoopback() {
				t.Fatalf("%d services are open", len(b.services))
			}
			for path, want := range map[string]int{
				"/": 200, "/debug/pprof/": 404, "/debug/pprof/heap": 404, "/debug/pprof/cmdline": 404, "/metrics": 404, "/debug/vars": 404,
			} {
				if pprof && strings.HasPrefix(path, "/debug/pprof") {
					want = 200
				}
				resp, err := http.Get("http://" + b.services[0].ln.Addr().String() + path)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
				}
			}
		})
	}
}

// TestS12NamesOfOthers: a page whose name means this machine (DNS rebinding)
// reads nothing of a port that is on the loopback.
func TestS12NamesOfOthers(t *testing.T) {
	for _, c := range []struct {
		listen, host string
		want         int
	}{
		{"127.0.0.1:4142", "127.0.0.1:4142", 200},
		{"127.0.0.1:4142", "localhost:4142", 200},
		{"127.0.0.1:4142", "localhost", 200},
		{"[::1]:4142", "[::1]:4142", 200},
		{"localhost:4142", "attacker.example:4142", 403},
		{"127.0.0.1:4142", "attacker.example", 403},
		{"127.0.0.1:4142", "127.0.0.1.attacker.example:4142", 403},
		{"127.0.0.1:4142", "", 403},
		{"0.0.0.0:4142", "node-7.example:4142", 200},
	} {
		ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		refuseNames(c.listen, ok).ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s asked as %q: %d, want %d", c.listen, c.host, w.Code, c.want)
		}
	}
}
