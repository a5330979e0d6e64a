package storetest

import (
	"context"
	"errors"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
)

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
