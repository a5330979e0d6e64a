package stack

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/doctor"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/goproxy"
)

// rig is the three programs, each of which a test starts and stops when it
// wants to.
type rig struct {
	t   *testing.T
	dir string
	// ports are where each listens, also after it was started again.
	ingest, service string
	vars            map[string]string
	app             *httptest.Server
	api             *client.Client
	proxyURL        string
}

// free is a port that nobody has.
func free(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func newRig(t *testing.T, vars map[string]string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), ingest: free(t), service: free(t), vars: vars}
	body := make([]byte, 900<<10)
	if _, err := rand.Read(body); err != nil { // nothing makes it smaller
		t.Fatal(err)
	}
	r.app = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasPrefix(req.URL.Path, "/large") {
			_, _ = w.Write(body) // the client counts
			return
		}
		fmt.Fprint(w, "hello")
	}))
	t.Cleanup(r.app.Close)
	return r
}

func (r *rig) env(own map[string]string) *daemon.Env {
	return daemon.NewEnv(func(k string) (string, bool) {
		if v, ok := r.vars[k]; ok {
			return v, true
		}
		v, ok := own[k]
		return v, ok
	})
}

// start runs a program until stop is called, or the test ends.
func (r *rig) start(p daemon.Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			r.t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	r.t.Cleanup(stop)
	return stop
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func (r *rig) log() *slog.Logger { return slog.New(slog.NewTextHandler(r.t.Output(), nil)) }

func (r *rig) analyzer() (stop func()) {
	env := r.env(map[string]string{"LISTEN_ADDR": anyPort, "INGEST_ADDR": r.ingest, "DATA_DIR": filepath.Join(r.dir, "data"), "AUTH": "off"})
	cfg := analyzer.LoadConfig(env)
	if err := env.Err(); err != nil {
		r.t.Fatal(err)
	}
	a := must[*analyzer.Analyzer](r.t)(analyzer.New(cfg, r.log()))
	stop = r.start(a)
	r.api = must[*client.Client](r.t)(client.New("http://" + a.Addr().String()))
	r.t.Cleanup(r.api.Close)
	return stop
}

func (r *rig) forwarder() (stop func()) {
	_, port, _ := net.SplitHostPort(r.service)
	env := r.env(map[string]string{"SERVICE_PORT": port, "CLUSTER_NAME": "c", "ANALYZER_ADDR": r.ingest, "SPOOL_DIR": filepath.Join(r.dir, "spool")})
	cfg := forwarder.LoadConfig(env)
	if err := env.Err(); err != nil {
		r.t.Fatal(err)
	}
	cfg.ListenHost = "127.0.0.1"
	return r.start(must[*forwarder.Forwarder](r.t)(forwarder.New(cfg, r.log())))
}

func (r *rig) proxy() (stop func()) {
	host, port, _ := net.SplitHostPort(r.app.Listener.Addr().String())
	env := r.env(map[string]string{
		"PROXY_TYPE": "reverse", "PROXY_IN_PORT": "0", "REVERSE_PROXY_HOST": host, "REVERSE_PROXY_PORT": port, "APP_LABEL": "shop",
		"APP_POD_NAME": "shop-1", "FORWARDER_ADDR": r.service, "DIAGNOSTICS_ADDR": "", "DRAIN_TIMEOUT": "2s",
	})
	cfg := goproxy.LoadConfig(env)
	if err := env.Err(); err != nil {
		r.t.Fatal(err)
	}
	cfg.ListenHost = "127.0.0.1"
	p := must[*goproxy.Proxy](r.t)(goproxy.New(cfg, r.log()))
	_, port, _ = net.SplitHostPort(p.Addr().String())
	r.proxyURL = "http://127.0.0.1:" + port
	return r.start(p)
}

func (r *rig) request(path string) {
	r.t.Helper()
	resp, err := http.Get(r.proxyURL + path) // the test's own proxy
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		r.t.Fatal(err)
	}
}

// until waits for a ledger that fulfils f.
func (r *rig) until(what string, f func(*client.Ledger) bool) *client.Ledger {
	r.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		l, err := r.api.Ledger(r.t.Context(), client.LedgerAsk{})
		if err != nil {
			r.t.Fatal(err)
		}
		if f(l) {
			return l
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("no ledger with %s: %+v", what, l)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// listed waits until the proxy is known to be connected.
func (r *rig) listed() {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		p, err := r.api.Proxies(r.t.Context())
		if err != nil {
			r.t.Fatal(err)
		}
		if len(p.Proxies) == 1 && p.Proxies[0].State == "connected" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("not connected: %+v", p)
		}
	}
}

func dropped(c httpv1.LedgerCounts, hop, reason string) uint64 {
	for _, d := range c.Dropped {
		if d.Hop == hop && d.Reason == reason {
			return d.Pairs
		}
	}
	return 0
}

// settled: everything that was requested has come to an end.
func settled(requests uint64) func(*client.Ledger) bool {
	return func(l *client.Ledger) bool {
		if !l.Holds {
			panic(fmt.Sprintf("the ledger does not hold: %v", l.Reasons))
		}
		return l.Total.Seen == requests && l.Total.InFlight == 0
	}
}

func (r *rig) why(q string) *client.Why {
	r.t.Helper()
	w, err := r.api.Why(r.t.Context(), q, "", "10m")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range w.Findings {
		if f.Text == "" || f.Kind != "stored" && f.Fix == "" {
			r.t.Errorf("finding without words: %+v", f)
		}
	}
	return w
}

// TestLedgerHoldsAfterTraffic: seen = stored + filtered, in all programs'
// words, and it is the same after the analyzer was started again.
func TestLedgerHoldsAfterTraffic(t *testing.T) {
	r := newRig(t, nil)
	stop := r.analyzer()
	r.forwarder()
	r.proxy()
	const n = 40
	for i := range n {
		if i%4 == 0 {
			r.request("/healthz")
		} else {
			r.request("/orders/" + strconv.Itoa(i))
		}
	}
	check := func(l *client.Ledger) {
		t.Helper()
		if l.Total.Stored != 30 || l.Total.Filtered["health_check"] != 10 || len(l.Total.Dropped) != 0 || l.Processes != 1 || !l.Holds ||
			len(l.Apps) != 1 || l.Apps[0].App != "shop" || l.Apps[0].Cluster != "c" || len(l.Gaps) != 0 || len(l.Deaths) != 0 {
			t.Errorf("%+v", l)
		}
		var seen, stored uint64
		for _, s := range l.Steps {
			seen += s.Seen
			stored += s.Stored
		}
		if seen != n || stored != 30 {
			t.Errorf("steps have %d seen, %d stored: %+v", seen, stored, l.Steps)
		}
	}
	check(r.until("everything", settled(n)))
	r.listed()
	d, err := r.api.Doctor(t.Context())
	if err != nil || d.Status != "ok" {
		t.Errorf("%+v %v", d, err)
	}
	stop()
	r.analyzer()
	check(r.until("everything, again", settled(n)))
	r.request("/orders/new")
	if l := r.until("one more", settled(n+1)); l.Total.Stored != 31 {
		t.Errorf("%+v", l.Total)
	}
}

func TestWhyStoredFilteredNeverSeen(t *testing.T) {
	r := newRig(t, nil)
	r.analyzer()
	r.forwarder()
	r.proxy()
	r.request("/orders/7")
	r.request("/healthz")
	r.until("both", settled(2))
	r.listed()
	if w := r.why("path:/orders/7"); w.Verdict != "stored" || !w.Findings[0].Certain || len(w.Findings[0].Pairs) != 1 || w.Findings[0].Pairs[0].Path != "/orders/7" ||
		!strings.Contains(w.Findings[0].Text, w.Findings[0].Pairs[0].ID) {
		t.Errorf("%+v", w)
	}
	if w := r.why("path:/healthz"); w.Verdict != "filtered" || !w.Findings[0].Certain || w.Findings[0].Rule != "health_check" || w.Findings[0].Count != 1 {
		t.Errorf("%+v", w)
	}
	if w := r.why("path:/healthz method:POST"); w.Verdict == "filtered" {
		t.Errorf("a POST is not filtered: %+v", w)
	}
	w := r.why("path:/orders/8 app:shop")
	f := w.Findings[0]
	// The filter may have left it out too, for its user agent; that is less
	// likely.
	if w.Verdict != "never_seen" || len(w.Findings) != 2 || w.Findings[1].Kind != "filtered" || len(f.Proxies) != 1 || !f.Proxies[0].Watching || f.Proxies[0].Seen != 2 ||
		f.Proxies[0].Since == nil || f.Proxies[0].State != "connected" || f.Proxies[0].Listen == "" {
		t.Errorf("%+v", w)
	}
	if w := r.why("path:/orders/8 method:PUT app:shop"); w.Verdict != "never_seen" || !w.Findings[0].Certain || len(w.Findings) != 1 {
		t.Errorf("%+v", w)
	}
	if w := r.why("path:/orders/7 app:other"); w.Verdict != "never_seen" || len(w.Findings[0].Proxies) != 0 || !strings.Contains(w.Findings[0].Text, "Known are: shop") {
		t.Errorf("%+v", w)
	}
}

// TestWhyDroppedForMemory: the forwarder is away until capture is full.
func TestWhyDroppedForMemory(t *testing.T) {
	r := newRig(t, map[string]string{"CAPTURE_MEMORY_LIMIT": "1MiB"})
	r.analyzer()
	r.proxy()
	const n = 1500
	for i := range n {
		r.request("/orders/" + strconv.Itoa(i))
	}
	r.forwarder()
	l := r.until("everything", settled(n))
	lost := dropped(l.Total, "proxy", "memory")
	if lost == 0 || l.Total.Stored+lost != n {
		t.Fatalf("%+v", l.Total)
	}
	if !slices.ContainsFunc(l.Gaps, func(g httpv1.LedgerGap) bool {
		return g.Hop == "proxy" && g.Reason == "memory" && g.Bound == "exact" && g.App == "shop" && g.ProxyID == "shop-1" && g.From.Before(g.To)
	}) {
		t.Errorf("gaps %+v", l.Gaps)
	}
	missing := r.missing("/orders/", n)
	w := r.why("path:" + missing)
	if f := w.Findings[0]; w.Verdict != "dropped" || f.Hop != "proxy" || f.Reason != "memory" || f.Count != lost || !strings.Contains(f.Fix, "CAPTURE_MEMORY_LIMIT") {
		t.Errorf("%s: %+v", missing, w)
	}
}

// missing is a path that was requested and is not stored.
func (r *rig) missing(prefix string, n int) string {
	r.t.Helper()
	stored := map[string]bool{}
	for row, err := range r.api.Pairs(r.t.Context(), client.List{Query: "path:" + prefix + "*", PageSize: 1000}) {
		if err != nil {
			r.t.Fatal(err)
		}
		stored[row.Path] = true
	}
	for i := range n {
		if path := prefix + strconv.Itoa(i); !stored[path] {
			return path
		}
	}
	r.t.Fatal("everything is stored")
	return ""
}

// TestWhyDroppedForAFullSpool: the analyzer is away until the spool is full,
// whichever end it gives up.
func TestWhyDroppedForAFullSpool(t *testing.T) {
	for _, policy := range []string{"drop_oldest", "drop_newest"} {
		t.Run(policy, func(t *testing.T) {
			r := newRig(t, map[string]string{"SPOOL_MAX_BYTES": "32MiB", "SPOOL_WHEN_FULL": policy, "CAPTURE_BODY_LIMIT": "1MiB"})
			r.forwarder()
			r.proxy()
			const n = 60
			for i := range n {
				r.request("/large/" + strconv.Itoa(i))
				// Capture has to keep up: what it sheds is of another test.
				time.Sleep(5 * time.Millisecond)
			}
			r.analyzer()
			l := r.until("everything", settled(n))
			lost := dropped(l.Total, "forwarder", "spool_full")
			if lost == 0 || l.Total.Stored == 0 || l.Total.Stored+lost+dropped(l.Total, "proxy", "memory") != n {
				t.Fatalf("%+v", l.Total)
			}
			missing := r.missing("/large/", n)
			w := r.why("path:" + missing + " app:shop")
			if !slices.ContainsFunc(w.Findings, func(f httpv1.WhyFinding) bool {
				return f.Kind == "dropped" && f.Hop == "forwarder" && f.Reason == "spool_full" && f.Count == lost && strings.Contains(f.Fix, "SPOOL_MAX_BYTES")
			}) || w.Verdict != "dropped" {
				t.Errorf("%s: %+v", missing, w)
			}
		})
	}
}

// TestDoctorKnowsThePrograms: each answers as what it is, and is not taken for
// another.
func TestDoctorKnowsThePrograms(t *testing.T) {
	r := newRig(t, nil)
	r.analyzer()
	r.forwarder()
	found := func(vars map[string]string) map[string]string {
		m := doctor.Machine{
			Environments: []doctor.Environment{{Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}},
			Config:       func(p doctor.Program, lookup func(string) (string, bool)) error { return Config(string(p), lookup) },
			SpoolDir:     t.TempDir(),
		}
		out := map[string]string{}
		for _, c := range m.Examine(t.Context()) {
			out[c.ID] = c.Status + " " + c.Found
		}
		return out
	}
	got := found(map[string]string{"FORWARDER_ADDR": r.service, "ANALYZER_ADDR": r.ingest, "SERVICE_PORT": "0", "FILTER_RULE": "path:"})
	if got["forwarder.reachable"] != "ok A forwarder answers." || got["analyzer.reachable"] != "ok An analyzer answers." {
		t.Errorf("%v", got)
	}
	if !strings.HasPrefix(got["config"], "failure FILTER_RULE") {
		t.Errorf("%v", got)
	}
	got = found(map[string]string{"FORWARDER_ADDR": r.ingest, "ANALYZER_ADDR": r.service, "SERVICE_PORT": "0"})
	if !strings.HasPrefix(got["forwarder.reachable"], "failure") || !strings.HasPrefix(got["analyzer.reachable"], "failure") {
		t.Errorf("%v", got)
	}
	if err := Config("nobody", nil); err == nil {
		t.Error("no such program, and no error")
	}
}
