package duckindex

import (
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// TestExplained: what store.Explain says of a leaf is what its SQL does.
func TestExplained(t *testing.T) {
	leaves := map[store.Answer]int{}
	var walk func(n query.Node)
	walk = func(n query.Node) {
		switch n := n.(type) {
		case query.And:
			for _, c := range n.Nodes {
				walk(c)
			}
			return
		case query.Or:
			for _, c := range n.Nodes {
				walk(c)
			}
			return
		case query.Not:
			walk(n.Node)
			return
		}
		q := &query.Query{Root: n}
		f, answer := compile(q), store.AnswerOf(n)
		leaves[answer]++
		if f.exact != (answer == store.AnswerExactly) {
			t.Errorf("%s: SQL is exact: %v, explained as %d", n, f.exact, answer)
		}
		if index.Covered(q) != (answer != store.AnswerFrames) {
			t.Errorf("%s: covered: %v, explained as %d", n, index.Covered(q), answer)
		}
	}
	for _, c := range querytest.Cases(t) {
		walk(parse(t, c.Query).Root)
	}
	for n := range 2000 {
		walk(parse(t, querytest.QueryText().Example(n)).Root)
	}
	if len(leaves) != 4 {
		t.Errorf("answers %v", leaves)
	}
}
