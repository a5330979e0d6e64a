package query_test

import (
	"testing"

	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// BenchmarkMatch asks the pairs of the table, one after another.
func BenchmarkMatch(b *testing.B) {
	pairs := querytest.Pairs(b)
	for _, src := range []string{
		"status:5xx",
		"status:5xx -path:/health* app:checkout duration:>200ms method:(GET POST)",
		"path:/api/*",
		"header.x-tenant:acme",
		"json.items[*].price:>100",
		`body:"card declined"`,
		"declined",
		"body:/card.*declined/",
	} {
		b.Run(src, func(b *testing.B) {
			q, err := query.Parse(src)
			if err != nil {
				b.Fatal(err)
			}
			m := q.Matcher()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m.Match(pairs[i%len(pairs)].RRPair)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := query.Parse(`status:5xx -path:/health* app:checkout duration:>200ms method:(GET POST) body:"card declined"`); err != nil {
			b.Fatal(err)
		}
	}
}
