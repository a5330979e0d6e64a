package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/e2e/harness"
)

// TestViewer walks through the viewer in headless Chromium. Nothing on the way
// may be an error in the browser's console or a refused request, not even the
// query with a mistake. Its screenshots are kept among the artifacts.
//
// It needs what a plain `go test` must not ask for: Node, a browser, and the
// viewer's build in the binaries. So it is left out, loudly, where WEIR_BIN
// does not name such binaries; `make e2e` and `make test` do.
func TestViewer(t *testing.T) {
	t.Parallel()
	if os.Getenv("WEIR_BIN") == "" {
		const msg = "the viewer is not built into these binaries; make e2e runs this test"
		fmt.Fprintf(os.Stderr, "e2e: LEFT OUT: %s: %s\n", t.Name(), msg)
		t.Skip(msg)
	}
	harness.Need(t, "nginx", "node", "chromium")
	playwright := filepath.Join(harness.Root(), "ui", "package.json")
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	out := harness.Artifacts(t)
	cfg, err := json.Marshal(map[string]any{
		"viewer": s.Viewer(), "proxy": s.Front(), "proxyPort": s.ProxyPort,
		"playwright": playwright, "chromium": harness.LookPath(t, "chromium"), "out": out,
		// Chromium refuses to run in its sandbox as root.
		"sandbox": os.Geteuid() != 0,
	})
	if err != nil {
		t.Fatal(err)
	}
	r := harness.Run(t, s.Dir, nil, nil, harness.LookPath(t, "node"), filepath.Join(harness.Root(), "e2e", "browser", "viewer.mjs"), string(cfg))
	steps, ended := 0, false
	for line := range strings.Lines(r.Stdout) {
		var step struct {
			Step  string
			OK    bool
			Error string
		}
		if err := json.Unmarshal([]byte(line), &step); err != nil {
			t.Errorf("unexpected: %s", line)
			continue
		}
		steps++
		ended = ended || step.Step == "end"
		if !step.OK {
			t.Errorf("%s", line)
			continue
		}
		t.Logf("%s", strings.TrimSpace(line))
	}
	if r.Code != 0 || !ended {
		t.Errorf("status %d after %d steps: %s", r.Code, steps, r.Stderr)
	}
	t.Logf("screenshots are in %s", out)
}
