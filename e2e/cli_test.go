package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// up starts `weir up` and returns the process and the address of its viewer.
func up(t *testing.T, dir string, app, listen int) (*harness.Proc, string) {
	t.Helper()
	// Bodies are compared byte by byte, those that no rule reads too. Who may
	// come in has tests of its own.
	p := harness.Start(t, dir, "weir-up", bins.Path("weir"), map[string]string{"DLP_CONFIG": "none", "AUTH": "off"},
		"up", "--to", harness.Addr(app), "--listen", harness.Addr(listen), "--data", filepath.Join(dir, "data"), "--app", "shop")
	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	var viewer string
	harness.Poll(t, 30*time.Second, "viewer of weir up", func() error {
		if !p.Running() {
			t.Fatalf("weir up ended:\n%s", p.Log())
		}
		// It prints where clients connect and where the viewer is; only the
		// viewer knows whether it is ready.
		out, err := os.ReadFile(filepath.Join(dir, "weir-up.log"))
		if err != nil {
			return err
		}
		for _, url := range link.FindAllString(string(out), -1) {
			if strings.HasSuffix(url, fmt.Sprintf(":%d", listen)) {
				continue
			}
			if _, err := ledger.NewAnalyzer(url).Get(t.Context(), "/readyz"); err == nil {
				viewer = url
				return nil
			}
		}
		return fmt.Errorf("it printed: %s", out)
	})
	return p, viewer
}

// TestUp: one command in front of an application that nobody changed; the
// other commands show what it captured, and what it captured outlives it.
func TestUp(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	dir, listen := harness.Dir(t), harness.Port(t)
	weir, viewer := up(t, dir, nginx.Port, listen)
	api := ledger.NewAnalyzer(viewer)

	weirCmd := func(args ...string) string {
		t.Helper()
		r := harness.Run(t, dir, map[string]string{"WEIR_URL": viewer}, nil, bins.Path("weir"), args...)
		if r.Code != 0 {
			t.Fatalf("weir %v: status %d: %s%s", args, r.Code, r.Stdout, r.Stderr)
		}
		return r.Stdout
	}
	tail := harness.Start(t, dir, "weir-tail", bins.Path("weir"), map[string]string{"WEIR_URL": viewer}, "tail", "status:5xx")

	var p load.Plan
	for range 10 {
		everything(&p, nginx)
	}
	calls := load.Go(t.Context(), "http://"+harness.Addr(listen), p.Requests, 4)
	all := func() []ledger.Stored {
		t.Helper()
		var pairs []ledger.Stored
		harness.Poll(t, 20*time.Second, "all pairs", func() error {
			rows, err := api.List(t.Context(), "")
			if err == nil && len(rows) < len(calls) {
				err = fmt.Errorf("%d of %d", len(rows), len(calls))
			}
			return err
		})
		pairs, err := api.ReadAll(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return pairs
	}
	check(t, calls, harness.Settle(t, nginx.Served, len(calls)), all())

	fails := 0
	for _, c := range calls {
		if c.Status >= 500 {
			fails++
		}
	}
	out := weirCmd("query", "status:503", "--limit", "100")
	t.Logf("weir query status:503:\n%s", strings.Join(strings.SplitAfter(out, "\n")[:4], ""))
	if n := strings.Count(out, "/fail"); n != fails || strings.Contains(out, "/echo") {
		t.Errorf("weir query shows %d of %d rows:\n%s", n, fails, out)
	}
	rows, err := api.List(t.Context(), "method:POST size.request:>0")
	if err != nil || len(rows) == 0 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	if out := weirCmd("show", rows[0].ID); !strings.Contains(out, `{"a":1}`) || !strings.Contains(out, "this is the answer to") {
		t.Errorf("weir show:\n%s", out)
	}
	r := harness.Run(t, dir, map[string]string{"WEIR_URL": viewer}, nil, bins.Path("weir"), "query", "stauts:500")
	if r.Code == 0 || !strings.Contains(r.Stderr, "column 1") || !strings.Contains(r.Stderr, "status") {
		t.Errorf("weir query with a mistake: status %d: %s", r.Code, r.Stderr)
	}
	// The tail may have begun after the load did, so something for it to see.
	harness.Poll(t, 20*time.Second, "a row in weir tail", func() error {
		resp, err := get(t.Context(), "http://"+harness.Addr(listen)+"/fail?tail=yes")
		if err != nil {
			return err
		}
		resp.Body.Close()
		seen, err := os.ReadFile(filepath.Join(dir, "weir-tail.log"))
		if err == nil && !strings.Contains(string(seen), "tail=yes") {
			err = fmt.Errorf("it shows %q", seen)
		}
		return err
	})
	tail.Kill()

	before, err := api.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if code := weir.Stop(20 * time.Second); code != 0 {
		t.Errorf("weir up ended with status %d:\n%s", code, weir.Log())
	}
	if err := os.Remove(filepath.Join(dir, "weir-up.log")); err != nil {
		t.Fatal(err)
	}
	_, viewer = up(t, dir, nginx.Port, listen)
	api = ledger.NewAnalyzer(viewer)
	after, err := api.List(t.Context(), "")
	if err != nil || len(after) < len(before) {
		t.Errorf("%d pairs before, %d after, %v", len(before), len(after), err)
	}
}

func get(ctx context.Context, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
