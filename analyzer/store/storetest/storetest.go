// Package storetest is what every engine of a store has to pass, and makes the
// frames for it. Answers are compared with those of memstore, and of the
// query's own matcher.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Engine is what is tested.
type Engine interface {
	store.Writer
	store.Reader
}

// Suite is the tests of one engine.
type Suite struct {
	// Open gives an empty engine that is ready; it is closed by t.Cleanup.
	Open func(t *testing.T) Engine
	// Settle, when set, waits until the engine is at rest: everything is asked
	// once before, when answers come from memory in part, and once after.
	Settle func(t *testing.T, e Engine)
	// Every, when set, leaves out all but every so manieth query.
	Every int
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	s.Every = max(s.Every, 1)
	for _, c := range []struct {
		name string
		run  func(*testing.T, Engine)
	}{
		{"VisibleWhenAppended", visible},
		{"SentAgain", sentAgain},
		{"BySeveralSpools", severalSpools},
		{"FramesWithoutPairs", withoutPairs},
		{"FramesThatCannotBeOpened", unreadable},
		{"FramesThatMakeNoSense", nonsense},
		{"InAnyOrder", anyOrder},
		{"Missing", missing},
		{"DeclaredLost", declaredLost},
		{"PairsWithoutAnID", withoutID},
		{"OddTexts", oddTexts},
		{"OddTimes", oddTimes},
		{"Sampled", sampled},
		{"Cancelled", cancelled},
		{"Tail", tail},
		{"Concurrent", concurrent},
		{"OnceWhileItArrives", onceWhileItArrives},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s.Open(t)) })
	}
	t.Run("Answers", s.answers)
	t.Run("QueryTable", func(t *testing.T) { queryTable(t, s.Open(t), nil) })
	if s.Settle != nil {
		t.Run("QueryTableAtRest", func(t *testing.T) { queryTable(t, s.Open(t), s.Settle) })
	}
	t.Run("RandomQueries", s.randomAnswers)
}

func add(t *testing.T, e Engine, f *Forwarder, frames ...*capturev1.Frame) {
	t.Helper()
	if err := e.Append(t.Context(), f.Spool, frames); err != nil {
		t.Fatal(err)
	}
}

// All lists everything, whole.
func All(t testing.TB, e store.Reader, l store.List) []*store.Stored {
	t.Helper()
	if l.Limit == 0 {
		l.Limit = 1 << 20
	}
	var out []*store.Stored
	for st, err := range e.List(t.Context(), l) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, st)
	}
	return out
}

// Numbers are which pairs (see Pair) are in a list.
func Numbers(list []*store.Stored) []uint64 {
	out := make([]uint64, len(list))
	for i, st := range list {
		out[i] = Number(store.ID(st.Pair.GetId()))
	}
	return out
}

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

func parse(t testing.TB, src string) *query.Query {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatalf("parse %q: %v", src, err)
	}
	return q
}

// Queries ask for every field and every kind of test.
var Queries = []string{
	"", "status:5xx", "status:200", "status:<400", "status:>=500", "status:*", "-status:*", "-status:2xx",
	"app:checkout", "app:c*", "app:(checkout payments)", "app:/^c/", "-app:/^c/", "pod:pod-1", "namespace:*", "-namespace:*", "cluster:production",
	"direction:inbound", "direction:*", "-direction:outbound", "direction:in*",
	"protocol:http", "protocol:HTTP", "method:get", "method:(GET POST)", "-method:*",
	"path:/users/*", "path:*items", "path:/API/Search", "path:/api/search", "path:*%20*", "path:*_c", "path:/ünï/*", "-path:/health*",
	"endpoint:/users/{id}", "endpoint:*{id}*",
	"host:shop.example.com", "host:*.example.com", "host:SHOP.example.com:8080",
	"query:debug=1", "query:page", `query:"card declined"`, "query:card*", "-query:debug",
	"error:refused", `error:"reset by"`, "error:*", "error:refuse", "error:/res.t/",
	"duration:>200ms", "duration:<=200ms", "duration:*", "-duration:*", "-duration:>1ms", "ttfb:50ms..300ms",
	"size.request:>0", "size.response:10..40", "size.request:*", "-size.request:*",
	"client:10.0.0.1", "client:*:40003", "server:10.1.0.1:8080", "server:10.1.0.1",
	"header.x-tenant:acme", "header.x-tenant:ACME", "request.header.x-number:>50", "response.header.content-type:*json*", "-header.x-tenant:acme",
	"body:declined", `body:"card was"`, "request.body:sku", "response.body:/acc.*ed/", "-body:declined",
	"json.card:declined", "json.price:>100", "json.items[*].sku:sku-3",
	"tag.tls.sni:*", "tag.tls.sni:a.example.com", "tag.tls.sni:*.example.com", "-tag.tls.sni:*",
	"flag:truncated", "flag:*", "flag:(no_response midstream)", "-flag:truncated", "flag:t*",
	"conn:0", "conn:10..20", "conn:*", "seq:>1",
	"declined", `"the card"`, "acme", "-declined",
	"status:5xx OR app:checkout", "status:5xx app:checkout", "-(status:5xx OR app:checkout)", "-(status:5xx declined)",
	"(body:declined OR status:5xx) -app:catalog", "-(-body:declined)", "status:5xx OR header.x-tenant:acme",
	"-(path:/users/* -body:declined) method:GET", "(query:card* OR flag:truncated) -(error:refused OR status:404)",
}

// answers compares everything that is asked with what memstore says.
func (s Suite) answers(t *testing.T) {
	const count = 400
	e := s.Open(t)
	oracle := memstore.New(func() int64 { return time.Now().UnixNano() })
	proxy := NewProxy(1)
	f := NewForwarder(1, proxy)
	r := rand.New(rand.NewPCG(1, 2))
	for n := uint64(0); n < count; {
		size := min(1+r.Uint64N(64), count-n)
		fr := f.Frame(Pairs(n, n+size)...)
		add(t, e, f, fr)
		add(t, oracle, f, fr)
		n += size
		if n > count/2 && n-size <= count/2 && s.Settle != nil {
			s.Settle(t, e) // so that half is in the index and half is not
		}
	}
	s.compareAnswers(t, e, oracle)
	if s.Settle != nil {
		// The query table is asked at rest, too.
		s.Settle(t, e)
		s.Every *= 3
		s.compareAnswers(t, e, oracle)
	}
}

func (s Suite) compareAnswers(t *testing.T, e, oracle Engine) {
	t.Helper()
	if got, want := extent(t, e), extent(t, oracle); got != want {
		t.Errorf("extent %+v, want %+v", got, want)
	}
	for i, src := range Queries {
		if i%s.Every != 0 {
			continue
		}
		q := parse(t, src)
		want := All(t, oracle, store.List{Query: q})
		for _, whole := range []bool{false, true} {
			got := All(t, e, store.List{Query: q, Whole: whole})
			if !sameIDs(got, want) {
				t.Errorf("%q, whole %v: %d pairs, want %d; first difference at %d", src, whole, len(got), len(want), firstDifference(got, want))
				continue
			}
			for i := range got {
				if err := samePair(got[i], want[i], whole); err != nil {
					t.Errorf("%q, whole %v, pair %d: %v", src, whole, want[i].Pair.GetProxySeq(), err)
				}
			}
		}
		for _, h := range []store.Histogram{
			{Query: q, Buckets: 30},
			{Query: q, Buckets: 7, From: Base + 100e9, To: Base + 333e9},
		} {
			got, err := e.Histogram(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := oracle.Histogram(t.Context(), h)
			if err != nil {
				t.Fatal(err)
			}
			if got.Partial || got.Step != ref.Step || got.From != ref.From || got.To != ref.To || !slices.Equal(got.Counts, ref.Counts) ||
				got.Sampled != ref.Sampled || !slices.Equal(got.Estimated, ref.Estimated) {
				t.Errorf("%q: histogram %+v, want %+v", src, got, ref)
			}
		}
	}
	for _, src := range []string{"", "status:5xx", "declined", "query:card*"} {
		q := parse(t, src)
		for _, limit := range []int{1, 7, 100} {
			page := store.List{Query: q, From: Base + 50e9, To: Base + 300e9}
			if limit == 1 { // as many questions as there are pairs
				page.To = Base + 100e9
			}
			want := All(t, oracle, page)
			page.Limit = limit
			var got []*store.Stored
			for {
				part := All(t, e, page)
				got = append(got, part...)
				if len(part) < limit {
					break
				}
				last := part[len(part)-1]
				page.Before = &store.Key{Time: store.Time(last.Pair), ID: store.ID(last.Pair.GetId())}
			}
			if !sameIDs(got, want) {
				t.Errorf("%q in pages of %d: %d pairs, want %d", src, limit, len(got), len(want))
			}
		}
	}
	for i, st := range All(t, oracle, store.List{}) {
		if i%s.Every != 0 {
			continue
		}
		got, err := e.Pair(t.Context(), store.ID(st.Pair.GetId()))
		if err != nil {
			t.Fatal(err)
		}
		if err := samePair(got, st, true); err != nil {
			t.Errorf("pair %d: %v", st.Pair.GetProxySeq(), err)
		}
	}
}

func extent(t *testing.T, e Engine) store.Extent {
	t.Helper()
	x, err := e.Extent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	x.Bytes = 0
	return x
}

func firstDifference(a, b []*store.Stored) int {
	for i := range min(len(a), len(b)) {
		if string(a[i].Pair.GetId()) != string(b[i].Pair.GetId()) {
			return i
		}
	}
	return min(len(a), len(b))
}

func sameIDs(a, b []*store.Stored) bool { return len(a) == len(b) && firstDifference(a, b) == len(a) }

// samePair compares what a list has to show, or everything.
func samePair(got, want *store.Stored, whole bool) error {
	if got.Endpoint != want.Endpoint {
		return fmt.Errorf("endpoint %q, want %q", got.Endpoint, want.Endpoint)
	}
	if whole {
		if !proto.Equal(got.Pair, want.Pair) {
			return fmt.Errorf("got %v, want %v", got.Pair, want.Pair)
		}
		return nil
	}
	g, w := got.Pair, want.Pair
	type shown struct {
		time, duration, ttfb                              int64
		cluster, namespace, app, pod, direction, protocol string
		method, host, path, query, err, client, server    string
		status                                            int32
		requestSize, responseSize, conn, seq              uint64
		flags, tags                                       string
		weight                                            uint32
	}
	of := func(p *capturev1.RRPair) shown {
		d, ok := query.Duration(p)
		if !ok {
			d = -1
		}
		f, ok := query.TTFB(p)
		if !ok {
			f = -1
		}
		flags := slices.Clone(p.GetFlags())
		slices.Sort(flags)
		src := p.GetSource()
		return shown{
			store.Time(p), d, f,
			src.GetCluster(), src.GetNamespace(), src.GetApp(), src.GetPod(), p.GetDirection().String(), p.GetProtocol(),
			p.GetMethod(), p.GetHost(), p.GetPath(), p.GetQuery(), p.GetError(), p.GetClient(), p.GetServer(),
			p.GetStatus(),
			p.GetRequest().GetBodySize(), p.GetResponse().GetBodySize(), p.GetConn(), p.GetSeq(),
			fmt.Sprint(flags), fmt.Sprint(p.GetTags()), store.Weight(p),
		}
	}
	if of(g) != of(w) {
		return fmt.Errorf("got %+v, want %+v", of(g), of(w))
	}
	return nil
}
