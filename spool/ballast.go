package spool

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
	ballastName = "ballast"
	// maxBallast is room for the declarations of some million batches.
	maxBallast = 16 << 20
	// minBallast is not worth halving.
	minBallast = 64 << 10
	// refillEvery is how often a ballast that is too small is tried to be
	// made whole. Until then nothing new is taken by who drops the newest, so
	// it is not long; a try asks for the room first, which costs little.
	refillEvery = time.Second
)

// ballast is a file that holds nothing. It takes room of the disk so that
// there is some to give up when the disk is full, for the records that say
// what is lost. It is guarded by Spool.roomMu, but for short.
type ballast struct {
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

// open makes the file, or as much of it as the disk has room for.
func (b *ballast) open() error {
	f, err := b.d.OpenFile(ballastName, os.O_RDWR|os.O_CREATE, 0o600)
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
		if b.grow(f, size) || size <= minBallast {
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
func (b *ballast) grow(f vfs.File, size int64) bool {
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

// release gives the room up; false when there is none to give.
func (b *ballast) release() bool {
	if b.have == 0 {
		return false
	}
	f, err := b.d.OpenFile(ballastName, os.O_RDWR, 0)
	if err == nil {
		err = errors.Join(f.Truncate(0), f.Sync(), f.Close())
	}
	b.have, b.released, b.tried = 0, true, b.now()
	b.short.Store(true)
	return err == nil
}

// refill makes the ballast whole again when there is room, and says whether it
// is.
func (b *ballast) refill() bool {
	if !b.short.Load() {
		return true
	}
	if b.now().Sub(b.tried) < refillEvery {
		return false
	}
	return b.fill()
}

// fill is refill without waiting, for when room was made.
func (b *ballast) fill() bool {
	if !b.short.Load() {
		return true
	}
	b.tried = b.now()
	f, err := b.d.OpenFile(ballastName, os.O_RDWR|os.O_CREATE, 0o600)
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
