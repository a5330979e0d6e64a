package segstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/rangeset"
)

// Bounds of what is remembered. Whoever was silent for longest is forgotten
// first: a spool that comes back after that is still told apart by its
// batches, and a batch by its spool.
const (
	maxSpools = 4096
	maxEpochs = 65536
	// maxRanges bounds the ranges of one epoch. A proxy that sends in order
	// needs one; the lowest are forgotten, which are the oldest.
	maxRanges = 1024
	// maxAllRanges bounds those of all epochs, so that the state fits into the
	// head of a segment (seglog.MaxHeadBytes) whatever has come: two numbers
	// of at most ten bytes each.
	maxAllRanges = 400_000
)

type epoch [16]byte

// batch identifies what a proxy sent: the same one may come by two spools.
type batch struct {
	epoch epoch
	seq   uint64 // 0: none
}

// delivery remembers what has come, so that nothing is stored twice. What is
// in it follows from the heads of the log's records in their order; it stands
// at the head of every segment, so that it outlives those that retention
// removes.
type delivery struct {
	mu     sync.Mutex
	spools map[store.ID]*spoolState
	epochs map[epoch]*epochState
	ranges int // of all epochs
	// claimed are batches that are being appended; the channel closes when
	// that has ended, well or not.
	claimed map[batch]chan struct{}
}

type spoolState struct {
	next uint64
	seen int64 // Unix nanoseconds
}

type epochState struct {
	seqs rangeset.Set // of batches
	seen int64
}

func newDelivery() *delivery {
	return &delivery{spools: map[store.ID]*spoolState{}, epochs: map[epoch]*epochState{}, claimed: map[batch]chan struct{}{}}
}

// next is the offset below which everything of a spool is here.
func (d *delivery) next(spool store.ID) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.spools[spool]; s != nil {
		return s.next
	}
	return 0
}

// claim takes the first of the batches for an append, as many as it can: each
// is marked in duplicate when it is here already. It stops before a batch
// that another append has claimed; when that is the first one, n is 0 and
// wait closes when it is worth to ask again. release has to be called with the
// channel that claim gave back.
func (d *delivery) claim(batches []batch, duplicate []bool) (n int, release, wait chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	release = make(chan struct{})
	for i, b := range batches {
		if b.seq == 0 {
			continue
		}
		if e := d.epochs[b.epoch]; e != nil && e.seqs.Has(b.seq) {
			duplicate[i] = true
			continue
		}
		if other, taken := d.claimed[b]; taken {
			if i == 0 {
				return 0, nil, other
			}
			return i, release, nil
		}
		d.claimed[b] = release
	}
	return len(batches), release, nil
}

// release ends a claim.
func (d *delivery) release(batches []batch, claim chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range batches {
		if d.claimed[b] == claim {
			delete(d.claimed, b)
		}
	}
	close(claim)
}

// commit remembers a record that is durable.
func (d *delivery) commit(w *wrapper, b batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.spools[w.spool]
	if s == nil {
		if len(d.spools) >= maxSpools {
			forget(d.spools, func(s *spoolState) int64 { return s.seen })
		}
		s = new(spoolState)
		d.spools[w.spool] = s
	}
	s.next, s.seen = max(s.next, w.next), max(s.seen, w.at)
	if b.seq == 0 {
		return
	}
	e := d.epochs[b.epoch]
	if e == nil {
		if len(d.epochs) >= maxEpochs {
			d.forgetEpoch()
		}
		e = new(epochState)
		d.epochs[b.epoch] = e
	}
	e.seen = max(e.seen, w.at)
	d.ranges -= e.seqs.Len()
	if e.seqs.Add(b.seq); e.seqs.Len() > maxRanges {
		e.seqs.DropLowest()
	}
	d.ranges += e.seqs.Len()
	for d.ranges > maxAllRanges && len(d.epochs) > 1 {
		d.forgetEpoch()
	}
}

// forgetEpoch forgets the epoch that was silent for longest. d.mu is held.
func (d *delivery) forgetEpoch() {
	d.ranges -= forget(d.epochs, func(e *epochState) int64 { return e.seen }).seqs.Len()
}

// forget removes the entry that was not seen for longest, and gives it back.
func forget[K comparable, V any](m map[K]V, seen func(V) int64) V {
	var oldest K
	first := true
	for k, v := range m {
		if first || seen(v) < seen(m[oldest]) {
			oldest, first = k, false
		}
	}
	v := m[oldest]
	delete(m, oldest)
	return v
}

const stateVersion = 1

// encode writes everything: a version byte, then spools (count; id, next,
// seen) and epochs (count; id, seen, count of ranges; first, length), numbers
// as unsigned varints.
func (d *delivery) encode() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := []byte{stateVersion}
	b = binary.AppendUvarint(b, uint64(len(d.spools)))
	for id, s := range d.spools {
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, s.next)
		b = binary.AppendUvarint(b, uint64(s.seen))
	}
	b = binary.AppendUvarint(b, uint64(len(d.epochs)))
	for id, e := range d.epochs {
		b = append(b, id[:]...)
		b = binary.AppendUvarint(b, uint64(e.seen))
		b = binary.AppendUvarint(b, uint64(e.seqs.Len()))
		for _, r := range e.seqs.Ranges() {
			b = binary.AppendUvarint(b, r.First)
			b = binary.AppendUvarint(b, r.Last-r.First)
		}
	}
	return b
}

var errState = errors.New("malformed delivery state")

// decodeDelivery reads what encode wrote; nothing at all is a fresh one.
func decodeDelivery(b []byte) (*delivery, error) {
	d := newDelivery()
	if len(b) == 0 {
		return d, nil
	}
	if b[0] != stateVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows %d", errState, b[0], stateVersion)
	}
	r := stateReader{b: b[1:]}
	for range r.count(maxSpools) {
		id := store.ID(r.id())
		d.spools[id] = &spoolState{next: r.uint(), seen: int64(r.uint())}
	}
	for range r.count(maxEpochs) {
		id := epoch(r.id())
		e := &epochState{seen: int64(r.uint())}
		for range r.count(maxRanges) {
			first, length := r.uint(), r.uint()
			if err := e.seqs.Append(rangeset.Range{First: first, Last: first + length}); err != nil {
				return nil, fmt.Errorf("%w: %w", errState, err)
			}
		}
		d.epochs[id] = e
		d.ranges += e.seqs.Len()
	}
	if r.bad || len(r.b) != 0 {
		return nil, fmt.Errorf("%w: wrong length", errState)
	}
	return d, nil
}

// stateReader reads zeros once something was missing.
type stateReader struct {
	b   []byte
	bad bool
}

func (r *stateReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *stateReader) count(most uint64) uint64 {
	n := r.uint()
	if n > most || n > uint64(len(r.b)) { // an entry has at least a byte
		r.bad, r.b = true, nil
		return 0
	}
	return n
}

func (r *stateReader) id() (id [16]byte) {
	if len(r.b) < len(id) {
		r.bad, r.b = true, nil
		return id
	}
	copy(id[:], r.b)
	r.b = r.b[len(id):]
	return id
}
