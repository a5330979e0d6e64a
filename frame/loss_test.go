package frame_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

// batch is what a head, or a run of a declaration, says about one batch.
type batch struct {
	epoch, reason   string
	seq, firstPair  uint64
	pairs           uint32
	filtered, drops string
}

func inOrder(m map[string]uint32) (s string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s += fmt.Sprintf("%s=%d ", k, m[k])
	}
	return s
}

// declared lists the batches of a declaration.
func declared(h *capturev1.FrameHead) (bs []batch) {
	for _, run := range h.GetLost() {
		pair := run.GetFirstPairSeq()
		for i, n := range run.GetPairs() {
			bs = append(bs, batch{
				string(h.GetSource().GetEpoch()), h.GetLostReason(), run.GetFirstBatch() + uint64(i), pair, n,
				inOrder(run.GetFiltered()), inOrder(run.GetDropped()),
			})
			pair += uint64(n)
		}
	}
	return bs
}

func encode(t testing.TB, h *capturev1.FrameHead) []byte {
	t.Helper()
	b, err := proto.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := frame.Head(b); err != nil {
		t.Fatalf("%v: %v", h, err)
	}
	return b
}

func condense(t testing.TB, reason string, heads ...[]byte) ([]*capturev1.FrameHead, uint64) {
	t.Helper()
	notes, pairs, err := frame.Condense(slices.Values(heads), reason)
	if err != nil {
		t.Fatal(err)
	}
	var hs []*capturev1.FrameHead
	for _, n := range notes {
		h, err := frame.Head(n)
		if err != nil {
			t.Fatalf("a note that nobody can read: %v", err)
		}
		if !frame.IsLoss(h) || len(n) > frame.MaxLossBytes {
			t.Fatalf("note of %d bytes: %v", len(n), h)
		}
		hs = append(hs, h)
	}
	return hs, pairs
}

func head(epoch byte, seq, firstPair uint64, pairs uint32) *capturev1.FrameHead {
	src := source()
	src.Epoch = bytes.Repeat([]byte{epoch}, frame.EpochLen)
	return &capturev1.FrameHead{
		Source: src, EpochStarted: int64(epoch), BatchSeq: seq, FirstPairSeq: firstPair, Received: pairs, Pairs: pairs, BodyLen: 10 * pairs,
		TimeMin: int64(1000 * seq), TimeMax: int64(1000*seq + 500),
		Counters: &capturev1.Counters{Seen: firstPair + uint64(pairs), Batched: firstPair + uint64(pairs)},
	}
}

func TestCondense(t *testing.T) {
	filtered := head(1, 4, 12, 3)
	filtered.Filtered, filtered.Received = map[string]uint32{"health": 2}, 5
	note := head(1, 5, 17, 0) // drop_newest
	note.Dropped, note.Received = map[string]uint32{"spool_full": 6}, 6
	note.TimeMin, note.TimeMax = 0, 0
	old := &capturev1.FrameHead{
		Source: head(1, 1, 1, 1).GetSource(), LostReason: "spool_damaged",
		Lost: []*capturev1.LostRun{{FirstBatch: 1, FirstPairSeq: 1, Pairs: []uint32{9, 9}}},
	}
	hs, pairs := condense(t, "spool_full",
		encode(t, head(1, 1, 1, 4)), encode(t, head(2, 7, 100, 2)), encode(t, head(1, 2, 5, 3)), encode(t, head(1, 3, 8, 4)),
		encode(t, filtered), encode(t, note), encode(t, old), encode(t, head(1, 6, 23, 1)))
	if len(hs) != 3 || pairs != 4+2+3+4+3+1 {
		t.Fatalf("%d notes, %d pairs", len(hs), pairs)
	}
	one, two, damaged := hs[0], hs[1], hs[2]
	if n := len(one.GetLost()); n != 4 {
		t.Fatalf("%d runs: %v", n, one)
	}
	run := one.GetLost()[0]
	if run.GetFirstBatch() != 1 || run.GetFirstPairSeq() != 1 || !slices.Equal(run.GetPairs(), []uint32{4, 3, 4}) || run.GetTimeMin() != 1000 || run.GetTimeMax() != 3500 {
		t.Errorf("first run: %v", run)
	}
	if run := one.GetLost()[1]; run.GetFiltered()["health"] != 2 || !slices.Equal(run.GetPairs(), []uint32{3}) {
		t.Errorf("filtered: %v", run)
	}
	if run := one.GetLost()[2]; run.GetDropped()["spool_full"] != 6 || !slices.Equal(run.GetPairs(), []uint32{0}) {
		t.Errorf("a note: %v", run)
	}
	if one.GetCounters().GetSeen() != 24 || one.GetTimeMin() != 1000 || one.GetTimeMax() != 6500 || one.GetLostReason() != "spool_full" || one.GetEpochStarted() != 1 || one.GetSource().GetApp() != "shop" {
		t.Errorf("head: %v", one)
	}
	if frame.LostPairs(one) != 4+3+4+3+1 || frame.LostPairs(two) != 2 || frame.LostPairs(damaged) != 18 || frame.LostPairs(filtered) != 0 {
		t.Errorf("lost %d %d %d", frame.LostPairs(one), frame.LostPairs(two), frame.LostPairs(damaged))
	}
	if damaged.GetLostReason() != "spool_damaged" {
		t.Errorf("carried over as %q", damaged.GetLostReason())
	}
}

// TestCondenseIsExact: whatever goes in, of however many epochs, in any order,
// again and again, comes out as the same batches, each as often.
func TestCondenseIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 34))
	for round := range 60 {
		var heads [][]byte
		var want []batch
		next := map[byte][2]uint64{}
		var pairs uint64
		for range rng.IntN(400) {
			epoch := byte(1 + rng.IntN(3))
			at := next[epoch]
			if at == [2]uint64{} || rng.IntN(20) == 0 {
				at = [2]uint64{1 + rng.Uint64N(1000), rng.Uint64N(1 << 40)}
			}
			n := uint32(rng.IntN(frame.MaxPairs + 1))
			h := head(epoch, at[0], at[1], n)
			switch rng.IntN(8) {
			case 0:
				h.Filtered = map[string]uint32{"health": 1, "static": 2}
				h.Received += 3
			case 1:
				h.Dropped = map[string]uint32{"unencodable": 1}
				h.Received++
			case 2:
				h.Pairs, h.BodyLen, h.Dropped = 0, 0, map[string]uint32{"spool_full": n}
			}
			next[epoch] = [2]uint64{at[0] + 1, at[1] + uint64(h.GetReceived())}
			pairs += uint64(h.GetPairs())
			want = append(want, batch{
				string(h.GetSource().GetEpoch()), "spool_full", h.GetBatchSeq(), h.GetFirstPairSeq(), h.GetPairs(),
				inOrder(h.GetFiltered()), inOrder(h.GetDropped()),
			})
			heads = append(heads, encode(t, h))
		}
		// Some are condensed before, as when their declaration is dropped.
		cut := 0
		if len(heads) > 0 {
			cut = rng.IntN(len(heads))
		}
		hs, first := condense(t, "spool_full", heads[:cut]...)
		heads = heads[cut:]
		for _, h := range hs {
			heads = append(heads, encode(t, h))
		}
		hs, second := condense(t, "spool_full", heads...)
		var got []batch
		for _, h := range hs {
			got = append(got, declared(h)...)
		}
		order := func(a, b batch) int {
			return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.seq, b.seq), cmp.Compare(a.firstPair, b.firstPair),
				cmp.Compare(a.pairs, b.pairs), cmp.Compare(a.filtered, b.filtered), cmp.Compare(a.drops, b.drops))
		}
		slices.SortFunc(want, order)
		slices.SortFunc(got, order)
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %d batches in, %d out", round, len(want), len(got))
		}
		if first+second != pairs {
			t.Fatalf("round %d: %d pairs in, %d and %d counted", round, pairs, first, second)
		}
	}
}

// A note is bounded; what is more goes into the next.
func TestCondenseIsBounded(t *testing.T) {
	heads := func(n int, change func(i int, h *capturev1.FrameHead)) func(yield func([]byte) bool) {
		return func(yield func([]byte) bool) {
			for i := range n {
				h := head(1, uint64(i+1), uint64(i), 1)
				change(i, h)
				b, err := proto.Marshal(h)
				if err != nil {
					t.Fatal(err)
				}
				if !yield(b) {
					return
				}
			}
		}
	}
	long := func(first uint64) []byte {
		h := head(1, 0, 0, 0)
		h.LostReason = "spool_full"
		h.Lost = []*capturev1.LostRun{{FirstBatch: first, FirstPairSeq: first, Pairs: onePairEach(frame.MaxLossBatches * 3 / 4)}}
		return encode(t, h)
	}
	for name, c := range map[string]struct {
		heads iter.Seq[[]byte]
		pairs uint64
		notes int
	}{
		"batches": {slices.Values([][]byte{long(1), long(1 + frame.MaxLossBatches*3/4)}), frame.MaxLossBatches * 3 / 2, 2},
		"bytes": {heads(5000, func(i int, h *capturev1.FrameHead) { // 500 bytes each
			h.Filtered = map[string]uint32{string(bytes.Repeat([]byte{'a' + byte(i%20)}, 440)): 1}
			h.Received++
		}), 5000, 3},
		"runs": {heads(24000, func(i int, h *capturev1.FrameHead) { h.BatchSeq *= 3 }), 24000, 2},
	} {
		t.Run(name, func(t *testing.T) {
			notes, _, err := frame.Condense(c.heads, "spool_full")
			if err != nil {
				t.Fatal(err)
			}
			var lost uint64
			for _, n := range notes {
				h, err := frame.Head(n)
				if err != nil {
					t.Fatal(err)
				}
				if len(n) > frame.MaxLossBytes || len(declared(h)) > frame.MaxLossBatches {
					t.Errorf("note of %d bytes, %d batches", len(n), len(declared(h)))
				}
				lost += frame.LostPairs(h)
			}
			if lost != c.pairs || len(notes) != c.notes {
				t.Errorf("%d pairs in %d notes, want %d in %d", lost, len(notes), c.pairs, c.notes)
			}
		})
	}
}

// onePairEach is n batches of one pair each.
func onePairEach(n int) []uint32 { return slices.Repeat([]uint32{1}, n) }

// A head that nobody can read is told of; the others are declared.
func TestCondenseTellsOfWhatItCannotRead(t *testing.T) {
	zero := head(1, 0, 1, 1) // a batch without a sequence
	b, err := proto.Marshal(zero)
	if err != nil {
		t.Fatal(err)
	}
	notes, pairs, err := frame.Condense(slices.Values([][]byte{[]byte("no head"), encode(t, head(1, 1, 1, 4)), b}), "spool_full")
	if !errors.Is(err, frame.ErrMalformed) || len(notes) != 1 || pairs != 4 {
		t.Error(len(notes), pairs, err)
	}
	if notes, pairs, err := frame.Condense(slices.Values([][]byte(nil)), "x"); notes != nil || pairs != 0 || err != nil {
		t.Error(notes, pairs, err)
	}
}

func TestDeclarationsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(h *capturev1.FrameHead){
		"a batch in it":      func(h *capturev1.FrameHead) { h.BatchSeq = 3 },
		"pairs in it":        func(h *capturev1.FrameHead) { h.Pairs, h.Received = 1, 1 },
		"filtered itself":    func(h *capturev1.FrameHead) { h.Filtered, h.Received = map[string]uint32{"x": 1}, 1 },
		"a body":             func(h *capturev1.FrameHead) { h.BodyLen = 1 },
		"no reason":          func(h *capturev1.FrameHead) { h.LostReason = "" },
		"no batch in a run":  func(h *capturev1.FrameHead) { h.Lost[0].Pairs = nil },
		"batch 0":            func(h *capturev1.FrameHead) { h.Lost[0].FirstBatch = 0 },
		"too many pairs":     func(h *capturev1.FrameHead) { h.Lost[0].Pairs[0] = frame.MaxPairs + 1 },
		"filtered of many":   func(h *capturev1.FrameHead) { h.Lost[0].Filtered = map[string]uint32{"x": 1} },
		"over the last":      func(h *capturev1.FrameHead) { h.Lost[0].FirstBatch = 1<<64 - 1 },
		"over the last pair": func(h *capturev1.FrameHead) { h.Lost[0].FirstPairSeq = 1<<64 - 1 },
		"too many batches": func(h *capturev1.FrameHead) {
			h.Lost[0].Pairs = make([]uint32, frame.MaxLossBatches)
			h.Lost = append(h.Lost, &capturev1.LostRun{FirstBatch: 1, Pairs: []uint32{1}})
		},
		"a reason and nothing lost": func(h *capturev1.FrameHead) { h.Lost = nil },
	} {
		h := &capturev1.FrameHead{
			Source: source(), LostReason: "spool_full",
			Lost: []*capturev1.LostRun{{FirstBatch: 1, FirstPairSeq: 1, Pairs: []uint32{1, 2}}},
		}
		encode(t, h)
		change(h)
		b, err := proto.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := frame.Head(b); !errors.Is(err, frame.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := &capturev1.FrameHead{Lost: []*capturev1.LostRun{{FirstBatch: 1, Pairs: []uint32{1}}}}
	if _, err := frame.Pairs(h, []byte("body")); !errors.Is(err, frame.ErrMalformed) {
		t.Errorf("a body: %v", err)
	}
}

// A frame without pairs keeps the times that its maker knew.
func TestTimesOfAnEmptyFrame(t *testing.T) {
	h := &capturev1.FrameHead{Source: source(), BatchSeq: 1, Received: 1, Filtered: map[string]uint32{"x": 1}, TimeMin: 5, TimeMax: 9}
	if _, _, err := frame.Make(h, nil); err != nil || h.GetTimeMin() != 5 || h.GetTimeMax() != 9 {
		t.Error(h, err)
	}
}

// FuzzCondense: whatever heads come, what can be read is declared, each note
// can be read, and condensing it again changes nothing.
func FuzzCondense(f *testing.F) {
	one, err := proto.Marshal(head(1, 1, 1, 4))
	if err != nil {
		f.Fatal(err)
	}
	two, err := proto.Marshal(&capturev1.FrameHead{
		Source: head(1, 1, 1, 1).GetSource(), LostReason: "spool_full", Lost: []*capturev1.LostRun{
			{FirstBatch: 2, FirstPairSeq: 5, Pairs: []uint32{1, 2}},
			{FirstBatch: 9, FirstPairSeq: 50, Pairs: []uint32{0}, Dropped: map[string]uint32{"spool_full": 3}},
		},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(one, two)
	f.Add(two, one)
	f.Add(one, []byte("x"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		notes, _, err := frame.Condense(slices.Values([][]byte{a, b}), "spool_full")
		if err != nil && !errors.Is(err, frame.ErrMalformed) {
			t.Fatal(err)
		}
		count := func(heads [][]byte) (batches int, pairs uint64) {
			for _, raw := range heads {
				h, err := frame.Head(raw)
				if err != nil {
					t.Fatalf("a note that nobody can read: %v", err)
				}
				batches += len(declared(h))
				pairs += frame.LostPairs(h)
			}
			return batches, pairs
		}
		batches, pairs := count(notes)
		again, fresh, err := frame.Condense(slices.Values(notes), "other")
		if err != nil || fresh != 0 {
			t.Fatal(fresh, err)
		}
		if b, p := count(again); b != batches || p != pairs {
			t.Fatalf("%d batches with %d pairs, again: %d with %d", batches, pairs, b, p)
		}
	})
}
