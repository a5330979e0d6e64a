// Package faultfs is a directory in memory that knows what would survive a
// loss of power, and whose every call can be made to fail. It is for tests.
//
// What is written is only there for the process until the file is synced; a
// name that was created, renamed or removed only until the directory is.
// Crash gives the directory as the next start would find it.
package faultfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
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
	// Len is the length of a write.
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
	mu      sync.Mutex
	names   map[string]*inode // as the process sees it
	durable map[string]*inode
	dirs    map[string]bool // durable as soon as they are made
	locked  map[string]bool
	counts  map[string]int
	gone    bool

	fault    func(Op) *Fault
	capacity int64 // 0: no limit
}

type inode struct {
	data    []byte // as the process sees it
	durable []byte
	pending []change // not synced yet
}

type change struct {
	at   int64
	data []byte // nil: truncate to at
}

var _ vfs.FS = (*FS)(nil)

// New is an empty directory.
func New() *FS {
	return &FS{disk: &disk{names: map[string]*inode{}, durable: map[string]*inode{}, dirs: map[string]bool{}, locked: map[string]bool{}, counts: map[string]int{}}}
}

// SetFault makes calls fail from now on; f returns nil for those that do not.
// A nil f ends it. It is called with the directory locked.
func (d *FS) SetFault(f func(Op) *Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

// SetCapacity bounds the bytes of all files; more is ENOSPC after what fits.
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

// Kill is the directory after the process was killed: everything written is
// there, locks are free, and the old handle fails from now on.
func (d *FS) Kill() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	c := New()
	c.capacity, c.dirs = d.capacity, maps.Clone(d.dirs)
	for name, f := range d.names {
		g := &inode{data: bytes.Clone(f.data), durable: bytes.Clone(f.durable), pending: slices.Clone(f.pending)}
		c.names[name] = g
	}
	for name, f := range d.durable {
		if d.names[name] == f {
			c.durable[name] = c.names[name]
		} else {
			c.durable[name] = &inode{data: bytes.Clone(f.data), durable: bytes.Clone(f.durable)}
		}
	}
	return c
}

// Crash is the directory after the power was lost. Of what was not synced a
// part survives that rng picks, in sectors of 512 bytes and in any order; a
// nil rng keeps none.
func (d *FS) Crash(rng *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	c := New()
	c.capacity, c.dirs = d.capacity, maps.Clone(d.dirs)
	survivors := maps.Clone(d.durable)
	if rng != nil {
		for _, name := range slices.Sorted(maps.Keys(d.names)) {
			if d.durable[name] != d.names[name] && rng.IntN(2) == 0 {
				survivors[name] = d.names[name]
			}
		}
		for _, name := range slices.Sorted(maps.Keys(d.durable)) {
			if d.names[name] == nil && rng.IntN(2) == 0 {
				delete(survivors, name)
			}
		}
	}
	for name, f := range survivors {
		b := bytes.Clone(f.durable)
		if rng != nil {
			for _, ch := range f.pending {
				b = ch.tear(b, rng)
			}
		}
		c.names[name] = &inode{data: b, durable: bytes.Clone(b)}
		c.durable[name] = c.names[name]
	}
	return c
}

const sector = 512

func (ch change) tear(b []byte, rng *rand.Rand) []byte {
	if ch.data == nil {
		if rng.IntN(2) == 0 {
			return resize(b, ch.at)
		}
		return b
	}
	for at := ch.at; at < ch.at+int64(len(ch.data)); {
		end := min((at/sector+1)*sector, ch.at+int64(len(ch.data)))
		switch rng.IntN(3) {
		case 0: // reached the disk
			b = write(b, ch.data[at-ch.at:end-ch.at], at)
		case 1: // only the length did
			b = resize(b, max(int64(len(b)), end))
		}
		at = end
	}
	return b
}

func resize(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n:n]
	}
	return append(b[:len(b):len(b)], make([]byte, n-int64(len(b)))...)
}

func write(b, data []byte, at int64) []byte {
	if end := at + int64(len(data)); int64(len(b)) < end {
		b = resize(b, end)
	}
	copy(b[at:], data)
	return b
}

// before runs at the start of each call that changes something.
func (d *disk) before(kind, name string, n int) (Fault, error) {
	if d.gone {
		return Fault{}, os.ErrClosed
	}
	d.counts[kind]++
	if d.fault != nil {
		if f := d.fault(Op{Kind: kind, Name: name, N: d.counts[kind], Len: n}); f != nil {
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
	f := &inode{data: bytes.Clone(data), durable: bytes.Clone(data)}
	d.names[name], d.durable[name] = f, f
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
		if _, err := d.before("create", name, 0); err != nil {
			return nil, err
		}
		f = &inode{}
		d.names[name] = f
	}
	return &file{d: d.disk, f: f, name: name}, nil
}

// Remove implements vfs.FS.
func (d *FS) Remove(name string) error {
	name = d.prefix + name
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("remove", name, 0); err != nil {
		return err
	}
	if d.names[name] == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	delete(d.names, name)
	return nil
}

// Rename implements vfs.FS.
func (d *FS) Rename(from, to string) error {
	from, to = d.prefix+from, d.prefix+to
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("rename", to, 0); err != nil {
		return err
	}
	f := d.names[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	delete(d.names, from)
	d.names[to] = f
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
		if _, err := d.before("mkdir", name, 0); err != nil {
			return nil, err
		}
		d.dirs[name] = true
	}
	return &FS{disk: d.disk, prefix: name + "/"}, nil
}

// SyncDir implements vfs.FS.
func (d *FS) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.before("syncdir", strings.TrimSuffix(d.prefix, "/"), 0); err != nil {
		return err
	}
	here := func(name string, _ *inode) bool {
		rest, ok := strings.CutPrefix(name, d.prefix)
		return ok && !strings.Contains(rest, "/")
	}
	maps.DeleteFunc(d.durable, here)
	for name, f := range d.names {
		if here(name, f) {
			d.durable[name] = f
		}
	}
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
	fault, err := h.d.before("write", h.name, len(b))
	if err != nil {
		b = b[:min(fault.Short, len(b))]
	} else if grow := off + int64(len(b)) - int64(len(h.f.data)); h.d.capacity > 0 && grow > 0 {
		if room := h.d.capacity - h.d.used(); grow > room {
			err = &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
			b = b[:max(0, int64(len(b))-(grow-max(room, 0)))]
		}
	}
	if len(b) > 0 {
		b = bytes.Clone(b)
		h.f.data = write(h.f.data, b, off)
		h.f.pending = append(h.f.pending, change{off, b})
	}
	return len(b), err
}

func (h *file) Truncate(size int64) error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.before("truncate", h.name, 0); err != nil {
		return err
	}
	h.f.data = resize(h.f.data, size)
	h.f.pending = append(h.f.pending, change{at: size})
	return nil
}

// Sync makes the file durable. When it is made to fail, what was not synced
// counts as clean and is never written, as a kernel does it: a second Sync
// succeeds and means nothing.
func (h *file) Sync() error {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	if _, err := h.d.before("sync", h.name, 0); err != nil {
		if !errors.Is(err, ErrPower) {
			h.f.pending = nil
		}
		return err
	}
	for _, ch := range h.f.pending {
		if ch.data == nil {
			h.f.durable = resize(h.f.durable, ch.at)
		} else {
			h.f.durable = write(h.f.durable, ch.data, ch.at)
		}
	}
	h.f.pending = nil
	return nil
}

func (h *file) Size() (int64, error) {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return int64(len(h.f.data)), nil
}

func (h *file) Close() error { return nil }
