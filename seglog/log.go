package seglog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/vfs"
)

const (
	lockName = "lock"
	// A group is what one write and one fsync make durable. Its limits keep
	// the buffer small and the wait short; a single larger append passes.
	maxGroupBytes    = 8 << 20
	maxGroupRequests = 1024
	// keepBuffer is how much of the group's buffer outlives a group.
	keepBuffer = 4 << 20
	// maxIdleFiles bounds the files that are kept open for readers.
	maxIdleFiles = 16
)

// Log is an open log.
type Log struct {
	fsys vfs.FS
	lock io.Closer
	opt  Options

	// The leader is the one goroutine that may change the files. Everybody
	// else who wants to waits in pending; when the leader is done it makes
	// the first of them the leader. That is what groups concurrent appends.
	// Fields of the leader:
	active   *segment // nil: the next group begins a segment
	file     vfs.File // active's
	fileSize int64    // active's, up to its last durable record
	buf      []byte

	mu       sync.Mutex
	nextBase uint64 // lower bound of the next segment's base
	pending  []*request
	leading  bool
	closed   bool
	segs     []*segment    // ascending; the last may be active
	end      uint64        // where the durable records end
	grown    chan struct{} // closed when end grows or the log is closed
	recovery Recovery

	// qmu lets one Quarantine at a time make room.
	qmu sync.Mutex

	fmu  sync.Mutex
	open int // files held by segments
	tick uint64
}

// segment is one file. Its fields are guarded by Log.mu; those of the handle
// by Log.fmu.
type segment struct {
	name    string
	base    uint64
	end     uint64
	prevEnd uint64
	bytes   int64
	created time.Time
	salt    uint32
	anySalt bool
	sealed  bool

	f       vfs.File
	refs    int
	used    uint64
	removed bool
}

type request struct {
	records []Record
	op      func() error // instead of records; runs alone
	next    uint64
	err     error
	// wake gets true when the waiter becomes the leader and false when its
	// request was done by another.
	wake chan bool
}

// Open opens the log in dir, which it makes when it is missing. A torn tail
// is cut. The directory is locked: a second Open fails with *vfs.LockedError,
// which says who has it.
func Open(dir string, opt Options) (*Log, error) {
	fsys, err := vfs.Dir(dir)
	if err != nil {
		return nil, err
	}
	return OpenFS(fsys, opt)
}

// OpenFS is Open on a file system of the caller's. The log owns it from here
// on and closes it, also when OpenFS fails.
func OpenFS(fsys vfs.FS, opt Options) (*Log, error) {
	if opt.SegmentBytes <= 0 {
		opt.SegmentBytes = DefaultSegmentBytes
	}
	if opt.SegmentAge <= 0 {
		opt.SegmentAge = DefaultSegmentAge
	}
	if opt.QuarantineBytes <= 0 {
		opt.QuarantineBytes = DefaultQuarantineBytes
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	lock, err := fsys.Lock(lockName)
	if err != nil {
		return nil, errors.Join(err, fsys.Close())
	}
	l := &Log{fsys: fsys, lock: lock, opt: opt, grown: make(chan struct{})}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), l.closeFiles())
	}
	return l, nil
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

// Close waits for appends under way and marks the log as closed in order.
// Readers get ErrClosed from then on.
func (l *Log) Close() error {
	req := &request{op: func() error {
		var err error
		if l.active != nil {
			err = l.mark()
		}
		l.mu.Lock()
		l.closed = true
		close(l.grown)
		l.mu.Unlock()
		return errors.Join(err, l.closeFiles())
	}}
	l.do(req)
	if errors.Is(req.err, ErrClosed) {
		return nil
	}
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
	if l.active == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	base, salt := l.active.base, l.active.salt
	offset := base + uint64(l.fileSize)
	b := l.buf[:0]
	for _, r := range group {
		for _, rec := range r.records {
			b = appendRecord(b, kindData, offset+uint64(len(b)), salt, rec.Head, rec.Body)
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
			next := at + recordHeaderLen + uint64(len(rec.Head)) + uint64(len(rec.Body))
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
	l.mu.Lock()
	h := segmentHeader{base: max(l.nextBase, l.end), prevEnd: l.end, created: l.opt.Now(), salt: rand.Uint32()}
	var last *segment
	if n := len(l.segs); n > 0 {
		last = l.segs[n-1]
		if h.base <= last.base { // an empty one before it, that could not be removed
			h.base = last.base + 1
		}
	}
	l.mu.Unlock()

	b := h.append(nil)
	b = appendRecord(b, kindState, h.base+segmentHeaderLen, h.salt, nil, state)
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
		name: name, base: h.base, prevEnd: h.prevEnd, created: h.created, salt: h.salt,
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

// trim cuts what stands behind the last record of a segment that is done. The
// next segment's header says already that it is no record, so that this only
// gives back room and may fail.
func (l *Log) trim(s *segment) {
	l.mu.Lock()
	size := int64(s.end - s.base)
	long := s.bytes > size
	l.mu.Unlock()
	if !long {
		return
	}
	f, err := l.fsys.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	if f.Truncate(size) == nil {
		l.mu.Lock()
		s.bytes = size
		l.mu.Unlock()
	}
	_ = f.Close()
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
	b := appendRecord(nil, kindMark, l.active.base+uint64(l.fileSize), l.active.salt, nil, nil)
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

// Recovery says what Open had to do.
func (l *Log) Recovery() Recovery { return l.recovery }

// Oldest is the smallest offset that a record may have.
func (l *Log) Oldest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segs) == 0 {
		return max(l.end, l.nextBase)
	}
	return l.segs[0].base
}

// Next is where the next record will stand at the earliest; every record
// below it is durable.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.end, l.nextBase)
}

// End is where the durable records end: a reader that is there has read all.
func (l *Log) End() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Bytes is the length of all files.
func (l *Log) Bytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for _, s := range l.segs {
		n += s.bytes
	}
	return n
}

// Segments lists the files, oldest first.
func (l *Log) Segments() []SegmentInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	infos := make([]SegmentInfo, len(l.segs))
	for i, s := range l.segs {
		infos[i] = SegmentInfo{Name: s.name, Base: s.base, End: s.end, Bytes: s.bytes, Created: s.created, Sealed: s.sealed}
	}
	return infos
}

// RemoveBefore unlinks the sealed segments that end at or before offset, the
// oldest first, and syncs the directory.
func (l *Log) RemoveBefore(offset uint64) error {
	removed := false
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		var s *segment
		// The newest stays even when it is sealed: it knows where offsets and
		// the state stand.
		if len(l.segs) > 1 && l.segs[0].sealed && l.segs[0].end <= offset {
			s = l.segs[0]
		}
		l.mu.Unlock()
		if s == nil {
			break
		}
		if err := l.fsys.Remove(s.name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove segment: %w", err)
		}
		removed = true
		l.mu.Lock()
		if len(l.segs) > 0 && l.segs[0] == s {
			l.segs = append([]*segment(nil), l.segs[1:]...)
		}
		l.mu.Unlock()
		l.forget(s)
	}
	if !removed {
		return nil
	}
	if err := l.fsys.SyncDir(); err != nil {
		return fmt.Errorf("remove segment: sync directory: %w", err)
	}
	return nil
}

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
			if !yield(e, err) || err != nil && !isDamage(err) {
				return
			}
		}
	}
}

func isDamage(err error) bool {
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
	return Entry{Offset: at, Next: rec.next, Head: rec.head, Body: rec.body, BodyLen: int(rec.bodyLen)}
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

func (l *Log) holds(s *segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.segs, s)
}

// view opens a segment for reading; the caller releases it.
func (l *Log) view(s *segment) (view, error) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	if s.f == nil {
		if l.open >= maxIdleFiles {
			l.closeIdle()
		}
		f, err := l.fsys.OpenFile(s.name, os.O_RDONLY, 0)
		if err != nil {
			return view{}, fmt.Errorf("open segment: %w", err)
		}
		s.f = f
		l.open++
	}
	s.refs++
	l.mu.Lock()
	defer l.mu.Unlock()
	return view{name: s.name, f: s.f, base: s.base, end: s.end, salt: s.salt, anySalt: s.anySalt}, nil
}

// closeIdle closes the file that nobody has used for the longest time.
func (l *Log) closeIdle() {
	l.mu.Lock()
	var oldest *segment
	for _, s := range l.segs {
		if s.f != nil && s.refs == 0 && (oldest == nil || s.used < oldest.used) {
			oldest = s
		}
	}
	l.mu.Unlock()
	if oldest != nil {
		l.closeHandle(oldest)
	}
}

func (l *Log) closeHandle(s *segment) {
	_ = s.f.Close() // only read from, or synced before
	s.f = nil
	l.open--
}

// release gives back what view held, or seal.
func (l *Log) release(s *segment) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	l.tick++
	s.used = l.tick
	if s.refs--; s.refs == 0 && s.f != nil && (s.removed || l.open > maxIdleFiles) {
		l.closeHandle(s)
	}
}

// forget closes the file of a removed segment once nobody reads it.
func (l *Log) forget(s *segment) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	s.removed = true
	if s.refs == 0 && s.f != nil {
		l.closeHandle(s)
	}
}

// closeFiles closes everything but the files that a reader holds; those go
// with their last reader.
func (l *Log) closeFiles() error {
	if s := l.active; s != nil {
		l.seal()
	}
	l.mu.Lock()
	segs := l.segs
	l.mu.Unlock()
	for _, s := range segs {
		l.forget(s)
	}
	return errors.Join(l.fsys.Close(), l.lock.Close())
}
