// Package vfs is the little of a file system that a durable log needs, as an
// interface: one directory, its files, and the syncs that make both last. It
// exists so that tests can let every one of these calls fail.
package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// FS is one directory. Names are plain file names.
type FS interface {
	// OpenFile is os.OpenFile.
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Remove(name string) error
	Rename(from, to string) error
	// Names lists what is in the directory, sorted.
	Names() ([]string, error)
	// SyncDir makes creations, renames and removals durable.
	SyncDir() error
	// Sub is the directory of that name in this one, made durably when it is
	// missing (mode 0700). It has a Close of its own.
	Sub(name string) (FS, error)
	// Lock takes the lock file name for this process until it is closed, or
	// fails with *LockedError.
	Lock(name string) (io.Closer, error)
	// Free is how many bytes more the disk has room for. Files may turn out
	// to take more or less.
	Free() (int64, error)
	// Path is the directory's path, for people to read.
	Path() string
	Close() error
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	// Sync makes the content and the length durable (fdatasync).
	Sync() error
	Size() (int64, error)
}

// IsFull says whether an error means that the disk, or a quota on it, has no
// room.
func IsFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// LockedError: another process has the directory.
type LockedError struct {
	Path string
	// PID of the holder, 0 when it is not known.
	PID int
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("directory %s is in use by another process", e.Path)
	}
	return fmt.Sprintf("directory %s is in use by process %d", e.Path, e.PID)
}
