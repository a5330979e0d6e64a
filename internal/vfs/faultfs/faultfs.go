// Package faultfs is a directory in memory that knows what would survive a
// loss of power, and whose every call can be made to fail. It is for tests.
//
// What is written is only there for the process until the file is synced; a
// name that was created, renamed or removed only until the directory is.
// Crash gives the directory as the next start would find it; a Trace gives it
// for every point of a run.
package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/weir-capture/weir/internal/vfs"
)

// Op is one call that changes something.
type Op struct {
	// Kind is "create", "write", "truncate", "sync", "remove", "rename",
	// "mkdir" or "syncdir".
	Kind string
	// Name of the file; of the new one for a rename.
	Name string
	// N is the count of calls of this kind so far, from 1.
	N int
	// At and Len are the place and the length of a write or a read; At is the
	// new length for a truncate.
	At  int64
	Len int
}

// ErrPower as a fault's error means that the power goes in the middle of the
// call: what a Sync had to write may or may not have been written.
var ErrPower = errors.New("power lost")

// Fault is what happens instead. A write keeps its first Short bytes.
type Fault struct {
	Err   error
	Short int
}

// FS is the directory. The zero value is not usable; see New.
type FS struct {
	*disk
	// prefix stands before the names of this directory: "" or "sub/".
	prefix string
}

// disk is what a directory and those in it share. Names are paths from the
// root.
type disk struct {
	mu sync.Mutex
	state
	locked map[string]bool
	counts map[string]int
	gone   bool

	fault     func(Op) *Fault
	readFault func(Op) *Fault
	capacity  int64 // 0: no limit

	events int
	trace  *Trace
}

var _ vfs.FS = (*FS)(nil)

// New is an empty directory.
func New() *FS {
	return &FS{disk: &disk{state: newState(), locked: map[string]bool{}, counts: map[string]int{}}}
}

// SetFault makes calls fail from now on; f returns nil for those that do not.
// A nil f ends it. It is called with the directory locked.
func (d *FS) SetFault(f func(Op) *Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// SetReadFault makes reads fail, whose Op is of the kind "read"; else it is as
// SetFault. A read gives its first Short bytes.
func (d *FS) SetReadFault(f func(Op) *Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.readFault = f
}

// SetCapacity bounds the bytes of all files; more is ENOSPC after what fits. 0
// ends it. It may be raised later, as on a disk that somebody cleans up.
func (d *FS) SetCapacity(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.capacity = n
}

// Used is the bytes of all files.
func (d *FS) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used()
}

func (d *disk) used() (n int64) {
	for _, f := range d.names {
		n += int64(len(f.data))
	}
	return n
}

// change does what an event says, and keeps it when a trace is recorded.
func (d *disk) change(e event) {
	d.events++
	d.apply(e)
	if d.trace != nil {
		d.trace.events = append(d.trace.events, e)
	}
}

// before runs at the start of each call that changes something.
func (d *disk) before(kind, name string, at int64, n int) (Fault, error) {
	if d.gone {
		return Fault{}, os.ErrClosed
	}
	d.counts[kind]++
	if d.fault != nil {
		if f := d.fault(Op{Kind: kind, Name: name, N: d.counts[kind], At: at, Len: n}); f != nil {
			return *f, f.Err
		}
	}
	return Fault{}, nil
}

// Put makes a file, durable at once.
func (d *FS) Put(name string, data []byte) {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	d.change(event{kind: evPut, name: name, id: d.newID(), data: bytes.Clone(data)})
}

// Get is a file's content as the process sees it.
func (d *FS) Get(name string) []byte {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.names[name]
	if f == nil {
		return nil
	}
	return bytes.Clone(f.data)
}

// OpenFile implements vfs.FS.
func (d *FS) OpenFile(name string, flag int, _ fs.FileMode) (vfs.File, error) {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return nil, os.ErrClosed
	}
	f := d.names[name]
	switch {
	case f != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case f == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case f == nil:
		if _, err := d.before("create", name, 0, 0); err != nil {
			return nil, err
		}
		d.change(event{kind: evCreate, name: name, id: d.newID()})
		f = d.names[name]
	}
	return &file{d: d.disk, f: f, name: name}, nil
}

// Remove implements vfs.FS.
func (d *FS) Remove(name string) error {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("remove", name, 0, 0); err != nil {
		return err
	}
	if d.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	d.change(event{kind: evRemove, name: name})
	return nil
}

// Rename implements vfs.FS.
func (d *FS) Rename(from, to string) error {
	from, to = d.prefix+from, d.prefix+to
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("rename", to, 0, 0); err != nil {
		return err
	}
	if d.names[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.change(event{kind: evRename, name: from, to: to})
	return nil
}

// Names implements vfs.FS.
func (d *FS) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for name := range d.names {
		if rest, ok := strings.CutPrefix(name, d.prefix); ok && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	for dir := range d.dirs {
		if rest, ok := strings.CutPrefix(dir, d.prefix); ok && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Sub implements vfs.FS.
func (d *FS) Sub(name string) (vfs.FS, error) {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dirs[name] {
		if _, err := d.before("mkdir", name, 0, 0); err != nil {
			return nil, err
		}
		d.change(event{kind: evMkdir, name: name})
	}
	return &FS{disk: d.disk, prefix: name + "/"}, nil
}

// SyncDir implements vfs.FS.
func (d *FS) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("syncdir", strings.TrimSuffix(d.prefix, "/"), 0, 0); err != nil {
		return err
	}
	d.change(event{kind: evSyncDir, name: d.prefix})
	return nil
}

// Lock implements vfs.FS.
func (d *FS) Lock(name string) (io.Closer, error) {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locked[name] {
		return nil, &vfs.LockedError{Path: d.Path(), PID: os.Getpid()}
	}
	d.locked[name] = true
	return unlock(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.locked, name)
	}), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

// Free implements vfs.FS.
func (d *FS) Free() (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.capacity == 0 {
		return 1 << 40, nil
	}
	return max(0, d.capacity-d.used()), nil
}

// Path implements vfs.FS.
func (d *FS) Path() string { return "faultfs" }

// Close implements vfs.FS. The directory can be used on.
func (d *FS) Close() error { return nil }

type file struct {
	d    *disk
	f    *inode
	name string
}

func (h *file) ReadAt(b []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if h.d.gone {
		return 0, os.ErrClosed
	}
	if h.d.readFault != nil {
		h.d.counts["read"]++
		if f := h.d.readFault(Op{Kind: "read", Name: h.name, N: h.d.counts["read"], At: off, Len: len(b)}); f != nil {
			n := 0
			if off < int64(len(h.f.data)) {
				n = copy(b[:min(f.Short, len(b))], h.f.data[off:])
			}
			return n, f.Err
		}
	}
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(b []byte, off int64) (int, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	fault, err := h.d.before("write", h.name, off, len(b))
	if err != nil {
		b = b[:min(fault.Short, len(b))]
	} else if grow := off + int64(len(b)) - int64(len(h.f.data)); h.d.capacity > 0 && grow > 0 {
		if room := h.d.capacity - h.d.used(); grow > room {
			err = &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
			b = b[:max(0, int64(len(b))-(grow-max(room, 0)))]
		}
	}
	if len(b) > 0 {
		h.d.change(event{kind: evWrite, id: h.f.id, at: off, data: bytes.Clone(b)})
	}
	return len(b), err
}

func (h *file) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.before("truncate", h.name, size, 0); err != nil {
		return err
	}
	h.d.change(event{kind: evTruncate, id: h.f.id, at: size})
	return nil
}

// Sync makes the file durable. When it is made to fail, what was not synced
// counts as clean and is never written, as a kernel does it: a second Sync
// succeeds and means nothing.
func (h *file) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.before("sync", h.name, 0, 0); err != nil {
		if !errors.Is(err, ErrPower) {
			h.d.change(event{kind: evSyncFailed, id: h.f.id})
		}
		return err
	}
	h.d.change(event{kind: evSync, id: h.f.id})
	return nil
}

func (h *file) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *file) Close() error { return nil }
