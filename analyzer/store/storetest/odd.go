package storetest

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func oddTexts(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	p := Pair(0)
	p.Path = "/nul\x00and'quote\"%_\\" + strings.Repeat("long", 5000)
	p.Host = "\u2028\u00df\u0130"
	p.Error = "\x00"
	p.Tags = map[string]string{"a\x00\"b": "\u2028'"}
	p.Conn, p.Seq = 1<<63, 1<<64-1
	p.Request.BodySize = 1<<64 - 1
	p.Status = -7
	add(t, e, f, f.Frame(p))
	for range 2 {
		got := All(t, e, store.List{})
		if len(got) != 1 || got[0].Pair.GetPath() != p.GetPath() || got[0].Pair.GetHost() != p.GetHost() || got[0].Pair.GetError() != p.GetError() {
			t.Fatalf("got %v", got)
		}
		if got[0].Pair.GetTags()["a\x00\"b"] != "\u2028'" || got[0].Pair.GetStatus() != -7 {
			t.Fatalf("got %v", got)
		}
	}
}

// A clock may say anything; it hides neither its own pairs nor others'.
func oddTimes(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	pairs := Pairs(0, 6)
	for i, first := range []int64{math.MaxInt64, math.MaxInt64 - 1, 1, math.MinInt64} {
		pairs[i].Timing.RequestFirst = first
	}
	add(t, e, f, f.Frame(pairs...))
	got := Numbers(All(t, e, store.List{}))
	slices.Sort(got)
	if !slices.Equal(got, []uint64{0, 1, 2, 3, 4, 5}) {
		t.Errorf("list has %v", got)
	}
	b, err := e.Histogram(t.Context(), store.Histogram{Buckets: 10})
	if err != nil || total(b) != 6 {
		t.Errorf("histogram has %d pairs, %v", total(b), err)
	}
}

// A pair that was kept for others counts as one, and stands for all of them.
func sampled(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	var pairs []*capturev1.RRPair
	for n, weight := range []uint32{0, 1, 10, 10, math.MaxUint32} {
		p := Pair(uint64(n))
		p.Status, p.SampleWeight = 200, weight
		pairs = append(pairs, p)
	}
	add(t, e, f, f.Frame(pairs[:2]...))
	b, err := e.Histogram(t.Context(), store.Histogram{Buckets: 1})
	if err != nil || b.Sampled || b.Counts[0][2] != 2 || b.Estimated[0][2] != 2 {
		t.Errorf("none stands for others: %+v, %v", b, err)
	}
	add(t, e, f, f.Frame(pairs[2:]...))
	for _, src := range []string{"", "body:*"} {
		b, err := e.Histogram(t.Context(), store.Histogram{Query: parse(t, src), Buckets: 1})
		if err != nil || !b.Sampled || b.Counts[0][2] != 5 || b.Estimated[0][2] != 22+math.MaxUint32 {
			t.Errorf("%q: %+v, %v", src, b, err)
		}
	}
	for _, st := range All(t, e, store.List{}) {
		if want := store.Weight(pairs[Number(store.ID(st.Pair.GetId()))]); store.Weight(st.Pair) != want {
			t.Errorf("a list has weight %d, want %d", store.Weight(st.Pair), want)
		}
	}
}
