package harness

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Stack is one proxy, one forwarder and one analyzer that know each other's
// addresses. They may be started, killed and started again in any order.
type Stack struct {
	t    testing.TB
	bins *Bins
	// Dir holds the logs and the state of all three.
	Dir string

	ProxyPort, ForwarderPort, IngestPort, ViewerPort int

	// Settings beyond those of the guide, by program; changed before Start.
	ProxyEnv, ForwarderEnv, AnalyzerEnv map[string]string

	Proxy, Forwarder, Analyzer *Proc

	// Override names files to start instead of this build's programs, by
	// program; changed before Start.
	Override map[string]string
}

// start starts one of the programs.
func (s *Stack) start(name, program string, env map[string]string) *Proc {
	s.t.Helper()
	path := s.bins.Path(program)
	if other := s.Override[program]; other != "" {
		path = other
	}
	return Start(s.t, s.Dir, name, path, env)
}

// NewStack chooses ports and folders. upstream is where the proxy carries its
// traffic: a port of the loopback.
func NewStack(t testing.TB, bins *Bins, upstream int) *Stack {
	t.Helper()
	s := &Stack{
		t: t, bins: bins, Dir: Dir(t),
		ProxyPort: Port(t), ForwarderPort: Port(t), IngestPort: Port(t), ViewerPort: Port(t),
	}
	// The guide's variables and nothing else.
	s.ProxyEnv = map[string]string{
		"PROXY_TYPE":         "reverse",
		"PROXY_IN_PORT":      strconv.Itoa(s.ProxyPort),
		"REVERSE_PROXY_HOST": "127.0.0.1",
		"REVERSE_PROXY_PORT": strconv.Itoa(upstream),
		"APP_LABEL":          "my_application_name",
		"APP_POD_NAME":       "ip-192-168-3-149",
		"FORWARDER_ADDR":     Addr(s.ForwarderPort),
	}
	s.ForwarderEnv = map[string]string{
		"CLUSTER_NAME":  "my_cluster",
		"SERVICE_PORT":  strconv.Itoa(s.ForwarderPort),
		"ANALYZER_ADDR": Addr(s.IngestPort),
		"SPOOL_DIR":     filepath.Join(s.Dir, "spool"),
	}
	s.AnalyzerEnv = map[string]string{
		"AUTH":        "off",
		"LISTEN_ADDR": Addr(s.ViewerPort),
		"INGEST_ADDR": Addr(s.IngestPort),
		"DATA_DIR":    filepath.Join(s.Dir, "data"),
	}
	return s
}

// StartProxy starts goproxy and waits until it says that it listens. It does
// not try: a connection would be carried and counted.
func (s *Stack) StartProxy() {
	s.t.Helper()
	s.Proxy = s.start("goproxy", "goproxy", s.ProxyEnv)
	s.Proxy.WaitMessage(20*time.Second, "Starting proxy listener")
}

// SecondProxy starts another goproxy for the same forwarder and returns it
// with its port.
func (s *Stack) SecondProxy(upstream int, app, pod string) (*Proc, int) {
	s.t.Helper()
	env, port := maps.Clone(s.ProxyEnv), Port(s.t)
	env["PROXY_IN_PORT"], env["REVERSE_PROXY_PORT"] = strconv.Itoa(port), strconv.Itoa(upstream)
	env["APP_LABEL"], env["APP_POD_NAME"] = app, pod
	p := Start(s.t, s.Dir, "goproxy-"+pod, s.bins.Path("goproxy"), env)
	p.WaitMessage(20*time.Second, "Starting proxy listener")
	return p, port
}

// StartForwarder starts the forwarder and waits until it says that it listens.
func (s *Stack) StartForwarder() {
	s.t.Helper()
	s.LaunchForwarder()
	s.Forwarder.WaitMessage(20*time.Second, "Starting gRPC listener on port")
}

// LaunchForwarder starts the forwarder and does not wait.
func (s *Stack) LaunchForwarder() {
	s.t.Helper()
	s.Forwarder = s.start("forwarder", "forwarder", s.ForwarderEnv)
}

// StartAnalyzer starts the analyzer and waits until it says that it is ready.
func (s *Stack) StartAnalyzer() {
	s.t.Helper()
	s.LaunchAnalyzer()
	s.WaitAnalyzer()
}

// LaunchAnalyzer starts the analyzer and does not wait.
func (s *Stack) LaunchAnalyzer() {
	s.t.Helper()
	s.Analyzer = s.start("analyzer", "analyzer", s.AnalyzerEnv)
}

// WaitAnalyzer waits until the analyzer says that it is ready.
func (s *Stack) WaitAnalyzer() {
	s.t.Helper()
	client := &http.Client{Timeout: 2 * time.Second}
	Poll(s.t, 30*time.Second, "analyzer's /readyz", func() error {
		if !s.Analyzer.Running() {
			s.t.Fatalf("analyzer ended:\n%s", s.Analyzer.Log())
		}
		resp, err := client.Get(s.Viewer() + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
}

// StartAll starts the three of them, the store first, and waits until the
// proxy is registered.
func (s *Stack) StartAll() {
	s.t.Helper()
	s.StartAnalyzer()
	s.StartForwarder()
	s.StartProxy()
	s.WaitRegistered()
}

// WaitRegistered waits until the proxy says that the forwarder knows it.
func (s *Stack) WaitRegistered() {
	s.t.Helper()
	s.Proxy.WaitMessage(20*time.Second, "Successfully registered with forwarder")
}

// Viewer is the address of the viewer and the API.
func (s *Stack) Viewer() string { return "http://" + Addr(s.ViewerPort) }

// Front is the address that clients call instead of the application's.
func (s *Stack) Front() string { return "http://" + Addr(s.ProxyPort) }
