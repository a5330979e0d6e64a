package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
)

// follow collects n pairs of a tail.
func follow(t *testing.T, e Engine, tail store.Tail, n int) []*store.Stored {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got []*store.Stored
	for ev, err := range e.Tail(ctx, tail) {
		if err != nil {
			t.Fatalf("tail after %d of %d pairs: %v", len(got), n, err)
		}
		if ev.Dropped > 0 {
			t.Errorf("dropped %d", ev.Dropped)
		}
		if ev.Stored != nil {
			got = append(got, ev.Stored)
		}
		if len(got) == n {
			break
		}
	}
	return got
}

func tail(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	for n := range uint64(8) {
		add(t, e, f, f.Frame(Pairs(n*5, n*5+5)...))
	}
	all := All(t, e, store.List{Whole: true})
	slices.SortFunc(all, func(a, b *store.Stored) int {
		if a.Seq < b.Seq {
			return -1
		}
		return 1
	})
	for i, st := range all {
		if st.Pair.GetProxySeq() != uint64(i)+1 {
			t.Fatalf("place %d has pair %d: Seq is not the order of arrival", i, st.Pair.GetProxySeq())
		}
	}
	// Resuming after any pair gives just those behind it.
	for i, st := range all[:len(all)-1] {
		got := follow(t, e, store.Tail{After: st.Seq}, len(all)-1-i)
		if !slices.Equal(Numbers(got), Numbers(all[i+1:])) {
			t.Fatalf("resumed after %d: got %v", i+1, Numbers(got))
		}
	}
	q := parse(t, "status:5xx")
	var want []uint64
	for _, st := range all[1:] {
		if q.Matcher().Match(st.Pair) {
			want = append(want, Number(store.ID(st.Pair.GetId())))
		}
	}
	if got := Numbers(follow(t, e, store.Tail{Query: q, After: all[0].Seq}, len(want))); !slices.Equal(got, want) {
		t.Errorf("with a query: got %v, want %v", got, want)
	}

	// Live: what is appended while it runs, whole, and nothing from before.
	started := make(chan struct{})
	result := make(chan []*store.Stored)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		var got []*store.Stored
		for ev, err := range e.Tail(ctx, store.Tail{After: all[len(all)-1].Seq}) {
			if err != nil {
				t.Error(err)
				break
			}
			if ev.Stored == nil {
				continue
			}
			if got = append(got, ev.Stored); len(got) == 1 {
				close(started)
			}
			if len(got) == 7 {
				break
			}
		}
		result <- got
	}()
	add(t, e, f, f.Frame(Pair(40)))
	<-started
	add(t, e, f, f.Frame(Pairs(41, 43)...), f.Frame(Pairs(43, 47)...))
	got := <-result
	if !slices.Equal(Numbers(got), []uint64{40, 41, 42, 43, 44, 45, 46}) {
		t.Errorf("live: got %v", Numbers(got))
	}
	for i, st := range got {
		if !proto.Equal(st.Pair, Pair(uint64(40+i))) {
			t.Errorf("live: pair %d is not whole", i)
		}
	}
}
