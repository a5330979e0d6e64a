package fault

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/internal/failpoint"
)

// points are the fail points of one program; none in the short form, whose
// programs are built without them.
func points(program string) (names []string) {
	if !full {
		return nil
	}
	for _, n := range failpoint.Names() {
		if strings.HasPrefix(n, program+".") {
			names = append(names, n)
		}
	}
	return names
}

// TestR13: kill -9 of the forwarder under load, at random moments and at each
// of its fail points. Nothing is lost, nothing is there twice, and it comes
// back by itself.
func TestR13(t *testing.T) {
	t.Parallel()
	r := newRig(t, scale(2*time.Minute, 8*time.Minute))
	// Small segments, so that some are closed and removed all the time.
	r.ForwarderEnv["SPOOL_MAX_BYTES"] = "32MiB"
	r.StartAll()
	stop := r.load(scale(150, 400)).Background(t, r.book)
	kills := scale(10, 50)
	at := map[string]int{}
	var slowest time.Duration
	armed := ""
	names := points("spool")
	for i := range kills {
		if armed == "" {
			r.pause(100*time.Millisecond + r.within(700*time.Millisecond))
			r.Forwarder.Kill()
			at["random"]++
		} else {
			// It ends by itself when it reaches the place.
			if code := r.Forwarder.Wait(30 * time.Second); code != -1 {
				t.Fatalf("the forwarder ended with status %d instead of being killed at %s:\n%s", code, armed, r.Forwarder.Log())
			}
			at[armed]++
		}
		r.pause(r.within(300 * time.Millisecond))
		armed = ""
		delete(r.ForwarderEnv, "FAILPOINTS")
		if len(names) > 0 && i%2 == 0 && i < kills-1 {
			armed = names[i/2%len(names)]
			r.ForwarderEnv["FAILPOINTS"] = fmt.Sprintf("%s=kill@%d", armed, 1+r.rng.IntN(3))
			// It may end before it is ready.
			r.LaunchForwarder()
			continue
		}
		slowest = max(slowest, timed(r.StartForwarder))
	}
	r.pause(time.Second)
	stop()
	r.settle(time.Minute)
	r.noErrors()
	r.enough(kills * 20)
	a := r.account(ledger.Rules{})
	if slowest > 2*time.Second {
		t.Errorf("the forwarder took %v to be ready, not 2 s at most", slowest)
	}
	if n := len(a.Ledger.Deaths); n > 0 {
		t.Errorf("the ledger knows %d deaths of proxies: none died", n)
	}
	r.report(fmt.Sprintf("R13 kill -9 of the forwarder, %d times", kills), a, "%s; ready again within %v", counts(at), slowest.Round(time.Millisecond))
}

func counts(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}

// TestR14: kill -9 of the analyzer under load, at random moments and at each
// of its fail points. Nothing is lost or there twice, and what it counts is
// what its list shows.
func TestR14(t *testing.T) {
	t.Parallel()
	r := newRig(t, scale(3*time.Minute, 12*time.Minute))
	r.StartAll()
	stop := r.load(scale(150, 400)).Background(t, r.book)
	kills := scale(10, 50)
	at := map[string]int{}
	var slowest time.Duration
	armed := ""
	// Retention, which removes pairs, has a run of its own below.
	names := slices.DeleteFunc(points("store"), func(n string) bool { return n == failpoint.StoreMidCompaction })
	for i := range kills {
		if armed == "" {
			r.pause(100*time.Millisecond + r.within(900*time.Millisecond))
			r.Analyzer.Kill()
			at["random"]++
		} else {
			if code := r.Analyzer.Wait(30 * time.Second); code != -1 {
				t.Fatalf("the analyzer ended with status %d instead of being killed at %s:\n%s", code, armed, r.Analyzer.Log())
			}
			at[armed]++
		}
		armed = ""
		delete(r.AnalyzerEnv, "FAILPOINTS")
		if len(names) > 0 && i%2 == 0 && i < kills-1 {
			armed = names[i/2%len(names)]
			if armed == failpoint.StoreAfterIndexRename {
				// Only an index that is made anew is renamed.
				r.removeIndex()
				r.AnalyzerEnv["FAILPOINTS"] = armed + "=kill@1"
			} else {
				r.AnalyzerEnv["FAILPOINTS"] = fmt.Sprintf("%s=kill@%d", armed, 1+r.rng.IntN(5))
			}
			// It may end before it is ready.
			r.LaunchAnalyzer()
			continue
		}
		slowest = max(slowest, timed(r.StartAnalyzer))
	}
	r.pause(time.Second)
	stop()
	r.settle(time.Minute)
	r.noErrors()
	r.enough(kills * 20)
	a := r.account(ledger.Rules{})
	r.sameCounts()
	r.report(fmt.Sprintf("R14 kill -9 of the analyzer, %d times", kills), a, "%s; ready again within %v; counts by status class and by app equal a scan", counts(at), slowest.Round(time.Millisecond))
}

// removeIndex removes the analyzer's index, which it can make anew from its
// log.
func (r *rig) removeIndex() {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.AnalyzerEnv["DATA_DIR"], "index*"))
	if err != nil || len(found) == 0 {
		r.t.Fatalf("find the index below %s: %v, %v", r.AnalyzerEnv["DATA_DIR"], found, err)
	}
	for _, f := range found {
		if err := os.RemoveAll(f); err != nil {
			r.t.Fatal(err)
		}
	}
}

// sameCounts compares the analyzer's counts, by status class over time and by
// app, with a scan of its whole list.
func (r *rig) sameCounts() {
	r.t.Helper()
	ctx := r.t.Context()
	var scan [6]uint64
	apps := map[string]uint64{}
	if err := r.api.Walk(ctx, "", func(row ledger.Row) error {
		scan[min(row.Status/100, 5)]++
		apps[row.App]++
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	got, err := r.api.Classes(ctx, "")
	if err != nil {
		r.t.Fatal(err)
	}
	if got != scan {
		r.t.Errorf("by status class the analyzer counts %v, a scan %v", got, scan)
	}
	l, err := r.api.Ledger(ctx, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	stored := map[string]uint64{}
	for _, app := range l.Apps {
		stored[app.App] += app.Stored
	}
	if !maps.Equal(stored, apps) {
		r.t.Errorf("by app the ledger counts %v, a scan %v", stored, apps)
	}
	for app, n := range apps {
		by, err := r.api.Classes(ctx, "app:"+app)
		if err != nil {
			r.t.Fatal(err)
		}
		if total := by[0] + by[1] + by[2] + by[3] + by[4] + by[5]; total != n {
			r.t.Errorf("of the app %s the analyzer counts %d, a scan %d", app, total, n)
		}
	}
}

// TestR14Retention: kill -9 of the analyzer while retention removes what is
// oldest, half-way through a removal too. Only what is oldest is gone, and
// counts still equal a scan.
func TestR14Retention(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 5*time.Minute)
	r.AnalyzerEnv["RETENTION_BYTES"] = "64MiB"
	r.StartAll()
	load := r.load(200)
	load.Response = 32 << 10
	stop := load.Background(t, r.book)
	// Retention looks once a minute.
	const kills = 6
	for i := range kills {
		r.Analyzer.Kill()
		if i%2 == 0 {
			r.AnalyzerEnv["FAILPOINTS"] = failpoint.StoreMidCompaction + "=kill@1"
			r.LaunchAnalyzer()
			if code := r.Analyzer.Wait(90 * time.Second); code != -1 {
				t.Fatalf("the analyzer ended with status %d:\n%s", code, r.Analyzer.Log())
			}
			delete(r.AnalyzerEnv, "FAILPOINTS")
		}
		r.StartAnalyzer()
		r.pause(r.within(2 * time.Second))
	}
	stop()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{Retention: true})
	r.sameHistogram()
	r.report(fmt.Sprintf("R14 kill -9 of the analyzer during retention, %d times", kills), a,
		"%d of the oldest removed by retention; every pair after the oldest that is left is there", a.Removed)
}

// sameHistogram is sameCounts where retention removes what the ledger counts
// for ever.
func (r *rig) sameHistogram() {
	r.t.Helper()
	var scan [6]uint64
	if err := r.api.Walk(r.t.Context(), "", func(row ledger.Row) error { scan[min(row.Status/100, 5)]++; return nil }); err != nil {
		r.t.Fatal(err)
	}
	got, err := r.api.Classes(r.t.Context(), "")
	if err != nil {
		r.t.Fatal(err)
	}
	if got != scan {
		r.t.Errorf("by status class the analyzer counts %v, a scan %v", got, scan)
	}
}

// life is one proxy process as the test knows it, Unix nanoseconds.
type life struct{ began, ended int64 }

// TestR15: kill -9 of the proxy. What it had captured and not handed on is
// lost with it, and the ledger says how much at most, for each death.
func TestR15(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 5*time.Minute)
	r.killed = true
	r.StartAll()
	stop := r.load(300).Background(t, r.book)
	const kills = 20
	lives := make([]life, 0, kills)
	began := time.Now().UnixNano()
	for range kills {
		r.pause(500*time.Millisecond + r.within(2*time.Second))
		r.Proxy.Kill()
		lives = append(lives, life{began, time.Now().UnixNano()})
		began = time.Now().UnixNano()
		r.StartProxy()
		r.WaitRegistered()
	}
	r.pause(time.Second)
	stop()
	// A death is one once the lease has run out.
	harness.Poll(t, 90*time.Second, "every death in the ledger", func() error {
		l, err := r.api.Ledger(t.Context(), nil)
		if err == nil && (len(l.Deaths) < kills || l.Total.InFlight > 0) {
			err = fmt.Errorf("%d of %d; %d in flight", len(l.Deaths), kills, l.Total.InFlight)
		}
		return err
	})
	r.settle(30 * time.Second)
	a := r.account(ledger.Rules{Killed: true})
	if len(a.Ledger.Deaths) != kills {
		t.Errorf("the ledger knows %d deaths, there were %d", len(a.Ledger.Deaths), kills)
	}
	after := r.judgeDeaths(a, lives)
	if a.Failed > kills*uint64(r.load(1).Conns+8)*2 {
		t.Errorf("%d requests failed with %d deaths: %s", a.Failed, kills, r.book.Errors())
	}
	r.report(fmt.Sprintf("R15 kill -9 of the proxy, %d times", kills), a, "%d missing in all: %d of the time up to each last report, within its bound, and %d seen after it", a.Missing, a.Missing-a.Lost-after, after)
}

// judgeDeaths finds each death's life, holds what is missing of it against
// its bound, and adds to a.Lost what exceeds that. It returns how many of the
// missing came after the last report of their proxy.
func (r *rig) judgeDeaths(a *ledger.Account, lives []life) (after uint64) {
	r.t.Helper()
	deaths := slices.SortedFunc(slices.Values(a.Ledger.Deaths), func(x, y httpv1.LedgerDeath) int { return x.LastReport.Compare(y.LastReport) })
	missing := a.MissingAt
	for i, l := range lives {
		if i >= len(deaths) {
			break
		}
		d := deaths[i]
		last := d.LastReport.UnixNano()
		// A report is on its way for some moments.
		if last < l.began || last > l.ended+int64(time.Second) {
			r.t.Errorf("death %d: its last report is of %v, and it lived from %v to %v", i, d.LastReport, time.Unix(0, l.began), time.Unix(0, l.ended))
		}
		var before uint64
		for len(missing) > 0 && missing[0] <= l.ended {
			if missing[0] <= last-int64(50*time.Millisecond) {
				before++
			} else {
				after++
			}
			missing = missing[1:]
		}
		if before > d.AtMost {
			r.t.Errorf("death %d: %d pairs are missing up to its last report, and the ledger says %d at most", i, before, d.AtMost)
			a.Lost += before - d.AtMost
		}
	}
	if n := uint64(len(missing)); n > 0 {
		r.t.Errorf("%d pairs are missing of a proxy that lives", n)
		a.Lost += n
	}
	return after
}
