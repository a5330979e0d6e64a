package forwarder_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
)

// exporters writes the file that EXPORTERS names.
func exporters(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "exporters.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines are the pairs in a file, by id.
func lines(t *testing.T, path string) map[string]int {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for line := range bytes.Lines(b) {
		p := new(capturev1.RRPair)
		if bytes.HasSuffix(line, []byte("\n")) && protojson.Unmarshal(line, p) == nil {
			ids[string(p.GetId())]++
		}
	}
	return ids
}

// TestMoreDestinations: an analyzer, a second one that is away, and a file;
// each goes its own way, over restarts and changes of the configuration.
func TestMoreDestinations(t *testing.T) {
	a, away := newAnalyzer(t), newAnalyzer(t)
	a.start()
	path := filepath.Join(t.TempDir(), "archive.jsonl")
	cfg := config(t, a.addr)
	cfg.Exporters = exporters(t, fmt.Sprintf(`
exporters:
  - {name: second, type: analyzer, addr: "%s"}
  - {name: archive, type: file, path: %s, filter: "path:/nothing"}
`, away.addr, path))
	f := run(t, cfg)
	p := newProxy(1)
	stop := p.start(t, f.addr())
	p.make(50)
	poll(t, "the analyzer", func() error { return a.stored(all(p)) })
	poll(t, "the file", func() error {
		if n := len(lines(t, path)); n != 150 {
			return fmt.Errorf("%d pairs", n)
		}
		return nil
	})
	poll(t, "a status that says so", func() error {
		st := a.lastStatus().GetDestinations()
		if len(st) != 3 || st[0].GetName() != "analyzer" || st[1].GetName() != "second" || st[2].GetName() != "archive" ||
			!st[0].GetConnected() || st[1].GetConnected() || !st[2].GetConnected() || st[1].GetError() == "" ||
			st[0].GetBacklogBytes() != 0 || st[1].GetBacklogBytes() == 0 || st[2].GetBacklogBytes() != 0 {
			return fmt.Errorf("%v", st)
		}
		return nil
	})
	poll(t, "acknowledgements", p.waiting)
	stop()
	f.stop()

	// The file is no longer wanted, and ANALYZER_ADDR neither; the second
	// analyzer is there now.
	cfg.Analyzer = ""
	cfg.Exporters = exporters(t, fmt.Sprintf(`{"exporters": [{"name": "second", "type": "analyzer", "addr": %q}]}`, away.addr))
	f = run(t, cfg)
	away.start()
	p.start(t, f.addr())
	p.make(10)
	poll(t, "the second analyzer", func() error { return away.stored(all(p)) })
	for id, n := range lines(t, path) {
		if n != 1 {
			t.Errorf("pair %x is in the file %d times", id, n)
		}
	}
	if n := len(lines(t, path)); n != 150 {
		t.Errorf("%d pairs are in a file that nobody wants any more", n)
	}
}

// TestTelemetryGoesToAllAnalyzers: each gets the same figures, also one that
// comes later than they were measured.
func TestTelemetryGoesToAllAnalyzers(t *testing.T) {
	a, second := newAnalyzer(t), newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	cfg.Telemetry, cfg.Namespace = time.Hour, "shop"
	cfg.Exporters = exporters(t, fmt.Sprintf("exporters: [{name: second, type: analyzer, addr: %q}]", second.addr))
	run(t, cfg)
	reports := func(a *fakeAnalyzer) (list []*capturev1.Telemetry) {
		poll(t, "figures", func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if list = slices.Clone(a.telemetry); len(list) == 0 {
				return errors.New("none")
			}
			return nil
		})
		return list
	}
	first := reports(a)
	second.start()
	if got := reports(second); len(got) != 1 || len(first) != 1 || !proto.Equal(got[0], first[0]) {
		t.Errorf("one got %v, the other %v", first, got)
	}
}

func TestExportersAreChecked(t *testing.T) {
	load := func(vars map[string]string) error {
		vars["CLUSTER_NAME"] = "c"
		env := daemon.NewEnv(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
		forwarder.LoadConfig(env)
		return env.Err()
	}
	good := exporters(t, "exporters: [{name: archive, type: file, path: /tmp/x.jsonl}]")
	if err := load(map[string]string{"EXPORTERS": good}); err != nil {
		t.Errorf("without ANALYZER_ADDR: %v", err)
	}
	if err := load(map[string]string{}); err == nil || !strings.Contains(err.Error(), "ANALYZER_ADDR") {
		t.Errorf("nothing at all: %v", err)
	}
	bad := exporters(t, "exporters:\n  - {name: analyzer, type: file, path: /tmp/x.jsonl, rules: standard}\n  - {name: b, type: s3}")
	err := load(map[string]string{"EXPORTERS": bad, "ANALYZER_ADDR": "nowhere"})
	for _, want := range []string{"EXPORTERS", bad + ":2: rules", bad + ":3: type \"s3\"", "ANALYZER_ADDR"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	taken := exporters(t, "exporters: [{name: analyzer, type: file, path: /tmp/x.jsonl}]")
	if err := load(map[string]string{"EXPORTERS": taken, "ANALYZER_ADDR": "h:1"}); err == nil || !strings.Contains(err.Error(), `the name "analyzer" belongs to`) {
		t.Error(err)
	}
	twice := exporters(t, `exporters: [{name: second, type: analyzer, addr: "h:1"}]`)
	if err := load(map[string]string{"EXPORTERS": twice, "ANALYZER_ADDR": "h:1"}); err == nil || !strings.Contains(err.Error(), `"h:1" is ANALYZER_ADDR too`) {
		t.Error(err)
	}
}
