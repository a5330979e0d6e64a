package doctor

import (
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// well is an installation in which nothing is wrong.
func well() Installation {
	seen := now.Add(-time.Second)
	return Installation{
		Now:      now,
		Analyzer: Analyzer{DataDir: "/d", DiskFree: 50 << 30, DiskTotal: 100 << 30, Doors: Doors{Auth: "on", Encryption: "on", IdentityProvider: "https://idp.example"}},
		Forwarders: []httpv1.Forwarder{{
			ForwarderID: "f1", Connected: true, LastSeen: seen, DLPConfig: "standard", Spool: httpv1.Spool{BytesUsed: 1, BytesLimit: 100},
			FilterRules: []httpv1.FilterRule{{Name: "health"}},
		}},
		Proxies: []httpv1.Proxy{{
			ProxyID: "p1", App: "shop", State: "connected", LastSeen: &seen, UpstreamAddr: "localhost:8080", CaptureOn: true, MemoryLimit: 100, MemoryUsed: 5,
			Protocols: map[string]uint64{"http": 3}, ForwarderID: "f1",
		}},
		Ledger: &httpv1.Ledger{From: now.Add(-time.Hour), Holds: true, Total: httpv1.LedgerCounts{Seen: 3, Stored: 3}},
		Protocol: func(name string) (string, string) {
			if name == "tls" {
				return "TLS", "terminate it"
			}
			return strings.ToUpper(name), ""
		},
	}
}

// TestAllIsWell: one line for each check, and nothing to do.
func TestAllIsWell(t *testing.T) {
	r := Report(now, Examine(well()))
	if r.Status != OK {
		t.Errorf("%+v", r)
	}
	ids := map[string]int{}
	for _, c := range r.Checks {
		ids[c.ID]++
		if c.Status != OK || c.Title == "" || c.Found == "" || c.Cause != "" || c.Fix != "" {
			t.Errorf("%+v", c)
		}
	}
	for id := range titles {
		local := slices.Contains([]string{"config", "port", "directory", "clock", "analyzer.reachable", "forwarder.reachable"}, id)
		if want := map[bool]int{true: 0, false: 1}[local]; ids[id] != want {
			t.Errorf("%s: %d times, want %d", id, ids[id], want)
		}
	}
}

// TestWhatIsWrong: each thing that can be wrong is found, alone, with its
// cause and what to do.
func TestWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		id, status, words string
		change            func(*Installation)
	}{
		{"analyzer.ready", Failure, "index", func(in *Installation) { in.Analyzer.NotReady = []string{"index: 50%"} }},
		{"analyzer.disk", Warning, "RETENTION", func(in *Installation) { in.Analyzer.DiskFree = 1 << 30 }},
		{"analyzer.disk", Failure, "full", func(in *Installation) { in.Analyzer.DiskFree = 1 << 20 }},
		{"analyzer.index", Warning, "Nothing is lost", func(in *Installation) { in.Analyzer.IndexBacklog = 1e6 }},
		{"analyzer.store", Failure, "disks", func(in *Installation) { in.Analyzer.Damaged = 1 }},
		{"analyzer.auth", Skipped, "weir user link", func(in *Installation) { in.Analyzer.Doors.Auth = "off" }},
		{"analyzer.oidc", Warning, "openid-configuration", func(in *Installation) { in.Analyzer.Doors.IdentityProviderProblem = "away" }},
		{"analyzer.encryption", Skipped, "ENCRYPTION_KEY_FILE", func(in *Installation) { in.Analyzer.Doors.Encryption = "off" }},
		{"forwarder.connected", Failure, "ANALYZER_ADDR", func(in *Installation) { in.Forwarders = nil }},
		{"forwarder.connected", Warning, "5 min", func(in *Installation) {
			in.Forwarders[0].Connected, in.Forwarders[0].LastSeen = false, now.Add(-5*time.Minute)
		}},
		{"forwarder.clock", Warning, "3.5 s behind", func(in *Installation) { in.Forwarders[0].Skewed, in.Forwarders[0].ClockSkewNS = true, -35e8 }},
		{"forwarder.spool", Warning, "SPOOL_MAX_BYTES", func(in *Installation) {
			in.Forwarders[0].Spool = httpv1.Spool{BytesUsed: 80, BytesLimit: 100, NextOffset: 9}
		}},
		{"forwarder.spool", Failure, "SPOOL_MAX_BYTES", func(in *Installation) {
			in.Forwarders[0].Spool = httpv1.Spool{BytesUsed: 99, BytesLimit: 100, NextOffset: 9}
		}},
		{"forwarder.redaction", Skipped, "DLP_CONFIG", func(in *Installation) { in.Forwarders[0].DLPConfig = "" }},
		{"forwarder.proxies", Skipped, "PROXY_TOKENS_FILE", func(in *Installation) { in.Forwarders[0].Unauthenticated = true }},
		{"forwarder.destination", Warning, "archive", func(in *Installation) {
			in.Forwarders[0].Destinations = []httpv1.Destination{{Name: "archive", Error: "refused", BacklogBytes: 5}}
		}},
		{"proxy.connected", Failure, "FORWARDER_ADDR", func(in *Installation) { in.Proxies = nil }},
		{"proxy.connected", Warning, "goodbye", func(in *Installation) { in.Proxies[0].State = "reaped" }},
		{"proxy.connected", Warning, "45 s", func(in *Installation) { in.Proxies[0].State = "away" }},
		{"proxy.connected", Skipped, "forwarder", func(in *Installation) { in.Proxies[0].State = "unknown" }},
		{"proxy.upstream", Failure, "container", func(in *Installation) {
			in.Proxies[0].UpstreamError = "dial tcp 127.0.0.1:8080: connect: connection refused"
		}},
		{"proxy.id", Warning, "APP_POD_NAME", func(in *Installation) { in.Proxies[0].DuplicateID = true }},
		{"proxy.clock", Warning, "ahead", func(in *Installation) { in.Proxies[0].Skewed, in.Proxies[0].ClockSkewNS = true, 9e9 }},
		{"proxy.capture", Warning, "SIGUSR1", func(in *Installation) { in.Proxies[0].CaptureOn = false }},
		{"proxy.memory", Warning, "CAPTURE_MEMORY_LIMIT", func(in *Installation) { in.Proxies[0].MemoryUsed = 90 }},
		{"proxy.memory", Warning, "ring", func(in *Installation) { in.Proxies[0].RingLimit, in.Proxies[0].RingUsed = 100, 90 }},
		{"proxy.protocol", Warning, "terminate it", func(in *Installation) { in.Proxies[0].Protocols["tls"] = 1 }},
		{"ledger.holds", Failure, "report it", func(in *Installation) { in.Ledger.Holds, in.Ledger.Reasons = false, []string{"5 pairs"} }},
		{"ledger.dropped", Warning, "CAPTURE_MEMORY_LIMIT", func(in *Installation) {
			in.Ledger.Gaps = []httpv1.LedgerGap{{App: "shop", Hop: "proxy", Reason: "memory", Pairs: 5, Bound: "exact"}}
		}},
		{"ledger.died", Warning, "supervisor", func(in *Installation) {
			in.Ledger.Deaths = []httpv1.LedgerDeath{{ProxyID: "p", App: "a", LastReport: now.Add(-time.Minute), Text: "At most 5 pairs."}}
		}},
	} {
		in := well()
		c.change(&in)
		found := false
		for _, got := range Examine(in) {
			if got.Status == OK || got.Status == Skipped && got.ID != c.id { // nobody is there to look at
				continue
			}
			if got.ID != c.id {
				t.Errorf("%s: also %+v", c.id, got)
				continue
			}
			found = true
			if got.Status != c.status || got.Cause == "" || got.Fix == "" || !strings.Contains(got.Where+got.Found+got.Cause+got.Fix, c.words) {
				t.Errorf("%s, want %s with %q: %+v", c.id, c.status, c.words, got)
			}
		}
		if !found {
			t.Errorf("%s is not found", c.id)
		}
	}
}

// TestManyFindingsAreBounded: what is wrong with a thousand proxies is one
// thing.
func TestManyFindingsAreBounded(t *testing.T) {
	in := well()
	p := in.Proxies[0]
	p.CaptureOn = false
	in.Proxies = slices.Repeat([]httpv1.Proxy{p}, 1000)
	n := 0
	for _, c := range Examine(in) {
		if c.ID == "proxy.capture" {
			n++
		}
	}
	if n != maxFindings+1 {
		t.Errorf("%d lines", n)
	}
	// A proxy that was started anew under its name is not missed.
	in = well()
	old := in.Proxies[0]
	old.State = "reaped"
	in.Proxies = append(in.Proxies, old)
	if r := Report(now, Examine(in)); r.Status != OK {
		t.Errorf("%+v", r)
	}
}

func TestUnreachableSaysWhy(t *testing.T) {
	for _, c := range []struct {
		addr, err string
		container bool
		cause     string
	}{
		{"localhost:80", "connect: connection refused", true, "container itself"},
		{"localhost:80", "connect: connection refused", false, "Nothing listens on port 80 of the machine"},
		{"10.0.0.9:80", "connect: connection refused", true, "The machine is there"},
		{"db:80", "lookup db: no such host", false, "does not resolve"},
		{"10.0.0.9:80", "i/o timeout", false, "firewall"},
		{"10.0.0.9:80", "connect: no route to host", false, "no way"},
		{"10.0.0.9:80", "too many open files", false, "as many files"},
		{"x", "read: connection reset by peer", false, "cut it"},
		{"x", "something else", false, "failed"},
	} {
		got := Unreachable(c.addr, "SOME_VARIABLE", c.err, c.container)
		if !strings.Contains(got.Text, c.cause) || got.Fix == "" {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestLossesHaveWords(t *testing.T) {
	for p, c := range losses {
		if c.Text == "" || c.Fix == "" || strings.HasSuffix(c.Text, ".") || !strings.HasSuffix(c.Fix, ".") {
			t.Errorf("%v: %+v", p, c)
		}
	}
	if c := Loss("proxy", "of a newer version"); !strings.Contains(c.Text, "of a newer version") || c.Fix == "" {
		t.Errorf("%+v", c)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

type noProxies struct {
	capturev1.UnimplementedProxyServiceServer
}

func TestPort(t *testing.T) {
	ln := listen(t)
	addr := ln.Addr().String()
	got := Port("PROXY_IN_PORT", addr, "goproxy")
	if got.Status != Failure || got.Fix == "" || !strings.Contains(got.Found, "taken") {
		t.Errorf("%+v", got)
	}
	self, err := os.ReadFile("/proc/self/comm")
	if err == nil {
		name := strings.TrimSpace(string(self))
		if !strings.Contains(got.Found, name) {
			t.Errorf("by %s: %+v", name, got)
		}
		if got := Port("PROXY_IN_PORT", addr, name); got.Status != OK || !strings.Contains(got.Found, "listens there") {
			t.Errorf("%+v", got)
		}
	}
	ln.Close()
	if got := Port("PROXY_IN_PORT", addr, "goproxy"); got.Status != OK {
		t.Errorf("%+v", got)
	}
	if got := Port("LISTEN_ADDR", "203.0.113.7:1", "analyzer"); got.Status != Failure || got.Cause == "" {
		t.Errorf("%+v", got)
	}
}

func TestServices(t *testing.T) {
	m := Machine{Timeout: 300 * time.Millisecond}
	ask := func(addr string) httpv1.DoctorCheck {
		return m.service(t.Context(), "forwarder.reachable", "FORWARDER_ADDR", addr, "/weir.capture.v1.ProxyService/Register", "forwarder")
	}
	grpcServer := listen(t)
	srv := grpc.NewServer()
	capturev1.RegisterProxyServiceServer(srv, noProxies{})
	go func() { _ = srv.Serve(grpcServer) }() // ends with Stop
	t.Cleanup(srv.Stop)
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	silent := listen(t)
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			defer c.Close()
		}
	}()
	for _, c := range []struct{ addr, found string }{
		{grpcServer.Addr().String(), "speaks gRPC and is no forwarder"},
		{plain.Listener.Addr().String(), "does not speak gRPC"},
		{silent.Addr().String(), "does not answer"},
		{"127.0.0.1:1", "refused"},
	} {
		if got := ask(c.addr); got.Status != Failure || !strings.Contains(got.Found, c.found) || got.Cause == "" || got.Fix == "" {
			t.Errorf("want %q: %+v", c.found, got)
		}
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	got := Directory("SPOOL_DIR", filepath.Join(dir, "not", "there"))
	if got.Status == Failure {
		t.Errorf("%+v", got)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Directory("SPOOL_DIR", filepath.Join(file, "below")); got.Status != Failure || got.Fix == "" {
		t.Errorf("%+v", got)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v %v", left, err)
	}
	if got := disk("directory", "x", 1<<20, 100<<30, "Make room."); got.Status != Failure {
		t.Errorf("%+v", got)
	}
}

func TestClock(t *testing.T) {
	if got := Clock("u", now, now, now.Add(time.Second)); got.Status != OK {
		t.Errorf("%+v", got)
	}
	if got := Clock("u", now.Add(-10*time.Second), now, now.Add(time.Second)); got.Status != Warning || !strings.Contains(got.Found, "10.5 s ahead") {
		t.Errorf("%+v", got)
	}
}

func TestEnvFile(t *testing.T) {
	got, err := ReadEnvFile("# a comment\n\nA=1\nB=with = and \"quotes\" \n export C=\nD=x\r\n")
	if err != nil || !maps.Equal(got, map[string]string{"A": "1", "B": `with = and "quotes"`, "C": "", "D": "x"}) {
		t.Errorf("%q %v", got, err)
	}
	for _, bad := range []string{"A", "A=1\n=2"} {
		if _, err := ReadEnvFile(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\n#x\nexport B=2")
	f.Fuzz(func(t *testing.T, content string) {
		vars, err := ReadEnvFile(content)
		for name := range vars {
			if err != nil || name == "" || strings.ContainsAny(name, "=\n") {
				t.Errorf("%q %v", vars, err)
			}
		}
	})
}

// TestMachine: each environment is looked at as the programs that it sets up.
func TestMachine(t *testing.T) {
	vars := map[string]string{
		"PROXY_IN_PORT": "0", "REVERSE_PROXY_HOST": "127.0.0.1", "REVERSE_PROXY_PORT": "1", "FORWARDER_ADDR": "127.0.0.1:1",
		"SERVICE_PORT": "0", "ANALYZER_ADDR": "127.0.0.1:1", "LISTEN_ADDR": "127.0.0.1:0", "INGEST_ADDR": "127.0.0.1:0",
	}
	dir := t.TempDir()
	m := Machine{
		Environments: []Environment{{Name: "x.env", Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}},
		Config: func(p Program, _ func(string) (string, bool)) error {
			if p == Forwarder {
				return errors.Join(errors.New("CLUSTER_NAME is not set"), errors.New("FILTER_RULE=x is wrong"))
			}
			return nil
		},
		SpoolDir: dir, DataDir: dir,
	}
	var got []string
	for _, c := range m.Examine(t.Context()) {
		if c.ID == "directory" {
			c.Status = OK // as this machine's disk is
		}
		got = append(got, c.ID+" "+c.Status)
	}
	want := []string{
		"config ok", "port ok", "proxy.upstream failure", "forwarder.reachable failure",
		"config failure", "config failure", "port ok", "analyzer.reachable failure", "directory ok",
		"config ok", "port ok", "port ok", "directory ok",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	m.Environments[0].Lookup = func(string) (string, bool) { return "", false }
	if got := m.Examine(t.Context()); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestNothingIsWellOfWhatIsNotThere: of forwarders that are away and proxies
// that have stopped nobody knows whether their clocks are right.
func TestNothingIsWellOfWhatIsNotThere(t *testing.T) {
	for state, want := range map[string]string{"stopped": Warning, "reaped": Warning, "unknown": Skipped} {
		in := well()
		in.Forwarders[0].Connected = false
		in.Proxies[0].State = state
		for _, c := range Examine(in) {
			part, _, _ := strings.Cut(c.ID, ".")
			switch {
			case c.ID == "proxy.connected" && (c.Status != want || c.Cause == "" || c.Fix == ""), c.ID == "forwarder.connected" && c.Status != Warning:
				t.Errorf("%s: %+v", state, c)
			case part != "proxy" && part != "forwarder", strings.HasSuffix(c.ID, ".connected"):
			case c.Status != Skipped || c.Found == "":
				t.Errorf("%s: %+v", state, c)
			}
		}
	}
}

// TestAddressesAsPeopleWriteThem: credentials in an address are not shown, a
// literal IPv6 host may stand in brackets, and a URL has a host and a port.
func TestAddressesAsPeopleWriteThem(t *testing.T) {
	for _, addr := range []string{"http://me:s3cret@127.0.0.1:1", "http://s3cret@127.0.0.1:1", "me@s3cret@127.0.0.1:1"} {
		addressesAsPeopleWriteThem(t, addr)
	}
}

func addressesAsPeopleWriteThem(t *testing.T, analyzer string) {
	t.Helper()
	vars := map[string]string{
		"REVERSE_PROXY_HOST": "[::1]", "REVERSE_PROXY_PORT": "1", "FORWARDER_ADDR": "me:s3cret@nohost", "ANALYZER_ADDR": analyzer,
		"SERVICE_PORT": "0", "SPOOL_DIR": t.TempDir(),
	}
	m := Machine{
		Environments: []Environment{{Lookup: func(k string) (string, bool) { v, ok := vars[k]; return v, ok }}},
		Config: func(p Program, lookup func(string) (string, bool)) error {
			v, _ := lookup("ANALYZER_ADDR")
			return errors.New("ANALYZER_ADDR=\"" + v + "\" is not valid")
		},
	}
	checks := append(m.Examine(t.Context()), AnalyzerAnswers("http://127.0.0.1:1/weir", errors.New("connection refused")))
	for _, c := range checks {
		all := c.Where + c.Found + c.Cause + c.Fix
		if strings.Contains(all, "s3cret") {
			t.Errorf("a secret is shown: %+v", c)
		}
		if c.ID == "proxy.upstream" && c.Where != "[::1]:1" {
			t.Errorf("%+v", c)
		}
		if strings.HasPrefix(c.Where, "http://127") && !strings.Contains(c.Cause, "port 1 ") && !InContainer() {
			t.Errorf("%+v", c)
		}
	}
}

// TestWhereLossesComeFrom: a full ring is counted as memory, and the end waits
// for a time of its own.
func TestWhereLossesComeFrom(t *testing.T) {
	ring, stopped := Loss("proxy", "ring"), Loss("proxy", "stopped")
	if strings.Contains(ring.Text+ring.Fix, "full") || strings.Contains(ring.Fix, "more room") || !strings.Contains(ring.Fix, "CAPTURE_SPOOL_DIR") {
		t.Errorf("%+v", ring)
	}
	if strings.Contains(stopped.Fix, "DRAIN_TIMEOUT") || !strings.Contains(stopped.Fix, "5 s") {
		t.Errorf("%+v", stopped)
	}
}
