package segstore

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/seglog"
)

// What is remembered stays within its bounds, and never claims what did not
// come.
func TestBounds(t *testing.T) {
	d := newDelivery()
	for seq := uint64(2); seq < 8*maxRanges; seq += 2 {
		d.commit(&wrapper{next: seq}, batch{seq: seq})
	}
	e := d.epochs[epoch{}]
	if e.seqs.Len() != maxRanges || !e.seqs.Has(8*maxRanges-2) {
		t.Errorf("%d ranges", e.seqs.Len())
	}
	for seq := uint64(1); seq < 8*maxRanges; seq += 2 {
		if e.seqs.Has(seq) {
			t.Fatalf("claims %d", seq)
		}
	}
	d = newDelivery()
	for i := range maxSpools + 10 {
		d.commit(&wrapper{spool: store.ID{byte(i), byte(i >> 8)}, next: 5, at: int64(i)}, batch{epoch: epoch{byte(i), byte(i >> 8)}, seq: 1})
	}
	if len(d.spools) != maxSpools || d.next(store.ID{9}) != 0 || d.next(store.ID{10}) != 5 {
		t.Errorf("%d spools; 9 has %d, 10 has %d", len(d.spools), d.next(store.ID{9}), d.next(store.ID{10}))
	}
}

// However many holes there are in what came, the state fits where the log keeps
// it: a log that cannot begin a segment takes nothing more, ever.
func TestStateFitsIntoASegment(t *testing.T) {
	d := newDelivery()
	for i := range 1600 * maxRanges {
		b := batch{epoch: epoch{byte(i / maxRanges), byte(i / maxRanges >> 8)}, seq: 1<<63 + 2*uint64(i%maxRanges)}
		d.commit(&wrapper{next: 1, at: int64(i)}, b)
		if e := d.epochs[b.epoch]; e == nil || !e.seqs.Has(b.seq) {
			t.Fatalf("does not know what came last, batch %d", i)
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
	if again.ranges != d.ranges || d.ranges > maxAllRanges {
		t.Errorf("%d ranges, read back %d", d.ranges, again.ranges)
	}
}

func sample() *delivery {
	d := newDelivery()
	r := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		w := wrapper{spool: store.ID{byte(r.IntN(5))}, next: r.Uint64N(1 << 40), at: r.Int64N(1 << 60)}
		d.commit(&w, batch{epoch: epoch{1: byte(r.IntN(9))}, seq: 1 + r.Uint64N(100)})
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
