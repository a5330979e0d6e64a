package ledger

import (
	"testing"
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
