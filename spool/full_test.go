package spool_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// accounted checks that a reader who has seen nothing gets each of n batches, or
// its declaration, and gives how many are declared.
func accounted(t *testing.T, o *owner, n int) (declared int) {
	t.Helper()
	c := contentsFrom(t, o.Spool, o.Cursor("a").Offset())
	for i := range n {
		_, here := c.batches[i]
		if !here && !c.declared[i] {
			t.Fatalf("batch %d of %d is neither there nor declared", i, n)
		}
		if !here {
			declared++
		}
	}
	if len(c.damage) > 0 || len(c.removed) > 0 {
		t.Fatal(c.damage, c.removed)
	}
	return declared
}

func ballastOf(d *faultfs.FS) int { return len(d.Get("ballast")) }

// TestR19DiskFullDropOldest: the disk is full long before the limit of the
// spool. The oldest goes, is declared, and new batches are taken all the time;
// nothing needs a restart.
func TestR19DiskFullDropOldest(t *testing.T) {
	for name, segment := range map[string]int64{
		"many segments": 8 << 10,
		"one segment":   1 << 20, // it fills the disk alone
	} {
		t.Run(name, func(t *testing.T) {
			d := faultfs.New()
			const disk = 256 << 10
			d.SetCapacity(disk)
			now := time.Unix(1e9, 0)
			opt := spool.Options{
				MaxBytes: 512 << 10, SegmentBytes: segment, WhenFull: spool.DropOldest, Cursors: []string{"a"},
				Now: func() time.Time { return now },
			}
			o, err := openOwner(d, opt)
			if err != nil {
				t.Fatal(err)
			}
			ballast := ballastOf(d)
			if ballast != 32<<10 {
				t.Fatalf("ballast of %d bytes", ballast)
			}
			const n = 3000
			for i := range n {
				if _, err := o.take(i); err != nil {
					t.Fatalf("batch %d: %v", i, err)
				}
				if i%700 == 699 { // also over restarts
					if o, err = openOwner(d.Kill(), opt); err != nil {
						t.Fatal(err)
					}
					d = o.dir.(*faultfs.FS)
				}
			}
			if declared := accounted(t, o, n); declared < n/2 {
				t.Errorf("%d declared", declared)
			}
			if o.Log().Bytes() > disk || ballastOf(d) != ballast {
				t.Errorf("%d bytes, ballast of %d", o.Log().Bytes(), ballastOf(d))
			}
		})
	}
}

// TestR19DiskFullDropNewest: what comes is refused, a note of each refusal is
// kept, from the ballast if need be, and when even that is used up nothing is
// taken over. When the destination has read, or somebody else has tidied up,
// it works again without a restart.
func TestR19DiskFullDropNewest(t *testing.T) {
	d := faultfs.New()
	const disk = 256 << 10
	d.SetCapacity(disk)
	now := time.Unix(1e9, 0)
	opt := spool.Options{
		MaxBytes: 512 << 10, SegmentBytes: 8 << 10, WhenFull: spool.DropNewest, Cursors: []string{"a"},
		Now: func() time.Time { return now },
	}
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	fill := func() (taken, noted int) {
		t.Helper()
		for {
			_, err := o.take(n)
			switch {
			case err == nil:
				taken++
				n++
				continue
			case !errors.Is(err, spool.ErrFull):
				t.Fatal(err)
			}
			if err := o.note(n); errors.Is(err, spool.ErrFull) {
				return taken, noted
			} else if err != nil {
				t.Fatal(err)
			}
			noted++
			n++
		}
	}
	taken, noted := fill()
	if taken < 700 || noted < 100 || ballastOf(d) != 0 {
		t.Errorf("%d taken, %d noted, ballast of %d bytes", taken, noted, ballastOf(d))
	}
	if declared := accounted(t, o, n); declared != noted {
		t.Errorf("%d declared, %d noted", declared, noted)
	}
	// The same over a restart, and a kill.
	if o, err = openOwner(d.Kill(), opt); err != nil {
		t.Fatal(err)
	}
	d = o.dir.(*faultfs.FS)
	accounted(t, o, n)
	if taken, _ := fill(); taken > 0 {
		t.Errorf("%d taken on a full disk", taken)
	}
	// The destination comes back.
	read := 0
	r := o.Log().Reader(0)
	for read < n/2 {
		e, err := r.TryNext()
		if err != nil {
			t.Fatal(err)
		}
		read++
		if err := o.Cursor("a").Advance(e.Next); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	at := n
	if taken, _ := fill(); taken < 100 {
		t.Errorf("%d taken after half was read", taken)
	}
	if ballastOf(d) != 0 {
		t.Errorf("full again with a ballast of %d bytes", ballastOf(d))
	}
	c := contentsFrom(t, o.Spool, o.Cursor("a").Offset())
	for i := at; i < n; i++ {
		if _, here := c.batches[i]; !here && !c.declared[i] {
			t.Fatalf("batch %d is neither there nor declared", i)
		}
	}
	// Somebody tidies up: it is seen after a while.
	d.SetCapacity(disk * 2)
	now = now.Add(time.Minute)
	if taken, _ := fill(); taken < 100 {
		t.Errorf("%d taken with more room", taken)
	}
}

// TestR19SharedDisk: others fill the disk and tidy up again; no batch that was
// taken suffers by it.
func TestR19SharedDisk(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		d := faultfs.New()
		now := time.Unix(1e9, 0)
		o, err := openOwner(d, spool.Options{
			MaxBytes: 512 << 10, SegmentBytes: 8 << 10, WhenFull: when, Cursors: []string{"a"},
			Now: func() time.Time { return now },
		})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for round := range 6 {
			now = now.Add(time.Minute)
			d.SetCapacity(0)
			if round%2 == 1 {
				d.SetCapacity(d.Used() / 2) // not a byte is free
			}
			for range 100 {
				_, err := o.take(n)
				if err == nil {
					n++
				} else if !errors.Is(err, spool.ErrFull) || !errors.Is(err, syscall.ENOSPC) && when == spool.DropOldest || round%2 == 0 {
					t.Fatalf("%s, round %d: %v", when, round, err)
				}
			}
		}
		if accounted(t, o, n); n < 300 {
			t.Errorf("%s: %d taken", when, n)
		}
	}
}

// TestR19QuotaOverRestarts: the limit counts what was there before the start.
func TestR19QuotaOverRestarts(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		d := faultfs.New()
		opt := spool.Options{MaxBytes: 32 << 10, SegmentBytes: 2 << 10, WhenFull: when, Cursors: []string{"a"}}
		n := 0
		for range 10 {
			o, err := openOwner(d, opt)
			if err != nil {
				t.Fatal(err)
			}
			for range 50 {
				if _, err := o.take(n); err == nil {
					n++
				} else if when == spool.DropOldest || !errors.Is(err, spool.ErrFull) {
					t.Fatal(err)
				}
				if b := o.Log().Bytes(); b > opt.MaxBytes*17/16 {
					t.Fatalf("%s: %d bytes, limit %d", when, b, opt.MaxBytes)
				}
			}
			accounted(t, o, n)
			d = d.Kill()
		}
		if when == spool.DropNewest && n > 250 {
			t.Errorf("%d taken", n)
		}
	}
}

// A declaration that cannot be written keeps the segment: better not to take
// the new than to lose the old without a word.
func TestNothingGoesUndeclared(t *testing.T) {
	d := faultfs.New()
	o, err := openOwner(d, spool.Options{MaxBytes: 16 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; o.Log().Bytes() < 15<<10; n++ {
		if _, err := o.take(n); err != nil {
			t.Fatal(err)
		}
	}
	d.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "write" || op.Kind == "create" {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	for range 30 {
		if _, err := o.take(n); err == nil {
			t.Fatal("taken by a disk that fails")
		}
	}
	d.SetFault(nil)
	if declared := accounted(t, o, n); declared != 0 {
		t.Errorf("%d declared", declared)
	}
	if _, err := o.take(n); err != nil {
		t.Error(err)
	}
}

// Declarations of declarations say no more than they did, so that a spool full
// of them refuses instead of turning them over for ever.
func TestSpoolFullOfDeclarations(t *testing.T) {
	o, err := openOwner(faultfs.New(), spool.Options{MaxBytes: 16 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		head := batch(n).Head // nothing but a head: its declaration is no shorter
		_, err := o.Append(seglog.Record{Head: append([]byte("D"), head[1:]...)})
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if n > 100000 {
			t.Fatal("it never says that it is full")
		}
	}
	t.Logf("full after %d", n)
}

// TestLimitMadeSmaller: what stands in a spool may be many times what its limit
// is after a restart. The oldest goes then, declared, until the rest fits; new
// records are taken from the first on.
func TestLimitMadeSmaller(t *testing.T) {
	d := faultfs.New()
	opt := spool.Options{MaxBytes: 1 << 20, SegmentBytes: 64 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a"}}
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	for i := range n {
		if _, err := o.take(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	opt.MaxBytes, opt.SegmentBytes = 128<<10, 8<<10
	if o, err = openOwner(d, opt); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := o.take(n + i); err != nil {
			t.Fatalf("%d bytes, limit %d: %v", o.Log().Bytes(), opt.MaxBytes, err)
		}
	}
	if declared := accounted(t, o, n+50); declared == 0 {
		t.Error("nothing was declared")
	}
	if got := o.Log().Bytes(); got > opt.MaxBytes+opt.MaxBytes/16 {
		t.Errorf("%d bytes, limit %d", got, opt.MaxBytes)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyChanged: a spool that DropNewest has filled, notes and all, goes on
// under DropOldest.
func TestPolicyChanged(t *testing.T) {
	d := faultfs.New()
	opt := spool.Options{MaxBytes: 128 << 10, SegmentBytes: 8 << 10, WhenFull: spool.DropNewest, Cursors: []string{"a"}}
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ; ; n++ {
		if _, err = o.take(n); errors.Is(err, spool.ErrFull) {
			err = o.note(n)
		}
		if err != nil {
			break
		}
	}
	if !errors.Is(err, spool.ErrFull) {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	opt.WhenFull = spool.DropOldest
	if o, err = openOwner(d, opt); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if _, err := o.take(n + i); err != nil {
			t.Fatalf("%d bytes, limit %d: %v", o.Log().Bytes(), opt.MaxBytes, err)
		}
	}
	accounted(t, o, n+500)
	if got := o.Log().Bytes(); got > opt.MaxBytes+opt.MaxBytes/16 {
		t.Errorf("%d bytes, limit %d", got, opt.MaxBytes)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}
