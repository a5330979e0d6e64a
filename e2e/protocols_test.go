package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// waitProtocol waits for a row of this protocol, whole, that tells of the
// connection's bytes.
func waitProtocol(t *testing.T, s *harness.Stack, protocol string) *ledger.Pair {
	t.Helper()
	api := ledger.NewAnalyzer(s.Viewer())
	var id string
	harness.Poll(t, 15*time.Second, "a row of protocol "+protocol, func() error {
		rows, err := api.List(t.Context(), "protocol:"+protocol)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			all, err := api.List(t.Context(), "")
			return fmt.Errorf("none among %+v (%v)", all, err)
		}
		id = rows[0].ID
		return nil
	})
	p, err := api.Pair(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if p.RequestMsg.BodySize == 0 || p.ResponseMsg.BodySize == 0 || p.Duration <= 0 {
		t.Errorf("the pair of %s says %d bytes up, %d down, %d ns", protocol, p.RequestMsg.BodySize, p.ResponseMsg.BodySize, p.Duration)
	}
	return p
}

func waitDetected(s *harness.Stack, protocol string) {
	s.Proxy.WaitLine(10*time.Second, "protocol "+protocol, func(l harness.Line) bool {
		return l.Text() == "Detected protocol" && l.Field("protocol") == protocol
	})
}

// TestHTTPS: TLS is carried unread, and named.
func TestHTTPS(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nginx", "openssl", "curl")
	nginx := startNginx(t, true)
	s := harness.NewStack(t, bins, nginx.TLSPort)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	for _, version := range []string{"--http1.1", "--http2"} {
		ask := func(port int) harness.Result {
			return harness.Run(t, s.Dir, nil, nil, "curl", "--disable", "--silent", "--show-error", version,
				"--cacert", filepath.Join(filepath.Dir(nginx.Root), "cert.pem"),
				"--resolve", fmt.Sprintf("weir.test:%d:127.0.0.1", port), "--max-time", "20",
				"--write-out", "\n%{http_version} %{http_code} %{size_download}", fmt.Sprintf("https://weir.test:%d/files/text.txt", port))
		}
		direct, through := ask(nginx.TLSPort), ask(s.ProxyPort)
		if direct.Code != 0 || direct != through {
			t.Errorf("curl %s: direct: status %d %s, %d bytes; through the proxy: status %d %s, %d bytes", version,
				direct.Code, direct.Stderr, len(direct.Stdout), through.Code, through.Stderr, len(through.Stdout))
		}
		t.Logf("curl %s through the proxy: %s", version, through.Stdout[strings.LastIndexByte(through.Stdout, '\n')+1:])
	}
	waitDetected(s, "TLS")
	p := waitProtocol(t, s, "tls")
	t.Logf("tags: %v", p.Tags)
	if p.Tags["tls.sni"] != "weir.test" {
		t.Errorf("the pair does not name the server that the client asked for: %v", p.Tags)
	}
}

// TestHTTP2: HTTP/2 without TLS is carried unread, and named.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	harness.Need(t, "nginx", "curl")
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.H2Port)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()
	ask := func(port int) harness.Result {
		return harness.Run(t, s.Dir, nil, nil, "curl", "--disable", "--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "20",
			"--write-out", "\n%{http_version} %{http_code} %{size_download}", "http://"+harness.Addr(port)+"/files/text.txt")
	}
	direct, through := ask(nginx.H2Port), ask(s.ProxyPort)
	if direct.Code != 0 || direct != through || !strings.HasSuffix(through.Stdout, "\n2 200 40000") {
		t.Errorf("direct: status %d %s, %d bytes; through the proxy: status %d %s, %d bytes",
			direct.Code, direct.Stderr, len(direct.Stdout), through.Code, through.Stderr, len(through.Stdout))
	}
	waitDetected(s, "HTTP/2")
	waitProtocol(t, s, "http2")

	// Many streams at a time on one connection, with Go's client.
	var h2 http.Protocols
	h2.SetUnencryptedHTTP2(true)
	client := load.NewGoClient()
	client.Transport = &http.Transport{Protocols: &h2, DisableCompression: true}
	defer client.CloseIdleConnections()
	var p load.Plan
	for range 20 {
		everything(&p, nginx)
	}
	calls := make([]ledger.Call, len(p.Requests))
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < len(calls); i += 16 {
				calls[i] = load.One(t.Context(), client, s.Front(), p.Requests[i])
			}
		})
	}
	wg.Wait()
	r := ledger.Compare(calls, harness.Settle(t, nginx.Served, len(calls)), nil)
	if len(r.Failed) > 0 {
		t.Error(r)
	}
}

// TestRedis: a Redis exchange is carried byte for byte, and named.
func TestRedis(t *testing.T) {
	t.Parallel()
	harness.Need(t, "redis-server", "redis-cli")
	redis := harness.StartRedis(t)
	s := harness.NewStack(t, bins, redis.Port)
	s.ProxyEnv["LOG_LEVEL"] = "debug"
	s.StartAll()

	cli := func(port int, args ...string) string {
		r := harness.Run(t, s.Dir, nil, nil, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", fmt.Sprint(port)}, args...)...)
		if r.Code != 0 {
			t.Fatalf("redis-cli %v: %s%s", args, r.Stdout, r.Stderr)
		}
		return strings.TrimSpace(r.Stdout)
	}
	if got := cli(s.ProxyPort, "set", "cart", "42"); got != "OK" {
		t.Errorf("set through the proxy: %q", got)
	}
	if got := cli(redis.Port, "get", "cart"); got != "42" {
		t.Errorf("get, direct: %q", got)
	}
	// The same commands, written at once, direct and through the proxy.
	transcript := func(port int) []byte {
		conn, err := net.DialTimeout("tcp", harness.Addr(port), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		command := func(words ...string) {
			fmt.Fprintf(&b, "*%d\r\n", len(words))
			for _, w := range words {
				fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
			}
		}
		command("FLUSHALL")
		for i := range 50 {
			command("RPUSH", "list", fmt.Sprint(i))
		}
		command("SET", "blob", string(noise(300_000, 11)))
		command("LRANGE", "list", "0", "-1")
		command("GET", "blob")
		command("NOSUCHCOMMAND")
		command("QUIT")
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(conn)
		if err != nil {
			t.Fatalf("read answers: %v", err)
		}
		return got
	}
	direct, through := transcript(redis.Port), transcript(s.ProxyPort)
	if len(direct) < 300_000 || !bytes.Equal(direct, through) {
		t.Errorf("direct %d bytes, through the proxy %d bytes, and they differ", len(direct), len(through))
	}
	waitDetected(s, "Redis")
	waitProtocol(t, s, "redis")
}
