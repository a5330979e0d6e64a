package e2e

import (
	"strings"
	"testing"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestStartOrders: the three programs may come up in any order. Traffic flows
// from the moment that the proxy listens, whoever else is there, and all of
// it is in the analyzer in the end.
func TestStartOrders(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	for _, order := range [][]string{
		{"goproxy", "forwarder", "analyzer"},
		{"goproxy", "analyzer", "forwarder"},
		{"forwarder", "goproxy", "analyzer"},
		{"forwarder", "analyzer", "goproxy"},
		{"analyzer", "goproxy", "forwarder"},
		{"analyzer", "forwarder", "goproxy"},
	} {
		t.Run(strings.Join(order, "_"), func(t *testing.T) {
			s := harness.NewStack(t, bins, nginx.Port)
			start := map[string]func(){"goproxy": s.StartProxy, "forwarder": s.StartForwarder, "analyzer": s.StartAnalyzer}
			var calls []ledger.Call
			for _, program := range order {
				start[program]()
				if s.Proxy == nil {
					continue
				}
				var p load.Plan
				for range 10 {
					p.Add("GET", "/echo?id={id}", nil)
					p.Add("POST", "/echo?id={id}", noise(5_000, 9))
				}
				calls = append(calls, load.Go(t.Context(), s.Front(), p.Requests, 4)...)
			}
			s.WaitRegistered()
			// nginx serves all orders; only this one's requests count.
			mine := map[string]bool{}
			for _, c := range calls {
				mine[c.ID] = true
			}
			pairs := stored(t, s, len(calls))
			all, err := nginx.Served()
			if err != nil {
				t.Fatal(err)
			}
			var served []ledger.Served
			for _, sv := range all {
				if mine[sv.ID] {
					served = append(served, sv)
				}
			}
			check(t, calls, served, pairs)
		})
	}
}
