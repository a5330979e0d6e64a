package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// meter is a directory that counts what is read of it and how many files are
// open.
type meter struct {
	vfs.FS
	mu       sync.Mutex
	read     int64
	largest  int
	open     int
	mostOpen int
}

func (m *meter) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := m.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open++
	m.mostOpen = max(m.mostOpen, m.open)
	return &meteredFile{f, m}, nil
}

type meteredFile struct {
	vfs.File
	m *meter
}

func (f *meteredFile) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.read += int64(n)
	f.m.largest = max(f.m.largest, n)
	return n, err
}

func (f *meteredFile) Close() error {
	f.m.mu.Lock()
	f.m.open--
	f.m.mu.Unlock()
	return f.File.Close()
}

// TestR36Backlog: how long a spool takes to open, and what it holds in memory
// while it drains, does not grow with its backlog. Bytes read stand for time
// and memory: opening reads one header of each segment and the newest segment;
// a reader reads one record at a time, and no file is left open behind it.
func TestR36Backlog(t *testing.T) {
	const (
		segment = 64 << 10
		body    = 4 << 10
		stateOf = 66 << 10 // the state file, both slots
	)
	opt := spool.Options{MaxBytes: 64 << 20, SegmentBytes: segment, WhenFull: spool.DropOldest, Cursors: []string{"a", "live"}}
	disk := faultfs.New()
	o, err := openOwner(disk, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, backlog := range []int{1 << 20, 8 << 20, 32 << 20} {
		for n := 0; o.Log().Bytes() < int64(backlog); n++ {
			if _, err := o.Append(seglog.Record{Head: binary.BigEndian.AppendUint32([]byte("D"), uint32(n)), Body: bytes.Repeat([]byte{byte(n)}, body)}); err != nil {
				t.Fatal(err)
			}
		}
		disk = disk.Kill()
		m := &meter{FS: disk}
		if o, err = openOwner(m, opt); err != nil {
			t.Fatal(err)
		}
		segments := int64(len(o.Log().Segments()))
		// The newest is read once to find its end, and its heads again by
		// the owner.
		if limit := segments*64 + 2*segment + stateOf; m.read > limit {
			t.Errorf("opening a backlog of %d bytes reads %d bytes, at most %d are wanted", backlog, m.read, limit)
		}
		if m.mostOpen > 24 {
			t.Errorf("%d files were open", m.mostOpen)
		}
		t.Logf("backlog of %d bytes in %d segments: opening reads %d bytes", backlog, segments, m.read)

		// One cursor drains the backlog, another follows what is new.
		start := o.Log().End()
		if err := o.Cursor("live").Advance(start); err != nil {
			t.Fatal(err)
		}
		m.read, m.largest, m.mostOpen = 0, 0, m.open
		r := o.Log().Reader(o.Cursor("a").Offset())
		for range 3 * segment / body { // three segments, one record at a time
			before := m.read
			e, err := r.TryNext()
			if err != nil {
				t.Fatal(err)
			}
			if size := int64(e.Next - e.Offset); m.read-before > size+200 {
				t.Fatalf("reading a record of %d bytes read %d", size, m.read-before)
			}
		}
		r.Close()
		if _, err := o.Append(seglog.Record{Head: []byte("D\x00\x00\x00\x00")}); err != nil {
			t.Fatal(err)
		}
		live := o.Log().Reader(o.Cursor("live").Offset())
		if e, err := live.TryNext(); err != nil || e.Offset < start {
			t.Fatalf("live traffic waits: %+v, %v", e, err)
		}
		live.Close()
		if m.largest > body+1024 || m.mostOpen > 24 {
			t.Errorf("largest read %d bytes, %d files open", m.largest, m.mostOpen)
		}
	}
}

// A cursor that is far behind keeps its records when another has read them.
func TestTwoCursors(t *testing.T) {
	d := faultfs.New()
	opt := spool.Options{MaxBytes: 64 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropNewest, Cursors: []string{"live", "backlog"}}
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	for i := range n {
		next, err := o.take(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Cursor("live").Advance(next); err != nil {
			t.Fatal(err)
		}
	}
	if c := contentsFrom(t, o.Spool, o.Cursor("backlog").Offset()); len(c.batches) != n {
		t.Errorf("%d left for the backlog", len(c.batches))
	}
	if err := o.Cursor("backlog").Advance(o.Log().End()); err != nil {
		t.Fatal(err)
	}
	if got := len(o.Log().Segments()); got != 1 {
		t.Errorf("%d segments left when both have read", got)
	}
}

// TestR33CopiedSpool: a directory is copied, the original goes on, the copy is
// started later. It has the id of the original until it is told that it is a
// copy; then another, for good, while no offset and no id of the original ever
// goes back.
func TestR33CopiedSpool(t *testing.T) {
	opt := spool.Options{MaxBytes: 64 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}}
	d := faultfs.New()
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	fill := func(o *owner, from, to int) {
		t.Helper()
		for n := from; n < to; n++ {
			if _, err := o.take(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(o, 0, 30)
	copied, id := d.Fork(), o.ID()
	fill(o, 30, 60)
	high := o.Log().Next()

	c, err := openOwner(copied, opt)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID() != id || c.Log().Next() >= high {
		t.Fatalf("the copy: %x at %d", c.ID(), c.Log().Next())
	}
	if err := c.Renew(); err != nil {
		t.Fatal(err)
	}
	renewed := c.ID()
	if renewed == id {
		t.Error("a copy keeps the id")
	}
	fill(c, 100, 130)
	if c, err = openOwner(copied.Crash(nil), opt); err != nil {
		t.Fatal(err)
	}
	if c.ID() != renewed {
		t.Error("the new id is not durable")
	}
	if got := contentsFrom(t, c.Spool, 0); len(got.batches) != 60 {
		t.Errorf("%d batches in the copy", len(got.batches))
	}
	next := high
	for range 5 { // the original, over kills and power losses
		d = d.Crash(nil)
		if o, err = openOwner(d, opt); err != nil {
			t.Fatal(err)
		}
		if o.ID() != id || o.Log().Next() < next {
			t.Fatalf("the original: %x at %d, was at %d", o.ID(), o.Log().Next(), next)
		}
		if next, err = o.Append(batch(1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Log().ReadAt(next); !errors.Is(err, seglog.ErrEnd) {
			t.Fatal(fmt.Errorf("a record stands at the end: %w", err))
		}
	}
}
