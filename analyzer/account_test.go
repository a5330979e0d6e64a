package analyzer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/frame"
)

type exportStream = grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse]

// say sends a forwarder's status.
func say(t *testing.T, g exportStream, f *storetest.Forwarder, proxies ...*capturev1.ProxyStatus) {
	t.Helper()
	now := time.Now().UnixNano()
	st := &capturev1.ForwarderStatus{
		ForwarderId: "f", Cluster: "c", Now: now, Started: now - int64(time.Hour), Proxies: proxies,
		Spool:     &capturev1.SpoolState{NextOffset: f.Offset, ExportedOffset: f.Offset},
		Telemetry: &capturev1.Telemetry{Interval: int64(time.Second), PairsPerSecond: 5, Goroutines: 7},
	}
	if err := g.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: st}}); err != nil {
		t.Fatal(err)
	}
}

// sayUntil says it again, each time as news, until the ledger fulfils f.
func sayUntil(t *testing.T, a *Analyzer, g exportStream, fw *storetest.Forwarder, p *capturev1.ProxyStatus, f func(httpv1.Ledger) bool) httpv1.Ledger {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		say(t, g, fw, p)
		var l httpv1.Ledger
		if code := get(t, "http://"+a.Addr().String()+"/api/v1/ledger?from=1h", &l); code != 200 {
			t.Fatalf("status %d", code)
		}
		if f(l) {
			return l
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", l)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// deliver sends one frame and waits until it is acknowledged.
func deliver(t *testing.T, g exportStream, fr *capturev1.Frame) {
	t.Helper()
	if err := g.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: fr}}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Recv(); err != nil {
		t.Fatal(err)
	}
}

// sourceOf is the process that a frame is of, as a forwarder names it.
func sourceOf(t *testing.T, fr *capturev1.Frame) *capturev1.Source {
	t.Helper()
	h, err := frame.Head(fr.GetHead())
	if err != nil {
		t.Fatal(err)
	}
	src := h.GetSource()
	src.Cluster, src.ProxyId = "c", "shop-1"
	return src
}

// TestWhyReapedProxy: a proxy dies with pairs that nobody has. How many there
// are at most is known up to its last report; the ledger says so, still holds,
// and says the same after the analyzer was started again.
func TestWhyReapedProxy(t *testing.T) {
	cfg := config(t)
	a, stop := run(t, cfg)
	proxy := storetest.NewProxy(1)
	f := storetest.NewForwarder(1, proxy)
	g, _ := export(t, a, f)
	first := f.Frame(storetest.Pairs(0, 10)...)
	deliver(t, g, first)
	src := sourceOf(t, first)
	lastSeen := time.Now().Add(-40 * time.Second)
	st := &capturev1.ProxyStatus{
		Source: src, State: capturev1.ProxyStatus_STATE_REAPED, LastSeen: lastSeen.UnixNano(), Ended: lastSeen.Add(45 * time.Second).UnixNano(),
		EpochStarted: time.Now().Add(time.Second).UnixNano(), // after the analyzer's first start, so that all of it counts
		Counters:     &capturev1.Counters{Seen: 17, Batched: 14, Acked: 10, Sampled: 1},
	}
	settled := func(l httpv1.Ledger) bool { return l.Total.InFlight == 0 && len(l.Deaths) == 1 }
	l := sayUntil(t, a, g, f, st, settled)
	if !l.Holds || l.Total.Unknown != 6 || l.Total.Stored != 10 || l.Total.Seen != 17 || l.Deaths[0].AtMost != 6 || !l.Deaths[0].LastReport.Equal(lastSeen) ||
		!strings.HasPrefix(l.Deaths[0].Text, "At most 6 pairs up to its last report at ") || len(l.Gaps) != 1 || l.Gaps[0].Bound != "at_most" || l.Gaps[0].Pairs != 6 {
		t.Errorf("%+v", l)
	}
	url := func(a *Analyzer) string {
		return "http://" + a.Addr().String() + "/api/v1/why?q=path:/lost+app:" + src.GetApp() + "&around=" + lastSeen.Add(20*time.Second).UTC().Format(time.RFC3339) + "&within=10s"
	}
	check := func(a *Analyzer) {
		t.Helper()
		var w httpv1.Why
		if code := get(t, url(a), &w); code != 200 || w.Verdict != "lost_with_proxy" || w.Findings[0].Count != 6 || len(w.Findings[0].Proxies) != 1 ||
			w.Findings[0].Proxies[0].ProxyID != src.GetProxyId() || w.Findings[0].Fix == "" {
			t.Errorf("%d %+v", code, w)
		}
	}
	check(a)
	var forwarders httpv1.Forwarders
	if get(t, "http://"+a.Addr().String()+"/api/v1/forwarders", &forwarders); len(forwarders.Forwarders) != 1 || forwarders.Forwarders[0].Telemetry == nil ||
		forwarders.Forwarders[0].Telemetry.Goroutines != 7 || forwarders.Forwarders[0].Telemetry.PairsPerSecond != 5 {
		t.Errorf("%+v", forwarders)
	}
	stop()

	b, _ := run(t, cfg)
	var again httpv1.Ledger
	if get(t, "http://"+b.Addr().String()+"/api/v1/ledger?from=1h", &again); again.Total.Unknown != 6 || again.Total.Seen != 17 || !again.Holds || len(again.Deaths) != 1 {
		t.Errorf("after a restart: %+v", again)
	}
	check(b)
}

// TestWhatAForwarderTookAndNobodyHas: a hole is put down to a spool that said
// it was damaged, and to nothing otherwise; then the sum does not hold.
func TestWhatAForwarderTookAndNobodyHas(t *testing.T) {
	for _, missing := range []string{"", "segment cannot be read"} {
		a, _ := run(t, config(t))
		proxy := storetest.NewProxy(1)
		f := storetest.NewForwarder(1, proxy)
		g, _ := export(t, a, f)
		first := f.Frame(storetest.Pairs(0, 5)...)
		deliver(t, g, first)
		if missing != "" {
			lost := f.Frame(storetest.Pairs(5, 10)...)
			deliver(t, g, &capturev1.Frame{Offset: lost.GetOffset(), NextOffset: lost.GetNextOffset(), Missing: missing})
		} else {
			storetest.NewForwarder(2, proxy).Frame(storetest.Pairs(5, 10)...) // in no spool that anybody knows
		}
		deliver(t, g, f.Frame(storetest.Pairs(10, 15)...))
		st := &capturev1.ProxyStatus{
			Source: sourceOf(t, first), State: capturev1.ProxyStatus_STATE_CONNECTED, LastSeen: time.Now().UnixNano(),
			EpochStarted: time.Now().Add(time.Second).UnixNano(), Counters: &capturev1.Counters{Seen: 15, Batched: 15, Acked: 15},
		}
		l := sayUntil(t, a, g, f, st, func(l httpv1.Ledger) bool { return l.Total.InFlight == 0 })
		if l.Total.Stored != 10 || l.Total.Seen != 15 || len(l.Gaps) != 1 || l.Gaps[0].Pairs != 5 {
			t.Errorf("%+v", l)
		}
		if missing == "" && (l.Holds || l.Total.Unaccounted != 5 || len(l.Reasons) != 1) {
			t.Errorf("%+v", l)
		}
		if missing != "" && (!l.Holds || len(l.Total.Dropped) != 1 || l.Total.Dropped[0] != httpv1.LedgerDrop{Hop: "forwarder", Reason: "spool_damaged", Pairs: 5}) {
			t.Errorf("%+v", l)
		}
	}
}

// TestWhatRotsInTheStoreIsNotStored: a frame whose bytes changed on the disk
// counts as dropped from when that is found, also after the next start.
func TestWhatRotsInTheStoreIsNotStored(t *testing.T) {
	cfg := config(t)
	a, stop := run(t, cfg)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	g, _ := export(t, a, f)
	for n := range uint64(2) {
		deliver(t, g, f.Frame(storetest.Pairs(n*5, n*5+5)...))
	}
	var list listed
	get(t, "http://"+a.Addr().String()+"/api/v1/pairs", &list)
	if len(list.Pairs) != 10 {
		t.Fatalf("%d pairs", len(list.Pairs))
	}
	stop()
	flip(t, filepath.Join(cfg.DataDir, "seg"))
	for range 2 {
		b, stop := run(t, cfg)
		for _, p := range list.Pairs {
			get(t, "http://"+b.Addr().String()+"/api/v1/pairs/"+p.ID, nil) // half of them fail
		}
		var l httpv1.Ledger
		get(t, "http://"+b.Addr().String()+"/api/v1/ledger", &l)
		if l.Total.Stored != 5 || l.Total.Seen != 10 || !l.Holds || len(l.Total.Dropped) != 1 || l.Total.Dropped[0] != (httpv1.LedgerDrop{Hop: "analyzer", Reason: "damaged", Pairs: 5}) {
			t.Errorf("%+v", l.Total)
		}
		stop()
	}
}

// flip changes one bit of the first frame's body in a store's log.
func flip(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte{0x28, 0xb5, 0x2f, 0xfd}) // a zstd frame
	if i < 0 {
		t.Fatal("no body in " + names[0])
	}
	b[i+20] ^= 1
	if err := os.WriteFile(names[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
}
