package receive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/rangeset"
	"github.com/weir-capture/weir/seglog"
)

const (
	// maxEpochs bounds the proxy processes whose batches are remembered; the
	// one that was not heard for the longest time goes first.
	maxEpochs = 12_000
	// maxRanges bounds the ranges of one epoch. A proxy sends in order, so
	// that there is one; holes come from another forwarder that stood behind
	// the same address. With maxEpochs it keeps the state below what a
	// segment's head takes (seglog.MaxHeadBytes), whatever proxies send.
	maxRanges = 64
	// forgetAfter is when an epoch that sends nothing is forgotten. A proxy
	// would have to be cut off for that long, and go on with a batch whose
	// acknowledgement was lost, for that to matter.
	forgetAfter = 7 * 24 * time.Hour

	stateVersion = 1
)

// Accepted remembers which batches of which epochs are durable here. It is
// rebuilt at start from the spool itself: from the state at the head of the
// newest segment and the records behind it. It may be used by many goroutines
// at once.
type Accepted struct {
	now func() time.Time

	mu     sync.Mutex
	epochs map[registry.Epoch]*batches
}

type batches struct {
	seqs rangeset.Set
	used time.Time
}

// NewAccepted remembers nothing yet.
func NewAccepted(now func() time.Time) *Accepted {
	return &Accepted{now: now, epochs: map[registry.Epoch]*batches{}}
}

// Recover reads what log knows: batches, also those that are only declared as
// dropped, and those that were taken once and are declared lost since. Records
// whose body is damaged do not count: if one was never acknowledged its proxy
// still has it, and if it was, its proxy will not ask.
func (a *Accepted) Recover(log *seglog.Log) error {
	state, from, err := log.LastState()
	if err != nil {
		return fmt.Errorf("recover accepted batches: %w", err)
	}
	if len(state) > 0 {
		if err := a.decode(state); err != nil {
			return fmt.Errorf("recover accepted batches: %w", err)
		}
	}
	for e, err := range log.Records(from) {
		if err != nil {
			if _, ok := errors.AsType[*seglog.CorruptError](err); ok {
				continue
			}
			return fmt.Errorf("recover accepted batches: %w", err)
		}
		h, err := frame.Head(e.Head)
		if err != nil {
			continue // not one of ours; who reads the spool will say so
		}
		epoch := registry.Epoch(h.GetSource().GetEpoch())
		if !frame.IsLoss(h) {
			a.Add(epoch, h.GetBatchSeq())
			continue
		}
		if h.GetLostReason() == frame.ReasonSpoolDamaged {
			continue // as with a damaged body
		}
		for _, run := range h.GetLost() {
			for i := range uint64(len(run.GetPairs())) {
				a.Add(epoch, run.GetFirstBatch()+i)
			}
		}
	}
	return nil
}

// Add remembers one batch.
func (a *Accepted) Add(epoch registry.Epoch, seq uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.epochs[epoch]
	if b == nil {
		if len(a.epochs) >= maxEpochs {
			a.evict()
		}
		b = new(batches)
		a.epochs[epoch] = b
	}
	b.used = a.now()
	// The lowest are the oldest: what the proxy may still send again is above.
	if b.seqs.Add(seq); b.seqs.Len() > maxRanges {
		b.seqs.DropLowest()
	}
}

// evict forgets the epoch that was not heard for the longest time. a.mu is
// held.
func (a *Accepted) evict() {
	var oldest registry.Epoch
	var at time.Time
	for e, b := range a.epochs {
		if at.IsZero() || b.used.Before(at) {
			oldest, at = e, b.used
		}
	}
	delete(a.epochs, oldest)
}

// Has tells whether a batch is durable here.
func (a *Accepted) Has(epoch registry.Epoch, seq uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.epochs[epoch]
	if b == nil {
		return false
	}
	b.used = a.now()
	return b.seqs.Has(seq)
}

// Ranges lists what is durable here of an epoch.
func (a *Accepted) Ranges(epoch registry.Epoch) (list []*capturev1.Range) {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.epochs[epoch]
	if b == nil {
		return nil
	}
	for _, r := range b.seqs.Ranges() {
		list = append(list, &capturev1.Range{First: r.First, Last: r.Last})
	}
	return list
}

// State is everything that Recover needs, for the head of a new segment:
//
//	version (1 byte) · number of epochs · for each: epoch (16 bytes) ·
//	last used (Unix seconds) · number of ranges · for each: distance from the
//	last range's end · length - 1
//
// Numbers are uvarints.
func (a *Accepted) State() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.now().Add(-forgetAfter)
	for e, b := range a.epochs {
		if b.used.Before(old) {
			delete(a.epochs, e)
		}
	}
	out := make([]byte, 0, 16+len(a.epochs)*40)
	out = append(out, stateVersion)
	out = binary.AppendUvarint(out, uint64(len(a.epochs)))
	for e, b := range a.epochs {
		out = append(out, e[:]...)
		out = binary.AppendUvarint(out, uint64(max(0, b.used.Unix())))
		out = binary.AppendUvarint(out, uint64(b.seqs.Len()))
		end := uint64(0)
		for _, r := range b.seqs.Ranges() {
			out = binary.AppendUvarint(out, r.First-end)
			out = binary.AppendUvarint(out, r.Last-r.First)
			end = r.Last
		}
	}
	return out
}

var errState = errors.New("malformed state of accepted batches")

func (a *Accepted) decode(b []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if b[0] != stateVersion {
		return fmt.Errorf("%w: version %d", errState, b[0])
	}
	b = b[1:]
	bad := false
	number := func() uint64 {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			bad = true
			return 0
		}
		b = b[size:]
		return n
	}
	for range number() {
		if len(b) < len(registry.Epoch{}) {
			return errState
		}
		e := registry.Epoch(b[:16])
		b = b[16:]
		s := &batches{used: time.Unix(int64(min(number(), 1<<40)), 0)}
		end := uint64(0)
		for range number() {
			first := end + number()
			last := first + number()
			if bad || first < end || s.seqs.Append(rangeset.Range{First: first, Last: last}) != nil {
				return errState
			}
			end = last
		}
		if bad {
			return errState
		}
		a.epochs[e] = s
	}
	if bad || len(b) > 0 {
		return errState
	}
	return nil
}
