package segstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/seglog"
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
		return nil, fmt.Errorf("sum errors: %w", err)
	}
	list := &index.ErrorList{ErrorList: store.ErrorList{From: e.From, To: e.To, Step: steps.Step}}
	if steps.Count == 0 {
		return &list.ErrorList, nil
	}
	sum := sums.NewErrors(e, steps)
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		list, err = x.Errors(ctx, index.Errors{Sum: sel, Steps: steps, Ask: e})
		return err
	}
	partial, decided, err := s.sum(ctx, e.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("sum errors: %w", err)
	}
	if !decided {
		list = sum.List()
		list.Partial = cmp.Or(partial, list.Partial)
	}
	list.From, list.To = e.From, e.To
	if err := s.readErrors(ctx, list, e.Whole); err != nil {
		return nil, fmt.Errorf("read errors: %w", err)
	}
	return &list.ErrorList, nil
}

// readErrors reads pairs of a list whole.
func (s *Store) readErrors(ctx context.Context, list *index.ErrorList, whole int) error {
	for i, j := range list.InTurns(whole) {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, _, err := s.pair(ctx, &list.Rows[i][j])
		_, damaged := errors.AsType[*seglog.CorruptError](err)
		switch {
		case err == nil:
			list.Lines[i].Whole = append(list.Lines[i].Whole, st)
		case errors.Is(err, errGone), damaged: // it is left out
		default:
			return s.mistrust(err)
		}
	}
	return nil
}

// Heatmap implements store.Stats.
func (s *Store) Heatmap(ctx context.Context, h store.Heatmap) (*store.HeatmapCounts, error) {
	steps, err := s.steps(ctx, &h.Selection, h.Steps)
	if err != nil {
		return nil, fmt.Errorf("count durations: %w", err)
	}
	sum := sums.NewHeatmap(steps)
	if steps.Count == 0 {
		counts := sum.Counts()
		counts.From, counts.To = h.From, h.To
		return counts, nil
	}
	var counts *store.HeatmapCounts
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		counts, err = x.Heatmap(ctx, index.Heatmap{Sum: sel, Steps: steps})
		return err
	}
	partial, decided, err := s.sum(ctx, h.Selection, exact, sum.Add)
	if err != nil {
		return nil, fmt.Errorf("count durations: %w", err)
	}
	if !decided {
		counts = sum.Counts()
		counts.Partial = partial
	}
	counts.From, counts.To = h.From, h.To
	return counts, nil
}

// Difference implements store.Stats.
func (s *Store) Difference(ctx context.Context, d store.Difference) (*store.DifferenceList, error) {
	in := s.matcher(d.In)
	sum := sums.NewDifference(d.Limit)
	var list *store.DifferenceList
	exact := func(ctx context.Context, x index.Index, sel index.Sum) (err error) {
		list, err = x.Difference(ctx, index.Difference{
			Sum: sel, In: d.In, InFrom: d.InFrom, InTo: cmp.Or(d.InTo, math.MaxInt64), Limit: d.Limit,
			Inside: func(r *index.Row) bool {
				st, err := r.Stored()
				return err == nil && d.Within(r.Time) && in.Match(st.Pair) // it was decoded before, when it was selected
			},
		})
		return err
	}
	var failed error
	partial, decided, err := s.sumBoth(ctx, d.Selection, d.In, exact, func(r *index.Row, p *capturev1.RRPair) {
		inside := d.Within(r.Time)
		if inside && failed == nil {
			inside, failed = in.MatchContext(ctx, p)
		}
		if failed == nil {
			failed = sum.Add(r, inside)
		}
	})
	if err = cmp.Or(err, failed); err != nil {
		return nil, fmt.Errorf("compare values: %w", err)
	}
	if !decided {
		list = sum.List()
		list.Partial = cmp.Or(partial, list.Partial)
	}
	return list, nil
}
