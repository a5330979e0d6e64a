package seglog

import (
	"context"
	"errors"
	"iter"

	"github.com/weir-capture/weir/internal/vfs"
)

var errNotYet = errors.New("not written yet")

// Log is an open log.
type Log struct{}

// Open opens the log in dir, which it makes when it is missing. A torn tail
// is cut. The directory is locked: a second Open fails with *vfs.LockedError,
// which says who has it.
func Open(dir string, opt Options) (*Log, error) { return nil, errNotYet }

// OpenFS is Open on a file system of the caller's; the log closes it.
func OpenFS(fsys vfs.FS, opt Options) (*Log, error) { return nil, errNotYet }

// Append writes records one after another and returns when they are durable,
// with the offset after the last. All of them are kept or none. Concurrent
// calls share one write and one fsync.
func (l *Log) Append(records ...Record) (next uint64, err error) { return 0, errNotYet }

// Rotate ends the current segment; the next record begins a new one.
func (l *Log) Rotate() error { return errNotYet }

// SkipTo makes the next record's offset at least offset.
func (l *Log) SkipTo(offset uint64) error { return errNotYet }

// LastState is the newest state that is whole (see Options.State), and the
// offset from which on the records are not in it. A nil state begins at
// Oldest.
func (l *Log) LastState() (state []byte, from uint64, err error) { return nil, 0, errNotYet }

// Recovery says what Open had to do.
func (l *Log) Recovery() Recovery { return Recovery{} }

// Oldest is the smallest offset that a record may have.
func (l *Log) Oldest() uint64 { return 0 }

// Next is where the next record will stand at the earliest; every record
// below it is durable.
func (l *Log) Next() uint64 { return 0 }

// Bytes is the length of all files.
func (l *Log) Bytes() int64 { return 0 }

// Segments lists the files, oldest first.
func (l *Log) Segments() []SegmentInfo { return nil }

// RemoveBefore unlinks the sealed segments that end at or before offset and
// syncs the directory.
func (l *Log) RemoveBefore(offset uint64) error { return errNotYet }

// ReadAt reads the record at offset.
func (l *Log) ReadAt(offset uint64) (Entry, error) { return Entry{}, errNotYet }

// Records yields the records from an offset on to what is durable now. A
// *CorruptError or *RemovedError is yielded in its place and does not end the
// sequence; any other error does.
func (l *Log) Records(from uint64) iter.Seq2[Entry, error] { return nil }

// Heads is Records without bodies, which it neither reads nor checks.
func (l *Log) Heads(from uint64) iter.Seq2[Entry, error] { return nil }

// Reader reads from an offset on and follows the log's end.
func (l *Log) Reader(from uint64) *Reader { return nil }

// Close waits for appends under way and marks the log as closed in order.
func (l *Log) Close() error { return errNotYet }

// Reader follows a log. It is for one goroutine.
type Reader struct{}

// Next is the next record; it waits for one until ctx ends. After a
// *CorruptError or *RemovedError it goes on behind the damage; it returns
// ErrClosed when the log was closed and read to its end.
func (r *Reader) Next(ctx context.Context) (Entry, error) { return Entry{}, errNotYet }

// TryNext is Next without waiting: ErrEnd when there is none.
func (r *Reader) TryNext() (Entry, error) { return Entry{}, errNotYet }

// Offset is where the next read begins.
func (r *Reader) Offset() uint64 { return 0 }
