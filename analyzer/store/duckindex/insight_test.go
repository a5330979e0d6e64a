package duckindex

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// TestU26U27AsInMemory: errors, heatmaps and differences in SQL, with odd rows
// and some that it does not have among them, are those that are made row by row.
func TestU26U27AsInMemory(t *testing.T) {
	const in, out = 2000, 100
	x, rows, _ := filled(t, Options{}, in, out)
	for _, src := range []string{"", "status:5xx OR method:get", "-host:shop", "app:nobody", "duration:*"} {
		q := parse(t, src)
		for _, span := range [][2]int64{{1000, 4000}, {1500, 3050}} {
			sum := index.Sum{Selection: index.Selection{Query: q, From: span[0], To: span[1], Below: math.MaxInt64}}
			sum.Extra = matching(t, q, rows[in:], span[0], span[1])
			want := matching(t, q, rows, span[0], span[1])
			steps := index.Steps{From: span[0], Step: 77, Count: int(span[1]-span[0])/77 + 1}
			name := fmt.Sprintf("%q, %v, %d rows", src, span, len(want))
			for _, limit := range []int{2, 10_000} {
				ask := store.Errors{ClientErrors: limit == 2, Limit: limit, Newest: limit % 7, Steps: 9}
				e, h, d := sums.NewErrors(ask, steps), sums.NewHeatmap(steps), sums.NewDifference(limit)
				part := parse(t, "-app:a status:>=200")
				m := part.Matcher()
				inside := func(r *index.Row) bool {
					st, err := r.Stored()
					if err != nil {
						t.Fatal(err)
					}
					return r.Time >= span[0]+100 && r.Time < span[1]-200 && m.Match(st.Pair)
				}
				for _, r := range want {
					e.Add(r)
					h.Add(r)
					if err := d.Add(r, inside(r)); err != nil {
						t.Fatal(err)
					}
				}
				errs, err := x.Errors(t.Context(), index.Errors{Sum: sum, Steps: steps, Ask: ask})
				equal(t, name+": errors", errs, e.List(), err)
				heat, err := x.Heatmap(t.Context(), index.Heatmap{Sum: sum, Steps: steps})
				equal(t, name+": heatmap", heat, h.Counts(), err)
				diff, err := x.Difference(t.Context(), index.Difference{
					Sum: sum, In: part, InFrom: span[0] + 100, InTo: span[1] - 200, Limit: limit, Inside: inside,
				})
				equal(t, name+": difference", diff, d.List(), err)
			}
		}
	}
}

// TestU71InsightHasLimits: what takes too long says so, and is not kept as if
// it were whole; what is kept is the asker's own.
func TestU71InsightHasLimits(t *testing.T) {
	x, _, _ := filled(t, Options{TimeLimit: time.Nanosecond}, 100, 0)
	sum := index.Sum{Selection: everything()}
	steps := index.Steps{From: 0, Step: 1000, Count: 10}
	ask := func() (*store.ErrorList, *store.HeatmapCounts, *store.DifferenceList) {
		t.Helper()
		e, err := x.Errors(t.Context(), index.Errors{Sum: sum, Steps: steps, Ask: store.Errors{Newest: 2}})
		if err != nil {
			t.Fatal(err)
		}
		h, err := x.Heatmap(t.Context(), index.Heatmap{Sum: sum, Steps: steps})
		if err != nil {
			t.Fatal(err)
		}
		d, err := x.Difference(t.Context(), index.Difference{Sum: sum, In: parse(t, "status:5xx"), InTo: math.MaxInt64})
		if err != nil {
			t.Fatal(err)
		}
		return &e.ErrorList, h, d
	}
	if e, h, d := ask(); e.Partial == nil || h.Partial == nil || d.Partial == nil || d.Partial.Reason != "time limit of 1ns used up" {
		t.Errorf("%+v\n%+v\n%+v", e, h, d)
	}
	x.timeLimit = time.Minute
	e, h, d := ask()
	if e.Partial != nil || h.Partial != nil || d.Partial != nil || len(e.Lines) == 0 || len(h.Bands) == 0 || len(d.Values) == 0 {
		t.Fatalf("%+v\n%+v\n%+v", e, h, d)
	}
	hits := x.cache.hits
	n, c := e.Lines[0].Steps[1], h.Counts[1][0]
	e.Lines[0].Steps[1], h.Counts[1][0], d.Values[0].Value = 1<<40, 1<<40, "spoiled"
	e, h, d = ask()
	if x.cache.hits != hits+3 || e.Lines[0].Steps[1] != n || h.Counts[1][0] != c || d.Values[0].Value == "spoiled" {
		t.Errorf("%d hits after %d: %+v\n%+v\n%+v", x.cache.hits, hits, e, h, d)
	}
}

// TestU26ManySetsOfTags: only so many are taken apart, and that is said.
func TestU26ManySetsOfTags(t *testing.T) {
	x, _ := open1(t, Options{Dir: t.TempDir() + "/index", Store: "a"})
	rows := make([]index.Row, maxTagSets+100)
	for i := range rows {
		rows[i] = index.Row{Off: uint64(i), Time: int64(i), Status: 200, Tags: fmt.Sprintf(`{"n":"%d"}`, i), Weight: 1}
		if i >= len(rows)-200 { // these are many
			rows[i].Tags, rows[i].Status = `{"k":"v"}`, 500
		}
	}
	if err := x.Insert(t.Context(), rows, uint64(len(rows))); err != nil {
		t.Fatal(err)
	}
	ask := index.Difference{Sum: index.Sum{Selection: everything()}, In: parse(t, "status:5xx"), InTo: math.MaxInt64}
	d, err := x.Difference(t.Context(), ask)
	if err != nil || d.Partial != nil || d.Values[1].Field != "tag.k" || d.Values[1].Inside != 200 {
		t.Fatalf("%+v, %v", d, err)
	}
	for i := range rows {
		rows[i].Off += uint64(len(rows))
		rows[i].Time += int64(len(rows))
		if rows[i].Status == 200 {
			rows[i].Tags = fmt.Sprintf(`{"n":"%d"}`, i+len(rows))
		}
	}
	if err := x.Insert(t.Context(), rows, uint64(2*len(rows))); err != nil {
		t.Fatal(err)
	}
	d, err = x.Difference(t.Context(), ask)
	if err != nil || d.Partial == nil || d.Values[1].Field != "tag.k" || d.Values[1].Inside != 400 || d.Outside != uint64(2*(len(rows)-200)) {
		t.Errorf("%+v, %v", d, err)
	}
}
