package memstore

import (
	"context"
	"iter"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

var (
	_ store.Stats   = (*Store)(nil)
	_ store.Scanner = (*Store)(nil)
)

// row is a pair as an index has it.
func row(st *store.Stored) *index.Row {
	r := index.RowOf(st.Pair, st.At, 0, 0)
	return &r
}

// selected yields what a selection has, in order of Seq.
func (s *Store) selected(ctx context.Context, sel store.Selection) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		all, _ := s.from(0)
		if sel.To == 0 {
			sel.To = math.MaxInt64
		}
		match := matcher(sel.Query)
		for _, st := range all {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			if t := store.Time(st.Pair); t < sel.From || t >= sel.To || !match(st.Pair) {
				continue
			}
			if !yield(st, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Scan implements store.Scanner.
func (s *Store) Scan(ctx context.Context, q store.Scan) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		for st, err := range s.selected(ctx, q.Selection) {
			if err == nil && st.Seq <= q.After {
				continue
			}
			if !yield(st, err) || err != nil {
				return
			}
		}
	}
}

// Facets implements store.Stats.
func (s *Store) Facets(ctx context.Context, f store.Facets) (*store.FacetCounts, error) {
	sum, err := sums.NewFacets(f.Fields, f.Prefix)
	if err != nil {
		return nil, err
	}
	for st, err := range s.selected(ctx, f.Selection) {
		if err != nil {
			return nil, err
		}
		sum.Add(row(st))
	}
	return sum.Counts(f.Limit), nil
}

// Endpoints implements store.Stats.
func (s *Store) Endpoints(ctx context.Context, e store.Endpoints) (*store.EndpointList, error) {
	var sum sums.Endpoints
	for st, err := range s.selected(ctx, e.Selection) {
		if err != nil {
			return nil, err
		}
		sum.Add(row(st))
	}
	return sum.List(e.Limit), nil
}

// Edges implements store.Stats.
func (s *Store) Edges(ctx context.Context, e store.Edges) (*store.EdgeList, error) {
	var known index.Addresses
	all, _ := s.from(0)
	for _, st := range all {
		known.Learn(row(st))
	}
	sum := sums.NewEdges(&known)
	for st, err := range s.selected(ctx, e.Selection) {
		if err != nil {
			return nil, err
		}
		sum.Add(row(st))
	}
	return sum.List(e.Limit), nil
}
