// Package spool is a bounded, durable queue on disk: a log (room seglog) with
// durable cursors for those who read it, and a limit with a declared way to
// keep it. Records are bytes to it.
//
// What it loses on purpose is counted durably before it is lost. A record that
// every cursor has passed is not a loss; its segment is removed.
package spool

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"sync"
	"time"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/slotfile"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
)

// WhenFull says what goes when the limit is reached.
type WhenFull string

// The policies.
const (
	// DropOldest removes the oldest segment, read or not.
	DropOldest WhenFull = "drop_oldest"
	// DropNewest refuses new records with ErrFull.
	DropNewest WhenFull = "drop_newest"
)

const (
	idName    = "id"
	stateName = "state"
	// stateBytes is room for some hundred cursors and reasons.
	stateBytes = 32 << 10
	// maxReasons bounds the words of CountDropped.
	maxReasons = 64
	// persistEvery is how old a cursor on disk may get while nothing else
	// makes it be written. A lost advance costs only a repeated read.
	persistEvery = time.Second
)

// ErrFull: DropNewest, and there is no room.
var ErrFull = errors.New("spool is full")

// ID names a spool for as long as its directory lives and is not found to be a
// copy (Renew). Offsets mean nothing without it.
type ID [16]byte

// Options of a spool.
type Options struct {
	// MaxBytes bounds the bytes of all segments. Notes (see AppendNote) may
	// take a sixteenth more, so that a full spool can still say so.
	MaxBytes int64
	WhenFull WhenFull
	// Cursors names all who read. Cursors that the directory has beside these
	// are forgotten, so that they hold nothing back.
	Cursors []string
	// Count tells from a record's head how many things a loss of it loses.
	Count func(head []byte) uint64
	// OnDrop, when set, is told what DropOldest lost for a cursor. It must be
	// quick and must not call the spool.
	OnDrop func(cursor string, lost Loss)
	// State is seglog's Options.State.
	State func() []byte
	// SegmentBytes is seglog's; 0 follows MaxBytes.
	SegmentBytes int64
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Loss counts what was dropped. Cumulative over restarts.
type Loss struct {
	Records uint64 `json:"records"`
	// Things is the sum of Options.Count.
	Things uint64 `json:"things"`
}

func (l *Loss) add(o Loss) { l.Records += o.Records; l.Things += o.Things }

// Spool is an open spool. It may be used by many goroutines at once.
type Spool struct {
	opt Options
	log *seglog.Log
	// dir is the log's, which closes it.
	dir vfs.FS

	stateLost bool

	// roomMu lets one goroutine at a time make room.
	roomMu sync.Mutex

	mu       sync.Mutex
	id       ID
	file     *slotfile.File
	state    state
	inflight int64 // bytes of appends under way
	dirty    bool
	written  time.Time
	closed   bool
}

// state is what the slot file keeps.
type state struct {
	ID      []byte                  `json:"id"`
	Cursors map[string]*cursorState `json:"cursors"`
	Dropped map[string]Loss         `json:"dropped"`
	// Floor: everything below it is dropped or read, and counted. What is
	// still there of it after a crash is removed without counting again.
	Floor uint64 `json:"floor"`
}

type cursorState struct {
	Offset uint64 `json:"offset"`
	// Lost is what was dropped before this cursor had passed it.
	Lost Loss `json:"lost"`
}

// Open opens the spool in dir, which it makes when it is missing.
func Open(dir string, opt Options) (*Spool, error) {
	d, err := vfs.Dir(dir)
	if err != nil {
		return nil, err
	}
	return OpenFS(d, opt)
}

// OpenFS is Open on a file system of the caller's, which the spool closes.
func OpenFS(d vfs.FS, opt Options) (*Spool, error) {
	if opt.MaxBytes <= 0 {
		return nil, errors.Join(fmt.Errorf("open spool: limit of %d bytes", opt.MaxBytes), d.Close())
	}
	if opt.SegmentBytes <= 0 {
		// Small enough that the oldest sixteenth is what goes at a time.
		opt.SegmentBytes = min(max(opt.MaxBytes/16, 64<<10), seglog.DefaultSegmentBytes)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Count == nil {
		opt.Count = func([]byte) uint64 { return 0 }
	}
	s := &Spool{opt: opt, dir: d}
	// The log's lock guards the whole directory, so it is opened first; only
	// then the state is read, which knows how high offsets have been.
	log, err := seglog.OpenFS(d, seglog.Options{SegmentBytes: opt.SegmentBytes, State: opt.State, Now: opt.Now})
	if err != nil {
		return nil, err
	}
	s.log = log
	if err := s.open(); err != nil {
		if s.file != nil {
			err = errors.Join(err, s.file.Close())
		}
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), log.Close())
	}
	return s, nil
}

func (s *Spool) open() error {
	file, value, err := slotfile.Open(s.dir, stateName, stateBytes)
	if errors.Is(err, slotfile.ErrDamaged) {
		s.stateLost, err = true, nil
	}
	if err != nil {
		return err
	}
	s.file = file
	if value != nil {
		if err := json.Unmarshal(value, &s.state); err != nil {
			s.stateLost, s.state = true, state{}
		}
	}
	if s.state.Dropped == nil {
		s.state.Dropped = map[string]Loss{}
	}
	old := s.state.Cursors
	s.state.Cursors = make(map[string]*cursorState, len(s.opt.Cursors))
	high := s.state.Floor
	for _, c := range old {
		high = max(high, c.Offset)
	}
	// Offsets that a reader has seen are never given out again, whatever the
	// log's own files may have lost.
	if err := s.log.SkipTo(high); err != nil {
		return err
	}
	for _, name := range s.opt.Cursors {
		c := old[name]
		if c == nil {
			c = &cursorState{Offset: s.log.Oldest()}
		}
		s.state.Cursors[name] = c
	}
	if err := s.openID(); err != nil {
		return err
	}
	if err := s.log.RemoveBefore(s.state.Floor); err != nil {
		return err
	}
	s.written = s.opt.Now()
	return nil
}

// openID reads the spool's id, which stands in a file of its own for people
// and in the state for the case that the file is gone.
func (s *Spool) openID() error {
	b, err := atomicfile.Read(s.dir, idName, 64)
	switch {
	case err == nil && len(b) == len(s.id):
		s.id = ID(b)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case len(s.state.ID) == len(s.id):
		s.id = ID(s.state.ID)
		if err := atomicfile.Write(s.dir, idName, s.id[:]); err != nil {
			return err
		}
	default:
		return s.makeID()
	}
	if string(s.state.ID) == string(s.id[:]) {
		return nil
	}
	s.state.ID = s.id[:]
	return s.persist()
}

// makeID gives the spool a new id. s.mu is held, or nobody else has s yet.
func (s *Spool) makeID() error {
	var id ID
	if _, err := io.ReadFull(rand.Reader, id[:]); err != nil {
		return fmt.Errorf("make id: %w", err)
	}
	// The file goes first: it is the one that is believed.
	if err := atomicfile.Write(s.dir, idName, id[:]); err != nil {
		return err
	}
	s.id, s.state.ID = id, id[:]
	return s.persist()
}

// ID is the spool's id.
func (s *Spool) ID() ID {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// Renew gives the spool another id, for one whose directory is an older copy:
// its offsets mean something else to those who know it by the id that it had.
func (s *Spool) Renew() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return seglog.ErrClosed
	}
	if err := s.makeID(); err != nil {
		return fmt.Errorf("renew spool: %w", err)
	}
	return nil
}

// StateLost tells that cursors and counts could not be read at Open and began
// again.
func (s *Spool) StateLost() bool { return s.stateLost }

// Log is the log, for reading: LastState, Records, Recovery and offsets.
func (s *Spool) Log() *seglog.Log { return s.log }

// MaxBytes is the limit.
func (s *Spool) MaxBytes() int64 { return s.opt.MaxBytes }

// Append makes records durable, all or none. When the limit is reached it
// first drops the oldest segment or, by the other policy, fails with ErrFull.
// Every other error is the disk's; see seglog's Append.
func (s *Spool) Append(records ...seglog.Record) (next uint64, err error) {
	var n int64
	for _, r := range records {
		n += recordBytes(r)
	}
	if err := s.reserve(n); err != nil {
		return 0, err
	}
	next, err = s.log.Append(records...)
	s.mu.Lock()
	s.inflight -= n
	s.mu.Unlock()
	return next, err
}

// AppendNote is Append for a small record that says what a larger one would
// have held. It may use the room behind the limit, and drops nothing: ErrFull
// when that is used up too.
func (s *Spool) AppendNote(r seglog.Record) (next uint64, err error) {
	n := recordBytes(r)
	s.mu.Lock()
	if s.log.Bytes()+s.inflight+n > s.opt.MaxBytes+s.opt.MaxBytes/16 {
		s.mu.Unlock()
		return 0, ErrFull
	}
	s.inflight += n
	s.mu.Unlock()
	next, err = s.log.Append(r)
	s.mu.Lock()
	s.inflight -= n
	s.mu.Unlock()
	return next, err
}

func recordBytes(r seglog.Record) int64 { return int64(len(r.Head) + len(r.Body) + 64) }

// reserve makes room for n bytes, or fails.
func (s *Spool) reserve(n int64) error {
	if s.take(n) {
		return nil
	}
	if n > s.opt.MaxBytes { // dropping everything would not help
		return ErrFull
	}
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	// Somebody else may have made room meanwhile; and what everybody has read
	// goes before anything is dropped.
	if s.take(n) {
		return nil
	}
	if err := s.trim(); err != nil {
		return err
	}
	for {
		if s.take(n) {
			return nil
		}
		if s.opt.WhenFull != DropOldest {
			return ErrFull
		}
		dropped, err := s.dropOldest()
		if err != nil {
			return fmt.Errorf("drop oldest segment: %w", err)
		}
		if !dropped {
			return ErrFull
		}
	}
}

func (s *Spool) take(n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Bytes()+s.inflight+n > s.opt.MaxBytes {
		return false
	}
	s.inflight += n
	return true
}

// dropOldest removes the oldest segment. The count of what that loses is
// durable before the segment is gone.
func (s *Spool) dropOldest() (bool, error) {
	segs := s.log.Segments()
	if len(segs) < 2 { // the newest always stays
		return false, nil
	}
	end := segs[0].End
	if !segs[0].Sealed {
		return false, nil
	}
	var lost map[string]Loss
	for counted := false; !counted; {
		at := s.below(end)
		var err error
		if lost, err = s.lossBefore(end, at); err != nil {
			return false, err
		}
		s.mu.Lock()
		// One that has gone on meanwhile has read some of what was counted.
		counted = true
		for name, offset := range at {
			counted = counted && s.state.Cursors[name].Offset == offset
		}
		if !counted {
			s.mu.Unlock()
		}
	}
	for name, l := range lost {
		c := s.state.Cursors[name]
		c.Lost.add(l)
		c.Offset = end
	}
	s.state.Floor = max(s.state.Floor, end)
	err := s.persist()
	s.mu.Unlock()
	if err != nil {
		return false, err
	}
	if s.opt.OnDrop != nil {
		for name, l := range lost {
			s.opt.OnDrop(name, l)
		}
	}
	return true, s.log.RemoveBefore(end)
}

// below gives the cursors that stand below end, and where.
func (s *Spool) below(end uint64) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := make(map[string]uint64, len(s.state.Cursors))
	for name, c := range s.state.Cursors {
		if c.Offset < end {
			at[name] = c.Offset
		}
	}
	return at
}

// lossBefore counts, for each cursor of at, what stands from it on below end.
func (s *Spool) lossBefore(end uint64, at map[string]uint64) (map[string]Loss, error) {
	lost := make(map[string]Loss, len(at))
	if len(at) == 0 {
		return lost, nil
	}
	for name := range at {
		lost[name] = Loss{}
	}
	from := end
	for _, o := range at {
		from = min(from, o)
	}
	for e, err := range s.log.Heads(from) {
		offset, head := e.Offset, e.Head
		if err != nil {
			ce, ok := errors.AsType[*seglog.CorruptError](err)
			if !ok {
				if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
					continue
				}
				return nil, err
			}
			offset, head = ce.Offset, ce.Head
		}
		if offset >= end {
			break
		}
		var things uint64
		if head != nil {
			things = s.opt.Count(head)
		}
		for name, o := range at {
			if offset >= o {
				l := lost[name]
				l.add(Loss{1, things})
				lost[name] = l
			}
		}
	}
	return lost, nil
}

// CountDropped counts durably what was not appended, under a reason of a
// small, fixed set of words.
func (s *Spool) CountDropped(reason string, l Loss) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.state.Dropped[reason]
	if !known && len(s.state.Dropped) >= maxReasons {
		return fmt.Errorf("count dropped: more than %d reasons", maxReasons)
	}
	sum := old
	sum.add(l)
	s.state.Dropped[reason] = sum
	if err := s.persist(); err != nil {
		s.state.Dropped[reason] = old
		return fmt.Errorf("count dropped: %w", err)
	}
	return nil
}

// Dropped is what CountDropped counted, by reason.
func (s *Spool) Dropped() map[string]Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.state.Dropped)
}

// Cursor is one of Options.Cursors, or nil.
func (s *Spool) Cursor(name string) *Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Cursors[name] == nil {
		return nil
	}
	return &Cursor{s, name}
}

// Cursor is a place in the spool that survives restarts. It may be used by
// many goroutines at once.
type Cursor struct {
	s    *Spool
	name string
}

// Offset is where the cursor stands: everything below it is done with.
func (c *Cursor) Offset() uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.state.Cursors[c.name].Offset
}

// Lost is what was dropped before the cursor had passed it.
func (c *Cursor) Lost() Loss {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.state.Cursors[c.name].Lost
}

// Advance moves the cursor up to offset; a smaller one is ignored. It removes
// the segments that nobody needs any more, after the cursor is durable.
func (c *Cursor) Advance(offset uint64) error {
	s := c.s
	s.mu.Lock()
	st := s.state.Cursors[c.name]
	if offset <= st.Offset {
		s.mu.Unlock()
		return nil
	}
	st.Offset, s.dirty = offset, true
	old := s.opt.Now().Sub(s.written) >= persistEvery
	s.mu.Unlock()

	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if err := s.trim(); err != nil {
		return err
	}
	if !old {
		return nil
	}
	return s.Flush()
}

// trim removes what every cursor has passed.
func (s *Spool) trim() error {
	s.mu.Lock()
	low := s.log.Next()
	for _, c := range s.state.Cursors {
		low = min(low, c.Offset)
	}
	n := len(s.state.Cursors)
	s.mu.Unlock()
	segs := s.log.Segments()
	if n == 0 || len(segs) < 2 || !segs[0].Sealed || segs[0].End > low {
		return nil
	}
	if err := s.Flush(); err != nil {
		return err
	}
	return s.log.RemoveBefore(low)
}

// Flush makes cursors durable.
func (s *Spool) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	return s.persist()
}

// persist writes the state. s.mu is held.
func (s *Spool) persist() error {
	b, err := json.Marshal(&s.state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := s.file.Store(b); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	s.dirty, s.written = false, s.opt.Now()
	return nil
}

// Close flushes the cursors and closes the log.
func (s *Spool) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	var err error
	if s.dirty {
		err = s.persist()
	}
	s.mu.Unlock()
	return errors.Join(err, s.log.Close(), s.file.Close())
}
