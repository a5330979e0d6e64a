package storetest

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

func visible(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	if x, err := e.Extent(t.Context()); err != nil || x.Pairs != 0 || x.Oldest != 0 || x.Newest != 0 {
		t.Errorf("empty: %+v, %v", x, err)
	}
	if h, err := e.Histogram(t.Context(), store.Histogram{Buckets: 10}); err != nil || len(h.Counts) != 0 {
		t.Errorf("empty: %+v, %v", h, err)
	}
	if got := All(t, e, store.List{}); len(got) != 0 {
		t.Errorf("empty: %d pairs", len(got))
	}
	for n := range uint64(20) {
		before := time.Now().UnixNano()
		want := Pair(n)
		add(t, e, f, f.Frame(want))
		st, err := e.Pair(t.Context(), store.ID(want.GetId()))
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(st.Pair, want) || st.At < before || st.At > time.Now().UnixNano() || st.Seq == 0 {
			t.Fatalf("pair %d: got %v", n, st)
		}
		if got := All(t, e, store.List{Whole: true}); len(got) != int(n)+1 {
			t.Fatalf("%d pairs listed of %d", len(got), n+1)
		}
		if x, err := e.Extent(t.Context()); err != nil || x.Pairs != n+1 {
			t.Fatalf("extent %+v, %v", x, err)
		}
		h, err := e.Histogram(t.Context(), store.Histogram{Buckets: 7})
		if err != nil {
			t.Fatal(err)
		}
		if sum := total(h); sum != n+1 {
			t.Fatalf("histogram counts %d of %d", sum, n+1)
		}
	}
	if _, err := e.Pair(t.Context(), store.ID{1}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("unknown id: %v", err)
	}
}

func total(b *store.Buckets) (sum uint64) {
	for _, c := range b.Counts {
		for _, n := range c {
			sum += n
		}
	}
	return sum
}

func sentAgain(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	if n := e.Have(f.Spool).Next; n != 0 {
		t.Errorf("unknown spool: next %d", n)
	}
	var frames []*capturev1.Frame
	for n := range uint64(6) {
		frames = append(frames, f.Frame(Pairs(n*3, n*3+3)...))
	}
	for _, part := range [][2]int{{0, 2}, {0, 3}, {1, 2}, {2, 6}, {0, 6}} {
		add(t, e, f, frames[part[0]:part[1]]...)
	}
	if got := Numbers(All(t, e, store.List{})); len(got) != 18 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 18 {
		t.Errorf("got pairs %v", got)
	}
	if n := e.Have(f.Spool).Next; n != f.Offset {
		t.Errorf("next is %d, want %d", n, f.Offset)
	}
}

func severalSpools(t *testing.T, e Engine) {
	p := NewProxy(1)
	a, b := NewForwarder(1, p), NewForwarder(2, p)
	first, second, third := a.Frame(Pairs(0, 3)...), a.Frame(Pairs(3, 6)...), a.Frame(Pairs(6, 9)...)
	add(t, e, a, first)
	// The second batch comes by both, the other one being quicker.
	add(t, e, b, b.Again(second), b.Again(first))
	add(t, e, a, second, third)
	add(t, e, b, b.Again(third), b.Frame(Pairs(9, 12)...))
	got := Numbers(All(t, e, store.List{}))
	slices.Sort(got)
	if want := []uint64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}; !slices.Equal(got, want) {
		t.Errorf("got pairs %v", got)
	}
	if e.Have(a.Spool).Next != a.Offset || e.Have(b.Spool).Next != b.Offset {
		t.Errorf("next %d and %d, want %d and %d", e.Have(a.Spool).Next, e.Have(b.Spool).Next, a.Offset, b.Offset)
	}
	// Another epoch counts from 1 again.
	c := NewForwarder(1, NewProxy(9))
	c.Offset = a.Offset
	add(t, e, c, c.Frame(Pairs(20, 22)...))
	if got := All(t, e, store.List{}); len(got) != 14 {
		t.Errorf("%d pairs, want 14", len(got))
	}
}

func withoutPairs(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	empty := func() *capturev1.Frame {
		return f.Wrap(&capturev1.FrameHead{
			Source: &capturev1.Source{Epoch: make([]byte, 16)}, BatchSeq: f.Offset + 1,
			Received: 5, Filtered: map[string]uint32{"health": 5},
		})
	}
	add(t, e, f, empty())
	add(t, e, f, empty(), f.Frame(Pairs(0, 2)...), empty())
	if e.Have(f.Spool).Next != f.Offset || len(All(t, e, store.List{})) != 2 {
		t.Errorf("next %d of %d, %d pairs", e.Have(f.Spool).Next, f.Offset, len(All(t, e, store.List{})))
	}
}

func unreadable(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	bad := f.Frame(Pairs(0, 2)...)
	bad.Body = append([]byte("no zstd"), bad.GetBody()...)
	worse := f.Put([]byte("\xffno head"), []byte("whatever"))
	add(t, e, f, bad, worse, f.Frame(Pairs(2, 5)...), f.Put(nil, nil))
	if got := Numbers(All(t, e, store.List{})); len(got) != 3 {
		t.Errorf("got pairs %v", got)
	}
	if e.Have(f.Spool).Next != f.Offset {
		t.Errorf("next %d of %d", e.Have(f.Spool).Next, f.Offset)
	}
}

// What no store can take is refused with a word that names it; what comes with
// it before that is taken.
func nonsense(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	first := f.Frame(Pairs(0, 1)...)
	f.Offset += 1000
	third := f.Frame(Pairs(2, 3)...)
	add(t, e, f, first, third)
	for name, bad := range map[string]*capturev1.Frame{
		"without length":         {Offset: 900, NextOffset: 900},
		"that ends before":       {Offset: 900, NextOffset: 800},
		"within another":         {Offset: first.GetOffset() + 1, NextOffset: first.GetNextOffset() + 1},
		"over a later one":       {Offset: third.GetOffset() - 1, NextOffset: third.GetNextOffset()},
		"around a later one":     {Offset: third.GetOffset() - 1, NextOffset: third.GetNextOffset() + 1},
		"missing with a content": {Offset: 900, NextOffset: 901, Head: third.GetHead(), Missing: "because"},
	} {
		good := f.Frame(Pairs(10, 11)...)
		err := e.Append(t.Context(), f.Spool, []*capturev1.Frame{good, bad, f.Frame(Pairs(11, 12)...)})
		wrong, ok := errors.AsType[*store.FrameError](err)
		if !ok || wrong.Offset != bad.GetOffset() || !strings.Contains(err.Error(), fmt.Sprintf("frame at offset %d: ", bad.GetOffset())) {
			t.Errorf("%s: %v", name, err)
		}
		if !covers(e.Have(f.Spool), good) {
			t.Errorf("%s: a good frame before it was not taken", name)
		}
	}
	other := NewForwarder(2, NewProxy(2))
	a := other.Frame(Pairs(20, 21)...)
	overlap := &capturev1.Frame{Offset: a.GetOffset() + 1, NextOffset: a.GetNextOffset() + 1}
	if err := e.Append(t.Context(), other.Spool, []*capturev1.Frame{a, a, overlap}); err == nil {
		t.Error("two frames that overlap were taken at once")
	}
	if h := e.Have(other.Spool); h.Next != a.GetNextOffset() || len(h.Ranges) != 0 {
		t.Errorf("have %+v", h)
	}
}

func covers(h store.Have, f *capturev1.Frame) bool {
	for _, r := range h.Ranges {
		if r.From <= f.GetOffset() && f.GetNextOffset() <= r.To {
			return true
		}
	}
	return f.GetNextOffset() <= h.Next
}

// Frames come in any order, and are told of as they are.
func anyOrder(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	var frames []*capturev1.Frame
	for n := range uint64(40) {
		frames = append(frames, f.Frame(Pairs(n, n+1)...))
		if n == 20 {
			f.Offset += 50 // where nothing ever was
		}
	}
	if h := e.Have(f.Spool); h.Next != 0 || h.Known || len(h.Ranges) != 0 {
		t.Errorf("have of an unknown spool: %+v", h)
	}
	r := rand.New(rand.NewPCG(3, 4))
	sent := map[int]bool{}
	high := -1
	for _, i := range r.Perm(len(frames)) {
		add(t, e, f, frames[i])
		sent[i] = true
		high = max(high, i)
		h := e.Have(f.Spool)
		for i, fr := range frames {
			if covers(h, fr) != sent[i] {
				t.Fatalf("frame %d: sent %v, have %+v", i, sent[i], h)
			}
		}
		for i, r := range h.Ranges {
			if r.To <= r.From || r.From <= h.Next || i > 0 && r.From <= h.Ranges[i-1].To {
				t.Fatalf("ranges %v above %d overlap, touch or are not in order", h.Ranges, h.Next)
			}
		}
		top := frames[high]
		sum := crc32.Checksum(slices.Concat(top.GetHead(), top.GetBody()), crc32.MakeTable(crc32.Castagnoli))
		if !h.Known || h.Last != top.GetOffset() || h.Sum != sum {
			t.Fatalf("highest is %+v, want offset %d, checksum %x", h, top.GetOffset(), sum)
		}
	}
	for _, i := range r.Perm(len(frames)) {
		add(t, e, f, frames[i])
	}
	if got := Numbers(All(t, e, store.List{})); len(got) != 40 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 40 {
		t.Errorf("got pairs %v", got)
	}
	if h := e.Have(f.Spool); len(h.Ranges) != 1 {
		t.Errorf("have %+v, want one hole", h)
	}
	e.Skip(f.Spool, frames[21].GetOffset())
	if h := e.Have(f.Spool); h.Next != f.Offset || len(h.Ranges) != 0 {
		t.Errorf("have %+v, want all", h)
	}
	e.Skip(f.Spool, 10)
	if h := e.Have(f.Spool); h.Next != f.Offset {
		t.Errorf("have %+v, want all", h)
	}
}

// Of a stretch that is missing parts may have come, and what it covers does
// not come again.
func missing(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	first, second, third := f.Frame(Pairs(0, 1)...), f.Frame(Pairs(1, 2)...), f.Frame(Pairs(2, 3)...)
	add(t, e, f, second)
	gone := &capturev1.Frame{Offset: first.GetOffset(), NextOffset: third.GetNextOffset(), Missing: "header is damaged"}
	add(t, e, f, gone, gone)
	add(t, e, f, first, third, gone)
	if got := Numbers(All(t, e, store.List{})); !slices.Equal(got, []uint64{1}) {
		t.Errorf("got pairs %v", got)
	}
	if h := e.Have(f.Spool); h.Next != third.GetNextOffset() || h.Last != second.GetOffset() {
		t.Errorf("have %+v", h)
	}
}

// A batch that one forwarder declares lost may come by another, before or
// after: it is here once.
func declaredLost(t *testing.T, e Engine) {
	p := NewProxy(1)
	a, b := NewForwarder(1, p), NewForwarder(2, p)
	var frames []*capturev1.Frame
	for n := range uint64(8) {
		frames = append(frames, a.Frame(Pairs(n*2, n*2+2)...))
	}
	loss := func(first uint64, batches int) *capturev1.Frame {
		run := &capturev1.LostRun{FirstBatch: first, FirstPairSeq: first*2 - 1}
		for range batches {
			run.Pairs = append(run.Pairs, 2)
		}
		return b.Wrap(&capturev1.FrameHead{
			Source: &capturev1.Source{App: "app", Epoch: p.epoch[:]}, Lost: []*capturev1.LostRun{run}, LostReason: "spool_full",
		})
	}
	note := func(seq uint64, reason string) *capturev1.Frame {
		return b.Wrap(&capturev1.FrameHead{
			Source: &capturev1.Source{App: "app", Epoch: p.epoch[:]}, BatchSeq: seq, FirstPairSeq: seq*2 - 1,
			Received: 2, Dropped: map[string]uint32{reason: 2},
		})
	}
	expect := func(want ...uint64) {
		t.Helper()
		got := Numbers(All(t, e, store.List{}))
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("got pairs %v, want %v", got, want)
		}
	}
	add(t, e, a, frames[2])                                    // batch 3
	add(t, e, b, loss(1, 6), loss(2, 3))                       // 1 to 6
	add(t, e, b, note(7, "spool_full"), note(3, "spool_full")) // 3 is here
	add(t, e, b, note(8, "fault"), b.Again(frames[7]))         // was decided on
	expect(4, 5)
	add(t, e, b, b.Again(frames[0]), b.Again(frames[6])) // 1 and 7 after all
	add(t, e, a, frames...)
	add(t, e, b, loss(1, 8), note(1, "refused"), b.Again(frames[4]))
	expect(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	// One that nobody can read may come again whole.
	c := NewForwarder(3, NewProxy(3))
	whole := c.Frame(Pairs(30, 31)...)
	add(t, e, c, c.Put(whole.GetHead(), []byte("no body")), whole, c.Again(whole))
	expect(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 30)
}

func withoutID(t *testing.T, e Engine) {
	f := NewForwarder(1, NewProxy(1))
	a, b := Pair(0), Pair(1)
	a.Id, b.Id = nil, []byte("short")
	add(t, e, f, f.Frame(a, b))
	if _, ok := e.(*memstore.Store); ok {
		return // it takes what it gets
	}
	got := All(t, e, store.List{Whole: true})
	if len(got) != 2 {
		t.Fatalf("%d pairs", len(got))
	}
	for _, st := range got {
		again, err := e.Pair(t.Context(), store.ID(st.Pair.GetId()))
		if err != nil || again.Seq != st.Seq {
			t.Errorf("%x: %v, %v", st.Pair.GetId(), again, err)
		}
	}
}
