package segstore_test

import (
	"context"
	"slices"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
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
			opt.LogFS, opt.Committed = disk, nil
			s := start(t, opt)
			if err := s.Append(t.Context(), storetest.NewForwarder(1, nil).Spool, frames); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				for _, whole := range []bool{true, false} {
					want := want
					if clean && part < 0 && whole { // bodies are not looked at then, and do not come again
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
			s.close(t)
		}
	}
}
