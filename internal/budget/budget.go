// Package budget accounts for the memory that capture holds, and decides what
// is let go on the way to its limit: first the tails of bodies, then whole
// bodies, then pairs. Traffic never asks it.
package budget

import "sync/atomic"

// Class says what the memory is for. A class that is let go earlier has a
// lower ceiling.
type Class uint8

const (
	// Tail is what a body has beyond HeadOfBody; it ends at 3/4 of the limit.
	Tail Class = iota
	// Body is the first bytes of a body; it ends at 7/8 of the limit.
	Body
	// Pair is everything else that a pair needs; it ends at the limit.
	Pair
)

// HeadOfBody is how much of a body counts as Body; the rest is Tail.
const HeadOfBody = 4 << 10

// Budget is a number of bytes that is shared by all connections and what
// ships their pairs. It is safe for concurrent use.
type Budget struct {
	ceilings [3]int64
	used     atomic.Int64
}

// New makes a budget of limit bytes.
func New(limit int64) *Budget {
	return &Budget{ceilings: [3]int64{Tail: limit / 4 * 3, Body: limit / 8 * 7, Pair: limit}}
}

// Take reserves n bytes, or says that there is no room for them; then nothing
// is reserved.
func (b *Budget) Take(c Class, n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.ceilings[c] {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Give returns n bytes.
func (b *Budget) Give(n int64) { b.used.Add(-n) }

// Used is what is reserved now.
func (b *Budget) Used() int64 { return b.used.Load() }

// Limit is what may be reserved at most.
func (b *Budget) Limit() int64 { return b.ceilings[Pair] }
