package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/e2e/harness"
)

// TestViewer walks through the viewer in headless Chromium. Nothing on the way
// may be an error in the browser's console or a refused request, not even the
// query with a mistake. Its screenshots are kept among the artifacts.
func TestViewer(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	walk(t, s, "viewer.mjs", nil)
}

// TestViewerGap makes a gap on purpose: the forwarder is away while the proxy
// has little memory for what it captures. The viewer must show the gap without
// a reload, with its reason, and the same numbers as the command line.
func TestViewerGap(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "1MiB"
	s.StartAll()
	said := walk(t, s, "gap.mjs", map[string]func() answer{
		"sampling proxy": func() answer {
			s.ProxyEnv["CAPTURE_SAMPLE"] = "1/4"
			p, port := s.SecondProxy(nginx.Port, "sampled_app", "sampled")
			p.WaitMessage(20*time.Second, "Successfully registered with forwarder")
			return answer{Front: "http://" + harness.Addr(port)}
		},
		"forwarder away": func() answer { s.Forwarder.Stop(20 * time.Second); return answer{} },
		"forwarder back": func() answer { s.StartForwarder(); return answer{} },
	})
	shown := said["the sum on the ledger page"]
	if t.Failed() {
		return
	}

	var l httpv1.Ledger
	resp, err := http.Get(s.Viewer() + "/api/v1/ledger")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&l); err != nil {
		t.Fatalf("read the ledger: %v", err)
	}
	if !l.Holds || l.Total.Seen != shown.Seen || l.Total.Stored != shown.Stored {
		t.Errorf("the ledger has %+v (holds: %v), the viewer showed %+v", l.Total, l.Holds, shown)
	}
	var dropped uint64
	for _, d := range l.Total.Dropped {
		if d.Hop != "proxy" || d.Reason != "memory" {
			t.Errorf("%d pairs dropped by %s for %s; only the proxy's memory was short", d.Pairs, d.Hop, d.Reason)
		}
		dropped += d.Pairs
	}
	if dropped != shown.Dropped || dropped == 0 {
		t.Errorf("the ledger has %d dropped, the viewer showed %d", dropped, shown.Dropped)
	}

	// The command line prints the same numbers, as people write them or not.
	r := harness.Run(t, s.Dir, map[string]string{"WEIR_URL": s.Viewer()}, nil, bins.Path("weir"), "ledger")
	out := strings.ReplaceAll(r.Stdout, ",", "")
	if r.Code != 0 {
		t.Errorf("weir ledger: status %d: %s", r.Code, r.Stderr)
	}
	for _, want := range []string{fmt.Sprint(shown.Seen), fmt.Sprint(shown.Stored), fmt.Sprint(shown.Dropped), "proxy", "memory"} {
		if !regexp.MustCompile(`\b` + want + `\b`).MatchString(out) {
			t.Errorf("weir ledger does not print %s:\n%s", want, r.Stdout)
		}
	}
	t.Logf("weir ledger:\n%s", r.Stdout)
}

// needBrowser leaves a test out, loudly, where WEIR_BIN does not name binaries
// that have the viewer's build in them; `make e2e` and `make test` do. A plain
// `go test` must not ask for Node and a browser.
func needBrowser(t *testing.T) {
	t.Helper()
	if os.Getenv("WEIR_BIN") == "" {
		const msg = "the viewer is not built into these binaries; make e2e runs this test"
		fmt.Fprintf(os.Stderr, "e2e: LEFT OUT: %s: %s\n", t.Name(), msg)
		t.Skip(msg)
	}
	harness.Need(t, "nginx", "node", "chromium")
}

// said is one line of a walk: how a step went, or what it asks for.
type said struct {
	Step, Ask, Error      string
	OK                    bool
	Seen, Stored, Dropped uint64
}

// answer is what the test has to say to what a walk asks for.
type answer struct {
	Front string `json:"front,omitempty"`
	Text  string `json:"text,omitempty"`
}

// walk runs a script of the folder browser against the stack, does what it
// asks for, and returns what its steps said, by name. Every step that failed
// is an error of the test.
func walk(t *testing.T, s *harness.Stack, script string, asks map[string]func() answer) map[string]said {
	t.Helper()
	return walkWith(t, s, script, nil, asks)
}

// walkWith is walk with more for the script to know.
func walkWith(t *testing.T, s *harness.Stack, script string, more map[string]any, asks map[string]func() answer) map[string]said {
	t.Helper()
	out := harness.Artifacts(t)
	know := map[string]any{
		"viewer": s.Viewer(), "proxy": s.Front(), "proxyPort": s.ProxyPort,
		"playwright": filepath.Join(harness.Root(), "ui", "package.json"), "chromium": harness.LookPath(t, "chromium"), "out": out,
		// Chromium refuses to run in its sandbox as root.
		"sandbox": os.Geteuid() != 0,
	}
	maps.Copy(know, more)
	cfg, err := json.Marshal(know)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, harness.LookPath(t, "node"), filepath.Join(harness.Root(), "e2e", "browser", script), string(cfg))
	cmd.Dir = s.Dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "TMPDIR=" + s.Dir}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	// A browser that it leaves behind must not hold the pipes open.
	cmd.WaitDelay = 10 * time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	steps := map[string]said{}
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line said
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Errorf("unexpected: %s", lines.Text())
			continue
		}
		if line.Ask != "" {
			do, ok := asks[line.Ask]
			if !ok {
				t.Fatalf("the walk asks for %q", line.Ask)
			}
			if err := json.NewEncoder(stdin).Encode(do()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		steps[line.Step] = line
		if !line.OK {
			t.Errorf("%s", lines.Text())
			continue
		}
		t.Logf("%s", lines.Text())
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil || !steps["end"].OK {
		t.Errorf("%v after %d steps: %s", err, len(steps), stderr.String())
	}
	t.Logf("screenshots are in %s", out)
	return steps
}
