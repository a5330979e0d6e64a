package vfs_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := vfs.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
	if err := atomicfile.Write(d, "x", []byte("old content")); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(d, "x", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := atomicfile.Read(d, "x", 10); err != nil || string(b) != "new" {
		t.Error(string(b), err)
	}
	if _, err := atomicfile.Read(d, "x", 2); err == nil {
		t.Error("read more than the limit")
	}
	if _, err := atomicfile.Read(d, "y", 2); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{"x"}) {
		t.Error(names, err)
	}
	if _, err := d.OpenFile("../outside", os.O_CREATE|os.O_RDWR, 0o600); err == nil {
		t.Error("left the directory")
	}
	if err := d.Remove("x"); err != nil {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	path := t.TempDir()
	d, err := vfs.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lock, err := d.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	e, err := vfs.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Lock("lock")
	if le, ok := errors.AsType[*vfs.LockedError](err); !ok || le.PID != os.Getpid() || le.Path != path {
		t.Errorf("%v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := e.Lock("lock")
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestDirThatCannotBeMade(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, filepath.Join(file, "x")} {
		if _, err := vfs.Dir(p); err == nil {
			t.Errorf("%s is a directory", p)
		}
	}
}

func TestSub(t *testing.T) {
	path := t.TempDir()
	d, err := vfs.Dir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 { // made, then found
		s, err := d.Sub("sub")
		if err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.Write(s, "x", []byte("in")); err != nil {
			t.Error(err)
		}
		if _, err := s.OpenFile("../x", os.O_CREATE|os.O_RDWR, 0o600); err == nil {
			t.Error("left the directory")
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(path, "sub", "x")); err != nil || string(b) != "in" {
		t.Error(string(b), err)
	}
	if st, err := os.Stat(filepath.Join(path, "sub")); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
}

func TestFree(t *testing.T) {
	d, err := vfs.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.Free(); err != nil || n <= 0 {
		t.Error(n, err)
	}
}

func TestIsFull(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, &fs.PathError{Err: syscall.EDQUOT}} {
		if !vfs.IsFull(err) {
			t.Errorf("%v", err)
		}
	}
	if vfs.IsFull(nil) || vfs.IsFull(syscall.EIO) {
		t.Error("not full")
	}
}
