package fault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// TestR35: three destinations, of which one is away in turn: the others get
// everything at once meanwhile, and it gets all of it when it comes back.
func TestR35(t *testing.T) {
	t.Parallel()
	r := newRig(t, scale(2*time.Minute, 6*time.Minute))
	// A second analyzer, which is another stack's for its ports and folders.
	other := harness.NewStack(t, bins, r.upstream)
	otherAPI := ledger.NewAnalyzer(other.Viewer())
	file := r.state("pairs.jsonl")
	exporters, err := json.Marshal(map[string]any{"exporters": []map[string]any{
		{"name": "other", "type": "analyzer", "addr": other.AnalyzerEnv["INGEST_ADDR"]},
		{"name": "file", "type": "file", "path": file},
	}})
	if err != nil {
		t.Fatal(err)
	}
	r.ForwarderEnv["EXPORTERS"] = r.state("exporters.json")
	if err := os.WriteFile(r.ForwarderEnv["EXPORTERS"], exporters, 0o600); err != nil {
		t.Fatal(err)
	}
	r.StartAll() // and the second analyzer is away
	stop := r.load(scale(100, 200)).Background(t, r.book)
	away := scale(4*time.Second, 60*time.Second)
	var worst time.Duration
	fresh := func(what string, newest func() (time.Time, error)) {
		t.Helper()
		for end := time.Now().Add(away); time.Now().Before(end); r.pause(200 * time.Millisecond) {
			at, err := newest()
			if err != nil {
				t.Fatal(err)
			}
			if old := time.Since(at); old > 3*time.Second {
				t.Fatalf("%s: its newest pair is %v old while another destination is away", what, old)
			} else {
				worst = max(worst, old)
			}
		}
	}
	newestOf := func(api *ledger.Analyzer) func() (time.Time, error) {
		return func() (time.Time, error) {
			p, err := api.Page(t.Context(), "", "", 1)
			if err != nil || len(p.Pairs) == 0 {
				return time.Time{}, err
			}
			return p.Pairs[0].Time, nil
		}
	}
	r.pause(2 * time.Second)
	fresh("the analyzer", newestOf(r.api))
	if n := countLines(t, file); n == 0 {
		t.Error("the file got nothing while the second analyzer is away")
	}
	other.StartAnalyzer()
	r.Analyzer.Kill()
	// It has a backlog of its own; what is new goes before it.
	harness.Poll(t, 20*time.Second, "the second analyzer's first pair", func() error {
		at, err := newestOf(otherAPI)()
		if err == nil && time.Since(at) > 2*time.Second {
			err = fmt.Errorf("its newest pair is of %v", at)
		}
		return err
	})
	fresh("the second analyzer", newestOf(otherAPI))
	r.StartAnalyzer()
	r.pause(time.Second)
	stop()
	r.settle(2 * time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	b := r.accountOf(otherAPI)
	r.report(fmt.Sprintf("R35 a second analyzer away for %v: the first", away), a, "the newest pair at most %v old meanwhile", worst.Round(10*time.Millisecond))
	r.report(fmt.Sprintf("R35 the first analyzer away for %v: the second", away), b, "got all of its backlog")
	r.fileHasAll(file)
}

// accountOf is the account of a further analyzer.
func (r *rig) accountOf(api *ledger.Analyzer) *ledger.Account {
	r.t.Helper()
	other := *r
	other.api = api
	other.settle(2 * time.Minute)
	return other.account(ledger.Rules{})
}

func countLines(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

// fileHasAll waits until a file destination (with what was rotated) has a line
// for every completed request, and fails the test for one that is there twice.
func (r *rig) fileHasAll(file string) {
	r.t.Helper()
	times := map[string]int{}
	harness.Poll(r.t, 30*time.Second, "every pair in the file", func() error {
		clear(times)
		// What was rotated has a number behind its name.
		files, err := filepath.Glob(file + ".[0-9]*")
		if err != nil {
			return err
		}
		files = append(files, file)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return err
			}
			for line := range bytes.Lines(data) {
				times[ledger.FindID(string(line))]++
			}
		}
		for _, e := range r.book.Entries() {
			if e.Outcome == ledger.Completed && times[fmt.Sprintf("%x", e.ID)] == 0 {
				return fmt.Errorf("%x is not among %d", e.ID, len(times))
			}
		}
		return nil
	})
	for id, n := range times {
		if n != 1 {
			r.t.Errorf("the file has %s %d times", id, n)
		}
	}
}
