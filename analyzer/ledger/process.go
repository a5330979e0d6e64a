package ledger

import (
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

const (
	// maxSpans bounds the holes of one process that are told apart.
	maxSpans = 1024
	// maxPending bounds the steps that a process's pairs wait in for their end.
	maxPending = 64
	// maxLost bounds the batches that were declared lost and are remembered
	// one by one, of all processes.
	maxLost = 1 << 18
)

// process is the account of one proxy process.
//
// Pairs that entered batches have a sequence, 1, 2, 3 …; which of it is
// accounted for says exactly what is still missing. Pairs that did not are
// only counted, by the proxy. What follows from both changes as they do, so
// that it is made anew after each event (derive) and only the difference is
// entered into the sums of the app.
type process struct {
	epoch   Epoch
	app     *app
	proxyID string
	// started is when it began, by its own clock; 0 when it did not say.
	started int64
	// heard is when something of it came last, by this process's clock.
	heard int64
	// reported is the newest moment that its counters are known of.
	reported int64
	// newest is the newest time of its pairs that came.
	newest int64

	// counters are the largest that were heard. They only grow, so that they
	// are the newest too, whatever order reports come in.
	counters tallies
	// base is what it had counted before this ledger began; it is taken off.
	// slides: it began before the ledger did, so that base becomes less when
	// older pairs come after all.
	base   tallies
	slides bool

	here spans
	// beyond are pairs that came twice within the sequence or outside it,
	// which no proxy of ours does. They are stored, so they were seen.
	beyond int64
	// closed are pairs in holes that were given up for want of room.
	closed int64
	lost   []lostRun

	views []view
	state State
	// ended is when its lease ran out or it said goodbye; 0 where nobody
	// knows.
	ended int64
	// checked: the first so many pairs of the sequence have to be here, for
	// every forwarder has sent what it had since they were acknowledged.
	checked uint64
	// settled: it has ended and nothing of it is on its way.
	settled bool
	check   check

	// entered is what the sums of the app have of derive.
	entered derived
	pending []slot
}

// tallies are what a proxy counts.
type tallies struct {
	Seen    uint64 `json:"e,omitempty"`
	Batched uint64 `json:"b,omitempty"`
	Sampled uint64 `json:"a,omitempty"`
	Acked   uint64 `json:"k,omitempty"`
	Dropped tally  `json:"d,omitempty"`
}

// slot is a step in which pairs were seen that have come to no end yet.
type slot struct {
	At int64 `json:"t"`
	N  int64 `json:"n"`
}

// lostRun is batches that were declared lost, and what that was counted as: a
// batch that comes after all takes it back.
type lostRun struct {
	// First is the first batch; Pairs has for each what was lost of it.
	First uint64   `json:"b"`
	Pairs []uint32 `json:"p"`
	Drop  uint16   `json:"r"`
	// Filtered and Dropped are of a run of one batch.
	Filtered tally `json:"f,omitempty"`
	Dropped  tally `json:"d,omitempty"`
	// At is where the loss stands in time, Gap the stretch that has it.
	At  int64  `json:"t"`
	Gap uint64 `json:"g"`
}

// view is a process as one forwarder sees it.
type view struct {
	Forwarder string                      `json:"f"`
	State     capturev1.ProxyStatus_State `json:"s"`
	LastSeen  int64                       `json:"l,omitempty"`
	Ended     int64                       `json:"e,omitempty"`
	// Gone: the forwarder does not know it any more, and never said why.
	Gone bool `json:"g,omitempty"`
	// round is the forwarder's report that listed it last.
	round uint64
}

// check waits for every forwarder to have sent what it had at some moment.
type check struct {
	// Mark are the pairs that are here then, or missing; 0 for no check.
	Mark uint64 `json:"m,omitempty"`
	// tick is the moment; after a start all forwarders have to send anew.
	tick uint64
}

// derived is what follows from how things stand.
type derived struct {
	Seen    int64 `json:"e,omitempty"`
	Sampled int64 `json:"a,omitempty"`
	// Dropped are the proxy's own counts, Found what the ledger concluded, at
	// the time FoundAt.
	Dropped tally `json:"d,omitempty"`
	Found   tally `json:"o,omitempty"`
	FoundAt int64 `json:"t,omitempty"`
	level
}

// batched is how far the sequence goes.
func (p *process) batched() uint64 { return max(p.counters.Batched, p.here.highest(), p.base.Batched) }

// missing are the pairs of the sequence, up to limit, that are not here.
func (p *process) missing(limit uint64) uint64 {
	if limit <= p.base.Batched {
		return 0
	}
	return limit - p.base.Batched - p.here.count(limit)
}

// derive says how the account stands.
func (p *process) derive(l *Ledger) derived {
	batched := p.batched()
	seen := max(p.counters.Seen, batched+p.counters.Sampled+uint64(p.counters.Dropped.total()))
	open := seen - batched - p.counters.Sampled - uint64(p.counters.Dropped.total())

	d := derived{Sampled: int64(p.counters.Sampled - p.base.Sampled)}
	for _, c := range p.counters.Dropped {
		d.Dropped.add(c.Key, c.N-p.base.Dropped.get(c.Key))
	}
	limit := min(p.checked, batched)
	if p.settled {
		limit = max(limit, min(p.counters.Acked, batched), p.here.highest())
	}
	missing := p.missing(limit)
	rest := int64(open + p.missing(batched) - missing)
	gone := int64(missing) + p.closed

	d.Seen = rest + gone + d.Sampled + d.Dropped.total() + p.beyond +
		int64(p.here.count(batched)) - p.closed
	switch {
	case p.settled && p.state == Stopped:
		// Its last counters are exact, and no forwarder has more: it stopped
		// with these.
		d.Found.add(l.drops.number(Drop{HopProxy, ReasonStopped}), rest)
	case p.settled:
		d.Unknown = rest
	default:
		d.InFlight = rest
	}
	if gone > 0 {
		if blame, ok := l.blame(p); ok {
			d.Found.add(l.drops.number(blame), gone)
		} else {
			d.Unaccounted = gone
		}
	}
	return d
}

// update enters what has changed since the last time. at is when that was, as
// well as anybody knows, now the present.
func (l *Ledger) update(p *process, at, now int64) {
	d := p.derive(l)
	old := &p.entered
	d.FoundAt = old.FoundAt
	if !sameTally(d.Found, old.Found) {
		back := flow{Dropped: old.Found}
		l.enter(p.app, old.FoundAt, now, &back, -1)
		d.FoundAt = 0
		if d.Found.total() > 0 {
			d.FoundAt = now
			l.enter(p.app, now, now, &flow{Dropped: d.Found}, 1)
		}
	}
	var change flow
	change.Seen = d.Seen - old.Seen
	change.Sampled = d.Sampled - old.Sampled
	for _, c := range d.Dropped {
		change.Dropped.add(c.Key, c.N-old.Dropped.get(c.Key))
	}
	if !change.zero() {
		l.enter(p.app, at, now, &change, 1)
		p.wait(at, change.Seen)
		l.end(p, at, now, change.Sampled+change.Dropped.total())
	}
	if d.level != old.level || !change.zero() {
		p.app.level.add(old.level, -1)
		p.app.level.add(d.level, 1)
		l.dirty = true
		p.app.stand(now)
	}
	p.entered = d
}

func sameTally(a, b tally) bool {
	for _, p := range a {
		if b.get(p.Key) != p.N {
			return false
		}
	}
	for _, p := range b {
		if a.get(p.Key) != p.N {
			return false
		}
	}
	return true
}

// enter adds to an app's sum, and to the step that t is in.
func (l *Ledger) enter(a *app, t, now int64, f *flow, sign int64) {
	if f.zero() {
		return
	}
	l.dirty = true
	a.flow.add(f, sign)
	if r := a.series.at(t, now); r != nil {
		r.flow.add(f, sign)
	}
}

// wait remembers in which step pairs were seen that have come to no end yet.
func (p *process) wait(at, n int64) {
	if n <= 0 {
		return
	}
	step := floor(at, tiers[0].step)
	for i := range p.pending {
		if p.pending[i].At == step {
			p.pending[i].N += n
			return
		}
	}
	p.pending = append(p.pending, slot{step, n})
	if len(p.pending) > maxPending {
		p.pending[1].N += p.pending[0].N
		p.pending = p.pending[1:]
	}
}

// end says that n pairs came to an end that belongs to the time at: that is
// when they were seen too. A proxy's count of what it saw may come long before
// or after the pairs themselves, when a forwarder was away.
func (l *Ledger) end(p *process, at, now, n int64) {
	step := floor(at, tiers[0].step)
	for i := range p.pending {
		if s := &p.pending[i]; s.At == step {
			took := min(n, s.N)
			s.N -= took
			n -= took
		}
	}
	for i := range p.pending {
		s := &p.pending[i]
		took := min(n, s.N)
		if took <= 0 {
			continue
		}
		s.N -= took
		n -= took
		if r := p.app.series.at(s.At, now); r != nil {
			r.Seen -= took
		}
		if r := p.app.series.at(at, now); r != nil {
			r.Seen += took
		}
	}
	kept := p.pending[:0]
	for _, s := range p.pending {
		if s.N > 0 {
			kept = append(kept, s)
		}
	}
	p.pending = kept
}

// count takes what a proxy says of itself. at is when it said so.
func (l *Ledger) count(p *process, c *capturev1.Counters, at int64) {
	if c == nil {
		return
	}
	p.counters.Seen = max(p.counters.Seen, sane(c.GetSeen()))
	p.counters.Batched = max(p.counters.Batched, sane(c.GetBatched()))
	p.counters.Sampled = max(p.counters.Sampled, sane(c.GetSampled()))
	p.counters.Acked = max(p.counters.Acked, sane(c.GetAcked()))
	from := p.reported
	if from == 0 {
		from = p.started
	}
	for reason, n := range c.GetDropped() {
		n = sane(n)
		key := l.drops.number(Drop{HopProxy, reason})
		had := p.counters.Dropped.get(key)
		if int64(n) <= had {
			continue
		}
		p.counters.Dropped.add(key, int64(n)-had)
		if lost := int64(n) - max(had, p.base.Dropped.get(key)); lost > 0 {
			l.gaps.add(stretch{
				From: from, To: at, App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, Drop: key, Pairs: lost,
			})
		}
	}
	p.reported = max(p.reported, at)
}

// sane bounds a count, so that no sum of them overflows: no process gets there
// by counting.
func sane(n uint64) uint64 { return min(n, 1<<48) }
