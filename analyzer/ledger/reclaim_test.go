package ledger

import (
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestReclaimedForWhateverReason: a batch that was not here, for any of the
// reasons for which it may still come, counts as stored and nothing else once
// it came.
func TestReclaimedForWhateverReason(t *testing.T) {
	for _, reason := range []string{"spool_full", "spool_damaged", "refused", "unreadable"} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(1)
			l := w.open(t, memDir(t), Options{})
			p := w.proxy("app")
			head := func() *capturev1.FrameHead {
				return &capturev1.FrameHead{
					Source: p.src, EpochStarted: p.started, BatchSeq: 1, FirstPairSeq: 1, Received: 5, Pairs: 5,
					TimeMin: w.now, TimeMax: w.now, Counters: &capturev1.Counters{Seen: 5, Batched: 5},
				}
			}
			lost := head()
			c := store.Commit{At: w.now, Next: 100, Head: lost, Unreadable: reason == "unreadable"}
			if !c.Unreadable {
				lost.Pairs, lost.Dropped = 0, map[string]uint32{reason: 5}
			}
			l.Commit(c)
			if got := total(l); got.Seen != 5 || got.Stored != 0 {
				t.Errorf("when it was lost: %+v", got)
			}
			l.Commit(store.Commit{At: w.now, Next: 200, Head: head(), Reclaimed: true})
			if got := total(l); got.Seen != 5 || got.Stored != 5 || len(got.Dropped) != 0 {
				t.Errorf("when it came: %+v", got)
			}
			holds(t, l)
		})
	}
}
