package ring

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-capture/weir/internal/vfs"
)

// lockFile says that a directory is in use: that of a ring for as long as its
// process lives, the one above while a ring is made or swept away.
const lockFile = "lock"

// nameLen is the length of a ring's name: 128 bits as hexadecimal digits.
const nameLen = 32

// Swept says what ended processes had left and was removed.
type Swept struct {
	Rings int
	Bytes int64
	// Err is why something could not be removed. It keeps nobody from making
	// a ring.
	Err error
}

// Open makes a ring of at most limit bytes in the directory name below dir.
// Several processes may share dir; each has a name of its own, 32 lower-case
// hexadecimal digits that no process had before. What ended processes left
// there is removed: nobody can read it any more. A *vfs.LockedError says that
// another process is at that right now.
func Open(dir, name string, limit int64) (_ *Ring, swept Swept, err error) {
	if !isName(name) {
		return nil, swept, fmt.Errorf("open ring: %q is not a ring's name", name)
	}
	above, err := vfs.Dir(dir)
	if err != nil {
		return nil, swept, fmt.Errorf("open ring: %w", err)
	}
	defer func() { err = errors.Join(err, above.Close()) }()
	// A ring that is made and not locked yet looks like one of a dead process.
	lock, err := above.Lock(lockFile)
	if err != nil {
		return nil, swept, fmt.Errorf("open ring: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	swept = sweep(above)
	path := filepath.Join(dir, name)
	own, err := vfs.Dir(path)
	if err != nil {
		return nil, swept, fmt.Errorf("open ring: %w", err)
	}
	claim, err := own.Lock(lockFile)
	if err != nil {
		return nil, swept, errors.Join(fmt.Errorf("open ring: %w", err), own.Close())
	}
	r := New(own, limit)
	r.release = func() error {
		return errors.Join(own.Remove(lockFile), claim.Close(), own.Close(), os.Remove(path))
	}
	return r, swept, nil
}

// sweep removes the rings below above that no process holds.
func sweep(above vfs.FS) (swept Swept) {
	names, err := above.Names()
	errs := []error{err}
	for _, name := range names {
		path := filepath.Join(above.Path(), name)
		if st, err := os.Lstat(path); err != nil || !st.IsDir() || !isName(name) {
			continue // nothing of ours
		}
		n, removed, err := remove(path)
		if removed {
			swept.Rings++
		}
		swept.Bytes += n
		if err != nil {
			errs = append(errs, fmt.Errorf("remove what a process left: %w", err))
		}
	}
	swept.Err = errors.Join(errs...)
	return swept
}

// remove removes a ring unless its process lives.
func remove(path string) (n int64, removed bool, err error) {
	dir, err := vfs.Dir(path)
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	claim, err := dir.Lock(lockFile)
	if _, alive := errors.AsType[*vfs.LockedError](err); alive {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, claim.Close()) }()
	names, err := dir.Names()
	if err != nil {
		return 0, false, err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		if st, err := os.Lstat(filepath.Join(path, name)); err == nil {
			n += st.Size()
		}
		if err := dir.Remove(name); err != nil {
			return n, false, err
		}
	}
	if err := dir.Remove(lockFile); err != nil {
		return n, false, err
	}
	return n, true, os.Remove(path)
}

func isName(s string) bool {
	return len(s) == nameLen && strings.Trim(s, "0123456789abcdef") == ""
}
