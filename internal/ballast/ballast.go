// Package ballast keeps a file that holds nothing: it takes room of a disk, so
// that there is some to give up when the disk is full.
package ballast

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// Name is the file's.
	Name = "ballast"
	// minSize is not worth halving.
	minSize = 64 << 10
	// refillEvery is how often a ballast that is too small is tried to be
	// made whole. Until then its owner may take nothing new, so it is not
	// long; a try asks for the room first, which costs little.
	refillEvery = time.Second
)

// Ballast is the file. Its owner makes sure that one method at a time is
// called; Short may be called at any time.
type Ballast struct {
	d    vfs.FS
	now  func() time.Time
	want int64
	have int64
	// released: it was given up because the disk was full.
	released bool
	// short: there is less than want.
	short atomic.Bool
	tried time.Time
}

// New is a ballast of want bytes in a directory, before Open.
func New(d vfs.FS, now func() time.Time, want int64) *Ballast {
	return &Ballast{d: d, now: now, want: want}
}

// Short reports whether there is less than there should be.
func (b *Ballast) Short() bool { return b.short.Load() }

// Released reports whether it was given up, in this process or before.
func (b *Ballast) Released() bool { return b.released }

// Open makes the file, or as much of it as the disk has room for.
func (b *Ballast) Open() error {
	f, err := b.d.OpenFile(Name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		if vfs.IsFull(err) {
			b.short.Store(true)
			b.released, b.tried = true, b.now()
			return nil
		}
		return fmt.Errorf("open ballast: %w", err)
	}
	defer f.Close()
	if b.have, err = f.Size(); err != nil {
		return fmt.Errorf("open ballast: %w", err)
	}
	if b.have > b.want { // the limit was larger
		if err := f.Truncate(b.want); err != nil {
			return fmt.Errorf("shorten ballast: %w", err)
		}
		b.have = b.want
	}
	// A part is better than nothing after a crash that came while it was
	// released: there are declarations to write still.
	for size := b.want; size > b.have; size /= 2 {
		if b.grow(f, size) || size <= minSize {
			break
		}
	}
	b.tried = b.now()
	b.short.Store(b.have < b.want)
	b.released = b.have == 0
	return nil
}

// grow makes the file that long and says whether it is; else it is as long as
// before. Why it is not is of no matter: a disk that fails otherwise fails
// what is written for its own sake, too. A disk that has no room for it is not
// filled up to find that out, as others may write to it.
func (b *Ballast) grow(f vfs.File, size int64) bool {
	if free, err := b.d.Free(); err == nil && free < size-b.have {
		return false
	}
	chunk := make([]byte, min(size-b.have, 1<<20))
	// Not zeros: those take no room where the disk compresses.
	_, _ = rand.NewChaCha8([32]byte{}).Read(chunk)
	for at := b.have; at < size; at += int64(len(chunk)) {
		chunk = chunk[:min(int64(len(chunk)), size-at)]
		if _, err := f.WriteAt(chunk, at); err != nil {
			_ = f.Truncate(b.have)
			return false
		}
	}
	if f.Sync() != nil {
		_ = f.Truncate(b.have)
		return false
	}
	b.have = size
	return true
}

// Release gives the room up; false when there is none to give.
func (b *Ballast) Release() bool {
	if b.have == 0 {
		return false
	}
	f, err := b.d.OpenFile(Name, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Sync(), f.Close())
	}
	b.have, b.released, b.tried = 0, true, b.now()
	b.short.Store(true)
	return err == nil
}

// Refill makes the ballast whole again when there is room, and says whether it
// is.
func (b *Ballast) Refill() bool {
	if !b.short.Load() {
		return true
	}
	if b.now().Sub(b.tried) < refillEvery {
		return false
	}
	return b.Fill()
}

// Fill is Refill without waiting, for when room was made.
func (b *Ballast) Fill() bool {
	if !b.short.Load() {
		return true
	}
	b.tried = b.now()
	f, err := b.d.OpenFile(Name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return false
	}
	defer f.Close()
	if !b.grow(f, b.want) {
		return false
	}
	b.released = false
	b.short.Store(false)
	return true
}
