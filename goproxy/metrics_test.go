package goproxy

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/weir-capture/weir/protocol"
)

// TestMetricsFollowTheConventions of Prometheus: base units, suffixes, help.
func TestMetricsFollowTheConventions(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), nil)
	fetch(t, client(t), "GET", b.url("/echo/1"), nil)
	b.pairs(1)
	reg := prometheus.NewRegistry()
	if err := reg.Register(newCollector(b.Proxy)); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	byName := map[string]*dto.MetricFamily{}
	for _, f := range families {
		byName[f.GetName()] = f
	}
	for _, name := range []string{
		"connections_open", "connections_accepted_total", "bytes_total", "pairs_captured_total", "pairs_dropped_total",
		"pairs_waiting", "batches_unacked", "send_lag_seconds", "decoder_failures_total",
	} {
		if byName["weir_goproxy_"+name] == nil {
			t.Errorf("there is no %s", name)
		}
	}
	captured := byName["weir_goproxy_pairs_captured_total"].GetMetric()
	if len(captured) != 1 || captured[0].GetLabel()[0].GetValue() != "http" || captured[0].GetCounter().GetValue() != 1 {
		t.Errorf("%v", captured)
	}
}

// TestEveryLabelIsBounded: a name that nobody knows has no series of its own.
func TestEveryLabelIsBounded(t *testing.T) {
	e := newEmitted([]protocol.Protocol{{Name: "http"}})
	for _, name := range []string{"http", "http", "GET /secret", "", strings.Repeat("x", 1000)} {
		e.count(name)
	}
	if got := e.counts(); len(got) != 2 || got["http"] != 2 || got[otherProtocol] != 3 {
		t.Errorf("%v", got)
	}
}

// TestSendLag grows while no forwarder takes anything, and is over when one
// did.
func TestSendLag(t *testing.T) {
	srv := app(t)
	b := start(t, srv.Listener.Addr().String(), func(c *Config) { c.Forwarder = deadAddr(t) })
	lag := func() time.Duration { return b.shipper.Lag() }
	if lag() != 0 {
		t.Errorf("nothing waits, for %v", lag())
	}
	fetch(t, client(t), "GET", b.url("/echo/1"), nil)
	eventually(t, "a batch waits", func() bool { return lag() > 0 })
	first := lag()
	eventually(t, "it waits on", func() bool { return lag() > first+50*time.Millisecond })
}
