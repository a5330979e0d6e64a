package goproxy

import (
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

// emitted counts pairs that are over, by protocol. Its keys never change, so
// that it is safe for concurrent use.
type emitted map[string]*atomic.Uint64

// otherProtocol is what is counted together.
const otherProtocol = "other"

func newEmitted(known []protocol.Protocol) emitted {
	e := emitted{otherProtocol: new(atomic.Uint64)}
	for _, k := range known {
		e[k.Name] = new(atomic.Uint64)
	}
	return e
}

func (e emitted) count(name string) {
	n := e[name]
	if n == nil {
		n = e[otherProtocol]
	}
	n.Add(1)
}

// counts are the protocols that occurred.
func (e emitted) counts() map[string]uint64 {
	m := make(map[string]uint64)
	for name, n := range e {
		if n := n.Load(); n > 0 {
			m[name] = n
		}
	}
	return m
}

// emit takes a pair that is over, as pair.Settings.Emit says.
func (p *Proxy) emit(rr *capturev1.RRPair, rest [2][][]byte, held int64) {
	p.emitted.count(rr.Protocol)
	p.shipper.Add(rr, rest, held)
}

// metrics serves the proxy's counts in Prometheus's format. Every label has a
// short, fixed list of values.
func (p *Proxy) metrics() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newCollector(p))
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// collector reads what is counted anyway, when it is asked.
type collector struct {
	p     *Proxy
	descs []*prometheus.Desc
	read  []func(desc *prometheus.Desc, out chan<- prometheus.Metric)
}

func newCollector(p *Proxy) *collector {
	c := &collector{p: p}
	add := func(name, help string, kind prometheus.ValueType, value func() float64) {
		c.descs = append(c.descs, prometheus.NewDesc("weir_goproxy_"+name, help, nil, nil))
		c.read = append(c.read, func(d *prometheus.Desc, out chan<- prometheus.Metric) {
			out <- prometheus.MustNewConstMetric(d, kind, value())
		})
	}
	labelled := func(name, help, label string, values func() map[string]uint64) {
		c.descs = append(c.descs, prometheus.NewDesc("weir_goproxy_"+name, help, []string{label}, nil))
		c.read = append(c.read, func(d *prometheus.Desc, out chan<- prometheus.Metric) {
			for word, n := range values() {
				out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), word)
			}
		})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	l := &p.ledger
	add("connections_open", "Connections that are open now.", gauge, func() float64 { return float64(p.conns.len()) })
	add("connections_accepted_total", "Connections accepted.", counter, func() float64 { return float64(l.ConnsAccepted.Load()) })
	add("connections_failed_total", "Connections whose upstream could not be dialled.", counter, func() float64 { return float64(l.ConnsFailed.Load()) })
	labelled("connections_detected_total", "Connections by detected protocol.", "protocol", p.observer.Protocols)
	labelled("bytes_total", "Bytes carried.", "direction", func() map[string]uint64 {
		return map[string]uint64{"client_to_server": l.ClientToServer.Load(), "server_to_client": l.ServerToClient.Load()}
	})
	add("pairs_seen_total", "Pairs begun.", counter, func() float64 { return float64(l.Pairs().Seen) })
	labelled("pairs_captured_total", "Pairs that are over and were captured, by protocol.", "protocol", p.emitted.counts)
	add("pairs_batched_total", "Pairs that entered a batch.", counter, func() float64 { return float64(l.Pairs().Batched) })
	add("pairs_waiting", "Pairs that wait for the forwarder, in memory or in the ring on disk.", gauge, func() float64 { return float64(l.Pairs().Waiting) })
	add("pairs_sampled_total", "Pairs left out by sampling.", counter, func() float64 { return float64(l.Pairs().Sampled) })
	add("pairs_acked_total", "Pairs that the forwarder acknowledged.", counter, func() float64 { return float64(l.Acked.Load()) })
	labelled("pairs_dropped_total", "Pairs lost, by reason.", "reason", func() map[string]uint64 {
		all := l.Pairs().Dropped
		for _, word := range ledger.Reasons() {
			all[word] += 0 // a reason that did not occur is a zero, not a hole
		}
		return all
	})
	add("bodies_shed_total", "Pairs whose bodies were shortened or let go for memory.", counter, func() float64 { return float64(l.BodiesShed.Load()) })
	labelled("decoder_failures_total", "Connections that were not decoded to their end, by reason; they were carried as opaque.", "reason", l.Failures)
	add("capture_faults_total", "Faults of capture; the connection went on uncaptured.", counter, func() float64 { return float64(l.Faults.Load()) })
	add("capture_memory_bytes", "Bytes that capture holds.", gauge, func() float64 { return float64(p.budget.Used()) })
	add("capture_memory_limit_bytes", "Bytes that capture may hold.", gauge, func() float64 { return float64(p.budget.Limit()) })
	add("capture_on", "1 while capture is on.", gauge, func() float64 {
		if p.observer.Capture() {
			return 1
		}
		return 0
	})
	add("sample_keep_one_in", "One connection in so many is captured.", gauge, func() float64 { return float64(p.sampler.KeepOneIn()) })
	add("ring_bytes", "Bytes in the ring on disk.", gauge, func() float64 { used, _ := p.shipper.Ring(); return float64(used) })
	add("ring_limit_bytes", "Bytes that the ring on disk may take; 0 without one.", gauge, func() float64 { _, limit := p.shipper.Ring(); return float64(limit) })
	add("send_lag_seconds", "For how long the oldest batch has waited for the forwarder's acknowledgement.", gauge, func() float64 { return p.shipper.Lag().Seconds() })
	add("batches_unacked", "Batches that wait for the forwarder's acknowledgement.", gauge, func() float64 { return float64(p.shipper.Parcels()) })
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	for i, d := range c.descs {
		c.read[i](d, out)
	}
}
