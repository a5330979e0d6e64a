package ledger

import (
	"github.com/weir-capture/weir/analyzer/store"
)

// erasing is how far a deletion by query has been counted: it goes through the
// store in order.
type erasing struct {
	Deletion store.ID `json:"d"`
	Through  uint64   `json:"t"`
}

// without counts pairs of a frame as deleted that were stored.
func (l *Ledger) without(f *flow, deleted uint32) {
	if n := min(int64(deleted), f.Stored); n > 0 {
		f.Stored -= n
		f.Dropped.add(l.drops.number(Drop{HopAnalyzer, ReasonDeleted}), n)
	}
}

// Erased counts pairs that a deletion by query took out of a frame: they were
// stored, and are not any more. Each is counted once, over a crash too, if after
// a start the same deletion tells again of those that it had taken before.
func (l *Ledger) Erased(e store.Erased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Before && (e.At >= l.counted || l.erasing.Deletion == e.Deletion && e.At <= l.erasing.Through) {
		return // counted with its commit, or before the crash
	}
	l.erasing = erasing{e.Deletion, e.At}
	l.dirty = true
	h := e.Head
	now := l.opt.Now().UnixNano()
	at := batchTime(h.GetTimeMax(), now)
	src := h.GetSource()
	var a *app
	if len(src.GetEpoch()) == len(Epoch{}) {
		if p := l.processes[Epoch(src.GetEpoch())]; p != nil {
			a = p.app
		}
	}
	if a == nil {
		if a = l.apps[App{src.GetCluster(), src.GetNamespace(), src.GetApp()}]; a == nil {
			return // forgotten: there is nothing to take them from
		}
	}
	n := min(int64(e.Pairs), max(a.Stored, 0))
	f := flow{Stored: -n}
	f.Dropped.add(l.drops.number(Drop{HopAnalyzer, ReasonDeleted}), n)
	l.enter(a, at, now, &f, 1)
}
