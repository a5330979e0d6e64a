package ledger

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// maxProcesses are told apart, maxFolded are remembered by name alone, so
	// that what comes late of them is not taken for a new one.
	maxProcesses = 10_000
	maxFolded    = 50_000
	// maxForwarders and maxSpools bound what is known of those.
	maxForwarders = 1000
	maxSpools     = 4096
	// maxDamaged bounds the frames that are known to be damaged.
	maxDamaged = 1 << 16
	// MaxSteps bounds the steps of a report.
	MaxSteps = 10_000
	// silence is how long a process may go unmentioned by a forwarder that is
	// there before it is taken for dead: longer than the lease.
	silence = int64(time.Minute)
	// absence is how long a forwarder is waited for that may have something of
	// a process without having told of it.
	absence = int64(time.Hour)
)

// Options of a ledger. Zero values mean the defaults that stand beside them.
type Options struct {
	// Store is the id of the store whose commits are counted; a snapshot of
	// another one's is of no use.
	Store string
	// SaveEvery is how often a snapshot is written when something changed:
	// 10 s. It becomes less often when writing takes long.
	SaveEvery time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
	// Processes is how many are told apart: 10,000. Tests make it small.
	Processes int
}

// Ledger is the account. It may be used by many goroutines at once.
type Ledger struct {
	opt Options
	log *slog.Logger
	dir vfs.FS

	// saving is held by whoever writes a snapshot; saved is up to where the
	// last one covers the store's order.
	saving sync.Mutex
	saved  uint64

	mu sync.Mutex
	// since is when counting began, place how far in the store's order.
	since int64
	place uint64
	// dirty: something changed since the last snapshot.
	dirty bool

	rules      *words[string]
	drops      *words[Drop]
	apps       map[App]*app
	processes  map[Epoch]*process
	forwarders map[string]*forwarder
	spools     map[store.ID]*spool
	// checking are the processes that wait for forwarders, tick counts the
	// times that these were looked at. opened is when this began.
	checking map[*process]bool
	tick     uint64
	opened   int64
	gaps     gaps
	// damaged are the places in the store's order of frames that cannot be
	// read any more; early are those that were told of before Open.
	damaged map[uint64]bool
	early   []damage
	// erasing is the deletion that was counted last; what stands at or above
	// counted was counted with its commit since the start.
	erasing erasing
	counted uint64
	// lostBatches counts those that are remembered one by one.
	lostBatches int

	// folded are processes that are kept in the sums only: the newest by name,
	// oldest first, all by number. deaths are those of them that died.
	folded      []Epoch
	foldedSet   map[Epoch]bool
	foldedCount uint64
	deaths      []Death
	// deathsForgotten counts those that went for want of room.
	deathsForgotten uint64
	// aged is when rows were last moved to coarser steps.
	aged int64
}

// New makes an empty ledger. Its Commit may be called from now on; Open makes
// it whole.
func New(opt Options, log *slog.Logger) *Ledger {
	if opt.SaveEvery == 0 {
		opt.SaveEvery = 10 * time.Second
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Processes == 0 {
		opt.Processes = maxProcesses
	}
	l := &Ledger{opt: opt, log: log}
	l.reset()
	return l
}

// reset forgets everything. l.mu is held, or nobody else knows l.
func (l *Ledger) reset() {
	l.since, l.place, l.dirty = 0, 0, false
	l.rules = newWords(others, maxRules)
	l.drops = newWords(Drop{HopNone, others}, maxDrops)
	l.apps, l.processes = map[App]*app{}, map[Epoch]*process{}
	l.forwarders, l.spools = map[string]*forwarder{}, map[store.ID]*spool{}
	l.checking = map[*process]bool{}
	l.gaps, l.lostBatches, l.damaged = newGaps(), 0, map[uint64]bool{}
	l.folded, l.foldedSet, l.foldedCount = nil, map[Epoch]bool{}, 0
	l.deaths, l.deathsForgotten, l.aged = nil, 0, 0
	l.erasing, l.counted = erasing{}, 0
}

// Open reads the snapshot in dir and then, from committer, the commits that it
// does not cover. storeID and end are the store's id and the place behind its
// last commit. A snapshot that is missing, damaged or of another store is made
// good by counting all commits that are retained; Report.Since says from when.
// Nothing may be committed meanwhile. dir stays the caller's.
func (l *Ledger) Open(dir vfs.FS, storeID string, end uint64, committer store.Committer) error {
	fresh, err := l.restart(dir, storeID, end, committer)
	if err != nil || !fresh {
		return err
	}
	// From when on it counts must not be forgotten. Where it cannot be saved,
	// Run tries again.
	if err := l.Save(); err != nil {
		l.log.Error("Could not save the ledger", slog.String("error", err.Error()))
	}
	return nil
}

// restart is Open but for the first snapshot; fresh says that there is none.
func (l *Ledger) restart(dir vfs.FS, storeID string, end uint64, committer store.Committer) (fresh bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dir, l.opt.Store = dir, storeID
	l.opened = l.opt.Now().UnixNano()
	if err := l.load(); err != nil || l.place > end {
		if err == nil {
			err = errors.New("it covers more than the store has")
		}
		l.reset()
		fresh = true
		if !errors.Is(err, fs.ErrNotExist) {
			l.log.Warn("The ledger is counted anew from what is stored", slog.String("reason", err.Error()))
		}
	}
	// What is damaged is told where it stands: a batch may have come again
	// behind it. No commit tells of it after a start, so that it is saved.
	slices.SortFunc(l.early, func(a, b damage) int { return cmp.Compare(a.at, b.at) })
	known := len(l.damaged)
	l.counted = l.place
	for c, err := range committer.Commits(l.place) {
		if err != nil {
			return false, fmt.Errorf("count commits: %w", err)
		}
		l.spoilBefore(l.place)
		l.commit(c)
	}
	l.spoilBefore(math.MaxUint64)
	fresh = fresh || len(l.damaged) > known
	if l.since == 0 {
		l.since = l.opt.Now().UnixNano()
		l.dirty = true
	}
	return fresh, nil
}

// spoilBefore counts what was found damaged before a place, before Open.
func (l *Ledger) spoilBefore(place uint64) {
	for len(l.early) > 0 && l.early[0].at < place {
		l.spoil(l.early[0])
		l.early = l.early[1:]
	}
}

// Run writes snapshots until ctx ends, and a last one then. It needs Open.
func (l *Ledger) Run(ctx context.Context) error {
	pause := l.opt.SaveEvery
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return l.Save()
		case <-timer.C:
		}
		began := time.Now()
		if err := l.Save(); err != nil {
			// Nothing is lost: what a snapshot lacks is counted again from the
			// store, and the next one may succeed.
			l.log.Error("Could not save the ledger", slog.String("error", err.Error()))
		}
		pause = max(l.opt.SaveEvery, 20*time.Since(began))
	}
}

// appOf finds an app's account, or opens it.
func (l *Ledger) appOf(key App) *app {
	a := l.apps[key]
	if a == nil && len(l.apps) >= maxApps {
		key = App{App: others}
		a = l.apps[key]
	}
	if a == nil {
		a = &app{key: key}
		l.apps[key] = a
	}
	return a
}

// open begins the account of a process that is heard of for the first time.
// base is what it had counted before, now the present.
func (l *Ledger) open(e Epoch, key App, proxyID string, started int64, base tallies, now int64) *process {
	p := &process{epoch: e, app: l.appOf(key), proxyID: proxyID, started: max(started, 0)}
	// One that began before this ledger may have counted what never comes
	// here. So may one whose clock is far ahead, so that nobody can tell, and one
	// that is met midway when names were forgotten.
	if p.slides = started < l.since || started > now+silence || l.since == 0 || l.foldedCount > uint64(len(l.folded)); p.slides {
		p.base = base
	}
	l.processes[e] = p
	if len(l.processes) > l.opt.Processes {
		l.fold()
	}
	return p
}

// blame is what pairs are put down to that a forwarder had and that are not
// here: a stretch of a spool that could not be read, since the process began.
func (l *Ledger) blame(p *process) (Drop, bool) {
	since := max(p.started-silence, 0)
	for _, s := range l.spools {
		if s.Damaged > since && (s.Cluster == "" || s.Cluster == p.app.key.Cluster) {
			return Drop{HopForwarder, ReasonSpoolDamaged}, true
		}
	}
	for _, s := range l.spools {
		if s.Unreadable > since && (s.Cluster == "" || s.Cluster == p.app.key.Cluster) {
			return Drop{HopAnalyzer, ReasonUnreadable}, true
		}
	}
	return Drop{}, false
}

// fold puts a tenth of the processes into the sums: those that have ended and
// settled, oldest first, and if those are too few whatever was not heard of
// for longest.
func (l *Ledger) fold() {
	all := make([]*process, 0, len(l.processes))
	for _, p := range l.processes {
		all = append(all, p)
	}
	rank := func(p *process) int {
		switch {
		case p.settled:
			return 0
		case p.state != Live:
			return 1
		}
		return 2
	}
	slices.SortFunc(all, func(a, b *process) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.heard, b.heard), slices.Compare(a.epoch[:], b.epoch[:]))
	})
	for _, p := range all[:max(len(all)/10, 1)] {
		l.foldOne(p)
	}
}

func (l *Ledger) foldOne(p *process) {
	d := &p.entered
	// What was on its way of a process that nobody asks after any more is not
	// expected any more.
	p.app.level.Unknown += d.InFlight
	p.app.level.InFlight -= d.InFlight
	p.app.folded.Unknown += d.Unknown + d.InFlight
	p.app.folded.Unaccounted += d.Unaccounted
	p.app.stand(l.opt.Now().UnixNano())
	for _, g := range l.standing(p) {
		l.gaps.add(stretch{
			From: g.From, To: g.To, App: g.App, ProxyID: g.ProxyID, Epoch: g.Epoch, Drop: l.drops.number(g.Drop), Pairs: int64(g.Pairs), AtMost: g.AtMost,
		})
	}
	if p.state == Died {
		l.deaths = append(l.deaths, p.death())
		if n := len(l.deaths) - maxDeaths; n > 0 {
			l.deaths = slices.Delete(l.deaths, 0, n)
			l.deathsForgotten += uint64(n)
		}
	}
	for _, r := range p.lost {
		l.lostBatches -= len(r.Pairs)
	}
	for _, v := range p.views {
		if f := l.forwarders[v.Forwarder]; f != nil {
			delete(f.known, p.epoch)
		}
	}
	delete(l.checking, p)
	delete(l.processes, p.epoch)
	l.folded = append(l.folded, p.epoch)
	l.foldedSet[p.epoch] = true
	l.foldedCount++
	if n := len(l.folded) - maxFolded; n > 0 {
		for _, e := range l.folded[:n] {
			delete(l.foldedSet, e)
		}
		l.folded = slices.Delete(l.folded, 0, n)
	}
	l.dirty = true
}

func (p *process) death() Death {
	return Death{
		App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, AtMost: positive(p.entered.Unknown + p.entered.InFlight),
		LastReport: p.reported, Ended: p.ended, Settled: p.settled,
	}
}

// standing are the gaps that follow from how a process stands.
func (l *Ledger) standing(p *process) []Gap {
	var out []Gap
	end := p.ended
	if end == 0 {
		end = max(p.reported, p.newest)
	}
	add := func(from, to int64, d Drop, n int64, atMost bool) {
		if n > 0 {
			out = append(out, Gap{
				From: min(from, to), To: to, App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, Drop: d, Pairs: uint64(n), AtMost: atMost,
			})
		}
	}
	begin := p.newest
	if begin == 0 {
		begin = cmp.Or(p.started, p.reported)
	}
	d := &p.entered
	if p.state == Died && p.settled {
		add(begin, end, Drop{HopNone, ReasonDied}, d.Unknown, true)
	}
	// When within its life these went missing nobody knows.
	life := cmp.Or(p.started, begin)
	add(life, max(p.newest, p.reported), Drop{HopNone, ReasonUnaccounted}, d.Unaccounted, false)
	for _, c := range d.Found {
		drop := l.drops.list[c.Key]
		from, to := life, max(p.newest, p.reported)
		if drop.Hop == HopProxy {
			from, to = begin, end
		}
		add(from, to, drop, c.N, false)
	}
	return out
}

// Report gives an account.
func (l *Ledger) Report(ask Ask) Report {
	if ask.To == 0 {
		ask.To = math.MaxInt64
	}
	r, apps, words, now := l.standingOf(ask)
	slices.SortFunc(apps, func(a, b *app) int { return a.key.compare(b.key) })
	r.Total = words.counts(&flow{}, level{})
	for _, a := range apps {
		c := words.counts(&a.flow, a.level)
		r.Apps = append(r.Apps, AppCounts{a.key, c})
		r.Total.Add(c)
		if c.Unaccounted > 0 {
			r.Reasons = append(r.Reasons, fmt.Sprintf(
				"app %s: a forwarder had taken %d pairs that are not here, although every forwarder has sent all that it had, and no spool said that it was damaged", a.key.App, c.Unaccounted))
		}
		if sum := c.sum(); sum != c.Seen {
			r.Reasons = append(r.Reasons, fmt.Sprintf("app %s: %d pairs were seen and %d were counted, which is a mistake of the ledger itself", a.key.App, c.Seen, sum))
		}
	}
	r.Step, r.Steps = words.steps(apps, ask, now)
	slices.SortFunc(r.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), slices.Compare(a.Epoch[:], b.Epoch[:]), a.Drop.Compare(b.Drop))
	})
	if n := len(r.Gaps) - maxGaps; n > 0 {
		r.Gaps, r.Partial = r.Gaps[n:], true
	}
	slices.SortFunc(r.Deaths, func(a, b Death) int {
		return cmp.Or(cmp.Compare(b.LastReport, a.LastReport), slices.Compare(a.Epoch[:], b.Epoch[:]))
	})
	if n := len(r.Deaths) - maxDeaths; n > 0 {
		r.Deaths, r.Partial = r.Deaths[:maxDeaths], true
	}
	return r
}

// standingOf is what of a report has to be read at one moment, in any order.
// Commits wait for it, so that everything else is done afterwards.
func (l *Ledger) standingOf(ask Ask) (r Report, apps []*app, words names, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.opt.Now().UnixNano()
	r = Report{
		Since: l.since, Partial: l.gaps.forgotten > 0 || l.deathsForgotten > 0,
		Processes: uint64(len(l.processes)) + l.foldedCount, Folded: l.foldedCount,
	}
	in := func(a App) bool { return ask.App == "" || a.App == ask.App }
	for key, a := range l.apps {
		if in(key) {
			apps = append(apps, &app{key: key, flow: a.flow.clone(), level: a.level, series: a.series.lend()})
		}
	}
	overlaps := func(from, to int64) bool { return from < ask.To && to >= ask.From }
	for _, s := range l.gaps.list {
		if s.Pairs > 0 && in(s.App) && overlaps(s.From, s.To) {
			r.Gaps = append(r.Gaps, Gap{
				From: s.From, To: s.To, App: s.App, ProxyID: s.ProxyID, Epoch: s.Epoch, Drop: l.drops.list[s.Drop], Pairs: positive(s.Pairs), AtMost: s.AtMost,
			})
		}
	}
	for _, d := range l.deaths {
		if in(d.App) {
			r.Deaths = append(r.Deaths, d)
		}
	}
	for _, p := range l.processes {
		if !in(p.app.key) {
			continue
		}
		for _, s := range p.pending {
			if overlaps(s.At, s.At+tiers[0].step-1) {
				r.Open += positive(s.N)
			}
		}
		for _, g := range l.standing(p) {
			if overlaps(g.From, g.To) {
				r.Gaps = append(r.Gaps, g)
			}
		}
		if p.state == Died {
			r.Deaths = append(r.Deaths, p.death())
		}
	}
	return r, apps, l.names(), now
}

// steps is the series of apps, as finely as asked for where that is kept and
// not too much.
func (w names) steps(apps []*app, ask Ask, now int64) (time.Duration, []Step) {
	step := max(int64(ask.Step), finest(ask.From, now))
	step = (step + tiers[0].step - 1) / tiers[0].step * tiers[0].step
	for {
		var out []Step
		for _, a := range apps {
			at, rows := a.series.window(ask.From, ask.To, step)
			for i, r := range rows {
				if r.flow.zero() && r.level == (level{}) {
					continue
				}
				out = append(out, Step{Time: at[i], App: a.key, Counts: w.counts(&r.flow, r.level)})
			}
			if len(out) > MaxSteps {
				break
			}
		}
		// A day is as wide as it gets: so many rows are of very many apps.
		if len(out) <= MaxSteps || step >= int64(24*time.Hour) {
			out = out[:min(len(out), MaxSteps)]
			slices.SortFunc(out, func(a, b Step) int { return cmp.Or(cmp.Compare(a.Time, b.Time), a.App.compare(b.App)) })
			return time.Duration(step), out
		}
		step *= 2
	}
}

// Totals is Report without steps, gaps and deaths, for metrics.
func (l *Ledger) Totals() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	words := l.names()
	total := words.counts(&flow{}, level{})
	for _, a := range l.apps {
		total.Add(words.counts(&a.flow, a.level))
	}
	return total
}

// Processes lists those that were there at some time in [from, to), newest
// first, at most limit.
func (l *Ledger) Processes(from, to int64, limit int) []Process {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Process
	for _, p := range l.processes {
		first, last := p.started, max(p.reported, p.ended)
		if first == 0 {
			first = min(cmp.Or(p.newest, p.heard), p.heard)
		}
		if first >= to || (p.state == Stopped || p.state == Died) && last < from {
			continue
		}
		out = append(out, Process{
			App: p.app.key, ProxyID: p.proxyID, Epoch: p.epoch, State: p.state, First: first, Last: p.reported, Seen: positive(p.entered.Seen),
		})
	}
	slices.SortFunc(out, func(a, b Process) int {
		return cmp.Or(cmp.Compare(b.First, a.First), slices.Compare(a.Epoch[:], b.Epoch[:]))
	})
	return out[:min(len(out), limit)]
}

func (a App) compare(b App) int {
	return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Cluster, b.Cluster))
}
