package ledger

import (
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs"
)

// world is everything that the ledger hears of, as simple as it can be, and
// keeps the truth about each pair.
type world struct {
	now     int64
	proxies []*simProxy
	fwds    []*simForwarder
	// log is what the store has committed.
	log []store.Commit
	// here and lost are the delivery state of the store.
	here, lost map[simBatch]bool
	// place is the end of the store's order.
	place uint64
	// copies counts the records that were ever made of a batch.
	copies map[simBatch]int
	// rotten are stored records that cannot be read any more, as the store
	// tells of them at each start.
	rotten []damage
}

type simBatch struct {
	epoch Epoch
	seq   uint64
}

func batchOf(h *capturev1.FrameHead) simBatch {
	return simBatch{Epoch(h.GetSource().GetEpoch()), h.GetBatchSeq()}
}

type simProxy struct {
	src      *capturev1.Source
	started  int64
	open     uint64
	c        capturev1.Counters
	seq      uint64
	unsent   []*capturev1.FrameHead // batches that no forwarder acknowledged
	forward  int
	dead     bool
	stopped  bool
	heardBy  map[int]*capturev1.Counters
	reaped   bool
	lastSeen int64
}

type simForwarder struct {
	id        string
	spool     store.ID
	records   []record
	next      uint64
	exported  uint64
	started   int64
	connected bool
	status    *capturev1.ForwarderStatus
}

type record struct {
	off  uint64
	head *capturev1.FrameHead
	// gone: nobody can read it any more.
	gone bool
	// safe: nothing happens to it any more.
	safe bool
}

const second = int64(time.Second)

func newWorld(forwarders int) *world {
	w := &world{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano(), here: map[simBatch]bool{}, lost: map[simBatch]bool{}, copies: map[simBatch]int{}}
	for i := range forwarders {
		w.fwds = append(w.fwds, &simForwarder{
			id: fmt.Sprint("f", i), spool: store.ID{byte(i + 1)}, started: w.now - 600*second, connected: true,
		})
	}
	return w
}

func (w *world) proxy(app string) *simProxy {
	var e Epoch
	e[0], e[1] = byte(len(w.proxies)), 7
	p := &simProxy{
		src:     &capturev1.Source{Cluster: "c", Namespace: "n", App: app, Pod: "pod", ProxyId: "pod", Epoch: e[:]},
		started: w.now, heardBy: map[int]*capturev1.Counters{},
	}
	w.proxies = append(w.proxies, p)
	return p
}

func cloneCounters(c *capturev1.Counters) *capturev1.Counters {
	return &capturev1.Counters{
		Seen: c.Seen, Batched: c.Batched, Sampled: c.Sampled, Acked: c.Acked, Dropped: maps.Clone(c.Dropped),
	}
}

// cut makes a batch of n of the open pairs.
func (w *world) cut(p *simProxy, n uint64) {
	p.seq++
	h := &capturev1.FrameHead{
		Source: p.src, EpochStarted: p.started, BatchSeq: p.seq, FirstPairSeq: p.c.Batched + 1, Received: uint32(n),
		TimeMin: w.now - second, TimeMax: w.now,
	}
	p.open -= n
	p.c.Batched += n
	h.Counters = cloneCounters(&p.c)
	p.unsent = append(p.unsent, h)
}

// take lets a forwarder take the oldest batch of a proxy, with its filters'
// work; acked says whether the proxy hears of it.
func (w *world) take(p *simProxy, filtered, faulty uint32, acked bool) {
	if len(p.unsent) == 0 || p.dead || p.stopped {
		return
	}
	f := w.fwds[p.forward]
	h := p.unsent[0]
	copied := &capturev1.FrameHead{
		Source: h.Source, EpochStarted: h.EpochStarted, BatchSeq: h.BatchSeq, FirstPairSeq: h.FirstPairSeq, Received: h.Received,
		TimeMin: h.TimeMin, TimeMax: h.TimeMax, Counters: h.Counters, Filtered: map[string]uint32{}, Dropped: map[string]uint32{},
	}
	left := h.Received
	if n := min(filtered, left); n > 0 {
		copied.Filtered["health"] = n
		left -= n
	}
	if n := min(faulty, left); n > 0 {
		copied.Dropped["fault"] = n
		left -= n
	}
	copied.Pairs = left
	w.copies[batchOf(h)]++
	f.append(copied)
	if acked {
		p.unsent = p.unsent[1:]
		p.c.Acked += uint64(h.Received)
	}
}

func (f *simForwarder) append(h *capturev1.FrameHead) {
	f.records = append(f.records, record{off: f.next, head: h})
	f.next += 10
}

// refuse makes the newest record a declaration, as drop_newest does.
func (f *simForwarder) refuse() {
	if len(f.records) == 0 {
		return
	}
	r := &f.records[len(f.records)-1]
	if r.head.GetBatchSeq() == 0 || r.head.GetPairs() == 0 {
		return
	}
	r.head.Dropped["spool_full"] = r.head.Pairs
	r.head.Pairs = 0
}

// condense declares the oldest records that were not exported, as drop_oldest
// does.
func (f *simForwarder) condense(n int) {
	var kept []record
	for i, r := range f.records {
		if i >= n || r.gone || r.head.GetBatchSeq() == 0 || r.head.GetPairs() == 0 {
			kept = append(kept, r)
			continue
		}
		h := r.head
		f.append(&capturev1.FrameHead{
			Source: h.Source, EpochStarted: h.EpochStarted, LostReason: "spool_full", Counters: h.Counters,
			Lost: []*capturev1.LostRun{{
				FirstBatch: h.BatchSeq, FirstPairSeq: h.FirstPairSeq, Pairs: []uint32{h.Pairs}, Filtered: h.Filtered, Dropped: h.Dropped,
				TimeMin: h.TimeMin, TimeMax: h.TimeMax,
			}},
		})
		kept = append(kept, f.records[len(f.records)-1])
		f.records = f.records[:len(f.records)-1]
	}
	f.records = kept
}

// export sends the i-th record that is left.
func (w *world) export(f *simForwarder, i int) {
	if !f.connected || i < 0 || i >= len(f.records) {
		return
	}
	r := f.records[i]
	f.records = append(f.records[:i:i], f.records[i+1:]...)
	f.exported = f.next
	for _, r := range f.records {
		f.exported = min(f.exported, r.off)
	}
	c := store.Commit{Spool: f.spool, At: w.now, Next: w.place + 100}
	w.place = c.Next
	if r.gone {
		c.Missing = "it cannot be read"
		w.log = append(w.log, c)
		return
	}
	h := r.head
	c.Head = h
	if h.GetBatchSeq() > 0 {
		b := batchOf(h)
		switch {
		case declares(h):
			c.Duplicate = w.here[b] || w.lost[b]
			if !c.Duplicate {
				w.lost[b] = true
			}
		default:
			c.Duplicate = w.here[b]
			c.Reclaimed = !c.Duplicate && w.lost[b]
			delete(w.lost, b)
			w.here[b] = true
		}
	} else {
		b := simBatch{Epoch(h.GetSource().GetEpoch()), h.GetLost()[0].GetFirstBatch()}
		if w.here[b] || w.lost[b] {
			c.Head = &capturev1.FrameHead{Source: h.Source, EpochStarted: h.EpochStarted, LostReason: h.LostReason, Counters: h.Counters}
		} else {
			w.lost[b] = true
		}
	}
	w.log = append(w.log, c)
}

// beat lets a proxy tell its forwarder what it counted.
func (w *world) beat(p *simProxy) {
	if !p.dead && !p.reaped {
		p.heardBy[p.forward] = cloneCounters(&p.c)
		p.lastSeen = w.now
	}
}

// report makes a forwarder say what it knows.
func (w *world) report(i int) {
	f := w.fwds[i]
	st := &capturev1.ForwarderStatus{
		ForwarderId: f.id, Cluster: "c", Now: w.now, Started: f.started,
		Spool: &capturev1.SpoolState{NextOffset: f.next, ExportedOffset: f.exported},
	}
	for _, p := range w.proxies {
		c, ok := p.heardBy[i]
		if !ok {
			continue
		}
		s := &capturev1.ProxyStatus{Source: p.src, EpochStarted: p.started, LastSeen: p.lastSeen, Counters: c, State: capturev1.ProxyStatus_STATE_CONNECTED}
		switch {
		case p.stopped:
			s.State, s.Ended = capturev1.ProxyStatus_STATE_STOPPED, p.lastSeen
		case p.reaped:
			s.State, s.Ended = capturev1.ProxyStatus_STATE_REAPED, p.lastSeen+45*second
		case p.forward != i:
			s.State = capturev1.ProxyStatus_STATE_AWAY
		}
		st.Proxies = append(st.Proxies, s)
	}
	f.status = st
}

func (w *world) observed() []Forwarder {
	var out []Forwarder
	for _, f := range w.fwds {
		st := f.status
		if st == nil {
			st = &capturev1.ForwarderStatus{ForwarderId: f.id, Cluster: "c"}
		}
		out = append(out, Forwarder{Status: st, Connected: f.connected})
	}
	return out
}

// Commits implements store.Committer.
func (w *world) Commits(from uint64) iter.Seq2[store.Commit, error] {
	return func(yield func(store.Commit, error) bool) {
		for _, c := range w.log {
			if c.Next > from && !yield(c, nil) {
				return
			}
		}
	}
}

func (w *world) end() uint64 { return w.place }

// rot damages the record of the i-th commit from the end, and lets the
// forwarder of it bring it once more, as one does that was not told that it
// had arrived. The store has to find out while it starts. Where the head can
// be read it knows what it lost.
func (w *world) rot(i int, readable bool) (d damage, ok bool) {
	i = len(w.log) - 1 - i
	if i < 0 {
		return d, false
	}
	c := w.log[i]
	if c.Head.GetPairs() == 0 || c.Duplicate {
		return d, false
	}
	d = damage{c.Next - 100, c.Head}
	if slices.ContainsFunc(w.rotten, func(o damage) bool { return o.at == d.at }) {
		return d, false
	}
	b := batchOf(c.Head)
	later := slices.ContainsFunc(w.log[i+1:], func(c store.Commit) bool {
		return c.Head.GetBatchSeq() > 0 && batchOf(c.Head) == b && !c.Duplicate
	})
	if later || !readable && (w.copies[b] > 1 || slices.ContainsFunc(w.proxies, func(p *simProxy) bool {
		return slices.ContainsFunc(p.unsent, func(h *capturev1.FrameHead) bool { return batchOf(h) == b })
	})) {
		return d, false // another copy may differ, and nobody knows which it was
	}
	delete(w.here, b)
	if readable {
		w.lost[b] = true
		w.rotten = append(w.rotten, d)
	} else {
		w.log = slices.Delete(w.log, i, i+1)
	}
	f := w.fwds[slices.IndexFunc(w.fwds, func(f *simForwarder) bool { return f.spool == c.Spool })]
	h := proto.Clone(c.Head).(*capturev1.FrameHead) // a clone is of the same type
	h.Dropped = maps.Clone(c.Head.GetDropped())     // it may be empty, and become more
	f.append(h)
	f.records[len(f.records)-1].safe = !readable
	return d, true
}

func (w *world) open(t rapid.TB, dir vfs.FS, opt Options) *Ledger {
	opt.Now = func() time.Time { return time.Unix(0, w.now) }
	l := New(opt, slog.New(slog.DiscardHandler))
	for _, d := range slices.Backward(w.rotten) {
		l.Damaged(d.at, d.head)
	}
	if err := l.Open(dir, "store", w.end(), w); err != nil {
		t.Fatal(err)
	}
	return l
}

// holds checks what must be true of every account.
func holds(t rapid.TB, l *Ledger) {
	t.Helper()
	r := l.Report(Ask{From: 1, To: math.MaxInt64, Step: time.Minute})
	steps := map[App]Counts{}
	last := map[App]Counts{}
	for _, s := range r.Steps {
		c := steps[s.App]
		last[s.App] = s.Counts
		c.Add(s.Counts)
		steps[s.App] = c
	}
	for _, a := range r.Apps {
		if sum := ended(a.Counts) + a.InFlight + a.Unknown + a.Unaccounted; sum != a.Seen {
			t.Fatalf("%v: seen %d, sum %d: %+v", a.App, a.Seen, sum, a.Counts)
		}
		s := steps[a.App]
		if s.Seen != a.Seen || s.Stored != a.Stored || s.Sampled != a.Sampled || !maps.Equal(s.Filtered, a.Filtered) || !maps.Equal(s.Dropped, a.Dropped) {
			t.Fatalf("%v: total %+v, steps %+v", a.App, a.Counts, s)
		}
		if l := last[a.App]; l.InFlight != a.InFlight || l.Unknown != a.Unknown || l.Unaccounted != a.Unaccounted {
			t.Fatalf("%v: now %+v, last step %+v", a.App, a.Counts, l)
		}
		for _, n := range []int64{l.apps[a.App].InFlight, l.apps[a.App].Unknown, l.apps[a.App].Unaccounted, l.apps[a.App].Stored} {
			if n < 0 {
				t.Fatalf("%v: %+v", a.App, l.apps[a.App])
			}
		}
	}
	for _, g := range r.Gaps {
		if g.Pairs == 0 || g.From > g.To {
			t.Fatalf("gap %+v", g)
		}
	}
}

func ended(c Counts) (n uint64) {
	n = c.Stored + c.Sampled
	for _, v := range c.Filtered {
		n += v
	}
	for _, v := range c.Dropped {
		n += v
	}
	return n
}

func memDir(t testing.TB) vfs.FS {
	t.Helper()
	dir, err := vfs.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	return dir
}
