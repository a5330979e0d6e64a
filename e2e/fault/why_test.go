package fault

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// why asks where a request to this path went, at the API and on the command
// line, until the verdict is the wanted one.
func (r *rig) why(within time.Duration, path string, at time.Time, want string) httpv1.WhyFinding {
	r.t.Helper()
	around := at.UTC().Format(time.RFC3339Nano)
	var w httpv1.Why
	harness.Poll(r.t, within, "the verdict "+want, func() error {
		b, err := r.api.Get(r.t.Context(), "/api/v1/why?"+url.Values{"q": {"path:" + path}, "around": {around}}.Encode())
		if err != nil {
			return err
		}
		w = httpv1.Why{}
		if err := json.Unmarshal(b, &w); err != nil {
			return fmt.Errorf("decode why: %w", err)
		}
		if w.Verdict != want || len(w.Findings) == 0 || w.Findings[0].Kind != want {
			return fmt.Errorf("%s", b)
		}
		return nil
	})
	f := w.Findings[0]
	r.t.Logf("weir why --path %s: %s", path, f.Text)
	out := harness.Run(r.t, r.Dir, map[string]string{"WEIR_URL": r.Viewer()}, nil, bins.Path("weir"), "why", "--path", path, "--around", around)
	if out.Code != 0 || !strings.Contains(out.Stdout, f.Text) {
		r.t.Errorf("weir why: status %d; it prints\n%s%snot %q", out.Code, out.Stdout, out.Stderr, f.Text)
	}
	return f
}

// ask makes one request and returns when.
func (r *rig) ask(base, path string) time.Time {
	r.t.Helper()
	var p load.Plan
	p.Add("GET", path, nil)
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	at := time.Now()
	if c := load.One(r.t.Context(), client, base, p.Requests[0]); c.Err != "" || c.Status != 200 {
		r.t.Fatalf("GET %s: status %d %s", path, c.Status, c.Err)
	}
	return at
}

// missing is a request that was completed and that the store does not have;
// the one in the middle of all such.
func (r *rig) missing() (path string, at time.Time) {
	r.t.Helper()
	stored := map[string]bool{}
	if err := r.api.Walk(r.t.Context(), "", func(row ledger.Row) error { stored[row.Path] = true; return nil }); err != nil {
		r.t.Fatal(err)
	}
	entries := slices.DeleteFunc(r.book.Entries(), func(e ledger.Entry) bool {
		return e.Outcome != ledger.Completed || e.Redacted || stored[entryPath(e)]
	})
	if len(entries) == 0 {
		r.t.Fatal("the store has every request: nothing was lost on purpose")
	}
	e := entries[len(entries)/2]
	return entryPath(e), time.Unix(0, e.Sent)
}

func entryPath(e ledger.Entry) string { return fmt.Sprintf("/f/%x", e.ID) }

func TestWhyStored(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.StartAll()
	path := "/why/" + ledger.NewID()
	at := r.ask(r.Front(), path)
	f := r.why(20*time.Second, path, at, "stored")
	if !f.Certain || len(f.Pairs) != 1 || f.Pairs[0].Path != path {
		t.Errorf("found %+v", f)
	}
}

func TestWhyFiltered(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.ForwarderEnv["FILTER_RULE"] = "path:/health*"
	r.StartAll()
	path := "/healthz/" + ledger.NewID()
	at := r.ask(r.Front(), path)
	f := r.why(20*time.Second, path, at, "filtered")
	if f.Rule == "" || f.Count != 1 || !strings.Contains(f.Text, f.Rule) {
		t.Errorf("found %+v", f)
	}
}

func TestWhyDroppedForMemory(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2*time.Minute)
	r.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "1MiB"
	r.StartAll()
	r.Forwarder.Kill()
	stop := r.load(300).Background(t, r.book)
	r.pause(8 * time.Second)
	stop()
	r.StartForwarder()
	r.settle(time.Minute)
	path, at := r.missing()
	if f := r.why(20*time.Second, path, at, "dropped"); f.Hop != "proxy" || f.Reason != "memory" || f.Count == 0 || f.Fix == "" {
		t.Errorf("found %+v", f)
	}
}

func TestWhyDroppedForAFullSpool(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2*time.Minute)
	r.ForwarderEnv["SPOOL_MAX_BYTES"] = "32MiB"
	r.StartAll()
	r.Analyzer.Kill()
	l := r.load(150)
	l.Response, l.Request = 256<<10, 256<<10
	stop := l.Background(t, r.book)
	harness.Poll(t, 45*time.Second, "a full spool", func() error {
		if n := size(t, r.spoolDir()); n < 28<<20 {
			return fmt.Errorf("%d bytes", n)
		}
		return nil
	})
	r.pause(3 * time.Second)
	stop()
	r.StartAnalyzer()
	r.settle(time.Minute)
	path, at := r.missing()
	if f := r.why(20*time.Second, path, at, "dropped"); f.Hop != "forwarder" || f.Reason != "spool_full" || f.Count == 0 || f.Fix == "" {
		t.Errorf("found %+v", f)
	}
}

func TestWhyReapedProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2*time.Minute)
	r.killed = true
	r.StartAll()
	stop := r.load(200).Background(t, r.book)
	r.pause(2 * time.Second)
	// What it hands on is not taken, and then it can't any more.
	r.Forwarder.Signal(syscall.SIGSTOP)
	r.pause(700 * time.Millisecond)
	r.Proxy.Kill()
	stop()
	r.Forwarder.Signal(syscall.SIGCONT)
	// Its lease runs for 45 s.
	harness.Poll(t, 75*time.Second, "a death in the ledger", func() error {
		l, err := r.api.Ledger(t.Context(), nil)
		if err == nil && len(l.Deaths) == 0 {
			err = fmt.Errorf("none; %+v", l.Total)
		}
		return err
	})
	path, at := r.missing()
	f := r.why(20*time.Second, path, at, "lost_with_proxy")
	if len(f.Proxies) == 0 || f.Proxies[0].ProxyID != r.ProxyEnv["APP_POD_NAME"] || f.Proxies[0].Until == nil {
		t.Errorf("found %+v", f)
	}
}

func TestWhyNeverSeen(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.StartAll()
	// Who is watching is known from what was seen.
	seen := "/why/seen/" + ledger.NewID()
	r.why(20*time.Second, seen, r.ask(r.Front(), seen), "stored")
	r.settle(20 * time.Second)
	path := "/why/" + ledger.NewID()
	at := r.ask("http://"+harness.Addr(r.upstream), path) // past the proxy
	f := r.why(20*time.Second, path, at, "never_seen")
	if len(f.Proxies) == 0 || f.Proxies[0].ProxyID != r.ProxyEnv["APP_POD_NAME"] || f.Proxies[0].Since.IsZero() {
		t.Errorf("found %+v", f)
	}
}
