// Package spool is a bounded, durable queue on disk: a log (room seglog) with
// durable cursors for those who read it, and a limit with a declared way to
// keep it. Records are bytes to it.
//
// What it loses on purpose is declared in the log, and counted, durably before
// it is lost. A record that every cursor has passed is not a loss; its segment
// is removed.
package spool

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/ballast"
	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/internal/keyring"
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
	// stateBytes is room for some hundred cursors.
	stateBytes = 32 << 10
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
	// MaxBytes bounds the bytes of all segments. Notes (see AppendNotes) and
	// declarations may take a sixteenth more, so that a full spool can still
	// say so. A sixteenth, at most 16 MiB, stands by as ballast for when the
	// disk is full before the limit is reached.
	MaxBytes int64
	WhenFull WhenFull
	// Cursors names all who read. Cursors that the directory has beside these
	// are forgotten, so that they hold nothing back.
	Cursors []string
	// Count tells from a record's head how many things a loss of it loses.
	Count func(head []byte) uint64
	// Condense, when set, gives the records that declare what DropOldest is
	// about to lose. It gets the heads of the records of the oldest segment
	// that not every cursor has passed, declarations of before among them, and
	// reads all of them; none is kept. What it gives is durable before the
	// segment goes, behind the limit if need be; if it fails, or its records
	// cannot be written, nothing goes. It must not call the spool.
	Condense func(heads iter.Seq[[]byte]) ([]seglog.Record, error)
	// OnDrop, when set, is told what DropOldest lost for a cursor. It must be
	// quick and must not call the spool.
	OnDrop func(cursor string, lost Loss)
	// State is seglog's Options.State.
	State func() []byte
	// Master, when set, encrypts what is appended from now on, with keys that
	// stand in the spool's own directory (package keyring).
	Master *keyring.Master
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

// maxBallast is room for the declarations of some million batches.
const maxBallast = 16 << 20

// Spool is an open spool. It may be used by many goroutines at once.
type Spool struct {
	opt Options
	log *seglog.Log
	// dir is the log's, which closes it.
	dir vfs.FS

	stateLost bool
	// opened is how many bytes the segments had at Open.
	opened int64

	// roomMu lets one goroutine at a time make room.
	roomMu  sync.Mutex
	ballast *ballast.Ballast
	// removals counts that segments went.
	removals atomic.Uint64

	mu    sync.Mutex
	id    ID
	file  *slotfile.File
	state state
	// delivered has, by cursor, what Cursor.Delivered was given.
	delivered map[string]func(offset uint64) bool
	inflight  int64 // bytes of appends under way
	dirty     bool
	written   time.Time
	closed    bool
}

// state is what the slot file keeps.
type state struct {
	ID      []byte                  `json:"id"`
	Cursors map[string]*cursorState `json:"cursors"`
	// Floor: everything below it is dropped or read, and counted. What is
	// still there of it after a crash is removed without counting again.
	Floor uint64 `json:"floor"`
	// Blind is where the last segment ends that was dropped with records in
	// it whose heads nobody could read, and so nobody could declare.
	Blind uint64 `json:"blind,omitempty"`
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
	d = withFailpoints(d)
	s := &Spool{opt: opt, dir: d, delivered: map[string]func(uint64) bool{}}
	// The log's lock guards the whole directory, so it is opened first; only
	// then the state is read, which knows how high offsets have been.
	logOpt := seglog.Options{SegmentBytes: opt.SegmentBytes, State: opt.State, Now: opt.Now}
	if opt.Master != nil {
		logOpt.Keys = func(d vfs.FS) (*keyring.Ring, error) { return keyring.Open(d, opt.Master) }
	}
	log, err := seglog.OpenFS(d, logOpt)
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
	if value == nil && len(s.log.Segments()) > 0 { // it stood before the first segment
		s.stateLost = true
	}
	if value != nil {
		if err := json.Unmarshal(value, &s.state); err != nil {
			s.stateLost, s.state = true, state{}
		}
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
	s.opened = s.log.Bytes()
	s.written = s.opt.Now()
	s.ballast = ballast.New(s.dir, s.opt.Now, min(s.opt.MaxBytes/16, maxBallast))
	return s.ballast.Open()
}

// openID reads the spool's id, which stands in a file of its own, with its
// checksum, and in the state for the case that the file is gone or damaged.
func (s *Spool) openID() error {
	b, err := atomicfile.Read(s.dir, idName, 64)
	const n = len(s.id)
	switch {
	case err == nil && len(b) == n+4 && crc32.Checksum(b[:n], castagnoli) == binary.LittleEndian.Uint32(b[n:]):
		s.id = ID(b)
	case len(s.state.ID) == n:
		s.id = ID(s.state.ID)
		return s.writeID()
	case err == nil && len(b) == n: // before ids had a checksum
		s.id = ID(b)
		if err := s.writeID(); err != nil {
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

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (s *Spool) writeID() error {
	return atomicfile.Write(s.dir, idName, binary.LittleEndian.AppendUint32(s.id[:], crc32.Checksum(s.id[:], castagnoli)))
}

// makeID gives the spool a new id. s.mu is held, or nobody else has s yet.
func (s *Spool) makeID() error {
	old := s.id
	if _, err := io.ReadFull(rand.Reader, s.id[:]); err != nil {
		return fmt.Errorf("make id: %w", err)
	}
	// The file goes first: it is the one that is believed.
	if err := s.writeID(); err != nil {
		s.id = old
		return err
	}
	s.state.ID = s.id[:]
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

// persist writes the state. s.mu is held.
func (s *Spool) persist() error {
	b, err := json.Marshal(&s.state)
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	if err := s.file.Store(b); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := failpoint.Hit(failpoint.SpoolAfterCursorFsync); err != nil {
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
