package spool_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/weir-capture/weir/internal/faultreport"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// promise is what a spool's users rely on at a moment of a run.
type promise struct {
	acked int            // batches 0 to acked-1 were acknowledged
	tried int            // and those up to here may be there
	done  map[string]int // by cursor: batches below were taken by its destination
	next  uint64         // no offset below is given out again
}

// run does so many operations on d, as a forwarder does, and calls note after
// each that made a promise.
func run(t *testing.T, d *faultfs.FS, opt spool.Options, ops int, note func(promise)) {
	t.Helper()
	rng := rand.New(rand.NewPCG(17, uint64(len(opt.WhenFull))))
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	p := promise{done: map[string]int{}}
	tell := func() {
		q := p
		q.done = maps.Clone(p.done)
		note(q)
	}
	for range ops {
		switch k := rng.IntN(20); {
		case k < 12: // a group of batches
			n := 1 + rng.IntN(4)
			ns := make([]int, n)
			for i := range ns {
				ns[i] = p.acked + i
			}
			p.tried = p.acked + n
			tell()
			next, err := o.take(ns...)
			if errors.Is(err, spool.ErrFull) {
				for _, n := range ns {
					if err = o.note(n); err != nil {
						break
					}
					p.acked++
				}
				next = o.Log().Next()
			} else if err == nil {
				p.acked += n
			}
			if err != nil && !errors.Is(err, spool.ErrFull) {
				t.Fatal(err)
			}
			if err == nil {
				p.next = next
			}
		case k < 18: // a destination takes some
			name := opt.Cursors[rng.IntN(len(opt.Cursors))]
			c := o.Cursor(name)
			left := 1 + rng.IntN(12)
			for e, err := range o.Log().Heads(c.Offset()) {
				if _, removed := errors.AsType[*seglog.RemovedError](err); removed {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				_, ns := batchesOf(e.Head)
				p.done[name] = max(p.done[name], ns[len(ns)-1]+1)
				tell() // taken before the cursor says so
				if err := c.Advance(e.Next); err != nil {
					t.Fatal(err)
				}
				if left--; left == 0 {
					break
				}
			}
		case k < 19:
			if err := o.Flush(); err != nil {
				t.Fatal(err)
			}
		default:
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if o, err = openOwner(d, opt); err != nil {
				t.Fatal(err)
			}
		}
		tell()
	}
}

// hold is holdAll for those who need no sum.
func hold(t *testing.T, d *faultfs.FS, opt spool.Options, p promise, torn bool) error {
	t.Helper()
	return holdAll(t, d, opt, p, torn, &faultreport.Line{Dropped: map[string]uint64{}})
}

// holdAll checks a disk that a crash left against what had been promised, and
// counts the acknowledged batches on it.
func holdAll(t *testing.T, d *faultfs.FS, opt spool.Options, p promise, torn bool, sum *faultreport.Line) error {
	t.Helper()
	o, err := openOwner(d, opt)
	if err != nil {
		return fmt.Errorf("does not start: %w", err)
	}
	defer o.Close()
	// Nothing twice: none stands in two records, and one that was acknowledged
	// is known when its proxy sends it again.
	contentsFrom(t, o.Spool, 0)
	for n := range p.acked {
		if !o.accepted[n] {
			return fmt.Errorf("batch %d was acknowledged and is not known", n)
		}
	}
	for i, name := range opt.Cursors {
		c := contentsFrom(t, o.Spool, o.Cursor(name).Offset())
		for n := range p.acked {
			if i == 0 {
				sum.Generated++
				if c.declared[n] {
					sum.Dropped["forwarder/spool_full"]++
				} else {
					sum.Stored++
				}
			}
			if _, here := c.batches[n]; !here && !c.declared[n] && n >= p.done[name] {
				return fmt.Errorf("batch %d of %d is neither there nor declared for %s, which stands at %d", n, p.acked, name, o.Cursor(name).Offset())
			}
		}
		for n := range c.batches {
			if n >= p.tried {
				return fmt.Errorf("batch %d was never sent", n)
			}
		}
		// A segment goes after the cursors that have passed it are durable.
		if len(c.removed) > 0 {
			return fmt.Errorf("%s begins again before what there is: %w", name, c.removed[0])
		}
		// A group that was being written may have left its last records and
		// not its first; nobody can tell that from damage.
		if len(c.damage) > 0 && !torn {
			return fmt.Errorf("damage: %w", c.damage[0])
		}
	}
	if o.Log().Next() < p.next {
		return fmt.Errorf("next offset is %d, %d was given out", o.Log().Next(), p.next)
	}
	// It goes on.
	if _, err := o.take(1 << 20); err != nil && !errors.Is(err, spool.ErrFull) {
		return fmt.Errorf("does not go on: %w", err)
	}
	return nil
}

// TestR17PowerLossAtEveryPoint runs 200 operations of a small, full spool and
// then crashes at every single change that they made to the disk, in several
// ways. What was acknowledged by then is there, or declared lost; nothing is
// there twice; the spool opens and goes on.
func TestR17PowerLossAtEveryPoint(t *testing.T) {
	for _, when := range []spool.WhenFull{spool.DropOldest, spool.DropNewest} {
		t.Run(string(when), func(t *testing.T) {
			t.Parallel()
			opt := spool.Options{MaxBytes: 12 << 10, SegmentBytes: 2 << 10, WhenFull: when, Cursors: []string{"a", "b"}, Now: ticking()}
			d := faultfs.New()
			trace := d.Record()
			promises := map[int]promise{}
			lost := 0
			opt.OnDrop = func(string, spool.Loss) { lost++ }
			run(t, d, opt, 200, func(p promise) {
				// The one before the next change to the disk is what holds
				// there; what is being tried counts as soon as it is.
				promises[d.Events()] = p
			})
			opt.OnDrop = nil
			if when == spool.DropOldest && lost < 5 {
				t.Fatalf("the trace dropped %d segments: it tests too little", lost)
			}
			p := promise{}
			rng := rand.New(rand.NewPCG(3, 17))
			prefixes, disks := 0, 0
			sum := faultreport.Line{Fault: "R17 every crash prefix of 200 operations, spool with " + string(when), Dropped: map[string]uint64{}}
			for n, after := range trace.Prefixes() {
				if q, ok := promises[n]; ok {
					p = q
				}
				prefixes++
				ways := []*faultfs.FS{after.Crash(nil), after.Crash(rng)}
				if n%4 == 0 {
					ways = append(ways, after.Kill())
				}
				for i, d := range ways {
					disks++
					if err := holdAll(t, d, opt, p, i == 1, &sum); err != nil {
						t.Fatalf("crash after %d changes, way %d: %v", n, i, err)
					}
				}
			}
			sum.Note = fmt.Sprintf("%d disks after %d prefixes; counted are the acknowledged batches on each", disks, prefixes)
			sum.Print(t)
			t.Logf("%d prefixes, %d disks, %d batches, %d segments dropped", prefixes, disks, p.acked, lost)
		})
	}
}
