package segstore

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// walk looks into records, some at a time, and gives what fits in order: by
// (time, id), the newest first, or as the log has it. What the words of a
// record, its times or the index rule out is passed over.
type walk struct {
	s     *Store
	query *query.Query
	match *query.Matcher
	need  *query.Need
	texts *texts // nil when nothing is needed
	// from, to and before bound the pairs, after and end the places in the log.
	from, to   int64
	before     *store.Key
	after, end uint64
	// forward: as the log has it, the oldest first.
	forward bool
	// restricted: the index can say which records have rows that may fit.
	restricted bool
	below      uint64
	pending    []*block

	budget, spent int64
	progress      func(store.Progress)
	done          store.Progress

	sources []*source
	targets targets
	// jobs are under way, in order.
	jobs    []*job
	workers sync.WaitGroup
	cancel  context.CancelFunc
	// start is where the first record was, by time.
	start   int64
	started bool
	damaged uint64
}

// depth is how many records a walk has under way.
const depth = 8

// job is one look into a record.
type job struct {
	target
	ready chan struct{}
	found found
	err   error
}

// source gives targets when they are wanted: the records of a segment.
type source struct {
	// newest bounds the times of its pairs.
	newest int64
	base   uint64
	bytes  int64
	seg    *seglog.SegmentInfo // nil: the segments in unknown
	// unknown are segments of whose records nothing is known.
	unknown []*seglog.SegmentInfo
	// last: what is in memory of it may reach further than it.
	last bool
}

// targets is a heap: what is to be looked at first stands first.
type targets struct {
	list    []target
	forward bool
}

func (t *targets) Len() int      { return len(t.list) }
func (t *targets) Swap(i, j int) { t.list[i], t.list[j] = t.list[j], t.list[i] }
func (t *targets) Push(x any)    { t.list = append(t.list, x.(target)) } // as heap.Interface has it
func (t *targets) Pop() any {
	last := t.list[len(t.list)-1]
	t.list = t.list[:len(t.list)-1]
	return last
}

func (t *targets) Less(i, j int) bool {
	a, b := &t.list[i], &t.list[j]
	if t.forward || a.newest == b.newest {
		return (a.off < b.off) == t.forward
	}
	return a.newest > b.newest
}

// look is what a walk is for.
type look struct {
	query    *query.Query
	from, to int64
	before   *store.Key
	// after is a sequence of the store (store.Stored.Seq), for a walk forward.
	after    uint64
	forward  bool
	budget   int64 // 0: the default; less than 0: none
	progress func(store.Progress)
}

// walk begins one; the caller ends it.
func (s *Store) walk(ctx context.Context, l look) (context.Context, *walk) {
	if l.to == 0 {
		l.to = math.MaxInt64
	}
	if l.before != nil && l.before.Time < l.to {
		l.to = l.before.Time + 1 // cannot overflow: see store.Time
	}
	if l.budget == 0 {
		l.budget = s.opt.ScanBudget
	}
	w := &walk{
		s: s, query: l.query, match: s.matcher(l.query), from: l.from, to: l.to, before: l.before,
		after: l.after, forward: l.forward, budget: l.budget, progress: l.progress,
		restricted: l.query != nil && restricts(l.query.Root),
	}
	if w.need = l.query.Needs(); w.need != nil {
		w.texts = newTexts(w.need)
	}
	w.targets.forward = l.forward
	snap := s.live.snapshot()
	w.below, w.pending = snap.below, snap.pending
	w.end = math.MaxUint64
	if l.forward {
		w.end = s.logEnd()
	}
	segs := s.seglog.Segments()
	var unknown *source
	for i := range segs {
		seg := &segs[i]
		if seg.Base >= w.end || w.forward && i < len(segs)-1 && segs[i+1].Base <= w.after {
			continue
		}
		src := &source{newest: math.MaxInt64, base: seg.Base, bytes: seg.Bytes, seg: seg, last: i == len(segs)-1}
		f, ok := s.sidecars.of(seg.Base)
		switch {
		case ok && (f.Pairs == 0 || f.TimeMin >= w.to || f.TimeMax < w.from):
			continue
		case ok:
			src.newest = f.TimeMax
		case !ok && !w.forward && !s.sidecars.has(seg.Base):
			if unknown == nil {
				unknown = &source{newest: math.MaxInt64}
				w.sources = append(w.sources, unknown)
			}
			unknown.bytes += seg.Bytes
			unknown.unknown = append(unknown.unknown, seg)
			w.done.Of += seg.Bytes
			continue
		}
		w.done.Of += seg.Bytes
		w.sources = append(w.sources, src)
	}
	slices.SortStableFunc(w.sources, func(a, b *source) int {
		switch {
		case w.forward && a.base < b.base, !w.forward && a.newest > b.newest:
			return -1
		case a.base == b.base && a.newest == b.newest:
			return 0
		}
		return 1
	})
	ctx, w.cancel = context.WithCancel(ctx)
	return ctx, w
}

// close ends the looks that are under way.
func (w *walk) close() {
	w.cancel()
	w.workers.Wait()
}

// restricts reports whether a condition has a part that rows decide, so that
// asking the index spares looking.
func restricts(n query.Node) bool {
	switch n := n.(type) {
	case query.And:
		return slices.ContainsFunc(n.Nodes, restricts)
	case query.Or:
		return len(n.Nodes) > 0 && !slices.ContainsFunc(n.Nodes, func(c query.Node) bool { return !restricts(c) })
	case query.Not:
		return index.Covered(&query.Query{Root: n})
	case query.Term:
		return index.Covered(&query.Query{Root: n})
	}
	return false
}

// fill has as many looks under way as may be.
func (w *walk) fill(ctx context.Context) error {
	for len(w.jobs) < depth {
		for len(w.sources) > 0 && !w.sooner() {
			src := w.sources[0]
			w.sources = w.sources[1:]
			if err := w.expand(ctx, src); err != nil {
				return err
			}
		}
		if w.targets.Len() == 0 {
			return nil
		}
		j := &job{target: heap.Pop(&w.targets).(target), ready: make(chan struct{})} // it has nothing else
		if !w.started {
			w.started, w.start = true, j.newest
		}
		w.jobs = append(w.jobs, j)
		w.workers.Go(func() {
			defer close(j.ready)
			if j.err = w.s.lookers.Acquire(ctx, 1); j.err != nil {
				return
			}
			defer w.s.lookers.Release(1)
			j.found, j.err = w.look(ctx, j.target)
		})
	}
	return nil
}

// sooner reports whether the first target comes before all that the sources
// have.
func (w *walk) sooner() bool {
	if w.targets.Len() == 0 {
		return false
	}
	if w.forward {
		return w.targets.list[0].off < w.sources[0].base
	}
	return w.targets.list[0].newest > w.sources[0].newest
}

// next gives what fits of the next record, and whether there was one. bound is
// above the times of all pairs of the records that follow but for the equal.
func (w *walk) next(ctx context.Context) (f found, bound int64, ok bool, err error) {
	if err := w.fill(ctx); err != nil {
		return f, 0, false, err
	}
	if len(w.jobs) == 0 {
		w.report(true)
		return f, 0, false, ctx.Err()
	}
	j := w.jobs[0]
	if w.budget >= 0 && w.spent > w.budget && (w.forward || j.newest < w.start) {
		return f, 0, false, w.partial(j.newest)
	}
	select {
	case <-j.ready:
	case <-ctx.Done():
		return f, 0, false, ctx.Err()
	}
	w.jobs = w.jobs[1:]
	switch {
	case j.err == nil:
	case errors.Is(j.err, errGone):
	case ctx.Err() != nil:
		return f, 0, false, ctx.Err()
	default:
		if _, damage := errors.AsType[*seglog.CorruptError](j.err); !damage {
			return f, 0, false, w.s.mistrust(j.err)
		}
		w.damaged += w.s.damages.lost(j.off, j.rows)
	}
	w.spent += j.found.cost
	w.done.Scanned += j.bytes
	w.report(false)
	if err := w.fill(ctx); err != nil {
		return f, 0, false, err
	}
	bound = math.MinInt64
	if len(w.jobs) > 0 {
		bound = w.jobs[0].newest
	}
	return j.found, bound, true, nil
}

func (w *walk) report(end bool) {
	if w.progress == nil {
		return
	}
	if end || w.done.Scanned > w.done.Of {
		w.done.Scanned = w.done.Of
	}
	w.progress(w.done)
}

// partial says that the budget is used up before records of a time.
func (w *walk) partial(newest int64) error {
	return &store.PartialError{
		Reason: fmt.Sprintf("scan budget of %d MiB used up: scanned %s of %s", w.budget>>20, size(w.done.Scanned), size(w.done.Of)),
		// All that is newer was looked at; what is of this very time comes again.
		Reached: &store.Key{Time: newest, ID: lastID},
	}
}

var lastID = store.ID(bytes.Repeat([]byte{0xff}, len(store.ID{})))

func size(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}

// verdict is the error at the end of a walk that saw everything there was.
func (w *walk) verdict() error { return damagedVerdict(w.damaged) }

func damagedVerdict(pairs uint64) error {
	if pairs == 0 {
		return nil
	}
	return &store.PartialError{Reason: fmt.Sprintf("%d pairs cannot be read: the log is damaged there", pairs), Unreadable: pairs}
}
