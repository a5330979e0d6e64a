package stack

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/cmd/weir/cli"
)

// TestS31SecretsAreNotShown: all three programs, at debug, with every secret
// that they take; then everything that they printed and answer is searched.
func TestS31SecretsAreNotShown(t *testing.T) {
	key := func(fill string) string { return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(fill, 32))) }
	secrets := map[string]string{
		"FORWARDER_TOKEN": "weir_p_forwardertokensecret", "ANALYZER_TOKEN": "weir_f_analyzertokensecret", "WEIR_TOKEN": "weir_a_weirtokensecret",
		"DLP_KEY": key("d"), "ENCRYPTION_KEY": key("e"), "OIDC_CLIENT_SECRET": "clientsecretclientsecret",
	}
	for name, v := range secrets {
		t.Setenv(name, v)
	}
	t.Setenv("OIDC_ISSUER", "http://127.0.0.1:1") // away: its errors are logged
	t.Setenv("OIDC_CLIENT_ID", "weir")
	t.Setenv("OIDC_ROLES", "admins=admin")
	t.Setenv("LISTEN_ADDR", anyPort)
	t.Setenv("DIAGNOSTICS_ADDR", "")
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	defer app.Close()
	data := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var out, log safeBuffer
	done := make(chan error, 1)
	go func() {
		done <- Up(ctx, cli.IO{Out: &out, Err: &log}, cli.Up{To: strings.TrimPrefix(app.URL, "http://"), App: "a", Listen: "127.0.0.1:0", Data: data, LogLevel: "debug"})
	}()
	proxy, _ := started(t, &out, done)
	resp, err := http.Get("http://" + proxy + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	socket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(data, "data", "control.sock"))
	}}, Timeout: 30 * time.Second}
	defer socket.CloseIdleConnections()
	answers := ""
	for _, path := range []string{
		"/healthz", "/readyz", "/metrics", "/api/v1/info", "/api/v1/doctor", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/session",
		"/api/v1/session/oidc", "/api/v1/keys", "/api/v1/users", "/api/v1/audit", "/api/v1/ledger", "/api/v1/openapi.json", "/config", "/debug/pprof/cmdline",
	} {
		resp, err := socket.Get("http://localhost" + path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		answers += path + " " + resp.Status + "\n" + string(b) + "\n"
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "level=DEBUG") && !strings.Contains(log.String(), "level=INFO") || !strings.Contains(answers, "identity provider does not answer") {
		t.Errorf("too little to look at:\n%s\n%s", log.String(), answers)
	}
	for name, v := range secrets {
		for where, text := range map[string]string{"log": log.String(), "output": out.String(), "answers": answers} {
			if strings.Contains(text, v) {
				t.Errorf("%s stands in the %s", name, where)
			}
		}
	}
}

// TestS31SecretsAreNotInErrors: a secret that is wrong is not shown either, and
// a variable that names one may be a file.
func TestS31SecretsAreNotInErrors(t *testing.T) {
	const secret = "hunter2-that-is-no-key"
	for program, names := range map[string][]string{
		"goproxy": {"FORWARDER_TOKEN"}, "forwarder": {"DLP_KEY", "ENCRYPTION_KEY", "ANALYZER_TOKEN"}, "analyzer": {"ENCRYPTION_KEY", "OIDC_CLIENT_SECRET", "CONTROL_STORE"},
	} {
		for _, name := range names {
			vars := map[string]string{name: secret, name + "_FILE": "/no/such/file"}
			err := Config(program, func(n string) (string, bool) { v, ok := vars[n]; return v, ok })
			if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), name+"_FILE") {
				t.Errorf("%s, %s: %v", program, name, err)
			}
			delete(vars, name+"_FILE")
			if err := Config(program, func(n string) (string, bool) { v, ok := vars[n]; return v, ok }); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s, %s: %v", program, name, err)
			}
		}
	}
}
