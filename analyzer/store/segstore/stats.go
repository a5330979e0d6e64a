package segstore

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
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
	partial, err := s.sum(ctx, f.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("count values: %w", err)
	}
	if counts == nil {
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
	partial, err := s.sum(ctx, e.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("sum endpoints: %w", err)
	}
	if list == nil {
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
	partial, err := s.sum(ctx, e.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("sum edges: %w", err)
	}
	if list == nil {
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
// exact, else one by one, by add. partial says why not all were summed, and is
// nil where exact was called.
func (s *Store) sum(ctx context.Context, sel store.Selection, exact func(context.Context, index.Index, index.Sum) error, add func(*index.Row)) (partial *store.PartialError, err error) {
	if sel.To == 0 {
		sel.To = math.MaxInt64
	}
	if !index.Covered(sel.Query) {
		if err := s.heavy.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer s.heavy.Release(1)
		return s.each(ctx, sel, func(off uint64, st *store.Stored) {
			row := index.RowOf(st.Pair, st.At, off, uint32(st.Seq-index.Seq(off, 0)))
			row.Endpoint = s.endpoint(st.Pair)
			add(&row)
		})
	}
	c, err := s.search(ctx, sel.Query, sel.From, sel.To, nil, false, sel.ScanBudget)
	if err != nil {
		return nil, err
	}
	if c.exact {
		var extra []*index.Row
		for _, r := range c.pending {
			st, err := c.decide(ctx, r)
			if err != nil {
				return nil, err
			}
			if st != nil {
				extra = append(extra, r)
			}
		}
		return nil, s.use(ctx, func(x index.Index) error {
			return exact(ctx, x, index.Sum{
				Selection: index.Selection{Query: sel.Query, From: sel.From, To: sel.To, Below: c.snap.below},
				Extra:     extra,
			})
		})
	}
	if err := s.heavy.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer s.heavy.Release(1)
	for {
		r, err := c.next(ctx)
		if p, ok := errors.AsType[*store.PartialError](err); ok {
			return p, nil
		}
		if err != nil || r == nil {
			return nil, err
		}
		st, err := c.decide(ctx, r)
		if err != nil {
			return nil, err
		}
		if st != nil {
			add(r)
		}
	}
}
