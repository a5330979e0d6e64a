package analyzer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
)

func load(vars map[string]string) (Config, error) {
	env := daemon.NewEnv(func(k string) (string, bool) { v, ok := vars[k]; return v, ok })
	return LoadConfig(env), env.Err()
}

func TestConfig(t *testing.T) {
	c, err := load(map[string]string{"XDG_STATE_HOME": "/nowhere"})
	if err != nil {
		t.Fatal(err)
	}
	if c.ListenAddr != "127.0.0.1:4190" || c.IngestAddr != "127.0.0.1:4191" || c.Retention != 7*24*time.Hour || c.RetentionBytes != 0 || !filepath.IsAbs(c.DataDir) {
		t.Errorf("defaults: %+v", c)
	}
	c, err = load(map[string]string{
		"LISTEN_ADDR": "[::1]:0", "INGEST_ADDR": "localhost:7", "DATA_DIR": "/d", "RETENTION": "36h", "RETENTION_BYTES": "2GiB", "AUTH": "off", "LOG_LEVEL": "debug",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		ListenAddr: "[::1]:0", IngestAddr: "localhost:7", Doors: Doors{NoAuth: true}, IngestDoor: IngestDoor{IngestRate: defaultIngestRate}, DataDir: "/d",
		Retention: 36 * time.Hour, RetentionBytes: 2 << 30, LogLevel: slog.LevelDebug,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v, want %+v", c, want)
	}
	for _, bad := range [][2]string{
		{"LISTEN_ADDR", "0.0.0.0:4190"},
		{"LISTEN_ADDR", "192.168.0.7:4190"},
		{"LISTEN_ADDR", "[::]:4190"},
		{"LISTEN_ADDR", "example.com:4190"},
		{"LISTEN_ADDR", ":4190"},
		{"INGEST_ADDR", "10.0.0.1:4191"},
		{"AUTH", "maybe"},
		{"RETENTION", "soon"},
		{"RETENTION_BYTES", "1KiB"},
		{"DATA_DIR", "/a?b"},
		{"ENDPOINT_RULES", "/no/such/file"},
		{"STORE", "clickhouse://x"},
		{"CONTROL_STORE", "mysql://x"},
		{"CONTROL_STORE", "/a?b"},
		{"PUBLIC_URL", "weir.example.com"},
		{"PUBLIC_URL", "http://weir.example.com"},
		{"PUBLIC_URL", "https://me:secret@x"},
		{"PUBLIC_URL", "https://x/#a"},
		{"ALLOWED_HOSTS", "*.example.com"},
		{"ALLOWED_HOSTS", "x:4190"},
		{"TRUSTED_PROXIES", "0.0.0.0/0"},
		{"TRUSTED_PROXIES", "proxy.local"},
		{"TLS_CERT_FILE", "x"},
		{"TLS_KEY_FILE", "x"},
		{"ENCRYPTION_KEY", "x"},
	} {
		_, err := load(map[string]string{bad[0]: bad[1]})
		if err == nil || !strings.HasPrefix(err.Error(), bad[0]+"=") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s=%s: %v", bad[0], bad[1], err)
		}
	}
	// One mistake hides no other.
	_, err = load(map[string]string{"LISTEN_ADDR": "0.0.0.0:4190", "RETENTION_BYTES": "1KiB"})
	if err == nil || !strings.Contains(err.Error(), "LISTEN_ADDR=") || !strings.Contains(err.Error(), "RETENTION_BYTES=") {
		t.Errorf("two mistakes: %v", err)
	}
}

func config(t *testing.T) Config {
	t.Helper()
	return Config{Doors: Doors{NoAuth: true}, ListenAddr: "127.0.0.1:0", IngestAddr: "127.0.0.1:0", DataDir: filepath.Join(t.TempDir(), "data")}
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(daemon.NewHandler(t.Output(), daemon.Sorted, slog.LevelDebug))
}

// run runs an analyzer; stop ends it and waits.
func run(t *testing.T, cfg Config) (a *Analyzer, stop func()) {
	t.Helper()
	a, err := New(cfg, logger(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return a, stop
}

// export opens a stream and sends its hello.
func export(t *testing.T, a *Analyzer, f *storetest.Forwarder) (grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse], *capturev1.ExportResponse_Have) {
	t.Helper()
	conn, err := grpc.NewClient(a.IngestAddr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	g, err := capturev1.NewIngestServiceClient(conn).Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello := &capturev1.Hello{SpoolId: f.Spool[:], NextOffset: 1 << 40, ForwarderId: "f", Cluster: "c", Version: "v"}
	if err := g.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Hello{Hello: hello}}); err != nil {
		t.Fatal(err)
	}
	resp, err := g.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return g, resp.GetHave()
}

func get(t *testing.T, url string, into any) int {
	t.Helper()
	resp, err := http.Get(url) // the test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatalf("%s: %s: %v", url, b, err)
		}
	}
	return resp.StatusCode
}

type listed struct {
	Pairs []struct{ ID, Path, Endpoint string }
}

// From a forwarder's frame to the API, over a restart.
func TestAcknowledgedIsListed(t *testing.T) {
	cfg := config(t)
	a, stop := run(t, cfg)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	g, have := export(t, a, f)
	if have.GetNextOffset() != 0 || have.GetAnalyzerId() == "" {
		t.Errorf("have %v", have)
	}
	st := &capturev1.ForwarderStatus{ForwarderId: "f", Proxies: []*capturev1.ProxyStatus{{Source: &capturev1.Source{Pod: "p"}, State: capturev1.ProxyStatus_STATE_CONNECTED}}}
	if err := g.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: st}}); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(5) {
		fr := f.Frame(storetest.Pairs(n*10, n*10+10)...)
		if err := g.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: fr}}); err != nil {
			t.Fatal(err)
		}
		resp, err := g.Recv()
		if err != nil || resp.GetStored().GetNextOffset() != f.Offset {
			t.Fatalf("ack %v, %v", resp, err)
		}
		var list listed
		if code := get(t, "http://"+a.Addr().String()+"/api/v1/pairs?limit=100", &list); code != 200 || len(list.Pairs) != int(n+1)*10 {
			t.Fatalf("status %d, %d pairs, want %d", code, len(list.Pairs), (n+1)*10)
		}
	}
	var proxies struct {
		Proxies []struct{ State string }
	}
	if get(t, "http://"+a.Addr().String()+"/api/v1/proxies", &proxies); len(proxies.Proxies) != 1 {
		t.Errorf("proxies %+v", proxies)
	}
	if code := get(t, "http://"+a.Addr().String()+"/readyz", nil); code != 200 {
		t.Errorf("ready: %d", code)
	}
	stop()
	if _, err := g.Recv(); err == nil {
		t.Error("the stream goes on")
	}

	b, _ := run(t, cfg)
	if _, have := export(t, b, f); have.GetNextOffset() != f.Offset {
		t.Errorf("after a restart: have %v, want %d", have, f.Offset)
	}
	var list listed
	if code := get(t, "http://"+b.Addr().String()+"/api/v1/pairs?limit=100&q=status:5xx", &list); code != 200 || len(list.Pairs) == 0 {
		t.Errorf("status %d, %d pairs", code, len(list.Pairs))
	}
}

func TestCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := config(t)
	_, stop := run(t, running)
	for _, c := range []struct {
		name   string
		change func(*Config)
		want   []string
	}{
		{"LISTEN_ADDR", func(c *Config) { c.ListenAddr = taken.Addr().String() }, []string{"LISTEN_ADDR", "address already in use"}},
		{"INGEST_ADDR", func(c *Config) { c.IngestAddr = taken.Addr().String() }, []string{"INGEST_ADDR", "address already in use"}},
		{"not a directory", func(c *Config) { c.DataDir = filepath.Join(file, "data") }, []string{"DATA_DIR", "not a directory"}},
		{"in use", func(c *Config) { c.DataDir = running.DataDir }, []string{"DATA_DIR", "in use", strconv.Itoa(os.Getpid())}},
	} {
		cfg := config(t)
		c.change(&cfg)
		_, err := New(cfg, slog.New(slog.DiscardHandler))
		if err == nil {
			t.Errorf("%s: started", c.name)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %q", c.name, err, w)
			}
		}
		if hinted, ok := errors.AsType[*daemon.Hinted](err); ok != (c.name == "not a directory") {
			t.Errorf("%s: hint %v", c.name, hinted)
		}
	}
	// What failed has let go of everything.
	stop()
	run(t, running)
}

func TestModes(t *testing.T) {
	cfg := config(t)
	_, stop := run(t, cfg)
	stop()
	err := filepath.Walk(cfg.DataDir, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		want := os.FileMode(0o600)
		if info.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
