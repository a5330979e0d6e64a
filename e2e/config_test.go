package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestScripts runs what is best read as a session at a terminal. Beside
// testscript's own there are the commands
//
//	status N program args…   run, and want this exit status
//	lines N                  want so many lines on the last standard error
//	clear                    forget every variable that the script has set
//
// and the variables $FREE and $FREE2 (ports that nobody has) and $TAKEN (a
// port that somebody listens on).
func TestScripts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	_, taken, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	base := func(env *testscript.Env) []string {
		return []string{
			"PATH=" + bins.Dir() + string(os.PathListSeparator) + os.Getenv("PATH"),
			"HOME=" + env.WorkDir, "WORK=" + env.WorkDir, "TMPDIR=" + env.WorkDir, "TAKEN=" + taken,
			"FREE=" + strconv.Itoa(harness.Port(t)), "FREE2=" + strconv.Itoa(harness.Port(t)),
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		// One run tells everything that is wrong.
		ContinueOnError: true,
		Setup: func(env *testscript.Env) error {
			env.Vars = base(env)
			env.Values["vars"] = len(env.Vars)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) < 2 {
					ts.Fatalf("usage: status N program args…")
				}
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				got := 0
				if err := ts.Exec(args[1], args[2:]...); err != nil {
					exit, ok := errors.AsType[*exec.ExitError](err)
					if !ok {
						ts.Fatalf("run %s: %v", args[1], err)
					}
					got = exit.ExitCode()
				}
				if got != want {
					ts.Fatalf("%s: exit status %d, want %d:\n%s", args[1], got, want, ts.ReadFile("stderr"))
				}
			},
			"lines": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: lines N")
				}
				text := ts.ReadFile("stderr")
				if got := strings.Count(text, "\n"); strconv.Itoa(got) != args[0] {
					ts.Fatalf("%d lines on standard error, want %s:\n%s", got, args[0], text)
				}
			},
			"clear": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 0 {
					ts.Fatalf("usage: clear")
				}
				// Set but empty counts as not set.
				for _, name := range []string{
					"PROXY_TYPE", "PROXY_IN_PORT", "REVERSE_PROXY_HOST", "REVERSE_PROXY_PORT", "APP_LABEL", "APP_POD_NAME",
					"FORWARDER_ADDR", "CAPTURE_BODY_LIMIT", "DRAIN_TIMEOUT", "LOG_LEVEL", "CLUSTER_NAME", "ANALYZER_ADDR", "SPOOL_DIR", "SERVICE_PORT",
				} {
					ts.Setenv(name, "")
				}
			},
		},
	})
}

// TestDataDirInUse: a second analyzer does not touch the files of a running
// one, says so, and the first goes on.
func TestDataDirInUse(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	for _, tc := range []struct {
		program, dir string
		env          map[string]string
		first        *harness.Proc
	}{
		{"analyzer", "DATA_DIR", map[string]string{
			"DATA_DIR": s.AnalyzerEnv["DATA_DIR"], "LISTEN_ADDR": harness.Addr(harness.Port(t)), "INGEST_ADDR": harness.Addr(harness.Port(t)),
		}, s.Analyzer},
		{"forwarder", "SPOOL_DIR", map[string]string{
			"SPOOL_DIR": s.ForwarderEnv["SPOOL_DIR"], "SERVICE_PORT": strconv.Itoa(harness.Port(t)), "CLUSTER_NAME": "c", "ANALYZER_ADDR": harness.Addr(s.IngestPort),
		}, s.Forwarder},
	} {
		second := harness.Start(t, s.Dir, "second-"+tc.program, bins.Path(tc.program), tc.env)
		if code := second.Wait(15 * time.Second); code != 1 {
			t.Errorf("second %s: exit status %d", tc.program, code)
		}
		log := second.Log()
		t.Logf("second %s: %s", tc.program, log)
		if strings.Count(log, "\n") > 4 || !strings.Contains(log, tc.dir) || !strings.Contains(log, "in use") || !strings.Contains(log, strconv.Itoa(tc.first.PID())) {
			t.Errorf("second %s does not say in one clear line that %s is in use, and by which process", tc.program, tc.dir)
		}
		if !tc.first.Running() {
			t.Errorf("the first %s ended", tc.program)
		}
	}
	var p load.Plan
	p.Add("GET", "/echo?id={id}", nil)
	calls := load.Go(t.Context(), s.Front(), p.Requests, 1)
	check(t, calls, harness.Settle(t, nginx.Served, 1), stored(t, s, 1))
}

// TestForwarderSpeaksAnotherProtocol: FORWARDER_ADDR names a web server. One
// clear line says so, and traffic goes on.
func TestForwarderSpeaksAnotherProtocol(t *testing.T) {
	t.Parallel()
	nginx, other := startNginx(t, false), startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["FORWARDER_ADDR"] = harness.Addr(other.Port)
	s.StartProxy()
	line := s.Proxy.WaitLine(20*time.Second, "what is wrong with the forwarder", func(l harness.Line) bool {
		return l.Level() == "error" || (l.Level() == "warn" && !strings.Contains(l.Raw, "iagnostics"))
	})
	t.Logf("it says: %s", line.Raw)
	if !strings.Contains(line.Raw, harness.Addr(other.Port)) || !strings.Contains(line.Raw, "forwarder") {
		t.Error("the line does not name the forwarder and its address")
	}
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	start := time.Now()
	n := 0
	for ; time.Since(start) < 4*time.Second; n++ {
		var p load.Plan
		p.Add("GET", "/echo?id={id}", nil)
		if c := load.One(t.Context(), client, s.Front(), p.Requests[0]); c.Err != "" || c.Status != 200 {
			t.Fatalf("request %d: status %d, %s", n, c.Status, c.Err)
		}
	}
	loud := 0
	for _, l := range s.Proxy.Lines() {
		if (l.Level() == "error" || l.Level() == "warn") && !strings.Contains(l.Raw, "iagnostics") {
			loud++
		}
	}
	t.Logf("%d requests, %d warnings and errors in 4 s", n, loud)
	if loud > 6 {
		t.Errorf("%d lines in 4 s: want at most one a second", loud)
	}
	if strings.Contains(s.Proxy.Log(), "Successfully registered") {
		t.Error("the proxy says that a web server registered it")
	}
}

// TestPlainConnectionToForwarder: the forwarder's port takes a plain connection and
// closes it quietly: people check it with netstat, nc and curl.
func TestPlainConnectionToForwarder(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, harness.Port(t))
	s.StartForwarder()
	before := len(s.Forwarder.Lines())
	for _, send := range []string{"", "hello\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"} {
		conn, err := net.DialTimeout("tcp", harness.Addr(s.ForwarderPort), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, send); err != nil {
			t.Fatal(err)
		}
		if send == "" {
			conn.Close() // nc -z
			continue
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil {
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				t.Errorf("after %q the connection stays open", send)
			}
		}
		conn.Close()
	}
	for _, l := range s.Forwarder.Lines()[before:] {
		if l.Level() != "debug" && !strings.Contains(l.Raw, "analyzer") && !strings.Contains(l.Raw, harness.Addr(s.IngestPort)) {
			t.Errorf("not quiet: %s", l.Raw)
		}
	}
	if !s.Forwarder.Running() {
		t.Error("the forwarder ended")
	}
}

// TestProblems: each mistake at the API has one clear answer.
func TestProblems(t *testing.T) {
	t.Parallel()
	s := harness.NewStack(t, bins, harness.Port(t))
	s.StartAnalyzer()
	for _, tc := range []struct {
		path   string
		status int
		says   []string
	}{
		{"/api/v1/pairs?q=stauts:500", 400, []string{"stauts", "status", `"column":1`}},
		{"/api/v1/pairs?q=app:a%20status:teapot", 400, []string{"status", `"column":14`}},
		{"/api/v1/pairs?q=app:%22unclosed", 400, []string{"quote", `"column":5`}},
		{"/api/v1/tail?q=stauts:500", 400, []string{"stauts", `"column":1`}},
		{"/api/v1/stats/histogram?q=stauts:500", 400, []string{"stauts", `"column":1`}},
		{"/api/v1/pairs?from=yesterdayish", 400, []string{"from"}},
		{"/api/v1/pairs?limit=-1", 400, []string{"limit"}},
		{"/api/v1/pairs?cursor=nonsense", 400, []string{"cursor"}},
		{"/api/v1/pairs/01890a5d-ac96-774b-bcce-b302099a8057", 404, []string{"01890a5d-ac96-774b-bcce-b302099a8057"}},
		{"/api/v1/pairs/01890a5d-ac96-774b-bcce-b302099a8057/response/body", 404, nil},
		{"/api/v1/pairs/not-an-id", 404, nil},
		{"/api/v1/nothing-of-the-kind", 404, nil},
		{"/api/v1/stats/map?q=stauts:500", 400, []string{"stauts", `"column":1`}},
		{"/api/v1/stats/errors?q=stauts:500", 400, []string{"stauts", `"column":1`}},
		{"/api/v1/stats/heatmap?steps=0", 400, []string{"steps", "1 to 300"}},
		{"/api/v1/stats/difference?in=stauts:500", 400, []string{"in: ", "stauts", `"column":1`}},
		{"/api/v1/stats/facets?fields=nonsense", 400, []string{"nonsense"}},
		{"/api/v1/export?format=docx", 400, []string{"format"}},
	} {
		resp, err := http.Get(s.Viewer() + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Title  string `json:"title"`
			Detail string `json:"detail"`
			Status int    `json:"status"`
		}
		ok := json.Unmarshal(body, &problem) == nil && problem.Status == tc.status && problem.Title+problem.Detail != ""
		for _, word := range tc.says {
			ok = ok && strings.Contains(strings.ReplaceAll(string(body), `": `, `":`), word)
		}
		want := tc.status
		if tc.path == "/api/v1/pairs/not-an-id" && resp.StatusCode == 400 {
			want, ok = 400, true // a form that no id has may be told from one that is not there
		}
		if resp.StatusCode != want || !ok || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
			t.Errorf("%s: status %d, %s, %s; want %d and a problem that says %v", tc.path, resp.StatusCode, resp.Header.Get("Content-Type"), body, tc.status, tc.says)
		}
	}
	// None of it hurt.
	if page, err := ledger.NewAnalyzer(s.Viewer()).Page(t.Context(), "status:5xx", "", 10); err != nil || len(page.Pairs) != 0 {
		t.Errorf("a right query: %+v, %v", page, err)
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/api/v1/openapi.json", "/api/v1/proxies", "/"} {
		if _, err := ledger.NewAnalyzer(s.Viewer()).Get(t.Context(), path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	t.Logf("%d lines logged", len(s.Analyzer.Lines()))
}
