package ship

import (
	"cmp"
	"math"
	"slices"

	"github.com/weir-capture/weir/goproxy/ship/ring"
	"github.com/weir-capture/weir/internal/budget"
)

// queue is what was cut and not acknowledged, oldest first:
//
//	sent │ ready │ on the ring │ behind
//
// sent batches have numbers, and stay in memory until they are acknowledged:
// what a forwarder may have is never lost here. ready are next. While the ring
// holds nothing, nothing is behind it.
//
// Memory: parcels hold what their pairs took of the budget. The keeper moves
// parcels to the ring once those in memory hold more than a quarter of it, and
// gives their part back, but for a reserve of another quarter: batches that
// come back from the ring live on that, so that there is always room to read
// the next one, however full the memory is of what came later. The queue is
// guarded by its shipper's mutex.
type queue struct {
	budget *budget.Budget
	// share is a quarter of the budget; without a ring there is no bound but
	// the budget itself.
	share int64

	sent, ready, behind []*parcel
	// onDisk are the records that the ring holds, with onDiskPairs pairs.
	// The oldest of them was cut at diskCut, or a little later.
	onDisk, onDiskPairs int
	diskCut             int64

	// resident is what parcels hold that never were on the ring, flying what
	// those do that were sent.
	resident, flying int64
	// reserve is what was kept of the budget for reading the ring, loaded what
	// of it is in use. largest is the most that one parcel needs of it.
	reserve, loaded, largest int64
}

// parcel is a batch with what the proxy knows about it.
type parcel struct {
	// The contents are gone while it is on the ring.
	contents
	pairs int
	held  int64
	// cut is when it was closed, Unix nanoseconds.
	cut int64
	// seq and fields say which batch it is, from when it is first sent.
	// duplicate: another forwarder may have it.
	seq       uint64
	fields    []byte
	duplicate bool
	// sentTo is the forwarder that may have it.
	sentTo string
	// moving: it is being written to the ring.
	moving bool
	// loaded: it lives on the reserve.
	loaded bool
}

func newQueue(b *budget.Budget, withRing bool) queue {
	if !withRing {
		return queue{budget: b, share: math.MaxInt64}
	}
	return queue{budget: b, share: b.Limit() / 4}
}

// len is how many batches there are.
func (q *queue) len() int { return len(q.sent) + len(q.ready) + len(q.behind) + q.onDisk }

// oldest is when the oldest batch was cut, Unix nanoseconds; false when there
// is none.
func (q *queue) oldest() (cut int64, ok bool) {
	switch {
	case len(q.sent) > 0:
		return q.sent[0].cut, true
	case len(q.ready) > 0:
		return q.ready[0].cut, true
	}
	return q.diskCut, q.onDisk > 0
}

// add takes a batch that was cut.
func (q *queue) add(p *parcel) {
	q.resident += p.held
	if q.onDisk > 0 {
		q.behind = append(q.behind, p)
	} else {
		q.ready = append(q.ready, p)
	}
}

// next is the first parcel behind a sequence. fresh: it was never sent, counts
// as sent from now on, and needs a number.
func (q *queue) next(seq uint64) (p *parcel, fresh bool) {
	if i := q.index(seq + 1); i < len(q.sent) {
		return q.sent[i], false
	}
	// What is sent cannot go to the ring any more. It is not to take all the
	// memory when a forwarder reads and does not acknowledge.
	if len(q.ready) == 0 || q.ready[0].moving || q.flying >= q.share {
		return nil, false
	}
	p = q.ready[0]
	q.ready[0] = nil
	q.ready = q.ready[1:]
	q.sent = append(q.sent, p)
	q.flying += p.held
	return p, true
}

// index is where the first sent parcel from seq on stands.
func (q *queue) index(seq uint64) int {
	i, _ := slices.BinarySearchFunc(q.sent, seq, func(p *parcel, seq uint64) int { return cmp.Compare(p.seq, seq) })
	return i
}

// acked forgets sent batches, and says how many pairs were in them.
func (q *queue) acked(first, last uint64) (pairs int) {
	i, j := q.index(first), q.index(last+1)
	if i >= j {
		return 0
	}
	for _, p := range q.sent[i:j] {
		pairs += p.pairs
		q.flying -= p.held
		q.free(p)
	}
	if i == 0 { // the usual case: nothing moves
		clear(q.sent[:j])
		q.sent = q.sent[j:]
	} else {
		q.sent = slices.Delete(q.sent, i, j)
	}
	return pairs
}

// free gives back what a parcel holds.
func (q *queue) free(p *parcel) {
	p.refs.Free()
	if p.loaded {
		q.loaded -= p.held
		q.settle()
		return
	}
	q.resident -= p.held
	q.budget.Give(p.held)
}

// settle gives back what of the reserve is not needed any more.
func (q *queue) settle() {
	if q.onDisk == 0 {
		q.budget.Give(q.reserve - q.loaded)
		q.reserve, q.largest = q.loaded, 0
	}
}

// high says that there is something that should go to the ring.
func (q *queue) high() bool { return q.resident > q.share }

// toMove is the parcel that has to go to the ring next, marked; nil when there
// is none. moved or stays must follow.
func (q *queue) toMove() *parcel {
	if !q.high() {
		return nil
	}
	if q.onDisk > 0 {
		if len(q.behind) == 0 {
			return nil
		}
		q.behind[0].moving = true
		return q.behind[0]
	}
	// The oldest stay: they are sent first.
	keep := q.share
	for _, p := range q.sent {
		if !p.loaded {
			keep -= p.held
		}
	}
	for _, p := range q.ready {
		if p.loaded {
			continue
		}
		if keep -= p.held; keep < 0 {
			p.moving = true
			return p
		}
	}
	return nil
}

// stays: the ring did not take it.
func (q *queue) stays(p *parcel) { p.moving = false }

// moved: the ring has it.
func (q *queue) moved(p *parcel) {
	if q.onDisk > 0 {
		q.behind[0] = nil
		q.behind = q.behind[1:]
	} else {
		i := slices.Index(q.ready, p)
		q.behind = slices.Clone(q.ready[i+1:])
		clear(q.ready[i:])
		q.ready = q.ready[:i]
		q.diskCut = p.cut
	}
	q.onDisk++
	q.onDiskPairs += p.pairs
	q.resident -= p.held
	need := p.held - ring.EntryBytes
	q.largest = max(q.largest, need)
	kept := min(max(q.share, q.largest)-q.reserve, need)
	kept = max(kept, 0)
	q.reserve += kept
	q.budget.Give(need - kept)
	p.refs.Free()
	p.contents = contents{}
}

// mayLoad says whether there is room for the ring's oldest record.
func (q *queue) mayLoad(rec ring.Record) bool {
	return q.onDisk > 0 && q.loaded+rec.Held-ring.EntryBytes <= q.reserve
}

// took: the ring's oldest record was read into p, or is lost (nil).
func (q *queue) took(rec ring.Record, p *parcel) {
	q.onDisk--
	q.onDiskPairs -= rec.Pairs
	q.diskCut = rec.Cut // the next one is not older
	q.budget.Give(ring.EntryBytes)
	if p != nil {
		p.pairs, p.held, p.cut, p.loaded = rec.Pairs, rec.Held-ring.EntryBytes, rec.Cut, true
		q.loaded += p.held
		q.ready = append(q.ready, p)
	}
	if q.onDisk == 0 {
		q.ready = append(q.ready, q.behind...)
		q.behind = nil
	}
	q.settle()
}

// abandon forgets all that was not sent, and says how many pairs that is. What
// is on the disk goes with the ring.
func (q *queue) abandon() (pairs int) {
	for _, list := range [...][]*parcel{q.ready, q.behind} {
		for _, p := range list {
			pairs += p.pairs
			q.free(p)
		}
	}
	pairs += q.onDiskPairs
	q.budget.Give(int64(q.onDisk) * ring.EntryBytes)
	q.ready, q.behind, q.onDisk, q.onDiskPairs = nil, nil, 0, 0
	q.settle()
	return pairs
}
