package pair

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
)

// IDs makes UUIDs of version 7 (RFC 9562, section 5.7): 48 bits of
// milliseconds, 12 bits of the millisecond's fraction (method 3 of section
// 6.2), so that ids sort as their pairs began, and 62 random bits. It is safe
// for concurrent use.
type IDs struct {
	mu  sync.Mutex
	rnd *rand.ChaCha8
}

// NewIDs makes a source of ids from 256 random bits.
func NewIDs(seed [32]byte) *IDs { return &IDs{rnd: rand.NewChaCha8(seed)} }

// New is the id of a pair that began at a time in nanoseconds since the Unix
// epoch.
func (s *IDs) New(at int64) [16]byte {
	s.mu.Lock()
	random := s.rnd.Uint64()
	s.mu.Unlock()
	const ms = 1e6
	milli, fraction := uint64(at/ms), uint64(at%ms)<<12/ms
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], milli<<16|7<<12|fraction)
	binary.BigEndian.PutUint64(id[8:], 0b10<<62|random>>2)
	return id
}
