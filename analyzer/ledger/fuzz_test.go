package ledger

import (
	"encoding/json"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

// brokenDir cannot be renamed in.
type brokenDir struct{ vfs.FS }

func (brokenDir) Rename(string, string) error { return vfsError("rename fails") }

type vfsError string

func (e vfsError) Error() string { return string(e) }

// FuzzSnapshot: whatever is in a snapshot's JSON (and, as raw bytes, in its
// file), reading it ends in an error or in a ledger that can be asked and
// written again.
func FuzzSnapshot(f *testing.F) {
	w := newWorld(1)
	dir, err := vfs.Dir(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer dir.Close()
	l := w.open(f, dir, Options{})
	p := w.proxy("a")
	w.see(p, 10)
	w.cut(p, 4)
	w.deliver(f, l, p)
	w.cut(p, 3)
	w.beat(p)
	w.pass(l, 2, time.Second)
	if err := l.Save(); err != nil {
		f.Fatal(err)
	}
	file, err := atomicfile.Read(dir, FileName, maxFile)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := unseal(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		l := New(Options{Store: "store", Now: func() time.Time { return time.Unix(0, w.now) }}, slog.New(slog.DiscardHandler))
		if err := l.restore(b); err == nil {
			usable(t, l)
		}
		l.reset()
		if err := l.decode(b); err == nil {
			usable(t, l)
		}
	})
}

func usable(t *testing.T, l *Ledger) {
	t.Helper()
	l.Report(Ask{From: 1, To: math.MaxInt64})
	l.Processes(1, math.MaxInt64, 10)
	if _, err := json.Marshal(l.copied().snapshot()); err != nil {
		t.Fatal(err)
	}
}
