package spool

import (
	"io/fs"
	"strings"

	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/internal/vfs"
)

// withFailpoints puts the places of room failpoint that are on the disk's side
// around a directory: after the write and the fsync of records, and after a
// segment was unlinked. A program that cannot fail on purpose gets d itself.
func withFailpoints(d vfs.FS) vfs.FS {
	if !failpoint.Enabled {
		return d
	}
	return failDir{d}
}

type failDir struct{ vfs.FS }

func (d failDir) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil || !isSegment(name) {
		return f, err
	}
	return &failFile{File: f}, nil
}

func (d failDir) Remove(name string) error {
	if err := d.FS.Remove(name); err != nil || !isSegment(name) {
		return err
	}
	return failpoint.Hit(failpoint.SpoolAfterUnlink)
}

func isSegment(name string) bool { return strings.HasSuffix(name, ".seg") }

// failFile is a segment. It is written to by one goroutine at a time.
type failFile struct {
	vfs.File
	// records: what was written last is records, not a new segment's header.
	records bool
}

func (f *failFile) WriteAt(b []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(b, at)
	f.records = at > 0
	if err == nil && f.records {
		err = failpoint.Hit(failpoint.SpoolAfterWrite)
	}
	return n, err
}

func (f *failFile) Sync() error {
	if err := f.File.Sync(); err != nil || !f.records {
		return err
	}
	f.records = false
	return failpoint.Hit(failpoint.SpoolAfterFsync)
}
