// Package seglog is a durable log of byte records in segment files. The
// forwarder's spool and the analyzer's store are both built on it; it knows
// nothing of what the bytes mean. FORMAT.md draws what is on the disk.
//
// A record is a head and a body, each with a checksum of its own, behind a
// checksummed header: one flipped bit in a body costs that body, and the head
// still says what was in it. A record's offset is its place in the log, in
// bytes; offsets only grow, also over restarts, torn tails and removed
// segments, and there may be holes between them.
//
// A Log may be used by many goroutines at once. It starts none.
package seglog

import (
	"errors"
	"fmt"
	"time"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
)

// Limits and defaults.
const (
	// MaxRecordBytes bounds head plus body of one record.
	MaxRecordBytes = 64 << 20
	// MaxHeadBytes bounds the head of one record, and a segment's state.
	MaxHeadBytes = 16 << 20
	// DefaultSegmentBytes and DefaultSegmentAge are when a segment is closed
	// and the next one begun.
	DefaultSegmentBytes = 64 << 20
	DefaultSegmentAge   = time.Hour
	// DefaultQuarantineBytes is what quarantined files may take.
	DefaultQuarantineBytes = 64 << 20
)

// Options of a log. The zero value is usable.
type Options struct {
	// SegmentBytes and SegmentAge close a segment; 0 is the default. A
	// segment may be longer by the last group of records.
	SegmentBytes int64
	SegmentAge   time.Duration
	// State, when set, gives the bytes that stand at the head of every new
	// segment: what must be remembered of the records before it, so that it
	// outlives them. It is called after Committed of every record before the
	// segment and of none after. Appends wait for it: it must be quick and
	// must not append. At most MaxHeadBytes.
	State func() []byte
	// MinNext is the smallest offset that the next record may get, for an
	// owner who knows of records that the files may have lost.
	MinNext uint64
	// QuarantineBytes bounds what Quarantine keeps; 0 is the default.
	QuarantineBytes int64
	// Keys, when set, opens the keys with which everything is encrypted that is
	// written from now on; what was written before stays as it is. It is called
	// once the log's lock is held, with the log's directory. A ring that it
	// gives belongs to this log alone: keys of days that no segment is of any
	// more are shredded. nil, and a nil ring: nothing is encrypted. Whoever
	// opens a log with encrypted segments needs their keys: *EncryptedError.
	Keys func(vfs.FS) (*keyring.Ring, error)
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Record is what Append takes. The log does not keep Head or Body.
type Record struct {
	Head, Body []byte
	// Committed, when set, is called once the record is durable, before
	// Append returns, in the order of offsets, and before the State of any
	// later segment is asked for, and before a reader sees the record. Appends
	// wait for it: it must be quick and must not append. It is not called when
	// Append fails.
	Committed func(offset, next uint64)
}

// Entry is one record as it is read. The caller owns its bytes.
type Entry struct {
	// Offset is where the record stands, Next where the one after it may:
	// reading goes on there.
	Offset, Next uint64
	Head         []byte
	// Body is nil where only heads were asked for; BodyLen tells its length.
	Body    []byte
	BodyLen int
}

// SegmentInfo describes one file of the log.
type SegmentInfo struct {
	Name string
	// Base is the offset of the file's first byte; End is where its durable
	// records end.
	Base, End uint64
	// Bytes is the file's length.
	Bytes int64
	// Created is from the file's header; zero when that is damaged.
	Created time.Time
	// Sealed: no record will be added.
	Sealed bool
	// Key is the id of the key that it is encrypted with; 0: it is not. Gone:
	// that was shredded, and nothing in it can be read.
	Key  uint16
	Gone bool
}

// Recovery says what Open had to do.
type Recovery struct {
	// CutBytes were removed from the end of the newest segment, because they
	// were not a whole record and nothing whole came after them.
	CutBytes int64
	// CutHeads are the heads, where readable, of the records that were cut.
	CutHeads [][]byte
	// Clean: the log had been closed, so that whatever cannot be read in it
	// was damaged later.
	Clean bool
}

var (
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("log is closed")
	// ErrTooLarge: a record is over MaxRecordBytes or its head over
	// MaxHeadBytes.
	ErrTooLarge = errors.New("record is too large")
	// ErrEnd: a reader that does not wait has read everything durable.
	ErrEnd = errors.New("end of log")
)

// CorruptError is a stretch of the log that cannot be read. Reading goes on
// at Next.
type CorruptError struct {
	// Segment is the file's name.
	Segment      string
	Offset, Next uint64
	// Part is what is damaged: "header", "head", "body", or "file" when a file
	// or the end of one is missing. With "header" and "file" the stretch may
	// have held more than one record.
	Part string
	// Head is the record's head when that is whole.
	Head []byte
	// Err is what the disk said when it would not read the part.
	Err error
}

func (e *CorruptError) Error() string {
	text := fmt.Sprintf("read segment %s: damaged %s of the record at offset %d (%d bytes)", e.Segment, e.Part, e.Offset, e.Next-e.Offset)
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

func (e *CorruptError) Unwrap() error { return e.Err }

// RemovedError: the records in [From, To) were removed before they were read,
// or their key was.
// Reading goes on at To.
type RemovedError struct{ From, To uint64 }

func (e *RemovedError) Error() string {
	return fmt.Sprintf("read log: offsets %d to %d were removed", e.From, e.To)
}

// FullError: there was no room on the disk. Nothing of the records was kept;
// the log goes on working, and takes records again once there is room.
type FullError struct{ Err error }

func (e *FullError) Error() string { return "disk is full: " + e.Err.Error() }
func (e *FullError) Unwrap() error { return e.Err }
