package seglog_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

// flipped opens a log of n records after one bit in the body of some was
// flipped, and gives the damage that it reports.
func flipped(t *testing.T, opt seglog.Options, n int, is ...int) (*seglog.Log, *faultfs.FS, []*seglog.CorruptError) {
	t.Helper()
	d := faultfs.New()
	l := open(t, d, opt)
	for i := range n {
		add(t, l, i)
	}
	k := d.Kill()
	l = open(t, k, opt)
	var at []uint64
	for e := range l.Heads(0) {
		at = append(at, e.Offset)
	}
	for _, s := range l.Segments() {
		b := k.Get(s.Name)
		for _, i := range is {
			if at[i] >= s.Base && at[i] < s.End {
				b[at[i]-s.Base+40+uint64(len(rec(i).Head))] ^= 4
			}
		}
		k.Put(s.Name, b)
	}
	k = k.Kill()
	l = open(t, k, opt)
	var damage []*seglog.CorruptError
	for _, err := range l.Records(0) {
		if ce, ok := errors.AsType[*seglog.CorruptError](err); ok {
			damage = append(damage, ce)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(damage) != len(is) {
		t.Fatalf("%d damaged, want %d", len(damage), len(is))
	}
	return l, k, damage
}

func quarantined(t *testing.T, d *faultfs.FS) []string {
	t.Helper()
	sub, err := d.Sub("quarantine")
	if err != nil {
		t.Fatal(err)
	}
	names, err := sub.Names()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestQuarantine(t *testing.T) {
	l, d, damage := flipped(t, seglog.Options{}, 5, 2)
	c := damage[0]
	for range 2 {
		if err := l.Quarantine(c); err != nil {
			t.Fatal(err)
		}
	}
	name := fmt.Sprintf("%016x.bad", c.Offset)
	want := d.Get(c.Segment)[c.Offset:c.Next]
	survived := d.Kill().Crash(nil) // it is durable
	if got := survived.Get("quarantine/" + name); !bytes.Equal(got, want) || !bytes.HasPrefix(got, []byte("WREC")) {
		t.Errorf("%q, want %q", got, want)
	}
	if names := quarantined(t, survived); !slices.Equal(names, []string{name}) {
		t.Error(names)
	}
	// The log opens beside it.
	if heads, damage := read(t, open(t, survived, seglog.Options{})); len(heads) != 4 || len(damage) != 1 {
		t.Error(heads, damage)
	}
}

// The bytes are bounded: those of the lowest offsets go.
func TestQuarantineIsBounded(t *testing.T) {
	opt := seglog.Options{QuarantineBytes: 200 + 4*sealed(), SegmentBytes: 500 + 30*sealed()}
	l, d, damage := flipped(t, opt, 30, 3, 9, 12, 20, 27)
	for _, c := range damage {
		if err := l.Quarantine(c); err != nil {
			t.Fatal(err)
		}
		names := quarantined(t, d)
		var sum int
		for _, n := range names {
			sum += len(d.Get("quarantine/" + n))
		}
		if sum > int(opt.QuarantineBytes) || !slices.Contains(names, fmt.Sprintf("%016x.bad", c.Offset)) {
			t.Errorf("%d bytes in %v after offset %x", sum, names, c.Offset)
		}
	}
	if names := quarantined(t, d); len(names) < 2 {
		t.Error(names)
	}
	// A longer stretch than all may be keeps its beginning.
	long := *damage[0]
	long.Next = long.Offset + 600
	if err := l.Quarantine(&long); err != nil {
		t.Fatal(err)
	}
	if n := len(d.Get(fmt.Sprintf("quarantine/%016x.bad", long.Offset))); n != int(opt.QuarantineBytes) {
		t.Errorf("%d bytes", n)
	}
}

func TestQuarantineCannotBe(t *testing.T) {
	l, d, damage := flipped(t, seglog.Options{SegmentBytes: 300}, 20, 2)
	d.SetCapacity(d.Used())
	err := l.Quarantine(damage[0])
	if _, ok := errors.AsType[*seglog.FullError](err); !ok {
		t.Error(err)
	}
	d.SetCapacity(0)
	if err := l.Quarantine(&seglog.CorruptError{Segment: "../x", Offset: 1, Next: 2}); err == nil {
		t.Error("quarantined a file of somebody else's")
	}
	if err := l.RemoveBefore(l.Next()); err != nil {
		t.Fatal(err)
	}
	if err := l.Quarantine(damage[0]); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestQuarantineOnADisk(t *testing.T) {
	dir := t.TempDir()
	l, err := seglog.Open(dir, withKeys(seglog.Options{}))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	add(t, l, 0)
	seg := l.Segments()[0]
	if err := l.Quarantine(&seglog.CorruptError{Segment: seg.Name, Offset: 104, Next: 120, Part: "body"}); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(dir, "quarantine", "0000000000000068.bad"))
	if err != nil || st.Mode().Perm() != 0o600 || st.Size() != 16 {
		t.Error(st, err)
	}
	if st, err := os.Stat(filepath.Join(dir, "quarantine")); err != nil || st.Mode().Perm() != 0o700 {
		t.Error(st, err)
	}
}
