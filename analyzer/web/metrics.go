package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weir-capture/weir/analyzer/store"
)

// metrics are those of this process, of its HTTP side and of the store. Labels
// only take values from fixed sets: routes, not paths.
type metrics struct {
	registry    *prometheus.Registry
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	tailDropped prometheus.Counter
	cspReports  prometheus.Counter
}

func newMetrics(st store.Reader, more []prometheus.Collector, tails func() float64) (*metrics, error) {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_http_requests_total", Help: "HTTP requests answered, by route and status.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_http_request_seconds", Help: "Time to answer a request, by route; tails and transfers are not in it.",
			Buckets: []float64{.001, .005, .01, .05, .1, .3, 1, 3, 10, 30},
		}, []string{"route"}),
		tailDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "weir_tail_dropped_pairs_total", Help: "Pairs that readers of a live tail were too slow for. They are stored.",
		}),
	}
	m.cspReports = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "weir_csp_reports_total", Help: "Reports of browsers that the viewer's content security policy stopped something.",
	})
	all := append([]prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.requests, m.seconds, m.tailDropped, m.cspReports,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weir_tails", Help: "Live tails open now."}, tails),
		newStoreCollector(st),
	}, more...)
	for _, c := range all {
		if err := m.registry.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4, Timeout: 10 * time.Second, Registry: m.registry,
	})
}

// instrument counts what next answers, by the route of mux.
func (m *metrics) instrument(mux *http.ServeMux, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, route := mux.Handler(r)
		if route == "" {
			route = "none"
		}
		began := time.Now()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		next.ServeHTTP(rec, r)
		m.requests.WithLabelValues(route, strconv.Itoa(rec.code)).Inc()
		if r.URL.Path != tailPath && r.URL.Path != exportPath && r.URL.Path != importPath && r.URL.Path != backupPath {
			m.seconds.WithLabelValues(route).Observe(time.Since(began).Seconds())
		}
	})
}

// recorder remembers the status. http.ResponseController reaches through it.
type recorder struct {
	http.ResponseWriter
	code  int
	wrote bool
}

func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	if !r.wrote && code >= 200 {
		r.code, r.wrote = code, true
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.wrote = true
	return r.ResponseWriter.Write(b)
}

// storeCollector asks the store when it is scraped.
type storeCollector struct {
	store                        store.Reader
	up, pairs, bytes, old, newer *prometheus.Desc
}

func newStoreCollector(st store.Reader) *storeCollector {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	return &storeCollector{
		store: st,
		up:    desc("weir_store_up", "1 when the store answers."),
		pairs: desc("weir_store_pairs", "Pairs stored."),
		bytes: desc("weir_store_bytes", "Bytes that the store takes."),
		old:   desc("weir_store_oldest_seconds", "Time of the oldest pair, Unix seconds; 0 when there is none."),
		newer: desc("weir_store_newest_seconds", "Time of the newest pair, Unix seconds; 0 when there is none."),
	}
}

func (c *storeCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.pairs, c.bytes, c.old, c.newer} {
		ch <- d
	}
}

func (c *storeCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	x, err := c.store.Extent(ctx)
	if err != nil {
		gauge(c.up, 0)
		return
	}
	gauge(c.up, 1)
	gauge(c.pairs, float64(x.Pairs))
	gauge(c.bytes, float64(x.Bytes))
	gauge(c.old, float64(x.Oldest)/1e9)
	gauge(c.newer, float64(x.Newest)/1e9)
}
