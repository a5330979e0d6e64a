package fault

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// TestR36: a forwarder starts with a backlog of 1 GiB. It is ready at once,
// stays small while it drains, sends what is new before it, and says how long
// it will take.
func TestR36(t *testing.T) {
	long(t) // not in parallel: it measures
	r := newRig(t, 7*time.Minute)
	r.StartForwarder()
	r.StartProxy()
	r.WaitRegistered()
	const backlog = 1 << 30
	fill := r.load(150)
	fill.Response, fill.Request, fill.Conns = 512<<10, 512<<10, 16
	r.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "64MiB"
	stop := fill.Background(t, r.book)
	harness.Poll(t, 3*time.Minute, "a backlog of 1 GiB", func() error {
		if n := size(t, r.spoolDir()); n < backlog {
			return fmt.Errorf("the spool has %d bytes", n)
		}
		return nil
	})
	stop()
	r.pause(time.Second)
	r.Forwarder.Kill()

	r.StartAnalyzer()
	began := time.Now()
	ready := timed(r.StartForwarder)
	live := r.load(20)
	live.Response, live.Request, live.SlowEvery = 1<<10, 1<<10, 0
	stop = live.Background(t, r.book)
	r.WaitRegistered()
	var resident, files int
	var eta time.Duration
	var newest time.Duration // the longest that the newest pair in the list was old
	measured := 0
	harness.Poll(t, 3*time.Minute, "a drained backlog", func() error {
		resident = max(resident, residentMiB(t, r.Forwarder.PID()))
		files = max(files, openFiles(t, r.Forwarder.PID()))
		left, estimate, err := r.backlog()
		if err != nil {
			return err
		}
		eta = max(eta, estimate)
		if left > backlog/20 {
			p, err := r.api.Page(t.Context(), "", "", 1)
			if err != nil {
				return err
			}
			// A moment for the proxy to find its forwarder again.
			if time.Since(began) > 5*time.Second && len(p.Pairs) == 1 {
				newest = max(newest, time.Since(p.Pairs[0].Time))
				measured++
			}
			return fmt.Errorf("%d bytes are left", left)
		}
		return nil
	})
	drained := time.Since(began)
	stop()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	if ready > 2*time.Second {
		t.Errorf("with 1 GiB the forwarder was ready after %v", ready)
	}
	if resident > 256 || files > 256 {
		t.Errorf("the forwarder held %d MiB and %d files", resident, files)
	}
	if eta == 0 {
		t.Error("nobody said how long the backlog lasts")
	}
	if measured == 0 {
		t.Errorf("the backlog was gone after %v, before anything could be seen of live traffic", drained)
	}
	if newest > 5*time.Second {
		t.Errorf("live pairs waited %v behind the backlog", newest)
	}
	r.report("R36 start with a backlog of 1 GiB", a, "the promise's 5 GB take longer; ready after %v, drained after %v, at most %d MiB resident and %d files, live pairs at most %v old, ETA shown (%v at most)",
		ready.Round(time.Millisecond), drained.Round(time.Second), resident, files, newest.Round(100*time.Millisecond), eta.Round(time.Second))
}

// backlog is what the analyzer's API says of the forwarder's: bytes, and how
// long they last; 0 when that is not known.
func (r *rig) backlog() (bytes uint64, eta time.Duration, err error) {
	b, err := r.api.Get(r.t.Context(), "/api/v1/proxies")
	if err != nil {
		return 0, 0, err
	}
	var who httpv1.Proxies
	if err := json.Unmarshal(b, &who); err != nil {
		return 0, 0, fmt.Errorf("decode proxies: %w", err)
	}
	known := false
	for _, f := range who.Forwarders {
		for _, d := range f.Destinations {
			known = true
			bytes += d.BacklogBytes
			if d.BacklogETANS != nil {
				eta = max(eta, time.Duration(*d.BacklogETANS))
			}
		}
	}
	if !known {
		return 0, 0, fmt.Errorf("no destination among %d forwarders", len(who.Forwarders))
	}
	return bytes, eta, nil
}

// size is what a directory's files hold.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}

// openFiles is how many files a process has open.
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatalf("list open files: %v", err)
	}
	return len(files)
}
