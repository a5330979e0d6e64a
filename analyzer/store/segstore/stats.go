package segstore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Facets implements store.Stats.
func (s *Store) Facets(ctx context.Context, f store.Facets) (*store.FacetCounts, error) {
	sum, err := sums.NewFacets(f.Fields, f.Prefix)
	if err != nil {
		return nil, err
	}
	var counts *store.FacetCounts
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		counts, err = x.Facets(ctx, index.Facets{Sum: sel, Fields: f.Fields, Limit: f.Limit, Prefix: f.Prefix})
		return err
	}
	partial, decided, err := s.sum(ctx, f.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("count values: %w", err)
	}
	if !decided {
		counts = sum.Counts(f.Limit)
		if partial != nil {
			counts.Partial = partial
		}
	}
	return counts, nil
}

// Endpoints implements store.Stats.
func (s *Store) Endpoints(ctx context.Context, e store.Endpoints) (*store.EndpointList, error) {
	var sum sums.Endpoints
	var list *store.EndpointList
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		list, err = x.Endpoints(ctx, index.Endpoints{Sum: sel, Limit: e.Limit})
		return err
	}
	partial, decided, err := s.sum(ctx, e.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("sum endpoints: %w", err)
	}
	if !decided {
		list = sum.List(e.Limit)
		if partial != nil {
			list.Partial = partial
		}
	}
	return list, nil
}

// Edges implements store.Stats.
func (s *Store) Edges(ctx context.Context, e store.Edges) (*store.EdgeList, error) {
	known, err := s.addresses(ctx)
	if err != nil {
		return nil, fmt.Errorf("sum edges: %w", err)
	}
	sum := sums.NewEdges(known)
	var list *store.EdgeList
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		list, err = x.Edges(ctx, index.Edges{Sum: sel, Limit: e.Limit, Known: known})
		return err
	}
	partial, decided, err := s.sum(ctx, e.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("sum edges: %w", err)
	}
	if !decided {
		list = sum.List(e.Limit)
		if partial != nil {
			list.Partial = partial
		}
	}
	return list, nil
}

// addresses are those that rows tell of, those of the index and the pending.
func (s *Store) addresses(ctx context.Context) (known *index.Addresses, err error) {
	pending := s.live.snapshot().pending
	err = s.use(ctx, func(x index.Index) error {
		known, err = x.Addresses(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, b := range pending {
		for i := range b.rows {
			known.Learn(&b.rows[i])
		}
	}
	return known, nil
}

// sum has the rows of a selection summed: by the index when it can decide, by
// exact, else one by one, by add. decided: the index did; otherwise partial says
// why not all were summed.
func (s *Store) sum(ctx context.Context, sel store.Selection, exact func(context.Context, index.Index, index.Sum) error, add func(*index.Row)) (partial *store.PartialError, decided bool, err error) {
	return s.sumBoth(ctx, sel, nil, exact, func(r *index.Row, _ *capturev1.RRPair) { add(r) })
}

// sumBoth is sum where another query, which may be nil, has to be decided of
// each row that is selected. add gets its pair, which has what that query asks
// about.
func (s *Store) sumBoth(ctx context.Context, sel store.Selection, other *query.Query, exact func(context.Context, index.Index, index.Sum) error, add func(*index.Row, *capturev1.RRPair)) (partial *store.PartialError, decided bool, err error) {
	if sel.To == 0 {
		sel.To = math.MaxInt64
	}
	if !index.Covered(sel.Query) || !index.Covered(other) {
		if err := s.heavy.Acquire(ctx, 1); err != nil {
			return nil, false, err
		}
		defer s.heavy.Release(1)
		partial, err = s.each(ctx, sel, func(off uint64, st *store.Stored) {
			row := index.RowOf(st.Pair, st.At, off, uint32(st.Seq-index.Seq(off, 0)))
			row.Endpoint = s.endpoint(st.Pair)
			add(&row, st.Pair)
		})
		return partial, false, err
	}
	c, err := s.search(ctx, sel.Query, sel.From, sel.To, nil, false, sel.ScanBudget)
	if err != nil {
		return nil, false, err
	}
	both := c.exact
	if both && other != nil {
		if err := s.use(ctx, func(x index.Index) error { both = x.Exact(other); return nil }); err != nil {
			return nil, false, err
		}
	}
	if both {
		var extra []*index.Row
		for _, r := range c.pending {
			st, err := c.decide(ctx, r)
			if err != nil {
				return nil, false, err
			}
			if st != nil {
				extra = append(extra, r)
			}
		}
		return nil, true, s.use(ctx, func(x index.Index) error {
			return exact(ctx, x, index.Sum{
				Selection: index.Selection{Query: sel.Query, From: sel.From, To: sel.To, Below: c.snap.below},
				Extra:     extra,
			})
		})
	}
	if err := s.heavy.Acquire(ctx, 1); err != nil {
		return nil, false, err
	}
	defer s.heavy.Release(1)
	for {
		r, err := c.next(ctx)
		if p, ok := errors.AsType[*store.PartialError](err); ok {
			return p, false, nil
		}
		if err != nil || r == nil {
			return nil, false, err
		}
		st, err := c.decide(ctx, r)
		if err != nil {
			return nil, false, err
		}
		if st != nil {
			add(r, st.Pair)
		}
	}
}
