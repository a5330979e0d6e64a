package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestAccountScripts asks weir ledger, why and doctor, as a session at a
// terminal, about an installation in which one request was stored, one
// filtered, and many lost because the forwarder was away for too long. The
// scripts have
//
//	$WEIR_URL           the analyzer
//	$STORED, $FILTERED  paths of these requests
//	$AROUND             when they were made
//	$LOST, $LOST_AT     one that was lost, and when
//	$NEVER              a path that nobody asked for
func TestAccountScripts(t *testing.T) {
	t.Parallel()
	book := ledger.NewBook()
	s := harness.NewStack(t, bins, load.Backend(t, book))
	s.ForwarderEnv["FILTER_RULE"] = "path:/health*"
	s.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "1MiB"
	s.StartAll()

	var plan load.Plan
	plan.Add("GET", "/paid/{id}", nil)
	plan.Add("GET", "/health/{id}", nil)
	around := time.Now()
	for _, c := range load.Go(t.Context(), s.Front(), plan.Requests, 1) {
		if c.Err != "" {
			t.Fatal(c.Err)
		}
	}
	api := ledger.NewAnalyzer(s.Viewer())
	harness.Poll(t, 20*time.Second, "one stored and one filtered", func() error {
		l, err := api.Ledger(t.Context(), nil)
		if err == nil && (l.Total.Stored != 1 || len(l.Total.Filtered) != 1) {
			err = fmt.Errorf("the ledger says %+v", l.Total)
		}
		return err
	})
	s.Forwarder.Kill()
	stop := load.Steady{Addr: harness.Addr(s.ProxyPort), Rate: 300, Response: 8 << 10}.Background(t, book)
	pause(t, 6*time.Second)
	stop()
	s.StartForwarder()
	harness.Poll(t, 30*time.Second, "what was lost, and nothing in flight", func() error {
		l, err := api.Ledger(t.Context(), nil)
		if err == nil && (len(l.Total.Dropped) == 0 || l.Total.InFlight > 0 || l.Total.Seen < uint64(book.Count(ledger.Completed))) {
			err = fmt.Errorf("the ledger says %+v", l.Total)
		}
		return err
	})
	harness.Poll(t, 20*time.Second, "the proxy is known to be connected", func() error {
		who, err := api.Proxies(t.Context())
		if err == nil && (len(who.Proxies) != 1 || who.Proxies[0].State != "connected") {
			err = fmt.Errorf("%+v", who.Proxies)
		}
		return err
	})
	stored := map[string]bool{}
	if err := api.Walk(t.Context(), "", func(r ledger.Row) error { stored[r.Path] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	lost, lostAt := "", time.Time{}
	for _, e := range book.Entries() {
		if path := fmt.Sprintf("/f/%x", e.ID); e.Outcome == ledger.Completed && !stored[path] {
			lost, lostAt = path, time.Unix(0, e.Sent)
		}
	}
	if lost == "" {
		t.Fatal("nothing was lost: the test did not fill the memory")
	}
	testscript.Run(t, testscript.Params{
		Dir:             filepath.Join("testdata", "account"),
		ContinueOnError: true,
		Setup: func(env *testscript.Env) error {
			env.Vars = []string{
				"PATH=" + bins.Dir() + string(os.PathListSeparator) + os.Getenv("PATH"),
				"HOME=" + env.WorkDir, "WORK=" + env.WorkDir, "TMPDIR=" + env.WorkDir,
				"WEIR_URL=" + s.Viewer(), "STORED=" + plan.Requests[0].Target, "FILTERED=" + plan.Requests[1].Target,
				"AROUND=" + around.UTC().Format(time.RFC3339), "LOST=" + lost, "LOST_AT=" + lostAt.UTC().Format(time.RFC3339),
				"NEVER=/never/" + ledger.NewID(),
			}
			return nil
		},
	})
}
