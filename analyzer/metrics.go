package analyzer

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-capture/weir/analyzer/ingest"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store/segstore"
)

// collector reads the counters of store and ingest when it is asked.
type collector struct {
	store  *segstore.Store
	ingest *ingest.Server
}

func newCollector(st *segstore.Store, in *ingest.Server) prometheus.Collector {
	return &collector{st, in}
}

// metric is one number, without labels.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	value      float64
}

func (c *collector) metrics() []metric {
	s, i := c.store.Counters(), c.ingest.Counters()
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	return []metric{
		{"weir_store_frames_total", "Frames stored since the start.", counter, float64(s.Frames)},
		{"weir_store_pairs_total", "Pairs stored since the start.", counter, float64(s.Pairs)},
		{"weir_store_duplicates_total", "Batches that had come by another spool, and were not stored again.", counter, float64(s.Duplicates)},
		{"weir_store_unreadable_total", "Frames that are stored and cannot be opened.", counter, float64(s.Unreadable)},
		{"weir_store_damaged_records_total", "Damaged stretches of the log that were met while indexing.", counter, float64(s.DamagedRecords)},
		{"weir_store_damaged_pairs_total", "Pairs known to be in damaged records.", counter, float64(s.DamagedPairs)},
		{"weir_index_rebuilds_total", "Times that the index was begun anew.", counter, float64(s.IndexRebuilds)},
		{"weir_index_backlog_pairs", "Pairs that are stored and not indexed yet.", gauge, float64(s.Backlog)},
		{"weir_ingest_frames_total", "Frames received since the start.", counter, float64(i.Frames)},
		{"weir_ingest_bytes_total", "Bytes of frames received since the start.", counter, float64(i.Bytes)},
		{"weir_ingest_refused_total", "Streams of forwarders that were refused.", counter, float64(i.Refused)},
		{"weir_ingest_streams", "Streams of forwarders open now.", gauge, float64(i.Streams)},
	}
}

func (m metric) desc() *prometheus.Desc { return prometheus.NewDesc(m.name, m.help, nil, nil) }

// turnedAway counts those whom the ingest port did not let in. The reasons are
// a few fixed words.
var turnedAway = prometheus.NewDesc("weir_ingest_turned_away_total",
	"Connections and streams that the ingest port did not let in, by reason.", []string{"reason"}, nil)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics() {
		ch <- m.desc()
	}
	ch <- turnedAway
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.metrics() {
		ch <- prometheus.MustNewConstMetric(m.desc(), m.kind, m.value)
	}
	for reason, n := range c.ingest.Counters().TurnedAway {
		ch <- prometheus.MustNewConstMetric(turnedAway, prometheus.CounterValue, float64(n), reason)
	}
}

// ledgerCollector gives the sum of all apps. Reasons are words of programs,
// few and fixed; rules and apps are the users', so they are no labels.
type ledgerCollector struct {
	ledger                                                            *ledger.Ledger
	seen, stored, filtered, sampled, dropped, inFlight, unknown, lost *prometheus.Desc
}

func newLedgerCollector(l *ledger.Ledger) prometheus.Collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("weir_ledger_"+name, help, labels, nil)
	}
	return &ledgerCollector{
		ledger:   l,
		seen:     desc("seen_pairs", "Pairs that proxies have seen, since counting began."),
		stored:   desc("stored_pairs", "Pairs that were stored, those included that retention has removed."),
		filtered: desc("filtered_pairs", "Pairs that filters left out."),
		sampled:  desc("sampled_pairs", "Pairs that sampling left out."),
		dropped:  desc("dropped_pairs", "Pairs that were lost, by where and why.", "hop", "reason"),
		inFlight: desc("in_flight_pairs", "Pairs on their way."),
		unknown:  desc("unknown_pairs", "Pairs that were lost with proxies that died, at most."),
		lost:     desc("unaccounted_pairs", "Pairs that are missing without a reason: above 0 there is a mistake."),
	}
}

// Describe implements prometheus.Collector.
func (c *ledgerCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.seen, c.stored, c.filtered, c.sampled, c.dropped, c.inFlight, c.unknown, c.lost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. All are gauges: what was taken for
// lost may come after all.
func (c *ledgerCollector) Collect(ch chan<- prometheus.Metric) {
	t := c.ledger.Totals()
	var filtered uint64
	for _, n := range t.Filtered {
		filtered += n
	}
	gauge := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(c.seen, t.Seen)
	gauge(c.stored, t.Stored)
	gauge(c.filtered, filtered)
	gauge(c.sampled, t.Sampled)
	for d, n := range t.Dropped {
		gauge(c.dropped, n, d.Hop, d.Reason)
	}
	gauge(c.inFlight, t.InFlight)
	gauge(c.unknown, t.Unknown)
	gauge(c.lost, t.Unaccounted)
}
