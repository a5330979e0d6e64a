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

// TestR12: each program in turn is stopped (SIGSTOP), so that its connections
// stay open and nobody answers on them, and goes on later. Only while goproxy
// itself is stopped does the application's traffic stand still, as it must.
func TestR12(t *testing.T) {
	for _, victim := range []string{"forwarder", "analyzer", "goproxy"} {
		t.Run(victim, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, scale(90*time.Second, 3*time.Minute))
			r.StartAll()
			p := map[string]*harness.Proc{"forwarder": r.Forwarder, "analyzer": r.Analyzer, "goproxy": r.Proxy}[victim]
			stop := r.load(scale(100, 200)).Background(t, r.book)
			r.pause(time.Second)
			// A process that is stopped can still be killed, so the test's end
			// leaves none behind.
			p.Signal(syscall.SIGSTOP)
			away := scale(5*time.Second, 30*time.Second)
			r.pause(away)
			p.Signal(syscall.SIGCONT)
			r.pause(2 * time.Second)
			stop()
			r.settle(time.Minute)
			note := "no client noticed"
			if victim == "goproxy" {
				// A client's own deadline may have passed meanwhile.
				note = fmt.Sprintf("the traffic itself stood still: %d clients gave up", r.book.Count(ledger.Failed)+r.book.Count(ledger.Refused))
			} else {
				r.noErrors()
			}
			r.enough(scale(200, 400))
			a := r.account(ledger.Rules{})
			r.report(fmt.Sprintf("R12 SIGSTOP of the %s for %v", victim, away), a, "%s", note)
		})
	}
}

// TestR16: what is durable is not acknowledged, because the answer is lost on
// its way and then the connection too. It is sent again, and there once.
func TestR16(t *testing.T) {
	for _, hop := range []string{"between goproxy and forwarder", "between forwarder and analyzer"} {
		t.Run(strings.ReplaceAll(hop, " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, scale(90*time.Second, 3*time.Minute))
			var c *harness.Cutter
			if hop == "between goproxy and forwarder" {
				c = harness.StartCutter(t, r.ForwarderPort)
				r.ProxyEnv["FORWARDER_ADDR"] = harness.Addr(c.Port)
			} else {
				c = harness.StartCutter(t, r.IngestPort)
				r.ForwarderEnv["ANALYZER_ADDR"] = harness.Addr(c.Port)
			}
			r.StartAll()
			stop := r.load(scale(150, 300)).Background(t, r.book)
			cuts := scale(5, 30)
			for range cuts {
				r.pause(300*time.Millisecond + r.within(300*time.Millisecond))
				c.Deafen()
				// Long enough for batches to become durable.
				r.pause(200*time.Millisecond + r.within(800*time.Millisecond))
				c.Cut()
			}
			r.pause(time.Second)
			stop()
			r.settle(time.Minute)
			r.noErrors()
			r.enough(cuts * 50)
			a := r.account(ledger.Rules{})
			r.report(fmt.Sprintf("R16 acknowledgements lost %s, %d times", hop, cuts), a, "sent again, stored once")
		})
	}
}
