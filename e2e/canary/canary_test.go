package canary

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weir-capture/weir/e2e/harness"
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
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		for _, name := range []string{"Content-Type", "Content-Encoding", "X-Note"} {
			if v := r.Header.Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		for _, c := range r.Cookies() {
			http.SetCookie(w, c)
		}
		if r.URL.RawQuery != "" {
			w.Header().Set("Location", "/next?"+r.URL.RawQuery)
		}
		_, _ = w.Write(b)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// send writes a request as it stands, and reads the answer.
func send(addr string, r *Request) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return err
	}
	var b bytes.Buffer
	method := "GET"
	if r.Body != nil {
		method = "POST"
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n", method, r.Target)
	for _, f := range r.Fields {
		b.WriteString(f + "\r\n")
	}
	if r.Type != "" {
		b.WriteString("Content-Type: " + r.Type + "\r\n")
	}
	switch {
	case r.Chunked > 0:
		if r.Trailer != "" {
			b.WriteString("Trailer: X-Note\r\n")
		}
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := r.Body; len(rest) > 0; {
			n := min(r.Chunked, len(rest))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n")
		if r.Trailer != "" {
			b.WriteString(r.Trailer + "\r\n")
		}
		b.WriteString("\r\n")
	case r.Body != nil:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	default:
		b.WriteString("\r\n")
	}
	size := r.Segment
	if size == 0 {
		size = b.Len()
	}
	for b.Len() > 0 {
		if _, err := c.Write(b.Next(size)); err != nil {
			return err
		}
	}
	// What the application says to nonsense is its own affair.
	_, err = io.Copy(io.Discard, bufio.NewReader(c))
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
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
	h := hunter{t: t, secrets: secrets}
	// What the programs answer.
	for _, u := range append([]string{
		"/metrics", "/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/fields", "/api/v1/proxies", "/api/v1/forwarders", "/api/v1/ledger", "/api/v1/doctor",
		"/api/v1/stats/histogram", "/api/v1/stats/facets", "/api/v1/stats/endpoints", "/api/v1/stats/map",
		"/api/v1/export?format=har", "/api/v1/export?format=jsonl", "/api/v1/export?format=curl", "/api/v1/export?format=rrpair",
		"/api/v1/fields/path/values", "/api/v1/fields/query/values", "/api/v1/fields/host/values",
	}, pairURLs(ids)...) {
		h.get(s.Viewer() + u)
	}
	h.get("http://" + harness.Addr(metrics) + "/metrics")
	for _, u := range []string{"/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline"} {
		h.get("http://" + harness.Addr(diagnostics) + u)
	}
	// What they print when they die.
	for _, p := range []*harness.Proc{s.Proxy, s.Forwarder, s.Analyzer} {
		p.Signal(syscall.SIGQUIT)
		p.Wait(20 * time.Second)
	}
	h.files(s.Dir)
	t.Logf("%d secrets in %d places, %d requests; %d answers and %d files with %d MiB looked through: %d hits", len(secrets), len(places), sent, h.answers, h.count, h.bytes>>20, h.hits)
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

func pairURLs(ids []string) (urls []string) {
	for _, id := range ids {
		p := "/api/v1/pairs/" + id
		urls = append(urls, p, p+"/curl", p+"/request/raw", p+"/response/raw", p+"/request/body", p+"/response/body", p+"/request/body?decoded=1", p+"/response/body?decoded=1")
	}
	return urls
}

// hunter looks for secrets.
type hunter struct {
	t              *testing.T
	secrets        []Secret
	forms          []form
	answers, count int
	bytes          int64
	hits           int
}

type form struct {
	secret Secret
	name   string
	text   []byte
}

// look searches some bytes, and what is packed in them.
func (h *hunter) look(where string, b []byte) {
	if h.forms == nil {
		for _, s := range h.secrets {
			for name, text := range Forms(s) {
				h.forms = append(h.forms, form{s, name, text})
			}
		}
	}
	h.bytes += int64(len(b))
	for _, f := range h.forms {
		if i := bytes.Index(b, f.text); i >= 0 {
			h.hits++
			if h.hits <= 40 {
				h.t.Errorf("%s: %s, %s: %q", where, f.secret.Kind, f.name, b[max(0, i-60):min(len(b), i+len(f.text)+20)])
			}
		}
	}
}

func (h *hunter) get(u string) {
	resp, err := http.Get(u)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	h.answers++
	var head bytes.Buffer
	_ = resp.Header.Write(&head) // to memory
	h.look(u, append(head.Bytes(), b...))
}

// files looks into every file below a folder, and into what is compressed in
// it.
func (h *hunter) files(dir string) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(256<<20))
	if err != nil {
		h.t.Fatal(err)
	}
	defer d.Close()
	frames := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		h.count++
		h.look(path, b)
		magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
		for at := 0; ; at++ {
			i := bytes.Index(b[at:], magic)
			if i < 0 {
				return nil
			}
			at += i
			// It is followed by other things, which the decoder takes for an
			// error; what it gave before that counts.
			if err := d.Reset(bytes.NewReader(b[at:])); err != nil {
				continue
			}
			plain, _ := io.ReadAll(d)
			if len(plain) > 0 {
				frames++
				h.look(path+" (packed)", plain)
			}
		}
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if frames == 0 {
		h.t.Error("no packed frame was found in any file: nothing was looked into")
	}
}
