package forwarder_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/tlsfiles"
	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

func TestFromProxyToAnalyzer(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	f := run(t, config(t, a.addr))
	p, q := newProxy(1), newProxy(2)
	p.start(t, f.addr())
	q.start(t, f.addr())
	p.make(100)
	q.make(50)
	poll(t, "everything", func() error { return a.stored(all(p, q)) })
	poll(t, "a status that says so", func() error {
		st := a.lastStatus()
		if len(st.GetProxies()) != 2 || st.GetProxies()[0].GetState() != capturev1.ProxyStatus_STATE_CONNECTED ||
			st.GetSpool().GetExportedOffset() != st.GetSpool().GetNextOffset() || st.GetSpool().GetBytesUsed() == 0 ||
			st.GetFilterRule() != "standard" || len(st.GetFilterRules()) != 2 || st.GetFilterRules()[0].GetName() != "health_check" ||
			!strings.Contains(st.GetFilterRules()[0].GetExpression(), "/healthz") || len(st.GetKeepOneIn()) > 0 || st.GetCluster() != "prod" || st.GetDlpConfig() != "" || len(st.GetDropped()) > 0 {
			return fmt.Errorf("%v", st)
		}
		return nil
	})
}

// TestAnalyzerComesAndGoes: receiving never waits for the analyzer, and every
// batch is stored once however often it is restarted.
func TestAnalyzerComesAndGoes(t *testing.T) {
	a := newAnalyzer(t)
	f := run(t, config(t, a.addr))
	p := newProxy(1)
	p.start(t, f.addr())
	p.make(50)
	poll(t, "acknowledgements without an analyzer", p.waiting)
	for range 5 {
		a.start()
		p.make(100)
		poll(t, "some of it", func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.hellos == 0 || len(a.batches) == 0 {
				return errors.New("nothing")
			}
			return nil
		})
		a.stop()
		p.make(20)
		poll(t, "acknowledgements", p.waiting)
	}
	// Once more, and this time it stores without saying so.
	a.mu.Lock()
	a.mute = true
	a.mu.Unlock()
	a.start()
	poll(t, "all but its acknowledgements", func() error { return a.stored(all(p)) })
	a.stop()
	a.mu.Lock()
	a.mute = false
	a.mu.Unlock()
	a.start()
	p.make(1)
	poll(t, "everything", func() error { return a.stored(all(p)) })
	if a.skipped > 0 {
		t.Errorf("%d frames were sent that the analyzer had said it has", a.skipped)
	}
	if n := strings.Count(f.log.String(), "Not connected to analyzer"); n == 0 || n > 12 {
		t.Errorf("%d lines about the analyzer being away:\n%s", n, f.log.String())
	}
}

// TestRestart: a forwarder that stops hands on what it can, and goes on where
// it was.
func TestRestart(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	f := run(t, cfg)
	p := newProxy(1)
	stop := p.start(t, f.addr())
	p.make(200)
	poll(t, "acknowledgements", p.waiting)
	began := time.Now()
	f.stop()
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("stopping took %v", d)
	}
	stop()
	if err := a.stored(all(p)); err != nil {
		t.Errorf("after an orderly stop: %v", err)
	}
	f = run(t, cfg)
	p.start(t, f.addr())
	p.make(10)
	poll(t, "everything", func() error { return a.stored(all(p)) })
	if a.skipped > 0 {
		t.Errorf("%d frames came twice", a.skipped)
	}

	// The analyzer is away when it stops: it does not wait for long, and
	// nothing is lost.
	a.stop()
	p.make(10)
	poll(t, "acknowledgements", p.waiting)
	began = time.Now()
	f.stop()
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("stopping without an analyzer took %v", d)
	}
	a.start()
	run(t, cfg)
	poll(t, "what had waited in the spool", func() error { return a.stored(all(p)) })
}

// TestAnalyzerThatLostEverything gets again what the spool still has.
func TestAnalyzerThatLostEverything(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	f := run(t, config(t, a.addr))
	p := newProxy(1)
	p.start(t, f.addr())
	p.make(20)
	poll(t, "everything", func() error { return a.stored(all(p)) })
	a.stop()
	a.mu.Lock()
	clear(a.next)
	clear(a.batches)
	clear(a.pairs)
	a.mu.Unlock()
	a.start()
	poll(t, "everything again", func() error { return a.stored(all(p)) })
}

// TestSpoolThatIsAnOldCopy: what a restored spool took before it met the
// analyzer stands at offsets that the analyzer has other records of. It goes
// there all the same, and nothing goes twice.
func TestSpoolThatIsAnOldCopy(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	cfg := config(t, a.addr)
	f := run(t, cfg)
	p := newProxy(1)
	stop := p.start(t, f.addr())
	p.make(5)
	poll(t, "the first", func() error { return a.stored(all(p)) })
	f.stop()
	backup := filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(cfg.SpoolDir)); err != nil {
		t.Fatal(err)
	}
	f = run(t, cfg)
	stop()
	stop = p.start(t, f.addr())
	p.make(40)
	poll(t, "everything", func() error { return a.stored(all(p)) })
	poll(t, "acknowledged", p.waiting)
	stop()
	f.stop()
	a.stop()

	if err := os.RemoveAll(cfg.SpoolDir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(cfg.SpoolDir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	f = run(t, cfg)
	q := newProxy(2)
	q.start(t, f.addr())
	q.make(3)
	poll(t, "acknowledged", q.waiting)
	a.start()
	poll(t, "the line that says so", func() error {
		if !strings.Contains(f.log.String(), "older copy") {
			return errors.New(f.log.String())
		}
		return nil
	})
	q.make(3)
	poll(t, "everything", func() error { return a.stored(all(p, q)) })
}

// TestR19SpoolOverflows: the analyzer is away for longer than the spool holds.
// What is stored and what was counted as dropped is what was sent.
func TestR19SpoolOverflows(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		t.Run(string(when), func(t *testing.T) {
			a := newAnalyzer(t)
			cfg := config(t, a.addr)
			cfg.SpoolBytes, cfg.WhenFull = 512<<10, when
			f := run(t, cfg)
			p := newProxy(1)
			p.start(t, f.addr())
			const n = 4000
			p.make(n)
			poll(t, "a full spool", func() error {
				if !strings.Contains(f.log.String(), "The spool is full") {
					return errors.New(f.log.String())
				}
				return nil
			})
			if when == spool.DropOldest {
				poll(t, "acknowledgements", p.waiting)
			}
			a.start()
			poll(t, "acknowledgements", p.waiting)
			poll(t, "sum of stored and dropped", func() error {
				stored, declared := a.sums()
				st := a.lastStatus()
				counted := st.GetDropped()[frame.ReasonSpoolFull]
				if when == spool.DropOldest {
					counted = notDelivered(st)[frame.ReasonSpoolFull]
				}
				if sum := stored + declared; sum != 3*n || stored == 0 || declared == 0 || counted != declared {
					return fmt.Errorf("%d stored, %d declared, %d sent; the forwarder counts %d", stored, declared, 3*n, counted)
				}
				return nil
			})
			// There is room again, without a restart.
			q := newProxy(2)
			q.start(t, f.addr())
			q.make(3)
			poll(t, "new batches", func() error {
				a.mu.Lock()
				defer a.mu.Unlock()
				for b := range all(q) {
					if a.batches[b] != 1 {
						return fmt.Errorf("batch %s is not stored", b)
					}
				}
				return nil
			})
		})
	}
}

// TestR18DamagedRecord: a bit that flips on the disk costs one record, whose
// pairs are counted from its head.
func TestR18DamagedRecord(t *testing.T) {
	a := newAnalyzer(t)
	cfg := config(t, a.addr)
	f := run(t, cfg)
	p := newProxy(1)
	stop := p.start(t, f.addr())
	p.make(30)
	poll(t, "acknowledgements", p.waiting)
	stop()
	f.stop()
	log, err := seglog.Open(cfg.SpoolDir, seglog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	name, n, last := log.Segments()[0].Name, 0, uint64(0)
	for e, err := range log.Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 10 {
			last = e.Next - 1 // of its body; this segment's offsets begin with 0
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(cfg.SpoolDir, name)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[last] ^= 4
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f = run(t, cfg)
	a.start()
	poll(t, "everything else, and a count", func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.pairs) != 3*29 || notDelivered(a.status)["spool_damaged"] != 3 {
			return fmt.Errorf("%d pairs, %v", len(a.pairs), a.status.GetDestinations())
		}
		return nil
	})
	// Another connection, and it is not counted again.
	a.stop()
	a.start()
	p.start(t, f.addr())
	p.make(1)
	poll(t, "the next batch", func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if len(a.pairs) != 3*30 || notDelivered(a.status)["spool_damaged"] != 3 {
			return fmt.Errorf("%d pairs, %v", len(a.pairs), a.status.GetDestinations())
		}
		return nil
	})
	if n := strings.Count(f.log.String(), "is damaged"); n != 1 {
		t.Errorf("%d lines:\n%s", n, f.log.String())
	}
}

func TestAnalyzerSpeaksAnotherProtocol(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	other := grpc.NewServer()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- other.Serve(ln) }()
	defer func() {
		other.Stop()
		<-served
	}()
	for addr, want := range map[string]string{
		web.Listener.Addr().String(): "it speaks HTTP/1, not gRPC: it is no analyzer",
		ln.Addr().String():           "it speaks gRPC, but not this service: it is no analyzer",
	} {
		f := run(t, config(t, addr))
		p := newProxy(1)
		stop := p.start(t, f.addr())
		p.make(5)
		poll(t, "acknowledgements", p.waiting)
		poll(t, "a clear line", func() error {
			if !strings.Contains(f.log.String(), `"addr":"`+addr+`","error":"`+want+`"`) {
				return errors.New(f.log.String())
			}
			return nil
		})
		// Several attempts later it is still one line.
		time.Sleep(time.Second)
		if n := strings.Count(f.log.String(), "Not connected"); n != 1 {
			t.Errorf("%d lines:\n%s", n, f.log.String())
		}
		stop()
		f.stop()
	}
}

func TestLogLines(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	f := run(t, config(t, a.addr))
	poll(t, "the analyzer", func() error {
		if a.lastStatus() == nil {
			return errors.New("no status")
		}
		return nil
	})
	cc, err := grpc.NewClient("passthrough:///"+f.addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	client := capturev1.NewProxyServiceClient(cc)
	src := &capturev1.Source{ProxyId: "ip-192-168-3-149", Epoch: make([]byte, 16)}
	if _, err := client.Register(t.Context(), &capturev1.RegisterRequest{Source: src}); err != nil {
		t.Fatal(err)
	}
	stream, err := client.Push(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{Source: src, Goodbye: true}}}); err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	f.stop()
	want, err := os.ReadFile(filepath.Join("testdata", "start.log.golden"))
	if err != nil {
		t.Fatal(err)
	}
	got := regexp.MustCompile(`"time":"[^"]+"`).ReplaceAllString(f.log.String(), `"time":"<time>"`)
	got = regexp.MustCompile(`"port":\d+`).ReplaceAllString(got, `"port":<port>`)
	got = strings.ReplaceAll(got, a.addr, "<analyzer>")
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// TestTelemetry: with an interval and a namespace the forwarder reports on
// itself, in the first status and then at the interval; without, never.
func TestTelemetry(t *testing.T) {
	reports := func(interval time.Duration, namespace, line string, enough func([]*capturev1.Telemetry) error) {
		t.Helper()
		a := newAnalyzer(t)
		a.start()
		cfg := config(t, a.addr)
		cfg.Telemetry, cfg.Namespace = interval, namespace
		f := run(t, cfg)
		p := newProxy(1)
		p.start(t, f.addr())
		p.make(10)
		poll(t, "reports", func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.status == nil {
				return errors.New("no status")
			}
			return enough(a.telemetry)
		})
		if !strings.Contains(f.log.String(), line) {
			t.Error(f.log.String())
		}
	}
	reports(time.Second, "shop", `"msg":"Telemetry reporting to the analyzer every 1s"`, func(list []*capturev1.Telemetry) error {
		if len(list) < 2 {
			return fmt.Errorf("%d reports", len(list))
		}
		pairs := 0.0
		for _, r := range list {
			if r.GetMemoryHeap() == 0 || r.GetGoroutines() == 0 || r.GetInterval() <= 0 {
				t.Fatalf("%v", r)
			}
			pairs += r.GetPairsPerSecond() * time.Duration(r.GetInterval()).Seconds()
		}
		last := list[len(list)-1]
		if pairs < 29.9 || pairs > 30.1 || last.GetProxiesConnected() != 1 {
			return fmt.Errorf("%v pairs, then %v", pairs, last)
		}
		return nil
	})
	reports(time.Hour, "shop", "every 1h0m0s", func(list []*capturev1.Telemetry) error {
		if len(list) != 1 {
			return fmt.Errorf("%d reports", len(list))
		}
		return nil
	})
	off := `"msg":"Telemetry reporting turned off because interval is zero or app pod namespace is empty"`
	none := func(list []*capturev1.Telemetry) error {
		if len(list) > 0 {
			t.Fatalf("turned off, and it reports: %v", list)
		}
		return nil
	}
	reports(0, "shop", off, none)
	reports(time.Second, "", off, none)
}

// TestPlainConnections: people look at the port with nc and curl. It is
// closed quietly.
func TestPlainConnections(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	f := run(t, config(t, a.addr))
	poll(t, "the analyzer", func() error {
		if a.lastStatus() == nil {
			return errors.New("no status")
		}
		return nil
	})
	before := f.log.String()
	conn, err := net.Dial("tcp", f.addr())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err = net.Dial("tcp", f.addr()); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil {
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			t.Error("the connection stays open")
		}
	}
	f.stop()
	if after := f.log.String(); after != before {
		t.Errorf("not quiet: %s", after[len(before):])
	}
}

func TestCannotStart(t *testing.T) {
	first := config(t, "127.0.0.1:1")
	f := run(t, first)
	_, port, err := net.SplitHostPort(f.addr())
	if err != nil {
		t.Fatal(err)
	}
	taken := config(t, "127.0.0.1:1")
	if taken.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	notADir := config(t, "127.0.0.1:1")
	notADir.SpoolDir = filepath.Join(file, "spool")
	locked := config(t, "127.0.0.1:1")
	locked.SpoolDir = first.SpoolDir
	for want, cfg := range map[string]forwarder.Config{
		"open SERVICE_PORT: listen tcp 127.0.0.1:" + port + ": bind: address already in use":                                          taken,
		"open SPOOL_DIR " + locked.SpoolDir + ": directory " + locked.SpoolDir + " is in use by process " + strconv.Itoa(os.Getpid()): locked,
		"not a directory": notADir,
	} {
		_, err := forwarder.New(cfg, slog.New(slog.DiscardHandler))
		h, ok := errors.AsType[*daemon.Hinted](err)
		if !ok || !strings.Contains(err.Error(), want) || h.Hint == "" {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	// The spool of the one whose port was taken is free again.
	taken.Port = 0
	g := run(t, taken)
	g.stop()
}

// TestConfigIsText: what is not UTF-8 could not go to the analyzer, and would
// be found out only then. Values that are not to be seen are not shown.
func TestConfigIsText(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("a: path:/caf\xe9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"CLUSTER_NAME": "caf\xe9", "APP_POD_NAMESPACE": "caf\xe9", "FILTER_RULE": "path:/caf\xe9", "ANALYZER_ADDR": "caf\xe9:1",
		"SPOOL_DIR": "/caf\xe9", "EXPORTERS": "/caf\xe9", "SAMPLE_FILE": "/caf\xe9",
		"DLP_KEY": "s3cret", "ANALYZER_TOKEN": "s3cret s3cret", "DLP_CONFIG": "http://me:s3cret@h", "PROXY_TOKENS_FILE": "me:s3cret@h:1",
	} {
		vars := map[string]string{"CLUSTER_NAME": "c", "ANALYZER_ADDR": "h:1"}
		vars[name] = value
		env := daemon.NewEnv(func(k string) (string, bool) { v, ok := vars[k]; return v, ok })
		forwarder.LoadConfig(env)
		if err := env.Err(); err == nil || !strings.HasPrefix(err.Error(), name+"=") || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s=%q: %v", name, value, err)
		}
	}
	env := daemon.NewEnv(func(k string) (string, bool) {
		return map[string]string{"CLUSTER_NAME": "c", "ANALYZER_ADDR": "h:1", "FILTER_RULE": rules}[k], true
	})
	forwarder.LoadConfig(env)
	if err := env.Err(); err == nil || !strings.Contains(err.Error(), "line 1") || !strings.Contains(err.Error(), "UTF-8") {
		t.Errorf("a file of rules: %v", err)
	}
}

func TestConfig(t *testing.T) {
	load := func(vars map[string]string) (forwarder.Config, error) {
		env := daemon.NewEnv(func(k string) (string, bool) { v, ok := vars[k]; return v, ok })
		return forwarder.LoadConfig(env), env.Err()
	}
	t.Setenv("XDG_STATE_HOME", "/state")
	dir := t.TempDir()
	sample, bad := filepath.Join(dir, "sample"), filepath.Join(dir, "bad")
	for file, text := range map[string]string{sample: "shop 1/10\n", bad: "shop 1/10\nweb 1/0\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	authority := tlstest.NewAuthority(t)
	cert, key := authority.Write(t, dir, tlstest.Leaf{Name: "forwarder"})
	ca, tokens := authority.WriteCA(t, dir, "ca.pem"), filepath.Join(dir, "tokens")
	tlstest.Replace(t, tokens, []byte("pod-* 0123456789abcdef\n"))
	files := tlsfiles.Files{Cert: cert, Key: key, CA: ca}
	c, err := load(map[string]string{"CLUSTER_NAME": "my_cluster", "ANALYZER_ADDR": "analyzer:4191"})
	if err != nil {
		t.Fatal(err)
	}
	if c.SpoolDir != "/var/lib/weir/spool" && c.SpoolDir != "/state/weir/spool" {
		t.Errorf("spool in %s", c.SpoolDir)
	}
	c.SpoolDir = ""
	want := forwarder.Config{
		Port: 8888, Cluster: "my_cluster", Analyzer: "analyzer:4191", FilterRule: "standard",
		SpoolBytes: 10 << 30, WhenFull: spool.DropOldest, LogLevel: slog.LevelInfo,
		Access: access.Config{Prefix: "ANALYZER"}, Doors: forwarder.Doors{ProxyRate: 512 << 20},
	}
	if c != want {
		t.Errorf("defaults: %+v", c)
	}
	c, err = load(map[string]string{
		"SERVICE_PORT": "9999", "CLUSTER_NAME": "c", "APP_POD_NAMESPACE": "ns", "LOG_LEVEL": "debug", "TELEMETRY_INTERVAL": "30s",
		"FILTER_RULE": "path:/static/*", "ANALYZER_ADDR": "[::1]:4191", "SPOOL_DIR": "/s", "SPOOL_MAX_BYTES": "2GiB", "SPOOL_WHEN_FULL": "drop_newest",
		"SAMPLE_FILE": sample,
		"DLP_CONFIG":  "standard+pii", "DLP_KEY": "AAECAwQFBgcICQoLDA0ODw==",
		"PROXY_TOKENS_FILE": tokens, "PROXY_RATE": "1MiB", "TLS_CERT_FILE": cert, "TLS_KEY_FILE": key, "TLS_CLIENT_CA_FILE": ca,
		"ANALYZER_TOKEN": "s3cret", "ANALYZER_TLS": "on", "ANALYZER_CA_FILE": ca, "ANALYZER_CERT_FILE": cert, "ANALYZER_KEY_FILE": key,
	})
	if c.DLPKeys == nil || len(c.DLPKeys.Tokens("x")) != 1 {
		t.Errorf("keys: %v", c.DLPKeys)
	}
	c.DLPKeys = nil
	want = forwarder.Config{
		Port: 9999, Cluster: "c", Namespace: "ns", LogLevel: slog.LevelDebug, Telemetry: 30 * time.Second, FilterRule: "path:/static/*",
		Analyzer: "[::1]:4191", SpoolDir: "/s", SpoolBytes: 2 << 30, WhenFull: spool.DropNewest,
		SampleFile: sample, DLPConfig: "standard+pii",
		Access: access.Config{Prefix: "ANALYZER", Token: "s3cret", TLS: true, Files: files},
		Doors:  forwarder.Doors{TLS: files, ProxyTokens: tokens, ProxyRate: 1 << 20},
	}
	if err != nil || c != want {
		t.Errorf("all set: %+v %v", c, err)
	}
	vars := map[string]string{
		"SERVICE_PORT": "x", "TELEMETRY_INTERVAL": "soon", "FILTER_RULE": "stauts:500", "ANALYZER_ADDR": "nowhere",
		"SPOOL_MAX_BYTES": "1MiB", "SPOOL_WHEN_FULL": "block", "LOG_LEVEL": "loud", "SAMPLE_FILE": bad,
		"DLP_CONFIG": "strict", "DLP_KEY": "c2hvcnQ=",
	}
	for _, later := range []string{
		"EXPORTERS", "ANALYZER_TOKEN", "ANALYZER_TOKEN_FILE", "ANALYZER_TLS", "ANALYZER_CA_FILE",
		"TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE", "PROXY_TOKENS_FILE",
	} {
		vars[later] = "set"
	}
	_, err = load(vars)
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(vars) { // and CLUSTER_NAME; a token in two places is one
		t.Errorf("%d lines for %d mistakes:\n%v", len(lines), len(vars), err)
	}
	for name := range vars {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named:\n%v", name, err)
		}
	}
	for _, want := range []string{`Unknown field "stauts" at column 1`, `line 2: "1/0" is not 1/N`} {
		if !strings.Contains(err.Error(), want) {
			t.Error(err)
		}
	}
	_, err = load(map[string]string{"CLUSTER_NAME": "c", "ANALYZER_ADDR": "h:1", "SPOOL_DIR": "/s", "TELEMETRY_INTERVAL": "10ms"})
	if err == nil || !strings.Contains(err.Error(), "at least 1s") {
		t.Error(err)
	}
}

// TestR13Kill kills the forwarder in the middle of the load, several times, and
// the analyzer's connection with it: nothing that was captured is lost, and
// nothing is stored twice.
func TestR13Kill(t *testing.T) {
	a := newAnalyzer(t)
	a.start()
	program := newProgram(t, a.addr)
	program.start()
	var proxies []*proxy
	for i := range byte(4) {
		p := newProxy(1 + i)
		p.start(t, program.addr)
		proxies = append(proxies, p)
	}
	ackedBefore := func() (n uint64) {
		for _, p := range proxies {
			p.mu.Lock()
			n += p.acked
			p.mu.Unlock()
		}
		return n
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed of the moments: %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for round := range 6 {
		for _, p := range proxies {
			p.make(400)
		}
		// A random place in the load, known to be in its middle.
		until := ackedBefore() + 1 + rng.Uint64N(800)
		poll(t, "some acknowledgements", func() error {
			if n := ackedBefore(); n < until {
				return fmt.Errorf("round %d: %d of %d\n%s", round, n, until, program.log)
			}
			return nil
		})
		program.kill()
		if round%2 == 1 {
			a.stop()
			a.start()
		}
		program.start()
	}
	for _, p := range proxies {
		poll(t, "acknowledgements", p.waiting)
	}
	poll(t, "everything", func() error { return a.stored(all(proxies...)) })
	program.terminate()
	a.mu.Lock()
	defer a.mu.Unlock()
	t.Logf("%d batches stored once, %d connections of the forwarder", len(a.batches), a.hellos)
}
