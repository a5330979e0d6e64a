package faultfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

func create(t *testing.T, d vfs.FS, name, content string) vfs.File {
	t.Helper()
	f, err := d.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(content), 0); err != nil {
		t.Fatal(err)
	}
	return f
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// What was not synced is there after a kill and lost with the power: bytes
// until the file is synced, names until the directory is.
func TestOnlyWhatWasSyncedSurvivesPowerLoss(t *testing.T) {
	d := faultfs.New()
	f := create(t, d, "a", "old")
	must(t, f.Sync())
	must(t, d.SyncDir())
	_, err := f.WriteAt([]byte("new!"), 0)
	must(t, err)
	b := create(t, d, "b", "b")
	must(t, b.Sync())
	must(t, d.Rename("b", "c"))

	k := d.Kill()
	if string(k.Get("a")) != "new!" || string(k.Get("c")) != "b" || k.Get("b") != nil {
		t.Errorf("after a kill: %q %q %q", k.Get("a"), k.Get("b"), k.Get("c"))
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the killed process goes on writing: %v", err)
	}
	c := k.Crash(nil)
	if string(c.Get("a")) != "old" || c.Get("b") != nil || c.Get("c") != nil {
		t.Errorf("after power loss: %q %q %q", c.Get("a"), c.Get("b"), c.Get("c"))
	}

	d = faultfs.New()
	f = create(t, d, "a", "1")
	must(t, f.Sync())
	must(t, d.SyncDir())
	must(t, d.Remove("a"))
	if c := d.Crash(nil); string(c.Get("a")) != "1" {
		t.Error("a removal that was not synced was durable")
	}
}

// A rename that was not synced has happened or not; a file is never under
// both names, nor under none.
func TestRenameIsWhole(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	seen := map[string]bool{}
	for range 50 {
		d := faultfs.New()
		must(t, create(t, d, "a", "old").Sync())
		must(t, create(t, d, "t", "new").Sync())
		must(t, d.SyncDir())
		must(t, d.Rename("t", "a"))
		c := d.Crash(rng)
		got := string(c.Get("a")) + "," + string(c.Get("t"))
		if got != "old,new" && got != "new," {
			t.Fatal(got)
		}
		seen[got] = true
	}
	if len(seen) != 2 {
		t.Error(seen)
	}
}

// A write that was not synced tears at sectors of either size, and nowhere
// else.
func TestTornSectors(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	small := false
	for range 100 {
		d := faultfs.New()
		f := create(t, d, "a", string(make([]byte, 16<<10)))
		must(t, f.Sync())
		must(t, d.SyncDir())
		_, err := f.WriteAt(bytes.Repeat([]byte{1}, 12<<10), 100)
		must(t, err)
		b := d.Crash(rng).Get("a")
		for i := 101; i < 100+12<<10; i++ {
			if b[i] != b[i-1] && i%512 != 0 {
				t.Fatalf("torn at %d", i)
			}
			small = small || b[i] != b[i-1] && i%(4<<10) != 0
		}
	}
	if !small {
		t.Error("never torn at 512 bytes")
	}
}

func TestCapacity(t *testing.T) {
	d := faultfs.New()
	d.SetCapacity(10)
	f := create(t, d, "a", "12345678")
	n, err := f.WriteAt([]byte("abcdef"), 8)
	if n != 2 || !vfs.IsFull(err) || d.Used() != 10 {
		t.Errorf("%d %v, %d used", n, err, d.Used())
	}
	if _, err := f.WriteAt([]byte("over"), 0); err != nil {
		t.Errorf("a write in place: %v", err)
	}
	d.SetCapacity(20)
	if _, err := f.WriteAt([]byte("abcdef"), 10); err != nil {
		t.Errorf("with room again: %v", err)
	}
	must(t, f.Truncate(0))
	if d.Used() != 0 {
		t.Errorf("%d used", d.Used())
	}
}

func TestFailures(t *testing.T) {
	d := faultfs.New()
	f := create(t, d, "a", "abc")
	must(t, f.Sync())
	must(t, d.SyncDir())
	fail := func(kind string, short int) {
		d.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == kind {
				return &faultfs.Fault{Err: syscall.EIO, Short: short}
			}
			return nil
		})
	}
	fail("write", 1)
	if n, err := f.WriteAt([]byte("xyz"), 0); n != 1 || !errors.Is(err, syscall.EIO) || string(d.Get("a")) != "xbc" {
		t.Errorf("short write: %d %v %q", n, err, d.Get("a"))
	}
	// The kernel forgets what a failed fsync did not write; the next one
	// succeeds for nothing.
	fail("sync", 0)
	if err := f.Sync(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
	d.SetFault(nil)
	must(t, f.Sync())
	if c := d.Kill().Crash(nil); string(c.Get("a")) != "abc" {
		t.Errorf("%q", c.Get("a"))
	}

	d = faultfs.New()
	f = create(t, d, "a", "abcdef")
	d.SetReadFault(func(op faultfs.Op) *faultfs.Fault {
		if op.At == 2 && op.N == 1 {
			return &faultfs.Fault{Err: syscall.EIO, Short: 1}
		}
		return nil
	})
	b := make([]byte, 3)
	if n, err := f.ReadAt(b, 2); n != 1 || !errors.Is(err, syscall.EIO) {
		t.Error(n, err)
	}
	if n, err := f.ReadAt(b, 2); n != 3 || err != nil || string(b) != "cde" {
		t.Error(n, err, string(b))
	}
	if n, err := f.ReadAt(b, 5); n != 1 || !errors.Is(err, io.EOF) {
		t.Error(n, err)
	}
}

func TestSub(t *testing.T) {
	d := faultfs.New()
	s, err := d.Sub("sub")
	must(t, err)
	must(t, create(t, s, "x", "in").Sync())
	must(t, create(t, d, "x", "out").Sync())
	must(t, d.SyncDir())
	if names, err := s.Names(); err != nil || !slices.Equal(names, []string{"x"}) {
		t.Error(names, err)
	}
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{"sub", "x"}) {
		t.Error(names, err)
	}
	// A directory's sync is its own.
	c := d.Kill().Crash(nil)
	if string(c.Get("x")) != "out" || c.Get("sub/x") != nil {
		t.Errorf("%q %q", c.Get("x"), c.Get("sub/x"))
	}
	if _, err := c.OpenFile("sub/x", os.O_RDONLY, 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Every prefix of a trace is what the disk was then.
func TestTrace(t *testing.T) {
	d := faultfs.New()
	f := create(t, d, "a", "0")
	trace := d.Record()
	type moment struct{ killed, crashed string }
	want := map[int]moment{0: {"0", ""}}
	synced := ""
	for i := range 6 {
		_, err := f.WriteAt([]byte{'a' + byte(i)}, int64(i))
		must(t, err)
		want[d.Events()] = moment{string(d.Get("a")), synced}
		if i%2 == 1 {
			must(t, f.Sync())
			must(t, d.SyncDir())
			synced = string(d.Get("a"))
			want[d.Events()] = moment{synced, synced}
		}
	}
	seen := 0
	for n, disks := range trace.Prefixes() {
		w, ok := want[n]
		if !ok {
			continue
		}
		seen++
		if k, c := string(disks.Kill().Get("a")), string(disks.Crash(nil).Get("a")); k != w.killed || c != w.crashed {
			t.Errorf("after %d: %q and %q, want %q and %q", n, k, c, w.killed, w.crashed)
		}
	}
	if seen != len(want) {
		t.Errorf("%d moments of %d", seen, len(want))
	}
}
