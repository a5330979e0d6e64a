package seglog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
)

// ReadAt reads the record at offset, which is one that an Entry or a Committed
// told.
func (l *Log) ReadAt(offset uint64) (Entry, error) {
	r := Reader{log: l, off: offset, want: partAll}
	return r.one()
}

// Records yields the records from an offset on to what is durable now. A
// *CorruptError or *RemovedError is yielded in its place and does not end the
// sequence; any other error does.
func (l *Log) Records(from uint64) iter.Seq2[Entry, error] { return l.records(from, partAll) }

// Heads is Records without bodies, which it neither reads nor checks.
func (l *Log) Heads(from uint64) iter.Seq2[Entry, error] { return l.records(from, partHead) }

func (l *Log) records(from uint64, want part) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r := Reader{log: l, off: from, want: want}
		defer r.Close()
		l.mu.Lock()
		until := l.end
		l.mu.Unlock()
		for r.off < until {
			e, err := r.TryNext()
			if errors.Is(err, ErrEnd) || errors.Is(err, ErrClosed) {
				return
			}
			if !yield(e, err) || err != nil && !IsDamage(err) {
				return
			}
		}
	}
}

// IsDamage says whether an error is a *CorruptError or a *RemovedError, behind
// which reading goes on.
func IsDamage(err error) bool {
	if _, ok := errors.AsType[*CorruptError](err); ok {
		return true
	}
	_, ok := errors.AsType[*RemovedError](err)
	return ok
}

// LastState is the newest state that is whole (see Options.State), and the
// offset from which on the records are not in it. When there is none, state
// is nil and from is Oldest.
func (l *Log) LastState() (state []byte, from uint64, err error) {
	l.mu.Lock()
	segs := append([]*segment(nil), l.segs...)
	l.mu.Unlock()
	for i := len(segs) - 1; i >= 0; i-- {
		if l.isGone(segs[i]) {
			continue
		}
		v, err := l.view(segs[i])
		if err != nil {
			return nil, 0, fmt.Errorf("read state: %w", err)
		}
		var r record
		if v.base+segmentHeaderLen < v.end {
			r, err = v.step(v.base+segmentHeaderLen, partAll, nil)
		}
		l.release(segs[i])
		if err != nil {
			return nil, 0, fmt.Errorf("read state: %w", err)
		}
		if r.damage == nil && r.kind == kindState {
			return r.body, r.next, nil
		}
	}
	return nil, l.Oldest(), nil
}

// Reader reads from an offset on and follows the log's end. Its owner closes
// it.
func (l *Log) Reader(from uint64) *Reader { return &Reader{log: l, off: from, want: partAll} }

// Reader follows a log. It is for one goroutine.
type Reader struct {
	log  *Log
	off  uint64
	want part
	seg  *segment // held open between reads
	v    view
}

// Offset is where the next read begins.
func (r *Reader) Offset() uint64 { return r.off }

// Close lets go of the file. The reader may be used again.
func (r *Reader) Close() {
	if r.seg != nil {
		r.log.release(r.seg)
		r.seg = nil
	}
}

// Next is the next record; it waits for one until ctx ends. After a
// *CorruptError or *RemovedError it goes on behind the damage; it returns
// ErrClosed when the log was closed.
func (r *Reader) Next(ctx context.Context) (Entry, error) {
	for {
		r.log.mu.Lock()
		grown := r.log.grown
		r.log.mu.Unlock()
		e, err := r.TryNext()
		if !errors.Is(err, ErrEnd) {
			return e, err
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return Entry{}, ctx.Err()
		}
	}
}

// TryNext is Next without waiting: ErrEnd when there is none.
func (r *Reader) TryNext() (Entry, error) {
	for {
		rec, err := r.step()
		if err != nil {
			return Entry{}, err
		}
		at := r.off
		r.off = rec.next
		switch {
		case rec.damage == nil && rec.kind == kindData:
			return entry(at, rec), nil
		case rec.damage != nil && (rec.kind == kindData || rec.damage.Part == "header"):
			return Entry{}, rec.damage
		}
		// A state, whole or not, and a mark are not for readers.
	}
}

func entry(at uint64, rec record) Entry {
	return Entry{Offset: at, Next: rec.next, Head: rec.head, Body: rec.body, BodyLen: rec.bodyBytes()}
}

// one reads exactly the record at r.off.
func (r *Reader) one() (Entry, error) {
	defer r.Close()
	want := r.off
	rec, err := r.step()
	switch {
	case err != nil:
		return Entry{}, err
	case rec.damage != nil:
		return Entry{}, rec.damage
	case r.off != want || rec.kind != kindData:
		return Entry{}, fmt.Errorf("read log: no record at offset %d", want)
	}
	return entry(want, rec), nil
}

// step reads what stands at r.off, after moving it over holes.
func (r *Reader) step() (record, error) {
	for {
		seg, err := r.locate()
		if err != nil {
			return record{}, err
		}
		rec, err := r.v.step(r.off, r.want, nil)
		if err != nil {
			// The file may have been removed, or the log closed, under us.
			r.Close()
			if again, lerr := r.locate(); lerr != nil || again != seg {
				continue
			}
		}
		return rec, err
	}
}

// locate finds the segment for r.off and holds it open, with r.v as its
// durable part now.
func (r *Reader) locate() (*segment, error) {
	l := r.log
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		r.Close()
		return nil, ErrClosed
	}
	var seg *segment
	first := false
	for i, s := range l.segs {
		if s.end > r.off {
			seg, first = s, i == 0
			break
		}
	}
	if seg == nil {
		l.mu.Unlock()
		return nil, ErrEnd
	}
	if r.off < seg.base {
		from := r.off
		r.off = seg.base
		// Below prevEnd there were records, above it is a hole.
		if from < seg.prevEnd {
			l.mu.Unlock()
			r.Close()
			if first {
				return nil, &RemovedError{From: from, To: seg.base}
			}
			return nil, &CorruptError{Segment: seg.name, Offset: from, Next: seg.base, Part: "file"}
		}
	}
	if seg.gone {
		from := r.off
		r.off = seg.end
		l.mu.Unlock()
		r.Close()
		return nil, &RemovedError{From: from, To: seg.end}
	}
	r.off = max(r.off, seg.base+segmentHeaderLen)
	end := seg.end
	l.mu.Unlock()
	if r.off >= end { // no record in it
		r.off = end
		return r.locate()
	}
	if r.seg == seg {
		r.v.end = end
		return seg, nil
	}
	r.Close()
	v, err := l.view(seg)
	if err != nil {
		if !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if l.holds(seg) { // somebody else removed the file
			from := r.off
			r.off = end
			return nil, &CorruptError{Segment: seg.name, Offset: from, Next: end, Part: "file"}
		}
		return r.locate()
	}
	r.seg, r.v = seg, v
	return seg, nil
}

func (l *Log) isGone(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.gone
}

func (l *Log) holds(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.segs, s)
}
