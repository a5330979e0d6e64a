package duckindex

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// question asks for one sum, through the cache or past it.
func question(t *testing.T, r *rand.Rand) (ask func(x *Index, sel index.Selection, past bool) (any, error), sel index.Selection) {
	sel = index.Selection{
		Query: parse(t, anyOf(r, "", "status:5xx", "app:a")),
		From:  anyOf[int64](r, 0, 1000, 1100), To: anyOf[int64](r, 1050, 1200, math.MaxInt64),
	}
	kind := r.IntN(4)
	return func(x *Index, sel index.Selection, past bool) (any, error) {
		sum, ctx := index.Sum{Selection: sel}, context.Background()
		switch kind {
		case 0:
			f := index.Facets{Sum: sum, Fields: []string{"app", "status"}}
			if past {
				return x.facets(ctx, f)
			}
			return x.Facets(ctx, f)
		case 1:
			e := index.Endpoints{Sum: sum, Limit: 5}
			if past {
				return x.endpoints(ctx, e)
			}
			return x.Endpoints(ctx, e)
		case 2:
			known := new(index.Addresses)
			known.Add("10.0.0.1", "named")
			e := index.Edges{Sum: sum, Known: known}
			if past {
				return x.edges(ctx, e)
			}
			return x.Edges(ctx, e)
		}
		c := index.Count{Selection: sel, Step: 100, Buckets: int((min(sel.To, 3000)-sel.From)/100 + 1)}
		c.To = min(c.To, 3000)
		if past {
			return x.count(ctx, c)
		}
		return x.Count(ctx, c)
	}, sel
}

// spoil changes what a caller got: it is his.
func spoil(answer any) {
	switch a := answer.(type) {
	case *store.FacetCounts:
		a.Pairs++
		for i := range a.Facets {
			a.Facets[i].Others++
			clear(a.Facets[i].Values)
		}
	case *store.EndpointList:
		clear(a.Endpoints)
	case *store.EdgeList:
		clear(a.Edges)
	case index.Counts:
		clear(a.Rows)
	}
}

// TestCachedIsUncached: in any order of inserts, late ones too, removals and
// questions, an answer from the cache is the one that is made past it.
func TestCachedIsUncached(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	r := rand.New(rand.NewPCG(3, 4))
	n, asked := 0, 0
	snapshots := []uint64{0}
	for range 600 {
		switch k := r.IntN(12); {
		case k == 0:
			var rows []index.Row
			late := r.IntN(400)
			for range 1 + r.IntN(20) {
				row := randomRow(r, n)
				row.Off = uint64(n) * 10
				row.Time -= int64(min(n, late))
				rows = append(rows, row)
				n++
			}
			if err := x.Insert(t.Context(), rows, uint64(n)*10); err != nil {
				t.Fatal(err)
			}
			snapshots = append(snapshots, x.Watermark())
		case k == 1 && r.IntN(8) == 0:
			if err := x.Remove(t.Context(), 0, r.Uint64N(uint64(n)*10+1)); err != nil {
				t.Fatal(err)
			}
		default:
			ask, sel := question(t, r)
			// Most ask of now, some of what was a moment ago.
			sel.Below = x.Watermark()
			if r.IntN(4) == 0 {
				sel.Below = snapshots[max(len(snapshots)-1-r.IntN(3), 0)]
			}
			got, err := ask(x, sel, false)
			if err != nil {
				t.Fatal(err)
			}
			asked++
			want, err := ask(x, sel, true)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("%+v: %v\n got %+v\nwant %+v", sel, err, got, want)
			}
			spoil(got)
		}
		if len(x.cache.entries) > maxEntries {
			t.Fatalf("%d entries", len(x.cache.entries))
		}
	}
	if x.cache.hits < 50 {
		t.Errorf("%d of %d came from the cache: the test proves little", x.cache.hits, asked)
	}
}

// TestCacheWhileInserting: what was made while rows came is not kept as if it
// had counted them.
func TestCacheWhileInserting(t *testing.T) {
	x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
	var asking sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for seed := range uint64(2) {
		asking.Go(func() {
			r := rand.New(rand.NewPCG(seed, 9))
			for ctx.Err() == nil {
				ask, sel := question(t, r)
				sel.Below = x.Watermark()
				if _, err := ask(x, sel, false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 40 {
		row := randomRow(r, n)
		row.Off = uint64(n) * 10
		if err := x.Insert(t.Context(), []index.Row{row}, uint64(n+1)*10); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	asking.Wait()
	for range 200 {
		ask, sel := question(t, r)
		sel.Below = x.Watermark()
		got, err := ask(x, sel, false)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := ask(x, sel, true); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v: %v\n got %+v\nwant %+v", sel, err, got, want)
		}
	}
}
