package ledger

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestReadersAndCommits: reports and snapshots are put into words while
// commits go on. Each is of one moment, and stays as it was.
func TestReadersAndCommits(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	commit := func(seq uint64) {
		l.Commit(store.Commit{At: w.now, Next: seq * 100, Head: &capturev1.FrameHead{
			Source: p.src, EpochStarted: p.started, BatchSeq: seq, FirstPairSeq: seq*4 - 3, Received: 4, Pairs: 1,
			Filtered: map[string]uint32{"health": 1}, Dropped: map[string]uint32{"fault": 2}, TimeMax: w.now - int64(seq%50)*int64(time.Minute),
			Counters: &capturev1.Counters{Seen: seq*4 + 1, Batched: seq * 4, Dropped: map[string]uint64{"memory": 1}},
		}})
	}
	commit(1)
	l.mu.Lock()
	lent := l.copied()
	l.mu.Unlock()
	before := l.Report(Ask{From: 1, To: math.MaxInt64})
	again := l.Report(Ask{From: 1, To: math.MaxInt64})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for range 50 {
				r := l.Report(Ask{From: 1, To: math.MaxInt64})
				var steps Counts
				for _, s := range r.Steps {
					steps.Add(s.Counts)
				}
				if steps.Seen != r.Total.Seen || steps.Stored != r.Total.Stored || !r.Total.Holds() || len(r.Reasons) > 0 {
					t.Errorf("%+v, steps %+v", r.Total, steps)
				}
				if err := l.Save(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for seq := uint64(2); seq < 2000; seq++ {
		commit(seq)
	}
	wg.Wait()
	if !reflect.DeepEqual(before, again) {
		t.Errorf("a report changed: %+v, %+v", before, again)
	}
	b, err := json.Marshal(lent.snapshot())
	if err != nil {
		t.Fatal(err)
	}
	old := New(l.opt, l.log)
	if err := old.decode(b); err != nil {
		t.Fatal(err)
	}
	if c := old.Totals(); c.Stored != 1 || c.Seen != 5 {
		t.Errorf("the copy of a moment has %+v", c)
	}
	holds(t, old)
	l.mu.Lock()
	one, err1 := json.Marshal(l.copied().snapshot())
	two, err2 := json.Marshal(l.copied().snapshot())
	l.mu.Unlock()
	if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
		t.Errorf("the same account gives other bytes: %v, %v", err1, err2)
	}
}

// TestSumThatDoesNotHoldIsSaid: whatever the reason, an account that does not
// add up is never shown as one that does.
func TestSumThatDoesNotHoldIsSaid(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	w.see(p, 4)
	w.cut(p, 4)
	w.deliver(t, l, p)
	if r := l.Report(Ask{}); len(r.Reasons) != 0 || !r.Apps[0].Holds() {
		t.Fatalf("%+v", r)
	}
	for _, a := range l.apps {
		a.Stored--
	}
	if r := l.Report(Ask{}); len(r.Reasons) != 1 || r.Apps[0].Holds() {
		t.Errorf("%+v", r)
	}
}
