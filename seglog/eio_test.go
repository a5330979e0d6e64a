package seglog_test

import (
	"errors"
	"slices"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

// unreadable makes every read that touches [from, to) of a file fail, the
// first so many times.
func unreadable(d *faultfs.FS, name string, from, to int64, times int) {
	d.SetReadFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Name == name && op.At < to && op.At+int64(op.Len) > from && times != 0 {
			times--
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
}

// A sector that the disk won't read costs the records in it, is reported with
// the disk's error, and keeps nobody waiting; one that it reads at the second
// try costs nothing.
func TestReadErrors(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{})
	var at []int64
	for i := range 20 {
		at = append(at, int64(l.Next()))
		add(t, l, i)
	}
	at[0] = 64 + 40 // behind the segment's header and state
	name := l.Segments()[0].Name
	without := func(lost ...int) (ns []int) {
		for i := range 20 {
			if !slices.Contains(lost, i) {
				ns = append(ns, i)
			}
		}
		return ns
	}
	body := at[7] + 40 + 6 + sealed() // behind record 7's header and head
	for _, c := range []struct {
		name     string
		from, to int64
		times    int
		lost     []int
		part     string
		head     string
	}{
		{"twice", at[3], at[3] + 10, 2, nil, "", ""},
		{"body", body, body + 4, -1, []int{7}, "body", "head 7"},
		{"head", at[7] + 41, at[7] + 42, -1, []int{7}, "head", ""},
		{"header of the last", at[19], at[19] + 1, -1, []int{19}, "header", ""},
		{"all", 0, 1 << 20, -1, upTo(20), "header", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			unreadable(d, name, c.from, c.to, c.times)
			defer d.SetReadFault(nil)
			heads, damage := read(t, l)
			if !slices.Equal(heads, want(without(c.lost...)...)) {
				t.Errorf("read %v", heads)
			}
			if c.lost == nil {
				if damage != nil {
					t.Error(damage)
				}
				return
			}
			ce, ok := errors.AsType[*seglog.CorruptError](damage[0])
			if len(damage) != 1 || !ok || ce.Part != c.part || string(ce.Head) != c.head || !errors.Is(ce, syscall.EIO) {
				t.Fatal(damage)
			}
			if err := l.Quarantine(ce); err != nil {
				t.Error(err)
			}
		})
	}
	// The disk has come back: nothing was lost for good.
	if heads, damage := read(t, l); len(heads) != 20 || damage != nil {
		t.Error(heads, damage)
	}
}

// What cannot be read when the log is opened is no torn tail: it is not cut,
// and the log goes on behind it.
func TestOpenWithReadErrors(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{})
	var last uint64
	for i := range 5 {
		last = l.Next()
		add(t, l, i)
	}
	name := l.Segments()[0].Name
	file := d.Get(name)
	for _, from := range []int64{0, 64, int64(last), int64(last) + 45} {
		k := faultfs.New()
		k.Put(name, file)
		putKeys(k, d)
		unreadable(k, name, from, from+1, -1)
		l := open(t, k, seglog.Options{})
		if r := l.Recovery(); r.CutBytes != 0 || r.Clean {
			t.Errorf("from %d: %+v", from, r)
		}
		add(t, l, 9)
		k.SetReadFault(nil)
		for range 2 {
			if heads, damage := read(t, l); !slices.Equal(heads, want(0, 1, 2, 3, 4, 9)) || damage != nil {
				t.Fatalf("from %d: %v %v", from, heads, damage)
			}
			k = k.Kill()
			l = open(t, k, seglog.Options{})
		}
	}
}
