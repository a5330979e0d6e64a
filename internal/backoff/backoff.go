// Package backoff says how long to wait before trying again: longer each
// time, up to a limit, and never the same for two that failed together.
package backoff

import "time"

// Backoff counts failed attempts. It is not safe for concurrent use.
type Backoff struct {
	// Min is the longest first wait, Max the longest of all.
	Min, Max time.Duration
	// Rand gives numbers in [0, 1).
	Rand func() float64

	next time.Duration
}

// Next is how long to wait now: between half and the whole of a time that
// doubles with every call.
func (b *Backoff) Next() time.Duration {
	d := min(max(b.next, b.Min), b.Max)
	b.next = min(2*d, b.Max)
	return d/2 + time.Duration(b.Rand()*float64(d/2))
}

// Reset begins again, after a success.
func (b *Backoff) Reset() { b.next = 0 }
