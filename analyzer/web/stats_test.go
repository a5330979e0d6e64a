package web

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

func decodeInto[T any](t *testing.T, b []byte) T {
	t.Helper()
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return out
}

func TestStats(t *testing.T) {
	_, ts := serve(t, held(t, some(40)...))
	get := func(path string) []byte {
		t.Helper()
		resp, b := ask(t, ts.Client(), "GET", ts.URL+path)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %s %s", path, resp.Status, b)
		}
		return b
	}
	f := decodeInto[httpv1.Facets](t, get("/api/v1/stats/facets?fields=status,app,flag&q=method:GET"))
	if f.Pairs != 40 || f.Estimated != 160 || !f.Sampled || f.Partial || len(f.Facets) != 3 || f.Facets[0].Field != "status" ||
		f.Facets[0].Values[0] != (httpv1.FacetValue{Value: "200", Pairs: 36, Estimated: 144}) || f.Facets[0].Distinct != 2 || f.Facets[2].Absent != 40 {
		t.Errorf("%+v", f)
	}
	if b := get("/api/v1/stats/facets?fields=path&limit=3&from=2026-11-23T12:00:00Z"); !bytes.Contains(b, []byte(`"others":37`)) || !bytes.Contains(b, []byte(`"distinct":40`)) {
		t.Errorf("%s", b)
	}
	if b := get("/api/v1/stats/facets"); len(decodeInto[httpv1.Facets](t, b).Facets) != len(defaultFacets) {
		t.Errorf("%s", b)
	}
	e := decodeInto[httpv1.Endpoints](t, get("/api/v1/stats/endpoints?from=1d"))
	if len(e.Endpoints) != 1 || !e.Exact || !e.Sampled || e.From == nil || e.To != nil || e.Endpoints[0].Endpoint != "/orders/{id}" || e.Endpoints[0].Pairs != 40 ||
		e.Endpoints[0].Errors != 4 || *e.Endpoints[0].P99NS != 9e6 || e.Endpoints[0].Classes.C5xx != 4 || e.Endpoints[0].ResponseBytes != 40*150 {
		t.Errorf("%+v", e)
	}
	m := decodeInto[httpv1.Map](t, get("/api/v1/stats/map?limit=5"))
	if len(m.Edges) != 1 || m.Edges[0].Caller != "10.0.0.1" || m.Edges[0].Callee != "shop" || m.Edges[0].Pairs != 40 || m.Edges[0].Errors != 4 || *m.Edges[0].P50NS != 9e6 {
		t.Errorf("%+v", m)
	}
	v := decodeInto[httpv1.Values](t, get("/api/v1/fields/path/values?prefix=/Orders/1&limit=4"))
	if len(v.Values) != 4 || !v.More || v.Values[0].Value != "/orders/1" {
		t.Errorf("%+v", v)
	}
	v = decodeInto[httpv1.Values](t, get("/api/v1/fields/direction/values"))
	if len(v.Values) != 2 || v.Values[0].Pairs != 40 || v.Values[1] != (httpv1.FacetValue{Value: "outbound"}) {
		t.Errorf("%+v", v)
	}
	if none := get("/api/v1/stats/endpoints?q=app:none"); !bytes.Contains(none, []byte(`"endpoints":[]`)) {
		t.Errorf("%s", none)
	}
}

func TestStatsMistakes(t *testing.T) {
	_, ts := serve(t, held(t))
	for path, want := range map[string]string{
		"/api/v1/stats/facets?fields=app,body":                         `fields has \"body\", whose values cannot be counted; want some of app, `,
		"/api/v1/stats/facets?fields=app,app":                          "twice",
		"/api/v1/stats/facets?limit=0":                                 "1 to 1000",
		"/api/v1/stats/facets?q=stauts:1":                              "at column 1",
		"/api/v1/stats/endpoints?limit=10001":                          "1 to 10000",
		"/api/v1/stats/map?from=5m&to=10m":                             "is not before",
		"/api/v1/fields/body/values":                                   "are too many",
		"/api/v1/explain?q=a:":                                         "at column 1",
		"/api/v1/export?format=pcap":                                   "want har, jsonl, curl, parquet or rrpair",
		"/api/v1/export?q=stauts:1":                                    "at column 1",
		"/api/v1/fields/app/values?prefix=" + strings.Repeat("a", 300): "at most 256",
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+path)
		if resp.StatusCode != 400 || resp.Header.Get("Content-Type") != "application/problem+json" || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s: %s %s", path, resp.Status, b)
		}
	}
	if resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/fields/nope/values"); resp.StatusCode != 404 {
		t.Errorf("%s %s", resp.Status, b)
	}
	// A store that cannot count says so.
	_, plain := serve(t, newFake())
	for _, path := range []string{"/api/v1/stats/facets", "/api/v1/stats/endpoints", "/api/v1/stats/map", "/api/v1/fields/app/values", "/api/v1/export"} {
		if resp, b := ask(t, plain.Client(), "GET", plain.URL+path); resp.StatusCode != 501 || !bytes.Contains(b, []byte("not supported by this store")) {
			t.Errorf("%s: %s %s", path, resp.Status, b)
		}
	}
}

func TestExplain(t *testing.T) {
	_, ts := serve(t, newFake())
	for q, want := range map[string]string{
		"":                    `{"canonical":"","steps":[{"by":"index",`,
		"status:5xx app:shop": `{"canonical":"status:5xx app:shop","steps":[{"by":"index",`,
		"app:shop declined":   `"by":"frames","part":"declined"`,
	} {
		resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/explain?q="+url.QueryEscape(q))
		e := decodeInto[httpv1.Explain](t, b)
		if resp.StatusCode != 200 || !bytes.Contains(b, []byte(want)) || e.Scans != strings.Contains(want, "frames") {
			t.Errorf("%q: %s %s, want %s", q, resp.Status, b, want)
		}
	}
}

// TestSeveralMistakes: all of a query's mistakes are said at once.
func TestSeveralMistakes(t *testing.T) {
	_, ts := serve(t, newFake())
	resp, b := ask(t, ts.Client(), "GET", ts.URL+"/api/v1/pairs?q="+url.QueryEscape("stauts:500 app:a nope:1"))
	p := decodeInto[httpv1.Problem](t, b)
	if resp.StatusCode != 400 || len(p.Errors) != 2 || p.Errors[0].Column != 1 || p.Errors[1].Column != 18 {
		t.Errorf("%s", b)
	}
}
