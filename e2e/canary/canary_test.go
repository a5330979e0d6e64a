package canary

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/load"
)

var seed = flag.Uint64("seed", 1, "of the secrets")

// bins is set once, before any test.
var bins *harness.Bins

func TestMain(m *testing.M) { harness.Main(m, "canary", &bins) }

// echo answers a request with its own body, type and coding, and a header of
// its own with the same secrets.
func echo(t *testing.T) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b, err := io.ReadAll(r.Body); err == nil {
			load.Echo(w, r, b)
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// send is Send for those who do not look at the answer.
func send(addr string, r *Request) error {
	_, err := Send(addr, r, 20*time.Second)
	return err
}

// TestS02Sweep is the sweep.
func TestS02Sweep(t *testing.T) {
	secrets, places := Secrets(*seed), Places()
	s := harness.NewStack(t, bins, echo(t))
	metrics, diagnostics := harness.Port(t), harness.Port(t)
	for k, v := range map[string]string{
		"LOG_LEVEL": "debug", "METRICS_HTTP_ENABLE": "true", "METRICS_HTTP_PORT": strconv.Itoa(metrics),
		"DIAGNOSTICS_ADDR": harness.Addr(diagnostics), "DIAGNOSTICS_PPROF": "on", "CAPTURE_SPOOL_DIR": filepath.Join(s.Dir, "ring"),
	} {
		s.ProxyEnv[k] = v
	}
	s.ForwarderEnv["LOG_LEVEL"], s.ForwarderEnv["DLP_CONFIG"], s.ForwarderEnv["DLP_KEY"] = "debug", "standard", "AAECAwQFBgcICQoLDA0ODw=="
	s.AnalyzerEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	sent := 0
	for _, p := range places {
		for _, secret := range secrets {
			r := p.Of(secret)
			if r == nil {
				continue
			}
			if err := send(harness.Addr(s.ProxyPort), r); err != nil {
				t.Fatalf("send %s in %s: %v", secret.Kind, p.Name, err)
			}
			sent++
		}
	}
	ids := stored(t, s, sent)
	h := NewHunter(t, secrets)
	// What the programs answer.
	for _, u := range append([]string{
		"/metrics", "/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/fields", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/ledger", "/api/v1/doctor",
		"/api/v1/stats/histogram", "/api/v1/stats/facets", "/api/v1/stats/endpoints", "/api/v1/stats/map",
		"/api/v1/stats/errors?client_errors=1", "/api/v1/stats/heatmap", "/api/v1/stats/difference?in=status:2xx",
		"/api/v1/export?format=har", "/api/v1/export?format=jsonl", "/api/v1/export?format=curl", "/api/v1/export?format=rrpair",
		"/api/v1/fields/path/values", "/api/v1/fields/query/values", "/api/v1/fields/host/values",
	}, PairURLs(ids)...) {
		h.Get(s.Viewer() + u)
	}
	h.Get("http://" + harness.Addr(metrics) + "/metrics")
	for _, u := range []string{"/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		h.Get("http://" + harness.Addr(diagnostics) + u)
	}
	// What they print when they die.
	for _, p := range []*harness.Proc{s.Proxy, s.Forwarder, s.Analyzer} {
		p.Signal(syscall.SIGQUIT)
		p.Wait(20 * time.Second)
	}
	h.Dir(s.Dir)
	if h.Frames == 0 {
		t.Error("no packed frame was found in any file: nothing was looked into")
	}
	t.Logf("%d secrets in %d places, %d requests; %d answers and %d files with %d MiB looked through: %d hits", len(secrets), len(places), sent, h.Answers, h.Files, h.Bytes>>20, h.Hits)
}

// stored waits until as many pairs are stored as were sent, and lists them.
func stored(t *testing.T, s *harness.Stack, want int) (ids []string) {
	t.Helper()
	harness.Poll(t, time.Minute, "all pairs", func() error {
		ids = ids[:0]
		for cursor := ""; ; {
			resp, err := http.Get(s.Viewer() + "/api/v1/pairs?limit=1000" + cursor)
			if err != nil {
				return err
			}
			var page struct {
				Pairs []struct{ ID string } `json:"pairs"`
				Next  string                `json:"next_cursor"`
			}
			err = json.NewDecoder(resp.Body).Decode(&page)
			_ = resp.Body.Close()
			if err != nil {
				return err
			}
			for _, p := range page.Pairs {
				ids = append(ids, p.ID)
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + page.Next
		}
		if len(ids) < want {
			return fmt.Errorf("%d of %d", len(ids), want)
		}
		return nil
	})
	return ids
}
