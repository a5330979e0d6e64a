package duckindex

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

func anyOf[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

// randomRow has every kind of value, odd ones too.
func randomRow(r *rand.Rand, n int) index.Row {
	p := &capturev1.RRPair{
		Id:        fmt.Appendf(nil, "%016d", n),
		Source:    &capturev1.Source{App: anyOf(r, "a", "b", "", "ünï"), Pod: anyOf(r, "p1", "p2"), Namespace: anyOf(r, "", "ns"), Cluster: "c"},
		Direction: capturev1.Direction(r.IntN(3)),
		Protocol:  anyOf(r, "http", "redis"),
		Method:    anyOf(r, "GET", "get", "POST", ""),
		Host:      anyOf(r, "shop", "shop:80", "[::1]:8", "", "nul\x00in"),
		Path:      fmt.Sprintf("/x/%s%d", anyOf(r, "a", "A", "b"), r.IntN(30)),
		Status:    anyOf[int32](r, 0, 200, 204, 301, 404, 500, 503, 700, 99),
		Error:     anyOf(r, "", "", "", "refused"),
		Client:    fmt.Sprintf("10.0.0.%d:%d", r.IntN(5), 1000+n),
		Server:    anyOf(r, "10.0.0.1:80", "10.0.0.2:80", "127.0.0.1:80", "[::1]:8", ""),
		Timing:    &capturev1.Timing{RequestFirst: 1000 + int64(n)},
		Request:   &capturev1.Message{BodySize: anyOf[uint64](r, 0, 7, math.MaxUint64)},
		Response:  &capturev1.Message{BodySize: r.Uint64N(1000)},
	}
	if r.IntN(5) > 0 {
		p.Timing.ResponseLast = p.Timing.RequestFirst + r.Int64N(anyOf[int64](r, 50, 1e6, 1e12))
	}
	if r.IntN(4) == 0 {
		p.SampleWeight = uint32(r.IntN(20))
	}
	for range r.IntN(3) {
		p.Flags = append(p.Flags, capturev1.Flag(1+r.IntN(9)))
	}
	return index.RowOf(p, 5, uint64(10*(n/4)), uint32(n%4))
}

// filled is an index with rows, and a further few that are not in it.
func filled(t *testing.T, opt Options, n, extra int) (*Index, []index.Row, []*index.Row) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 2))
	rows := make([]index.Row, n+extra)
	for i := range rows {
		rows[i] = randomRow(r, i)
	}
	opt.Dir, opt.Store = filepath.Join(t.TempDir(), "index"), "a"
	x, _ := open1(t, opt)
	if err := x.Insert(t.Context(), rows[:n], rows[n-1].Off+10); err != nil {
		t.Fatal(err)
	}
	var pending []*index.Row
	for i := range rows[n:] {
		pending = append(pending, &rows[n+i])
	}
	return x, rows, pending
}

func parse(t *testing.T, src string) *query.Query {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// matching are the rows of a query in a span, as the matcher says.
func matching(t *testing.T, q *query.Query, rows []index.Row, from, to int64) []*index.Row {
	t.Helper()
	m := q.Matcher()
	var out []*index.Row
	for i := range rows {
		st, err := rows[i].Stored()
		if err != nil {
			t.Fatal(err)
		}
		if m.Match(st.Pair) && rows[i].Time >= from && rows[i].Time < to {
			out = append(out, &rows[i])
		}
	}
	return out
}

// TestSumsAsInMemory: sums in SQL, with rows that it does not have among them,
// are those that are made row by row.
func TestSumsAsInMemory(t *testing.T) {
	const in, out = 2000, 100
	for _, exact := range []bool{true, false} {
		limit := int64(0)
		if !exact {
			limit = 1
		}
		x, rows, _ := filled(t, Options{ExactRows: limit}, in, out)
		all, err := x.Addresses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		single, several := new(index.Addresses), new(index.Addresses)
		single.Add("10.0.0.1", "zoo")
		single.Add("10.0.0.2", "a") // as an app that calls, too
		several.Add("10.0.0.1", "zoo")
		several.Add("10.0.0.2", "zoo")
		for _, src := range []string{"", "status:5xx OR method:get", "-host:shop", "app:nobody", "duration:*"} {
			q := parse(t, src)
			for _, span := range [][2]int64{{0, math.MaxInt64}, {1500, 3050}} {
				sum := index.Sum{Selection: index.Selection{Query: q, From: span[0], To: span[1], Below: math.MaxInt64}}
				sum.Extra = matching(t, q, rows[in:], span[0], span[1])
				want := matching(t, q, rows, span[0], span[1])
				name := fmt.Sprintf("exact %v, %q, %v, %d rows", exact, src, span, len(want))

				for _, limit := range []int{3, 10_000} {
					for _, prefix := range []string{"", "A"} {
						f, err := sums.NewFacets(store.FacetFields(), prefix)
						if err != nil {
							t.Fatal(err)
						}
						for _, r := range want {
							f.Add(r)
						}
						got, err := x.Facets(t.Context(), index.Facets{Sum: sum, Fields: store.FacetFields(), Limit: limit, Prefix: prefix})
						equal(t, name+": facets "+prefix, got, f.Counts(limit), err)
					}
					var e sums.Endpoints
					g, named := sums.NewEdges(nil), sums.NewEdges(all)
					for _, r := range want {
						e.Add(r)
						g.Add(r)
						named.Add(r)
					}
					endpoints, err := x.Endpoints(t.Context(), index.Endpoints{Sum: sum, Limit: limit})
					wantE, wantG, wantNamed := e.List(limit), g.List(limit), named.List(limit)
					if !exact && len(want) > 1 {
						wantE.Exact, wantG.Exact, wantNamed.Exact = false, false, false
						for i := range wantE.Endpoints {
							s := &wantE.Endpoints[i]
							coarse(s.Max, &s.P50, &s.P95, &s.P99)
						}
					}
					equal(t, name+": endpoints", endpoints, wantE, err)
					if !exact && len(want) > 1 {
						for _, l := range []*store.EdgeList{wantG, wantNamed} {
							for i := range l.Edges {
								coarse(math.MaxInt64, &l.Edges[i].P50, &l.Edges[i].P95)
							}
						}
					}
					edges, err := x.Edges(t.Context(), index.Edges{Sum: sum, Limit: limit})
					equal(t, name+": edges", edges, wantG, err)
					edges, err = x.Edges(t.Context(), index.Edges{Sum: sum, Limit: limit, Known: all})
					equal(t, name+": named edges", edges, wantNamed, err)
					for _, known := range []*index.Addresses{single, several} {
						g := sums.NewEdges(known)
						for _, r := range want {
							g.Add(r)
						}
						wantG := g.List(limit)
						if !exact && len(want) > 1 {
							wantG.Exact = false
							for i := range wantG.Edges {
								coarse(math.MaxInt64, &wantG.Edges[i].P50, &wantG.Edges[i].P95)
							}
						}
						edges, err := x.Edges(t.Context(), index.Edges{Sum: sum, Limit: limit, Known: known})
						equal(t, name+": edges of some names", edges, wantG, err)
					}
				}
			}
		}
	}
}

func coarse(longest int64, values ...*int64) {
	for _, v := range values {
		if *v != index.Absent {
			*v = min(index.BucketValue(index.BucketOf(*v)), longest)
		}
	}
}

func equal(t *testing.T, name string, got, want any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: %v\n got %+v\nwant %+v", name, err, got, want)
	}
}

func TestRecords(t *testing.T) {
	x, rows, _ := filled(t, Options{}, 100, 0)
	got, err := x.Records(t.Context(), index.Selection{Query: parse(t, "app:a body:x"), From: 1010, To: 1050, Below: 110})
	if err != nil {
		t.Fatal(err)
	}
	want := map[uint64]index.Record{}
	for _, r := range matching(t, parse(t, "app:a"), rows, 1010, 1050) {
		if r.Off >= 110 {
			continue
		}
		rec, ok := want[r.Off]
		if !ok {
			rec = index.Record{Off: r.Off, Oldest: r.Time}
		}
		rec.Newest, rec.Rows = r.Time, rec.Rows+1
		want[r.Off] = rec
	}
	for _, r := range got {
		if want[r.Off] != r {
			t.Errorf("got %+v, want %+v", r, want[r.Off])
		}
	}
	if len(got) != len(want) || len(want) < 3 {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
}

// TestAddresses: what later rows tell, and what goes with those removed, is as
// if all were read again.
func TestAddresses(t *testing.T) {
	row := func(off uint64, direction, app, client, server string) index.Row {
		return index.Row{Off: off, Direction: direction, App: app, ClientHost: client, ServerHost: server}
	}
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	check := func(want map[string]string) {
		t.Helper()
		a, err := x.Addresses(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for address, app := range want {
			if got := a.App(address); got != app {
				t.Errorf("%s is %q, want %q", address, got, app)
			}
		}
	}
	insert := func(watermark uint64, rows ...index.Row) {
		t.Helper()
		if err := x.Insert(t.Context(), rows, watermark); err != nil {
			t.Fatal(err)
		}
	}
	insert(10, row(1, "inbound", "shop", "10.0.0.9", "10.0.0.1"), row(2, "outbound", "cart", "10.0.0.2", "10.0.0.1"), row(3, "inbound", "cart", "", "127.0.0.1"))
	check(map[string]string{"10.0.0.1": "shop", "10.0.0.2": "cart", "10.0.0.9": "", "127.0.0.1": ""})
	insert(20, row(11, "inbound", "other", "", "10.0.0.1"), row(12, "inbound", "new", "", "10.0.0.7"))
	check(map[string]string{"10.0.0.1": "", "10.0.0.2": "cart", "10.0.0.7": "new"})
	if err := x.Remove(t.Context(), 0, 10); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{"10.0.0.1": "other", "10.0.0.2": "", "10.0.0.7": "new"})
}

// TestSumsHaveLimits (R38): one that takes too long says so, and whoever asked
// no longer waits is told why.
func TestSumsHaveLimits(t *testing.T) {
	x, _, _ := filled(t, Options{TimeLimit: time.Nanosecond}, 100, 0)
	sum := index.Sum{Selection: everything()}
	f, err := x.Facets(t.Context(), index.Facets{Sum: sum, Fields: []string{"app", "path"}})
	if err != nil || f.Partial == nil || len(f.Facets) != 2 || f.Partial.Reason != "time limit of 1ns used up after 0 of 2 fields" {
		t.Errorf("facets: %+v, %v", f, err)
	}
	e, err := x.Endpoints(t.Context(), index.Endpoints{Sum: sum})
	if err != nil || e.Partial == nil {
		t.Errorf("endpoints: %+v, %v", e, err)
	}
	g, err := x.Edges(t.Context(), index.Edges{Sum: sum})
	if err != nil || g.Partial == nil {
		t.Errorf("edges: %+v, %v", g, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Endpoints(ctx, index.Endpoints{Sum: sum}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	// All places taken: lists go by, sums wait as long as their context.
	if err := x.heavy.Acquire(t.Context(), maxSums); err != nil {
		t.Fatal(err)
	}
	defer x.heavy.Release(maxSums)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := x.Endpoints(ctx, index.Endpoints{Sum: sum}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("queued: %v", err)
	}
	if got := rows(t, x); len(got) != 100 {
		t.Errorf("list of %d", len(got))
	}
}

func TestFacetsOfNoField(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	if _, err := x.Facets(t.Context(), index.Facets{Sum: index.Sum{Selection: everything()}, Fields: []string{"body"}}); err == nil {
		t.Error("body was counted")
	}
}
