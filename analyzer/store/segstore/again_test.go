package segstore_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

// TestR18DamagedRecordThatComesAgain: a stored record is damaged, its
// forwarder still has it and brings it again. Its pairs are listed once, also
// by an index that had them already.
func TestR18DamagedRecordThatComesAgain(t *testing.T) {
	for name, part := range map[string]int{"header": 2, "head": 45, "body": -1} {
		for _, clean := range []bool{true, false} {
			disk, kept := faultfs.New(), new(memoryIndex)
			opt := segstore.Options{Dir: t.TempDir(), LogFS: disk, OpenIndex: func(context.Context, string, string, uint64) (index.Index, error) { return kept, nil }}
			var ends []uint64
			opt.Committed = func(c store.Commit) { ends = append(ends, c.Next) }
			frames := rotten(t, opt)
			opt.Committed = nil
			account := accountOf(t, opt)
			segments, err := disk.Names()
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range segments {
				b := disk.Get(n)
				if len(b) < int(ends[9]) || !strings.HasSuffix(n, ".seg") {
					continue
				}
				at := int(ends[8]) + part
				if part < 0 {
					at = int(ends[9]) + part
				}
				b[at] ^= 1
				if !clean { // without the mark of an orderly end
					b = b[:ends[len(ends)-1]]
				}
				disk.Put(n, b)
			}
			var want []uint64
			for n := range uint64(rotFrames * rotPairs) {
				want = append(want, n)
			}
			opt.LogFS = disk
			var again witness
			s, l := account(again.committed)
			if err := s.Append(t.Context(), storetest.NewForwarder(1, nil).Spool, frames); err != nil {
				t.Fatal(err)
			}
			for round := range 2 {
				if clean && part < 0 && round > 0 {
					eventually(t, "rows of what cannot be read are gone", func() bool {
						x, err := s.Extent(t.Context())
						return err == nil && x.Pairs == (rotFrames-1)*rotPairs
					})
				}
				for _, whole := range []bool{true, false} {
					want := want
					if clean && part < 0 && (whole || round > 0) { // bodies are not looked at then, and do not come again
						want = slices.DeleteFunc(slices.Clone(want), func(n uint64) bool { return n/rotPairs == 9 })
					}
					var got []uint64
					for st, err := range s.List(t.Context(), store.List{Limit: 1 << 20, Whole: whole}) {
						if err != nil {
							if len(want) == rotFrames*rotPairs {
								t.Errorf("%s, clean %v: %v", name, clean, err)
							}
							continue
						}
						got = append(got, storetest.Number(store.ID(st.Pair.GetId())))
					}
					if slices.Sort(got); !slices.Equal(got, want) {
						t.Errorf("%s, clean %v, whole %v: %d pairs, want %d: %v", name, clean, whole, len(got), len(want), got[:min(50, len(got))])
					}
				}
				indexed(t, s)
			}
			// Whoever counts is told that it was here, where that is known.
			for i, c := range again.heard() {
				if c.Reclaimed != (part < 0) || c.Duplicate || i > 0 {
					t.Errorf("%s, clean %v: %+v", name, clean, c)
				}
			}
			for range 2 {
				c, kept := l.Report(ledger.Ask{}).Total, uint64(rotFrames*rotPairs)
				if clean && part < 0 {
					kept -= rotPairs
				}
				if c.Seen != rotFrames*rotPairs || c.Stored != kept || !c.Holds() {
					t.Errorf("%s, clean %v: the ledger says %+v", name, clean, c)
				}
				s.close(t)
				s, l = account(nil)
			}
			s.close(t)
		}
	}
}

// accountOf counts what the store has, saves that, and gives what opens both
// again.
func accountOf(t *testing.T, opt segstore.Options) func(also func(store.Commit)) (*running, *ledger.Ledger) {
	t.Helper()
	dir, err := vfs.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	open := func(also func(store.Commit)) (*running, *ledger.Ledger) {
		l := ledger.New(ledger.Options{}, testLog(t))
		opt.Committed, opt.Damaged, opt.Hiding = l.Commit, l.Damaged, l.Hiding
		if also != nil {
			opt.Committed = func(c store.Commit) { l.Commit(c); also(c) }
		}
		s := start(t, opt)
		if err := l.Open(dir, s.ID(), s.End(), s); err != nil {
			t.Fatal(err)
		}
		return s, l
	}
	s, l := open(nil)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	return open
}

// TestR18DamagedHeadIsCounted: where a record's head is damaged, its pairs say
// whose they are, and the ledger that they are stored no more.
func TestR18DamagedHeadIsCounted(t *testing.T) {
	for name, part := range map[string]int{"header": 2, "head": 45} {
		disk := faultfs.New()
		var w witness
		opt := segstore.Options{Dir: t.TempDir(), LogFS: disk, OpenIndex: openMemory, SegmentBytes: 4 << 10, Committed: w.committed}
		s := start(t, opt)
		f := storetest.NewForwarder(1, storetest.NewProxy(1))
		for n := range uint64(20) {
			pairs := storetest.Pairs(n*4, n*4+4)
			for _, p := range pairs {
				p.Source = &capturev1.Source{App: "app", Epoch: []byte{0: 1, 15: 0xe0}}
			}
			if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(pairs...)}); err != nil {
				t.Fatal(err)
			}
		}
		s.close(t)
		opt.Committed = nil
		account := accountOf(t, opt)
		names, err := disk.Names()
		if err != nil {
			t.Fatal(err)
		}
		names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".seg") })
		slices.Sort(names)
		at := int(w.heard()[0].Next) + part // the second record of the first segment
		b := disk.Get(names[0])
		b[at] ^= 1
		disk.Put(names[0], b)
		for range 2 {
			s, l := account(nil) // its index is new: all is read
			eventually(t, "the index is there", func() bool { return s.Ready() == nil })
			x, err := s.Extent(t.Context())
			if c := l.Report(ledger.Ask{}).Total; err != nil || x.Pairs != 76 || c.Seen != 80 || c.Stored != 76 || !c.Holds() ||
				c.Dropped[ledger.Drop{Hop: ledger.HopAnalyzer, Reason: ledger.ReasonDamaged}] != 4 {
				t.Errorf("%s: %d pairs are there, %v; the ledger says %+v", name, x.Pairs, err, c)
			}
			s.close(t)
		}
	}
}
