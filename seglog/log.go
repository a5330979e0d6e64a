package seglog

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
)

const lockName = "lock"

// Log is an open log.
type Log struct {
	fsys vfs.FS
	lock io.Closer
	opt  Options
	// keys encrypt; nil: nothing does.
	keys *keyring.Ring

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
	// key is the id of what it is encrypted with, 0 where it is not; gone: that
	// was shredded. seal is nil where it is gone, or not encrypted.
	key  uint16
	seal *sealer
	gone bool

	f       vfs.File
	refs    int
	used    uint64
	removed bool
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
	if opt.Keys != nil {
		if l.keys, err = opt.Keys(fsys); err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), l.closeFiles())
		}
	}
	if err := l.recover(); err != nil {
		return nil, errors.Join(fmt.Errorf("open log: %w", err), l.closeFiles())
	}
	return l, nil
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
		infos[i] = SegmentInfo{Name: s.name, Base: s.base, End: s.end, Bytes: s.bytes, Created: s.created, Sealed: s.sealed, Key: s.key, Gone: s.gone}
	}
	return infos
}
