package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Dir opens the directory at path, which it makes, with its parents, when it
// is missing (mode 0700). Files cannot be reached outside of it.
func Dir(path string) (FS, error) {
	if err := makeDir(path); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open directory: %w", err)
	}
	return &dir{root: root}, nil
}

// makeDir is MkdirAll that syncs the parent of each directory it makes:
// without that a crash can lose the directory with all that is in it.
func makeDir(path string) error {
	if st, err := os.Stat(path); err == nil {
		if !st.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncPath(parent)
}

func syncPath(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

type dir struct{ root *os.Root }

func (d *dir) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := d.root.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (d *dir) Remove(name string) error     { return d.root.Remove(name) }
func (d *dir) Rename(from, to string) error { return d.root.Rename(from, to) }
func (d *dir) Path() string                 { return d.root.Name() }
func (d *dir) Close() error                 { return d.root.Close() }

func (d *dir) Names() ([]string, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, f.Close())
}

func (d *dir) SyncDir() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (d *dir) Sub(name string) (FS, error) {
	switch err := d.root.Mkdir(name, 0o700); {
	case err == nil:
		if err := d.SyncDir(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return &dir{root: root}, nil
}

func (d *dir) Free() (int64, error) {
	f, err := d.root.Open(".")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var st syscall.Statfs_t
	for {
		err := syscall.Fstatfs(int(f.Fd()), &st)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("fstatfs", err)
		}
		return int64(min(uint64(st.Bavail), math.MaxInt64/uint64(st.Bsize)) * uint64(st.Bsize)), nil
	}
}

// Lock holds an advisory lock (flock): the kernel lets it go with the process,
// so that no file needs deleting by hand after a kill.
func (d *dir) Lock(name string) (io.Closer, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		b := make([]byte, 32)
		n, _ := f.ReadAt(b, 0)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
		return nil, &LockedError{Path: d.root.Name(), PID: pid}
	}
	// Who holds it is a courtesy: a full disk must not keep us from starting.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

type file struct{ *os.File }

func (f file) Sync() error { return datasync(f.File) }

func (f file) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
