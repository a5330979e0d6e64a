package seglog

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"

	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// A group is what one write and one fsync make durable. Its limits keep
	// the buffer small and the wait short; a single larger append passes.
	maxGroupBytes    = 8 << 20
	maxGroupRequests = 1024
	// keepBuffer is how much of the group's buffer outlives a group.
	keepBuffer = 4 << 20
)

type request struct {
	records []Record
	op      func() error // instead of records; runs alone
	next    uint64
	err     error
	// wake gets true when the waiter becomes the leader and false when its
	// request was done by another.
	wake chan bool
}

// Append writes records one after another and returns when they are durable,
// with the offset after the last. All of them are kept or none. Concurrent
// calls share one write and one fsync. After *FullError, or any other error
// of the disk, the log may be used on.
func (l *Log) Append(records ...Record) (next uint64, err error) {
	for _, r := range records {
		if !lengthsFit(r) {
			return 0, fmt.Errorf("append record of %d+%d bytes: %w", len(r.Head), len(r.Body), ErrTooLarge)
		}
	}
	req := &request{records: records}
	l.do(req)
	return req.next, req.err
}

// Rotate ends the current segment; the next record begins a new one.
func (l *Log) Rotate() error {
	req := &request{op: func() error { l.seal(); return nil }}
	l.do(req)
	return req.err
}

// SkipTo makes the next record's offset at least offset.
func (l *Log) SkipTo(offset uint64) error {
	req := &request{op: func() error {
		if l.Next() < offset {
			l.seal()
			l.raise(offset)
		}
		return nil
	}}
	l.do(req)
	return req.err
}

// do runs req, as the leader or by way of one.
func (l *Log) do(req *request) {
	req.wake = make(chan bool, 1)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		req.err = ErrClosed
		return
	}
	l.pending = append(l.pending, req)
	if l.leading {
		l.mu.Unlock()
		if lead := <-req.wake; !lead {
			return
		}
		l.mu.Lock()
	}
	l.leading = true
	group := l.takeGroup()
	closed := l.closed
	l.mu.Unlock()

	switch {
	case closed:
		for _, r := range group {
			r.err = ErrClosed
		}
	case req.op != nil:
		req.err = req.op()
	default:
		l.commit(group)
	}

	l.mu.Lock()
	if len(l.pending) > 0 {
		l.pending[0].wake <- true
	} else {
		l.leading = false
	}
	l.mu.Unlock()
	for _, r := range group {
		if r != req {
			r.wake <- false
		}
	}
}

// takeGroup removes the first requests, of which the leader's own is the very
// first, from pending.
func (l *Log) takeGroup() []*request {
	n, size := 0, 0
	for n < len(l.pending) && n < maxGroupRequests {
		r := l.pending[n]
		if r.op != nil && n > 0 {
			break
		}
		for _, rec := range r.records {
			size += recordHeaderLen + len(rec.Head) + len(rec.Body)
		}
		if n > 0 && size > maxGroupBytes {
			break
		}
		n++
		if r.op != nil {
			break
		}
	}
	group := append([]*request(nil), l.pending[:n]...)
	rest := append(l.pending[:0], l.pending[n:]...)
	clear(l.pending[len(rest):])
	l.pending = rest
	return group
}

// commit makes a group durable, or fails it as a whole. An fsync that failed
// says nothing about what is on the disk, and a second one that succeeds
// would not either: the segment is left and the group is written once more,
// to a new one.
func (l *Log) commit(group []*request) {
	err := l.write(group)
	if errors.Is(err, errAbandoned) {
		err = l.write(group)
	}
	if err != nil {
		err = full(fmt.Errorf("append to log: %w", err))
		for _, r := range group {
			r.err = err
		}
	}
}

// errAbandoned: the fsync failed; the segment was left.
var errAbandoned = errors.New("segment abandoned")

func (l *Log) write(group []*request) error {
	if l.active != nil && (l.fileSize >= l.opt.SegmentBytes || l.opt.Now().Sub(l.active.created) >= l.opt.SegmentAge) {
		l.seal()
	}
	if l.active != nil && l.keys != nil {
		// Each day has its own key, and each segment one.
		key, _, err := l.keys.Current(l.opt.Now())
		if err != nil {
			return err
		}
		if key != l.active.key {
			l.seal()
		}
	}
	if l.active == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	base, salt, seal := l.active.base, l.active.salt, l.active.seal
	offset := base + uint64(l.fileSize)
	size := 0
	for _, r := range group {
		for _, rec := range r.records {
			size += int(seal.recordLen(len(rec.Head), len(rec.Body)))
		}
	}
	// Grown once: what it had is not copied from one size to the next.
	b := slices.Grow(l.buf[:0], size)
	for _, r := range group {
		for _, rec := range r.records {
			b = seal.append(b, kindData, offset+uint64(len(b)), salt, rec.Head, rec.Body)
		}
	}
	if l.buf = b; cap(b) > keepBuffer {
		l.buf = nil
	}
	if len(b) > 0 {
		if err := l.put(b); err != nil {
			return err
		}
	}
	at := offset
	for _, r := range group {
		for _, rec := range r.records {
			next := at + uint64(seal.recordLen(len(rec.Head), len(rec.Body)))
			if rec.Committed != nil {
				rec.Committed(at, next)
			}
			at = next
		}
		r.next = at
	}
	l.publish(int64(len(b)))
	return nil
}

// put makes b durable at the end of the active segment, or leaves everything
// as if it had never been tried.
func (l *Log) put(b []byte) error {
	name := l.active.name
	if _, err := l.file.WriteAt(b, l.fileSize); err != nil {
		if terr := l.file.Truncate(l.fileSize); terr != nil {
			l.abandon(int64(len(b)))
		}
		return fmt.Errorf("write segment %s: %w", name, err)
	}
	if err := l.file.Sync(); err != nil {
		l.abandon(int64(len(b)))
		return fmt.Errorf("%w: sync segment %s: %w", errAbandoned, name, err)
	}
	return nil
}

// publish lets readers see n more bytes of the active segment.
func (l *Log) publish(n int64) {
	l.fileSize += n
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active.bytes = l.fileSize
	l.active.end = l.active.base + uint64(l.fileSize)
	l.end = l.active.end
	close(l.grown)
	l.grown = make(chan struct{})
}

// begin makes the next segment: header and state, synced, and its name synced
// in the directory before any record in it counts.
func (l *Log) begin() error {
	var state []byte
	if l.opt.State != nil {
		if state = l.opt.State(); len(state) > MaxHeadBytes {
			return fmt.Errorf("begin segment: state of %d bytes: %w", len(state), ErrTooLarge)
		}
	}
	var key uint16
	if l.keys != nil {
		var err error
		if key, _, err = l.keys.Current(l.opt.Now()); err != nil {
			return fmt.Errorf("begin segment: %w", err)
		}
	}
	l.mu.Lock()
	h := segmentHeader{key: key, base: max(l.nextBase, l.end), prevEnd: l.end, created: l.opt.Now(), salt: rand.Uint32()}
	var last *segment
	if n := len(l.segs); n > 0 {
		last = l.segs[n-1]
		if h.base <= last.base { // an empty one before it, that could not be removed
			h.base = last.base + 1
		}
	}
	l.mu.Unlock()

	var seal *sealer
	if key != 0 {
		var err error
		if seal, err = newSealer(l.keys, key, h.base, h.salt); err != nil {
			return fmt.Errorf("begin segment: %w", err)
		}
	}
	if seal != nil {
		h.ring = l.keys.ID()
	}
	b := h.append(nil)
	b = seal.append(b, kindState, h.base+segmentHeaderLen, h.salt, nil, state)
	name := segmentName(h.base)
	f, err := l.fsys.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			l.raise(h.base + 1)
		}
		return fmt.Errorf("begin segment %s: %w", name, err)
	}
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.fsys.SyncDir()
	}
	if err != nil {
		// If it cannot be removed either, Open will see that nothing whole is
		// in it; until then its name is not used again.
		if rerr := l.fsys.Remove(name); rerr != nil {
			l.raise(h.base + uint64(len(b)))
		}
		return errors.Join(fmt.Errorf("begin segment %s: %w", name, err), f.Close())
	}
	s := &segment{
		name: name, base: h.base, prevEnd: h.prevEnd, created: h.created, salt: h.salt, key: key, seal: seal,
		f: f, refs: 1, bytes: int64(len(b)), end: h.base + uint64(len(b)),
	}
	if last != nil {
		l.trim(last)
	}
	l.fmu.Lock()
	l.open++
	l.fmu.Unlock()
	l.active, l.file, l.fileSize = s, f, int64(len(b))
	l.mu.Lock()
	l.segs = append(l.segs, s)
	l.end = s.end
	l.mu.Unlock()
	return nil
}

// raise moves the next segment's base up.
func (l *Log) raise(base uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nextBase = max(l.nextBase, base)
}

// abandon leaves the active segment, behind whose durable records up to extra
// bytes of unknown state stand.
func (l *Log) abandon(extra int64) {
	s := l.active
	l.seal()
	l.mu.Lock()
	s.bytes = l.fileSize + extra
	l.nextBase = max(l.nextBase, s.base+uint64(s.bytes))
	l.mu.Unlock()
}

// seal ends the active segment.
func (l *Log) seal() {
	s := l.active
	if s == nil {
		return
	}
	l.active, l.file = nil, nil
	l.mu.Lock()
	s.sealed = true
	l.mu.Unlock()
	l.release(s)
}

// mark writes that everything before was durable.
func (l *Log) mark() error {
	b := l.active.seal.append(nil, kindMark, l.active.base+uint64(l.fileSize), l.active.salt, nil, nil)
	if err := l.put(b); err != nil {
		return full(fmt.Errorf("close log: %w", err))
	}
	l.mu.Lock()
	l.active.bytes += int64(len(b))
	l.active.end += uint64(len(b))
	l.mu.Unlock()
	l.seal()
	return nil
}

func full(err error) error {
	if vfs.IsFull(err) {
		return &FullError{err}
	}
	return err
}
