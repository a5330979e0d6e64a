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
