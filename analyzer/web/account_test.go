package web

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"iter"
	"math"
	"net/http"
	"slices"
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

// partialStore finds nothing, and cannot look at everything.
type partialStore struct{ store.Reader }

func (partialStore) List(context.Context, store.List) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) { yield(nil, &store.PartialError{Reason: "enough"}) }
}

// TestWhyIsCertainOnlyOfWhatIsKnown: that a request was never seen is said for
// certain only where everybody who may have seen it has told since, and
// everything was looked through.
func TestWhyIsCertainOnlyOfWhatIsKnown(t *testing.T) {
	at, now := base.UnixNano(), base.Add(time.Hour).UnixNano()
	app := ledger.App{App: "shop"}
	proxy := func(state ledger.State, last int64) []ledger.Process {
		return []ledger.Process{{App: app, ProxyID: "p", State: state, First: at - int64(time.Hour), Last: last}}
	}
	for name, c := range map[string]struct {
		processes []ledger.Process
		report    ledger.Report
		partial   bool
		around    string
		certain   bool
		watching  bool
		verdict   string
	}{
		"it has told since":         {processes: proxy(ledger.Live, now), certain: true, watching: true},
		"it stopped afterwards":     {processes: proxy(ledger.Stopped, at+int64(time.Minute)), certain: true, watching: true},
		"forwarder away since long": {processes: proxy(ledger.Unknown, at-int64(30*time.Minute))},
		"forwarder away meanwhile":  {processes: proxy(ledger.Unknown, at), watching: true},
		"no report for a while":     {processes: proxy(ledger.Live, at-int64(time.Minute)), watching: true},
		"of now, and just reported": {processes: proxy(ledger.Live, now-int64(time.Second)), around: "1s", certain: true, watching: true},
		"not everything looked at":  {processes: proxy(ledger.Live, now), partial: true, watching: true},
		"others are on their way": {
			processes: proxy(ledger.Live, now), watching: true, verdict: "never_seen",
			report: ledger.Report{Total: ledger.Counts{InFlight: 3}},
		},
		"some of then are on their way": {
			processes: proxy(ledger.Live, now), watching: true, verdict: "in_flight",
			report: ledger.Report{Total: ledger.Counts{InFlight: 3}, Open: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, ts := serve(t, newFake(), func(_ *Config, d *Deps) {
				d.Ledger = &fakeLedger{processes: c.processes, report: c.report}
				if c.partial {
					d.Store = partialStore{d.Store}
				}
			})
			around := cmp.Or(c.around, base.Format(time.RFC3339))
			w := document[httpv1.Why](t, ts.URL+"/api/v1/why?q=path:/nowhere+app:shop&around="+around)
			if want := cmp.Or(c.verdict, "never_seen"); w.Verdict != want {
				t.Errorf("verdict %s, want %s: %+v", w.Verdict, want, w)
			}
			i := slices.IndexFunc(w.Findings, func(f httpv1.WhyFinding) bool { return f.Kind == "never_seen" })
			if f := w.Findings[i]; f.Certain != c.certain || len(f.Proxies) != 1 || f.Proxies[0].Watching != c.watching {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestWhyOfTheFuture is a mistake, and no answer.
func TestWhyOfTheFuture(t *testing.T) {
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) { d.Ledger = &fakeLedger{} })
	resp, err := http.Get(ts.URL + "/api/v1/why?q=path:/x&around=" + base.Add(2*time.Hour).Format(time.RFC3339))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 400 || !strings.Contains(string(b), "in the future") {
		t.Errorf("%s %s %v", resp.Status, b, err)
	}
}

// TestWhyOfAnotherApp: such a request is stored, of another app than was asked
// about. It is no answer, and worth knowing.
func TestWhyOfAnotherApp(t *testing.T) {
	_, ts := serve(t, newFake(exchange(1, "GET", "/pay", 200, "", "")), func(_ *Config, d *Deps) { d.Ledger = &fakeLedger{} })
	w := document[httpv1.Why](t, ts.URL+"/api/v1/why?q=path:/pay+app:billing&around="+base.Format(time.RFC3339))
	if w.Verdict != "never_seen" || w.Findings[0].Certain || len(w.Findings) != 2 {
		t.Fatalf("%+v", w)
	}
	if f := w.Findings[1]; f.Kind != "stored" || f.Certain || len(f.Pairs) != 1 || f.Text != "None of billing is stored; of shop there is, of that time: 1 such pair." {
		t.Errorf("%+v", f)
	}
}
