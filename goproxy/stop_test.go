package goproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/daemon"
)

// halt ends a proxy in the background.
func (b *bench) halt() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.stop(); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}()
	return done
}

// TestR31RequestsInFlightFinish: what was asked before the end is answered, what
// is captured is shipped, and the forwarder hears a goodbye.
func TestR31RequestsInFlightFinish(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	const n = 20
	var wg sync.WaitGroup
	for range n {
		c := client(t)
		wg.Go(func() {
			resp, err := c.Get(b.url("/slow"))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
				t.Errorf("%q %v", body, err)
			}
		})
	}
	eventually(t, "all are asked", func() bool { return b.ledger.Pairs().Seen == n })
	began := time.Now()
	done := b.halt()
	wg.Wait()
	<-done
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("took %v: connections that rest are closed at once", d)
	}
	if got := len(b.forwarder.Pairs()); got != n {
		t.Errorf("%d pairs were shipped", got)
	}
	hs := b.forwarder.Heartbeats()
	if len(hs) == 0 || !hs[len(hs)-1].Goodbye || hs[len(hs)-1].Counters.Acked != n {
		t.Error("no goodbye, or not after everything was acknowledged")
	}
	if _, err := net.DialTimeout("tcp", b.Addr().String(), time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("somebody listens still: %v", err)
	}
}

// TestR31AnIdleConnectionIsClosedAtOnce, and the client sees a FIN.
func TestR31AnIdleConnectionIsClosedAtOnce(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	silent, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	kept, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	fmt.Fprint(kept, "GET /echo/1 HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(kept)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	eventually(t, "both are open", func() bool { return b.conns.len() == 2 })
	began := time.Now()
	done := b.halt()
	for _, c := range []io.Reader{in, silent} {
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%d %v, want a FIN", n, err)
		}
	}
	<-done
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestR31BusyClientsSeeNoError: connections are closed behind a response, where a
// client that is done reading it sees the end before it asks again.
func TestR31BusyClientsSeeNoError(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.DrainDelay = 300 * time.Millisecond })
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		c := client(t)
		wg.Go(func() {
			for {
				fresh := true
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					GotConn: func(i httptrace.GotConnInfo) { fresh = !i.Reused },
				})
				req, err := http.NewRequestWithContext(ctx, "GET", b.url("/echo/1"), nil)
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := c.Do(req)
				if errors.Is(err, syscall.ECONNREFUSED) {
					return // it is gone, as it should be
				}
				// Where the system cannot turn new connections away before the
				// port closes, one of the very last moment may be reset.
				if fresh && b.stopping.Load() && errors.Is(err, syscall.ECONNRESET) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "1:" {
					t.Errorf("%q %v", body, err)
				}
				_ = resp.Body.Close()
			}
		})
	}
	eventually(t, "they are busy", func() bool { return b.ledger.Pairs().Seen > 100 })
	done := b.halt()
	eventually(t, "it is stopping", b.stopping.Load)
	// Within the delay new connections are served.
	if _, body := fetch(t, client(t), "GET", b.url("/echo/late"), nil); string(body) != "late:" {
		t.Errorf("%q", body)
	}
	go func() { wg.Wait(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("clients are served for ever")
	}
	<-done
	if l := b.ledger.Pairs(); uint64(len(b.forwarder.Pairs())) != l.Seen || l.Open != 0 {
		t.Errorf("%d pairs arrived of %+v", len(b.forwarder.Pairs()), l)
	}
}

// TestR31WhatDoesNotFinishIsCut after the timeout, and said to be.
func TestR31WhatDoesNotFinishIsCut(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.DrainTimeout = 300 * time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", b.url("/stream"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	began := time.Now()
	done := b.halt()
	_, err = io.Copy(io.Discard, resp.Body)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client sees %v, want a reset", err)
	}
	if d := time.Since(began); d < 300*time.Millisecond || d > 3*time.Second {
		t.Errorf("cut after %v", d)
	}
	<-done
	pairs := b.forwarder.Pairs()
	if len(pairs) != 1 || pairs[0].Error != "cut when the proxy stopped" || pairs[0].Status != 200 {
		t.Errorf("%v", pairs)
	}
}

// TestLogLines compares with the guide: the same messages, keys and order.
func TestLogLines(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	eventually(t, "it is registered", func() bool { return strings.Contains(b.log.String(), "Successfully registered") })
	fetch(t, client(t), "POST", b.url("/echo/product?secret=1"), bytes.NewReader([]byte("12345")))
	b.pairs(1)
	_ = b.stop()
	got := regexp.MustCompile(`"T":"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`).ReplaceAllString(b.log.String(), `"T":"…"`)
	got = regexp.MustCompile(`"duration":"[0-9.]+[nµm]?s"`).ReplaceAllString(got, `"duration":"…"`)
	got = regexp.MustCompile(`"remoteAddr":"127.0.0.1:\d+"`).ReplaceAllString(got, `"remoteAddr":"…"`)
	for from, to := range map[string]string{
		b.Addr().String(): "PROXY", srv.Listener.Addr().String(): "APP", b.cfg.Forwarder: "FORWARDER",
	} {
		got = strings.ReplaceAll(got, from, to)
	}
	const conn = `"remoteAddr":"…","directAddr":"APP","cid":0`
	want := `{"info":"INFO","T":"…","M":"START Weir Network Proxy","version":"v0.0.0-dev","buildTime":"unknown"}
{"info":"INFO","T":"…","M":"Starting proxy listener","network":"tcp","addr":"PROXY"}
{"info":"INFO","T":"…","M":"Reverse proxy upstream","addr":"APP"}
{"info":"INFO","T":"…","M":"Successfully connected to forwarder","addr":"FORWARDER"}
{"info":"DEBUG","T":"…","M":"Attempting to register with forwarder"}
{"info":"INFO","T":"…","M":"Successfully registered with forwarder","proxyID":"shop-1"}
{"info":"DEBUG","T":"…","M":"Connection established",` + conn + `}
{"info":"DEBUG","T":"…","M":"CheckProtocol duration",` + conn + `,"duration":"…"}
{"info":"DEBUG","T":"…","M":"Detected protocol",` + conn + `,"protocol":"HTTP"}
{"info":"DEBUG","T":"…","M":"ProxyAndDecode setup duration",` + conn + `,"duration":"…"}
{"info":"DEBUG","T":"…","M":"HTTP REQUEST",` + conn + `,"sequenceNum":0,"url":"/echo/product"}
{"info":"DEBUG","T":"…","M":"HTTP RESPONSE",` + conn + `,"sequenceNum":0,"responseLength":13}
{"info":"INFO","T":"…","M":"Stopping: connections in flight may finish","drainDelay":"0s","drainTimeout":"5s"}
{"info":"INFO","T":"…","M":"Stopped"}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestTheListenersAddress is the guide's ":4143" when it listens everywhere.
func TestTheListenersAddress(t *testing.T) {
	var log lockedBuffer
	cfg := config(t, deadAddr(t), deadAddr(t))
	cfg.ListenHost = ""
	p, err := New(cfg, slog.New(daemon.NewHandler(&log, daemon.Ordered, slog.LevelInfo)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Run(ctx); err != nil {
		t.Error(err)
	}
	if want := fmt.Sprintf(`"M":"Starting proxy listener","network":"tcp","addr":":%d"}`, p.listener.Addr().Port); !strings.Contains(log.String(), want) {
		t.Errorf("want %s in\n%s", want, log.String())
	}
}

// TestR31ReadinessFailsFirst: whoever balances the load is told before the
// proxy stops accepting, and what comes meanwhile is served.
func TestR31ReadinessFailsFirst(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { withDiagnostics(c); c.DrainDelay = time.Second })
	status := func(path string) int {
		resp, _ := fetch(t, client(t), "GET", b.diagnosticsURL(path), nil)
		return resp.StatusCode
	}
	if s := status("/readyz"); s != http.StatusOK {
		t.Errorf("ready: %d", s)
	}
	done := b.halt()
	eventually(t, "it says that it is not ready", func() bool { return status("/readyz") == http.StatusServiceUnavailable })
	if s := status("/healthz"); s != http.StatusOK {
		t.Errorf("alive, still: %d", s)
	}
	if _, body := fetch(t, client(t), "GET", b.url("/echo/late"), nil); string(body) != "late:" {
		t.Errorf("%q", body)
	}
	<-done
	if n := len(b.forwarder.Pairs()); n != 1 {
		t.Errorf("%d pairs were shipped", n)
	}
}
