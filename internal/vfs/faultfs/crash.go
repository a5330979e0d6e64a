package faultfs

import (
	"iter"
	"math/rand/v2"
)

// Kill is the directory after the process was killed: everything written is
// there, locks are free, and the old handle fails from now on.
func (d *FS) Kill() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	return d.start(d.killed())
}

// Crash is the directory after the power was lost. Of what was not synced a
// part survives that rng picks: bytes in sectors of 512 bytes or 4 KiB and in
// any order, each creation, rename and removal as a whole. A nil rng keeps
// none of it.
func (d *FS) Crash(rng *rand.Rand) *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone = true
	return d.start(d.crashed(rng))
}

// Fork is a copy of the directory as it is; the run on this one goes on.
func (d *FS) Fork() *FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.start(d.killed())
}

// start is a directory of that state, on a disk of the same size.
func (d *disk) start(s state) *FS {
	c := New()
	c.state, c.capacity = s, d.capacity
	return c
}

// Trace is what a run changed on the disk, call by call.
type Trace struct {
	capacity int64
	from     state
	events   []event
}

// Record begins a trace of everything that changes from now on.
func (d *FS) Record() *Trace {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = 0
	d.trace = &Trace{capacity: d.capacity, from: d.killed()}
	return d.trace
}

// Events is how many changes there were since Record. A run notes it with
// what it was promised by then.
func (d *FS) Events() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.events
}

// Disks are the disks that a crash may leave behind a prefix of a trace.
type Disks struct{ disk *disk }

// Kill is the disk after only the process ended there.
func (p Disks) Kill() *FS { return p.disk.start(p.disk.killed()) }

// Crash is the disk after the power went there; see FS.Crash. It may be asked
// more than once.
func (p Disks) Crash(rng *rand.Rand) *FS { return p.disk.start(p.disk.crashed(rng)) }

// Prefixes yields every prefix of the trace, by the count of its events, with
// the disks that a crash at its end may leave. They are valid until the next.
func (t *Trace) Prefixes() iter.Seq2[int, Disks] {
	return func(yield func(int, Disks) bool) {
		d := New().disk
		d.state, d.capacity = t.from.killed(), t.capacity
		for n := 0; ; n++ {
			if !yield(n, Disks{d}) || n == len(t.events) {
				return
			}
			d.apply(t.events[n])
		}
	}
}
