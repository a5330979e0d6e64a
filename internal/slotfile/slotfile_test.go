package slotfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/internal/slotfile"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

func load(t *testing.T, d *faultfs.FS) string {
	t.Helper()
	s, v, err := slotfile.Open(d, "state", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return string(v)
}

func TestCrashLeavesOldOrNew(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 200 {
		d := faultfs.New()
		s, v, err := slotfile.Open(d, "state", 2000)
		if err != nil || v != nil {
			t.Fatal(v, err)
		}
		value := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d,", i), 300) }
		n := round % 5
		for i := range n {
			if err := s.Store(value(i)); err != nil {
				t.Fatal(err)
			}
		}
		d.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == "sync" {
				return &faultfs.Fault{Err: faultfs.ErrPower}
			}
			return nil
		})
		if err := s.Store(value(n)); !errors.Is(err, faultfs.ErrPower) {
			t.Fatal(err)
		}
		got := load(t, d.Crash(rng))
		old := ""
		if n > 0 {
			old = string(value(n - 1))
		}
		if got != old && got != string(value(n)) {
			t.Fatalf("round %d: %.40q", round, got)
		}
	}
}

func TestFullDiskCannotKeepItFromBeingWritten(t *testing.T) {
	d := faultfs.New()
	s, _, err := slotfile.Open(d, "state", 100)
	if err != nil {
		t.Fatal(err)
	}
	d.SetCapacity(d.Used())
	for i := range 10 {
		if err := s.Store(fmt.Appendf(nil, "value %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if v := load(t, d.Kill()); v != "value 9" {
		t.Error(v)
	}
}

func TestDamage(t *testing.T) {
	d := faultfs.New()
	s, _, err := slotfile.Open(d, "state", 100)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Store(make([]byte, 101)); err == nil {
		t.Error("stored more than fits")
	}
	for _, v := range []string{"one", "two"} {
		if err := s.Store([]byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	b := d.Get("state")
	b[0] ^= 1 // the second value is in the first slot
	d.Put("state", b)
	if v := load(t, d); v != "one" {
		t.Errorf("one slot damaged: %q", v)
	}
	b[len(b)/2] ^= 1
	d.Put("state", b)
	s, v, err := slotfile.Open(d, "state", 100)
	if !errors.Is(err, slotfile.ErrDamaged) || v != nil {
		t.Fatal(v, err)
	}
	if err := s.Store([]byte("new")); err != nil {
		t.Fatal(err)
	}
	if v := load(t, d); v != "new" {
		t.Error(v)
	}
}

// A file that was cut has the value still when that is in what is left, and
// room for both slots again.
func TestCutFile(t *testing.T) {
	for n := range 2 * (20 + 100) {
		d := faultfs.New()
		s, _, err := slotfile.Open(d, "state", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"one", "two"} {
			if err := s.Store([]byte(v)); err != nil {
				t.Fatal(err)
			}
		}
		b := d.Get("state")
		d.Put("state", b[:n])
		s, v, err := slotfile.Open(d, "state", 100)
		switch {
		case n < 23: // "two" is in the first slot
			if !errors.Is(err, slotfile.ErrDamaged) {
				t.Fatalf("cut to %d: %q, %v", n, v, err)
			}
		case err != nil || string(v) != "two":
			t.Fatalf("cut to %d: %q, %v", n, v, err)
		}
		if err := s.Store(make([]byte, 100)); err != nil || len(d.Get("state")) != len(b) {
			t.Fatal(err, len(d.Get("state")))
		}
	}
}

func TestSlotThatCannotBeRead(t *testing.T) {
	d := faultfs.New()
	s, _, err := slotfile.Open(d, "state", 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []string{"one", "two"} {
		if err := s.Store([]byte(v)); err != nil {
			t.Fatal(err)
		}
	}
	d.SetReadFault(func(op faultfs.Op) *faultfs.Fault {
		if op.At == 0 {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	if v := load(t, d); v != "one" {
		t.Errorf("%q", v)
	}
}

// FuzzOpen opens arbitrary bytes: whatever they are, the file can be used, and
// then has what was stored.
func FuzzOpen(f *testing.F) {
	d := faultfs.New()
	s, _, err := slotfile.Open(d, "state", 20)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.Get("state"))
	for _, v := range []string{"one", "two"} {
		if err := s.Store([]byte(v)); err != nil {
			f.Fatal(err)
		}
		f.Add(d.Get("state"))
	}
	f.Add(d.Get("state")[:30])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		d := faultfs.New()
		d.Put("state", b)
		s, v, err := slotfile.Open(d, "state", 20)
		if err != nil && (!errors.Is(err, slotfile.ErrDamaged) || v != nil) {
			t.Fatal(v, err)
		}
		if err := s.Store([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if _, v, err := slotfile.Open(d, "state", 20); err != nil || string(v) != "new" {
			t.Fatalf("%q, %v", v, err)
		}
	})
}
