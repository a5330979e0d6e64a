// Package ledger counts what a proxy saw and what became of it. Every pair
// that was begun is in exactly one of its counts:
//
//	seen = batched + waiting + sampled + sum(dropped) + open
//
// A pair enters a batch when a forwarder is there to take it. Until then it
// waits, in memory or in the ring, where it may still be lost; from then on it
// has a number, and whether it arrived is for the other side to say.
package ledger

import "sync/atomic"

// Reason says why a pair was lost in the proxy. The list is short and fixed:
// it is a label of metrics.
type Reason uint8

const (
	// Memory: capture was at its limit.
	Memory Reason = iota
	// Fault: capture itself failed on the connection.
	Fault
	// Stopped: the proxy stopped before the forwarder took it.
	Stopped
	// Ring: the ring on disk did not give it back.
	Ring
	reasons
)

// String is the word that counters carry.
func (r Reason) String() string {
	return [...]string{Memory: "memory", Fault: "fault", Stopped: "stopped", Ring: "ring"}[r]
}

// Failure says why a connection is not decoded any further. The list is short
// and fixed: it is a label of metrics.
type Failure uint8

const (
	// Panic: the decoder, or what pairs and ships for it, panicked.
	Panic Failure = iota
	// Fuel: the decoder did more than its input is worth.
	Fuel
	// Held: the decoder kept more than it may, or than there was memory for.
	Held
	// Crowded: more exchanges were open than are followed.
	Crowded
	// Ambiguous framing.
	Ambiguous
	// Malformed: these bytes are not the protocol.
	Malformed
	// TooLarge: a head is larger than is read.
	TooLarge
	// Gap: bytes were not seen where the decoder needs them.
	Gap
	failures
)

func (f Failure) String() string {
	return [...]string{
		Panic: "panic", Fuel: "fuel", Held: "memory", Crowded: "too_many_open",
		Ambiguous: "framing_ambiguous", Malformed: "malformed", TooLarge: "too_large", Gap: "gap",
	}[f]
}

// Ledger holds cumulative counts since the process began. It is safe for
// concurrent use.
type Ledger struct {
	seen    atomic.Uint64
	batched atomic.Uint64
	sampled atomic.Uint64
	dropped [reasons]atomic.Uint64
	// taken pairs are over and came to wait; lost were among them.
	taken atomic.Uint64
	lost  [reasons]atomic.Uint64

	// failures are connections, by why they are not decoded any further.
	failures [failures]atomic.Uint64

	Acked      atomic.Uint64
	BodiesShed atomic.Uint64
	Faults     atomic.Uint64

	ClientToServer atomic.Uint64 // bytes
	ServerToClient atomic.Uint64

	ConnsAccepted atomic.Uint64
	ConnsFailed   atomic.Uint64
}

// Seen counts a pair that begins. Exactly one of Taken, Sampled and Dropped
// must follow for it.
func (l *Ledger) Seen() { l.seen.Add(1) }

// Taken counts a pair that waits now. Batched or Lost must follow for it.
func (l *Ledger) Taken() { l.taken.Add(1) }

// Batched counts n pairs that waited and entered a batch.
func (l *Ledger) Batched(n uint64) { l.batched.Add(n) }

// Lost counts n pairs that waited and were lost.
func (l *Ledger) Lost(r Reason, n uint64) { l.lost[r].Add(n) }

// Sampled counts a pair that sampling left out.
func (l *Ledger) Sampled() { l.sampled.Add(1) }

// Dropped counts a pair that was lost before it came to wait.
func (l *Ledger) Dropped(r Reason) { l.dropped[r].Add(1) }

// Failed counts a connection that is not decoded any further.
func (l *Ledger) Failed(f Failure) { l.failures[f].Add(1) }

// Failures are the connections that were not decoded to their end, by every
// reason that there is.
func (l *Ledger) Failures() map[string]uint64 {
	m := make(map[string]uint64, failures)
	for f := range l.failures {
		m[Failure(f).String()] = l.failures[f].Load()
	}
	return m
}

// Pairs is what became of the pairs that were seen.
type Pairs struct {
	Seen    uint64 `json:"seen"`
	Batched uint64 `json:"batched"`
	Sampled uint64 `json:"sampled"`
	// Dropped by reason; only reasons that occurred.
	Dropped map[string]uint64 `json:"dropped"`
	// Waiting for the forwarder, in memory or in the ring.
	Waiting uint64 `json:"waiting"`
	// Open is the rest.
	Open uint64 `json:"open"`
}

// Pairs reads the counts, in an order in which neither Waiting nor Open can
// come out negative: what is part of another count is read before it.
func (l *Ledger) Pairs() Pairs {
	p := Pairs{Sampled: l.sampled.Load(), Batched: l.batched.Load(), Dropped: make(map[string]uint64)}
	var lost, dropped uint64
	for r := range l.dropped {
		before, after := l.dropped[r].Load(), l.lost[r].Load()
		if n := before + after; n > 0 {
			p.Dropped[Reason(r).String()] = n
		}
		dropped += before
		lost += after
	}
	taken := l.taken.Load()
	p.Waiting = taken - p.Batched - lost
	p.Seen = l.seen.Load()
	p.Open = p.Seen - taken - p.Sampled - dropped
	return p
}

// Reasons lists the words that Pairs.Dropped may hold.
func Reasons() []string {
	words := make([]string, reasons)
	for r := range words {
		words[r] = Reason(r).String()
	}
	return words
}
