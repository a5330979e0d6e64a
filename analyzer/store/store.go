// Package store is the contract between those who keep pairs and those who
// ask for them. The engines are packages below it: segstore, a segment log
// that is the truth with a disposable index beside it, and memstore, a slice
// in memory. Package storetest holds what every engine has to pass.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Errors that callers tell apart.
var (
	// ErrNotFound: no pair has this id (any more).
	ErrNotFound = errors.New("no such pair")
	// ErrLocked: another process has the directory; the error says which.
	ErrLocked = errors.New("data directory is in use")
	// ErrFull: the disk has no room; reads still work, and so do writes again
	// once there is room.
	ErrFull = errors.New("disk is full")
	// ErrNotReady: the index is being rebuilt from the log; the error says how
	// far it is. Nothing is lost, and asking again later helps.
	ErrNotReady = errors.New("store is not ready")
	// ErrPartial: a limit was reached before everything was looked at. What
	// came before it holds. See PartialError.
	ErrPartial = errors.New("answer is partial")
)

// FrameError is a frame that no store takes, now or later.
type FrameError struct {
	Offset, Next uint64
	Reason       string
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("frame at offset %d: %s (the next offset is %d)", e.Offset, e.Reason, e.Next)
}

// ID is a pair's UUIDv7.
type ID [16]byte

// Stored is a pair with what the store knows of it. It is to be read only:
// other readers may share what it points to.
type Stored struct {
	Pair *capturev1.RRPair
	// Endpoint is the template of the pair's path.
	Endpoint string
	// At is when it became durable here, Unix nanoseconds.
	At int64
	// Seq is the store's own order: it only grows, and never goes back over a
	// restart. Resuming a tail goes by it.
	Seq uint64
}

// Writer takes frames as forwarders made them.
type Writer interface {
	// Append makes frames of one spool durable, in the order in which they
	// are given, which need not be that of their offsets. nil means durable
	// and visible to every Reader. Frames that Have covers are skipped: they
	// are here already; so is the content of a batch that another spool
	// brought. A frame that cannot be opened is kept as it is and counted; one
	// that makes no sense ends it with a *FrameError.
	// Append waits while the index is too far behind. ctx only bounds waiting,
	// never tears a write. After an error some frames may be durable: Have
	// says which.
	Append(ctx context.Context, spool ID, frames []*capturev1.Frame) error
	// Have says what of a spool is durable here; nothing for a spool never
	// seen.
	Have(spool ID) Have
	// Skip says that nothing of a spool is to come any more below an offset,
	// for one that sends in order: Have covers it from then on. No Append of
	// the spool may be under way.
	Skip(spool ID, below uint64)
}

// Have is what a store has of a spool.
type Have struct {
	// Everything below Next is here, and Ranges above it: ascending, disjoint,
	// not touching.
	Next   uint64
	Ranges []OffsetRange
	// Last is the offset of the frame that stands highest in the spool, Sum
	// the CRC-32C of its head followed by its body. Known says that there is
	// one.
	Last  uint64
	Sum   uint32
	Known bool
}

// OffsetRange is [From, To).
type OffsetRange struct{ From, To uint64 }

// Erased tells of pairs that a deletion by query took out of a stored frame.
type Erased struct {
	Deletion ID
	// At is where the frame stands in the store's order, Head its head, which
	// counts the pairs still; it is to be read only.
	At    uint64
	Head  *capturev1.FrameHead
	Pairs uint32
	// Before: the deletion did it before a crash, so that it may be known.
	Before bool
}

// Commit is one frame that became durable, as those need it who count.
type Commit struct {
	Spool ID
	// Head is the frame's, without the lost batches that were here, or known
	// to be lost, already. It is nil for a frame that is missing and for one
	// whose head itself cannot be read; of one whose body cannot it tells what
	// was in it. It is to be read only.
	Head *capturev1.FrameHead
	// Missing says why nobody knows what the frame held; empty otherwise.
	Missing string
	// Unreadable: the frame is kept, and nobody can read its pairs. Its batch
	// may come again, and is reclaimed then.
	Unreadable bool
	// Duplicate: the batch was here already (or, where this declares it lost,
	// known to be so), and nothing of it counts.
	Duplicate bool
	// Reclaimed: the batch had been declared lost, or had come unreadable, and
	// now it is here. What was counted for it then no longer counts, but this
	// does.
	Reclaimed bool
	// Deleted pairs of the frame were deleted by query since: Head counts them
	// still. Deletion is the one that was the last.
	Deleted  uint32
	Deletion ID
	// At is when it became durable, Unix nanoseconds.
	At int64
	// Next is the place in the store's own order behind it; Commits goes on
	// from there.
	Next uint64
}

// Committer tells of commits: to whom it was given when the store was opened,
// in order, each before its Append returns; and again afterwards, for those
// who were not there.
type Committer interface {
	// Commits yields what is retained from a place of the store's order on; 0
	// is the oldest. Damaged records are left out.
	Commits(from uint64) iter.Seq2[Commit, error]
}

// Reader answers questions. Every call ends soon after its context does
// (200 ms at most) with the context's error.
type Reader interface {
	// Pair is one pair, whole, or ErrNotFound.
	Pair(ctx context.Context, id ID) (*Stored, error)
	// List yields the newest pairs first, by (time, id). The sequence is
	// single-use; it ends after Limit pairs, after an error (yielded once, as
	// the last element), or when the consumer stops. It holds nothing that
	// needs closing.
	List(ctx context.Context, l List) iter.Seq2[*Stored, error]
	// Histogram counts pairs by time and status class.
	Histogram(ctx context.Context, h Histogram) (*Buckets, error)
	// Tail yields whole pairs in the order in which they became durable,
	// beginning after Seq, and goes on until ctx ends, with ctx's error as
	// its last element. It never makes a writer wait: a consumer that is too
	// slow is told how many it lost.
	Tail(ctx context.Context, t Tail) iter.Seq2[Event, error]
	// Extent says what is stored.
	Extent(ctx context.Context) (Extent, error)
}

// List asks for pairs. Times are Unix nanoseconds, of Time; 0 leaves a side
// open.
type List struct {
	Query *query.Query // nil selects all
	From  int64        // included
	To    int64        // excluded
	// Before continues after the last pair of an earlier page.
	Before *Key
	Limit  int
	// Whole asks for pairs with everything in them. Otherwise they have what
	// lists show: source (without proxy id and epoch), direction, protocol,
	// addresses, conn and seq, method to error, the request's and the
	// response's body_size, flags, tags, sample_weight, and of the timing the
	// request's first byte with what follows from duration and time to first
	// byte. That needs no frame to be opened.
	Whole bool
	// ScanBudget bounds the bytes that are read to look into what the index
	// does not have (headers, bodies); 0 is the engine's default. When it is
	// used up the sequence ends with a *PartialError as its error.
	ScanBudget int64
	// Progress, when set, is told now and then how far the look into frames
	// is, by the goroutine that consumes. It is not called where no frame is
	// opened.
	Progress func(Progress)
}

// PartialError is an ErrPartial that knows how far the answer got.
type PartialError struct {
	// Reason is for people: "scan budget of 512 MiB used up".
	Reason string
	// Reached, when set, is the last place that was looked at, matching or
	// not: a list with Before set to it goes on from there.
	Reached *Key
	// Unreadable, where it is not 0, says that all was looked at but for so
	// many pairs, matching or not, that nobody can read any more; a damaged
	// stretch of which it is not known how many were in it counts as one.
	Unreadable uint64
}

func (e *PartialError) Error() string        { return ErrPartial.Error() + ": " + e.Reason }
func (e *PartialError) Is(target error) bool { return target == ErrPartial }

// Time is where a pair stands in lists and histograms: the request's first
// byte or, where capture missed that, the first moment that is known of the
// exchange, and last of its connection. It is below math.MaxInt64, so that
// there is always a moment after it.
func Time(p *capturev1.RRPair) int64 {
	t := p.GetTiming()
	for _, v := range [...]int64{t.GetRequestFirst(), t.GetRequestLast(), t.GetResponseFirst(), t.GetResponseLast(), t.GetConnected(), t.GetAccepted()} {
		if v > 0 {
			return min(v, math.MaxInt64-1)
		}
	}
	return 0
}

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
	// Estimated has the same, each pair counted for as many as it stands for
	// (Weight). Sampled: some stand for more than themselves; otherwise
	// Estimated is equal to Counts.
	Estimated [][6]uint64
	Sampled   bool
	// Partial: the budget ended before everything was counted.
	Partial bool
}

// Tail asks for pairs as they come. After 0 begins with now; a place that
// retention has removed is resumed at the oldest that there is.
type Tail struct {
	Query *query.Query
	After uint64
}

// Event is one pair of a tail, or the number of pairs that were lost because
// the consumer was too slow, or neither, as a sign of life: at once when the
// tail stands, and every few seconds.
type Event struct {
	Stored *Stored
	// Dropped counts pairs before the query, since nobody looked at them.
	// Where retention removed what was to be resumed it is at least 1.
	Dropped uint64
	// Seq is how far the tail has looked. Resuming after it misses nothing.
	Seq uint64
}

// Extent is what a store holds. Times are Unix nanoseconds, 0 when empty.
type Extent struct {
	Oldest, Newest int64
	Pairs          uint64
	Bytes          int64
}

// MaxBuckets bounds a histogram.
const MaxBuckets = 10_000

// NewBuckets is the empty answer to h: bounds that are open become those of
// what is stored. It has no buckets when there is nothing between them.
func NewBuckets(h Histogram, e Extent) *Buckets {
	b := &Buckets{From: h.From, To: h.To}
	if b.From == 0 {
		b.From = e.Oldest
	}
	if b.To == 0 && e.Pairs > 0 {
		b.To = e.Newest + 1
	}
	width := b.To - b.From
	if width <= 0 {
		return b
	}
	n := min(max(int64(h.Buckets), 1), MaxBuckets, width)
	b.Step = (width-1)/n + 1
	b.Counts = make([][6]uint64, (width-1)/b.Step+1)
	b.Estimated = make([][6]uint64, len(b.Counts))
	return b
}

// Add counts one pair of a weight, if it is within the bounds.
func (b *Buckets) Add(time int64, status int32, weight uint32) {
	if time >= b.From && time < b.To {
		i, class := (time-b.From)/b.Step, StatusClass(status)
		b.Counts[i][class]++
		b.Estimated[i][class] += uint64(max(weight, 1))
		b.Sampled = b.Sampled || weight > 1
	}
}

// Weight is how many pairs this one stands for: itself, and those that
// sampling left out for it.
func Weight(p *capturev1.RRPair) uint32 { return max(p.GetSampleWeight(), 1) }

// StatusClass is 1 to 5 for 1xx to 5xx, and 0 for everything else.
func StatusClass(status int32) int {
	if c := status / 100; c >= 1 && c <= 5 {
		return int(c)
	}
	return 0
}
