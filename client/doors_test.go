package client

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// TestS31TokenGoesToItsAnalyzerAlone: by TLS or on this machine, and nobody
// can send it on.
func TestS31TokenGoesToItsAnalyzerAlone(t *testing.T) {
	const token = "weir_a_k1_secret"
	for _, far := range []string{"http://weir.example", "http://10.0.0.1:4190", "http://127.0.0.1.evil.example"} {
		if _, err := New(far, WithToken(token)); err == nil || strings.Contains(err.Error(), token) || !strings.Contains(err.Error(), "https") {
			t.Errorf("%s: %v", far, err)
		}
	}
	var stolen string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen = r.Header.Get("Authorization") }))
	defer thief.Close()
	shown := ""
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown = r.Header.Get("Authorization")
		if r.URL.Path == "/api/v1/info" {
			http.Redirect(w, r, thief.URL, http.StatusFound)
			return
		}
		io.WriteString(w, "{}")
	})
	ts := httptest.NewServer(h)
	defer ts.Close()
	c, err := New(ts.URL, WithToken(token))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Session(t.Context()); err != nil || shown != "Bearer "+token {
		t.Errorf("%q %v", shown, err)
	}
	if _, err := c.Info(t.Context()); err == nil || !strings.Contains(err.Error(), thief.URL) || stolen != "" {
		t.Errorf("sent on: %v, with %q", err, stolen)
	}
	// The control socket is a door of its own.
	name := filepath.Join(t.TempDir(), "s")
	ln, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h}
	go srv.Serve(ln) //nolint:errcheck // it is closed
	defer srv.Close()
	local, err := New("unix:"+name, WithToken(token))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	if _, err := local.Session(t.Context()); err != nil || shown != "" {
		t.Errorf("over the socket: %q %v", shown, err)
	}
}

func TestRoots(t *testing.T) {
	ts := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{}") }))
	defer ts.Close()
	ts.Config.ErrorLog = nil
	roots := x509.NewCertPool()
	for _, good := range []bool{false, true} {
		if good {
			roots.AddCert(ts.Certificate())
		}
		c, err := New(ts.URL, WithToken("t"), WithRoots(roots))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Session(t.Context()); (err == nil) != good {
			t.Errorf("known %t: %v", good, err)
		}
	}
}

func TestDocumentsAreSent(t *testing.T) {
	got := ""
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got = r.Method + " " + r.URL.EscapedPath() + " " + r.Header.Get("Content-Type") + " " + string(b)
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		io.WriteString(w, `{"name":"ada"}`)
	})
	off := true
	for want, do := range map[string]func() error{
		`PATCH /api/v1/users/a%2Fb application/json {"disabled":true}`: func() error {
			_, err := c.ChangeUser(t.Context(), "a/b", UserChange{Disabled: &off})
			return err
		},
		"DELETE /api/v1/users/a%2Fb  ": func() error { return c.DeleteUser(t.Context(), "a/b") },
		"DELETE /api/v1/keys/..%2Fx  ": func() error { return c.RevokeKey(t.Context(), "../x") },
		"POST /api/v1/session/link  ":  func() error { _, err := c.SetupLink(t.Context()); return err },
		`POST /api/v1/deletions application/json {"q":"a","dry_run":true}`: func() error {
			_, err := c.Delete(t.Context(), httpv1.NewDeletion{Q: "a", DryRun: true})
			return err
		},
	} {
		if err := do(); err != nil || got != want {
			t.Errorf("sent %q, want %q: %v", got, want, err)
		}
	}
}
