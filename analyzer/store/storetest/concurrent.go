package storetest

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func concurrent(t *testing.T, e Engine) {
	const spools, frames = 4, 25
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	errs := make(chan error, spools+1)
	f := NewForwarder(100, NewProxy(100))
	add(t, e, f, f.Frame(Pair(9999)))
	seed, err := e.Pair(ctx, store.ID(Pair(9999).GetId()))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		seen := map[string]bool{}
		var last, dropped uint64
		for ev, err := range e.Tail(ctx, store.Tail{After: seed.Seq}) {
			if err != nil {
				errs <- err
				return
			}
			if dropped += ev.Dropped; ev.Stored == nil {
				continue
			}
			if ev.Stored.Seq <= last {
				errs <- fmt.Errorf("tail went from %d to %d", last, ev.Stored.Seq)
				return
			}
			last = ev.Stored.Seq
			if seen[string(ev.Stored.Pair.GetId())] {
				errs <- fmt.Errorf("tail has pair %d twice", ev.Stored.Pair.GetProxySeq())
				return
			}
			seen[string(ev.Stored.Pair.GetId())] = true
			if uint64(len(seen))+dropped == spools*frames*2 {
				errs <- nil
				return
			}
		}
	}()
	for s := range byte(spools) {
		go func() {
			f := NewForwarder(s+1, NewProxy(s+1))
			for n := range uint64(frames) {
				from := uint64(s)*1000 + n*2
				fr := f.Frame(Pairs(from, from+2)...)
				if err := e.Append(ctx, f.Spool, []*capturev1.Frame{fr}); err != nil {
					errs <- err
					return
				}
				if _, err := e.Pair(ctx, store.ID(Pair(from+1).GetId())); err != nil {
					errs <- fmt.Errorf("pair that was just appended: %w", err)
					return
				}
				for _, err := range e.List(ctx, store.List{Limit: 10, Whole: n%2 == 0}) {
					if err != nil {
						errs <- err
						return
					}
				}
			}
			errs <- nil
		}()
	}
	for range spools + 1 {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if got := All(t, e, store.List{}); len(got) != spools*frames*2+1 {
		t.Errorf("%d pairs, want %d", len(got), spools*frames*2+1)
	}
}

// While pairs arrive, and are indexed, every list and every count has each that
// was acknowledged before it was asked, once, and none that was not sent.
func onceWhileItArrives(t *testing.T, e Engine) {
	const frames, each = 40, 3
	var sent, acknowledged atomic.Uint64
	done := make(chan error, 1)
	go func() {
		f := NewForwarder(1, NewProxy(1))
		for n := range uint64(frames) {
			sent.Add(each)
			if err := e.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(Pairs(n*each, n*each+each)...)}); err != nil {
				done <- err
				return
			}
			acknowledged.Add(each)
		}
		done <- nil
	}()
	for over := false; !over; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			over = true
		default:
		}
		least := acknowledged.Load()
		list := Numbers(All(t, e, store.List{}))
		if n, most := uint64(len(list)), sent.Load(); n < least || n > most {
			t.Fatalf("list has %d pairs, want %d to %d", n, least, most)
		}
		slices.Sort(list)
		if once := len(slices.Compact(list)); once < len(list) {
			t.Fatalf("list has %d pairs, %d of them twice", len(list), len(list)-once)
		}
		least = acknowledged.Load()
		b, err := e.Histogram(t.Context(), store.Histogram{Buckets: 7})
		if err != nil {
			t.Fatal(err)
		}
		if n, most := total(b), sent.Load(); n < least || n > most {
			t.Fatalf("histogram has %d pairs, want %d to %d", n, least, most)
		}
	}
}
