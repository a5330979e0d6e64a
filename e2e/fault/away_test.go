package fault

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// TestR11: the forwarder is away under load. With a disk ring beside the proxy
// nothing is lost and nothing can be read on its disk; without one, memory
// decides, and what it can't hold is counted.
func TestR11(t *testing.T) {
	for _, ring := range []bool{true, false} {
		t.Run(map[bool]string{true: "ring", false: "memory"}[ring], func(t *testing.T) {
			t.Parallel()
			r := newRig(t, scale(2*time.Minute, 5*time.Minute))
			r.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "1MiB"
			dir := r.state("ring")
			if ring {
				r.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "4MiB"
				r.ProxyEnv["CAPTURE_SPOOL_DIR"] = dir
			}
			r.StartAll()
			load := r.load(scale(200, 300))
			load.Response, load.Request = 16<<10, 16<<10
			stop := load.Background(t, r.book)
			r.pause(time.Second)
			r.Forwarder.Kill()
			away := scale(10*time.Second, 60*time.Second)
			r.pause(away)
			note := fmt.Sprintf("goproxy resident %d MiB", residentMiB(t, r.Proxy.PID()))
			if ring {
				note += fmt.Sprintf(", ring of %d MiB without a byte of it readable", unreadable(t, dir, r.book)>>20)
			}
			r.StartForwarder()
			r.pause(time.Second)
			stop()
			r.settle(time.Minute)
			r.noErrors()
			r.enough(scale(1500, 15_000))
			a := r.account(ledger.Rules{})
			r.inGaps(a)
			dropped := a.Dropped()
			for reason, n := range dropped {
				if n > 0 && (ring || reason != "proxy/memory") {
					t.Errorf("%d were dropped as %s", n, reason)
				}
			}
			if !ring && dropped["proxy/memory"] == 0 {
				t.Error("nothing was dropped: the test did not fill the memory")
			}
			name := "R11 forwarder away for %v, memory only"
			if ring {
				name = "R11 forwarder away for %v, with CAPTURE_SPOOL_DIR"
			}
			r.report(fmt.Sprintf(name, away), a, "%s", note)
		})
	}
}

// unreadable looks in a ring's files for anything that the load carried, and
// returns how many bytes it looked through.
func unreadable(t *testing.T, dir string, book *ledger.Book) (size int64) {
	t.Helper()
	entries := book.Entries()
	// The newest are those that are in the ring.
	entries = entries[max(0, len(entries)-40):]
	words := [][]byte{[]byte(ledger.Header), []byte("HTTP/1.1"), []byte("my_application_name")}
	for _, e := range entries {
		words = append(words, []byte(hex.EncodeToString(e.ID[:])), e.ID[:])
		if e.In.Size >= 16 {
			words = append(words, ledger.Noise(e.ID, 0, 16))
		}
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			if os.IsNotExist(err) {
				return nil // sent meanwhile
			}
			return err
		}
		size += int64(len(data))
		for _, w := range words {
			if bytes.Contains(data, w) {
				t.Errorf("%s holds %q, readable", path, w)
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("read the ring: %v", err)
	}
	if size < 1<<20 {
		t.Errorf("the ring holds %d bytes: the test did not fill it", size)
	}
	return size
}

// residentMiB is what a process holds in memory.
func residentMiB(t *testing.T, pid int) (n int) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatalf("read memory of a process: %v", err)
	}
	for line := range bytes.Lines(data) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &n); err == nil {
			return n >> 10
		}
	}
	t.Fatal("the system does not tell a process's memory")
	return 0
}

// TestR11Latency: what clients wait for, with the forwarder there and away in
// turn, within one run. The forwarder must make no difference to them. All
// programs, the clients and the server share one machine, so that an absent
// forwarder also leaves them more of it.
func TestR11Latency(t *testing.T) {
	long(t) // not in parallel: whoever else runs is noise
	r := newRig(t, 5*time.Minute)
	r.quiet = true
	r.ProxyEnv["CAPTURE_SPOOL_DIR"] = r.state("ring")
	r.StartAll()
	const periods, length, settle = 10, 6 * time.Second, time.Second
	var mu sync.Mutex
	var now []time.Duration
	load := r.load(1000)
	load.Response, load.Request, load.Conns = 2<<10, 2<<10, 16
	load.SlowEvery = 0
	load.Latency = func(_ time.Time, took time.Duration) {
		mu.Lock()
		now = append(now, took)
		mu.Unlock()
	}
	stop := load.Background(t, r.book)
	measure := func() []time.Duration {
		// What a change itself costs (a process starts or ends on this very
		// machine) is left out.
		r.pause(settle)
		mu.Lock()
		now = nil
		mu.Unlock()
		r.pause(length)
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(now)
		return now
	}
	var up, away [][]time.Duration
	for range periods {
		up = append(up, measure())
		r.Forwarder.Kill()
		away = append(away, measure())
		r.StartForwarder()
	}
	r.pause(time.Second)
	stop()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	p99 := func(x []time.Duration) time.Duration { return quantile(x, 0.99) }
	p50 := func(x []time.Duration) time.Duration { return quantile(x, 0.5) }
	for i := range up {
		t.Logf("period %d: %d requests with the forwarder, p50 %v, p99 %v; %d without, p50 %v, p99 %v",
			i, len(up[i]), p50(up[i]), p99(up[i]), len(away[i]), p50(away[i]), p99(away[i]))
	}
	d50, lo50, hi50 := paired(up, away, p50, r.rng)
	d99, lo99, hi99 := paired(up, away, p99, r.rng)
	note := fmt.Sprintf("added by its absence, median of %d pairs of periods: p50 %v (%v to %v), p99 %v (%v to %v, 95 %%); with it p50 %v, p99 %v",
		periods, d50, lo50, hi50, d99, lo99, hi99, p50(flat(up)), p99(flat(up)))
	// Only what the noise of the run cannot explain is a failure.
	if lo99 > 200*time.Microsecond {
		t.Errorf("the absent forwarder adds more than 0.2 ms: %s", note)
	}
	r.report("R11 latency of clients, forwarder away against up", a, "%s", note)
}

func flat(x [][]time.Duration) []time.Duration {
	all := slices.Concat(x...)
	slices.Sort(all)
	return all
}

// quantile of a sorted list.
func quantile(x []time.Duration, q float64) time.Duration {
	if len(x) == 0 {
		return 0
	}
	return x[min(int(q*float64(len(x))), len(x)-1)]
}

// paired is the median of the differences of neighbouring periods, and the
// interval that 95 % of bootstrap samples of it are in.
func paired(up, away [][]time.Duration, of func([]time.Duration) time.Duration, rng *rand.Rand) (median, lo, hi time.Duration) {
	diffs := make([]time.Duration, len(up))
	for i := range up {
		diffs[i] = of(away[i]) - of(up[i])
	}
	middle := func(x []time.Duration) time.Duration {
		slices.Sort(x)
		return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
	}
	const rounds = 2000
	medians := make([]time.Duration, rounds)
	for i := range medians {
		again := make([]time.Duration, len(diffs))
		for j := range again {
			again[j] = diffs[rng.IntN(len(diffs))]
		}
		medians[i] = middle(again)
	}
	slices.Sort(medians)
	round := func(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
	return round(middle(diffs)), round(medians[rounds*25/1000]), round(medians[rounds*975/1000])
}
