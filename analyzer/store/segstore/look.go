package segstore

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// target is a record that may have pairs that fit.
type target struct {
	off uint64
	// newest bounds the times of its pairs.
	newest int64
	rows   uint32
	// bytes is what it takes of the log; 0 where that is not known.
	bytes int64
	// encoded: its bytes may not tell what is in it.
	encoded bool
}

// found is what a look into a record gave.
type found struct {
	off   uint64
	pairs []*store.Stored
	// cost is how many bytes were looked at.
	cost int64
}

// fewTargets is how many records are looked into rather than asking the index
// whether they are worth it.
const fewTargets = 16

// expand adds the targets of a source.
func (w *walk) expand(ctx context.Context, src *source) error {
	if src.seg == nil {
		return w.expandUnknown(ctx, src.unknown)
	}
	c, ok, err := w.s.choose(src.seg, src.last, w.need)
	switch {
	case err != nil:
		return err
	case !ok && w.forward:
		return w.expandHeads(ctx, src)
	case !ok:
		return w.expandUnknown(ctx, []*seglog.SegmentInfo{src.seg})
	}
	wanted := 0
	from, to := w.to, w.from // of what is wanted
	for i := range c.frames {
		f := &c.frames[i]
		if c.may[i] = c.may[i] && w.within(f); c.may[i] {
			wanted++
			if f.Rows > 0 {
				from, to = min(from, f.TimeMin), max(to, f.TimeMax)
			}
		} else {
			w.done.Scanned += int64(f.Next - f.Off)
		}
	}
	var rows map[uint64]bool
	if w.restricted && wanted > fewTargets {
		records, err := w.records(ctx, max(from, w.from), min(to+1, w.to))
		if err != nil {
			return err
		}
		rows = make(map[uint64]bool, len(records))
		for _, r := range records {
			rows[r.Off] = true
		}
	}
	for i := range c.frames {
		f := &c.frames[i]
		if !c.may[i] {
			continue
		}
		if rows != nil && f.Rows > 0 && f.Off < w.below && !rows[f.Off] {
			w.done.Scanned += int64(f.Next - f.Off)
			continue
		}
		t := target{off: f.Off, newest: min(f.TimeMax, w.to-1), rows: f.Rows, bytes: int64(f.Next - f.Off), encoded: f.Encoded}
		if f.Rows == 0 {
			t.newest = w.to - 1 // nobody knows
		}
		heap.Push(&w.targets, t)
	}
	return nil
}

// within reports whether the bounds of a walk leave anything of a frame.
func (w *walk) within(f *segidx.Frame) bool {
	if f.Off >= w.end || f.Next <= w.after || f.Rows > 0 && (f.TimeMax < w.from || f.TimeMin >= w.to) {
		return false
	}
	if !w.s.unread.has(f.Off) {
		return true
	}
	if w.forward { // lists have no rows of it, and who reads everything is told
		w.damaged += w.s.damages.lost(f.Off, f.Rows)
	}
	return false
}

// records are those that the index has rows of that may fit.
func (w *walk) records(ctx context.Context, from, to int64) (list []index.Record, err error) {
	err = w.s.use(ctx, func(x index.Index) error {
		list, err = x.Records(ctx, index.Selection{Query: w.query, From: from, To: to, Below: w.below})
		return err
	})
	return list, err
}

// expandUnknown is for segments of which only the index knows anything.
func (w *walk) expandUnknown(ctx context.Context, segs []*seglog.SegmentInfo) error {
	in := func(off uint64) bool {
		i := sort.Search(len(segs), func(i int) bool { return segs[i].Base > off }) - 1
		return i >= 0 && (off < segs[i].End || off >= w.below)
	}
	records, err := w.records(ctx, w.from, w.to)
	if err != nil {
		return err
	}
	for _, r := range records {
		if in(r.Off) {
			heap.Push(&w.targets, target{off: r.Off, newest: r.Newest, rows: r.Rows, encoded: true})
		}
	}
	for _, b := range w.pending {
		if len(b.rows) == 0 || !in(b.off) {
			continue
		}
		t := target{off: b.off, newest: b.rows[0].Time, rows: uint32(len(b.rows)), encoded: true}
		for i := range b.rows {
			t.newest = max(t.newest, b.rows[i].Time)
		}
		t.newest = min(t.newest, w.to-1)
		heap.Push(&w.targets, t)
	}
	return nil
}

// expandHeads is for a walk forward through a segment of which nothing is
// known.
func (w *walk) expandHeads(ctx context.Context, src *source) error {
	for e, err := range w.s.seglog.Heads(src.seg.Base) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if c, ok := errors.AsType[*seglog.CorruptError](err); ok {
			if c.Offset >= src.seg.End {
				return nil
			}
			w.s.damaged(c)
			w.damaged += w.s.damages.lost(c.Offset, 0)
			continue
		}
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if e.Offset >= min(src.seg.End, w.end) {
			return nil
		}
		if r, err := readHead(e.Head); err == nil && r.head.GetPairs() > 0 && e.Next > w.after {
			heap.Push(&w.targets, target{off: e.Offset, rows: r.head.GetPairs(), bytes: int64(e.Next - e.Offset), encoded: true})
		}
	}
	return nil
}

// buffers are of *[]byte, for bodies that may not be worth decoding.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer bounds each of them.
const keepBuffer = 4 << 20

// look opens a record and gives the pairs that fit. The bytes of the whole
// frame may tell that there are none, which spares decoding it.
func (w *walk) look(ctx context.Context, t target) (found, error) {
	if d := w.s.cache.get(t.off); d != nil {
		return w.fitting(ctx, t.off, d, false)
	}
	e, err := w.s.entry(ctx, t.off)
	if err != nil {
		return found{}, err
	}
	r, err := readHead(e.Head)
	if err != nil {
		return found{}, nil // stored so, and told of, when it came
	}
	buf := buffers.Get().(*[]byte) // it has nothing else
	raw, err := r.raw(e.Body, *buf)
	if cap(raw) > cap(*buf) && cap(raw) <= keepBuffer {
		*buf = raw
	}
	defer buffers.Put(buf)
	if err != nil {
		return found{}, nil
	}
	if w.texts != nil && !w.texts.may(raw) {
		if !t.encoded {
			return found{cost: max(int64(len(raw)), minFrameCost)}, nil
		}
		// Only pairs with encoded bodies can fit, of which there are few.
		d, err := r.decodeSome(t.off, raw, mayBeEncoded)
		if err != nil {
			return found{}, nil
		}
		w.s.name(d.pairs)
		return w.fitting(ctx, t.off, d, true)
	}
	d, err := r.decode(t.off, raw)
	if err != nil {
		return found{}, nil
	}
	w.s.name(d.pairs)
	f, err := w.fitting(ctx, t.off, d, false)
	if len(f.pairs) > 0 {
		w.s.cache.put(t.off, d)
	}
	return f, err
}

// mayBeEncoded is for a pair before it is decoded.
func mayBeEncoded(pair []byte) bool {
	return frame.AnyHead(pair, func(head []byte) bool { return codingField.in(head) && query.NamesCoding(head) })
}

var codingField = newFolded("content-encoding")

// fitting gives the pairs that fit, with encoded only those that have a body
// which does not stand in their bytes.
func (w *walk) fitting(ctx context.Context, off uint64, d *decoded, encoded bool) (found, error) {
	f := found{off: off, cost: max(d.bytes, minFrameCost)}
	for _, st := range d.pairs {
		key := store.Key{Time: store.Time(st.Pair), ID: store.ID(st.Pair.GetId())}
		if key.Time < w.from || key.Time >= w.to || st.Seq <= w.after || w.before != nil && !older(key, *w.before) {
			continue
		}
		if encoded && !query.IsEncoded(st.Pair.GetRequest()) && !query.IsEncoded(st.Pair.GetResponse()) {
			continue
		}
		ok, err := w.match.MatchContext(ctx, st.Pair)
		if err != nil {
			return f, err
		}
		if ok {
			f.pairs = append(f.pairs, st)
		}
	}
	return f, nil
}

// hit is a pair that fits, waiting for its turn.
type hit struct {
	key store.Key
	off uint64
	idx uint32
	st  *store.Stored
}

// listWalk gives the newest pairs that fit a query that rows cannot decide.
func (s *Store) listWalk(ctx context.Context, l store.List, yield func(*store.Stored) bool) error {
	wctx, w := s.walk(ctx, look{query: l.Query, from: l.From, to: l.To, before: l.Before, budget: l.ScanBudget, progress: l.Progress})
	defer w.close()
	var hits []hit // the newest first
	for left := l.Limit; ; {
		f, bound, more, err := w.next(wctx)
		if err != nil {
			return err
		}
		for _, st := range f.pairs {
			hits = append(hits, hit{
				store.Key{Time: store.Time(st.Pair), ID: store.ID(st.Pair.GetId())},
				f.off, uint32(st.Seq - index.Seq(f.off, 0)), st,
			})
		}
		if len(f.pairs) > 0 {
			slices.SortFunc(hits, func(a, b hit) int { return compare(b.key, a.key) })
			hits = hits[:min(len(hits), left)]
		}
		for len(hits) > 0 && (!more || hits[0].key.Time > bound) {
			st := hits[0].st
			if !l.Whole {
				row := index.RowOf(st.Pair, st.At, hits[0].off, hits[0].idx)
				row.Endpoint = s.endpoint(st.Pair)
				if st, err = row.Stored(); err != nil {
					return err
				}
			}
			hits = hits[1:]
			if left--; !yield(st) || left == 0 {
				return nil
			}
		}
		if !more {
			return w.verdict()
		}
	}
}
