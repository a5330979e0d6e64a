package fault

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// TestR30: a proxy that is stopped for a minute is reaped after 45 s, in real
// time, and registers again when it goes on. Nothing is lost.
func TestR30(t *testing.T) {
	long(t)
	t.Parallel()
	r := newRig(t, 4*time.Minute)
	r.StartAll()
	load := r.load(100)
	// Clients wait for the proxy, which carries their bytes when it goes on.
	load.Timeout = 2 * time.Minute
	stop := load.Background(t, r.book)
	r.pause(2 * time.Second)
	stopped := time.Now()
	r.Proxy.Signal(syscall.SIGSTOP)
	r.Forwarder.WaitLine(60*time.Second, "REAP", func(l harness.Line) bool {
		return strings.HasPrefix(l.Text(), "REAP proxy ID "+r.ProxyEnv["APP_POD_NAME"])
	})
	reaped := time.Since(stopped)
	// Its last heartbeat was up to a second old when it was stopped, and the
	// reaper looks once a second.
	if reaped < 43*time.Second || reaped > 47*time.Second {
		t.Errorf("it was reaped %v after it was stopped", reaped)
	}
	r.pause(time.Until(stopped.Add(60 * time.Second)))
	r.Proxy.Signal(syscall.SIGCONT)
	on := time.Now()
	harness.Poll(t, 5*time.Second, "the proxy is connected again", func() error {
		who, err := r.api.Proxies(t.Context())
		if err != nil {
			return err
		}
		for _, p := range who.Proxies {
			if p.State == "connected" {
				return nil
			}
		}
		return fmt.Errorf("%+v", who.Proxies)
	})
	again := time.Since(on)
	r.pause(2 * time.Second)
	stop()
	r.settle(time.Minute)
	r.noErrors()
	a := r.account(ledger.Rules{})
	if n := len(a.Ledger.Deaths); n > 0 {
		t.Errorf("the ledger keeps %d deaths of a proxy that lives", n)
	}
	r.report("R30 SIGSTOP of the proxy for 60 s", a, "reaped after %v, back %v after it went on", reaped.Round(100*time.Millisecond), again.Round(100*time.Millisecond))
}

// TestR30Duplicate: two proxies with one APP_POD_NAME are kept apart, and the
// forwarder warns.
func TestR30Duplicate(t *testing.T) {
	t.Parallel()
	r := newRig(t, time.Minute)
	r.StartAll()
	_, port := r.SecondProxy(r.upstream, r.ProxyEnv["APP_LABEL"], r.ProxyEnv["APP_POD_NAME"])
	second := r.load(100)
	second.Addr = harness.Addr(port)
	stop, stopSecond := r.load(100).Background(t, r.book), second.Background(t, r.book)
	r.Forwarder.WaitLine(10*time.Second, "a warning about the name that two proxies share", func(l harness.Line) bool {
		return strings.HasPrefix(l.Text(), "Several proxies have the same ID")
	})
	r.pause(3 * time.Second)
	stop()
	stopSecond()
	r.settle(30 * time.Second)
	r.noErrors()
	a := r.account(ledger.Rules{})
	who, err := r.api.Proxies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	epochs := map[string]uint64{}
	for _, p := range who.Proxies {
		epochs[p.Epoch] = p.Counters.Seen
	}
	if len(epochs) != 2 {
		t.Errorf("the analyzer shows %d proxies: %+v", len(epochs), who.Proxies)
	}
	for epoch, seen := range epochs {
		if seen == 0 {
			t.Errorf("the proxy %s has seen nothing", epoch)
		}
	}
	r.report("R30 two proxies with one APP_POD_NAME", a, "kept apart by epoch, with a warning")
}
