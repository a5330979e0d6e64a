package canary

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
)

// TestS01FreshInstall: whoever just starts `weir up` keeps no secrets; a
// forwarder that is told nothing says so in its log and to the viewer.
func TestS01FreshInstall(t *testing.T) {
	const secret = "hunter2secret"
	login := body("application/json", `{"user":"ann","password":"`+secret+`"}`)
	login.Target = "/login?token=" + secret
	login.Fields = []string{"Authorization: Bearer " + secret, "Cookie: sid=" + secret, "X-Api-Key: " + secret}

	dir, listen := harness.Dir(t), harness.Port(t)
	data := filepath.Join(dir, "data")
	up := harness.Start(t, dir, "weir-up", bins.Path("weir"), map[string]string{"LISTEN_ADDR": harness.Addr(harness.Port(t))},
		"up", "--to", harness.Addr(echo(t)), "--listen", harness.Addr(listen), "--data", data, "--app", "shop", "--log-level", "info")
	harness.WaitPort(t, listen)
	up.WaitLine(30*time.Second, "the rule set", func(l harness.Line) bool {
		return strings.Contains(l.Raw, "DLP rule set is on") && strings.Contains(l.Raw, "rules=standard")
	})
	socket := ""
	harness.Poll(t, 30*time.Second, "the analyzer's socket", func() error {
		return filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Name() == "control.sock" {
				socket = path
			}
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		})
	})
	if err := send(harness.Addr(listen), login); err != nil {
		t.Fatal(err)
	}
	var out string
	harness.Poll(t, time.Minute, "the pair", func() error {
		r := harness.Run(t, dir, map[string]string{"WEIR_URL": "unix:" + socket}, nil, bins.Path("weir"), "export", "--format", "jsonl", "path:/login")
		if out = r.Stdout; r.Code != 0 || !strings.Contains(out, "/login") {
			return fmt.Errorf("%d: %s%s", r.Code, r.Stdout, r.Stderr)
		}
		return nil
	})
	if strings.Contains(out, secret) || !strings.Contains(out, "REDACTED-PASSWORD-") && !strings.Contains(out, "redacted") {
		t.Errorf("a fresh install kept: %s", out)
	}
	up.Stop(time.Minute)
	h := NewHunter(t, []Secret{{Kind: "password", Value: secret}})
	h.Dir(dir)

	// A bare forwarder keeps everything, and says so.
	s := harness.NewStack(t, bins, echo(t))
	s.StartAll()
	s.Forwarder.WaitMessage(10*time.Second, "DLP is not configured, skipping")
	if err := send(harness.Addr(s.ProxyPort), login); err != nil {
		t.Fatal(err)
	}
	stored(t, s, 1)
	harness.Poll(t, 30*time.Second, "what the viewer is told", func() error {
		resp, err := http.Get(s.Viewer() + "/api/v1/info")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), `"redaction":"off"`) {
			return fmt.Errorf("%s", b)
		}
		return nil
	})
}

// TestS01ForwarderList: whoever takes the forwarder.list that the analyzer
// writes, and nothing else, keeps no secrets either.
func TestS01ForwarderList(t *testing.T) {
	const secret = "hunter2secret"
	s := harness.NewStack(t, bins, echo(t))
	s.StartAnalyzer()
	resp, err := http.Post(s.Viewer()+"/api/v1/forwarder-list", "application/json",
		strings.NewReader(`{"name":"east","analyzer_addr":"`+s.ForwarderEnv["ANALYZER_ADDR"]+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	list, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", resp.StatusCode, err, list)
	}
	// As docker and systemd read it.
	for line := range strings.Lines(string(list)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			s.ForwarderEnv[name] = value
		}
	}
	s.StartForwarder()
	s.Forwarder.WaitMessage(10*time.Second, "DLP rule set is on")
	s.StartProxy()
	s.WaitRegistered()
	for range 3 {
		if err := send(harness.Addr(s.ProxyPort), body("application/json", `{"user":"ann","password":"`+secret+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	ids := stored(t, s, 3)
	h := NewHunter(t, []Secret{{Kind: "password", Value: secret}})
	for _, u := range append(PairURLs(ids), "/api/v1/export?format=jsonl", "/api/v1/info") {
		h.Get(s.Viewer() + u)
	}
	for _, p := range []*harness.Proc{s.Proxy, s.Forwarder, s.Analyzer} {
		p.Stop(30 * time.Second)
	}
	h.Dir(s.Dir)
	if h.Answers < 20 || h.Files < 5 || h.Frames == 0 {
		t.Errorf("%d answers, %d files and %d frames were looked through", h.Answers, h.Files, h.Frames)
	}
}
