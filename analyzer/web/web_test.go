package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
)

func ask(t *testing.T, c *http.Client, method, url string, headers ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

func newClient(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.New(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func many(n int) *fakeStore {
	f := newFake()
	for i := range n {
		status := int32(200)
		if i%10 == 0 {
			status = 503
		}
		f.add(exchange(i, "GET", fmt.Sprintf("/orders/%d", i), status, "", "ok"))
	}
	return f
}

// TestRowAndPairShape holds the JSON to the contract, member by member.
func TestRowAndPairShape(t *testing.T) {
	p := exchange(1, "POST", "/cart/17", 201, "in", "\xff\xfe")
	p.Query, p.Error = "a=1", "reset by server"
	p.Flags = []capturev1.Flag{capturev1.Flag_FLAG_TRUNCATED, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS}
	p.Tags = map[string]string{"tls.sni": "a.example"}
	p.Redactions = []*capturev1.Redaction{{Rule: "standard", Location: "request.header.cookie", Type: "secret", Count: 2}}
	p.Response.Trailers = []byte("X-Sum: 1\r\n\r\n")
	p.Response.Truncated = true
	_, ts := serve(t, newFake(p))

	_, got := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs")
	row := `{"id":"01997b2c-6d3f-7c44-9d6e-000000000001","time":"2026-11-23T12:00:01.123456789Z","stored_at":"2026-11-23T13:00:00.123456789Z",` +
		`"cluster":"c1","namespace":"ns","app":"shop","pod":"pod-1","direction":"inbound","protocol":"http","method":"POST","host":"shop.example:8080",` +
		`"path":"/cart/17","query":"a=1","endpoint":"/cart/{id}","status":201,"duration_ns":9000000,"ttfb_ns":5000000,"request_size":2,"response_size":2,` +
		`"client":"10.0.0.1:5000","server":"127.0.0.1:8080","conn":3,"seq":1,"flags":["truncated","framing_ambiguous"],"error":"reset by server","sample_weight":1}`
	if want := `{"pairs":[` + row + `],"next_cursor":null,"partial":false,"partial_reason":"","scanned":0,"of":0}` + "\n"; string(got) != want {
		t.Errorf("list\n got %swant %s", got, want)
	}
	_, got = ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-000000000001")
	want := strings.TrimSuffix(row, "}") + `,"request":{"start_line":"POST /cart/17 HTTP/1.1","headers":[["Host","shop.example:8080"],["X-One","1"],["x-one","2"]],"trailers":[],` +
		`"body":"in","body_encoding":"text","body_size":2,"body_hash":"","truncated":false,"wire_size":73,"content_encoding":""},` +
		`"response":{"start_line":"HTTP/1.1 200 OK","headers":[["Content-Type","text/plain"]],"trailers":[["X-Sum","1"]],` +
		`"body":"//4=","body_encoding":"base64","body_size":2,"body_hash":"30313233343536373839616263646566","truncated":true,"wire_size":47,"content_encoding":""},` +
		`"timing":{"accepted":"2026-11-23T12:00:01.118456789Z","connected":"2026-11-23T12:00:01.119456789Z","request_first":"2026-11-23T12:00:01.123456789Z",` +
		`"request_last":"2026-11-23T12:00:01.124456789Z","response_first":"2026-11-23T12:00:01.128456789Z","response_last":"2026-11-23T12:00:01.132456789Z"},` +
		`"redactions":[{"rule":"standard","location":"request.header.cookie","type":"secret","count":2}],"tags":{"tls.sni":"a.example"}}` + "\n"
	if string(got) != want {
		t.Errorf("pair\n got %swant %s", got, want)
	}
}

func TestPairWithoutResponse(t *testing.T) {
	p := exchange(1, "GET", "/", 0, "", "")
	p.Response, p.Timing.ResponseFirst, p.Timing.ResponseLast = nil, 0, 0
	_, ts := serve(t, newFake(p))
	_, got := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-000000000001")
	var m map[string]any
	if err := json.Unmarshal(got, &m); err != nil {
		t.Fatal(err)
	}
	if _, has := m["response"]; has || m["duration_ns"] != nil || m["ttfb_ns"] != nil || m["timing"].(map[string]any)["response_last"] != nil {
		t.Errorf("got %s", got)
	}
	if resp, _ := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-000000000001/response/body"); resp.StatusCode != 404 {
		t.Errorf("body of no response: %s", resp.Status)
	}
}

// TestPagesMeet: pages of any size give every pair once, newest first, also
// when the store can only look at a few at a time.
func TestPagesMeet(t *testing.T) {
	f := many(57)
	_, ts := serve(t, f)
	c := newClient(t, ts.URL)
	for _, budget := range []int{0, 3} {
		f.budget = budget
		for _, size := range []int{1, 7, 57, 100} {
			var got []string
			for r, err := range c.Pairs(t.Context(), client.List{PageSize: size}) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, r.Path)
			}
			if len(got) != 57 || got[0] != "/orders/56" || got[56] != "/orders/0" || !slices.IsSortedFunc(got, func(a, b string) int {
				var x, y int
				fmt.Sscanf(a, "/orders/%d", &x)
				fmt.Sscanf(b, "/orders/%d", &y)
				return y - x
			}) {
				t.Errorf("budget %d, pages of %d: %v", budget, size, got)
			}
		}
	}
	f.budget = 0
	n := 0
	for _, err := range c.Pairs(t.Context(), client.List{Query: "status:5xx", PageSize: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 6 {
		t.Errorf("status:5xx gave %d pairs, want 6", n)
	}
}

// TestCursorKeepsTheRange: relative bounds do not move between two pages.
func TestCursorKeepsTheRange(t *testing.T) {
	now := base.Add(60 * time.Second)
	_, ts := serve(t, many(60), func(c *Config, _ *Deps) { c.Now = func() time.Time { return now } })
	c := newClient(t, ts.URL)
	page, err := c.Page(t.Context(), client.List{From: "10s", PageSize: 4}, "")
	if err != nil || len(page.Pairs) != 4 || page.NextCursor == nil {
		t.Fatalf("%v %v", page, err)
	}
	now = now.Add(time.Hour)
	rest, err := c.Page(t.Context(), client.List{From: "10s", PageSize: 100}, *page.NextCursor)
	if err != nil || len(rest.Pairs) != 6 || rest.NextCursor != nil {
		t.Fatalf("second page has %d pairs, want the 6 that are left of the first page's 10 s: %v", len(rest.Pairs), err)
	}
}

// TestMistakesSayWhatIsRight: every malformed input is a problem document
// that names it.
func TestMistakesSayWhatIsRight(t *testing.T) {
	_, ts := serve(t, many(3))
	const id = "01997b2c-6d3f-7c44-9d6e-000000000001"
	for _, c := range []struct {
		method, path string
		status       int
		want         string // in the detail
	}{
		{"GET", "/api/v1/pairs?limit=0", 400, `limit="0" is not valid; want a whole number from 1 to 1000`},
		{"GET", "/api/v1/pairs?limit=1001", 400, "1 to 1000"},
		{"GET", "/api/v1/pairs?limit=ten", 400, `limit="ten"`},
		{"GET", "/api/v1/pairs?from=yesterday", 400, "how long ago, such as 15m"},
		{"GET", "/api/v1/pairs?from=-15m", 400, "how long ago, such as 15m"},
		{"GET", "/api/v1/pairs?to=1066-10-14T00:00:00Z", 400, "is not a time"},
		{"GET", "/api/v1/pairs?from=5m&to=10m", 400, "is not before"},
		{"GET", "/api/v1/pairs?cursor=abc", 400, "want the next_cursor of an earlier page"},
		{"GET", "/api/v1/pairs?q=" + strings.Repeat("a", 9<<10), 400, "at most 8192"},
		{"GET", "/api/v1/pairs?q=stauts:500", 400, `Unknown field "stauts" at column 1. Did you mean status?`},
		{"GET", "/api/v1/tail?q=stauts:500", 400, "at column 1"},
		{"GET", "/api/v1/tail?cursor=x", 400, "want the id of an earlier event"},
		{"GET", "/api/v1/stats/histogram?q=stauts:500", 400, "at column 1"},
		{"GET", "/api/v1/stats/histogram?buckets=5000", 400, "1 to 1000"},
		{"GET", "/api/v1/pairs/42", 400, "want a UUID"},
		{"GET", "/api/v1/pairs/%7B" + id + "%7D", 400, "want a UUID"},
		{"GET", "/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-0000000000ff", 404, "No stored pair has the id 01997b2c-6d3f-7c44-9d6e-0000000000ff"},
		{"GET", "/api/v1/pairs/" + id + "/reply/body", 404, "a request and a response"},
		{"GET", "/api/v1/pairs/" + id + "/request/body?decoded=2", 400, "want 1 or 0"},
		{"GET", "/api/v1/pears", 404, "openapi.json"},
		{"GET", "/api", 404, "openapi.json"},
		{"POST", "/api/v1/pears", 404, "openapi.json"},
		{"POST", "/api/v1/pairs", 405, "GET"},
		{"DELETE", "/api/v1/pairs/" + id, 405, "GET"},
		{"GET", "/api/v1/ledger", 501, "keeps no ledger"},
		{"GET", "/api/v1/stats/facets?q=x", 501, "/api/v1/stats/facets"},
		{"GET", "/api/v1/stats/endpoints", 501, "/api/v1/stats/endpoints"},
		{"GET", "/api/v1/stats/map", 501, "/api/v1/stats/map"},
		{"GET", "/api/v1/stats/errors", 501, "/api/v1/stats/errors"},
		{"GET", "/api/v1/stats/heatmap", 501, "/api/v1/stats/heatmap"},
		{"GET", "/api/v1/stats/difference", 501, "/api/v1/stats/difference"},
		{"GET", "/api/v1/export?format=har", 501, "/api/v1/export"},
		{"GET", "/api/v1/fields/app/values?prefix=c", 501, "/api/v1/fields/app/values"},
	} {
		t.Run(c.method+" "+c.path[:min(60, len(c.path))], func(t *testing.T) {
			resp, b := ask(t, ts.Client(), c.method, ts.URL+c.path)
			var p httpv1.Problem
			if err := json.Unmarshal(b, &p); err != nil {
				t.Fatalf("%s: %s", resp.Status, b)
			}
			if resp.StatusCode != c.status || p.Status != c.status || !strings.Contains(p.Detail, c.want) ||
				resp.Header.Get("Content-Type") != "application/problem+json" || p.Title == "" || p.Type == "" {
				t.Errorf("%s %s", resp.Status, b)
			}
			if c.status == 405 && resp.Header.Get("Allow") != "GET, HEAD" {
				t.Errorf("Allow: %q", resp.Header.Get("Allow"))
			}
		})
	}
}

func TestQueryErrorHasItsPlace(t *testing.T) {
	_, ts := serve(t, many(1))
	_, err := newClient(t, ts.URL).Page(t.Context(), client.List{Query: "app:shop stauts:5xx"}, "")
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.Type != httpv1.ProblemQuery || len(p.Errors) != 1 {
		t.Fatalf("%v", err)
	}
	if e := p.Errors[0]; e.Column != 10 || e.Length != 6 || e.Suggestion != "status" || e.Message == "" {
		t.Errorf("%+v", e)
	}
}

// TestCheckAQuery: a mistake is an answer of status 200, and the same object
// as in the problem that the other calls answer with.
func TestCheckAQuery(t *testing.T) {
	f := many(1)
	f.err = errors.New("the store is not asked")
	_, ts := serve(t, f)
	for _, c := range []struct{ q, want string }{
		{"", `{"canonical":"","mistake":null}`},
		{"%20", `{"canonical":"","mistake":null}`},
		{"status:5XX+AND+(app:Shop)", `{"canonical":"status:5xx app:Shop","mistake":null}`},
		{
			"app:shop+stauts:5xx",
			`{"canonical":null,"mistake":{"column":10,"length":6,"message":"Unknown field \"stauts\"","expected":"a field such as status or path; put text that contains a colon in quotes","suggestion":"status"}}`,
		},
	} {
		resp, got := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/query?q="+c.q)
		if resp.StatusCode != http.StatusOK || string(got) != c.want+"\n" {
			t.Errorf("%s: %s %s, want %s", c.q, resp.Status, got, c.want)
		}
	}

	cl := newClient(t, ts.URL)
	for _, q := range []string{"stauts:5xx", "(", "status:", "\xff", strings.Repeat("(", 65) + "a", strings.Repeat("a ", 257)} {
		check, err := cl.Check(t.Context(), q)
		if err != nil || check.Canonical != nil || check.Mistake == nil {
			t.Errorf("%.20q: %+v %v", q, check, err)
			continue
		}
		_, err = cl.Page(t.Context(), client.List{Query: q}, "")
		if p, ok := errors.AsType[*client.Problem](err); !ok || len(p.Errors) == 0 || p.Errors[0] != *check.Mistake {
			t.Errorf("%.20q: list says %v, check %+v", q, err, *check.Mistake)
		}
	}
	_, err := cl.Check(t.Context(), strings.Repeat("a", 9<<10))
	if p, ok := errors.AsType[*client.Problem](err); !ok || p.Status != http.StatusBadRequest || p.Type != httpv1.ProblemParameter {
		t.Errorf("too long: %v", err)
	}
}

// TestOnlyThisMachine: names that a page elsewhere could have, and requests
// that it could make, are refused on every path.
func TestOnlyThisMachine(t *testing.T) {
	_, ts := serve(t, many(1))
	for _, c := range []struct {
		host   string
		status int
	}{
		{"localhost", 200},
		{"localhost:4190", 200},
		{"LOCALHOST:1", 200},
		{"localhost.", 200},
		{"127.0.0.1:4190", 200},
		{"127.9.9.9", 200},
		{"[::1]:4190", 200},
		{"[::1]", 200},
		{"[::ffff:127.0.0.1]:1", 200},
		{"evil.test", 403},
		{"localhost.evil.test", 403},
		{"127.0.0.1.evil.test", 403},
		{"evil.test:4190", 403},
		{"10.0.0.1", 403},
		{"0.0.0.0:4190", 403},
		{"[fe80::1%25lo]:1", 403},
		{"localhost@evil.test", 403},
	} {
		for _, path := range []string{"/api/v1/info", "/metrics", "/healthz"} {
			if resp, b := ask(t, ts.Client(), "GET", ts.URL+path, "Host", c.host); resp.StatusCode != c.status {
				t.Errorf("Host %s %s: %s %s", c.host, path, resp.Status, b)
			}
		}
	}
	for _, c := range []struct {
		method string
		h      []string
		status int
	}{
		{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"GET", []string{"Origin", "http://evil.test"}, 403},
		{"GET", []string{"Origin", "null"}, 403},
		{"GET", []string{"Origin", ts.URL}, 200},
		{"POST", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"POST", []string{"Origin", "http://evil.test"}, 403},
		{"POST", []string{"Origin", "null"}, 403},
	} {
		if resp, b := ask(t, ts.Client(), c.method, ts.URL+"/api/v1/info", c.h...); resp.StatusCode != c.status {
			t.Errorf("%s %v: %s %s", c.method, c.h, resp.Status, b)
		}
	}
}

// TestBodiesAreNeverDocuments: whatever was captured leaves as an attachment
// that a browser does not render.
func TestBodiesAreNeverDocuments(t *testing.T) {
	page := "<html><script>alert(1)</script>"
	bin := exchange(2, "GET", "/img", 200, "", "\x89PNG\x00")
	_, ts := serve(t, newFake(exchange(1, "GET", "/page", 200, "", page), bin))
	const base = "/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-00000000000"
	for _, c := range []struct{ path, kind, file, body string }{
		{base + "1/response/body", "application/octet-stream", "01997b2c-6d3f-7c44-9d6e-000000000001-response.txt", page},
		{base + "2/response/body", "application/octet-stream", "01997b2c-6d3f-7c44-9d6e-000000000002-response.bin", "\x89PNG\x00"},
		{base + "1/response/raw", "application/octet-stream", "01997b2c-6d3f-7c44-9d6e-000000000001-response.raw", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n" + page},
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+c.path)
		h := resp.Header
		if string(b) != c.body || h.Get("Content-Type") != c.kind || h.Get("Content-Disposition") != "attachment; filename="+c.file ||
			h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(h.Get("Content-Security-Policy"), "sandbox") || h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %v %q", c.path, h, b)
		}
	}
}

func TestDecodedBody(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, strings.Repeat("hello ", 1000))
	w.Close()
	set := func(n int, coding string, body []byte, truncated bool) *capturev1.RRPair {
		p := exchange(n, "GET", "/", 200, "", string(body))
		p.Response.Head = []byte("HTTP/1.1 200 OK\r\nContent-Encoding: " + coding + "\r\n\r\n")
		p.Response.Truncated = truncated
		return p
	}
	_, ts := serve(t, newFake(
		set(1, "gzip", z.Bytes(), false), set(2, "gzip", z.Bytes()[:z.Len()-9], true), set(3, "squeeze", z.Bytes(), false), set(4, "gzip", []byte("no gzip"), false)))
	url := func(n int, q string) string {
		return fmt.Sprintf("%s/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-%012d/response/body%s", ts.URL, n, q)
	}
	resp, b := ask(t, ts.Client(), "GET", url(1, "?decoded=1"))
	if string(b) != strings.Repeat("hello ", 1000) || resp.Header.Get("Weir-Body") != "whole" {
		t.Errorf("gzip: %q %q", resp.Header.Get("Weir-Body"), b)
	}
	if _, b = ask(t, ts.Client(), "GET", url(1, "")); !bytes.Equal(b, z.Bytes()) {
		t.Errorf("without decoded: %q", b)
	}
	resp, b = ask(t, ts.Client(), "GET", url(2, "?decoded=true"))
	if !strings.HasPrefix(string(b), "hello ") || resp.Header.Get("Weir-Body") != "truncated" {
		t.Errorf("cut gzip: %s %q %q", resp.Status, resp.Header.Get("Weir-Body"), b)
	}
	for _, n := range []int{3, 4} {
		if resp, b = ask(t, ts.Client(), "GET", url(n, "?decoded=1")); resp.StatusCode != 422 || !strings.Contains(string(b), "Without decoded=1") {
			t.Errorf("%d: %s %s", n, resp.Status, b)
		}
	}
}

func TestHistogram(t *testing.T) {
	_, ts := serve(t, many(60))
	h, err := newClient(t, ts.URL).Histogram(t.Context(), "", base.Format(time.RFC3339Nano), base.Add(time.Minute).Format(time.RFC3339Nano), 6)
	if err != nil {
		t.Fatal(err)
	}
	if h.Total != 60 || len(h.Buckets) != 6 || h.StepNS != int64(10*time.Second) || !h.Buckets[1].Time.Equal(base.Add(10*time.Second)) ||
		h.Buckets[1].Counts != (httpv1.ClassCounts{C2xx: 9, C5xx: 1}) {
		t.Errorf("%+v", h)
	}
	// Open ends: from the oldest pair until now.
	h, err = newClient(t, ts.URL).Histogram(t.Context(), "status:5xx", "", "", 0)
	if err != nil || h.Total != 6 || !h.From.Equal(base) || !h.To.Equal(base.Add(time.Hour)) || len(h.Buckets) != httpv1.DefaultBuckets {
		t.Errorf("%+v %v", h, err)
	}
	// Nothing stored is an empty picture, no error.
	_, empty := serve(t, newFake())
	if h, err = newClient(t, empty.URL).Histogram(t.Context(), "", "", "", 0); err != nil || h.Total != 0 {
		t.Errorf("%+v %v", h, err)
	}
}

func TestProxies(t *testing.T) {
	at := base.UnixNano()
	status := &capturev1.ForwarderStatus{
		ForwarderId: "f1", Cluster: "c1", Version: "v2", Started: at, DlpConfig: "", FilterRule: "standard",
		Spool:    &capturev1.SpoolState{BytesUsed: 1, BytesLimit: 2, OldestOffset: 3, NextOffset: 4, ExportedOffset: 5},
		Filtered: map[string]uint64{"health": 9},
		Proxies: []*capturev1.ProxyStatus{
			{
				Source: &capturev1.Source{ProxyId: "p1", App: "shop", Epoch: []byte("0123456789abcdef")}, State: capturev1.ProxyStatus_STATE_CONNECTED,
				ListenAddr: ":4143", UpstreamAddr: "localhost:8080", LastSeen: at, ClockSkew: -int64(3 * time.Second),
				Counters: &capturev1.Counters{Seen: 10, Dropped: map[string]uint64{"memory": 1}}, ProxyState: &capturev1.ProxyState{OpenConns: 2, CaptureOn: true},
			},
			{Source: &capturev1.Source{ProxyId: "p2"}, State: capturev1.ProxyStatus_STATE_REAPED, ClockSkew: int64(2 * time.Second)},
		},
	}
	older := &capturev1.ForwarderStatus{ForwarderId: "f0", Proxies: []*capturev1.ProxyStatus{
		{Source: &capturev1.Source{ProxyId: "p1", Epoch: []byte("0123456789abcdef")}, State: capturev1.ProxyStatus_STATE_AWAY, LastSeen: at - 1},
		{Source: &capturev1.Source{ProxyId: "p3"}, State: capturev1.ProxyStatus_STATE_CONNECTED},
	}}
	_, ts := serve(t, newFake(), func(_ *Config, d *Deps) {
		d.Forwarders = func() []Forwarder {
			return []Forwarder{{Status: older, LastSeen: base.Add(-time.Hour)}, {Status: status, LastSeen: base, Connected: true}}
		}
	})
	got, err := newClient(t, ts.URL).Proxies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Forwarders) != 2 || got.Forwarders[1].Spool.ExportedOffset != 5 || got.Forwarders[1].Filtered["health"] != 9 || !got.Forwarders[1].Connected || got.Forwarders[0].Connected {
		t.Errorf("forwarders %+v", got.Forwarders)
	}
	by := map[string]httpv1.Proxy{}
	for _, p := range got.Proxies {
		by[p.ProxyID] = p
	}
	if len(got.Proxies) != 3 {
		t.Fatalf("%d proxies, want 3: %+v", len(got.Proxies), got.Proxies)
	}
	if p := by["p1"]; p.State != "connected" || p.ForwarderID != "f1" || p.Cluster != "c1" || !p.Skewed || p.ClockSkewNS != -3e9 || p.Counters.Seen != 10 ||
		p.Counters.Dropped["memory"] != 1 || p.OpenConns != 2 || !p.CaptureOn || p.Epoch != "30313233343536373839616263646566" {
		t.Errorf("p1 %+v", p)
	}
	if p := by["p2"]; p.State != "reaped" || p.Skewed || p.LastSeen != nil {
		t.Errorf("p2 %+v", p)
	}
	if p := by["p3"]; p.State != "unknown" {
		t.Errorf("p3 %+v", p)
	}
}

func TestReadinessSaysWhy(t *testing.T) {
	f := newFake()
	ingest := errors.New("listener is closed")
	_, ts := serve(t, f, func(_ *Config, d *Deps) {
		d.Checks = []Check{{"ingest", func(context.Context) error { return ingest }}}
	})
	c := newClient(t, ts.URL)
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "ingest: listener is closed") {
		t.Errorf("%v", err)
	}
	ingest = nil
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	f.err = fmt.Errorf("%w: 40 %% of the log read", store.ErrNotReady)
	if err := c.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "40 %") {
		t.Errorf("%v", err)
	}
	resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs")
	if resp.StatusCode != 503 || !strings.Contains(string(b), "40 %") {
		t.Errorf("%s %s", resp.Status, b)
	}
	if resp, _ = ask(t, ts.Client(), "GET", ts.URL+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("alive is not ready: %s", resp.Status)
	}
	// What broke stays in the log.
	f.err = errors.New("read /var/lib/x: i/o error")
	resp, b = ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs")
	if resp.StatusCode != 500 || strings.Contains(string(b), "/var/lib") {
		t.Errorf("%s %s", resp.Status, b)
	}
}

func TestInfoFieldsAndMetrics(t *testing.T) {
	_, ts := serve(t, many(3))
	c := newClient(t, ts.URL)
	info, err := c.Info(t.Context())
	if err != nil || info.Auth != "off" || info.Redaction != "off" || info.Pairs != 3 || !info.Oldest.Equal(base) || info.Version != "v1" {
		t.Errorf("%+v %v", info, err)
	}
	fields, err := c.Fields(t.Context())
	if err != nil || !slices.ContainsFunc(fields.Fields, func(f httpv1.Field) bool { return f.Name == "header.<name>" && f.Type == "any" }) {
		t.Errorf("%+v %v", fields, err)
	}
	_, b := ask(t, ts.Client(), "GET", ts.URL+"/metrics")
	for _, want := range []string{`weir_http_requests_total{code="200",route="GET /api/v1/info"} 1`, "weir_store_pairs 3", "weir_store_up 1", "weir_tails 0", "process_open_fds", "go_goroutines"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s in metrics", want)
		}
	}
}

func TestAnswersAreCompressed(t *testing.T) {
	_, ts := serve(t, many(50))
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	resp, b := ask(t, &http.Client{Transport: tr}, "GET", ts.URL+"/api/v1/pairs", "Accept-Encoding", "gzip")
	if resp.Header.Get("Content-Encoding") != "gzip" || len(b) > 4000 {
		t.Errorf("%v, %d bytes", resp.Header, len(b))
	}
}

func TestTailFollowsAndResumes(t *testing.T) {
	f := many(5)
	_, ts := serve(t, f)
	c := newClient(t, ts.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	// The first sign of life already says where the tail stands.
	var cursor string
	for ev, err := range c.Tail(ctx, "status:2xx", "") {
		if err != nil {
			t.Fatal(err)
		}
		if cursor == "" {
			if ev.Pair != nil || ev.Cursor != "5" {
				t.Fatalf("first event %+v", ev)
			}
			f.add(exchange(5, "GET", "/a", 200, "", ""))
			cursor = ev.Cursor
			continue
		}
		if ev.Pair == nil || ev.Pair.Path != "/a" || ev.Cursor != "6" {
			t.Fatalf("event %+v", ev)
		}
		cursor = ev.Cursor
		break
	}
	// What comes while nobody listens is there on return; losses are said.
	f.add(exchange(6, "GET", "/b", 500, "", ""))
	f.add(exchange(7, "GET", "/c", 200, "", ""))
	f.add(exchange(8, "LOST", "/", 200, "", ""))
	f.add(exchange(9, "GET", "/d", 200, "", ""))
	var got []string
	for ev, err := range c.Tail(ctx, "status:2xx", cursor) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Dropped > 0 {
			got = append(got, fmt.Sprint(ev.Dropped, " lost"))
		}
		if ev.Pair != nil {
			got = append(got, ev.Pair.Path)
		}
		if ev.Cursor == "10" {
			break
		}
	}
	if want := []string{"/c", "7 lost", "/d"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestTailOfAnotherStore: a cursor from before the data was replaced resumes
// nothing, and does not wait for the old numbers to come again.
func TestTailOfAnotherStore(t *testing.T) {
	f := many(3)
	_, ts := serve(t, f, func(c *Config, _ *Deps) { c.StoreID = "b" })
	c := newClient(t, ts.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, cursor := range []string{"a.9000", "9000"} {
		var got []string
		for ev, err := range c.Tail(ctx, "", cursor) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(ev.Dropped, " ", ev.Cursor))
			if len(got) == 2 {
				break
			}
		}
		if want := []string{"1 ", "0 b.3"}; !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", cursor, got, want)
		}
	}
	for ev, err := range c.Tail(ctx, "", "b.2") {
		if err != nil || ev.Pair == nil || ev.Pair.Path != "/orders/2" {
			t.Errorf("%+v %v", ev, err)
		}
		break
	}
}

// TestSlowStoreIsCutOff: an answer has a time, after which the caller is told
// how to make it shorter.
func TestSlowStoreIsCutOff(t *testing.T) {
	_, ts := serve(t, slowStore{many(1)}, func(c *Config, _ *Deps) { c.QueryTimeout = 20 * time.Millisecond })
	for _, path := range []string{"/api/v1/pairs", "/api/v1/pairs/01997b2c-6d3f-7c44-9d6e-000000000001", "/api/v1/stats/histogram?from=1h", "/api/v1/info"} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+path)
		if resp.StatusCode != 503 || !strings.Contains(string(b), httpv1.ProblemTimeout) || !strings.Contains(string(b), "shorter time range") {
			t.Errorf("%s: %s %s", path, resp.Status, b)
		}
	}
}

// slowStore answers when its caller has given up.
type slowStore struct{ store.Reader }

func (slowStore) Pair(ctx context.Context, _ store.ID) (*store.Stored, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (slowStore) List(ctx context.Context, _ store.List) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		<-ctx.Done()
		yield(nil, fmt.Errorf("list: %w", ctx.Err()))
	}
}

func (slowStore) Histogram(ctx context.Context, _ store.Histogram) (*store.Buckets, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (slowStore) Extent(ctx context.Context) (store.Extent, error) {
	<-ctx.Done()
	return store.Extent{}, ctx.Err()
}

func TestTailIsFlushedAndBeats(t *testing.T) {
	_, ts := serve(t, newFake(), func(c *Config, _ *Deps) { c.Heartbeat = 20 * time.Millisecond })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", ts.URL+"/api/v1/tail", nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := ts.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "" || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%v", resp.Header)
	}
	var got []byte
	for buf := make([]byte, 512); bytes.Count(got, []byte(": still here")) < 3; {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got)
		}
		got = append(got, buf[:n]...)
	}
}

func TestTailsAreBounded(t *testing.T) {
	s, ts := serve(t, newFake(), func(c *Config, _ *Deps) { c.Tails = 2 })
	var open []*http.Response
	for range 2 {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", ts.URL+"/api/v1/tail", nil)
		resp, err := ts.Client().Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		open = append(open, resp)
	}
	if resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/tail"); resp.StatusCode != 503 || !strings.Contains(string(b), "2 tails are open") {
		t.Errorf("%s %s", resp.Status, b)
	}
	for _, r := range open {
		r.Body.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(s.tails) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("places of closed tails are not given back")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestServeStops: Serve returns soon after its context ends, also with a tail
// open, and the tail's reader sees an orderly end.
func TestServeStops(t *testing.T) {
	s, err := New(Config{NoAuth: true}, Deps{Store: many(1)}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, ln) }()
	ended := make(chan error, 1)
	go func() {
		for _, err := range newClient(t, "http://"+ln.Addr().String()).Tail(t.Context(), "", "") {
			if err != nil {
				ended <- err
				return
			}
			cancel()
		}
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve does not return")
	}
	if err := <-ended; !errors.Is(err, client.ErrTailEnded) {
		t.Errorf("tail ended with %v", err)
	}
}

func FuzzCursor(f *testing.F) {
	f.Add(place{1, 2, store.Key{Time: 3, ID: store.ID{4}}}.String())
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err == nil && p.String() != s {
			t.Errorf("%q reads as %v, which is written %q", s, p, p.String())
		}
	})
}

func FuzzTime(f *testing.F) {
	for _, s := range []string{"15m", "7d", "2026-11-23T12:00:00.5+02:00", "-1h", "9999999h", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at, err := parseTime("from", s, base); err == nil && at < 0 {
			t.Errorf("%q is %d", s, at)
		}
	})
}
