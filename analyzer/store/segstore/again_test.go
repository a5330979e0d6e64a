package segstore_test

import (
	"context"
	"slices"
	"testing"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
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
				if len(b) < int(ends[9]) {
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
