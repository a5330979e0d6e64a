package ledger

import (
	"math"
	"slices"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// spool is what is known of one spool.
type spool struct {
	Cluster string `json:"c,omitempty"`
	// Damaged and Unreadable are when it last said that it cannot read a
	// stretch of itself, and when a frame of it came last that nobody can
	// read; 0 for never.
	Damaged    int64 `json:"d,omitempty"`
	Unreadable int64 `json:"u,omitempty"`
	// Heard is when something came of it last.
	Heard int64 `json:"h"`
}

// Commit counts one commit. It is quick, and may be given the same again. It
// is what segstore calls for each commit.
func (l *Ledger) Commit(c store.Commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commit(c)
}

func (l *Ledger) commit(c store.Commit) {
	if c.Next <= l.place {
		return
	}
	l.place, l.dirty = c.Next, true
	if l.since == 0 {
		l.since = c.At
	}
	l.age(c.At)
	s := l.spoolOf(c.Spool, c.At)
	if c.Missing != "" || c.Head == nil {
		switch c.Missing {
		case capturev1.MissingDeclared: // no hole comes from it
		case "":
			s.Unreadable = c.At
		default:
			s.Damaged = c.At
		}
		l.blameAnew(c.At)
		return
	}
	h := c.Head
	src := h.GetSource()
	if src.GetCluster() != "" {
		s.Cluster = src.GetCluster()
	}
	if len(src.GetEpoch()) != len(Epoch{}) {
		// Of no process that could be told: counted as it came.
		a := l.appOf(App{src.GetCluster(), src.GetNamespace(), src.GetApp()})
		if !c.Duplicate {
			l.stray(a, h, c)
		}
		return
	}
	e := Epoch(src.GetEpoch())
	p := l.processes[e]
	if p == nil {
		key := App{src.GetCluster(), src.GetNamespace(), src.GetApp()}
		if l.foldedSet[e] {
			if !c.Duplicate {
				l.stray(l.appOf(key), h, c)
			}
			return
		}
		first := h.GetFirstPairSeq()
		if first == 0 && len(h.GetLost()) > 0 {
			first = h.GetLost()[0].GetFirstPairSeq()
		}
		p = l.open(e, key, src.GetProxyId(), h.GetEpochStarted(), l.baseOf(h.GetCounters(), max(first, 1)-1), c.At)
	}
	p.heard = max(p.heard, c.At)
	at := batchTime(h.GetTimeMax(), c.At)
	if c := h.GetCounters(); c != nil && p.slides {
		p.base.Sampled = min(p.base.Sampled, c.GetSampled())
		for i := range p.base.Dropped {
			d := &p.base.Dropped[i]
			d.N = min(d.N, int64(sane(c.GetDropped()[l.drops.list[d.Key].Reason])))
		}
	}
	l.count(p, h.GetCounters(), countedAt(h.GetCounters(), at, c.At))
	if !c.Duplicate {
		switch {
		case c.Reclaimed:
			l.reclaim(p, h, c.At)
		case h.GetBatchSeq() > 0:
			l.supersede(p, h.GetBatchSeq(), h.GetFirstPairSeq(), l.intact(h), at, c.At)
		}
		if h.GetBatchSeq() > 0 {
			l.batch(p, h, c, at)
		}
		for _, run := range h.GetLost() {
			l.declare(p, run, h.GetLostReason(), c.At)
		}
	}
	l.update(p, at, c.At)
}

// baseOf is what a process had counted before its pair behind before.
func (l *Ledger) baseOf(c *capturev1.Counters, before uint64) tallies {
	t := tallies{Batched: sane(before), Sampled: sane(c.GetSampled())}
	for reason, n := range c.GetDropped() {
		t.Dropped.add(l.drops.number(Drop{HopProxy, reason}), int64(sane(n)))
	}
	return t
}

// batchTime is where a batch stands in time: at its last pair, or, where that
// is unknown or cannot be, at its arrival.
func batchTime(t, at int64) int64 {
	if t <= 0 || t > at+silence {
		return at
	}
	return t
}

// countedAt is when counters were read. A batch may have waited long between
// its last pair and the moment in which it was sent with its proxy's counters;
// where a proxy does not say that moment, said is what is known.
func countedAt(c *capturev1.Counters, said, now int64) int64 {
	if c.GetAt() == 0 {
		return said
	}
	return batchTime(c.GetAt(), now)
}

func (l *Ledger) spoolOf(id store.ID, at int64) *spool {
	s := l.spools[id]
	if s == nil {
		if len(l.spools) >= maxSpools {
			var oldest store.ID
			when := int64(math.MaxInt64)
			for id, s := range l.spools {
				if s.Heard < when {
					oldest, when = id, s.Heard
				}
			}
			delete(l.spools, oldest)
		}
		s = &spool{}
		l.spools[id] = s
	}
	s.Heard = at
	return s
}

// blameAnew looks again at what is unaccounted for.
func (l *Ledger) blameAnew(now int64) {
	for _, p := range l.processes {
		if p.entered.Unaccounted > 0 {
			l.update(p, now, now)
		}
	}
}

// outcome is how the pairs of a batch ended.
func (l *Ledger) outcome(h *capturev1.FrameHead, unreadable bool) flow {
	var f flow
	if unreadable {
		f.Dropped.add(l.drops.number(Drop{HopAnalyzer, ReasonUnreadable}), int64(h.GetPairs()))
	} else {
		f.Stored = int64(h.GetPairs())
	}
	for rule, n := range h.GetFiltered() {
		f.Filtered.add(l.rules.number(rule), int64(n))
	}
	for reason, n := range h.GetDropped() {
		f.Dropped.add(l.drops.number(Drop{HopForwarder, reason}), int64(n))
	}
	return f
}

// intact is how the pairs of a batch ended if its pairs were stored, whatever
// became of them since.
func (l *Ledger) intact(h *capturev1.FrameHead) flow {
	f := l.outcome(h, false)
	if !declares(h) {
		return f
	}
	for _, reason := range givenUp {
		key := l.drops.number(Drop{HopForwarder, reason})
		n := f.Dropped.get(key)
		f.Dropped.add(key, -n)
		f.Stored += n
	}
	return f
}

// supersede takes back what was counted for a batch of which the store says
// that it is new, although its pairs, which ended as was says, are all
// accounted for: its record was damaged, and the store does not know any more
// that it had it.
func (l *Ledger) supersede(p *process, seq, first uint64, was flow, at, now int64) {
	n := was.ended()
	if !p.here.has(first, uint64(n)) {
		return
	}
	if i := p.remembered(seq); i >= 0 {
		l.takeBack(p, i, seq, now)
		return
	}
	if p.closed > 0 {
		// It comes late, out of a hole that was given up.
		n = min(n, p.closed)
		p.closed -= n
		p.beyond -= n
		return
	}
	p.app.least(&was)
	l.enter(p.app, at, now, &was, -1)
	p.beyond -= was.ended() // its place in the sequence stays covered
}

// batch counts a batch that is here, or that was declared lost alone.
func (l *Ledger) batch(p *process, h *capturev1.FrameHead, c store.Commit, at int64) {
	f := l.outcome(h, c.Unreadable)
	l.without(&f, c.Deleted)
	n := f.ended()
	l.enter(p.app, at, c.At, &f, 1)
	l.cover(p, h.GetFirstPairSeq(), uint64(n))
	l.end(p, at, c.At, n)
	p.newest = max(p.newest, at)
	from := batchTime(h.GetTimeMin(), at)
	var gap uint64
	for _, d := range f.Dropped {
		gap = l.gaps.add(stretch{From: from, To: at, App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, Drop: d.Key, Pairs: d.N})
	}
	if c.Unreadable || declares(h) {
		l.remember(p, lostRun{First: h.GetBatchSeq(), Pairs: []uint32{0}, Filtered: f.Filtered, Dropped: f.Dropped, At: at, Gap: gap})
	}
}

// declares: the head says that a batch was lost which another forwarder, or a
// later try, may still bring.
func declares(h *capturev1.FrameHead) bool {
	return h.GetPairs() == 0 && slices.ContainsFunc(givenUp, func(reason string) bool { return h.GetDropped()[reason] > 0 })
}

// givenUp are the reasons of such a loss.
var givenUp = []string{"spool_full", ReasonSpoolDamaged, "refused"}

// cover says that n pairs from first on are accounted for.
func (l *Ledger) cover(p *process, first, n uint64) {
	if n == 0 {
		return
	}
	if first == 0 || first > 1<<48 || n > 1<<32 {
		// No place in the sequence; they were seen all the same.
		p.beyond += int64(n)
		return
	}
	if first <= p.base.Batched {
		p.base.Batched = first - 1 // it slides: see process
	}
	fresh := p.here.add(first, first+n-1)
	p.beyond += int64(n - fresh)
	for len(p.here) > maxSpans {
		p.closed += int64(p.here.closeLowest())
	}
}

// declare counts batches that a forwarder took and cannot deliver.
func (l *Ledger) declare(p *process, run *capturev1.LostRun, reason string, now int64) {
	key := l.drops.number(Drop{HopForwarder, reason})
	at := batchTime(run.GetTimeMax(), now)
	r := lostRun{First: run.GetFirstBatch(), Pairs: slices.Clone(run.GetPairs()), Drop: key, At: at}
	var f flow
	for _, n := range r.Pairs {
		f.Dropped.add(key, int64(n))
	}
	lost := f.Dropped.total()
	for rule, n := range run.GetFiltered() {
		r.Filtered.add(l.rules.number(rule), int64(n))
	}
	for why, n := range run.GetDropped() {
		r.Dropped.add(l.drops.number(Drop{HopForwarder, why}), int64(n))
	}
	first := run.GetFirstPairSeq()
	for i, n := range r.Pairs {
		was := flow{Stored: int64(n)}
		if len(r.Pairs) == 1 {
			was.Filtered, was.Dropped = slices.Clone(r.Filtered), slices.Clone(r.Dropped)
		}
		l.supersede(p, r.First+uint64(i), first, was, at, now)
		first += uint64(n)
	}
	f.add(&flow{Filtered: r.Filtered, Dropped: r.Dropped}, 1)
	n := f.ended()
	l.enter(p.app, at, now, &f, 1)
	l.cover(p, run.GetFirstPairSeq(), uint64(n))
	l.end(p, at, now, n)
	p.newest = max(p.newest, at)
	if lost > 0 {
		r.Gap = l.gaps.add(stretch{
			From: batchTime(run.GetTimeMin(), at), To: at, App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, Drop: key, Pairs: lost,
		})
	}
	l.remember(p, r)
}

// remember keeps what a declaration counted, so that it can be taken back.
func (l *Ledger) remember(p *process, r lostRun) {
	if len(r.Pairs) == 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(p.lost, r.First, func(r lostRun, first uint64) int {
		if r.First < first {
			return -1
		}
		return 1
	})
	p.lost = slices.Insert(p.lost, i, r)
	l.lostBatches += len(r.Pairs)
	for l.lostBatches > maxLost && len(p.lost) > 1 {
		l.lostBatches -= len(p.lost[0].Pairs)
		p.lost = slices.Delete(p.lost, 0, 1)
	}
}

// remembered is the run that has a batch, or less than 0.
func (p *process) remembered(seq uint64) int {
	return slices.IndexFunc(p.lost, func(r lostRun) bool { return seq >= r.First && seq-r.First < uint64(len(r.Pairs)) })
}

// takeBack takes back what a batch of the run i was counted as.
func (l *Ledger) takeBack(p *process, i int, seq uint64, now int64) {
	r := p.lost[i]
	k := int(seq - r.First)
	f := flow{Filtered: slices.Clone(r.Filtered), Dropped: slices.Clone(r.Dropped)}
	f.Dropped.add(r.Drop, int64(r.Pairs[k]))
	back := int64(r.Pairs[k])
	if back == 0 {
		back = r.Dropped.total()
	}
	l.gaps.take(r.Gap, back)
	l.enter(p.app, r.At, now, &f, -1)
	p.beyond -= f.ended() // its place in the sequence stays covered
	before, after := r, r
	before.Pairs = r.Pairs[:k:k]
	after.First, after.Pairs = seq+1, r.Pairs[k+1:]
	p.lost = slices.Delete(p.lost, i, i+1)
	l.lostBatches -= len(r.Pairs)
	// The middle is gone; what is left keeps its order.
	l.remember(p, before)
	l.remember(p, after)
}

// reclaim takes back what was counted for a batch that was lost and came after
// all.
func (l *Ledger) reclaim(p *process, h *capturev1.FrameHead, now int64) {
	if i := p.remembered(h.GetBatchSeq()); i >= 0 {
		l.takeBack(p, i, h.GetBatchSeq(), now)
		return
	}
	f := l.outcome(h, false)
	if !p.here.has(h.GetFirstPairSeq(), uint64(f.ended())) {
		return // its loss was never counted here
	}
	// What it was counted as is not known any more. By far the likeliest is a
	// spool that was full; else its record was damaged since, and nobody said.
	full := l.drops.number(Drop{HopForwarder, "spool_full"})
	n := min(f.Stored, max(p.app.flow.Dropped.get(full), 0))
	f.Stored -= n
	f.Dropped.add(full, n)
	p.app.least(&f)
	l.enter(p.app, batchTime(h.GetTimeMax(), now), now, &f, -1)
	p.beyond -= f.ended()
}

// stray counts a batch of a process that is not told apart (any more).
func (l *Ledger) stray(a *app, h *capturev1.FrameHead, c store.Commit) {
	at := batchTime(h.GetTimeMax(), c.At)
	f := l.outcome(h, c.Unreadable)
	l.without(&f, c.Deleted)
	for _, run := range h.GetLost() {
		key := l.drops.number(Drop{HopForwarder, h.GetLostReason()})
		for _, n := range run.GetPairs() {
			f.Dropped.add(key, int64(n))
		}
		for rule, n := range run.GetFiltered() {
			f.Filtered.add(l.rules.number(rule), int64(n))
		}
		for why, n := range run.GetDropped() {
			f.Dropped.add(l.drops.number(Drop{HopForwarder, why}), int64(n))
		}
	}
	if c.Reclaimed {
		full := l.drops.number(Drop{HopForwarder, "spool_full"})
		f.Dropped.add(full, -min(f.ended(), a.flow.Dropped.get(full)))
	}
	// They were expected, or given up: which of it they are nobody knows, so
	// they are taken from where they would be.
	n := f.ended()
	for _, from := range []struct{ folded, all *int64 }{{&a.folded.Unknown, &a.Unknown}, {&a.folded.Unaccounted, &a.Unaccounted}} {
		took := max(min(n, *from.folded), 0)
		*from.folded -= took
		*from.all -= took
		n -= took
	}
	f.Seen = n
	l.enter(a, at, c.At, &f, 1)
	a.stand(c.At)
}

// damage is a stored frame that cannot be read any more.
type damage struct {
	at   uint64
	head *capturev1.FrameHead
}

// Damaged says that a frame which was committed cannot be read any more: its
// pairs are not stored, whatever was said before. at is its place in the
// store's order. It may be told the same again, and before Open.
func (l *Ledger) Damaged(at uint64, head *capturev1.FrameHead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch d := (damage{at, head}); {
	case l.dir != nil:
		l.spoil(d)
	case len(l.early) < maxDamaged:
		l.early = append(l.early, d)
	}
}

func (l *Ledger) spoil(d damage) {
	h := d.head
	if l.damaged[d.at] || len(l.damaged) >= maxDamaged || h.GetPairs() == 0 {
		return
	}
	l.damaged[d.at] = true
	l.dirty = true
	now := l.opt.Now().UnixNano()
	at := batchTime(h.GetTimeMax(), now)
	drop := l.drops.number(Drop{HopAnalyzer, ReasonDamaged})
	src := h.GetSource()
	var p *process
	if len(src.GetEpoch()) == len(Epoch{}) {
		p = l.processes[Epoch(src.GetEpoch())]
	}
	if p == nil {
		a := l.apps[App{src.GetCluster(), src.GetNamespace(), src.GetApp()}]
		if a == nil {
			return
		}
		n := min(int64(h.GetPairs()), a.Stored)
		f := flow{Stored: -n}
		f.Dropped.add(drop, n)
		l.enter(a, at, now, &f, 1)
		return
	}
	f := l.outcome(h, false)
	n := f.ended()
	counted := p.here.has(h.GetFirstPairSeq(), uint64(n))
	if counted && p.remembered(h.GetBatchSeq()) >= 0 {
		return // it is counted as lost
	}
	lost := lostRun{
		First: h.GetBatchSeq(), Pairs: []uint32{h.GetPairs()}, Drop: drop,
		Filtered: slices.Clone(f.Filtered), Dropped: slices.Clone(f.Dropped), At: at,
	}
	pairs := f.Stored
	f.Dropped.add(drop, pairs)
	if f.Stored = 0; counted {
		f = flow{Stored: -pairs}
		f.Dropped.add(drop, pairs)
		l.enter(p.app, at, now, &f, 1)
	} else {
		// It was damaged before it was counted.
		l.enter(p.app, at, now, &f, 1)
		l.cover(p, h.GetFirstPairSeq(), uint64(n))
		l.end(p, at, now, n)
	}
	lost.Gap = l.gaps.add(stretch{
		From: batchTime(h.GetTimeMin(), at), To: at, App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, Drop: drop, Pairs: pairs,
	})
	if lost.First > 0 {
		l.remember(p, lost) // its forwarder may still have it
	}
	l.update(p, at, now)
}
