package spool_test

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/spool"
)

// TestR20FailedFsync lets each fsync of a run fail in turn, of segments, of
// the state and of the directory. What was acknowledged survives a power loss
// right after it; what was not is not there twice when it is sent again; the
// segment whose fsync failed is left, and the spool goes on without a restart.
func TestR20FailedFsync(t *testing.T) {
	opt := spool.Options{MaxBytes: 12 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}}
	if os.Getenv(encryptedRun) != "" {
		opt.MaxBytes = 20 << 10 // records are longer then, and all have to fit
	}
	const n = 60
	fails, rewritten, refused := 0, 0, 0
	for k := 1; ; k++ {
		d := faultfs.New()
		syncs, what := 0, ""
		d.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind != "sync" && op.Kind != "syncdir" {
				return nil
			}
			if syncs++; syncs != k {
				return nil
			}
			what = fmt.Sprintf("%s %s", op.Kind, op.Name)
			return &faultfs.Fault{Err: syscall.EIO}
		})
		o, err := openOwner(d, opt)
		if err != nil { // nothing was acknowledged; it starts when the disk works
			if !errors.Is(err, syscall.EIO) {
				t.Fatal(err)
			}
			fails++
			if o, err = openOwner(d, opt); err != nil {
				t.Fatalf("fsync %d (%s): does not open: %v", k, what, err)
			}
		}
		passed := 0 // by the cursor, in records
		for i := 0; i < n; {
			before, failed := len(o.Log().Segments()), what
			_, err := o.take(i)
			if failed == "" && what != "" {
				fails++
				if err == nil && len(o.Log().Segments()) > before {
					rewritten++
				}
			}
			if err != nil { // its proxy sends it again
				if !errors.Is(err, syscall.EIO) {
					t.Fatal(err)
				}
				refused++
				continue
			}
			if i++; i%7 == 0 {
				for e, err := range o.Log().Heads(o.Cursor("a").Offset()) {
					if err != nil {
						break
					}
					if err := errors.Join(o.Cursor("a").Advance(e.Next), o.Flush()); err != nil && !errors.Is(err, syscall.EIO) {
						t.Fatal(err)
					}
					passed++
					break
				}
			}
			if failed != what {
				// The power goes right after: on a copy, as the run goes on.
				p := promise{acked: i, tried: i, done: map[string]int{"a": passed}}
				if err := hold(t, d.Fork().Crash(nil), opt, p, false); err != nil {
					t.Fatalf("fsync %d (%s), power loss: %v", k, what, err)
				}
			}
		}
		if what == "" {
			break // there is no such fsync
		}
		// Whoever has read from the beginning has everything.
		c := contentsFrom(t, o.Spool, o.Cursor("a").Offset())
		for i := range n {
			if _, here := c.batches[i]; !here && !c.declared[i] && i >= passed {
				t.Fatalf("fsync %d (%s): batch %d is lost", k, what, i)
			}
		}
		if len(c.damage) > 0 {
			t.Fatalf("fsync %d (%s): %v", k, what, c.damage[0])
		}
		if err := hold(t, d.Crash(nil), opt, promise{acked: n, tried: n, done: map[string]int{"a": passed}}, false); err != nil {
			t.Fatalf("fsync %d (%s): %v", k, what, err)
		}
	}
	if rewritten < n/2 {
		t.Errorf("%d groups were written again", rewritten)
	}
	t.Logf("%d failed fsyncs: %d groups written again elsewhere, %d refused", fails, rewritten, refused)
}

// TestR20FsyncFailsForAWhile: nothing is acknowledged while no fsync works,
// and everything once it does.
func TestR20FsyncFailsForAWhile(t *testing.T) {
	d := faultfs.New()
	opt := spool.Options{MaxBytes: 64 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}}
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.take(0); err != nil {
		t.Fatal(err)
	}
	d.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "sync" {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	for range 5 {
		if _, err := o.take(1); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		var seen []int
		for e, err := range o.Log().Records(0) {
			if err != nil {
				t.Fatal(err)
			}
			_, ns := batchesOf(e.Head)
			seen = append(seen, ns...)
		}
		if len(seen) != 1 || o.accepted[1] {
			t.Fatalf("readers see %v", seen)
		}
	}
	d.SetFault(nil)
	if _, err := o.take(1); err != nil {
		t.Fatal(err)
	}
	if err := hold(t, d.Crash(nil), opt, promise{acked: 2, tried: 2}, false); err != nil {
		t.Error(err)
	}
}
