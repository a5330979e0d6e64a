package cli_test

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	"github.com/weir-capture/weir/analyzer/web"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/vfs"
)

// TestMain lets the scripts run weir with programs that only say what they
// were asked for.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weir": func() {
		ctx, stop := daemon.SignalContext(context.Background())
		defer stop()
		programs := cli.Programs{
			Up: func(_ context.Context, std cli.IO, u cli.Up) error {
				if u.To == "localhost:1" {
					return &daemon.Hinted{Err: errors.New("it broke"), Hint: "Mend it."}
				}
				_, err := fmt.Fprintf(std.Out, "%+v\n", u)
				return err
			},
			Demo: func(_ context.Context, std cli.IO, d cli.Demo) error {
				fmt.Fprintf(std.Out, "%+v\n", d)
				return cli.ErrQuiet
			},
			Config: func(program string, lookup func(string) (string, bool)) error {
				if v, _ := lookup("FILTER_RULE"); v == "bad:" {
					return errors.New(program + ": FILTER_RULE is wrong")
				}
				return nil
			},
			SpoolDir: os.Getenv("WORK"), DataDir: os.Getenv("WORK"),
			Files: cli.Files{
				Verify: func(_ context.Context, dir string, progress func(done, of int64)) (*cli.Verified, error) {
					progress(1, 2)
					if dir == "locked" {
						return nil, errors.New("data directory is in use by process 7")
					}
					return &cli.Verified{OK: dir == "good", Lines: []string{"Not all of it."}, Document: map[string]int{"pairs": 3}}, nil
				},
				Rebuild: func(context.Context, string, func(done, of int64)) error { return nil },
				Backup: func(_ context.Context, dir string, w io.Writer) (bool, error) {
					_, err := io.WriteString(w, dir)
					return dir == "elsewhere", err
				},
				Restore: func(context.Context, string, io.Reader) error { return nil },
			},
		}
		os.Exit(cli.Run(ctx, os.Args[1:], cli.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Color: os.Getenv("TEST_COLOR") != ""}, programs))
	}})
}

// status runs a command that has to end with a status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("status %d: %v", got, err)
	}
}

// TestScripts runs testdata/*.txtar against the real API over four pairs.
func TestScripts(t *testing.T) {
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	st := memstore.New(func() int64 { return at.UnixNano() })
	fill(t, st, at)
	now := at.Add(time.Minute)
	serve := func(unaccounted bool) string {
		srv, err := web.New(web.Config{NoAuth: true, Now: func() time.Time { return now }}, web.Deps{
			Store: st, Importer: importer.New(st, time.Now), Ledger: account(t, at, now, unaccounted), Forwarders: func() []web.Forwarder {
				return []web.Forwarder{{Connected: true, LastSeen: now, Status: &capturev1.ForwarderStatus{
					ForwarderId: "f1", Cluster: "c", Now: now.UnixNano(),
					FilterRules: []*capturev1.FilterRule{{Name: "health", Expression: "method:GET path:/healthz"}},
				}}}
			},
		}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ts := httptest.NewServer(srv.Handler())
		t.Cleanup(ts.Close) // the scripts run in parallel, after this function
		return ts.URL
	}
	good, bad := serve(false), serve(true)
	old := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/info" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `{"now":%q}`, time.Now().Format(time.RFC3339Nano))
	}))
	t.Cleanup(old.Close)
	plain, secured := serveDoors(t, false), serveDoors(t, true)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secured.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:  "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
		Setup: func(e *testscript.Env) error {
			e.Setenv("WEIR_URL", good)
			e.Setenv("WEIR_BAD", bad)
			e.Setenv("WEIR_OLD", old.URL)
			e.Setenv("WEIR_DOORS", plain.URL)
			e.Setenv("WEIR_DOORS_TLS", secured.URL)
			e.Setenv("KEY", doorsKey)
			e.Setenv("CA", ca)
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // the detector waits a second by default
			return nil
		},
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
	})
}

// nothing is a store that has committed nothing.
type nothing struct{}

func (nothing) Commits(uint64) iter.Seq2[store.Commit, error] {
	return func(func(store.Commit, error) bool) {}
}

// account is a ledger in which each kind of end occurs.
func account(t *testing.T, at, now time.Time, unaccounted bool) *ledger.Ledger {
	t.Helper()
	dir, err := vfs.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	clock := at.Add(-time.Hour)
	l := ledger.New(ledger.Options{Now: func() time.Time { return clock }}, slog.New(slog.DiscardHandler))
	if err := l.Open(dir, "s", 0, nothing{}); err != nil {
		t.Fatal(err)
	}
	src := &capturev1.Source{Cluster: "c", Namespace: "n", App: "shop", Pod: "pod-1", ProxyId: "pod-1", Epoch: make([]byte, 16)}
	l.Commit(store.Commit{At: at.UnixNano(), Next: 1, Head: &capturev1.FrameHead{
		Source: src, EpochStarted: at.Add(-time.Minute).UnixNano(), BatchSeq: 1, FirstPairSeq: 1, Received: 10, Pairs: 4,
		Filtered: map[string]uint32{"health": 4}, Dropped: map[string]uint32{"fault": 2},
		TimeMin: at.UnixNano(), TimeMax: at.Add(time.Second).UnixNano(),
		Counters: &capturev1.Counters{Seen: 20, Batched: 10, Sampled: 3, Dropped: map[string]uint64{"memory": 5}},
	}})
	for range 5 {
		clock = clock.Add(time.Second)
		state, acked := capturev1.ProxyStatus_STATE_REAPED, uint64(10)
		if unaccounted {
			acked = 12
		}
		l.Observe([]ledger.Forwarder{{Connected: true, Status: &capturev1.ForwarderStatus{
			ForwarderId: "f1", Cluster: "c", Now: now.UnixNano(), Started: 1,
			Proxies: []*capturev1.ProxyStatus{{
				Source: src, State: state, EpochStarted: at.Add(-time.Minute).UnixNano(), LastSeen: at.UnixNano(), Ended: at.Add(45 * time.Second).UnixNano(),
				Counters: &capturev1.Counters{Seen: 24, Batched: 14, Acked: acked, Sampled: 3, Dropped: map[string]uint64{"memory": 5}},
			}},
		}}})
	}
	return l
}

func fill(t *testing.T, st *memstore.Store, at time.Time) {
	t.Helper()
	pair := func(n int, method, path string, status int32, respHead, respBody string) *capturev1.RRPair {
		id := make([]byte, 16)
		copy(id, []byte{0x01, 0x99, 0x7b, 0x2c, 0x6d, 0x3f, 0x7c, 0x44, 0x9d, 0x6e})
		binary.BigEndian.PutUint32(id[12:], uint32(n))
		first := at.Add(time.Duration(n) * time.Second).UnixNano()
		head := method + " " + path + " HTTP/1.1\r\nHost: shop.example\r\nX-Evil: \x1b]0;owned\x07\u202e\r\n\r\n"
		return &capturev1.RRPair{
			Id: id, Source: &capturev1.Source{App: "shop", Pod: "pod-1", Epoch: make([]byte, 16)},
			Protocol: "http", Client: "10.0.0.1:5000", Server: "127.0.0.1:8080", Seq: uint64(n),
			Method: method, Host: "shop.example", Path: path, Status: status,
			Timing:   &capturev1.Timing{RequestFirst: first, RequestLast: first + 1e5, ResponseFirst: first + 4e6, ResponseLast: first + 12e6},
			Request:  &capturev1.Message{Head: []byte(head), WireSize: uint64(len(head))},
			Response: &capturev1.Message{Head: []byte(respHead), Body: []byte(respBody), BodySize: uint64(len(respBody))},
		}
	}
	ok := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
	lost := pair(4, "GET", "/gone", 0, "", "")
	lost.Response, lost.Error, lost.Flags = nil, "reset by server", []capturev1.Flag{capturev1.Flag_FLAG_NO_RESPONSE}
	lost.Timing.ResponseFirst, lost.Timing.ResponseLast = 0, 0
	pairs := []*capturev1.RRPair{
		pair(1, "GET", "/cart/1", 200, ok, "{\"a\": 1}\n"),
		pair(2, "POST", "/pay", 503, "HTTP/1.1 503 Busy\r\n\r\n", "card declined \x1b[31mred\r\n"),
		pair(3, "GET", "/img", 200, ok, "\x89PNG\x00\xff"),
		lost,
	}
	for i, p := range pairs {
		p.ProxySeq = uint64(i + 1)
	}
	head, body, err := frame.Make(&capturev1.FrameHead{
		Source: &capturev1.Source{ProxyId: "pod-1", Epoch: make([]byte, 16)}, BatchSeq: 1, FirstPairSeq: 1, Received: uint32(len(pairs)),
	}, pairs)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Append(t.Context(), store.ID{1}, []*capturev1.Frame{{Offset: 0, NextOffset: 1, Head: head, Body: body}}); err != nil {
		t.Fatal(err)
	}
}

func TestExitStatus(t *testing.T) {
	programs := cli.Programs{
		Up:   func(context.Context, cli.IO, cli.Up) error { return errors.New("failed") },
		Demo: func(context.Context, cli.IO, cli.Demo) error { return nil },
	}
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"demo"}, daemon.ExitOK},
		{[]string{"--help"}, daemon.ExitOK},
		{[]string{"up", "--to", "x:1"}, daemon.ExitFailed},
		{[]string{"query", "--url", "http://127.0.0.1:1"}, daemon.ExitFailed},
		{[]string{"up"}, daemon.ExitUsage},
		{[]string{"nonsense"}, daemon.ExitUsage},
		{[]string{"export", "--format", "pcap"}, daemon.ExitUsage},
		{[]string{"import", "file"}, daemon.ExitUsage},
		{[]string{"query", "--limit", "0"}, daemon.ExitUsage},
	} {
		if got := cli.Run(t.Context(), c.args, cli.IO{Out: io.Discard, Err: io.Discard}, programs); got != c.want {
			t.Errorf("weir %v: status %d, want %d", c.args, got, c.want)
		}
	}
}
