package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// Needs are the programs of others that these tests start. The browser test
// needs more, see there.
var Needs = []string{"nginx", "python3", "curl", "openssl", "redis-server", "redis-cli"}

// bins is set once, before any test.
var bins *harness.Bins

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	if missing, from := harness.Missing(Needs...); len(missing) > 0 {
		msg := fmt.Sprintf("%s is missing (packages: %s)", strings.Join(missing, ", "), strings.Join(from, " "))
		if !harness.AllowMissing() {
			return 1, errors.New(msg + "; install them, or set ALLOW_MISSING=1 to leave out what needs them")
		}
		fmt.Fprintf(os.Stderr, "e2e: %s; tests that need them are LEFT OUT\n", msg)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if bins, err = harness.OpenBins(ctx); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, bins.Close()) }()
	return m.Run(), nil
}

// stored waits until the analyzer shows at least want pairs that have an id
// of the ledger, and then, so that a pair that comes twice is seen too, for a
// last request that follows them all on the same way. It returns every pair
// but that last one.
func stored(t *testing.T, s *harness.Stack, want int) []ledger.Stored {
	t.Helper()
	api := ledger.NewAnalyzer(s.Viewer())
	count := func() (n int, err error) {
		rows, err := api.List(t.Context(), "")
		if err != nil {
			return 0, err
		}
		for _, r := range rows {
			if ledger.FindID(r.Target()) != "" {
				n++
			}
		}
		return n, nil
	}
	// Fewer is for the ledger to report, by name.
	if err := harness.Await(t.Context(), 30*time.Second, func() error {
		n, err := count()
		if err == nil && n < want {
			err = fmt.Errorf("the analyzer shows %d pairs of %d", n, want)
		}
		return err
	}); err != nil {
		t.Log(err)
	}
	var last load.Plan
	last.Add("GET", "/last/{id}", nil)
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	if c := load.One(t.Context(), client, s.Front(), last.Requests[0]); c.Err != "" {
		t.Fatalf("last request: %s", c.Err)
	}
	var all []ledger.Stored
	harness.Poll(t, 20*time.Second, "pair of the last request", func() error {
		p, err := api.Page(t.Context(), "path:"+last.Requests[0].Target, "", 2)
		if err != nil {
			return err
		}
		if len(p.Pairs) != 1 {
			return fmt.Errorf("%d pairs", len(p.Pairs))
		}
		return nil
	})
	pairs, err := api.ReadAll(t.Context(), "")
	if err != nil {
		t.Fatalf("read the store: %v", err)
	}
	for _, p := range pairs {
		if p.ID != last.Requests[0].ID {
			all = append(all, p)
		}
	}
	return all
}

// check compares and fails the test for any difference.
func check(t *testing.T, calls []ledger.Call, served []ledger.Served, pairs []ledger.Stored) {
	t.Helper()
	served = withoutLast(served)
	r := ledger.Compare(calls, served, pairs)
	t.Log(r)
	if !r.OK() {
		t.Error("the ledger does not add up")
	}
}

// withoutLast leaves out the request that stored makes itself.
func withoutLast(served []ledger.Served) []ledger.Served {
	var out []ledger.Served
	for _, s := range served {
		if !strings.HasPrefix(s.Target, "/last/") {
			out = append(out, s)
		}
	}
	return out
}
