package seglog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

// kept gives the files of a directory under testdata. They were written when
// their version of the format was new and are never written again: what a
// build wrote, every later one reads.
func kept(t *testing.T, dir string) *faultfs.FS {
	t.Helper()
	d := faultfs.New()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.*"))
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d.Put(filepath.Base(f), b)
	}
	return d
}

func TestFilesOfVersion1(t *testing.T) {
	plainOnly(t)
	l := open(t, kept(t, "v1"), seglog.Options{})
	heads, damage := read(t, l)
	if !slices.Equal(heads, want(upTo(6)...)) || damage != nil || !l.Recovery().Clean {
		t.Errorf("%v %v %+v", heads, damage, l.Recovery())
	}
	state, from, err := l.LastState()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range l.Records(from) {
		n++
	}
	if string(state) != fmt.Sprintf("%d before", 6-n) {
		t.Errorf("state %q, %d behind it", state, n)
	}
}

// What is written today is what was written then.
func TestVersion1IsStillWritten(t *testing.T) {
	plainOnly(t)
	d := faultfs.New()
	count := 0
	l := open(t, d, seglog.Options{SegmentBytes: 300, State: func() []byte { return fmt.Appendf(nil, "%d before", count) }})
	for i := range 6 {
		add(t, l, i)
		count++
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	old := kept(t, "v1")
	names, err := old.Names()
	if err != nil {
		t.Fatal(err)
	}
	if now, err := d.Names(); err != nil || !slices.Equal(now, names) {
		t.Fatal(now, names, err)
	}
	for _, name := range names {
		if was, is := seglog.Unsalted(old.Get(name)), seglog.Unsalted(d.Get(name)); !bytes.Equal(was, is) {
			t.Errorf("%s\nwas %x\nis  %x", name, was, is)
		}
	}
}

// The files of version 1 with a bit flipped in the body of record 1 and one in
// the header of record 3, and cut in the middle of record 5.
func TestDamagedFilesOfVersion1(t *testing.T) {
	plainOnly(t)
	d := kept(t, "v1-damaged")
	l := open(t, d, seglog.Options{})
	heads, damage := read(t, l)
	if !slices.Equal(heads, want(0, 2, 4)) || len(damage) != 2 {
		t.Fatalf("%v %v", heads, damage)
	}
	if r := l.Recovery(); r.CutBytes != 50 || r.Clean {
		t.Errorf("%+v", r)
	}
	body, ok1 := errors.AsType[*seglog.CorruptError](damage[0])
	header, ok2 := errors.AsType[*seglog.CorruptError](damage[1])
	if !ok1 || !ok2 || body.Part != "body" || string(body.Head) != "head 1" || body.Offset != 168 || body.Next != 225 ||
		header.Part != "header" || header.Head != nil || header.Offset != 283 || header.Next != 342 {
		t.Error(damage)
	}
	for _, c := range []*seglog.CorruptError{body, header} {
		if err := l.Quarantine(c); err != nil {
			t.Error(err)
		}
		if n := len(d.Get(fmt.Sprintf("quarantine/%016x.bad", c.Offset))); n != int(c.Next-c.Offset) {
			t.Errorf("%d bytes in quarantine", n)
		}
	}
	if state, _, err := l.LastState(); string(state) != "4 before" {
		t.Errorf("state %q, %v", state, err)
	}
}
