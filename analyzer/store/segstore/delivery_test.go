package segstore

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
)

func TestRangesAreASet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var e epochState
	want := map[uint64]bool{}
	for range 3000 {
		seq := 1 + r.Uint64N(1500)
		if e.has(seq) != want[seq] {
			t.Fatalf("has(%d) = %v", seq, e.has(seq))
		}
		e.add(seq)
		want[seq] = true
		for i, s := range e.ranges {
			if s.last < s.first || i > 0 && s.first <= e.ranges[i-1].last+1 {
				t.Fatalf("ranges %v", e.ranges)
			}
		}
	}
	for seq := range uint64(1510) {
		if e.has(seq) != want[seq] {
			t.Fatalf("has(%d) = %v", seq, e.has(seq))
		}
	}
}

func TestInOrderNeedsOneRange(t *testing.T) {
	var e epochState
	for seq := uint64(1); seq < 10_000; seq++ {
		e.add(seq)
	}
	if len(e.ranges) != 1 {
		t.Errorf("%d ranges", len(e.ranges))
	}
}

// What is remembered stays within its bounds, and never claims what did not
// come.
func TestBounds(t *testing.T) {
	var e epochState
	for seq := uint64(2); seq < 8*maxRanges; seq += 2 {
		e.add(seq)
	}
	if len(e.ranges) != maxRanges {
		t.Errorf("%d ranges", len(e.ranges))
	}
	for seq := uint64(1); seq < 8*maxRanges; seq += 2 {
		if e.has(seq) {
			t.Fatalf("claims %d", seq)
		}
	}
	d := newDelivery()
	for i := range maxSpools + 10 {
		d.commit(&wrapper{spool: store.ID{byte(i), byte(i >> 8)}, next: 5, at: int64(i)}, batch{epoch: epoch{byte(i), byte(i >> 8)}, seq: 1})
	}
	if len(d.spools) != maxSpools || d.next(store.ID{9}) != 0 || d.next(store.ID{10}) != 5 {
		t.Errorf("%d spools; 9 has %d, 10 has %d", len(d.spools), d.next(store.ID{9}), d.next(store.ID{10}))
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
	w := wrapper{spool: store.ID{1}, offset: 2, next: 3, at: 4, duplicate: true, frameHead: []byte("head")}
	f.Add(w.encode())
	f.Add((&wrapper{mark: true}).encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := decodeWrapper(b)
		if err != nil {
			return
		}
		if got := w.encode(); b[1]&^(flagDuplicate|flagMark) == 0 && !bytes.Equal(got, b) {
			t.Errorf("%x became %x", b, got)
		}
		// Opening it must not panic, whatever the frame is.
		_, _ = openRecord(7, b, []byte("body"))
	})
}
