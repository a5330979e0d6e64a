package soak

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

var (
	runFor   = flag.Duration("for", 20*time.Second, "how long the load runs")
	printAt  = flag.Duration("every", 5*time.Minute, "how often figures are printed")
	seedFlag = flag.Uint64("seed", 0, "of the load's choices; 0 takes one and prints it")
)

// bins is set once, before any test.
var bins *harness.Bins

func TestMain(m *testing.M) { harness.Main(m, "soak", &bins) }

// What the figures vary by anyway.
const (
	memorySlack    = 8 // MiB
	goroutineSlack = 16
	// warm is how long a run has to be for its memory to say anything.
	warm = 10 * time.Minute
)

// TestSoak runs the load and judges it.
func TestSoak(t *testing.T) {
	s := harness.NewStack(t, bins, backend(t))
	metrics := harness.Port(t)
	s.ProxyEnv["METRICS_HTTP_ENABLE"], s.ProxyEnv["METRICS_HTTP_PORT"] = "true", strconv.Itoa(metrics)
	s.ProxyEnv["DIAGNOSTICS_ADDR"] = "off"
	s.StartAll()

	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	fmt.Printf("soak: %v, seed %d, one connection in %d is broken off\n", *runFor, seed, abortOneIn)
	clients := &tally{errors: map[string]int{}}
	m := &meter{t: t, stack: s, api: ledger.NewAnalyzer(s.Viewer()), metrics: "http://" + harness.Addr(metrics) + "/metrics", began: time.Now()}
	m.http.Timeout = 10 * time.Second

	ctx, cancel := context.WithTimeout(t.Context(), *runFor)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		drive(ctx, harness.Addr(s.ProxyPort), mix(min(20*time.Second, *runFor/4)), seed, clients)
	}()
	sample := time.NewTicker(min(5*time.Second, *runFor/40))
	defer sample.Stop()
	next := *printAt
	for running := true; running; {
		select {
		case <-done:
			running = false
		case <-sample.C:
			f := m.sample()
			// What the connections that come after the end no longer take part
			// in would read as a fall.
			if ctx.Err() == nil {
				m.keep(f)
			}
			if f.at >= next {
				next += *printAt
				m.print(f, clients)
			}
		}
	}
	m.settle()
	f := m.sample()
	m.print(f, clients)
	m.judge(clients)
}

// figures is one look at the programs.
type figures struct {
	at time.Duration
	// Resident memory in MiB.
	goproxy, forwarder, analyzer float64
	goroutines, descriptors      float64
}

// meter looks at the programs from outside.
type meter struct {
	t       *testing.T
	stack   *harness.Stack
	api     *ledger.Analyzer
	metrics string
	http    http.Client
	began   time.Time
	kept    []figures
}

func (m *meter) sample() figures {
	m.t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.stack.Proxy.PID()))
	if err != nil {
		m.t.Fatalf("count goproxy's descriptors: %v", err)
	}
	return figures{
		at:      time.Since(m.began),
		goproxy: m.resident(m.stack.Proxy), forwarder: m.resident(m.stack.Forwarder), analyzer: m.resident(m.stack.Analyzer),
		goroutines: m.metric("go_goroutines"), descriptors: float64(len(fds)),
	}
}

func (m *meter) keep(f figures) { m.kept = append(m.kept, f) }

// resident is a process's memory in MiB.
func (m *meter) resident(p *harness.Proc) float64 {
	m.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		m.t.Fatalf("read memory of %s: %v; it logged:\n%s", p.Name, err, p.Log())
	}
	for line := range strings.Lines(string(data)) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmRSS: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	m.t.Fatalf("%s has no memory: it ended and logged:\n%s", p.Name, p.Log())
	return 0
}

// metric is one of goproxy's metrics that has no label.
func (m *meter) metric(name string) float64 {
	m.t.Helper()
	resp, err := m.http.Get(m.metrics)
	if err != nil {
		m.t.Fatalf("read goproxy's metrics: %v", err)
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(resp.Body)
	for sc.Scan() {
		if text, ok := strings.CutPrefix(sc.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				m.t.Fatalf("read goproxy's metric %s: %v", name, err)
			}
			return v
		}
	}
	m.t.Fatalf("goproxy has no metric %s: %v", name, sc.Err())
	return 0
}

func (m *meter) print(f figures, c *tally) {
	m.t.Helper()
	failed, _ := c.failures()
	fmt.Printf("soak: %8v  %d requests, %d failed, %d skipped; %d connections, %d of them broken off; RSS goproxy %.1f, forwarder %.1f, analyzer %.1f MiB; goproxy %.0f goroutines, %.0f descriptors; %s\n",
		f.at.Round(time.Second), c.completed.Load(), failed, c.skipped.Load(), c.conns.Load(), c.aborted.Load(),
		f.goproxy, f.forwarder, f.analyzer, f.goroutines, f.descriptors, m.account())
}

// account is what the analyzer says became of everything.
func (m *meter) account() string {
	l, err := m.api.Ledger(m.t.Context(), nil)
	if err != nil {
		return "no ledger: " + err.Error()
	}
	a := ledger.Account{Ledger: l}
	n := l.Total
	return fmt.Sprintf("seen %d = stored %d + filtered %d + sampled %d + dropped %v + in flight %d + unknown %d + unaccounted %d",
		n.Seen, n.Stored, a.Filtered(), n.Sampled, a.Dropped(), n.InFlight, n.Unknown, n.Unaccounted)
}

// settle waits until nothing is under way any more and the last report came.
// If that never happens, judge says what is missing.
func (m *meter) settle() {
	was := uint64(0)
	since := time.Now()
	_ = harness.Await(m.t.Context(), 90*time.Second, func() error {
		l, err := m.api.Ledger(m.t.Context(), nil)
		if err != nil {
			return err
		}
		if l.Total.Seen != was || l.Total.InFlight > 0 {
			was, since = l.Total.Seen, time.Now()
		}
		// Longer than the proxy's reports are apart.
		if time.Since(since) < 4*time.Second {
			return errors.New("not settled")
		}
		return nil
	})
}

// judge fails the test for each thing that is not as it should be.
func (m *meter) judge(c *tally) {
	t := m.t
	failed, what := c.failures()
	verdict := func(ok bool, format string, args ...any) {
		t.Helper()
		word := "ok  "
		if !ok {
			word = "BAD "
			t.Fail()
		}
		fmt.Printf("soak: %s %s\n", word, fmt.Sprintf(format, args...))
	}
	completed, atRisk := uint64(c.completed.Load()), uint64(c.atRisk.Load())
	verdict(failed == 0 && completed > 0, "%d client errors in %d requests %s", failed, completed, strings.TrimPrefix(what, "map[]"))
	verdict(c.aborted.Load() > 0, "%d of %d connections were broken off", c.aborted.Load(), c.conns.Load())

	l, err := m.api.Ledger(t.Context(), nil)
	if err != nil {
		t.Fatalf("read the ledger: %v", err)
	}
	n, a := l.Total, ledger.Account{Ledger: l}
	verdict(l.Holds && n.InFlight == 0 && n.Unknown == 0 && n.Unaccounted == 0 && n.Seen == n.Stored+a.Declared(),
		"%s %s", m.account(), strings.Join(l.Reasons, "; "))
	// Of what was broken off nobody knows whether the proxy saw a request.
	verdict(completed <= n.Seen && n.Seen <= completed+uint64(failed)+atRisk,
		"seen %d, of %d completed and %d broken off", n.Seen, completed, atRisk)

	young := *runFor < warm
	for _, f := range []struct {
		name  string
		slack float64
		// unbound: it holds caches that grow up to a limit of their own, so
		// that it is shown and not judged.
		unbound bool
		// warms: it grows until it has seen a bit of everything, so that a
		// short run shows it and does not judge it.
		warms bool
		value func(figures) float64
	}{
		{"goproxy's memory, MiB", memorySlack, false, true, func(f figures) float64 { return f.goproxy }},
		{"forwarder's memory, MiB", memorySlack, false, true, func(f figures) float64 { return f.forwarder }},
		{"analyzer's memory, MiB (shown, not judged)", 0, true, true, func(f figures) float64 { return f.analyzer }},
		{"goproxy's goroutines", goroutineSlack, false, false, func(f figures) float64 { return f.goroutines }},
		{"goproxy's descriptors", goroutineSlack, false, false, func(f figures) float64 { return f.descriptors }},
	} {
		points := make([]point, len(m.kept))
		for i, k := range m.kept {
			points[i] = point{k.at, f.value(k)}
		}
		trend := secondHalf(points)
		verdict(f.unbound || young && f.warms || trend.flat(f.slack), "%s: %v", f.name, trend)
	}
	if !t.Failed() {
		return
	}
	for _, d := range slices.Sorted(maps.Keys(a.Dropped())) {
		t.Logf("dropped at %s: %d", d, a.Dropped()[d])
	}
}
