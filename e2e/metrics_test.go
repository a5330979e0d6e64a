package e2e

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// TestMetrics reads the metrics of the programs that have some, after traffic:
// they follow Prometheus's conventions, and nothing of a request is in a label.
func TestMetrics(t *testing.T) {
	t.Parallel()
	book := ledger.NewBook()
	s := harness.NewStack(t, bins, load.Backend(t, book))
	port := harness.Port(t)
	s.ProxyEnv["METRICS_HTTP_ENABLE"], s.ProxyEnv["METRICS_HTTP_PORT"] = "true", strconv.Itoa(port)
	s.StartAll()
	var plan load.Plan
	for range 20 {
		plan.Add("GET", "/some-path/{id}?secret=1", nil)
	}
	for _, c := range load.Go(t.Context(), s.Front(), plan.Requests, 2) {
		if c.Err != "" {
			t.Fatal(c.Err)
		}
	}
	stored(t, s, len(plan.Requests))
	api := ledger.NewAnalyzer(s.Viewer())
	api.HTTP.Timeout = 10 * time.Second
	proxy := &ledger.Analyzer{URL: "http://" + harness.Addr(port), HTTP: &http.Client{Timeout: 10 * time.Second}}
	for name, from := range map[string]*ledger.Analyzer{"goproxy": proxy, "analyzer": api} {
		text, err := from.Get(t.Context(), "/metrics")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		problems, err := promlint.New(bytes.NewReader(text)).Lint()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range problems {
			if strings.HasPrefix(p.Metric, "weir_") { // the others are the library's
				t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
			}
		}
		series := 0
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "weir_") {
				series++
			}
			if strings.Contains(line, "some-path") || strings.Contains(line, "secret") || ledger.FindID(line) != "" {
				t.Errorf("%s: a label has something of a request: %s", name, line)
			}
		}
		if series < 20 {
			t.Errorf("%s has %d series", name, series)
		}
	}
}
