package analyzer_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-capture/weir/forwarder/export/analyzer"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/spool"
)

// TestR35ExportersAreIsolated: of three destinations one is down, one takes
// the stream and reads nothing, and one is well. That one gets everything at
// once; the others get it all when they are well again.
func TestR35ExportersAreIsolated(t *testing.T) {
	well, stalled, down := newAnalyzer(t), newAnalyzer(t), newAnalyzer(t)
	release := make(chan struct{})
	stalled.stall = release
	well.start()
	stalled.start()
	opt := spoolOptions("well", "stalled", "down")
	s := openSpool(t, spoolDir(t), opt)
	xs := map[string]*running{}
	for name, a := range map[string]*fakeAnalyzer{"well": well, "stalled": stalled, "down": down} {
		xs[name] = run(t, s, a.addr, func(set *analyzer.Settings) { set.Name = name })
	}
	c := &captured{epoch: 1, body: 50_000}
	var slowest time.Duration
	for range 40 { // 6 MB, more than any transport holds
		c.add(t, s, 1)
		began := time.Now()
		poll(t, "the destination that is well", func() error { return well.holds(c) })
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("slowest of 40 batches at the one that is well: %v", slowest)
	if slowest > 2*time.Second {
		t.Errorf("the one that is well waited %v", slowest)
	}
	poll(t, "the acknowledgement", func() error {
		if n := xs["well"].State().GetBacklogBytes(); n > 0 {
			return fmt.Errorf("%d bytes to go", n)
		}
		return nil
	})
	for name, want := range map[string]bool{"well": true, "stalled": true, "down": false} {
		st := xs[name].State()
		if st.GetConnected() != want || (st.GetError() != "") == want {
			t.Errorf("%s: %v", name, st)
		}
		if cleared := st.GetBacklogBytes() == 0; cleared != (name == "well") {
			t.Errorf("%s: %d bytes to go", name, st.GetBacklogBytes())
		}
	}
	if len(stalled.pairs)+len(down.pairs) > 0 {
		t.Error("somebody else has pairs already")
	}
	close(release)
	down.start()
	poll(t, "the one that had stalled", func() error { return stalled.holds(c) })
	poll(t, "the one that was down", func() error { return down.holds(c) })
	for name, x := range xs {
		x.drain()
		if got := s.Cursor(name).Offset(); got != s.Log().End() {
			t.Errorf("cursor of %s is at %d of %d", name, got, s.Log().End())
		}
	}
	if n := well.again + stalled.again + down.again; n > 0 {
		t.Errorf("%d frames came twice", n)
	}
	if n := len(s.Log().Segments()); n > 2 {
		t.Errorf("%d segments that everybody has are still there", n)
	}
}

// bubble is synctest.Test for code that keeps coders in a pool: they have
// channels, and those of one bubble must not be met in another. Two rounds of
// collection empty a pool.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	empty := func() {
		runtime.GC()
		runtime.GC()
	}
	empty()
	defer empty()
	synctest.Test(t, f)
}

// pipes is a network in memory with one address.
type pipes struct {
	conns chan net.Conn
	down  atomic.Bool
	dials atomic.Int64

	mu    sync.Mutex
	holes []*hole
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn)} }

func (p *pipes) dial(ctx context.Context, _ string) (net.Conn, error) {
	p.dials.Add(1)
	if p.down.Load() {
		return nil, errors.New("connection refused")
	}
	here, there := net.Pipe()
	h := &hole{Conn: here, fallen: make(chan struct{}), closed: make(chan struct{})}
	p.mu.Lock()
	p.holes = append(p.holes, h)
	p.mu.Unlock()
	select {
	case p.conns <- there:
		return h, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// swallow makes all connections black holes: nothing comes back, and what is
// sent goes nowhere.
func (p *pipes) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range p.holes {
		close(h.fallen)
	}
	p.holes = nil
}

type listener struct {
	*pipes
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *listener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *listener) Addr() net.Addr { return &net.TCPAddr{} }

// hole is a connection that may become a black hole.
type hole struct {
	net.Conn
	fallen, closed chan struct{}
	once           sync.Once
}

func (h *hole) Read(b []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	select {
	case <-h.fallen:
		<-h.closed
		return 0, net.ErrClosed
	default:
	}
	done := make(chan result, 1)
	go func() {
		n, err := h.Conn.Read(b)
		done <- result{n, err}
	}()
	select {
	case r := <-done:
		return r.n, r.err
	case <-h.fallen:
		<-h.closed
		<-done
		return 0, net.ErrClosed
	}
}

func (h *hole) Write(b []byte) (int, error) {
	select {
	case <-h.fallen:
		return len(b), nil
	default:
		return h.Conn.Write(b)
	}
}

func (h *hole) Close() error {
	h.once.Do(func() { close(h.closed) })
	return h.Conn.Close()
}

// TestR35NoGivingUp: a destination is away for hours. It is tried again and
// again, which is told now and then, and gets everything when it is back.
func TestR35NoGivingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPipes()
		p.down.Store(true)
		a := &fakeAnalyzer{t: t, version: 1, shelves: map[string]*shelf{}, batches: map[string]string{}, pairs: map[string]int{}, lost: map[string]int{}}
		a.serve(&listener{pipes: p, closed: make(chan struct{})})
		s := memorySpool(t)
		x := run(t, s, "analyzer:1", func(set *analyzer.Settings) { set.Dial = p.dial })
		c := &captured{epoch: 1, body: 100}
		const away = 3 * time.Hour
		for range 12 {
			c.add(t, s, 2)
			time.Sleep(away / 12)
		}
		dials, lines := p.dials.Load(), strings.Count(x.log.String(), "Not connected to analyzer")
		t.Logf("%d attempts and %d lines in %v", dials, lines, away)
		if dials < int64(away/(2*time.Second)) || dials > int64(away/time.Second) {
			t.Errorf("%d attempts in %v", dials, away)
		}
		if lines < 2 || lines > int(away/time.Minute)+1 {
			t.Errorf("%d lines in %v", lines, away)
		}
		if st := x.State(); st.GetConnected() || !strings.Contains(st.GetError(), "refused") || st.GetBacklogBytes() == 0 {
			t.Errorf("%v", st)
		}
		p.down.Store(false)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if err := a.holds(c); err != nil {
			t.Error(err)
		}
		x.drain()
		a.stop()
		_ = s.Close()
	})
}

// memorySpool is a spool that never waits for a disk.
func memorySpool(t *testing.T) *spool.Spool {
	t.Helper()
	s, err := spool.OpenFS(faultfs.New(), spoolOptions())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestBlackHole: an analyzer whose packets no longer come, or that was
// stopped, is noticed within 20 s, and the next connection goes on.
func TestBlackHole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPipes()
		a := &fakeAnalyzer{t: t, version: 1, shelves: map[string]*shelf{}, batches: map[string]string{}, pairs: map[string]int{}, lost: map[string]int{}}
		a.serve(&listener{pipes: p, closed: make(chan struct{})})
		s := memorySpool(t)
		x := run(t, s, "analyzer:1", func(set *analyzer.Settings) { set.Dial = p.dial })
		c := &captured{epoch: 1, body: 1000}
		c.add(t, s, 10)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := a.holds(c); err != nil {
			t.Fatal(err)
		}
		p.down.Store(true)
		p.swallow()
		c.add(t, s, 10)
		began := time.Now()
		for x.State().GetConnected() && time.Since(began) < time.Hour {
			time.Sleep(100 * time.Millisecond)
		}
		noticed := time.Since(began)
		t.Logf("noticed after %v", noticed)
		if noticed > 20*time.Second {
			t.Errorf("noticed after %v", noticed)
		}
		p.down.Store(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if err := a.holds(c); err != nil {
			t.Error(err)
		}
		x.stop()
		a.stop()
		_ = s.Close()
	})
}

// TestSilentAnalyzer: one that takes and never acknowledges keeps its
// connection, and its state says so.
func TestSilentAnalyzer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPipes()
		a := &fakeAnalyzer{t: t, version: 1, mute: true, shelves: map[string]*shelf{}, batches: map[string]string{}, pairs: map[string]int{}, lost: map[string]int{}}
		a.serve(&listener{pipes: p, closed: make(chan struct{})})
		s := memorySpool(t)
		x := run(t, s, "analyzer:1", func(set *analyzer.Settings) { set.Dial = p.dial })
		c := &captured{epoch: 1, body: 1000}
		c.add(t, s, 10)
		time.Sleep(time.Minute)
		st := x.State()
		if !st.GetConnected() || !strings.Contains(st.GetError(), "acknowledged nothing for") || p.dials.Load() != 1 {
			t.Errorf("%d connections, %v", p.dials.Load(), st)
		}
		x.stop()
		a.stop()
		_ = s.Close()
	})
}

// TestR36Backlog: 200 MB wait. What is captured meanwhile comes before the end
// of them, memory stays bounded, and the state says how long it takes.
func TestR36Backlog(t *testing.T) {
	const (
		frames = 200
		body   = 1_000_000 / each
		// What both sides of the stream may hold at a time: the window, what
		// the transport has of it, and what the other side is opening.
		heapLimit = 64 << 20
	)
	a, c := newAnalyzer(t), &captured{epoch: 1, body: body}
	opt := spoolOptions()
	opt.SegmentBytes = 16 << 20
	s := openSpool(t, spoolDir(t), opt)
	for range frames {
		c.add(t, s, 1)
	}
	a.slow = func() { time.Sleep(15 * time.Millisecond) }
	first := make(chan struct{})
	var once sync.Once
	arrived, now := -1, &captured{epoch: 2, body: 100}
	a.stored = func(id string, _ uint64) {
		once.Do(func() { close(first) })
		if arrived < 0 && a.pairs[now.id(1, 0)] > 0 {
			arrived = len(a.shelf(id).order)
		}
	}
	a.start()
	var before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := run(t, s, a.addr)
	<-first
	sentAt := 0
	id := string(idOf(s))
	a.with(func() { sentAt = len(a.shelf(id).order) })
	now.add(t, s, 1)
	var most uint64
	var eta time.Duration
	for done := false; !done; {
		// Two rounds, so that what is counted is held and not waiting to be
		// collected.
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most = max(most, m.HeapAlloc)
		st := x.State()
		eta = max(eta, time.Duration(st.GetBacklogEta()))
		a.with(func() { done = len(a.shelf(id).order) >= frames+1 })
		time.Sleep(100 * time.Millisecond)
	}
	held := most - min(most, before.HeapAlloc)
	t.Logf("live batch sent after %d frames, stored as frame %d of %d; heap at most %d MiB above the start; ETA at most %v", sentAt, arrived, frames+1, held>>20, eta)
	if arrived < 0 || arrived-sentAt > 40 {
		t.Errorf("the live batch was stored as frame %d, sent after %d", arrived, sentAt)
	}
	if held > heapLimit {
		t.Errorf("%d MiB were held", held>>20)
	}
	if eta <= 0 || eta > time.Minute {
		t.Errorf("the state says %v", eta)
	}
	x.drain()
	if err := errors.Join(a.holds(c), a.holds(now), a.closed(s)); err != nil {
		t.Error(err)
	}
	if st := x.State(); st.GetBacklogBytes() != 0 || st.GetBacklogEta() != 0 {
		t.Errorf("%v", st)
	}
}

// TestShares: while both have something, new records get three quarters of
// the stream and the backlog one: neither starves.
func TestShares(t *testing.T) {
	a := newAnalyzer(t)
	old, now := &captured{epoch: 1, body: 20_000}, &captured{epoch: 2, body: 20_000}
	s := memorySpool(t) // whose turn it is does not hang on the disk
	defer func() { _ = s.Close() }()
	const backlog, live = 100, 450
	old.add(t, s, backlog)
	gate := make(chan struct{})
	a.slow = func() { <-gate }
	a.start()
	x := run(t, s, a.addr)
	poll(t, "a connection", func() error {
		if !x.State().GetConnected() {
			return errors.New("none")
		}
		return nil
	})
	end := s.Log().End()
	now.add(t, s, live)
	close(gate)
	poll(t, "everything", func() error { return errors.Join(a.holds(old), a.holds(now)) })
	x.drain()
	order := a.shelf(string(idOf(s))).order
	last := 0
	for i, at := range order {
		if at < end {
			last = i
		}
	}
	before := last + 1 - backlog // live ones before the backlog's end
	firstLive := slices.IndexFunc(order, func(at uint64) bool { return at >= end })
	t.Logf("%d live frames before the last of %d of the backlog; the first live one after %d; %d connections", before, backlog, firstLive, len(a.hellos))
	if ratio := float64(before) / backlog; ratio < 1.5 || ratio > 4 {
		t.Errorf("%.1f live frames for each of the backlog", ratio)
	}
}
