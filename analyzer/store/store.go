// Package store is the contract between those who keep pairs and those who
// ask for them. The embedded store of this package's engines is a segment log
// that is the truth and a disposable index beside it; see
// docs/adr and the engine's own package.
package store

import (
	"context"
	"errors"
	"iter"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: no pair has this id (any more).
	ErrNotFound = errors.New("no such pair")
	// ErrLocked: another process has the directory; the error says which.
	ErrLocked = errors.New("data directory is in use")
	// ErrFull: the disk has no room; reads still work.
	ErrFull = errors.New("disk is full")
)

// ID is a pair's UUIDv7.
type ID [16]byte

// Stored is a pair with what the store knows of it. The caller owns it.
type Stored struct {
	Pair *capturev1.RRPair
	// At is when it became durable here, Unix nanoseconds.
	At int64
	// Seq is the store's own order: it only grows, and never goes back over a
	// restart. Resuming a tail goes by it.
	Seq uint64
}

// Writer takes frames as forwarders made them.
type Writer interface {
	// Append makes frames of one spool durable, in order. nil means durable
	// and visible to every Reader. Frames below Next are skipped: they are
	// here already. ctx only bounds waiting, never tears a write.
	Append(ctx context.Context, spool ID, frames []*capturev1.Frame) error
	// Next is the offset up to which this spool's frames are durable here; 0
	// for a spool never seen.
	Next(spool ID) uint64
}

// Reader answers questions. Every call ends soon after its context does
// (200 ms at most) with the context's error.
type Reader interface {
	// Pair is one pair, whole, or ErrNotFound.
	Pair(ctx context.Context, id ID) (*Stored, error)
	// List yields the newest pairs first, by (time, id). The sequence is
	// single-use; it ends after Limit pairs, after an error (yielded once, as
	// the last element), or when the consumer stops. Bodies are present.
	List(ctx context.Context, l List) iter.Seq2[*Stored, error]
	// Histogram counts pairs by time and status class.
	Histogram(ctx context.Context, h Histogram) (*Buckets, error)
	// Tail yields pairs in the order in which they became durable, beginning
	// after Seq, and goes on until ctx ends. It never makes a writer wait: a
	// consumer that is too slow is told how many it lost.
	Tail(ctx context.Context, t Tail) iter.Seq2[Event, error]
	// Extent says what is stored.
	Extent(ctx context.Context) (Extent, error)
}

// List asks for pairs. Times are Unix nanoseconds of the request's first
// byte; 0 leaves a side open.
type List struct {
	Query *query.Query // nil selects all
	From  int64        // included
	To    int64        // excluded
	// Before continues after the last pair of an earlier page.
	Before *Key
	Limit  int
	// ScanBudget bounds the bytes of frames that are opened to look into
	// headers and bodies; 0 is the engine's default. When it is used up the
	// sequence ends with ErrPartial as its error.
	ScanBudget int64
}

// ErrPartial: a limit was reached before everything was looked at. What came
// before it holds.
var ErrPartial = errors.New("answer is partial: scan budget used up")

// Key is a pair's place in a list.
type Key struct {
	Time int64
	ID   ID
}

// Histogram asks for counts in [From, To), in at most Buckets equal steps.
type Histogram struct {
	Query      *query.Query
	From, To   int64
	Buckets    int
	ScanBudget int64
}

// Buckets answers a Histogram.
type Buckets struct {
	From, To int64
	// Step is the width of one bucket in nanoseconds.
	Step int64
	// Counts has, per bucket, the pairs by status class: index 0 for none,
	// then 1xx to 5xx.
	Counts [][6]uint64
	// Partial: the budget ended before everything was counted.
	Partial bool
}

// Tail asks for pairs as they come. After 0 begins with now.
type Tail struct {
	Query *query.Query
	After uint64
}

// Event is one pair of a tail, or the number of pairs that were lost because
// the consumer was too slow, or neither, as a sign of life.
type Event struct {
	Stored  *Stored
	Dropped uint64
}

// Extent is what a store holds. Times are Unix nanoseconds, 0 when empty.
type Extent struct {
	Oldest, Newest int64
	Pairs          uint64
	Bytes          int64
}
