package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/load"
)

// placeholders are what a golden line may leave open. Everything else of it,
// the order of the keys included, is compared as it stands.
var placeholders = map[string]string{
	"<hint>":     `(,"hint":"[^"]+")?`, // only where the programs run in a container
	"<ms>":       `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`,
	"<s>":        `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`,
	"<port>":     `\d{1,5}`,
	"<duration>": `(\d+h)?(\d+m)?\d+(\.\d+)?(ns|µs|ms|s)`,
	"<version>":  `v\d[^" ]*`,
	"<text>":     `[^"]+`,
	"<n>":        `\d+`,
}

// golden reads a file of testdata as one pattern a line.
func golden(t *testing.T, name string) []*regexp.Regexp {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var out []*regexp.Regexp
	for line := range strings.Lines(string(data)) {
		pattern := regexp.QuoteMeta(strings.TrimSuffix(line, "\n"))
		for from, to := range placeholders {
			pattern = strings.ReplaceAll(pattern, from, to)
		}
		out = append(out, regexp.MustCompile("^"+pattern+"$"))
	}
	return out
}

// compareLog holds a log to a golden file: each of its lines, in its order.
// The program may say more in between, but nothing of the golden's twice, and
// no other warning or error.
func compareLog(t *testing.T, file string, lines []harness.Line) {
	t.Helper()
	want := golden(t, file)
	next := 0
	for _, l := range lines {
		if next < len(want) && want[next].MatchString(l.Raw) {
			next++
			continue
		}
		for i, w := range want {
			if w.MatchString(l.Raw) {
				t.Errorf("%s: line %d comes out of order or twice: %s", file, i+1, l.Raw)
			}
		}
		switch {
		case strings.Contains(l.Raw, "iagnostics"):
			// Its port is taken when tests run side by side: a warning.
		case strings.HasPrefix(l.Text(), "Proxies are not asked who they are"):
			// As the guide starts it, a forwarder warns of that.
		case l.Level() == "info", l.Level() == "debug":
			t.Logf("%s: not in the contract: %s", file, l.Raw)
		default:
			t.Errorf("%s: unexpected: %s", file, l.Raw)
		}
	}
	if next < len(want) {
		var log strings.Builder
		for _, l := range lines {
			log.WriteString(l.Raw + "\n")
		}
		t.Errorf("%s: line %d is missing: want %s\nin:\n%s", file, next+1, want[next], log.String())
	}
}

// TestLogLines: with one request at debug level, both programs log the
// guide's lines, in its order, with its keys in its order.
func TestLogLines(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	s.Forwarder.WaitLine(10*time.Second, "REGISTER", func(l harness.Line) bool { return strings.HasPrefix(l.Text(), "REGISTER") })
	var p load.Plan
	p.Add("GET", "/echo?secret={id}", nil)
	if c := load.Go(t.Context(), s.Front(), p.Requests, 1)[0]; c.Err != "" {
		t.Fatal(c.Err)
	}
	s.Proxy.WaitMessage(10*time.Second, "HTTP RESPONSE")
	compareLog(t, "goproxy.log.golden", s.Proxy.Lines())
	compareLog(t, "forwarder.log.golden", s.Forwarder.Lines())
	if strings.Contains(s.Proxy.Log(), p.Requests[0].ID) {
		t.Error("the log shows the query, which may hold secrets")
	}
}

// TestLogLevelInfo: without LOG_LEVEL the lines of each connection are not
// there.
func TestLogLevelInfo(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	var p load.Plan
	p.Add("GET", "/echo?id={id}", nil)
	load.Go(t.Context(), s.Front(), p.Requests, 1)
	stored(t, s, 1)
	for _, l := range s.Proxy.Lines() {
		if l.Level() == "debug" || l.Text() == "HTTP REQUEST" || l.Level() == "" {
			t.Errorf("unexpected: %s", l.Raw)
		}
	}
}

// TestDialErrorLines: the application is not there. The client's connection
// ends at once, the log says why in the guide's words, and the pair is marked.
func TestDialErrorLines(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, harness.Port(t))
	s.StartAll()
	var p load.Plan
	p.Add("GET", "/echo?id={id}", nil)
	start := time.Now()
	c := load.Go(t.Context(), s.Front(), p.Requests, 1)[0]
	if c.Err == "" {
		t.Fatalf("the client got status %d from nobody", c.Status)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the client waited %v for its error", d)
	}
	t.Logf("the client saw: %s", c.Err)
	s.Proxy.WaitLine(10*time.Second, "the second error line", func(l harness.Line) bool { return strings.HasPrefix(l.Text(), "DIRECT||") })
	var failed []harness.Line
	for _, l := range s.Proxy.Lines() {
		if l.Level() == "error" {
			failed = append(failed, l)
		}
	}
	compareLog(t, "goproxy-dial.log.golden", failed[:min(2, len(failed))])
}
