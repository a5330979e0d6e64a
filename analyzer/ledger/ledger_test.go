package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/atomicfile"
)

// deliver lets a forwarder take everything of a proxy and send it.
func (w *world) deliver(t testing.TB, l *Ledger, p *simProxy) {
	t.Helper()
	for len(p.unsent) > 0 {
		w.take(p, 0, 0, true)
	}
	f := w.fwds[p.forward]
	for len(f.records) > 0 {
		w.export(f, 0)
	}
	f.exported = f.next
	for _, c := range w.log {
		l.Commit(c)
	}
}

// pass lets time pass, with reports.
func (w *world) pass(l *Ledger, n int, each time.Duration) {
	for range n {
		w.now += int64(each)
		for i, f := range w.fwds {
			if f.connected {
				w.report(i)
			}
		}
		l.Observe(w.observed())
	}
}

func (w *world) see(p *simProxy, n uint64) {
	p.open += n
	p.c.Seen += n
}

func total(l *Ledger) Counts { return l.Report(Ask{}).Total }

// TestProxyThatNobodySawDie: a forwarder is killed, and a proxy with it; the
// forwarder that takes its place never hears of the proxy. It is taken for
// dead once it would have come back.
func TestProxyThatNobodySawDie(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	w.see(p, 10)
	w.cut(p, 4)
	w.deliver(t, l, p)
	w.beat(p)
	w.pass(l, 3, time.Second)
	last := p.lastSeen
	p.dead = true
	delete(p.heardBy, 0) // the forwarder has forgotten
	w.fwds[0].started = w.now
	w.pass(l, 30, time.Second)
	if c := total(l); c.InFlight != 6 || c.Unknown != 0 {
		t.Errorf("too early: %+v", c)
	}
	w.pass(l, 60, time.Second)
	r := l.Report(Ask{From: 1, To: math.MaxInt64})
	if r.Total.Unknown != 6 || r.Total.InFlight != 0 || len(r.Deaths) != 1 || r.Deaths[0].LastReport != last || r.Deaths[0].Ended != 0 || !r.Deaths[0].Settled {
		t.Errorf("%+v", r)
	}
	// It was only partitioned: nothing of that stays.
	p.dead = false
	w.beat(p)
	w.pass(l, 3, time.Second)
	if r := l.Report(Ask{From: 1, To: math.MaxInt64}); r.Total.Unknown != 0 || r.Total.InFlight != 6 || len(r.Deaths)+len(r.Gaps) != 0 {
		t.Errorf("after it came back: %+v", r)
	}
}

// TestProxyThatNoForwarderMentioned: its batches come from a backlog, and it
// was gone before anybody could tell.
func TestProxyThatNoForwarderMentioned(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	w.see(p, 10)
	w.cut(p, 4)
	w.pass(l, 2, time.Second)
	w.deliver(t, l, p)
	w.pass(l, 5, time.Second)
	if c := total(l); c.InFlight != 6 {
		t.Errorf("%+v", c)
	}
	w.pass(l, 70, time.Second)
	if r := l.Report(Ask{}); r.Total.Unknown != 6 || len(r.Deaths) != 1 {
		t.Errorf("%+v", r)
	}
	holds(t, l)
}

// TestNothingIsGivenUpWhileItMayCome: a forwarder that is away has pairs of a
// proxy that died. They are on their way until it has sent them, however long
// that takes.
func TestNothingIsGivenUpWhileItMayCome(t *testing.T) {
	w := newWorld(2)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	w.see(p, 10)
	w.beat(p)
	w.pass(l, 2, time.Second)
	w.cut(p, 6)
	w.take(p, 0, 0, true)
	w.fwds[0].connected = false
	p.forward = 1
	w.beat(p)
	w.pass(l, 2, time.Second)
	p.dead, p.reaped = true, true
	w.pass(l, 600, time.Second)
	if c := total(l); c.InFlight != 10 || c.Unknown+c.Unaccounted != 0 {
		t.Errorf("%+v", c)
	}
	w.fwds[0].connected = true
	w.pass(l, 10, time.Second)
	if c := total(l); c.InFlight != 10 || c.Unknown+c.Unaccounted != 0 {
		t.Errorf("its spool is not empty yet: %+v", c)
	}
	w.export(w.fwds[0], 0)
	w.fwds[0].exported = w.fwds[0].next
	l.Commit(w.log[0])
	w.pass(l, 5, time.Second)
	if c := total(l); c.Stored != 6 || c.Unknown != 4 || c.InFlight+c.Unaccounted != 0 {
		t.Errorf("%+v", c)
	}
	holds(t, l)
}

// TestStoppedProxyHasExactCounters: what it had not sent is dropped for that
// reason, not unknown.
func TestStoppedProxyHasExactCounters(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	w.see(p, 9)
	w.cut(p, 4)
	w.deliver(t, l, p)
	w.cut(p, 5) // nobody took it
	w.beat(p)
	p.stopped = true
	w.pass(l, 5, time.Second)
	r := l.Report(Ask{From: 1, To: math.MaxInt64})
	if want := map[Drop]uint64{{HopProxy, ReasonStopped}: 5}; !maps.Equal(r.Total.Dropped, want) || r.Total.Stored != 4 || r.Total.InFlight+r.Total.Unknown != 0 || len(r.Deaths) != 0 {
		t.Errorf("%+v", r)
	}
	if len(r.Gaps) != 1 || r.Gaps[0].Pairs != 5 || r.Gaps[0].AtMost {
		t.Errorf("%+v", r.Gaps)
	}
}

// TestCountsGoToTheirOwnTime: the forwarder was away for ten minutes. Its
// first report has all that was seen meanwhile; the batches that follow say
// when that was.
func TestCountsGoToTheirOwnTime(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	start := floor(w.now, tiers[0].step)
	for range 10 {
		w.see(p, 3)
		w.cut(p, 3)
		w.now += int64(time.Minute)
	}
	w.beat(p)
	w.pass(l, 2, time.Second)
	w.deliver(t, l, p)
	r := l.Report(Ask{From: start, To: w.now + 1, Step: time.Minute})
	if len(r.Steps) != 10 {
		t.Fatalf("%d steps: %+v", len(r.Steps), r.Steps)
	}
	for i, s := range r.Steps {
		if s.Time != start+int64(i)*int64(time.Minute) || s.Seen != 3 || s.Stored != 3 {
			t.Errorf("step %d: %+v", i, s)
		}
	}
	// Wider steps have the same.
	r = l.Report(Ask{From: start, To: w.now + 1, Step: time.Hour})
	if len(r.Steps) != 1 || r.Steps[0].Seen != 30 || r.Step != time.Hour {
		t.Errorf("%v %+v", r.Step, r.Steps)
	}
}

// TestOldStepsBecomeCoarser: a day in minutes, a week in tens of minutes,
// ninety days in hours; the sums never change.
func TestOldStepsBecomeCoarser(t *testing.T) {
	w := newWorld(1)
	dir := memDir(t)
	l := w.open(t, dir, Options{})
	p := w.proxy("a")
	const hours = 100 * 24
	begin := w.now
	for range hours {
		w.see(p, 2)
		w.cut(p, 2)
		w.take(p, 1, 0, true)
		w.export(w.fwds[0], 0)
		l.Commit(w.log[len(w.log)-1])
		w.now += int64(time.Hour)
	}
	l.age(w.now)
	a := l.apps[App{"c", "n", "a"}]
	if n := a.series.len(); n > 24*60+7*24*6+90*24 || len(a.series.rows[0]) > 24 || len(a.series.rows[1]) > 7*24 || len(a.series.rows[2]) > 90*24 {
		t.Errorf("%d rows", n)
	}
	if c := total(l); c.Seen != 2*hours || c.Stored != hours || c.Filtered["health"] != hours {
		t.Errorf("%+v", c)
	}
	for _, c := range []struct {
		ago  time.Duration
		want time.Duration
	}{{time.Hour, time.Minute}, {3 * 24 * time.Hour, 10 * time.Minute}, {30 * 24 * time.Hour, time.Hour}, {99 * 24 * time.Hour, time.Hour}} {
		r := l.Report(Ask{From: w.now - int64(c.ago), To: w.now + 1, Step: time.Minute})
		var seen int
		for _, s := range r.Steps {
			seen += int(s.Seen)
		}
		if want := min(int(c.ago.Hours())*2, 90*24*2); r.Step != c.want || seen < want-4 || seen > want+4 {
			t.Errorf("%v ago: steps of %v, %d seen, want %v and %d", c.ago, r.Step, seen, c.want, want)
		}
	}
	if begin > w.now {
		t.Error("time")
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	again := w.open(t, dir, Options{})
	if got, want := again.apps[a.key].series.len(), a.series.len(); got != want {
		t.Errorf("%d rows after a restart, want %d", got, want)
	}
}

// TestProcessesAreFolded: the sums keep what is not told apart any more, also
// over a restart, and what comes late of it is counted.
func TestProcessesAreFolded(t *testing.T) {
	w := newWorld(1)
	dir := memDir(t)
	opt := Options{Processes: 20}
	l := w.open(t, dir, opt)
	var late *capturev1.FrameHead
	for i := range 100 {
		p := w.proxy("a")
		w.see(p, 3)
		w.cut(p, 2)
		if i == 0 {
			w.beat(p)
			late = p.unsent[0]
			late.Pairs = 2
		} else {
			w.deliver(t, l, p)
		}
		w.beat(p)
		p.dead, p.reaped = true, true
		w.pass(l, 4, time.Second)
		delete(p.heardBy, 0)
	}
	check := func(l *Ledger, stored, unknown uint64) {
		t.Helper()
		r := l.Report(Ask{From: 1, To: math.MaxInt64})
		if r.Total.Seen != 300 || r.Total.Stored != stored || r.Total.Unknown != unknown || r.Total.InFlight+r.Total.Unaccounted != 0 ||
			r.Processes != 100 || r.Folded < 80 || len(r.Deaths) != 100 || r.Partial {
			t.Errorf("%+v, %d processes, %d folded, %d deaths", r.Total, r.Processes, r.Folded, len(r.Deaths))
		}
		if n := len(l.processes); n > opt.Processes {
			t.Errorf("%d processes told apart", n)
		}
		holds(t, l)
	}
	check(l, 198, 102)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	l = w.open(t, dir, opt)
	check(l, 198, 102)
	l.Commit(store.Commit{At: w.now, Next: w.end() + 1, Head: late})
	check(l, 200, 100)
}

// TestSnapshotThatIsOfNoUse: the ledger is counted anew from what is stored,
// and says since when.
func TestSnapshotThatIsOfNoUse(t *testing.T) {
	w := newWorld(1)
	dir := memDir(t)
	l := w.open(t, dir, Options{})
	p := w.proxy("a")
	for range 5 {
		w.see(p, 10)
		w.cut(p, 10)
		w.deliver(t, l, p)
		w.now += second
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	good, err := atomicfile.Read(dir, FileName, maxFile)
	if err != nil {
		t.Fatal(err)
	}
	whole := l.Report(Ask{})
	flipped := bytes.Clone(good)
	flipped[len(flipped)/2] ^= 4
	newer := bytes.Clone(good)
	newer[len(magic)-1]++
	for name, content := range map[string][]byte{"damaged": flipped, "cut": good[:len(good)/2], "empty": {}, "newer": newer, "another": []byte("something else altogether")} {
		if err := atomicfile.Write(dir, FileName, content); err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		l := New(Options{Now: func() time.Time { return time.Unix(0, w.now) }}, slog.New(slog.NewTextHandler(&said, nil)))
		if err := l.Open(dir, "store", w.end(), w); err != nil {
			t.Fatal(err)
		}
		if r := l.Report(Ask{}); !same(r.Total, whole.Total) || r.Since != w.log[0].At || !strings.Contains(said.String(), "counted anew") {
			t.Errorf("%s: %+v, said %s", name, r, said.String())
		}
	}
	// What is not retained any more is not counted, and is not missed.
	if err := dir.Remove(FileName); err != nil {
		t.Fatal(err)
	}
	all := w.log
	w.log = w.log[3:]
	l = New(Options{Now: func() time.Time { return time.Unix(0, w.now) }}, slog.New(slog.DiscardHandler))
	if err := l.Open(dir, "store", all[len(all)-1].Next, w); err != nil {
		t.Fatal(err)
	}
	w.beat(p)
	w.pass(l, 10, time.Second)
	if r := l.Report(Ask{}); r.Total.Seen != 20 || r.Total.Stored != 20 || r.Total.InFlight+r.Total.Unaccounted != 0 || r.Since != all[3].At {
		t.Errorf("%+v", r)
	}
	// A snapshot of more than the store has, and of another store.
	w.log = all
	for _, c := range []struct {
		id  string
		end uint64
	}{{"store", 100}, {"another", w.end()}} {
		if err := atomicfile.Write(dir, FileName, good); err != nil {
			t.Fatal(err)
		}
		l = New(Options{Now: func() time.Time { return time.Unix(0, w.now) }}, slog.New(slog.DiscardHandler))
		w.log = all[:1]
		if err := l.Open(dir, c.id, c.end, w); err != nil {
			t.Fatal(err)
		}
		if r := l.Report(Ask{}); r.Total.Stored != 10 {
			t.Errorf("%+v", r.Total)
		}
	}
}

// TestHostileHeads: whatever a head says, the account holds.
func TestHostileHeads(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	src := &capturev1.Source{Cluster: "c", App: "a", Epoch: make([]byte, 16)}
	heads := []*capturev1.FrameHead{
		{Source: src, BatchSeq: 1, FirstPairSeq: 0, Pairs: 5},
		{Source: src, BatchSeq: 2, FirstPairSeq: math.MaxUint64, Pairs: math.MaxUint32, TimeMax: math.MinInt64},
		{Source: src, BatchSeq: 3, FirstPairSeq: 3, Pairs: 5, TimeMax: math.MaxInt64, Counters: &capturev1.Counters{Seen: math.MaxUint64, Batched: math.MaxUint64, Dropped: map[string]uint64{"": math.MaxUint64}}},
		{Source: src, BatchSeq: 4, FirstPairSeq: 3, Pairs: 5},
		{Source: src, Lost: []*capturev1.LostRun{{FirstBatch: math.MaxUint64, FirstPairSeq: 7, Pairs: []uint32{1, 2, 3}}, {}}},
		{Source: &capturev1.Source{App: "b", Epoch: []byte{1}}, BatchSeq: 1, FirstPairSeq: 1, Pairs: 3},
		{},
	}
	for i, h := range heads {
		for _, again := range []bool{false, true} {
			l.Commit(store.Commit{At: w.now, Next: uint64(2*i) + 1, Head: h, Reclaimed: again})
			holds(t, l)
		}
	}
	for i := range 3 * maxRules {
		l.Commit(store.Commit{At: w.now, Next: uint64(100 + i), Head: &capturev1.FrameHead{
			Source: src, BatchSeq: uint64(100 + i), FirstPairSeq: uint64(1000 + 3*i), Pairs: 1,
			Filtered: map[string]uint32{"rule" + string(rune('a'+i%26)) + time.Duration(i).String(): 1},
		}})
	}
	holds(t, l)
	if n := len(l.rules.list); n > maxRules {
		t.Errorf("%d rules", n)
	}
	p := l.processes[Epoch{}]
	if len(p.here) > maxSpans {
		t.Errorf("%d spans", len(p.here))
	}
	for i := range 2 * maxApps {
		l.Commit(store.Commit{At: w.now, Next: uint64(100_000 + i), Head: &capturev1.FrameHead{
			Source: &capturev1.Source{App: time.Duration(i).String(), Epoch: []byte{1}}, BatchSeq: 1, Pairs: 1,
		}})
	}
	if n := len(l.apps); n > maxApps+1 {
		t.Errorf("%d apps", n)
	}
	holds(t, l)
}

func TestSaveFails(t *testing.T) {
	w := newWorld(1)
	dir := memDir(t)
	l := w.open(t, dir, Options{})
	if _, err := atomicfile.Read(dir, FileName, maxFile); errors.Is(err, fs.ErrNotExist) {
		t.Error("from when on it counts is not saved at once")
	}
	l.Commit(store.Commit{At: w.now, Next: 1, Missing: "x"})
	l.dir = brokenDir{dir}
	if err := l.Save(); err == nil {
		t.Error("no error")
	}
	l.dir = dir
	if err := l.Save(); err != nil || l.dirty {
		t.Error("a change that could not be saved is forgotten", err)
	}
}

func TestGapsAreStretches(t *testing.T) {
	g := newGaps()
	e := Epoch{1}
	at := func(from, to int64) stretch {
		return stretch{From: from * second, To: to * second, Epoch: e, Drop: 1, Pairs: 1}
	}
	first := g.add(at(10, 12))
	if id := g.add(at(13, 14)); id != first || g.list[0].Pairs != 2 || g.list[0].To != 14*second {
		t.Errorf("%+v", g.list[0])
	}
	if id := g.add(at(100, 101)); id == first {
		t.Error("far apart and one stretch")
	}
	if id := g.add(stretch{From: 100 * second, To: 101 * second, Epoch: e, Drop: 2, Pairs: 1}); id == first || len(g.list) != 3 {
		t.Error("two reasons are one stretch")
	}
	g.take(first, 1)
	if g.list[0].Pairs != 1 {
		t.Errorf("%+v", g.list[0])
	}
	g.take(first, 1)
	if len(g.list) != 2 || g.byID[first] != nil {
		t.Errorf("%+v", g.list)
	}
	for i := range int64(maxGaps) + 10 {
		g.add(at(1000+i*100, 1000+i*100))
	}
	if len(g.list) != maxGaps || g.forgotten != 12 || len(g.byID) != maxGaps || len(g.newest) > 2 {
		t.Errorf("%d gaps, %d forgotten, %d by id", len(g.list), g.forgotten, len(g.byID))
	}
}

func TestSpans(t *testing.T) {
	var s spans
	for _, c := range []struct {
		first, last, fresh uint64
		want               spans
	}{
		{5, 8, 4, spans{{5, 8}}},
		{9, 9, 1, spans{{5, 9}}},
		{20, 30, 11, spans{{5, 9}, {20, 30}}},
		{1, 2, 2, spans{{1, 2}, {5, 9}, {20, 30}}},
		{6, 25, 10, spans{{1, 2}, {5, 30}}},
		{3, 4, 2, spans{{1, 30}}},
		{1, 30, 0, spans{{1, 30}}},
	} {
		if fresh := s.add(c.first, c.last); fresh != c.fresh || !slices.Equal(s, c.want) || !s.valid() {
			t.Fatalf("add %d-%d: %d %v, want %d %v", c.first, c.last, fresh, s, c.fresh, c.want)
		}
	}
	s = spans{{1, 2}, {5, 9}, {20, 30}}
	if n := s.count(6); n != 4 || s.count(100) != 18 || s.count(0) != 0 {
		t.Error(n)
	}
	if n := s.closeLowest(); n != 2 || !slices.Equal(s, spans{{1, 9}, {20, 30}}) {
		t.Error(n, s)
	}
}

// TestDamagedInTheStore: what was stored and cannot be read any more is
// dropped, once, however often and whenever that is found.
func TestDamagedInTheStore(t *testing.T) {
	w := newWorld(1)
	dir := memDir(t)
	l := w.open(t, dir, Options{})
	p := w.proxy("a")
	for range 2 {
		w.see(p, 6)
		w.cut(p, 6)
		w.take(p, 2, 0, true)
		w.deliver(t, l, p)
	}
	check := func(l *Ledger) {
		t.Helper()
		r := l.Report(Ask{From: 1, To: math.MaxInt64})
		if c := r.Total; c.Stored != 4 || c.Dropped[Drop{HopAnalyzer, ReasonDamaged}] != 4 || c.Filtered["health"] != 4 || c.Seen != 12 || len(r.Gaps) != 1 || r.Gaps[0].Pairs != 4 {
			t.Errorf("%+v", r)
		}
		holds(t, l)
	}
	for range 2 {
		l.Damaged(17, w.log[0].Head)
		check(l)
	}
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	l = w.open(t, dir, Options{})
	check(l)
	l.Damaged(17, w.log[0].Head)
	check(l)
	// The snapshot is gone, and the log cannot tell of that commit any more.
	if err := dir.Remove(FileName); err != nil {
		t.Fatal(err)
	}
	damaged := w.log[0].Head
	w.log = w.log[1:]
	l = New(Options{Now: func() time.Time { return time.Unix(0, w.now) }}, slog.New(slog.DiscardHandler))
	l.Damaged(17, damaged) // found while the store was opened
	if err := l.Open(dir, "store", 200, w); err != nil {
		t.Fatal(err)
	}
	check(l)
}

// TestBacklogOfForwarderThatForgotItsProxy: two forwarders stand behind one
// address. While the analyzer was away one took a batch, was killed, and has
// never told of the process that went on at the other. The batch waits in its
// spool, so that nothing is missing.
func TestBacklogOfForwarderThatForgotItsProxy(t *testing.T) {
	for _, away := range []bool{false, true} {
		w := newWorld(2)
		l := w.open(t, memDir(t), Options{})
		w.pass(l, 3, time.Second)
		p := w.proxy("a")
		w.see(p, 10)
		w.cut(p, 6)
		w.take(p, 0, 0, true) // by f0
		w.fwds[0].started = w.now
		w.fwds[0].connected = !away
		p.forward = 1
		w.beat(p)
		w.pass(l, 10, time.Second)
		if c := total(l); c.InFlight != 10 || c.Unaccounted != 0 {
			t.Errorf("away %v: it has not come yet: %+v", away, c)
		}
		w.fwds[0].connected = true
		w.pass(l, 10, time.Second)
		w.export(w.fwds[0], 0)
		l.Commit(w.log[0])
		w.pass(l, 10, time.Second)
		if c := total(l); c.InFlight != 4 || c.Stored != 6 || c.Unaccounted != 0 {
			t.Errorf("away %v: %+v", away, c)
		}
		holds(t, l)
	}
}

// TestForwarderThatNeverComesBack is not waited for in vain when it never told
// of the process.
func TestForwarderThatNeverComesBack(t *testing.T) {
	w := newWorld(2)
	l := w.open(t, memDir(t), Options{})
	w.pass(l, 3, time.Second)
	w.fwds[0].connected = false
	p := w.proxy("a")
	p.forward = 1
	w.see(p, 10)
	w.cut(p, 6)
	w.take(p, 0, 0, true)
	w.fwds[1].records = nil // its spool was removed
	w.fwds[1].exported = w.fwds[1].next
	w.beat(p)
	w.pass(l, 10, time.Second)
	if c := total(l); c.InFlight != 10 || c.Unaccounted != 0 {
		t.Errorf("the other may have it: %+v", c)
	}
	w.now += int64(time.Hour)
	w.pass(l, 10, time.Second)
	if c := total(l); c.InFlight != 4 || c.Unaccounted != 6 {
		t.Errorf("%+v", c)
	}
	holds(t, l)
}

// TestNewStoreAndClockAhead: the analyzer begins with an empty store, and a
// proxy that has long been running says, by its clock, that it begins only
// later. What went to the store before is not missing here.
func TestNewStoreAndClockAhead(t *testing.T) {
	w := newWorld(1)
	l := w.open(t, memDir(t), Options{})
	p := w.proxy("a")
	p.started = w.now + int64(time.Hour)
	w.see(p, 10)
	w.cut(p, 6)
	w.deliver(t, New(l.opt, l.log), p) // to the store before
	w.log = nil
	w.cut(p, 4)
	w.beat(p)
	w.pass(l, 10, time.Second)
	w.deliver(t, l, p)
	w.beat(p)
	w.pass(l, 10, time.Second)
	if c := total(l); c.Seen != 4 || c.Stored != 4 || c.Unaccounted+c.Unknown+c.InFlight != 0 {
		t.Errorf("%+v", c)
	}
	holds(t, l)
}

// TestWhatADeclaredStretchExplains: a spool that could not read a stretch is
// the reason for a hole; one that removed what it had declared is not, and a
// hole that is still there has none.
func TestWhatADeclaredStretchExplains(t *testing.T) {
	for why, want := range map[string]Counts{
		"it cannot be read":       {Dropped: map[Drop]uint64{{HopForwarder, ReasonSpoolDamaged}: 6}},
		capturev1.MissingDeclared: {Unaccounted: 6},
	} {
		w := newWorld(1)
		l := w.open(t, memDir(t), Options{})
		p := w.proxy("a")
		w.see(p, 6)
		w.cut(p, 6)
		w.take(p, 0, 0, true)
		w.fwds[0].records = nil
		w.fwds[0].exported = w.fwds[0].next
		l.Commit(store.Commit{Spool: w.fwds[0].spool, At: w.now, Next: w.end() + 1, Missing: why})
		w.beat(p)
		w.pass(l, 10, time.Second)
		c := total(l)
		if c.Unaccounted != want.Unaccounted || c.Dropped[Drop{HopForwarder, ReasonSpoolDamaged}] != want.Dropped[Drop{HopForwarder, ReasonSpoolDamaged}] {
			t.Errorf("%s: %+v", why, c)
		}
	}
}
