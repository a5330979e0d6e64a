package segstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/weir-capture/weir/analyzer/store"
)

// Scan implements store.Scanner.
func (s *Store) Scan(ctx context.Context, sc store.Scan) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		if err := s.scan(ctx, sc, func(st *store.Stored) bool { return yield(st, nil) }); err != nil {
			yield(nil, fmt.Errorf("scan pairs: %w", err))
		}
	}
}

func (s *Store) scan(ctx context.Context, sc store.Scan, yield func(*store.Stored) bool) error {
	wctx, w := s.walk(ctx, look{
		query: sc.Query, from: sc.From, to: sc.To, after: sc.After, forward: true, budget: -1, progress: sc.Progress,
	})
	defer w.close()
	for {
		f, _, more, err := w.next(wctx)
		if err != nil {
			return err
		}
		if !more {
			return w.verdict()
		}
		for _, st := range f.pairs {
			if !yield(st) {
				return nil
			}
		}
	}
}

// each gives all pairs that fit a query that rows cannot decide, in no order,
// with the offset of the record that each is in. partial says why not all were
// looked at.
func (s *Store) each(ctx context.Context, sel store.Selection, do func(off uint64, st *store.Stored)) (partial *store.PartialError, err error) {
	wctx, w := s.walk(ctx, look{query: sel.Query, from: sel.From, to: sel.To, budget: sel.ScanBudget})
	defer w.close()
	for {
		f, _, more, err := w.next(wctx)
		if err == nil && !more {
			err = w.verdict()
		}
		if p, ok := errors.AsType[*store.PartialError](err); ok {
			return p, nil
		}
		if err != nil || !more {
			return nil, err
		}
		for _, st := range f.pairs {
			do(f.off, st)
		}
	}
}
