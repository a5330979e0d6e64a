package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

// failures are orders that fail in two ways at one endpoint and in a third at
// another, answers that are well, a client's mistake, and a refused connection.
func failures() []*capturev1.RRPair {
	var out []*capturev1.RRPair
	add := func(method, path string, status int32, body string, change ...func(*capturev1.RRPair)) {
		p := exchange(len(out), method, path, status, "", body)
		p.Response.Head = fmt.Appendf(nil, "HTTP/1.1 %d %s\r\n\r\n", status, http.StatusText(int(status)))
		for _, c := range change {
			c(p)
		}
		out = append(out, p)
	}
	for i := range 30 {
		add("GET", fmt.Sprintf("/orders/%d", 1000+i), 200, "fine")
		add("POST", fmt.Sprintf("/orders/%d", 1000+i), 500, fmt.Sprintf(`{"error":{"message":"card %d was declined by 'bank %d'"}}`, 40000+i, i))
		if i%3 == 0 {
			add("POST", fmt.Sprintf("/orders/%d", 1000+i), 500, fmt.Sprintf("stock of item-%d is empty\nat shop.go:12", i))
			add("GET", "/stock", 503, "")
		}
		if i%10 == 0 {
			add("GET", "/gone", 404, `{"message":"no such page"}`)
			add("GET", fmt.Sprintf("/orders/%d", i), 0, "", func(p *capturev1.RRPair) {
				p.Response, p.Error = nil, fmt.Sprintf("dial tcp 10.0.0.7:%d: connection refused", 8000+i)
			})
		}
	}
	return out
}

func getErrors(t *testing.T, in string) httpv1.Errors {
	t.Helper()
	_, ts := serve(t, held(t, failures()...))
	resp, b := ask(t, ts.Client(), "GET", ts.URL+errorsPath+in)
	if resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, b)
	}
	return decodeInto[httpv1.Errors](t, b)
}

// TestU27ErrorsByWhatTheySay: failures are grouped by a template of what their
// bodies say, each with its counts, an example, and a query that lists it.
func TestU27ErrorsByWhatTheySay(t *testing.T) {
	all := failures()
	for _, client := range []bool{false, true} {
		e := getErrors(t, "?from=2h"+map[bool]string{true: "&client_errors=1"}[client])
		if !e.Content || e.More || e.StepNS == 0 {
			t.Fatalf("%+v", e)
		}
		type want struct {
			pairs    uint64
			kind, in string
		}
		wants := map[string]want{
			"card {n} was declined by '…'":          {30, kindBody, "POST /orders/{id} 500"},
			"stock of item-{n} is empty":            {10, kindBody, "POST /orders/{id} 500"},
			"Service Unavailable":                   {10, kindStatus, "GET /stock 503"},
			"dial tcp {ip}:{n}: connection refused": {3, kindError, "GET /orders/{id} 0"},
			"no such page":                          {3, kindBody, "GET /gone 404"},
		}
		if !client {
			delete(wants, "no such page")
		}
		if len(e.Groups) != len(wants) {
			t.Errorf("%d groups: %+v", len(e.Groups), e.Groups)
		}
		var last uint64 = 1 << 60
		for _, g := range e.Groups {
			w, ok := wants[g.Template]
			where := fmt.Sprintf("%s %s %d", g.Method, g.Endpoint, g.Status)
			if !ok || g.Kind != w.kind || where != w.in || g.App != "shop" || g.Key == "" || g.Pairs > last {
				t.Errorf("%+v, want %+v", g, w)
				continue
			}
			last = g.Pairs
			var sum uint64
			for _, n := range g.Steps {
				sum += n
			}
			// Of 40 pairs of one line 20 are looked into: what the two say is known
			// of those, and of all as a part.
			if split := g.Method == "POST"; split == g.Exact {
				t.Errorf("%s: exact %v", g.Template, g.Exact)
			} else if !split && (g.Pairs != w.pairs || sum != w.pairs) || split && (g.Pairs < w.pairs-6 || g.Pairs > w.pairs+6) {
				t.Errorf("%s: %d pairs, %d over time, want %d", g.Template, g.Pairs, sum, w.pairs)
			}
			q, err := query.Parse(g.Query)
			if err != nil {
				t.Fatalf("%s: %v", g.Query, err)
			}
			m := q.Matcher(query.WithEndpoint(func(p *capturev1.RRPair) string {
				if strings.HasPrefix(p.GetPath(), "/orders/") {
					return "/orders/{id}"
				}
				return p.GetPath()
			}))
			var found uint64
			example := false
			for _, p := range all {
				if m.Match(p) {
					found++
					example = example || query.FormatID(p.GetId()) == g.Example
				}
			}
			if found != w.pairs || !example {
				t.Errorf("%s lists %d pairs, want %d; the example is among them: %v", g.Query, found, w.pairs, example)
			}
		}
		if e.ReadOf != 50+map[bool]uint64{true: 3}[client] || e.Read != 30+map[bool]uint64{true: 3}[client] || !e.Partial || !strings.Contains(e.PartialReason, "bodies were looked into") {
			t.Errorf("read %d of %d, partial %v: %s", e.Read, e.ReadOf, e.Partial, e.PartialReason)
		}
	}
}

// TestU62GroupsAreStable: what is asked another day, or in another way, has the
// same key; what says something else has another.
func TestU62GroupsAreStable(t *testing.T) {
	keys := map[string]string{}
	for _, g := range getErrors(t, "?from=2h").Groups {
		for template, key := range keys {
			if key == g.Key {
				t.Errorf("%q and %q have the key %s", template, g.Template, key)
			}
		}
		keys[g.Template] = g.Key
	}
	half := "?from=" + base.Format(time.RFC3339) + "&to=" + base.Add(45*time.Second).Format(time.RFC3339)
	for _, in := range []string{half, half + "&q=" + url.QueryEscape("method:POST OR status:503"), "?q=app:shop&limit=2"} {
		e := getErrors(t, in)
		if len(e.Groups) < 2 {
			t.Fatalf("%s: %+v", in, e)
		}
		for _, g := range e.Groups {
			if keys[g.Template] != g.Key {
				t.Errorf("%s: %q has the key %s, and had %s", in, g.Template, g.Key, keys[g.Template])
			}
			if _, err := query.Parse(g.Query); err != nil {
				t.Errorf("%s: %v", g.Query, err)
			}
		}
		if limited := strings.Contains(in, "limit"); limited != e.More || limited && len(e.Groups) != 2 {
			t.Errorf("%s: %d groups, more %v", in, len(e.Groups), e.More)
		}
	}
}

// TestU62ErrorsByRole: who may not read bodies gets nothing of what they say,
// and what others read is written down.
func TestU62ErrorsByRole(t *testing.T) {
	st := held(t, failures()...)
	in := install(t, func(_ *Config, d *Deps) { d.Store = st })
	reads := func() int {
		t.Helper()
		_, answer, _ := in.call("GET", "/api/v1/audit?limit=100", "", bearer(in.tokens["admin"])...)
		return strings.Count(answer, `"`+readAction+`"`)
	}
	status, answer, _ := in.call("GET", errorsPath+"?from=2h", "", bearer(in.tokens["viewer"])...)
	e := decodeInto[httpv1.Errors](t, []byte(answer))
	if status != 200 || e.Content || strings.Contains(answer, "declined") || strings.Contains(answer, "stock of") || e.Read != 0 || reads() != 0 {
		t.Errorf("a viewer gets %d %s; %d reads", status, answer, reads())
	}
	byStatus := map[string]httpv1.ErrorGroup{}
	for _, g := range e.Groups {
		byStatus[g.Template] = g
	}
	if g := byStatus["Internal Server Error"]; len(e.Groups) != 3 || g.Pairs != 40 || g.Kind != kindStatus || !g.Exact || byStatus["Service Unavailable"].Pairs != 10 {
		t.Errorf("%+v", e.Groups)
	}
	status, answer, _ = in.call("GET", errorsPath+"?from=2h", "", bearer(in.tokens["investigator"])...)
	if status != 200 || !strings.Contains(answer, "was declined") || reads() != 1 {
		t.Errorf("an investigator gets %d %s; %d reads", status, answer, reads())
	}
	status, answer, _ = in.call("GET", errorsPath+"?q=response.body:declined", "", bearer(in.tokens["viewer"])...)
	if status != 403 {
		t.Errorf("a viewer searches bodies: %d %s", status, answer)
	}
	other := bearer(in.key(control.NewKey{Name: "bank", Kind: control.KeyAPI, Role: control.RoleAdmin, Scope: control.Scope{Apps: []string{"bank"}}}))
	for _, path := range []string{errorsPath, heatmapPath + "?x=1", differencePath + "?in=" + url.QueryEscape("app:shop OR status:>0")} {
		if _, answer, _ := in.call("GET", path, "", other...); strings.Contains(answer, "shop\"") || strings.Contains(answer, "declined") || strings.Contains(answer, `"inside":3`) {
			t.Errorf("%s tells another scope: %s", path, answer)
		}
	}
	for _, q := range []string{"response.body:declined", "declined"} {
		if status, answer, _ := in.call("GET", differencePath+"?in="+url.QueryEscape(q), "", bearer(in.tokens["viewer"])...); status != 403 {
			t.Errorf("a viewer compares by %s: %d %s", q, status, answer)
		}
	}
}

// waiting is a store that counts until nobody waits for it any more.
type waiting struct {
	store.Reader
	store.Stats
	began chan struct{}
}

func (w *waiting) Errors(ctx context.Context, _ store.Errors) (*store.ErrorList, error) {
	close(w.began)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestU71ErrorsEndWithTheirAsker: whoever goes away leaves no work behind.
func TestU71ErrorsEndWithTheirAsker(t *testing.T) {
	mem := held(t, failures()...)
	w := &waiting{Reader: mem, Stats: mem, began: make(chan struct{})}
	_, ts := serve(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-w.began
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ts.URL+errorsPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ts.Client().Do(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	at := time.Now()
	ts.Close() // waits for what is under way
	if took := time.Since(at); took > 200*time.Millisecond {
		t.Errorf("it went on for %v", took)
	}
}

// TestU26HeatmapAndDifference: the cells hold every pair that has a duration,
// and what a box in them has more often is ranked, each with a query for it.
func TestU26HeatmapAndDifference(t *testing.T) {
	var all []*capturev1.RRPair
	for i := range 400 {
		p := exchange(i, "GET", fmt.Sprintf("/orders/%d", i), 200, "", "x")
		if i%4 == 0 { // the slow ones are of one pod, and most of one client
			p.Timing.ResponseLast = p.Timing.GetRequestFirst() + 2e9 + int64(i)*1e6
			p.Source.Pod, p.Tags = "pod-slow", map[string]string{"tls.sni": "a b"}
			if i%16 != 0 {
				p.Client = "10.0.0.66:999"
			}
		}
		if i == 399 {
			p.Response, p.Error = nil, "reset"
			p.Timing.ResponseFirst, p.Timing.ResponseLast = 0, 0
		}
		all = append(all, p)
	}
	_, ts := serve(t, held(t, all...))
	resp, b := ask(t, ts.Client(), "GET", ts.URL+heatmapPath+"?from=2h&steps=50")
	h := decodeInto[httpv1.Heatmap](t, b)
	if resp.StatusCode != 200 || h.Pairs != 400 || h.Absent != 1 || h.Partial || h.Sampled || len(h.Columns) != 50 {
		t.Fatalf("%s %s", resp.Status, b)
	}
	var sum, slow uint64
	for i, c := range h.Columns {
		if len(c.Counts) != len(h.Bands) || !c.Time.Equal(h.From.Add(time.Duration(int64(i)*h.StepNS))) {
			t.Fatalf("column %d: %+v", i, c)
		}
		for j, n := range c.Counts {
			sum += n
			if h.Bands[j].FromNS > 1e9 {
				slow += n
			}
		}
	}
	if sum != 399 || slow != 100 {
		t.Errorf("%d in cells, %d of them slow", sum, slow)
	}
	resp, b = ask(t, ts.Client(), "GET", ts.URL+differencePath+"?from=2h&in="+url.QueryEscape("duration:1s..1h")+"&in_from=2h")
	d := decodeInto[httpv1.Difference](t, b)
	if resp.StatusCode != 200 || d.Inside != 100 || d.Outside != 300 || d.Partial || len(d.Values) != 3 {
		t.Fatalf("%s %s", resp.Status, b)
	}
	for i, want := range []httpv1.DifferenceValue{
		{Field: "pod", Value: "pod-slow", Inside: 100, InsideShare: 1, Query: "pod:pod-slow"},
		{Field: "tag.tls.sni", Value: "a b", Inside: 100, InsideShare: 1, Query: `tag.tls.sni:"a b"`},
		{Field: "client", Value: "10.0.0.66", Inside: 75, InsideShare: 0.75, Query: "client:10.0.0.66"},
	} {
		if d.Values[i] != want {
			t.Errorf("%d is %+v, want %+v", i, d.Values[i], want)
		}
		if _, err := query.Parse(d.Values[i].Query); err != nil {
			t.Error(err)
		}
	}
	// Nothing is inside, and nothing outside: there is nothing to rank.
	for _, in := range []string{"app:nobody", ""} {
		if _, b := ask(t, ts.Client(), "GET", ts.URL+differencePath+"?in="+in); !bytes.Contains(b, []byte(`"values":[]`)) {
			t.Errorf("in=%s: %s", in, b)
		}
	}
}

func TestU26InsightMistakes(t *testing.T) {
	_, ts := serve(t, held(t, failures()...))
	for path, want := range map[string]string{
		errorsPath + "?limit=501":                           "1 to 500",
		errorsPath + "?client_errors=maybe":                 "want 1 or 0",
		errorsPath + "?q=stauts:1":                          "at column 1",
		errorsPath + "?from=2099-01-01T00:00:00Z":           "is not before now",
		heatmapPath + "?steps=301":                          "1 to 300",
		heatmapPath + "?from=5m&to=10m":                     "is not before",
		differencePath + "?in=stauts:1":                     `in: Unknown field`,
		differencePath + "?in_from=5m&in_to=10m":            "in_from is included",
		differencePath + "?in_to=tomorrow":                  "in_to=",
		differencePath + "?limit=0":                         "1 to 100",
		differencePath + "?in=" + strings.Repeat("a", 9000): "want at most",
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+path)
		if resp.StatusCode != 400 || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: %s %s", path[:min(len(path), 80)], resp.Status, b)
		}
	}
	_, empty := serve(t, held(t))
	for _, path := range []string{errorsPath, heatmapPath, differencePath} {
		if resp, b := ask(t, empty.Client(), "GET", empty.URL+path); resp.StatusCode != 200 || bytes.Contains(b, []byte("null")) {
			t.Errorf("%s of an empty store: %s %s", path, resp.Status, b)
		}
	}
}
