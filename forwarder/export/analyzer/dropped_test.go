package analyzer_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export/analyzer"
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
	// What is on its way while the spool makes room is stored and declared.
	poll(t, "the backlog", func() error {
		if at := s.Cursor(analyzer.Name).Offset(); at != s.Log().End() {
			return fmt.Errorf("the cursor is at %d of %d", at, s.Log().End())
		}
		return nil
	})
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

// TestDeliveredIsNotDropped: what the analyzer has above the cursor, because
// what was captured now went before the backlog, is no loss when the spool
// makes room.
func TestDeliveredIsNotDropped(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 2000}
	a.mute = true // nothing but what it says at first
	opt := spoolOptions()
	opt.MaxBytes = 512 << 10
	opt.Count = func(head []byte) uint64 {
		h, err := frame.Head(head)
		if err != nil {
			return 0
		}
		return uint64(h.GetPairs())
	}
	s := openSpool(t, spoolDir(t), opt)
	c.add(t, s, 20)
	var entries []seglog.Entry
	for e, err := range s.Log().Records(0) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	has := entries[7:12]
	a.with(func() {
		for _, e := range has {
			a.shelf(string(idOf(s))).frames[e.Offset] = kept{e.Next, frame.Checksum(e.Head, e.Body)}
		}
	})
	a.start()
	x := run(t, s, a.addr)
	poll(t, "the connection", func() error {
		if !x.State().GetConnected() {
			return errors.New(x.State().GetError())
		}
		return nil
	})
	if got := x.State().GetDropped()[frame.ReasonSpoolFull]; got != 0 {
		t.Fatalf("%d pairs are dropped", got)
	}
	for s.Log().Oldest() <= entries[19].Offset {
		c.add(t, s, 1)
	}
	var left uint64
	for _, err := range s.Log().Heads(s.Log().Oldest()) {
		if err != nil {
			t.Fatal(err)
		}
		left += each
	}
	if got, want := x.State().GetDropped()[frame.ReasonSpoolFull], (c.seq-uint64(len(has)))*each-left; got != want {
		t.Errorf("%d pairs are counted as dropped, want %d", got, want)
	}
	x.stop()
}
