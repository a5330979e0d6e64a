package e2e

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestKill ends a program with SIGKILL in the middle of the load, five times
// (make test-all: 25 times), and starts it again. The clients notice nothing, and nothing is lost or
// there twice.
func TestKill(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"forwarder", "analyzer"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			nginx := startNginx(t, false)
			s := harness.NewStack(t, bins, nginx.Port)
			s.StartAll()

			stop := make(chan struct{})
			done := make(chan []ledger.Call, 1)
			go func() {
				done <- load.Stream(t.Context(), s.Front(), 4, 10*time.Millisecond, func(_, n int) load.Request {
					var p load.Plan
					switch n % 4 {
					case 0:
						p.Add("POST", "/echo?id={id}", noise(20_000, uint64(n)))
					case 1:
						p.Add("GET", "/files/text.txt?id={id}", nil, "Accept-Encoding", "gzip")
					default:
						p.Add("GET", "/echo?id={id}", nil)
					}
					return p.Requests[0]
				}, stop)
			}()
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed of the moments: %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			within := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
			rounds := 5
			if os.Getenv("WEIR_TEST_ALL") != "" {
				rounds = 25
			}
			for range rounds {
				// The moment is random on purpose: it must not matter.
				pause(t, 300*time.Millisecond+within(700*time.Millisecond))
				switch victim {
				case "forwarder":
					s.Forwarder.Kill()
					pause(t, within(500*time.Millisecond))
					s.StartForwarder()
				case "analyzer":
					s.Analyzer.Kill()
					pause(t, within(500*time.Millisecond))
					s.StartAnalyzer()
				}
			}
			pause(t, 500*time.Millisecond)
			close(stop)
			calls := <-done
			if len(calls) < 300 {
				t.Errorf("only %d requests were made: the load was not under way", len(calls))
			}
			pairs := stored(t, s, len(calls))
			check(t, calls, harness.Settle(t, nginx.Served, len(calls)+1), pairs)
		})
	}
}

// pause lets the load go on for a while.
func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}
