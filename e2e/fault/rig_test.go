package fault

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
	"github.com/weir-capture/weir/internal/faultreport"
)

// rig is one stack between a load and a server whose every request the book
// has.
type rig struct {
	*harness.Stack
	t    *testing.T
	book *ledger.Book
	api  *ledger.Analyzer
	rng  *rand.Rand
	// upstream is the server's port.
	upstream int
	// killed: a proxy was, with what it had not reported.
	killed bool
	*canaries
	// autopsied: the end of the test looks at what the programs print when they
	// die.
	autopsied bool
}

// newRig makes one whose test fails, because all its processes end, when it
// takes longer than limit.
func newRig(t *testing.T, limit time.Duration) *rig {
	t.Helper()
	r := &rig{t: t, book: ledger.NewBook()}
	r.upstream = load.Backend(t, r.book)
	r.Stack = harness.NewStack(t, bins, r.upstream)
	r.api = ledger.NewAnalyzer(r.Viewer())
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the moments: %d", seed)
	r.rng = rand.New(rand.NewPCG(seed, 1))
	r.canaries = newCanaries(t, harness.Addr(r.ProxyPort), r.rng)
	r.ForwarderEnv["DLP_CONFIG"] = r.state("rules.yaml")
	// Nobody can look into noise, and the account is to compare it. Whose a
	// pair is has to be seen although the rest was withheld.
	if err := os.WriteFile(r.ForwarderEnv["DLP_CONFIG"], []byte("extends: standard\nkeep_types: ["+load.NoiseType+"]\nkeep_fields: ["+ledger.Header+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, env := range []map[string]string{r.ProxyEnv, r.ForwarderEnv, r.AnalyzerEnv} {
		env["GOTRACEBACK"] = "all"
	}
	timer := time.AfterFunc(limit, func() {
		t.Errorf("the scenario did not end within %v", limit)
		for _, p := range []*harness.Proc{r.Proxy, r.Forwarder, r.Analyzer} {
			if p != nil {
				p.Kill()
			}
		}
	})
	t.Cleanup(func() { timer.Stop() })
	return r
}

// load is the usual mixture at this rate, with the canaries beside it.
func (r *rig) load(rate int) load.Steady {
	return load.Steady{
		Addr: harness.Addr(r.ProxyPort), Rate: rate, Response: 8 << 10, Request: 8 << 10,
		PostEvery: 4, FailEvery: 50, SlowEvery: 200, Slow: 300 * time.Millisecond, AbortEvery: 300, Beside: r.send,
	}
}

// pause lets the load go on for a while, in which the disks are looked at as
// the fault leaves them.
func (r *rig) pause(d time.Duration) {
	r.t.Helper()
	after := time.After(d)
	if !r.quiet {
		r.disks(scale(3*time.Second, 5*time.Second))
	}
	select {
	case <-after:
	case <-r.t.Context().Done():
		r.t.Fatal(r.t.Context().Err())
	}
}

// within is a random part of d. The moment must not matter, so it differs in
// every run.
func (r *rig) within(d time.Duration) time.Duration { return time.Duration(r.rng.Int64N(int64(d))) }

// settle waits until nothing moves any more: nothing is in flight, and the
// ledger says the same for a second and a half, in which each proxy reports
// at least once.
func (r *rig) settle(within time.Duration) {
	r.t.Helper()
	const still = 1500 * time.Millisecond
	var last httpv1.LedgerCounts
	var since time.Time
	harness.Poll(r.t, within, "nothing in flight", func() error {
		l, err := r.api.Ledger(r.t.Context(), nil)
		if err != nil {
			return err
		}
		if !reflect.DeepEqual(l.Total, last) {
			last, since = l.Total, time.Now()
		}
		// What has no connection to the analyzer is not in flight for it.
		if done := uint64(r.book.Count(ledger.Completed)); !r.killed && l.Total.Seen < done {
			return fmt.Errorf("the ledger says %+v, and %d requests were completed", l.Total, done)
		}
		if l.Total.InFlight > 0 || time.Since(since) < still {
			return fmt.Errorf("the ledger says %+v, for %v", l.Total, time.Since(since).Round(time.Millisecond))
		}
		return nil
	})
}

// account compares once everything has settled, and fails the test for any
// difference.
func (r *rig) account(rules ledger.Rules) *ledger.Account {
	r.t.Helper()
	a, err := r.book.Account(r.t.Context(), r.api, rules)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Log(a)
	if a.Failed > 0 {
		r.t.Logf("clients' errors: %s", r.book.Errors())
	}
	if !a.OK() {
		r.t.Error("the account does not hold")
	}
	r.sweep()
	return a
}

// noErrors fails the test when a client noticed anything.
func (r *rig) noErrors() {
	r.t.Helper()
	if n := r.book.Count(ledger.Failed) + r.book.Count(ledger.Refused); n > 0 {
		r.t.Errorf("%d requests failed: %s", n, r.book.Errors())
	}
}

// enough fails the test when so few requests were completed that it says
// nothing.
func (r *rig) enough(n int) {
	r.t.Helper()
	if got := r.book.Count(ledger.Completed); got < n {
		r.t.Errorf("only %d requests were completed, of at least %d: the load was not under way", got, n)
	}
}

// report leaves the line for the table.
func (r *rig) report(fault string, a *ledger.Account, note string, args ...any) {
	r.t.Helper()
	l := line(fault, a, note, args...)
	l.Canaries, l.Leaks = r.next.Load(), uint64(r.hunter.Hits)
	l.Print(r.t)
}

func line(fault string, a *ledger.Account, note string, args ...any) faultreport.Line {
	return faultreport.Line{
		Fault: fault, Generated: a.Generated, Stored: a.Stored, Filtered: a.Filtered(), Sampled: a.Ledger.Total.Sampled,
		Dropped: a.Dropped(), AtMost: a.Ledger.Total.Unknown, Lost: a.Lost, Twice: a.Twice, Phantom: a.Phantom,
		Note: fmt.Sprintf(note, args...),
	}
}

// inGaps fails the test for a missing request that was made at a time of
// which the ledger says that nothing was lost. Gaps are known to the moments
// of reports, which come every second.
func (r *rig) inGaps(a *ledger.Account) {
	r.t.Helper()
	const report = 1500 * time.Millisecond
	outside := 0
	for _, at := range a.MissingAt {
		sent := time.Unix(0, at)
		if !slices.ContainsFunc(a.Ledger.Gaps, func(g httpv1.LedgerGap) bool {
			return sent.After(g.From.Add(-report)) && sent.Before(g.To.Add(report))
		}) {
			outside++
		}
	}
	if outside > 0 {
		first, last := time.Unix(0, a.MissingAt[0]), time.Unix(0, a.MissingAt[len(a.MissingAt)-1])
		r.t.Errorf("of %d missing requests, made from %v to %v, %d are in none of the ledger's gaps:", len(a.MissingAt), first, last, outside)
		for i, g := range a.Ledger.Gaps {
			if i == 10 {
				r.t.Logf("and %d more", len(a.Ledger.Gaps)-i)
				break
			}
			r.t.Logf("%s/%s %d from %v to %v: %s", g.Hop, g.Reason, g.Pairs, g.From, g.To, g.Text)
		}
	}
}

// timed is how long something takes.
func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// spoolDir is the forwarder's.
func (r *rig) spoolDir() string { return r.ForwarderEnv["SPOOL_DIR"] }

// state makes a folder for a program's state beside the others.
func (r *rig) state(name string) string { return filepath.Join(r.Dir, name) }
