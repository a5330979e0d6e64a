package ledger

import (
	"iter"
	"log/slog"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
)

// gone is a store whose retention has removed everything.
type gone struct{}

func (gone) Commits(uint64) iter.Seq2[store.Commit, error] {
	return func(func(store.Commit, error) bool) {}
}

// TestRetentionTakesNoCountsWithIt: what retention removes right after it was
// stored is still counted after a kill, although no snapshot was due.
func TestRetentionTakesNoCountsWithIt(t *testing.T) {
	dir := memDir(t)
	w := newWorld(1)
	l := w.open(t, dir, Options{})
	p := w.proxy("app")
	p.c.Seen, p.open = 5, 5
	w.cut(p, 5)
	w.take(p, 0, 0, true)
	w.export(w.fwds[0], 0)
	for c, err := range w.Commits(0) {
		if err != nil {
			t.Fatal(err)
		}
		l.Commit(c)
	}
	if n := l.Report(Ask{}).Total.Stored; n != 5 {
		t.Fatalf("%d are counted of 5", n)
	}
	l.Removing(w.end())

	again := New(Options{}, slog.New(slog.DiscardHandler))
	if err := again.Open(dir, "store", w.end(), gone{}); err != nil {
		t.Fatal(err)
	}
	if n := again.Report(Ask{}).Total.Stored; n != 5 {
		t.Errorf("after a kill %d are counted of 5", n)
	}
}
