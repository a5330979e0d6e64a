package segstore

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/rangeset"
	"github.com/weir-capture/weir/seglog"
)

func here(e epoch, seq uint64) news { return news{epoch: e, seq: seq} }

// What is remembered stays within its bounds, and never claims what did not
// come.
func TestBounds(t *testing.T) {
	d := newDelivery()
	for seq := uint64(2); seq < 8*maxRanges; seq += 2 {
		d.commit(&wrapper{offset: seq, next: seq + 1}, here(epoch{}, seq))
		d.commit(&wrapper{offset: seq, next: seq + 1}, news{epoch: epoch{1}, seq: seq, lost: true})
	}
	for name, s := range map[string]*rangeset.Set{
		"here": &d.epochs[epoch{}].here, "lost": &d.epochs[epoch{1}].lost, "offsets": &d.spools[store.ID{}].above,
	} {
		if s.Len() != maxRanges || !s.Has(8*maxRanges-2) {
			t.Errorf("%s: %d ranges", name, s.Len())
		}
		for seq := uint64(1); seq < 8*maxRanges; seq += 2 {
			if s.Has(seq) {
				t.Fatalf("%s: claims %d", name, seq)
			}
		}
	}
	if next := d.have(store.ID{}).Next; next != 0 {
		t.Errorf("claims everything below %d", next)
	}
	d = newDelivery()
	for i := range maxSpools + 10 {
		d.commit(&wrapper{spool: store.ID{byte(i), byte(i >> 8)}, next: 5, at: int64(i)}, here(epoch{byte(i), byte(i >> 8)}, 1))
	}
	next := func(spool store.ID) uint64 { return d.have(spool).Next }
	if len(d.spools) != maxSpools || next(store.ID{9}) != 0 || next(store.ID{10}) != 5 {
		t.Errorf("%d spools; 9 has %d, 10 has %d", len(d.spools), next(store.ID{9}), next(store.ID{10}))
	}
}

// However many holes there are in what came, the state fits where the log keeps
// it: a log that cannot begin a segment takes nothing more, ever.
func TestStateFitsIntoASegment(t *testing.T) {
	d := newDelivery()
	for i := range 1600 * maxRanges {
		n := here(epoch{byte(i / maxRanges), byte(i / maxRanges >> 8)}, 1<<63+2*uint64(i%maxRanges))
		n.lost = i/maxRanges%2 == 0
		off := 1<<63 + 2*uint64(i%maxRanges)
		d.commit(&wrapper{spool: store.ID(n.epoch), offset: off, next: off + 1, at: int64(i)}, n)
		if e := d.epochs[n.epoch]; e == nil || !e.here.Has(n.seq) && !e.lost.Has(n.seq) {
			t.Fatalf("does not know what came last, batch %d", i)
		}
		if s := d.spools[store.ID(n.epoch)]; s == nil || !s.covers(off, off+1) {
			t.Fatalf("does not know what came last, frame %d", i)
		}
	}
	state := d.encode()
	if len(state) > seglog.MaxHeadBytes {
		t.Fatalf("state of %d bytes, at most %d fit", len(state), seglog.MaxHeadBytes)
	}
	again, err := decodeDelivery(state)
	if err != nil {
		t.Fatal(err)
	}
	if again.ranges != d.ranges || d.ranges > maxAllRanges || again.spoolRanges != d.spoolRanges || d.spoolRanges > maxSpoolRanges {
		t.Errorf("%d and %d ranges, read back %d and %d", d.ranges, d.spoolRanges, again.ranges, again.spoolRanges)
	}
	// Were all of them in use at once, each with numbers of ten bytes.
	most := (maxAllRanges+maxSpoolRanges)*20 + maxSpools*(16+10+10+1+10+5+2) + maxEpochs*(16+10+2+2) + 20
	if most > seglog.MaxHeadBytes {
		t.Errorf("the bounds allow %d bytes, at most %d fit", most, seglog.MaxHeadBytes)
	}
}

// A claim keeps two appends from deciding about one batch at the same time,
// and a declaration of many from all others of its epoch.
func TestClaims(t *testing.T) {
	run := func(first uint64, batches int) []*capturev1.LostRun {
		return []*capturev1.LostRun{{FirstBatch: first, FirstPairSeq: 1, Pairs: make([]uint32, batches)}}
	}
	e1, e2 := epoch{1}, epoch{2}
	d := newDelivery()
	claim := func(group ...news) (int, chan struct{}, chan struct{}) {
		return d.claim(group, make([]verdict, len(group)))
	}
	group := []news{here(e1, 1), {}, here(e1, 2), here(e1, 1)}
	n, first, _ := claim(group...)
	if n != 3 {
		t.Errorf("claimed %d with one twice, want 3", n)
	}
	for name, other := range map[string]news{"the same batch": here(e1, 2), "a declaration": {epoch: e1, runs: run(7, 2)}} {
		if n, _, wait := claim(other); n != 0 || wait != first {
			t.Errorf("%s: claimed %d", name, n)
		}
	}
	if n, c, _ := claim(here(e1, 3), here(e1, 2)); n != 1 {
		t.Errorf("claimed %d, want the first", n)
	} else {
		d.release([]news{here(e1, 3)}, c)
	}
	d.release(group[:n], first)
	declaration := news{epoch: e1, runs: run(7, 2)}
	n, all, _ := claim(declaration, here(e1, 9))
	if n != 1 {
		t.Errorf("claimed %d behind a declaration", n)
	}
	if n, _, wait := claim(here(e1, 9)); n != 0 || wait != all {
		t.Errorf("claimed %d beside a declaration", n)
	}
	other := []news{here(e2, 9), {epoch: e2, seq: 1, lost: true}}
	if n, c, _ := claim(other...); n != 2 {
		t.Errorf("of another epoch: claimed %d", n)
	} else {
		d.release(other, c)
	}
	d.release([]news{declaration}, all)
	if len(d.claims) != 0 {
		t.Errorf("claims are left: %v", d.claims)
	}
}

// Of a declaration stays what was not known, with the pairs that belong to it.
func TestUnknownRuns(t *testing.T) {
	var e epochState
	for _, seq := range []uint64{3, 4, 8} {
		e.here.Add(seq)
	}
	e.lost.Add(6)
	one := &capturev1.LostRun{FirstBatch: 10, FirstPairSeq: 50, Pairs: []uint32{3}, Filtered: map[string]uint32{"x": 2}, TimeMin: 4}
	got, trimmed := e.unknown([]*capturev1.LostRun{
		{FirstBatch: 1, FirstPairSeq: 1, Pairs: []uint32{1, 2, 3, 4, 5, 6, 7, 8}, TimeMin: 1, TimeMax: 2},
		one,
		{FirstBatch: 7, FirstPairSeq: 99, Pairs: []uint32{1}},
	})
	want := []*capturev1.LostRun{
		{FirstBatch: 1, FirstPairSeq: 1, Pairs: []uint32{1, 2}, TimeMin: 1, TimeMax: 2},
		{FirstBatch: 5, FirstPairSeq: 11, Pairs: []uint32{5}, TimeMin: 1, TimeMax: 2},
		{FirstBatch: 7, FirstPairSeq: 22, Pairs: []uint32{7}, TimeMin: 1, TimeMax: 2},
		one,
	}
	if len(got) != len(want) || !trimmed {
		t.Fatalf("got %v, %v", got, trimmed)
	}
	for i := range got {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("run %d is %v, want %v", i, got[i], want[i])
		}
	}
	if _, trimmed := e.unknown([]*capturev1.LostRun{one}); trimmed {
		t.Error("nothing was known, and something is left out")
	}
}

func sample() *delivery {
	d := newDelivery()
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		off := r.Uint64N(1 << 40)
		w := wrapper{version: byte(1 + r.IntN(2)), spool: store.ID{byte(r.IntN(5))}, offset: off, next: off + 1 + r.Uint64N(100), at: r.Int64N(1 << 60), sum: r.Uint32()}
		n := here(epoch{1: byte(r.IntN(9))}, 1+r.Uint64N(100))
		n.lost = r.IntN(3) == 0
		d.commit(&w, n)
		d.skip(w.spool, r.Uint64N(1<<20))
	}
	return d
}

func TestStateRoundTrip(t *testing.T) {
	want := sample()
	got, err := decodeDelivery(want.encode())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.spools, want.spools) || !reflect.DeepEqual(got.epochs, want.epochs) {
		t.Error("state is not what it was")
	}
}

func FuzzState(f *testing.F) {
	f.Add(sample().encode())
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0})
	f.Add([]byte{2, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDelivery(b)
		if err != nil {
			return
		}
		again, err := decodeDelivery(d.encode())
		if err != nil {
			t.Fatalf("what it wrote itself: %v", err)
		}
		if !reflect.DeepEqual(again.spools, d.spools) || !reflect.DeepEqual(again.epochs, d.epochs) {
			t.Error("state is not what it was")
		}
	})
}

func FuzzWrapper(f *testing.F) {
	w := wrapper{spool: store.ID{1}, offset: 2, next: 3, at: 4, sum: 5, duplicate: true, frameHead: []byte("head")}
	f.Add(w.encode())
	f.Add((&wrapper{offset: 2, next: 3, missing: "damaged header"}).encode())
	f.Add((&wrapper{offset: 2, next: 3, reclaimed: true, unreadable: true}).encode())
	f.Add((&wrapper{mark: true}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := decodeWrapper(b)
		if err != nil {
			return
		}
		known := byte(flagDuplicate | flagMark | flagReclaimed | flagMissing | flagUnreadable)
		if got := w.encode(); b[0] == wrapperVersion && b[1]&^known == 0 && !bytes.Equal(got, b) {
			t.Errorf("%x became %x", b, got)
		}
		// Opening it must not panic, whatever the frame is.
		_, _ = openRecord(7, b, []byte("body"))
	})
}
