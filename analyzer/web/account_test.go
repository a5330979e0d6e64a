package web

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

// fakeLedger answers with what it holds, and remembers what it was asked.
type fakeLedger struct {
	report    ledger.Report
	processes []ledger.Process
	asked     ledger.Ask
}

func (f *fakeLedger) Report(ask ledger.Ask) ledger.Report { f.asked = ask; return f.report }

func (f *fakeLedger) Processes(int64, int64, int) []ledger.Process { return f.processes }

func document[T any](t *testing.T, url string) T {
	t.Helper()
	resp, err := http.Get(url) // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out T
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %s %v", url, resp.Status, err)
	}
	return out
}

func TestLedgerDocument(t *testing.T) {
	at := base.UnixNano()
	app := ledger.App{Cluster: "c", Namespace: "n", App: "shop\xff"}
	counts := ledger.Counts{
		Seen: 30, Stored: 10, Filtered: map[string]uint64{"health": 4}, Sampled: 3, InFlight: 2, Unknown: 6, Unaccounted: 1,
		Dropped: map[ledger.Drop]uint64{{Hop: "proxy", Reason: "memory"}: 3, {Hop: "forwarder", Reason: "fault"}: 1},
	}
	f := &fakeLedger{report: ledger.Report{
		Since: at, Step: time.Minute, Reasons: []string{"because"}, Total: counts,
		Apps: []ledger.AppCounts{{App: app, Counts: counts}}, Steps: []ledger.Step{{Time: at, App: app, Counts: counts}},
		Gaps: []ledger.Gap{
			{From: at, To: at + 1e9, App: app, ProxyID: "p", Drop: ledger.Drop{Hop: "proxy", Reason: "memory"}, Pairs: 1},
			{From: at, To: at + 1e9, App: app, ProxyID: "p", Drop: ledger.Drop{Hop: "none", Reason: "died"}, Pairs: 6, AtMost: true},
		},
		Deaths:    []ledger.Death{{App: app, ProxyID: "p", AtMost: 6, LastReport: at, Ended: at + 45e9}, {App: app, AtMost: 1, LastReport: at}},
		Processes: 9, Folded: 2, Partial: true,
	}}
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) { d.Ledger = f })
	l := document[httpv1.Ledger](t, ts.URL+"/api/v1/ledger?from=2026-11-23T12:00:00Z&to=2026-11-23T13:00:00Z&app=shop&step=10m")
	if f.asked != (ledger.Ask{App: "shop", From: base.Truncate(time.Second).UnixNano(), To: base.Truncate(time.Hour).Add(time.Hour).UnixNano(), Step: 10 * time.Minute}) {
		t.Errorf("asked %+v", f.asked)
	}
	if l.Holds || len(l.Reasons) != 1 || l.Apps[0].Holds || l.Apps[0].App != "shop\uFFFD" || l.StepNS != 60e9 || !l.Partial || l.Processes != 9 || l.Folded != 2 {
		t.Errorf("%+v", l)
	}
	if c := l.Total; c.Seen != 30 || c.Filtered["health"] != 4 || c.Unknown != 6 || len(c.Dropped) != 2 ||
		c.Dropped[0] != (httpv1.LedgerDrop{Hop: "forwarder", Reason: "fault", Pairs: 1}) || c.Dropped[1].Pairs != 3 {
		t.Errorf("%+v", c)
	}
	if g := l.Gaps; len(g) != 2 || g[0].Bound != "exact" || g[1].Bound != "at_most" || g[0].Text != "1 pair: the proxy's memory for capture was full (CAPTURE_MEMORY_LIMIT)" ||
		!strings.HasPrefix(g[1].Text, "At most 6 pairs: ") {
		t.Errorf("%+v", g)
	}
	if d := l.Deaths; len(d) != 2 || d[0].Ended == nil || d[1].Ended != nil ||
		d[0].Text != "At most 6 pairs up to its last report at 2026-11-23T12:00:00Z, unknown from there to its end, at 2026-11-23T12:00:45Z at the latest." ||
		d[1].Text != "At most 1 pair up to its last report at 2026-11-23T12:00:00Z, unknown from there to its end." {
		t.Errorf("%+v", d)
	}
	// Nobody says: the last hour, in minutes.
	document[httpv1.Ledger](t, ts.URL+"/api/v1/ledger")
	if now := base.Add(time.Hour).UnixNano(); f.asked != (ledger.Ask{From: now - int64(time.Hour), To: now, Step: time.Minute}) {
		t.Errorf("asked %+v", f.asked)
	}
	for _, bad := range []string{
		"ledger?from=x", "ledger?step=1s", "ledger?step=25h", "ledger?from=1h&to=2h", "why", "why?q=", "why?q=path:", "why?q=path:/x&around=x", "why?q=path:/x&within=0s",
	} {
		resp, err := http.Get(ts.URL + "/api/v1/" + bad)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 400 {
			t.Errorf("%s: %s", bad, resp.Status)
		}
	}
}

// TestWhyNamesWhoWasNotThere: nobody watched the app at that time.
func TestWhyNamesWhoWasNotThere(t *testing.T) {
	at := base.UnixNano()
	app := ledger.App{App: "shop"}
	f := &fakeLedger{processes: []ledger.Process{
		{App: app, ProxyID: "later", State: ledger.Live, First: at + int64(time.Hour)},
		{App: app, ProxyID: "earlier", State: ledger.Stopped, First: at - int64(2*time.Hour), Last: at - int64(time.Hour)},
		{App: ledger.App{App: "other"}, ProxyID: "other", State: ledger.Live, First: at - 1},
	}}
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) { d.Ledger = f })
	w := document[httpv1.Why](t, ts.URL+"/api/v1/why?q=path:/x+app:shop&around=2026-11-23T12:00:00Z")
	if w.Verdict != "never_seen" || len(w.Findings) != 1 || !w.Findings[0].Certain || w.Findings[0].Text != "No proxy of shop was watching at that time." || len(w.Findings[0].Proxies) != 2 {
		t.Errorf("%+v", w)
	}
	for _, p := range w.Findings[0].Proxies {
		if p.Watching || p.App != "shop" {
			t.Errorf("%+v", p)
		}
	}
	// Of any app, one was.
	w = document[httpv1.Why](t, ts.URL+"/api/v1/why?q=path:/x&around=2026-11-23T12:00:00Z")
	if p := w.Findings[0].Proxies; len(p) != 1 || p[0].ProxyID != "other" || !p[0].Watching {
		t.Errorf("%+v", w)
	}
}

// TestJudge: what a rule says of a request of which only a part is known.
func TestJudge(t *testing.T) {
	for _, c := range []struct {
		asked, rule string
		want        verdict
	}{
		{"path:/healthz", "path:/healthz", yes},
		{"path:/healthz", "path:/health*", yes},
		{"path:/healthz", "path:/pay", no},
		{"path:/healthz", "path:/healthz method:GET", maybe},
		{"path:/healthz", "path:/pay method:GET", no},
		{"path:/healthz", "path:/healthz OR method:GET", yes},
		{"path:/healthz", "-path:/healthz", no},
		{"path:/healthz", "-path:/pay", yes},
		{"path:/healthz", "-method:GET", maybe},
		{"method:POST", "method:(GET HEAD)", no},
		{"method:post", "method:(GET POST)", yes},
		{"host:shop.example", "host:shop.example", yes},
		{"header.user-agent:kube-probe/1", "request.header.user-agent:kube-probe/*", yes},
		{"header.user-agent:curl", "request.header.user-agent:kube-probe/*", no},
		{"header.user-agent:curl", "header.user-agent:kube-probe/*", maybe},
		{"status:503", "status:5xx", yes},
		{"status:503", "status:200", no},
		{"status:5xx", "status:503", maybe},
		{"path:/a/*", "path:/a/b", maybe},
		{"path:/a", "probe", maybe},
		{"path:/a/probe", "probe", yes},
		{"app:shop path:/x", "app:shop", yes},
		{"app:shop path:/x", "app:other", no},
	} {
		asked, err := query.Parse(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		rule, err := query.Parse(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := exampleOf(asked).judge(rule.Root); got != c.want {
			t.Errorf("%s of %s: %d, want %d", c.rule, c.asked, got, c.want)
		}
	}
	q, err := query.Parse("path:/healthz -method:POST")
	if err != nil {
		t.Fatal(err)
	}
	if _, assumed := exampleOf(q).asGET(); assumed {
		t.Error("something is known of the method, and GET is assumed")
	}
}

// TestDoctorLooksAtEverything: what the analyzer knows is put together.
func TestDoctorLooksAtEverything(t *testing.T) {
	f := &fakeLedger{report: ledger.Report{Reasons: []string{"it does not hold"}}}
	forwarders := []Forwarder{{Connected: true, LastSeen: base.Add(time.Hour), Status: &capturev1.ForwarderStatus{
		ForwarderId: "f", Now: base.UnixNano(), DlpConfig: "standard",
		Proxies: []*capturev1.ProxyStatus{{
			Source: &capturev1.Source{ProxyId: "p", App: "a"}, State: capturev1.ProxyStatus_STATE_CONNECTED,
			ProxyState: &capturev1.ProxyState{CaptureOn: true, Protocols: map[string]uint64{"tls": 1, "http": 2, "new": 1}},
		}},
	}}}
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) {
		d.Ledger, d.Forwarders = f, func() []Forwarder { return forwarders }
		d.Health = func() Health { return Health{DataDir: "/d", DiskTotal: 100, Damaged: 1} }
	})
	d := document[httpv1.Doctor](t, ts.URL+"/api/v1/doctor")
	wrong := map[string]string{}
	for _, c := range d.Checks {
		if c.Status != "ok" {
			wrong[c.ID] = c.Status
		}
	}
	want := map[string]string{"analyzer.disk": "failure", "analyzer.store": "failure", "forwarder.clock": "warning", "proxy.protocol": "warning", "ledger.holds": "failure"}
	if d.Status != "failure" || len(wrong) != len(want) {
		t.Errorf("%+v, want %v", wrong, want)
	}
	for id, status := range want {
		if wrong[id] != status {
			t.Errorf("%s: %q, want %q", id, wrong[id], status)
		}
	}
}

// TestForwarders: everything that a forwarder says of itself is there.
func TestForwarders(t *testing.T) {
	st := &capturev1.ForwarderStatus{
		ForwarderId: "f", Now: base.Add(-5 * time.Second).UnixNano(),
		FilterRules:  []*capturev1.FilterRule{{Name: "health", Expression: "path:/healthz"}},
		KeepOneIn:    map[string]uint32{"*": 10},
		Destinations: []*capturev1.DestinationState{{Name: "analyzer", Connected: true}, {Name: "archive", BacklogBytes: 7, Error: "away"}},
		Telemetry:    &capturev1.Telemetry{PairsPerSecond: math.NaN()},
	}
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) {
		d.Forwarders = func() []Forwarder {
			return []Forwarder{{Status: st, LastSeen: base, Telemetry: st.GetTelemetry(), TelemetryAt: base}}
		}
	})
	f := document[httpv1.Forwarders](t, ts.URL+"/api/v1/forwarders").Forwarders[0]
	if len(f.FilterRules) != 1 || f.Sampling["*"] != 10 || len(f.Destinations) != 2 || f.Destinations[0].BacklogETANS == nil || f.Destinations[1].BacklogETANS != nil ||
		f.Telemetry == nil || f.Telemetry.PairsPerSecond != 0 || !f.Telemetry.At.Equal(base) || !f.Skewed || f.ClockSkewNS != -5e9 {
		t.Errorf("%+v", f)
	}
}

// TestHistogramEstimates: what sampling left out is estimated beside what is
// stored.
func TestHistogramEstimates(t *testing.T) {
	b := &store.Buckets{From: 0, To: 2, Step: 1, Counts: [][6]uint64{{0, 0, 2}, {1}}, Estimated: [][6]uint64{{0, 0, 20}, {1}}, Sampled: true}
	h := histogram(b)
	if h.Total != 3 || h.EstimatedTotal != 21 || !h.Sampled || h.Buckets[0].Counts.C2xx != 2 || h.Buckets[0].Estimated.C2xx != 20 || h.Buckets[1].Estimated.None != 1 {
		t.Errorf("%+v", h)
	}
	b.Estimated, b.Sampled = nil, false
	if h := histogram(b); h.EstimatedTotal != 3 || h.Buckets[0].Estimated.C2xx != 2 {
		t.Errorf("%+v", h)
	}
}
