package duckindex

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// TestAgrees: of generated queries over generated pairs the matcher and SQL say
// the same where SQL is exact, and SQL misses nothing elsewhere. WEIR_AGREE says
// how many queries; a few without it.
func TestAgrees(t *testing.T) {
	queries := 400
	if s := os.Getenv("WEIR_AGREE"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		queries = n
	}
	// Each crowd of pairs is asked so many queries.
	const pairs, perCrowd = 64, 2000
	exact, rough, hits := 0, 0, 0
	for from := 0; from < queries; from += perCrowd {
		x, _ := open1(t, Options{Dir: filepath.Join(t.TempDir(), "index"), Store: "a"})
		crowd := make([]*capturev1.RRPair, pairs)
		rows := make([]index.Row, pairs)
		gen := querytest.RandomPair()
		for i := range crowd {
			crowd[i] = gen.Example(from*pairs + i)
			crowd[i].Id = fmt.Appendf(nil, "%016d", i)
			rows[i] = index.RowOf(crowd[i], 1, uint64(i), 0)
		}
		if err := x.Insert(t.Context(), rows, pairs); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(uint64(from), 7))
		for n := from; n < min(from+perCrowd, queries); n++ {
			src := querytest.QueryText().Example(int(r.Uint32()))
			q, err := query.Parse(src)
			if err != nil {
				t.Fatalf("%s: %v", src, err)
			}
			var want []uint64
			m := q.Matcher(query.WithEndpoint(func(p *capturev1.RRPair) string { return endpoint.Of(p.GetPath()) }))
			for i, p := range crowd {
				if m.Match(p) {
					want = append(want, uint64(i))
				}
			}
			sel := everything()
			sel.Query, sel.From = q, -1<<62
			got, err := x.Rows(t.Context(), index.Page{Selection: sel, Limit: pairs + 1, Pointers: true})
			if err != nil {
				t.Fatalf("%s: %v", src, err)
			}
			var have []uint64
			for i := range got {
				have = append(have, got[i].Off)
			}
			slices.Sort(have)
			hits += len(want)
			if x.Exact(q) {
				exact++
				if !slices.Equal(have, want) {
					t.Fatalf("%s: SQL gives %v, the matcher %v", src, have, want)
				}
				continue
			}
			rough++
			for _, i := range want {
				if _, ok := slices.BinarySearch(have, i); !ok {
					t.Fatalf("%s: SQL misses pair %d", src, i)
				}
			}
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d queries over %d pairs each: %d exact, %d narrowed, %d hits", exact+rough, pairs, exact, rough, hits)
	if exact == 0 || rough == 0 || hits == 0 {
		t.Error("the test proves little")
	}
}
