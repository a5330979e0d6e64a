package memstore

import (
	"context"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// steps brings the bounds of a selection to those of what is stored.
func (s *Store) steps(ctx context.Context, sel *store.Selection, count int) (index.Steps, error) {
	extent, err := s.Extent(ctx)
	if err != nil {
		return index.Steps{}, err
	}
	b := store.NewBuckets(store.Histogram{From: sel.From, To: sel.To, Buckets: count}, extent)
	sel.From, sel.To = b.From, b.To
	return index.Steps{From: b.From, Step: b.Step, Count: len(b.Counts)}, nil
}

// Errors implements store.Stats.
func (s *Store) Errors(ctx context.Context, e store.Errors) (*store.ErrorList, error) {
	steps, err := s.steps(ctx, &e.Selection, e.Steps)
	if err != nil {
		return nil, err
	}
	sum := sums.NewErrors(e, steps)
	if steps.Count > 0 {
		for st, err := range s.selected(ctx, e.Selection) {
			if err != nil {
				return nil, err
			}
			sum.Add(row(st))
		}
	}
	list := &sum.List().ErrorList
	list.From, list.To = e.From, e.To
	for i, j := range list.InTurns(e.Whole) {
		st, err := s.Pair(ctx, list.Lines[i].Newest[j])
		if err != nil {
			return nil, err
		}
		list.Lines[i].Whole = append(list.Lines[i].Whole, st)
	}
	return list, nil
}

// Heatmap implements store.Stats.
func (s *Store) Heatmap(ctx context.Context, h store.Heatmap) (*store.HeatmapCounts, error) {
	steps, err := s.steps(ctx, &h.Selection, h.Steps)
	if err != nil {
		return nil, err
	}
	sum := sums.NewHeatmap(steps)
	if steps.Count > 0 {
		for st, err := range s.selected(ctx, h.Selection) {
			if err != nil {
				return nil, err
			}
			sum.Add(row(st))
		}
	}
	counts := sum.Counts()
	counts.From, counts.To = h.From, h.To
	return counts, nil
}

// Difference implements store.Stats.
func (s *Store) Difference(ctx context.Context, d store.Difference) (*store.DifferenceList, error) {
	sum := sums.NewDifference(d.Limit)
	in := matcher(d.In)
	for st, err := range s.selected(ctx, d.Selection) {
		if err != nil {
			return nil, err
		}
		r := row(st)
		if err := sum.Add(r, d.Within(r.Time) && in(st.Pair)); err != nil {
			return nil, err
		}
	}
	return sum.List(), nil
}
