package observe

import (
	"encoding/binary"
	"sync/atomic"

	"github.com/zeebo/xxh3"
)

// MaxKeepOneIn is the thinnest that a proxy samples.
const MaxKeepOneIn = 1_000_000

// Sampler decides which connections are kept. The decision is made once, when
// a connection is accepted, and follows from the process's epoch and the
// connection's id alone, so that it can be told from a pair whether its
// connection was kept at a rate. It is safe for concurrent use.
type Sampler struct {
	epoch [16]byte
	own   uint32
	told  atomic.Uint32
}

// NewSampler makes a sampler that keeps one connection in keepOneIn (0 and 1:
// all) unless it is told otherwise.
func NewSampler(epoch [16]byte, keepOneIn uint32) *Sampler {
	return &Sampler{epoch: epoch, own: keepOneIn}
}

// Tell sets another rate for the connections from now on; 0 goes back to the
// sampler's own.
func (s *Sampler) Tell(keepOneIn uint32) { s.told.Store(min(keepOneIn, MaxKeepOneIn)) }

// KeepOneIn is the rate now, at least 1.
func (s *Sampler) KeepOneIn() uint32 {
	if n := s.told.Load(); n > 0 {
		return n
	}
	return max(s.own, 1)
}

// Conn is the rate that a new connection gets, and whether it is kept.
func (s *Sampler) Conn(id uint64) (keepOneIn uint32, kept bool) {
	n := s.KeepOneIn()
	if n == 1 {
		return 1, true
	}
	var b [24]byte
	copy(b[:], s.epoch[:])
	binary.LittleEndian.PutUint64(b[16:], id)
	return n, xxh3.Hash(b[:])%uint64(n) == 0
}
