package canary

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// full is the long form, which make fault runs: every secret in every place
// in each state of the programs. The short one takes one of 24, and looks at the
// disks less often.
var full = os.Getenv("WEIR_FAULT") == "1"

// TestS02Faults is the sweep while programs are killed, stopped, away, and out
// of disk: what is kept, moved aside, told or printed then has no secret in it
// either.
func TestS02Faults(t *testing.T) {
	secrets, places := Secrets(*seed), Places()
	s := harness.NewStack(t, bins, echo(t))
	metrics := harness.Port(t)
	ring := filepath.Join(s.Dir, "ring")
	for k, v := range map[string]string{
		"LOG_LEVEL": "debug", "GOTRACEBACK": "all", "METRICS_HTTP_ENABLE": "true", "METRICS_HTTP_PORT": strconv.Itoa(metrics),
		// So little memory that what waits goes to the ring.
		"CAPTURE_SPOOL_DIR": ring, "CAPTURE_MEMORY_LIMIT": "2MiB",
	} {
		s.ProxyEnv[k] = v
	}
	for k, v := range map[string]string{"LOG_LEVEL": "debug", "GOTRACEBACK": "all", "DLP_CONFIG": "standard", "DLP_KEY": "AAECAwQFBgcICQoLDA0ODw=="} {
		s.ForwarderEnv[k] = v
	}
	if dir, err := harness.Tmpfs(t, 40<<20); err == nil {
		s.ForwarderEnv["SPOOL_DIR"] = filepath.Join(dir, "spool")
	} else {
		t.Logf("without a disk that is full: %v", err)
	}
	s.ForwarderEnv["SPOOL_MAX_BYTES"] = "32MiB"
	s.AnalyzerEnv["LOG_LEVEL"], s.AnalyzerEnv["GOTRACEBACK"] = "debug", "all"
	h := NewHunter(t, secrets)
	sent, turn := 0, 0
	wave := func() {
		t.Helper()
		i := turn
		for _, p := range places {
			for _, secret := range secrets {
				if i++; !full && i%24 != 0 {
					continue
				}
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
		turn++
	}
	disk := func(short bool) {
		if !short && !full {
			return
		}
		h.Dir(s.Dir)
		if dir := s.ForwarderEnv["SPOOL_DIR"]; dir != "" {
			h.Dir(dir)
		}
	}
	s.StartAll()
	wave()
	stored(t, s, 1)

	// The analyzer is away: the spool has it.
	s.Analyzer.Kill()
	wave()
	disk(false)

	// The forwarder is killed in the middle, and stays away: the ring has it.
	s.Forwarder.Kill()
	filler := &Request{Target: "/filler", Type: "text/plain", Body: slices.Repeat([]byte("nothing to see. "), 16<<10)}
	wave()
	harness.Poll(t, time.Minute, "something in the ring", func() error {
		if err := send(harness.Addr(s.ProxyPort), filler); err != nil {
			return err
		}
		if files, err := filepath.Glob(filepath.Join(ring, "*", "*.ring")); err != nil || len(files) == 0 {
			return fmt.Errorf("%d files (%v)", len(files), err)
		}
		return nil
	})
	disk(true)

	// It comes back, and stands still.
	s.StartForwarder()
	s.Forwarder.Signal(syscall.SIGSTOP)
	wave()
	disk(false)
	s.Forwarder.Signal(syscall.SIGCONT)

	// The spool's disk is full, and the analyzer stands still.
	s.StartAnalyzer()
	s.Analyzer.Signal(syscall.SIGSTOP)
	stuffing := ""
	if dir := s.ForwarderEnv["SPOOL_DIR"]; dir != "" {
		stuffing = filepath.Join(filepath.Dir(dir), "stuffing")
		stuff(t, stuffing)
	}
	wave()
	disk(false)
	if stuffing != "" {
		if err := os.Remove(stuffing); err != nil {
			t.Fatal(err)
		}
	}
	s.Analyzer.Signal(syscall.SIGCONT)

	// The forwarder is asked to end while pairs come.
	s.Forwarder.Signal(syscall.SIGTERM)
	wave()
	s.Forwarder.Wait(30 * time.Second)
	s.StartForwarder()

	// Whatever arrived is asked for in every way.
	const last = "/the-last-one"
	if err := send(harness.Addr(s.ProxyPort), &Request{Target: last}); err != nil {
		t.Fatal(err)
	}
	harness.Poll(t, 2*time.Minute, "the last pair", func() error {
		resp, err := http.Get(s.Viewer() + "/api/v1/pairs?limit=1&q=path:" + last)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var b strings.Builder
		if err := resp.Write(&b); err != nil {
			return err
		}
		if !strings.Contains(b.String(), last) {
			return fmt.Errorf("%.300s", b.String())
		}
		return nil
	})
	// What is not stored was counted: nothing got away unseen.
	var counted string
	api := ledger.NewAnalyzer(s.Viewer())
	harness.Poll(t, time.Minute, "every pair accounted for", func() error {
		l, err := api.Ledger(t.Context(), nil)
		if err != nil {
			return err
		}
		counted = fmt.Sprintf("ledger: %+v, holds: %v", l.Total, l.Holds)
		if !l.Holds || l.Total.InFlight > 0 || l.Total.Unaccounted > 0 || l.Total.Seen < uint64(sent) {
			return fmt.Errorf("%d requests were sent; %s", sent, counted)
		}
		return nil
	})
	ids := stored(t, s, 1)
	urls := []string{"/metrics", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/ledger", "/api/v1/doctor", "/api/v1/stats/facets", "/api/v1/stats/endpoints"}
	for _, format := range []string{"har", "jsonl", "curl", "rrpair", "csv"} {
		urls = append(urls, "/api/v1/export?format="+format)
	}
	for i, id := range ids {
		if full || i%20 == 0 {
			urls = append(urls, PairURLs([]string{id})...)
		}
	}
	for _, u := range urls {
		h.Get(s.Viewer() + u)
	}
	h.Get("http://" + harness.Addr(metrics) + "/metrics")
	for _, p := range []*harness.Proc{s.Proxy, s.Forwarder, s.Analyzer} {
		p.Signal(syscall.SIGABRT)
		p.Wait(20 * time.Second)
		if log := p.Log(); !strings.Contains(log, "SIGABRT") || !strings.Contains(log, "goroutine ") {
			t.Errorf("%s printed nothing when it died", p.Name)
		}
	}
	disk(true)
	t.Logf("%s", counted)
	t.Logf("%d requests in 7 states, %d pairs stored; %d answers and %d files with %d MiB looked through: %d hits", sent, len(ids), h.Answers, h.Files, h.Bytes>>20, h.Hits)
}

// stuff fills a disk.
func stuff(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); ; {
		if _, err := f.Write(b); err != nil {
			return // it is full
		}
	}
}

// TestS02Scan: what a forwarder without rules lets through is what a scan of
// the store and of the spool finds, and it names no value.
func TestS02Scan(t *testing.T) {
	for rules, want := range map[string]int{"": 1, "standard+pii": 0} {
		s := harness.NewStack(t, bins, echo(t))
		if rules != "" {
			s.ForwarderEnv["DLP_CONFIG"] = rules
		}
		s.StartAll()
		const secret, card = "hunter2secret", "4111111111111111"
		for range 3 {
			if err := send(harness.Addr(s.ProxyPort), body("application/json", `{"password":"`+secret+`","note":"`+card+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		stored(t, s, 3)
		// These stay in the spool.
		s.Analyzer.Kill()
		for range 3 {
			if err := send(harness.Addr(s.ProxyPort), body("application/json", `{"password":"`+secret+`","note":"`+card+`"}`)); err != nil {
				t.Fatal(err)
			}
		}
		s.Proxy.Stop(30 * time.Second) // ships what it has
		spool := s.ForwarderEnv["SPOOL_DIR"]
		if spool == "" {
			spool = filepath.Join(s.Dir, "spool")
		}
		scan := func(args ...string) harness.Result {
			t.Helper()
			r := harness.Run(t, s.Dir, map[string]string{"WEIR_URL": s.Viewer()}, nil, bins.Path("weir"), append([]string{"dlp", "scan"}, args...)...)
			if out := r.Stdout + r.Stderr; strings.Contains(out, secret) || strings.Contains(out, card) {
				t.Errorf("it names a value: %s", out)
			}
			return r
		}
		if r := scan("--no-store", "--spool", spool); r.Code != 2 || !strings.Contains(r.Stderr, "stop the forwarder") {
			t.Errorf("%q: the spool of a forwarder that runs: %d\n%s%s", rules, r.Code, r.Stdout, r.Stderr)
		}
		s.Forwarder.Stop(30 * time.Second)
		if r := scan("--no-store", "--spool", spool); r.Code != want || !strings.Contains(r.Stdout, "pairs:") || (want == 1) != strings.Contains(r.Stdout, "passwords") {
			t.Errorf("%q: the spool: %d\n%s%s", rules, r.Code, r.Stdout, r.Stderr)
		}
		s.StartAnalyzer()
		if r := scan(); r.Code != want || (want == 1) != strings.Contains(r.Stdout, "cards") {
			t.Errorf("%q: the store: %d\n%s%s", rules, r.Code, r.Stdout, r.Stderr)
		}
	}
}
