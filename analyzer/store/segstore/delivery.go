package segstore

import (
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/rangeset"
)

// Bounds of what is remembered. Whoever was silent for longest is forgotten
// first: a spool that comes back after that is still told apart by its
// batches, and a batch by its spool. Together they let the state fit into the
// head of a segment (seglog.MaxHeadBytes) whatever has come: a range is two
// numbers of at most ten bytes each.
const (
	maxSpools = 4096
	maxEpochs = 65536
	// maxRanges bounds the ranges of one set: of what came of a spool above
	// the first hole, of an epoch's batches that are here, and of those that
	// are lost. Who sends in order needs one; the lowest are forgotten, which
	// are the oldest.
	maxRanges = 1024
	// maxAllRanges bounds those of all epochs, maxSpoolRanges those of all
	// spools.
	maxAllRanges   = 400_000
	maxSpoolRanges = 100_000
)

type epoch [16]byte

// delivery remembers what has come, so that nothing is stored twice. What is
// in it follows from the heads of the log's records in their order; it stands
// at the head of every segment, so that it outlives those that retention
// removes.
type delivery struct {
	mu          sync.Mutex
	spools      map[store.ID]*spoolState
	spoolRanges int // of all spools
	epochs      map[epoch]*epochState
	ranges      int // of all epochs
	// claims are what is being appended just now.
	claims map[epoch]*claims
}

// spoolState is what has come of a spool: everything below next, and what is
// in above, which lies above next with a hole between.
type spoolState struct {
	next  uint64
	above rangeset.Set
	// last is the highest offset of a frame, sum the frame's checksum; known
	// says that there is one.
	last  uint64
	sum   uint32
	known bool
	seen  int64 // Unix nanoseconds
}

// epochState is what is known of the batches of an epoch: none is in both.
type epochState struct {
	here rangeset.Set
	// lost were declared so, or cannot be read, and may still come.
	lost rangeset.Set
	seen int64
}

func (e *epochState) len() int { return e.here.Len() + e.lost.Len() }

// claims are the batches of an epoch that are being appended. Their channels
// close when that has ended, well or not.
type claims struct {
	batches map[uint64]chan struct{}
	// all is set where a declaration of many batches is being appended.
	all chan struct{}
}

func newDelivery() *delivery {
	return &delivery{spools: map[store.ID]*spoolState{}, epochs: map[epoch]*epochState{}, claims: map[epoch]*claims{}}
}

// span is [from, to) of a spool, which has an offset at least, as a range.
func span(from, to uint64) rangeset.Range { return rangeset.Range{First: from, Last: to - 1} }

func (s *spoolState) covers(from, to uint64) bool {
	return to <= s.next || s.above.HasRange(span(from, to))
}

func (s *spoolState) overlaps(from, to uint64) bool {
	return from < s.next || s.above.HasAny(span(from, to))
}

func (s *spoolState) add(from, to uint64) {
	if from > s.next {
		s.above.AddRange(span(from, to))
		return
	}
	s.next = max(s.next, to)
	for _, r := range s.above.Ranges() {
		if r.First > s.next {
			break
		}
		s.next = max(s.next, r.Last+1) // to was above it
		s.above.DropLowest()
	}
}

// have is what a spool is told.
func (d *delivery) have(spool store.ID) store.Have {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.spools[spool]
	if s == nil {
		return store.Have{}
	}
	h := store.Have{Next: s.next, Last: s.last, Sum: s.sum, Known: s.known}
	for _, r := range s.above.Ranges() {
		h.Ranges = append(h.Ranges, store.OffsetRange{From: r.First, To: r.Last + 1})
	}
	return h
}

// skip says that nothing more comes of a spool below an offset.
func (d *delivery) skip(spool store.ID, below uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.spools[spool]; s != nil && below > s.next {
		d.cover(s, 0, below)
	}
}

// cover adds offsets to a spool's and keeps the bounds. d.mu is held.
func (d *delivery) cover(s *spoolState, from, to uint64) {
	d.spoolRanges -= s.above.Len()
	if s.add(from, to); s.above.Len() > maxRanges {
		s.above.DropLowest()
	}
	d.spoolRanges += s.above.Len()
	for d.spoolRanges > maxSpoolRanges && len(d.spools) > 1 {
		d.forgetSpool()
	}
}

// wanted gives those of a spool's frames that are not here, up to the first
// that is nonsense, which err (a *store.FrameError) then tells of.
func (d *delivery) wanted(spool store.ID, frames []*capturev1.Frame) (out []*capturev1.Frame, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var none spoolState
	s := d.spools[spool]
	if s == nil {
		s = &none
	}
	var coming spoolState // of these frames
	for _, f := range frames {
		from, to := f.GetOffset(), f.GetNextOffset()
		bad := func(reason string) error { return &store.FrameError{Offset: from, Next: to, Reason: reason} }
		switch missing := f.GetMissing() != ""; {
		case to <= from:
			return out, bad("the next offset has to be above it")
		case missing && len(f.GetHead())+len(f.GetBody()) > 0:
			return out, bad("it is said to be missing, and has content")
		case s.covers(from, to) || coming.covers(from, to):
			continue
		case !missing && (s.overlaps(from, to) || coming.overlaps(from, to)):
			// Of a stretch that is missing parts may have come before it was
			// damaged.
			return out, bad("it overlaps another of this spool that is here")
		}
		coming.above.AddRange(span(from, to))
		out = append(out, f)
	}
	return out, nil
}

// news is what a frame says of batches.
type news struct {
	epoch epoch
	// seq is the batch that it is about; 0: none, or those in runs.
	seq uint64
	// lost: it is not in the frame, or nobody can read it.
	lost bool
	runs []*capturev1.LostRun
}

// Reasons of a forwarder that gave up a whole batch, which another forwarder
// or a later try may still bring. What it drops for other reasons it has
// decided on.
var givenUp = []string{frame.ReasonSpoolFull, frame.ReasonSpoolDamaged, frame.ReasonRefused}

// newsOf reads a frame's head, nil when it has none that can be read.
func newsOf(h *capturev1.FrameHead, unreadable bool) news {
	if h == nil {
		return news{}
	}
	n := news{epoch: epoch(h.GetSource().GetEpoch()), seq: h.GetBatchSeq(), runs: h.GetLost(), lost: unreadable}
	for _, reason := range givenUp {
		n.lost = n.lost || h.GetPairs() == 0 && h.GetDropped()[reason] > 0
	}
	return n
}

// verdict is what becomes of a frame.
type verdict struct {
	duplicate, reclaimed bool
	// runs are what is left of those that were declared; trimmed says that
	// these are not all.
	runs    []*capturev1.LostRun
	trimmed bool
}

// claim takes the first of the news for an append, as many as it can, and says
// what becomes of each. It stops before one that another append, or an earlier
// one of these, may decide; when that is the very first, n is 0 and wait
// closes when it is worth to ask again. release has to be called with the
// channel that claim gave back.
func (d *delivery) claim(group []news, verdicts []verdict) (n int, release, wait chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	release = make(chan struct{})
	for i, n := range group {
		if wait := d.claimOne(n, &verdicts[i], release); wait != nil {
			if i == 0 {
				return 0, nil, wait
			}
			return i, release, nil
		}
	}
	return len(group), release, nil
}

func (d *delivery) claimOne(n news, v *verdict, release chan struct{}) (wait chan struct{}) {
	if n.seq == 0 && len(n.runs) == 0 {
		return nil
	}
	e := d.epochs[n.epoch]
	if e == nil {
		e = new(epochState)
	}
	if n.seq != 0 && (e.here.Has(n.seq) || n.lost && e.lost.Has(n.seq)) {
		v.duplicate = true
		return nil
	}
	c := d.claims[n.epoch]
	if c == nil {
		c = &claims{batches: map[uint64]chan struct{}{}}
	}
	if c.all != nil {
		return c.all
	}
	if n.seq != 0 {
		if other := c.batches[n.seq]; other != nil {
			return other
		}
		v.reclaimed = e.lost.Has(n.seq) // and it is not lost now
		c.batches[n.seq] = release
	} else {
		for _, other := range c.batches {
			return other
		}
		v.runs, v.trimmed = e.unknown(n.runs)
		v.duplicate = len(v.runs) == 0
		c.all = release
	}
	d.claims[n.epoch] = c
	return nil
}

// release ends a claim.
func (d *delivery) release(group []news, claim chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range group {
		c := d.claims[n.epoch]
		if c == nil {
			continue
		}
		if c.batches[n.seq] == claim {
			delete(c.batches, n.seq)
		}
		if c.all == claim {
			c.all = nil
		}
		if c.all == nil && len(c.batches) == 0 {
			delete(d.claims, n.epoch)
		}
	}
	close(claim)
}

// unknown gives what the runs name and nobody knew of, each batch once, and
// whether that is less. The runs stay as they are.
func (e *epochState) unknown(runs []*capturev1.LostRun) (rest []*capturev1.LostRun, trimmed bool) {
	var named rangeset.Set
	for _, run := range runs {
		var open *capturev1.LostRun
		pair := run.GetFirstPairSeq()
		for i, pairs := range run.GetPairs() {
			seq := run.GetFirstBatch() + uint64(i)
			if e.here.Has(seq) || e.lost.Has(seq) || named.Has(seq) {
				open, trimmed = nil, true
			} else {
				if open == nil {
					open = &capturev1.LostRun{
						FirstBatch: seq, FirstPairSeq: pair,
						Filtered: run.GetFiltered(), Dropped: run.GetDropped(),
						TimeMin: run.GetTimeMin(), TimeMax: run.GetTimeMax(),
					}
					rest = append(rest, open)
				}
				open.Pairs = append(open.Pairs, pairs)
				named.Add(seq)
			}
			pair += uint64(pairs)
		}
	}
	return rest, trimmed
}

// commit remembers a record that is durable; n is what its frame says.
func (d *delivery) commit(w *wrapper, n news) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.spools[w.spool]
	if s == nil {
		if len(d.spools) >= maxSpools {
			d.forgetSpool()
		}
		s = new(spoolState)
		d.spools[w.spool] = s
	}
	s.seen = max(s.seen, w.at)
	if w.version > 1 && w.missing == "" && (!s.known || w.offset >= s.last) {
		s.last, s.sum, s.known = w.offset, w.sum, true
	}
	d.cover(s, w.offset, w.next)
	if n.seq == 0 && len(n.runs) == 0 {
		return
	}
	d.learn(n, w.at, w.duplicate)
}

// lose remembers a batch that was here, at a time, and cannot be read any more.
// Where it stood in its spool is to come again.
func (d *delivery) lose(id epoch, seq uint64, at int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if seq != 0 {
		d.learn(news{epoch: id, seq: seq, lost: true}, at, false)
	}
}

// learn remembers what came of an epoch at a time. d.mu is held.
func (d *delivery) learn(n news, at int64, duplicate bool) {
	e := d.epochs[n.epoch]
	if e == nil {
		if len(d.epochs) >= maxEpochs {
			d.forgetEpoch()
		}
		e = new(epochState)
		d.epochs[n.epoch] = e
	}
	e.seen = max(e.seen, at)
	if duplicate {
		return
	}
	d.ranges -= e.len()
	e.learn(n)
	d.ranges += e.len()
	for d.ranges > maxAllRanges && len(d.epochs) > 1 {
		d.forgetEpoch()
	}
}

func (e *epochState) learn(n news) {
	switch {
	case n.seq != 0 && !n.lost:
		e.here.Add(n.seq)
		e.lost.Remove(n.seq)
	case n.seq != 0:
		e.lose(rangeset.Range{First: n.seq, Last: n.seq})
	}
	for _, run := range n.runs {
		e.lose(rangeset.Range{First: run.GetFirstBatch(), Last: run.GetFirstBatch() + uint64(len(run.GetPairs())) - 1})
	}
	if e.here.Len() > maxRanges {
		e.here.DropLowest()
	}
	for e.lost.Len() > maxRanges {
		e.lost.DropLowest()
	}
}

// lose adds those of the batches that are not here.
func (e *epochState) lose(r rangeset.Range) {
	if !e.here.HasAny(r) {
		e.lost.AddRange(r)
		return
	}
	// A claim sees to it that this is not so; a state that was read back may
	// be anything.
	for seq := r.First; ; seq++ {
		if !e.here.Has(seq) {
			e.lost.Add(seq)
		}
		if seq == r.Last {
			return
		}
	}
}

// forgetEpoch forgets the epoch that was silent for longest. d.mu is held.
func (d *delivery) forgetEpoch() {
	d.ranges -= forget(d.epochs, func(e *epochState) int64 { return e.seen }).len()
}

// forgetSpool forgets the spool that was silent for longest. d.mu is held.
func (d *delivery) forgetSpool() {
	d.spoolRanges -= forget(d.spools, func(s *spoolState) int64 { return s.seen }).above.Len()
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
