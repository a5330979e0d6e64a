package interchange

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func gzipped(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// odd are HTTP pairs of every kind that a HAR has trouble with.
func odd() []*capturev1.RRPair {
	body := func(m **capturev1.Message, b []byte) { (*m).Body, (*m).BodySize = b, uint64(len(b)) }
	reqHead := func(h string) func(*capturev1.RRPair) {
		return func(p *capturev1.RRPair) { p.Request.Head = []byte(h) }
	}
	respHead := func(h string) func(*capturev1.RRPair) {
		return func(p *capturev1.RRPair) { p.Response.Head = []byte(h) }
	}
	changes := []func(*capturev1.RRPair){
		func(*capturev1.RRPair) {},
		func(p *capturev1.RRPair) { body(&p.Request, []byte("\xff\x00\xfe")) },
		func(p *capturev1.RRPair) { body(&p.Response, []byte("\x89PNG\x00\xff")) },
		func(p *capturev1.RRPair) { body(&p.Response, bytes.Repeat([]byte{1}, 100)) },
		func(p *capturev1.RRPair) {
			p.Response.Head = []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			body(&p.Response, gzipped(`{"long":"`+strings.Repeat("a", 1000)+`"}`))
		},
		func(p *capturev1.RRPair) { // says gzip and is not
			p.Response.Head = []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
		},
		func(p *capturev1.RRPair) {
			p.Response.Head = []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
			p.Response.BodyDecoded = true
			p.Flags = []capturev1.Flag{capturev1.Flag_FLAG_REDACTED}
			p.Redactions = []*capturev1.Redaction{{Rule: "r", Location: "response.body", Type: "email", Count: 2}}
		},
		func(p *capturev1.RRPair) {
			p.Response.Truncated, p.Response.BodySize = true, 5000
			p.Flags = []capturev1.Flag{capturev1.Flag_FLAG_TRUNCATED}
		},
		func(p *capturev1.RRPair) {
			p.Response, p.Status, p.Error = nil, 0, "reset by server"
			p.Timing.ResponseFirst, p.Timing.ResponseLast = 0, 0
			p.Flags = []capturev1.Flag{capturev1.Flag_FLAG_NO_RESPONSE}
		},
		func(p *capturev1.RRPair) { // the answer began first
			p.Timing.ResponseFirst = p.Timing.RequestFirst + 5
		},
		func(p *capturev1.RRPair) { p.Timing = &capturev1.Timing{} },
		func(p *capturev1.RRPair) { p.Timing, p.Source = nil, nil },
		func(p *capturev1.RRPair) {
			p.Response.Chunks = []*capturev1.Chunk{{Size: 1}, {Size: 1, Line: []byte("1;x")}}
			p.Response.Interim, p.Response.Trailers = [][]byte{[]byte("HTTP/1.1 100 Continue\r\n\r\n")}, []byte("X: 1\r\n\r\n")
			p.Tags, p.SampleWeight = map[string]string{"a": "b"}, 8
		},
		func(p *capturev1.RRPair) { p.Request.Body, p.Request.BodySize = nil, 0 },
		reqHead("GET http://other.example/abs?x HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
		reqHead("OPTIONS * HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
		reqHead("CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example:443\r\n\r\n"),
		reqHead("GET /a|b<>\"{}\xff%zz# HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
		reqHead("GET //double/../x?#y HTTP/1.1\r\nHost: \xff evil\r\n\r\n"),
		reqHead("GET /? HTTP/1.0\nno colon\nFolded: a\n  b\n: empty\nX:1\n\n"),
		reqHead("\r\nGET /x HTTP/1.1\r\nHost:  spaces \r\nEmpty:\r\n\r\n"),
		reqHead("G\x01T /x HTTP/1.1\r\nHost: a\x00b\r\nX: \xff\r\n\r\n"),
		respHead("HTTP/1.1 200\r\n\r\n"),
		respHead("HTTP/1.1 404 Not \xff Found\r\nLocation: http://a/\xff\r\nSet-Cookie: =\r\nSet-Cookie: a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure\r\n\r\n"),
		respHead(""),
	}
	var out []*capturev1.RRPair
	for i, c := range changes {
		out = append(out, exchange(i, c))
	}
	return out
}

func harSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile("testdata/har-1.2.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func valid(t *testing.T, schema *jsonschema.Schema, file []byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%#v\n%s", err, file)
	}
}

// TestHARIsLossless: what was written is read back whole, the file follows the
// schema, and written again it is the same.
func TestHARIsLossless(t *testing.T) {
	schema := harSchema(t)
	for i, p := range odd() {
		file, left := write(t, HAR, p)
		if left != 0 {
			t.Fatalf("pair %d is left out", i)
		}
		valid(t, schema, file)
		got := read(t, HAR, file)
		equal(t, fmt.Sprintf("pair %d\n%s", i, file), got, []*capturev1.RRPair{p})
	}
	pairs := odd()
	file, _ := write(t, HAR, pairs...)
	valid(t, schema, file)
	again, _ := write(t, HAR, read(t, HAR, file)...)
	if !bytes.Equal(again, file) {
		t.Errorf("export, import, export is another file\n%s\n%s", file, again)
	}
	empty, _ := write(t, HAR)
	valid(t, schema, empty)
	if len(read(t, HAR, empty)) != 0 {
		t.Error("an empty file has pairs")
	}
}

// TestHAROfAnything: whatever bytes were captured as HTTP.
func TestHAROfAnything(t *testing.T) {
	schema := harSchema(t)
	r := rand.New(rand.NewPCG(3, 4))
	bits := []string{"GET", "POST", " ", " ", "/", "?", "#", "HTTP/1.1", "\r\n", "\n", "Host", ":", ": ", "a", "é", "\xff", "\x00", "%41", "%", "//", "http://", "Cookie", "=", ";", "\r\n\r\n", "200", "[", "]", "@", "\u2028"}
	some := func() []byte {
		var b []byte
		for range r.IntN(25) {
			b = append(b, bits[r.IntN(len(bits))]...)
		}
		return b
	}
	n := 0
	for range 3000 {
		p := exchange(1)
		p.Request.Head = append([]byte("GET /"+strings.ReplaceAll(string(some()), " ", "")+" HTTP/1.1\r\n"), some()...)
		p.Response.Head = some()
		p.Request.Body, p.Response.Body = some(), some()
		p.Request.BodySize, p.Response.BodySize = uint64(len(p.Request.Body)), uint64(len(p.Response.Body))
		p.Host, p.Server = "a", []string{"", "x", "[::1]:80", "10.0.0.1:1"}[r.IntN(4)]
		file, left := write(t, HAR, p)
		if left > 0 {
			continue
		}
		n++
		valid(t, schema, file)
		equal(t, string(file), read(t, HAR, file), []*capturev1.RRPair{p})
	}
	if n < 500 {
		t.Errorf("only %d of 3000 were HTTP", n)
	}
}

// TestHARHoldsASecretOnce: what HAR has a place for is not in _weir a second
// time, so that who edits it there has edited it.
func TestHARHoldsASecretOnce(t *testing.T) {
	p := exchange(1)
	p.Request.Head = []byte("GET /x?token=hidden1 HTTP/1.1\r\nHost: shop.example\r\nAuthorization: hidden2\r\n\r\n")
	p.Path, p.Query, p.Method, p.Host = "/x", "token=hidden1", "GET", "shop.example"
	p.Response.Head = []byte("HTTP/1.1 200 OK\r\nX-Key: hidden3\r\n\r\n")
	p.Response.Body, p.Response.BodySize = []byte("hidden4"), 7
	file, _ := write(t, HAR, p)
	var doc struct {
		Log struct {
			Entries []struct {
				Weir json.RawMessage `json:"_weir"`
			}
		}
	}
	if err := json.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	if weir := doc.Log.Entries[0].Weir; len(weir) < 100 || bytes.Contains(weir, []byte("hidden")) {
		t.Errorf("_weir: %s", weir)
	}
	edited := bytes.ReplaceAll(file, []byte("hidden"), []byte("masked"))
	got := read(t, HAR, edited)[0]
	if !strings.Contains(string(got.GetRequest().GetHead()), "?token=masked1 ") || got.GetQuery() != "token=masked1" ||
		string(got.GetResponse().GetBody()) != "masked4" {
		t.Errorf("what was edited is not what is read: %v", got)
	}
}

func TestHARLeavesOutWhatIsNotHTTP(t *testing.T) {
	tls := exchange(2)
	tls.Protocol, tls.Request.Head = "tls", nil
	file, left := write(t, HAR, exchange(1), tls, exchange(3))
	if left != 1 || len(read(t, HAR, file)) != 2 {
		t.Errorf("%d left out", left)
	}
}

// TestForeignHAR is what a browser writes: HTTP/2, pseudo fields, joined
// cookies, decoded bodies, bodies that are not there.
func TestForeignHAR(t *testing.T) {
	file, err := os.ReadFile("testdata/browser.har")
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, HAR, file)
	if len(got) != 3 {
		t.Fatalf("%d pairs", len(got))
	}
	p := got[0]
	wantHead := "GET /search?q=a%20b HTTP/2\r\nHost: www.example.com\r\naccept: */*\r\n\r\n"
	if string(p.GetRequest().GetHead()) != wantHead {
		t.Errorf("request\n got %q\nwant %q", p.GetRequest().GetHead(), wantHead)
	}
	wantHead = "HTTP/2 200 \r\ncontent-encoding: br\r\nset-cookie: a=1\r\nset-cookie: b=2; Path=/\r\ncontent-type: text/html\r\n\r\n"
	if string(p.GetResponse().GetHead()) != wantHead {
		t.Errorf("response\n got %q\nwant %q", p.GetResponse().GetHead(), wantHead)
	}
	if m := p.GetResponse(); string(m.GetBody()) != "<h1>ü</h1>" || !m.GetBodyDecoded() || m.GetBodySize() != 9 || m.GetTruncated() {
		t.Errorf("body %q decoded %v size %d", m.GetBody(), m.GetBodyDecoded(), m.GetBodySize())
	}
	if p.GetServer() != "93.184.216.34:443" || p.GetHost() != "www.example.com" || p.GetPath() != "/search" || p.GetQuery() != "q=a%20b" || p.GetTags()[schemeTag] != "https" {
		t.Errorf("%v", p)
	}
	// 12:00:00 and 3 ms of waiting in the browser, then 1 + 20 + 5.5 ms.
	if tm := p.GetTiming(); tm.GetResponseLast()-tm.GetRequestFirst() != 26_500_000 || tm.GetRequestFirst()%1e9 != 3e6 {
		t.Errorf("timing %v", tm)
	}
	post := got[1]
	if string(post.GetRequest().GetBody()) != "name=A+B&x=%26" || string(post.GetResponse().GetBody()) != "\x89PNG" {
		t.Errorf("bodies %q %q", post.GetRequest().GetBody(), post.GetResponse().GetBody())
	}
	if !slices.Contains(got[2].GetFlags(), capturev1.Flag_FLAG_NO_RESPONSE) || got[2].GetError() != "net::ERR_FAILED" || got[2].GetResponse() != nil {
		t.Errorf("a request without response: %v", got[2])
	}
	first, _ := write(t, HAR, got...)
	valid(t, harSchema(t), first)
	again, _ := write(t, HAR, read(t, HAR, first)...)
	if !bytes.Equal(first, again) {
		t.Error("export, import, export is another file")
	}
}

// TestMitmproxyOpensIt: a foreign reader sees the same requests. Releases of
// mitmproxy from 10.1 on read HAR.
func TestMitmproxyOpensIt(t *testing.T) {
	tool := os.Getenv("MITMDUMP")
	if tool == "" {
		tool = "mitmdump"
	}
	version, err := exec.CommandContext(t.Context(), tool, "--version").Output()
	var major, minor int
	if _, scanErr := fmt.Sscanf(string(version), "Mitmproxy: %d.%d", &major, &minor); err != nil || scanErr != nil || major < 10 || major == 10 && minor < 1 {
		t.Skipf("MISSING mitmdump 10.1 or later (found %q, %v): that it opens our HAR is not tried; MITMDUMP names one", strings.TrimSpace(string(version)), err)
	}
	file, _ := write(t, HAR, odd()[:14]...)
	name := filepath.Join(t.TempDir(), "out.har")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool, "-n", "-r", name, "--set", "flow_detail=1", "--set", "confdir="+t.TempDir()).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i := range 14 {
		if !strings.Contains(string(out), fmt.Sprintf("/orders/%d", i)) {
			t.Errorf("no /orders/%d in\n%s", i, out)
		}
	}
}
