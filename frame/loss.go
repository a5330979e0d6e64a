package frame

import (
	"fmt"
	"iter"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Limits of a declaration of loss.
const (
	// MaxLossBytes bounds the head of a declaration that Condense makes. Only
	// one whose single batch says more than that by itself is longer.
	MaxLossBytes = 1 << 20
	// MaxLossBatches bounds the batches of one declaration.
	MaxLossBatches = 64 << 10
)

// IsLoss says whether a head declares batches lost instead of holding one.
func IsLoss(h *capturev1.FrameHead) bool { return len(h.GetLost()) > 0 }

// LostPairs is how many pairs the frames held that a declaration names. Pairs
// that had been filtered or dropped before are not among them; 0 for a head
// that is no declaration.
func LostPairs(h *capturev1.FrameHead) uint64 {
	var n uint64
	for _, run := range h.GetLost() {
		n += runPairs(run)
	}
	return n
}

func runPairs(run *capturev1.LostRun) (n uint64) {
	for _, p := range run.GetPairs() {
		n += uint64(p)
	}
	return n
}

// Condense makes from the heads of frames that are about to be lost the heads
// that declare it: per epoch, in the order of the heads, with batches that
// follow one another in one run. A declaration among the heads is carried
// over with the reason that it had; a head that already stands for pairs which
// were dropped keeps saying why. reason is for all others.
//
// notes have no body and none is longer than MaxLossBytes. pairs counts what
// is declared here for the first time.
//
// An error that is ErrMalformed tells of heads that nobody can read; they are
// left out and the notes are whole all the same. Any other leaves no notes.
// The bytes of heads are not kept.
func Condense(heads iter.Seq[[]byte], reason string) (notes [][]byte, pairs uint64, err error) {
	c := condenser{groups: map[groupKey]*group{}}
	var bad error
	unread := 0
	for b := range heads {
		h, err := Head(b)
		if err != nil {
			unread++
			bad = err
			continue
		}
		runs, why := h.GetLost(), h.GetLostReason()
		if !IsLoss(h) {
			run := runOf(h)
			if err := checkRun(run); err != nil {
				unread++
				bad = err
				continue
			}
			runs, why = []*capturev1.LostRun{run}, reason
			pairs += uint64(h.GetPairs())
		}
		if err := c.add(h, len(b), why, runs); err != nil {
			return nil, 0, err
		}
	}
	for _, g := range c.order {
		if err := c.flush(g); err != nil {
			return nil, 0, err
		}
	}
	if unread > 0 {
		bad = fmt.Errorf("condense heads: %d cannot be read: %w", unread, bad)
	}
	return c.notes, pairs, bad
}

// runOf is a frame as a run of one batch.
func runOf(h *capturev1.FrameHead) *capturev1.LostRun {
	return &capturev1.LostRun{
		FirstBatch: h.GetBatchSeq(), FirstPairSeq: h.GetFirstPairSeq(), Pairs: []uint32{h.GetPairs()},
		Filtered: h.GetFiltered(), Dropped: h.GetDropped(),
		TimeMin: h.GetTimeMin(), TimeMax: h.GetTimeMax(),
	}
}

// groupKey: what one declaration can say together.
type groupKey struct{ epoch, reason string }

// group is the declaration of one epoch as it grows.
type group struct {
	head    *capturev1.FrameHead
	base    int // upper bound of head's bytes without its runs
	bytes   int // upper bound of the runs' bytes
	batches int
	// nextPair is the sequence of the pair behind the last run.
	nextPair uint64
}

type condenser struct {
	groups map[groupKey]*group
	order  []*group
	notes  [][]byte
}

// add takes the runs of a head of size bytes.
func (c *condenser) add(h *capturev1.FrameHead, size int, reason string, runs []*capturev1.LostRun) error {
	key := groupKey{string(h.GetSource().GetEpoch()), reason}
	g := c.groups[key]
	if g == nil {
		g = &group{head: &capturev1.FrameHead{LostReason: reason}}
		c.groups[key] = g
		c.order = append(c.order, g)
	}
	// Counters only grow, so that the highest are the newest; records of one
	// epoch need not be in the order of its batches.
	if g.head.Source == nil || h.GetCounters().GetSeen() >= g.head.GetCounters().GetSeen() {
		g.head.Source, g.head.EpochStarted, g.head.Counters = h.GetSource(), h.GetEpochStarted(), h.GetCounters()
		if IsLoss(h) {
			size = proto.Size(&capturev1.FrameHead{Source: g.head.Source, EpochStarted: g.head.EpochStarted, Counters: g.head.Counters})
		}
		g.base = size + len(reason) + 2*timeBytes + 8
	}
	for _, run := range runs {
		if err := c.addRun(g, run); err != nil {
			return err
		}
	}
	return nil
}

// timeBytes bounds a field with a time, tag and all.
const timeBytes = 11

func (c *condenser) addRun(g *group, run *capturev1.LostRun) error {
	var last *capturev1.LostRun
	if n := len(g.head.GetLost()); n > 0 {
		last = g.head.GetLost()[n-1]
	}
	join := last != nil && plain(last) && plain(run) && g.nextPair == run.GetFirstPairSeq() &&
		last.GetFirstBatch()+uint64(len(last.GetPairs())) == run.GetFirstBatch()
	size := 0
	if join {
		for _, p := range run.GetPairs() {
			size += protowire.SizeVarint(uint64(p))
		}
	} else {
		// With tag and length, and what the times and the length of pairs may
		// grow by when batches join.
		size = proto.Size(run) + 2*timeBytes + 12
	}
	if last != nil && (g.base+g.bytes+size > MaxLossBytes || g.batches+len(run.GetPairs()) > MaxLossBatches) {
		if err := c.flush(g); err != nil {
			return err
		}
		return c.addRun(g, run)
	}
	g.bytes += size
	g.batches += len(run.GetPairs())
	g.nextPair = run.GetFirstPairSeq() + runPairs(run)
	if join {
		last.Pairs = append(last.Pairs, run.GetPairs()...)
		last.TimeMin, last.TimeMax = span(last.GetTimeMin(), last.GetTimeMax(), run.GetTimeMin(), run.GetTimeMax())
	} else {
		g.head.Lost = append(g.head.Lost, run)
	}
	g.head.TimeMin, g.head.TimeMax = span(g.head.GetTimeMin(), g.head.GetTimeMax(), run.GetTimeMin(), run.GetTimeMax())
	return nil
}

// plain: a run whose batches reached the forwarder's spool whole.
func plain(run *capturev1.LostRun) bool {
	return len(run.GetFiltered()) == 0 && len(run.GetDropped()) == 0
}

// span is the smallest span with both in it. One that is zero is not known.
func span(min1, max1, min2, max2 int64) (lo, hi int64) {
	switch {
	case min1 == 0 && max1 == 0:
		return min2, max2
	case min2 == 0 && max2 == 0:
		return min1, max1
	}
	return min(min1, min2), max(max1, max2)
}

// flush makes the note of what g has and begins the next.
func (c *condenser) flush(g *group) error {
	if len(g.head.GetLost()) == 0 {
		return nil
	}
	if err := checkHead(g.head); err != nil {
		return fmt.Errorf("condense heads: %s", err) // not ErrMalformed: it is ours
	}
	b, err := proto.Marshal(g.head)
	if err != nil {
		return fmt.Errorf("condense heads: encode head: %w", err)
	}
	c.notes = append(c.notes, b)
	g.head.Lost, g.head.TimeMin, g.head.TimeMax = nil, 0, 0
	g.bytes, g.batches = 0, 0
	return nil
}

// checkLoss checks what a declaration says.
func checkLoss(h *capturev1.FrameHead) error {
	switch {
	case h.GetBatchSeq() != 0 || h.GetReceived() != 0 || h.GetPairs() != 0 || h.GetBodyLen() != 0:
		return fmt.Errorf("%w: a declaration of loss that holds a batch", ErrMalformed)
	case h.GetLostReason() == "":
		return fmt.Errorf("%w: a declaration of loss without a reason", ErrMalformed)
	}
	batches := 0
	for _, run := range h.GetLost() {
		if err := checkRun(run); err != nil {
			return err
		}
		if batches += len(run.GetPairs()); batches > MaxLossBatches {
			return fmt.Errorf("%w: a declaration of more than %d lost batches", ErrMalformed, MaxLossBatches)
		}
	}
	return nil
}

func checkRun(run *capturev1.LostRun) error {
	n := uint64(len(run.GetPairs()))
	switch {
	case n == 0 || n > MaxLossBatches:
		return fmt.Errorf("%w: run of %d lost batches", ErrMalformed, n)
	case n > 1 && !plain(run):
		return fmt.Errorf("%w: run of %d lost batches with filtered or dropped pairs", ErrMalformed, n)
	case run.GetFirstBatch() == 0 || run.GetFirstBatch()+n < run.GetFirstBatch():
		return fmt.Errorf("%w: run of lost batches from %d on", ErrMalformed, run.GetFirstBatch())
	case run.GetFirstPairSeq()+runPairs(run) < run.GetFirstPairSeq():
		return fmt.Errorf("%w: run of lost batches with pairs from %d on", ErrMalformed, run.GetFirstPairSeq())
	}
	for _, p := range run.GetPairs() {
		if p > MaxPairs {
			return fmt.Errorf("%w: a lost batch of %d pairs", ErrMalformed, p)
		}
	}
	return nil
}
