package vfs

import (
	"io/fs"
	"os"
	"syscall"
)

// ReadOnly is a directory in which nothing changes but its lock file. What is
// removed stays, and what is synced is believed to be; everything else that
// would write fails with EROFS.
func ReadOnly(d FS) FS { return readOnly{d} }

type readOnly struct{ FS }

func (d readOnly) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EROFS}
	}
	f, err := d.FS.OpenFile(name, os.O_RDONLY, perm)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f}, nil
}

func (d readOnly) Remove(string) error { return nil }

func (d readOnly) Rename(_, to string) error {
	return &fs.PathError{Op: "rename", Path: to, Err: syscall.EROFS}
}

func (d readOnly) SyncDir() error { return nil }

func (d readOnly) Sub(name string) (FS, error) {
	return nil, &fs.PathError{Op: "mkdir", Path: name, Err: syscall.EROFS}
}

type readOnlyFile struct{ File }

func (f readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, syscall.EROFS }
func (f readOnlyFile) Truncate(int64) error               { return syscall.EROFS }
func (f readOnlyFile) Sync() error                        { return nil }
