package e2e

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// noise is bytes that no compression shrinks, the same in every run.
func noise(n int, seed uint64) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7})
	b := make([]byte, n)
	_, _ = r.Read(b) // never fails
	return b
}

func text(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "line %d of a text that compresses well\n", i)
	}
	return b.Bytes()[:n]
}

// everything adds one request of each kind that nginx answers differently.
// The file p/<id>.txt of each static request holds its id, so that a response
// can be told from any other's.
func everything(p *load.Plan, n *harness.Nginx) {
	static := func(method string, header ...string) {
		r := p.Add(method, "/p/{id}.txt", nil, header...)
		n.Write("p/"+r.ID+".txt", []byte("the file of "+r.ID+"\n"))
	}
	static("GET")
	static("HEAD")
	static("GET", "Range", "bytes=4-20")
	static("GET", "If-Modified-Since", time.Now().Add(time.Hour).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	p.Add("GET", "/echo?id={id}&q=%20a%2Fb&empty=", nil)
	p.Add("GET", "/empty?id={id}", nil)
	p.Add("GET", "/fail?id={id}", nil)
	p.Add("GET", "/moved?id={id}", nil)
	p.Add("GET", "/p/{id}-is-not-there", nil)
	p.Add("GET", "/ssi/page.html?id={id}", nil)
	p.Add("HEAD", "/echo?id={id}", nil)
	p.Add("GET", "/files/text.txt?id={id}", nil, "Accept-Encoding", "gzip")
	p.Add("GET", "/files/text.txt?id={id}", nil)
	p.Add("GET", "/files/noise.bin?id={id}", nil, "Range", "bytes=100-70000")
	p.Add("GET", "/files/noise.bin?id={id}", nil, "Range", "bytes=0-99,1000-1099")
	p.Add("POST", "/echo?id={id}", []byte(`{"a":1}`), "Content-Type", "application/json")
	p.Add("POST", "/echo?id={id}", []byte{})
	p.Add("PUT", "/dav/{id}.bin", noise(100_000, 1))
	p.Add("PUT", "/dav/{id}.bin", noise(70_001, 2)).Chunked = true
	p.Add("OPTIONS", "/echo?id={id}", nil)
}

// large adds what is bigger than a pair keeps.
func large(p *load.Plan) {
	p.Add("GET", "/files/large.bin?id={id}", nil)
	p.Add("PUT", "/dav/{id}.bin", noise(ledger.BodyLimit+4321, 3))
}

func startNginx(t *testing.T, withTLS bool) *harness.Nginx {
	harness.Need(t, "nginx")
	n := harness.StartNginx(t, withTLS)
	n.Write("files/text.txt", text(40_000))
	n.Write("files/noise.bin", noise(200_000, 4))
	n.Write("files/large.bin", noise(3<<20, 5))
	return n
}

// TestGuide follows the guide: unmodified clients call an unmodified
// application through goproxy, and every exchange is in the analyzer, once,
// whole, and with its own response.
func TestGuide(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nginx", "python3", "curl")
	nginx := startNginx(t, false)
	python := harness.StartPython(t)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	_, oldPort := s.SecondProxy(python.Port, "python", "python-1")
	old := "http://" + harness.Addr(oldPort)

	var calls []ledger.Call
	add := func(more []ledger.Call, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		calls = append(calls, more...)
	}
	run := func(kind string, base string, plan []load.Request) {
		t.Helper()
		dir := t.TempDir()
		switch kind {
		case "curl":
			add(load.Curl(t.Context(), dir, base, plan))
		case "curl parallel":
			add(load.Curl(t.Context(), dir, base, plan, "--parallel", "--parallel-max", "6"))
		case "go":
			add(load.Go(t.Context(), base, plan, 8), nil)
		case "pipeline":
			add(load.Pipelined(t.Context(), strings.TrimPrefix(base, "http://"), plan), nil)
		default:
			add(load.Python(t.Context(), dir, base, strings.TrimPrefix(kind, "python "), plan))
		}
	}
	// nginx, HTTP/1.1.
	for _, kind := range []string{"curl", "curl parallel", "go", "python http.client", "python urllib", "pipeline"} {
		var p load.Plan
		for range 4 {
			everything(&p, nginx)
		}
		if kind != "pipeline" {
			large(&p)
		}
		// A client that announces its body waits for the server's 100.
		if kind == "curl" {
			p.Add("PUT", "/dav/{id}.bin", noise(50_000, 6), "Expect", "100-continue")
		}
		run(kind, s.Front(), p.Requests)
	}
	puts := 0
	for _, c := range calls {
		if c.Method == "PUT" && c.Err == "" {
			puts++
			kept, err := os.ReadFile(filepath.Join(nginx.Root, strings.SplitN(c.Target, "?", 2)[0]))
			if err != nil || ledger.DigestBytes(kept) != c.Out {
				t.Errorf("%s %s: the server did not get the bytes that were sent (%v)", c.Client, c.Target, err)
			}
		}
	}
	if puts < 10 {
		t.Errorf("only %d uploads were made", puts)
	}
	// Python's server, HTTP/1.0: the end of the connection ends the body.
	served := harness.Settle(t, nginx.Served, len(calls))
	nginxCalls := len(calls)
	for _, kind := range []string{"curl", "go", "python http.client", "python urllib"} {
		var p load.Plan
		for range 5 {
			for _, method := range []string{"GET", "HEAD"} {
				r := p.Add(method, "/{id}.txt", nil)
				if err := os.WriteFile(filepath.Join(python.Root, r.ID+".txt"), []byte("python's file of "+r.ID), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p.Add("GET", "/not-there/{id}", nil)
			p.Add("GET", "/?id={id}", nil) // a listing of the folder
		}
		run(kind, old, p.Requests)
	}
	served = append(served, harness.Settle(t, python.Served, len(calls)-nginxCalls)...)

	pairs := stored(t, s, len(calls))
	check(t, calls, served, pairs)

	for _, p := range pairs {
		wantApp := s.ProxyEnv["APP_LABEL"]
		if strings.HasSuffix(p.Target, ".txt") && p.EchoID == "" {
			wantApp = "python"
		}
		if p.Cluster != "my_cluster" || (p.App != wantApp && p.App != "python") {
			t.Errorf("pair %s %s: cluster %q, app %q", p.Pair, p.Target, p.Cluster, p.App)
		}
	}
	checkDecoded(t, s, pairs)
	checkRows(t, s, len(calls)+1)
	checkCounters(t, s, uint64(len(calls)+1))
}

// checkDecoded holds the API's decoding of a content coding to what was
// compressed.
func checkDecoded(t *testing.T, s *harness.Stack, pairs []ledger.Stored) {
	t.Helper()
	api := ledger.NewAnalyzer(s.Viewer())
	n := 0
	for _, p := range pairs {
		if !strings.HasPrefix(p.Target, "/files/text.txt") {
			continue
		}
		raw, err := api.Body(t.Context(), p.Pair, "response")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
			continue
		}
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(zr)
		if err != nil {
			t.Fatal(err)
		}
		got, err := api.Get(t.Context(), "/api/v1/pairs/"+p.Pair+"/response/body?decoded=1")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) || !bytes.Equal(got, text(40_000)) {
			t.Errorf("pair %s: the decoded body has %d bytes and is not the file's %d", p.Pair, len(got), len(want))
		}
		n++
	}
	if n == 0 {
		t.Error("no answer was compressed")
	}
}

// checkRows holds what lists say beside the bytes: times in order, a size, a
// duration.
func checkRows(t *testing.T, s *harness.Stack, want int) {
	t.Helper()
	rows, err := ledger.NewAnalyzer(s.Viewer()).List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != want {
		t.Errorf("the list has %d rows, want %d", len(rows), want)
	}
	for _, r := range rows {
		if r.Protocol != "http" || r.Duration <= 0 || r.Host == "" || !r.StoredAt.After(r.Time) {
			t.Errorf("row %+v: want protocol http, a duration, a host, and stored after it began", r)
		}
	}
}

// TestTwoSeconds: a row is there within two seconds of its response.
func TestTwoSeconds(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	api := ledger.NewAnalyzer(s.Viewer())
	client := load.NewGoClient()
	defer client.CloseIdleConnections()
	var worst time.Duration
	for range 10 {
		var p load.Plan
		r := *p.Add("GET", "/echo?id={id}", nil)
		if c := load.One(t.Context(), client, s.Front(), r); c.Err != "" {
			t.Fatal(c.Err)
		}
		done := time.Now()
		harness.Poll(t, 10*time.Second, "row", func() error {
			page, err := api.Page(t.Context(), "", "", 1)
			if err != nil {
				return err
			}
			if len(page.Pairs) == 0 || ledger.FindID(page.Pairs[0].Target()) != r.ID {
				return fmt.Errorf("not the newest yet")
			}
			return nil
		})
		worst = max(worst, time.Since(done))
	}
	t.Logf("slowest of 10 rows came %v after its response", worst)
	if worst > 2*time.Second {
		t.Errorf("a row took %v, want at most 2s", worst)
	}
}

// TestAbortedByClient: a client that goes away in the middle of a response
// leaves a pair that says so.
func TestAbortedByClient(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	var calls []ledger.Call
	for range 3 {
		var p load.Plan
		r := *p.Add("GET", "/slow/noise.bin?id={id}", nil)
		c := ledger.Call{ID: r.ID, Client: "socket", Method: r.Method, Target: r.Target, Aborted: true}
		if err := abort(t.Context(), harness.Addr(s.ProxyPort), r); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, c)
	}
	check(t, calls, harness.Settle(t, nginx.Served, len(calls)), stored(t, s, len(calls)))
}

// abort asks, reads a little, and closes.
func abort(ctx context.Context, addr string, r load.Request) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\n%s: %s\r\n\r\n", r.Method, r.Target, ledger.Header, r.ID); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, 3000))
	return err
}

// TestHealthChecksAreFiltered: the standard filter leaves out what asks
// whether the application is alive, and counts it.
func TestHealthChecksAreFiltered(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	var p load.Plan
	for range 5 {
		p.Add("GET", "/echo?id={id}", nil)
		p.Add("GET", "/echo?probe={id}", nil, "User-Agent", "kube-probe/1.30")
	}
	calls := load.Go(t.Context(), s.Front(), p.Requests, 1)
	for _, c := range calls {
		if c.Err != "" || c.Status != 200 {
			t.Fatalf("the client got status %d, %s", c.Status, c.Err)
		}
	}
	pairs := stored(t, s, 5)
	if len(pairs) != 5 {
		t.Errorf("%d pairs are stored, want the 5 that are not probes", len(pairs))
	}
	for _, pair := range pairs {
		if strings.Contains(pair.Target, "probe=") {
			t.Errorf("pair %s is of a probe", pair.Pair)
		}
	}
	api := ledger.NewAnalyzer(s.Viewer())
	harness.Poll(t, 5*time.Second, "count of what was filtered", func() error {
		who, err := api.Proxies(t.Context())
		if err != nil {
			return err
		}
		if len(who.Forwarders) != 1 {
			return fmt.Errorf("%d forwarders", len(who.Forwarders))
		}
		n := uint64(0)
		for _, c := range who.Forwarders[0].Filtered {
			n += c
		}
		if n != 5 {
			return fmt.Errorf("filtered: %v", who.Forwarders[0].Filtered)
		}
		return nil
	})
}

// checkCounters holds the proxies' own account to what is stored.
func checkCounters(t *testing.T, s *harness.Stack, want uint64) {
	t.Helper()
	api := ledger.NewAnalyzer(s.Viewer())
	harness.Poll(t, 5*time.Second, "counters that add up", func() error {
		who, err := api.Proxies(t.Context())
		if err != nil {
			return err
		}
		var seen, acked uint64
		for _, p := range who.Proxies {
			seen, acked = seen+p.Counters.Seen, acked+p.Counters.Acked
			if len(p.Counters.Dropped) > 0 || p.Counters.Sampled > 0 || p.State != "connected" {
				return fmt.Errorf("%+v", p)
			}
		}
		if seen != want || acked != want {
			return fmt.Errorf("seen %d, acknowledged %d, want %d: %+v", seen, acked, want, who)
		}
		return nil
	})
}

// TestRawBytes: the messages of a pair can be had as they were on the wire.
func TestRawBytes(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	id := ledger.NewID()
	sent := "POST /echo?id=" + id + " HTTP/1.1\r\nhost: X\r\nX-Weir-Id: " + id + "\r\nX-Twice: one\r\nx-tWICE:two \r\n" +
		"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0A;ext=1\r\n0123456789\r\n0\r\nX-Trailer: t\r\n\r\n"
	conn, err := net.DialTimeout("tcp", harness.Addr(s.ProxyPort), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, sent); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("read answer: %v: %q", err, got)
	}
	pairs := stored(t, s, 1)
	if len(pairs) != 1 {
		t.Fatalf("%d pairs", len(pairs))
	}
	api := ledger.NewAnalyzer(s.Viewer())
	for side, want := range map[string]string{"request": sent, "response": string(got)} {
		raw, err := api.Get(t.Context(), "/api/v1/pairs/"+pairs[0].Pair+"/"+side+"/raw")
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) != want {
			t.Errorf("%s as stored:\n%q\non the wire:\n%q", side, raw, want)
		}
	}
}

// TestCurlCommand: the command that the analyzer gives for a pair makes the
// same request again.
func TestCurlCommand(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nginx", "curl")
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.StartAll()
	var p load.Plan
	nasty := "it's $HOME `id` \"quoted\" \\ !\n"
	r := *p.Add("PUT", "/dav/{id}.txt", []byte(nasty), "X-Nasty", "a'b$(id)", "Content-Type", "text/plain")
	calls := load.Go(t.Context(), s.Front(), p.Requests, 1)
	pairs := stored(t, s, 1)
	if len(pairs) != 1 {
		t.Fatalf("%d pairs: %v", len(pairs), calls)
	}
	command, err := ledger.NewAnalyzer(s.Viewer()).Get(t.Context(), "/api/v1/pairs/"+pairs[0].Pair+"/curl")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(nginx.Root, "dav", r.ID+".txt")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	out := harness.Run(t, s.Dir, nil, bytes.NewReader(command), "bash")
	if got, err := os.ReadFile(file); out.Code != 0 || err != nil || string(got) != nasty {
		t.Errorf("the command\n%s\nended with status %d, %s%s; the server has %q, %v", command, out.Code, out.Stdout, out.Stderr, got, err)
	}
}

// TestClientsAndServersAgree holds the instruments to each other without Weir
// between them: what they disagree on alone is no finding about the proxy.
func TestClientsAndServersAgree(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nginx", "curl", "python3")
	nginx := startNginx(t, false)
	base := "http://" + harness.Addr(nginx.Port)
	plan := func() []load.Request {
		var p load.Plan
		everything(&p, nginx)
		return p.Requests
	}
	calls := load.Go(t.Context(), base, plan(), 4)
	calls = append(calls, load.Pipelined(t.Context(), harness.Addr(nginx.Port), plan())...)
	for _, run := range []func() ([]ledger.Call, error){
		func() ([]ledger.Call, error) { return load.Curl(t.Context(), t.TempDir(), base, plan()) },
		func() ([]ledger.Call, error) {
			return load.Python(t.Context(), t.TempDir(), base, "http.client", plan())
		},
		func() ([]ledger.Call, error) { return load.Python(t.Context(), t.TempDir(), base, "urllib", plan()) },
	} {
		more, err := run()
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, more...)
	}
	r := ledger.Compare(calls, harness.Settle(t, nginx.Served, len(calls)), nil)
	if len(r.Failed) > 0 || len(r.Lost) != len(calls) {
		t.Error(r)
	}
	// One method and target gives one answer, whoever asks.
	kinds := map[string]map[string]int{}
	for _, c := range calls {
		kind := c.Method + " " + strings.ReplaceAll(c.Target, c.ID, "*")
		if kinds[kind] == nil {
			kinds[kind] = map[string]int{}
		}
		kinds[kind][fmt.Sprint(c.Status)]++
	}
	t.Log(kinds)
}
