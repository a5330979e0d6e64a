package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/cmd/weir/cli"
)

// safeBuffer may be read while a session writes.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// TestDemoOnce is the main job of all programs, small: every kind of request
// through the proxy, each stored exactly once with the right bodies.
func TestDemoOnce(t *testing.T) {
	t.Setenv("LISTEN_ADDR", anyPort)
	t.Setenv("DIAGNOSTICS_ADDR", "")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out, log safeBuffer
	err := Demo(t.Context(), cli.IO{Out: &out, Err: &log}, cli.Demo{Once: true, Requests: 60, LogLevel: "warn"})
	if err != nil || !strings.HasSuffix(out.String(), "\n60 requests made, 60 stored once, bodies equal\n") {
		t.Errorf("%v\n%s\n%s", err, out.String(), log.String())
	}
	if log.String() != "" {
		t.Errorf("warnings:\n%s", log.String())
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestUpCarriesCapturesAndKeeps: what went through is in the store, also in
// that of the next start.
func TestUpCarriesCapturesAndKeeps(t *testing.T) {
	t.Setenv("LISTEN_ADDR", anyPort)
	t.Setenv("DIAGNOSTICS_ADDR", "")
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello "+r.URL.Path) }))
	defer app.Close()
	up := cli.Up{To: strings.TrimPrefix(app.URL, "http://"), App: "greeter", Listen: "127.0.0.1:0", Data: t.TempDir(), LogLevel: "warn"}
	for start := range 2 {
		ctx, stop := context.WithCancel(t.Context())
		var out, log safeBuffer
		done := make(chan error, 1)
		go func() { done <- Up(ctx, cli.IO{Out: &out, Err: &log}, up) }()
		proxy, viewer := started(t, &out, done)
		signInIsAsked(t, viewer, &out)

		resp, err := http.Get("http://" + proxy + "/" + []string{"first", "second"}[start])
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !strings.HasPrefix(string(body), "hello /") {
			t.Fatalf("%q %v", body, err)
		}
		api, err := client.New("unix:" + filepath.Join(up.Data, "data", "control.sock"))
		if err != nil {
			t.Fatal(err)
		}
		var paths string
		deadline := time.Now().Add(20 * time.Second)
		for strings.Count(paths, " ") < start+1 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
			paths = ""
			for row, err := range api.Pairs(t.Context(), client.List{Query: "app:greeter status:200"}) {
				if err != nil {
					t.Fatal(err)
				}
				paths += " " + row.Path
			}
		}
		if want := []string{" /first", " /second /first"}[start]; paths != want {
			t.Errorf("start %d: stored%s, want%s", start, paths, want)
		}
		api.Close()
		http.DefaultClient.CloseIdleConnections()
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("does not stop")
		}
		if log.String() != "" {
			t.Errorf("warnings:\n%s", log.String())
		}
	}
}

// signInIsAsked: who comes in has to say who they are, and the link that makes
// the first user is printed.
func signInIsAsked(t *testing.T, viewer string, out *safeBuffer) {
	t.Helper()
	api, err := client.New(viewer)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	s, err := api.Session(t.Context())
	if err != nil || s.Auth != "on" || !s.Setup || s.Identity != nil {
		t.Errorf("%+v %v", s, err)
	}
	_, err = api.Page(t.Context(), client.List{}, "")
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusUnauthorized {
		t.Errorf("nobody may read: %v", err)
	}
	_, token, ok := strings.Cut(out.String(), viewer+"/sign-in#setup=")
	token, _, _ = strings.Cut(token, "\n")
	if !ok || token == "" {
		t.Fatalf("no sign-in link in\n%s", out.String())
	}
	// It holds: logging it again has not ended it.
	resp, err := http.Post(viewer+"/api/v1/session/setup", "application/json", strings.NewReader(`{"token":"`+token+`","name":"ada","password":"short"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode == http.StatusOK || !strings.Contains(string(b), "assword") {
		t.Errorf("a short password: %s %s %v", resp.Status, b, err)
	}
}

var addresses = regexp.MustCompile(`(?s)proxy   (\S+) → .*viewer  (\S+)`)

// started waits until the addresses are printed.
func started(t *testing.T, out *safeBuffer, done <-chan error) (proxy, viewer string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if m := addresses.FindStringSubmatch(out.String()); m != nil {
			return m[1], m[2]
		}
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		default:
		}
	}
	t.Fatalf("nothing is printed: %s", out.String())
	return "", ""
}

// TestUpRefuses: what cannot work is said in the command's own words, and
// nothing is left open.
func TestUpRefuses(t *testing.T) {
	t.Setenv("LISTEN_ADDR", anyPort)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	itself := free.Addr().String()
	free.Close()
	data := t.TempDir()
	for _, c := range []struct {
		up    cli.Up
		usage bool
		want  string
	}{
		{cli.Up{To: "8080", Listen: ":0"}, true, `--to "8080" is not valid; want HOST:PORT`},
		{cli.Up{To: ":8080", Listen: ":0"}, true, "--to"},
		{cli.Up{To: "localhost:0", Listen: ":0"}, true, "--to"},
		{cli.Up{To: "http://localhost:80", Listen: ":0"}, true, "--to"},
		{cli.Up{To: "localhost:80", Listen: "4143"}, true, `--listen "4143" is not valid; want [HOST]:PORT`},
		{cli.Up{To: "a b:80", Listen: ":0"}, true, "not a host"},
		{cli.Up{To: "localhost:80", Listen: taken.Addr().String()}, false, "address already in use"},
		{cli.Up{To: itself, Listen: itself}, false, "--to leads to " + itself + ", which is this proxy itself"},
	} {
		c.up.App, c.up.Data, c.up.LogLevel = "app", data, "warn"
		err := Up(t.Context(), cli.IO{Out: io.Discard, Err: io.Discard}, c.up)
		_, usage := errors.AsType[*cli.UsageError](err)
		if err == nil || usage != c.usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.up, err)
		}
	}
}

// TestViewerElsewhere: a port that was only preferred and is taken is no
// reason to fail.
func TestViewerElsewhere(t *testing.T) {
	n := 0
	got, err := orFree(true, func() (string, error) {
		if n++; n == 1 {
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			_, err = net.Listen("tcp", taken.Addr().String())
			return "", err
		}
		return "second", nil
	}, func() {})
	if got != "second" || err != nil {
		t.Errorf("%q %v", got, err)
	}
}

// TestProxiesAreListed: the API knows who is connected, soon after the start.
func TestProxiesAreListed(t *testing.T) {
	t.Setenv("LISTEN_ADDR", anyPort)
	t.Setenv("DIAGNOSTICS_ADDR", "")
	data := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	var out safeBuffer
	done := make(chan error, 1)
	go func() {
		done <- Up(ctx, cli.IO{Out: &out, Err: io.Discard}, cli.Up{To: "localhost:1", App: "nobody", Listen: "127.0.0.1:0", Data: data, LogLevel: "error"})
	}()
	proxy, _ := started(t, &out, done)
	api, err := client.New("unix:" + filepath.Join(data, "data", "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	var last []byte
	deadline := time.Now().Add(20 * time.Second)
	for {
		p, err := api.Proxies(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		last, _ = json.Marshal(p)
		if len(p.Proxies) == 1 && p.Proxies[0].State == "connected" && p.Proxies[0].App == "nobody" && p.Proxies[0].ListenAddr == proxy &&
			p.Proxies[0].UpstreamAddr == "localhost:1" && len(p.Forwarders) == 1 && p.Forwarders[0].Connected && p.Forwarders[0].Cluster == "local" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s", last)
		}
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
