package storetest

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
)

// soon is how long a call may go on after its context has ended.
const soon = 200 * time.Millisecond

// cancelledSoon: whatever is asked ends soon after its context does, and with
// its error, also while it looks into frames and while its consumer waits.
func cancelledSoon(t *testing.T, e Engine) {
	const frames, each = 60, 60
	f := NewForwarder(1, NewProxy(1))
	for n := range uint64(frames) {
		add(t, e, f, f.Frame(Pairs(n*each, (n+1)*each)...))
	}
	q := parse(t, `body:/qq[a-z]+zz/`)
	sel := store.Selection{Query: q}
	last := func(seq iter.Seq2[*store.Stored, error]) (err error) {
		for _, err = range seq {
		}
		return err
	}
	calls := map[string]func(context.Context) error{
		"list": func(ctx context.Context) error { return last(e.List(ctx, store.List{Query: q, Limit: 10})) },
		"whole list": func(ctx context.Context) error {
			return last(e.List(ctx, store.List{Limit: 1 << 20, Whole: true}))
		},
		"histogram": func(ctx context.Context) error {
			_, err := e.Histogram(ctx, store.Histogram{Query: q, Buckets: 10})
			return err
		},
		"facets": func(ctx context.Context) error {
			_, err := statsOf(t, e).Facets(ctx, store.Facets{Selection: sel, Fields: []string{"app"}})
			return err
		},
		"endpoints": func(ctx context.Context) error {
			_, err := statsOf(t, e).Endpoints(ctx, store.Endpoints{Selection: sel})
			return err
		},
		"edges": func(ctx context.Context) error {
			_, err := statsOf(t, e).Edges(ctx, store.Edges{Selection: sel})
			return err
		},
		"errors": func(ctx context.Context) error {
			_, err := statsOf(t, e).Errors(ctx, store.Errors{Selection: sel, Steps: 10, Newest: 3})
			return err
		},
		"heatmap": func(ctx context.Context) error {
			_, err := statsOf(t, e).Heatmap(ctx, store.Heatmap{Selection: sel, Steps: 10})
			return err
		},
		"difference": func(ctx context.Context) error {
			_, err := statsOf(t, e).Difference(ctx, store.Difference{In: q})
			return err
		},
		"difference by the index": func(ctx context.Context) error {
			_, err := statsOf(t, e).Difference(ctx, store.Difference{In: parse(t, "status:5xx")})
			return err
		},
		"tail": func(ctx context.Context) (err error) {
			for _, err = range e.Tail(ctx, store.Tail{Query: q}) {
			}
			return err
		},
		"scan": func(ctx context.Context) error {
			s, ok := e.(store.Scanner)
			if !ok {
				t.Fatalf("a %T cannot scan", e)
			}
			return last(s.Scan(ctx, store.Scan{Selection: sel}))
		},
	}
	for name, call := range calls {
		// The machine may be busy with something else: one try that is quick
		// shows that the engine is.
		best := time.Hour
		for range 5 {
			if best = min(best, endsAfter(t, name, call)); best <= soon {
				break
			}
		}
		if best > soon {
			t.Errorf("%s: it went on for %v after its context had ended", name, best)
		}
	}
}

// endsAfter asks again and again until the context ends, which is while it is
// asked, and says how much longer that took.
func endsAfter(t *testing.T, name string, call func(context.Context) error) time.Duration {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var at atomic.Int64
	began := time.Now()
	timer := time.AfterFunc(10*time.Millisecond, func() {
		at.Store(int64(time.Since(began)))
		cancel()
	})
	defer timer.Stop()
	for {
		err := call(ctx)
		took := time.Since(began)
		switch {
		case errors.Is(err, context.Canceled):
			return took - time.Duration(at.Load())
		case err != nil && !errors.Is(err, store.ErrPartial):
			t.Fatalf("%s: %v", name, err)
		case ctx.Err() != nil && took-time.Duration(at.Load()) > time.Minute:
			t.Fatalf("%s: it does not heed its context", name)
		}
	}
}

func cancelled(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	add(t, e, f, f.Frame(Pairs(0, 40)...))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range e.List(ctx, store.List{Limit: 0}) {
		t.Error("a list of none has something")
	}
	var last error
	for _, err := range e.List(ctx, store.List{Limit: 100}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("list: %v", last)
	}
	if _, err := e.Pair(ctx, store.ID(Pair(0).GetId())); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("pair: %v", err)
	}
	if _, err := e.Histogram(ctx, store.Histogram{Buckets: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("histogram: %v", err)
	}
	for _, err := range e.Tail(ctx, store.Tail{}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("tail: %v", last)
	}
	// The consumer may stop at any time.
	n := 0
	for _, err := range e.List(t.Context(), store.List{Limit: 100}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 5 {
			break
		}
	}
}
