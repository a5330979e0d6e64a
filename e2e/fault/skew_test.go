package fault

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// previous is the last commit of the release before this one.
const previous = "7b95a99757b443619bc27f34d11b086cdfd876fe"

// olderDir is the folder of older, for the end of all tests; empty when
// nobody asked.
var olderDir string

// older builds the programs of the release before, once for all tests.
var older = sync.OnceValues(func() (dir string, err error) {
	root := harness.Root()
	dir, err = os.MkdirTemp("", "weir-previous-")
	if err != nil {
		return "", err
	}
	olderDir = dir
	src, bin := filepath.Join(dir, "src"), filepath.Join(dir, "bin")
	script := `set -eu; mkdir "$2" "$3"; git -C "$1" archive --format=tar "$4" | tar -x -C "$2"
		cd "$2"; exec go build -o "$3/" ./cmd/goproxy ./cmd/forwarder ./cmd/analyzer`
	cmd := exec.Command("bash", "-o", "pipefail", "-c", script, "bash", root, src, bin, previous)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the release before (commit %s, which a clone without its history does not have): %w\n%s", previous, err, out)
	}
	return dir, os.RemoveAll(src)
})

// use has the rig start some programs of the release before.
func (r *rig) use(programs ...string) {
	r.t.Helper()
	dir, err := older()
	if err != nil {
		r.t.Fatal(err)
	}
	r.Override = map[string]string{}
	for _, p := range programs {
		r.Override[p] = filepath.Join(dir, "bin", p)
		if p == "forwarder" {
			// That one does not redact.
			r.off = true
			delete(r.ForwarderEnv, "DLP_CONFIG")
		}
	}
}

// settleStored waits until the list has every completed request, for analyzers
// that keep no ledger, and then long enough for one that comes twice.
func (r *rig) settleStored(within time.Duration) {
	r.t.Helper()
	harness.Poll(r.t, within, "every pair in the list", func() error {
		n := 0
		if err := r.api.Walk(r.t.Context(), "", func(ledger.Row) error { n++; return nil }); err != nil {
			return err
		}
		if done := r.book.Count(ledger.Completed); n < done {
			return fmt.Errorf("%d of %d", n, done)
		}
		return nil
	})
	r.pause(2 * time.Second)
}

// TestR33: programs of this release and of the one before work together, in
// both directions.
func TestR33(t *testing.T) {
	long(t)
	for _, old := range [][]string{{"goproxy", "analyzer"}, {"forwarder"}} {
		t.Run(strings.Join(old, "+"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 4*time.Minute)
			r.use(old...)
			r.StartAll()
			stop := r.load(200).Background(t, r.book)
			r.pause(3 * time.Second)
			// What one says to the other when they meet again is in it too.
			r.Forwarder.Kill()
			r.StartForwarder()
			r.pause(2 * time.Second)
			r.Analyzer.Kill()
			r.StartAnalyzer()
			r.pause(3 * time.Second)
			stop()
			rules := ledger.Rules{NoLedger: r.Override["analyzer"] != ""}
			if rules.NoLedger {
				r.settleStored(time.Minute)
			} else {
				r.settle(time.Minute)
			}
			r.noErrors()
			r.enough(1000)
			a := r.account(rules)
			r.report("R33 "+strings.Join(old, " and ")+" of the release before", a, "with the others of this release")
		})
	}
}

// TestR33State: this release goes on with what the one before left on the
// disk: a spool with a backlog, and a store.
func TestR33State(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 4*time.Minute)
	r.use("goproxy", "forwarder", "analyzer")
	r.StartAll()
	stop := r.load(200).Background(t, r.book)
	r.pause(3 * time.Second)
	stop()
	r.settleStored(time.Minute)
	if code := r.Analyzer.Stop(20 * time.Second); code != 0 {
		t.Fatalf("the analyzer ended with status %d", code)
	}
	stop = r.load(200).Background(t, r.book)
	r.pause(3 * time.Second)
	// Killed: what it wrote last may end in the middle of a record.
	r.Forwarder.Kill()
	r.Override = nil
	r.StartForwarder()
	r.StartAnalyzer()
	r.pause(3 * time.Second)
	stop()
	r.settleStored(time.Minute)
	r.noErrors()
	// The ledger knows the proxy from its first batch that it hears of; what
	// was removed before is not in it.
	a := r.account(ledger.Rules{})
	r.report("R33 spool and store of the release before", a, "taken over by this release under load")
}
