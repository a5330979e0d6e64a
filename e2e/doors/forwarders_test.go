package doors

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
)

// weir runs the command line beside the analyzer's data.
func (s *site) weir(args ...string) string {
	s.t.Helper()
	r := harness.Run(s.t, s.Dir, map[string]string{"DATA_DIR": s.AnalyzerEnv["DATA_DIR"]}, nil, bins.Path("weir"), args...)
	if r.Code != 0 {
		s.t.Fatalf("weir %s: %d\n%s%s", strings.Join(args, " "), r.Code, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

// stored is how many pairs the analyzer has.
func (s *site) stored(want int) {
	s.t.Helper()
	harness.Poll(s.t, 40*time.Second, strconv.Itoa(want)+" pairs", func() error {
		if n := len(regexp.MustCompile(`(?m)^\{`).FindAllString(s.weir("export", "--format", "jsonl"), -1)); n != want {
			return fmt.Errorf("there are %d", n)
		}
		return nil
	})
}

// TestS05Analyzer: a forwarder that comes from elsewhere needs a token, which a
// key gives it and takes from it again; what it has meanwhile waits.
func TestS05Analyzer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"PROXY_TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "EXPORTERS"} {
		delete(s.ForwarderEnv, name)
	}
	for _, name := range []string{"FORWARDER_TOKEN_FILE", "FORWARDER_TLS", "FORWARDER_CA_FILE"} {
		delete(s.ProxyEnv, name)
	}
	cert, key := s.ca.Write(t, s.Dir, tlstest.Leaf{Name: "analyzer"})
	s.AnalyzerEnv["INGEST_ADDR"] = "0.0.0.0:" + strconv.Itoa(s.IngestPort)
	token := filepath.Join(s.Dir, "analyzer-token")
	tlstest.Replace(t, token, []byte(wrong))
	s.ForwarderEnv["ANALYZER_ADDR"] = harness.Addr(s.IngestPort)
	s.ForwarderEnv["ANALYZER_TOKEN_FILE"], s.ForwarderEnv["ANALYZER_TLS"], s.ForwarderEnv["ANALYZER_CA_FILE"] = token, "on", s.authority

	// Beyond the loopback the analyzer does not speak in the clear.
	s.LaunchAnalyzer()
	if code := s.Analyzer.Wait(20 * time.Second); code != 2 || !strings.Contains(s.Analyzer.Log(), "INGEST_ADDR=") {
		t.Fatalf("without TLS it ended with %d:\n%s", code, s.Analyzer.Log())
	}
	s.AnalyzerEnv["TLS_CERT_FILE"], s.AnalyzerEnv["TLS_KEY_FILE"] = cert, key
	s.LaunchAnalyzer()
	s.Analyzer.WaitMessage(30*time.Second, "Viewer and API")
	s.StartForwarder()
	s.StartProxy()
	s.WaitRegistered()
	s.get("/first")
	says := func(after int, text string) {
		t.Helper()
		harness.Poll(t, 60*time.Second, text, func() error {
			for _, l := range s.Forwarder.Lines()[after:] {
				if strings.Contains(l.Raw, text) {
					return nil
				}
			}
			return fmt.Errorf("not said")
		})
	}
	says(0, "it does not take the token of ANALYZER_TOKEN")

	list := s.weir("key", "create", "--forwarder", "edge", "--addr", harness.Addr(s.IngestPort))
	secret := regexp.MustCompile(`(?m)^ANALYZER_TOKEN=(\S+)$`).FindStringSubmatch(list)
	if secret == nil {
		t.Fatalf("no token in:\n%s", list)
	}
	tlstest.Replace(t, token, []byte(secret[1]))
	s.stored(1)

	id := regexp.MustCompile(`weir_f_([0-9A-Za-z]+)_`).FindStringSubmatch(secret[1])
	if id == nil {
		t.Fatal("the token has no id")
	}
	at, began := len(s.Forwarder.Lines()), time.Now()
	s.weir("key", "revoke", id[1])
	says(at, "it does not take the token of ANALYZER_TOKEN")
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("a revoked token was good for %v", took)
	}
	s.get("/second")
	list = s.weir("key", "create", "--forwarder", "edge", "--addr", harness.Addr(s.IngestPort))
	again := regexp.MustCompile(`(?m)^ANALYZER_TOKEN=(\S+)$`).FindStringSubmatch(list)
	tlstest.Replace(t, token, []byte(again[1]))
	s.stored(2)

	for _, p := range []*harness.Proc{s.Forwarder, s.Analyzer, s.Proxy} {
		for _, word := range []string{secret[1], again[1], wrong} {
			if strings.Contains(p.Log(), word) {
				t.Errorf("%s logged a token", p.Name)
			}
		}
	}
}

// TestS05ForwarderCertificates: a forwarder may show the analyzer a certificate
// instead of a token. Its spool is that certificate's from then on: who comes
// with it and shows another is refused, and nothing is lost of what waits there.
func TestS05ForwarderCertificates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"PROXY_TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE", "EXPORTERS"} {
		delete(s.ForwarderEnv, name)
	}
	for _, name := range []string{"FORWARDER_TOKEN_FILE", "FORWARDER_TLS", "FORWARDER_CA_FILE"} {
		delete(s.ProxyEnv, name)
	}
	clients := tlstest.NewAuthority(t)
	s.AnalyzerEnv["TLS_CERT_FILE"], s.AnalyzerEnv["TLS_KEY_FILE"] = s.ca.Write(t, s.Dir, tlstest.Leaf{Name: "analyzer"})
	s.AnalyzerEnv["INGEST_CLIENT_CA_FILE"] = clients.WriteCA(t, s.Dir, "clients.pem")
	s.AnalyzerEnv["INGEST_ADDR"] = "0.0.0.0:" + strconv.Itoa(s.IngestPort)
	s.ForwarderEnv["ANALYZER_ADDR"] = harness.Addr(s.IngestPort)
	s.ForwarderEnv["ANALYZER_TLS"], s.ForwarderEnv["ANALYZER_CA_FILE"] = "on", s.authority
	as := func(name string) {
		s.ForwarderEnv["ANALYZER_CERT_FILE"], s.ForwarderEnv["ANALYZER_KEY_FILE"] = clients.Write(t, s.Dir, tlstest.Leaf{Name: name})
	}
	as("edge-1")
	s.LaunchAnalyzer()
	s.Analyzer.WaitMessage(30*time.Second, "Viewer and API")
	s.StartForwarder()
	s.StartProxy()
	s.WaitRegistered()
	s.get("/first")
	s.stored(1)

	s.Forwarder.Stop(20 * time.Second)
	as("edge-2")
	s.StartForwarder()
	harness.Poll(t, 60*time.Second, "the refusal of a spool that is another's", func() error {
		if !strings.Contains(s.Forwarder.Log(), "the spool is another forwarder's") {
			return errors.New("not said")
		}
		return nil
	})
	s.get("/second")

	s.Forwarder.Stop(20 * time.Second)
	as("edge-1")
	s.StartForwarder()
	s.stored(2)
}

// TestS12Ports: nothing for operators listens beyond the loopback without being
// asked to.
func TestS12Ports(t *testing.T) {
	t.Parallel()
	outside := outsideAddr(t)
	s := newSite(t)
	diagnostics := harness.Port(t)
	s.ProxyEnv["DIAGNOSTICS_ADDR"] = harness.Addr(diagnostics)
	s.StartForwarder()
	s.StartProxy()
	harness.WaitPort(t, diagnostics)
	if c, err := net.DialTimeout("tcp", net.JoinHostPort(outside, strconv.Itoa(diagnostics)), 2*time.Second); err == nil {
		_ = c.Close()
		t.Errorf("%s:%d is reached from other machines", outside, diagnostics)
	}
	for _, path := range []string{"/debug/pprof/", "/metrics", "/debug/vars"} {
		resp, err := http.Get("http://" + harness.Addr(diagnostics) + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// outsideAddr is an address of this machine that is not of the loopback.
func outsideAddr(t *testing.T) string {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil && !n.IP.IsLinkLocalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but the loopback's")
	return ""
}
