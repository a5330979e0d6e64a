package segstore

import (
	"slices"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// block is one record that is durable.
type block struct {
	off, next uint64
	// rows may be none. They do not change.
	rows []index.Row
	// weight is what it took of Store.room.
	weight int64
}

// overhead is what a record takes in memory beside its pairs, at most: there may
// be none in it, and many such records.
const overhead = 256

// entry is one record as live tails see it.
type entry struct {
	off, next uint64
	pairs     []*store.Stored
	bytes     int64
	// before counts the pairs of all earlier entries.
	before uint64
}

// live is what is known of new records without asking the log or the index.
type live struct {
	mu sync.Mutex

	// indexed divides: records below it are in the index, the others are in
	// pending, in the order of the log. The slice only grows at its end, or is
	// replaced, so that a snapshot may keep it.
	indexed uint64
	pending []*block
	rows    int // of pending
	stats   index.Stats
	// more wakes the indexer; one is enough.
	more chan struct{}

	// ring holds every record at or after ringFrom. first is the number of
	// its first entry, counted since Open.
	ring      []*entry
	ringFrom  uint64
	first     uint64
	ringBytes int64
	ringPairs int
	total     uint64 // pairs ever in the ring
	maxBytes  int64
	maxPairs  int
	changed   chan struct{} // closes with the next record
}

func newLive(maxBytes int64, maxPairs int, next uint64) *live {
	return &live{
		more: make(chan struct{}, 1), changed: make(chan struct{}),
		ringFrom: next, maxBytes: maxBytes, maxPairs: maxPairs,
	}
}

// publish adds a record. The log calls it in the order of offsets.
func (l *live) publish(b *block, pairs []*store.Stored, bytes int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending = append(l.pending, b)
	l.rows += len(b.rows)
	select {
	case l.more <- struct{}{}:
	default:
	}

	bytes += overhead
	l.ring = append(l.ring, &entry{off: b.off, next: b.next, pairs: pairs, bytes: bytes, before: l.total})
	l.total += uint64(len(pairs))
	l.ringBytes += bytes
	l.ringPairs += len(pairs)
	for len(l.ring) > 1 && (l.ringBytes > l.maxBytes || l.ringPairs > l.maxPairs) {
		l.shift()
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// shift removes the oldest entry of the ring.
func (l *live) shift() {
	old := l.ring[0]
	l.ring[0] = nil
	l.ring = l.ring[1:]
	l.ringFrom = old.next
	l.first++
	l.ringBytes -= old.bytes
	l.ringPairs -= len(old.pairs)
}

// forget removes the entries below off from the ring.
func (l *live) forget(off uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.ring) > 0 && l.ring[0].off < off {
		l.shift()
	}
	l.ringFrom = max(l.ringFrom, off)
}

// snapshot is one moment: the index answers for what is below, pending for the
// rest.
type snapshot struct {
	below   uint64
	pending []*block
	stats   index.Stats // of the index
}

func (l *live) snapshot() snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	return snapshot{below: l.indexed, pending: l.pending, stats: l.stats}
}

// next gives the blocks to index next: at most about limit rows, at least one
// block if there is any.
func (l *live) next(limit int) (blocks []*block, rows int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, b := range l.pending {
		if i > 0 && rows+len(b.rows) > limit {
			return l.pending[:i], rows
		}
		rows += len(b.rows)
	}
	return l.pending, rows
}

// advance moves the line between index and pending to watermark and returns
// the weight of the rows that it passed. stats are the index's now.
func (l *live) advance(watermark uint64, stats index.Stats) (weight int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.pending) && l.pending[n].off < watermark {
		weight += l.pending[n].weight
		l.rows -= len(l.pending[n].rows)
		n++
	}
	l.pending = slices.Clone(l.pending[n:])
	l.indexed = watermark
	l.stats = stats
	return weight
}

func (l *live) setStats(stats index.Stats) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats = stats
}

func (l *live) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows
}

// place is where a tail stands in the ring: the number of the entry that is
// next, and how many pairs came before it.
type place struct{ number, before uint64 }

// end is the place behind everything, and the offset there.
func (l *live) end() (place, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	off := l.ringFrom
	if n := len(l.ring); n > 0 {
		off = l.ring[n-1].next
	}
	return place{l.first + uint64(len(l.ring)), l.total}, off
}

// join finds the place of the first record that ends after seq, if the ring
// has it and all that follow.
func (l *live) join(seq uint64) (place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq < l.ringFrom {
		return place{}, false
	}
	for i, e := range l.ring {
		if e.next > seq {
			return place{l.first + uint64(i), e.before}, true
		}
	}
	return place{l.first + uint64(len(l.ring)), l.total}, true
}

// maxTake bounds how many entries a tail looks at before it comes back.
const maxTake = 16

// take gives the entries from p on, the place after them, how many pairs went
// by before they could be taken, and what closes when there is more.
func (l *live) take(p place) (entries []*entry, next place, dropped uint64, changed chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.number < l.first {
		before := l.total - uint64(l.ringPairs)
		dropped = before - p.before
		p = place{l.first, before}
	}
	entries = slices.Clone(l.ring[p.number-l.first:])
	if len(entries) > maxTake {
		entries = entries[:maxTake]
	}
	next = p
	for _, e := range entries {
		next.number++
		next.before += uint64(len(e.pairs))
	}
	return entries, next, dropped, l.changed
}

// from is the offset from which on the ring has everything.
func (l *live) from() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ringFrom
}
