package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// slow starts a request that takes about five seconds and waits until the
// server is at it.
func slow(t *testing.T, s *harness.Stack) (load.Request, <-chan ledger.Call) {
	t.Helper()
	var p load.Plan
	r := *p.Add("GET", "/slow/noise.bin?id={id}", nil, "Connection", "close")
	done := make(chan ledger.Call, 1)
	go func() { done <- load.Go(t.Context(), s.Front(), []load.Request{r}, 1)[0] }()
	s.Proxy.WaitMessage(10*time.Second, "HTTP REQUEST")
	return r, done
}

func refused(port int) error {
	c, err := net.DialTimeout("tcp", harness.Addr(port), time.Second)
	if err != nil {
		return nil
	}
	c.Close()
	return fmt.Errorf("port %d still takes connections", port)
}

// TestTerminate: SIGTERM lets what is in flight finish, takes nothing new,
// ships what was captured, and ends with status 0. Then the forwarder and the
// analyzer end the same way, and the pair is there when the analyzer comes
// back.
func TestTerminate(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	_, done := slow(t, s)
	s.Proxy.Signal(syscall.SIGTERM)
	harness.Poll(t, 3*time.Second, "new connections are refused", func() error { return refused(s.ProxyPort) })
	if !s.Proxy.Running() {
		t.Fatalf("the proxy ended with a request in flight:\n%s", s.Proxy.Log())
	}
	c := <-done
	if c.Err != "" || c.Status != 200 || c.In.Size != 200_000 {
		t.Errorf("the request in flight got status %d, %d bytes, %s", c.Status, c.In.Size, c.Err)
	}
	start := time.Now()
	if code := s.Proxy.Wait(15 * time.Second); code != 0 {
		t.Errorf("goproxy ended with status %d:\n%s", code, s.Proxy.Log())
	}
	t.Logf("goproxy ended %v after its last response", time.Since(start))
	for _, p := range []*harness.Proc{s.Forwarder, s.Analyzer} {
		start := time.Now()
		if code := p.Stop(20 * time.Second); code != 0 {
			t.Errorf("%s ended with status %d:\n%s", p.Name, code, p.Log())
		}
		t.Logf("%s ended after %v", p.Name, time.Since(start))
	}
	s.StartAnalyzer()
	s.StartForwarder()
	s.StartProxy()
	s.WaitRegistered()
	check(t, []ledger.Call{c}, harness.Settle(t, nginx.Served, 1), stored(t, s, 1))
}

// TestTerminateWithIdleConnection: a connection that a client keeps for later
// does not hold the proxy up for longer than DRAIN_TIMEOUT.
func TestTerminateWithIdleConnection(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["DRAIN_TIMEOUT"] = "2s"
	s.StartAll()
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	var p load.Plan
	p.Add("GET", "/echo?id={id}", nil)
	if c := load.One(t.Context(), client, s.Front(), p.Requests[0]); c.Err != "" {
		t.Fatal(c.Err)
	}
	start := time.Now()
	if code := s.Proxy.Stop(10 * time.Second); code != 0 {
		t.Errorf("goproxy ended with status %d:\n%s", code, s.Proxy.Log())
	}
	t.Logf("goproxy ended after %v", time.Since(start))
}

// TestSecondSignal ends the proxy at once.
func TestSecondSignal(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	_, done := slow(t, s)
	s.Proxy.Signal(syscall.SIGTERM)
	harness.Poll(t, 3*time.Second, "new connections are refused", func() error { return refused(s.ProxyPort) })
	start := time.Now()
	s.Proxy.Signal(syscall.SIGTERM)
	if code := s.Proxy.Wait(2 * time.Second); code == 0 {
		t.Error("goproxy says that all went well with a request cut off")
	}
	t.Logf("goproxy ended %v after the second signal", time.Since(start))
	if c := <-done; c.Err == "" {
		t.Error("the request in flight was whole after all")
	}
}

// TestKillSwitch: SIGUSR1 turns capture off and on again; traffic goes on.
func TestKillSwitch(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	diagnostics := harness.Addr(harness.Port(t))
	s.ProxyEnv["DIAGNOSTICS_ADDR"] = diagnostics
	s.StartAll()
	// A connection that is still open when the switch turns is seen in its
	// middle, and is a pair of its own.
	rest := func() {
		t.Helper()
		harness.Poll(t, 10*time.Second, "no open connection", func() error {
			resp, err := http.Get("http://" + diagnostics)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var now struct{ Connections []struct{} }
			if err := json.NewDecoder(resp.Body).Decode(&now); err != nil {
				return err
			}
			if n := len(now.Connections); n > 0 {
				return fmt.Errorf("%d are open", n)
			}
			return nil
		})
	}
	ask := func() ledger.Call {
		t.Helper()
		defer rest()
		var p load.Plan
		p.Add("GET", "/echo?id={id}", nil)
		c := load.Go(t.Context(), s.Front(), p.Requests, 1)[0]
		if c.Err != "" {
			t.Fatal(c.Err)
		}
		return c
	}
	toggle := func() {
		t.Helper()
		n := len(s.Proxy.Lines())
		s.Proxy.Signal(syscall.SIGUSR1)
		harness.Poll(t, 5*time.Second, "a line about the switch", func() error {
			if len(s.Proxy.Lines()) == n {
				return fmt.Errorf("none")
			}
			return nil
		})
	}
	kept := []ledger.Call{ask()}
	toggle()
	off := ask()
	toggle()
	kept = append(kept, ask())
	pairs := stored(t, s, len(kept))
	for _, p := range pairs {
		if p.ID == off.ID {
			t.Error("a request was captured while capture was off")
		}
	}
	served := harness.Settle(t, nginx.Served, 4)
	var mine []ledger.Served
	for _, sv := range served {
		if sv.ID != off.ID {
			mine = append(mine, sv)
		}
	}
	check(t, kept, mine, pairs)
}
