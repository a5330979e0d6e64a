package analyzer_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// TestDroppedWithDamage: the oldest segment goes, and a record in it has a head
// that nobody can read. The spool declares the others; of this one the analyzer
// is told that something is missing, so that the hole in the sequence of its
// proxy has a reason.
//
// Where every head could be read, that is said too: all of it was declared.
func TestDroppedWithDamage(t *testing.T) {
	for _, damaged := range []bool{true, false} {
		t.Run(fmt.Sprintf("damaged %v", damaged), func(t *testing.T) { testDropped(t, damaged) })
	}
}

func testDropped(t *testing.T, damaged bool) {
	a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 2000}
	declared := map[uint64]bool{}
	a.refuse = func(f *capturev1.Frame) bool {
		h, err := frame.Head(f.GetHead())
		if err != nil {
			return false
		}
		for _, run := range h.GetLost() {
			for i := range uint64(len(run.GetPairs())) {
				declared[run.GetFirstBatch()+i] = true
			}
		}
		return false
	}
	opt := spoolOptions()
	opt.MaxBytes = 512 << 10
	opt.Condense = func(heads iter.Seq[[]byte]) ([]seglog.Record, error) {
		notes, _, err := frame.Condense(heads, frame.ReasonSpoolFull)
		var records []seglog.Record
		for _, n := range notes {
			records = append(records, seglog.Record{Head: n})
		}
		return records, err
	}
	s := openSpool(t, dir, opt)
	c.add(t, s, 20)
	var entries []seglog.Entry
	for e, err := range s.Log().Heads(0) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	segs := s.Log().Segments()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if damaged {
		flip(t, dir, segs, entries[4].Offset+41) // a head: batch 5
	}
	s = openSpool(t, dir, opt)
	for s.Log().Oldest() <= entries[4].Offset {
		c.add(t, s, 1)
	}
	a.start()
	x := run(t, s, a.addr)
	c.add(t, s, 20) // go by the live lane
	x.drain()
	if err := a.closed(s); err != nil {
		t.Error(err)
	}
	want := capturev1.MissingDeclared
	if damaged {
		want = "removed"
	}
	if len(a.missing) == 0 || slices.ContainsFunc(a.missing, func(why string) bool { return why != want }) {
		t.Errorf("missing %q, want %q", a.missing, want)
	}
	for seq := uint64(1); seq <= c.seq; seq++ {
		stored := a.pairs[c.id(seq, 0)] > 0
		if known := stored != declared[seq]; known == (damaged && seq == 5) {
			t.Errorf("batch %d: stored %v, declared %v", seq, stored, declared[seq])
		}
	}
}
