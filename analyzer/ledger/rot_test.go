package ledger

import (
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestDamagedAndBroughtAgain: a record of the store is damaged and its
// forwarder brings the batch once more, or says that it cannot any more.
// Whatever was known of the record, each pair counts once, also after kills
// with and without a snapshot of the time between.
func TestDamagedAndBroughtAgain(t *testing.T) {
	for _, c := range []struct {
		name     string
		readable bool
		// then is what becomes of the forwarder's copy.
		then   func(f *simForwarder)
		stored uint64
	}{
		{"head whole", true, func(*simForwarder) {}, 8},
		{"head damaged", false, func(*simForwarder) {}, 8},
		{"head damaged, then refused", false, func(f *simForwarder) { f.refuse() }, 4},
		{"head damaged, then declared", false, func(f *simForwarder) { f.condense(1) }, 4},
	} {
		for _, snapshot := range []bool{true, false} {
			w := newWorld(1)
			dir := memDir(t)
			l := w.open(t, dir, Options{})
			p := w.proxy("a")
			for range 2 {
				w.see(p, 5)
				w.cut(p, 5)
				w.take(p, 1, 0, true)
				w.export(w.fwds[0], 0)
				l.Commit(w.log[len(w.log)-1])
			}
			if snapshot {
				if err := l.Save(); err != nil {
					t.Fatal(err)
				}
			}
			if _, ok := w.rot(0, c.readable); !ok {
				t.Fatal("nothing to damage")
			}
			l = w.open(t, dir, Options{})
			holds(t, l)
			if got := total(l); c.readable && (got.Seen != 10 || got.Stored != 4 || got.Dropped[Drop{HopAnalyzer, ReasonDamaged}] != 4) {
				t.Errorf("%s, snapshot %v: when it was found: %+v", c.name, snapshot, got)
			}
			c.then(w.fwds[0])
			w.export(w.fwds[0], 0)
			l.Commit(w.log[len(w.log)-1])
			for _, when := range []string{"at once", "after a kill", "after another"} {
				r := l.Report(Ask{From: 1})
				if got := r.Total; got.Seen != 10 || got.Stored != c.stored || got.Filtered["health"] != 2 || ended(got) != 10 {
					t.Errorf("%s, snapshot %v, %s: %+v", c.name, snapshot, when, got)
				}
				if c.stored == 8 && len(r.Gaps) > 0 {
					t.Errorf("%s, snapshot %v, %s: gaps %+v", c.name, snapshot, when, r.Gaps)
				}
				holds(t, l)
				l = w.open(t, dir, Options{})
			}
		}
	}
}

// TestLateOutOfAHoleThatWasGivenUp: of a process with more holes than are told
// apart the lowest are given up. What comes out of one after all is stored, and
// was seen before.
func TestLateOutOfAHoleThatWasGivenUp(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	commit := func(seq uint64) {
		w.place += 100
		l.Commit(store.Commit{At: w.now, Next: w.place, Head: &capturev1.FrameHead{
			Source: p.src, EpochStarted: p.started, BatchSeq: seq, FirstPairSeq: 3*seq - 2, Received: 3, Pairs: 3,
			TimeMin: w.now, TimeMax: w.now,
		}})
		holds(t, l)
	}
	const last = 2*maxSpans + 21
	for seq := uint64(1); seq <= last; seq += 2 {
		commit(seq)
	}
	before := total(l)
	if before.Seen != 3*last || before.Unaccounted == 0 {
		t.Fatalf("%+v", before)
	}
	commit(2)
	if c := total(l); c.Seen != before.Seen || c.Stored != before.Stored+3 || c.Unaccounted != before.Unaccounted-3 {
		t.Errorf("%+v, before %+v", c, before)
	}
}
