package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
)

// TestS07FirstStart: an analyzer that nobody configured asks who somebody is;
// its log has a link that makes the first user, once; keys open it until they
// are revoked; and a backup brings the users along.
func TestS07FirstStart(t *testing.T) {
	stack := harness.NewStack(t, bins, harness.Port(t))
	delete(stack.AnalyzerEnv, "AUTH")
	stack.StartAnalyzer()
	base := stack.Viewer()
	ask := func(method, path, body string, header ...string) (int, string, http.Header) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b), resp.Header
	}
	if status, _, _ := ask("GET", "/api/v1/pairs", ""); status != 401 {
		t.Errorf("nobody reads pairs: %d", status)
	}
	line := stack.Analyzer.WaitLine(10*time.Second, "the link", func(l harness.Line) bool { return strings.Contains(l.Raw, "#setup=") })
	var said struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal([]byte(line.Raw), &said); err != nil {
		t.Fatal(err)
	}
	link, err := url.Parse(said.URL)
	if err != nil || link.Path != "/sign-in" {
		t.Fatalf("link %q: %v", said.URL, err)
	}
	setup := fmt.Sprintf(`{"token":%q,"name":"root","password":"correct horse battery"}`, strings.TrimPrefix(link.Fragment, "setup="))
	status, answer, head := ask("POST", "/api/v1/session/setup", setup)
	if status != 200 {
		t.Fatalf("setting up: %d %s", status, answer)
	}
	cookie := []string{"Cookie", strings.Split(head.Get("Set-Cookie"), ";")[0]}
	if status, _, _ := ask("POST", "/api/v1/session/setup", setup); status != 401 {
		t.Errorf("the link holds twice: %d", status)
	}
	status, answer, _ = ask("POST", "/api/v1/keys", `{"name":"ci","kind":"api","role":"viewer"}`, cookie...)
	var made struct {
		Key    struct{ ID string }
		Secret string
	}
	if err := json.Unmarshal([]byte(answer), &made); status != 201 || err != nil {
		t.Fatalf("making a key: %d %s", status, answer)
	}
	key := []string{"Authorization", "Bearer " + made.Secret}
	if status, _, _ := ask("GET", "/api/v1/pairs", "", key...); status != 200 {
		t.Errorf("with a key: %d", status)
	}
	if status, _, _ := ask("GET", "/api/v1/users", "", key...); status != 403 {
		t.Errorf("a viewer lists users: %d", status)
	}
	if status, _, _ := ask("DELETE", "/api/v1/keys/"+made.Key.ID, "", cookie...); status != 204 {
		t.Errorf("revoking: %d", status)
	}
	harness.Poll(t, time.Minute, "a revoked key is refused", func() error {
		if status, _, _ := ask("GET", "/api/v1/pairs", "", key...); status != 401 {
			return fmt.Errorf("status %d", status)
		}
		return nil
	})
	if log := stack.Analyzer.Log(); strings.Contains(log, made.Secret) || strings.Contains(log, "correct horse") {
		t.Error("the log has a key or a password in it")
	}

	// The same users are there after a restore elsewhere.
	status, backup, _ := ask("GET", "/api/v1/backup", "", cookie...)
	if status != 200 {
		t.Fatalf("backup: %d", status)
	}
	if code := stack.Analyzer.Stop(20 * time.Second); code != 0 {
		t.Fatalf("the analyzer ended with %d", code)
	}
	tar, dir := filepath.Join(stack.Dir, "b.tar"), filepath.Join(stack.Dir, "restored")
	if err := os.WriteFile(tar, []byte(backup), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bins.Path("weir"), "restore", tar)
	cmd.Env = append(os.Environ(), "DATA_DIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	stack.AnalyzerEnv["DATA_DIR"] = dir
	stack.StartAnalyzer()
	if status, answer, _ := ask("POST", "/api/v1/session", `{"name":"root","password":"correct horse battery"}`); status != 200 {
		t.Errorf("the first user after a restore: %d %s", status, answer)
	}
}

// TestS07OpenDoorsAreRefused: an analyzer that others would reach in the
// clear, or that would ask nobody, does not start, and says what to set.
func TestS07OpenDoorsAreRefused(t *testing.T) {
	port := harness.Port(t)
	for _, tt := range []struct {
		env  map[string]string
		want []string
	}{
		{map[string]string{"LISTEN_ADDR": net.JoinHostPort("0.0.0.0", fmt.Sprint(port))}, []string{"LISTEN_ADDR", "TLS_CERT_FILE", "TRUSTED_PROXIES"}},
		{map[string]string{"LISTEN_ADDR": net.JoinHostPort("0.0.0.0", fmt.Sprint(port)), "AUTH": "off"}, []string{"AUTH"}},
		{map[string]string{"LISTEN_ADDR": net.JoinHostPort("0.0.0.0", fmt.Sprint(port)), "AUTH": "off", "TRUSTED_PROXIES": "127.0.0.1"}, []string{"AUTH"}},
		{map[string]string{"INGEST_ADDR": net.JoinHostPort("0.0.0.0", fmt.Sprint(port))}, []string{"INGEST_ADDR", "TLS_CERT_FILE"}},
	} {
		env := map[string]string{"LISTEN_ADDR": "127.0.0.1:0", "INGEST_ADDR": "127.0.0.1:0", "DATA_DIR": filepath.Join(t.TempDir(), "data")}
		maps.Copy(env, tt.env)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, bins.Path("analyzer"))
		cmd.Env = []string{"HOME=" + t.TempDir()}
		for k, v := range env {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || cmd.ProcessState.ExitCode() != 2 {
			t.Errorf("%v: %v\n%s", tt.env, err, out)
		}
		for _, w := range tt.want {
			if !strings.Contains(string(out), w) {
				t.Errorf("%v: no word of %s in\n%s", tt.env, w, out)
			}
		}
	}
}
