package ledger

import (
	"math"
	"slices"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Forwarder is what a forwarder last said of itself.
type Forwarder struct {
	Status *capturev1.ForwarderStatus
	// Connected: its stream is open now.
	Connected bool
}

// forwarder is what the ledger knows of one.
type forwarder struct {
	id        string
	cluster   string
	connected bool
	// since is when it was seen to connect, heard when it reported last; by
	// this process's clock.
	since, heard int64
	// up is for how long it runs, by its own clock.
	up int64
	// Everything that it had at the tick clean is here. When the analyzer has
	// all below need, that is so of the tick needed too.
	clean, needed, need uint64
	// said is the tick of its last report.
	said uint64
	// round counts its reports.
	round uint64
	last  *capturev1.ForwarderStatus
	// known are the processes that it has a view of.
	known map[Epoch]bool
}

// Observe takes what forwarders say. It is to be given all that are known,
// about once a second; a report that was there before is not counted again.
// Statuses are only read.
func (l *Ledger) Observe(forwarders []Forwarder) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.opt.Now().UnixNano()
	l.age(now)
	l.tick++
	present := make(map[string]bool, len(forwarders))
	for _, f := range forwarders {
		id := f.Status.GetForwarderId()
		present[id] = true
		l.observe(id, f, now)
	}
	for id, f := range l.forwarders {
		if !present[id] {
			l.connect(f, false, now)
		}
	}
	l.lookForDead(now)
	l.finishChecks(now)
}

func (l *Ledger) observe(id string, f Forwarder, now int64) {
	fw := l.forwarders[id]
	if fw == nil {
		l.forgetForwarder()
		fw = &forwarder{id: id, known: map[Epoch]bool{}}
		l.forwarders[id] = fw
	}
	fw.cluster = f.Status.GetCluster()
	l.connect(fw, f.Connected, now)
	st := f.Status
	if st == fw.last || st.GetNow() == 0 {
		return // nothing new, or nothing but its name
	}
	fw.last = st
	fw.round++
	fw.heard = now
	fw.up = st.GetNow() - st.GetStarted()
	fw.drain(st.GetSpool().GetNextOffset(), st.GetSpool().GetExportedOffset(), l.tick)
	for _, s := range st.GetProxies() {
		l.listed(fw, s, now)
	}
	if st.GetProxiesOmitted() == 0 && f.Connected && fw.up > silence {
		l.unlisted(fw, now)
	}
}

// drain notes the end of a forwarder's spool, and how far of it is here. A
// report may have been under way for a while: the end that it tells of is
// surely behind the moment of the report before it, and of no later one.
func (fw *forwarder) drain(next, exported, tick uint64) {
	if exported >= min(fw.need, next) { // a spool that was made anew has less
		fw.clean = fw.needed
		fw.needed, fw.need = fw.said, next
		if exported >= next {
			fw.clean = fw.said
		}
	}
	fw.said = tick
}

// connect notes that a forwarder came or went. What it said of processes that
// were alive then holds no more.
func (l *Ledger) connect(fw *forwarder, connected bool, now int64) {
	if fw.connected == connected {
		return
	}
	fw.connected = connected
	if connected {
		fw.since = now
	}
	for e := range fw.known {
		if p := l.processes[e]; p != nil {
			l.judge(p, now)
		}
	}
}

// forgetForwarder makes room for one more. What waits for it waits no more: it
// was not heard of for longer than a thousand others.
func (l *Ledger) forgetForwarder() {
	if len(l.forwarders) < maxForwarders {
		return
	}
	var oldest *forwarder
	for _, f := range l.forwarders {
		if !f.connected && (oldest == nil || f.heard < oldest.heard) {
			oldest = f
		}
	}
	if oldest == nil {
		return // streams are bounded
	}
	delete(l.forwarders, oldest.id)
	for _, p := range l.processes {
		p.views = slices.DeleteFunc(p.views, func(v view) bool { return v.Forwarder == oldest.id && !v.over() })
	}
}

// over: what was said of the process is final.
func (v *view) over() bool {
	return v.Gone || v.State == capturev1.ProxyStatus_STATE_REAPED || v.State == capturev1.ProxyStatus_STATE_STOPPED
}

// listed takes what a forwarder says of one process.
func (l *Ledger) listed(fw *forwarder, s *capturev1.ProxyStatus, now int64) {
	src := s.GetSource()
	if len(src.GetEpoch()) != len(Epoch{}) {
		return
	}
	e := Epoch(src.GetEpoch())
	p := l.processes[e]
	if p == nil {
		if l.foldedSet[e] {
			return
		}
		cluster := src.GetCluster()
		if cluster == "" {
			cluster = fw.cluster
		}
		c := s.GetCounters()
		p = l.open(e, App{cluster, src.GetNamespace(), src.GetApp()}, src.GetProxyId(), s.GetEpochStarted(), l.baseOf(c, c.GetAcked()), now)
		l.dirty = true
	}
	p.heard = now
	if p.proxyID == "" {
		p.proxyID = src.GetProxyId()
	}
	i := slices.IndexFunc(p.views, func(v view) bool { return v.Forwarder == fw.id })
	if i < 0 {
		p.views = append(p.views, view{Forwarder: fw.id})
		i = len(p.views) - 1
		fw.known[e] = true
	}
	v := &p.views[i]
	changed := v.State != s.GetState() || v.Gone
	v.State, v.LastSeen, v.Ended, v.Gone, v.round = s.GetState(), s.GetLastSeen(), s.GetEnded(), false, fw.round
	// A forwarder's clock may be ahead.
	at := batchTime(s.GetLastSeen(), now)
	l.count(p, s.GetCounters(), countedAt(s.GetCounters(), at, now))
	if changed {
		l.dirty = true
		l.judge(p, at)
	}
	if p.moved() {
		l.update(p, at, now)
	}
	l.begin(p, p.counters.Acked)
}

// moved: its counters are not what the sums have of it.
func (p *process) moved() bool {
	d := &p.entered
	seen := int64(max(p.counters.Seen, p.batched()+p.counters.Sampled+uint64(p.counters.Dropped.total())))
	had := d.Seen - p.beyond + int64(p.base.Batched+p.base.Sampled) + p.base.Dropped.total()
	return seen != had || int64(p.counters.Sampled-p.base.Sampled) != d.Sampled || p.counters.Dropped.total()-p.base.Dropped.total() != d.Dropped.total()
}

// unlisted looks for processes that were alive and that a forwarder does not
// know any more: it was started anew meanwhile, and they did not come back.
func (l *Ledger) unlisted(fw *forwarder, now int64) {
	for e := range fw.known {
		p := l.processes[e]
		if p == nil {
			delete(fw.known, e)
			continue
		}
		for i := range p.views {
			if v := &p.views[i]; v.Forwarder == fw.id && v.round != fw.round && !v.over() {
				v.Gone = true
				l.dirty = true
				l.judge(p, now)
			}
		}
	}
}

// lookForDead finds processes that no forwarder has ever mentioned, although
// their batches came: they lived and died while nobody told.
func (l *Ledger) lookForDead(now int64) {
	for _, p := range l.processes {
		if len(p.views) > 0 || p.state == Died || now-p.heard < silence {
			continue
		}
		for _, fw := range l.forwarders {
			if fw.connected && fw.cluster == p.app.key.Cluster && fw.up > silence && now-fw.since > silence {
				p.views = append(p.views, view{Forwarder: fw.id, Gone: true, LastSeen: p.reported})
				fw.known[p.epoch] = true
				l.judge(p, now)
				break
			}
		}
	}
}

// judge says whether a process lives. at is when that may have changed.
func (l *Ledger) judge(p *process, at int64) {
	now := l.opt.Now().UnixNano()
	state, ended := Unknown, int64(0)
	var live, stale, died bool
	for _, v := range p.views {
		fw := l.forwarders[v.Forwarder]
		switch {
		case v.State == capturev1.ProxyStatus_STATE_STOPPED:
			state, ended = Stopped, max(ended, v.Ended, v.LastSeen)
		case v.Gone:
			died = true
		case v.State == capturev1.ProxyStatus_STATE_REAPED:
			died = true
			if state != Stopped {
				ended = max(ended, v.Ended)
			}
		case fw != nil && fw.connected:
			live = true
		default:
			stale = true
		}
	}
	switch {
	case state == Stopped: // it said so itself
	case live:
		state, ended = Live, 0
	case stale:
		ended = 0
	case died:
		state = Died
	}
	over := state == Stopped || state == Died
	was := p.state == Stopped || p.state == Died
	p.state, p.ended = state, ended
	switch {
	case over && !was:
		// Whoever may have something of it has to send that first.
		p.check = check{}
		l.begin(p, math.MaxUint64)
	case !over && was:
		p.settled = false
		p.check = check{}
		delete(l.checking, p)
	}
	l.dirty = true
	l.update(p, at, now)
}

// begin starts to check that the pairs up to mark are here, or are not. A
// check under way goes on.
func (l *Ledger) begin(p *process, mark uint64) {
	if p.check.Mark > 0 || p.settled || mark <= p.checked || mark != math.MaxUint64 && p.missing(min(mark, p.batched())) == 0 {
		return
	}
	p.check = check{Mark: mark, tick: l.tick}
	l.checking[p] = true
}

// finishChecks ends the checks for which every forwarder has sent what it had.
// Those that told of the process are waited for however long they are away;
// others of its cluster may have taken something of it and forgotten it since,
// in a restart, so that they are waited for as long as they are there or may
// well come back.
func (l *Ledger) finishChecks(now int64) {
	if len(l.checking) == 0 {
		return
	}
	clean := map[string]uint64{}
	for _, fw := range l.forwarders {
		if !fw.connected && now-max(fw.heard, l.opened) > absence {
			continue
		}
		if c, ok := clean[fw.cluster]; !ok || fw.clean < c {
			clean[fw.cluster] = fw.clean
		}
	}
	for p := range l.checking {
		if c, ok := clean[p.app.key.Cluster]; ok && c <= p.check.tick {
			continue
		}
		if !slices.ContainsFunc(p.views, func(v view) bool {
			fw := l.forwarders[v.Forwarder]
			return fw != nil && fw.clean <= p.check.tick
		}) {
			l.finish(p, now)
		}
	}
}

// finish says what a check has shown.
func (l *Ledger) finish(p *process, now int64) {
	if p.check.Mark == math.MaxUint64 {
		p.settled = p.state == Stopped || p.state == Died
	} else {
		p.checked = max(p.checked, p.check.Mark)
	}
	p.check = check{}
	delete(l.checking, p)
	l.dirty = true
	l.update(p, now, now)
}

// age moves rows to coarser steps as time passes, once a minute.
func (l *Ledger) age(now int64) {
	if now-l.aged < tiers[0].step {
		return
	}
	l.aged = now
	rows := 0
	for _, a := range l.apps {
		a.series.age(now)
		rows += a.series.len()
	}
	for keep := tiers[2].keep; rows > maxRows; keep /= 2 {
		rows = 0
		for _, a := range l.apps {
			a.series.dropBefore(now - keep/2)
			rows += a.series.len()
		}
	}
}
