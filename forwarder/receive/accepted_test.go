package receive

import (
	"bytes"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weir-capture/weir/forwarder/registry"
)

func clockAt(t *time.Time) func() time.Time { return func() time.Time { return *t } }

func TestRangesAreTheSetOfWhatWasAdded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		a := NewAccepted(time.Now)
		e := registry.Epoch{1}
		want := map[uint64]bool{}
		for range rng.IntN(200) {
			seq := 1 + rng.Uint64N(100)
			a.Add(e, seq)
			want[seq] = true
		}
		// Through State and back.
		b := NewAccepted(time.Now)
		if err := b.decode(a.State()); err != nil {
			t.Fatal(err)
		}
		got := map[uint64]bool{}
		last := uint64(0)
		for _, r := range b.Ranges(e) {
			if r.GetFirst() <= last+1 && last > 0 || r.GetLast() < r.GetFirst() {
				t.Fatalf("ranges overlap or touch: %v", b.Ranges(e))
			}
			for s := r.GetFirst(); s <= r.GetLast(); s++ {
				got[s] = true
			}
			last = r.GetLast()
		}
		if !maps.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for s := range uint64(102) {
			if b.Has(e, s) != want[s] {
				t.Fatalf("Has %d: %v", s, !want[s])
			}
		}
		if b.Has(registry.Epoch{2}, 1) {
			t.Fatal("another epoch has it too")
		}
	}
}

func TestAcceptedIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := NewAccepted(clockAt(&now))
	for i := range maxEpochs + 10 {
		now = now.Add(time.Second)
		a.Add(registry.Epoch{byte(i), byte(i >> 8), byte(i >> 16)}, 1)
		if i == maxEpochs-1 {
			a.Has(registry.Epoch{0}, 1) // still in use
		}
	}
	if len(a.epochs) != maxEpochs || !a.Has(registry.Epoch{0}, 1) || a.Has(registry.Epoch{1}, 1) {
		t.Errorf("%d epochs", len(a.epochs))
	}
	for i := range uint64(maxRanges + 5) {
		a.Add(registry.Epoch{0}, 10+2*i)
	}
	if n := len(a.Ranges(registry.Epoch{0})); n != maxRanges {
		t.Errorf("%d ranges", n)
	}
	now = now.Add(forgetAfter - time.Hour)
	a.Has(registry.Epoch{0}, 1)
	now = now.Add(2 * time.Hour)
	a.State()
	if len(a.epochs) != 1 {
		t.Errorf("%d epochs after a week", len(a.epochs))
	}
}

func FuzzState(f *testing.F) {
	a := NewAccepted(time.Now)
	for _, s := range []uint64{1, 2, 3, 9, 1 << 60} {
		a.Add(registry.Epoch{7}, s)
	}
	f.Add(a.State())
	f.Add([]byte{stateVersion, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		x := NewAccepted(func() time.Time { return time.Unix(0, 0) })
		if x.decode(b) != nil {
			return
		}
		y := NewAccepted(func() time.Time { return time.Unix(0, 0) })
		state := x.State()
		if err := y.decode(state); err != nil {
			t.Fatal(err)
		}
		if len(x.epochs) == 1 && !bytes.Equal(y.State(), state) {
			t.Fatal("state changed on its way")
		}
	})
}
