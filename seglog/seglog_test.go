package seglog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
)

func open(t *testing.T, d vfs.FS, opt seglog.Options) *seglog.Log {
	t.Helper()
	l, err := seglog.OpenFS(d, withKeys(opt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func rec(i int) seglog.Record {
	return seglog.Record{Head: fmt.Appendf(nil, "head %d", i), Body: bytes.Repeat([]byte{byte(i)}, 10+i%50)}
}

func add(t *testing.T, l *seglog.Log, i int) (next uint64) {
	t.Helper()
	next, err := l.Append(rec(i))
	if err != nil {
		t.Fatalf("append %d: %v", i, err)
	}
	return next
}

// read is all records as "head N", with damage as its error's text, after
// checking that bodies belong to heads and offsets grow.
func read(t *testing.T, l *seglog.Log) (heads []string, damage []error) {
	t.Helper()
	last := uint64(0)
	for e, err := range l.Records(0) {
		if err != nil {
			damage = append(damage, err)
			continue
		}
		var i int
		if _, err := fmt.Sscanf(string(e.Head), "head %d", &i); err != nil || !bytes.Equal(e.Body, rec(i).Body) {
			t.Fatalf("record at %d is not one that was written: %q", e.Offset, e.Head)
		}
		if e.Offset < last || e.Next <= e.Offset {
			t.Fatalf("offset %d after %d", e.Offset, last)
		}
		last = e.Next
		heads = append(heads, string(e.Head))
	}
	return heads, damage
}

func want(ns ...int) (heads []string) {
	for _, n := range ns {
		heads = append(heads, fmt.Sprintf("head %d", n))
	}
	return heads
}

func upTo(n int) (ns []int) {
	for i := range n {
		ns = append(ns, i)
	}
	return ns
}

func TestAppendReadReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	opt := seglog.Options{SegmentBytes: 600}
	l, err := seglog.Open(dir, withKeys(opt))
	if err != nil {
		t.Fatal(err)
	}
	var offsets []uint64
	for i := range 50 {
		at := l.Next()
		next, err := l.Append(seglog.Record{Head: rec(i).Head, Body: rec(i).Body, Committed: func(offset, next uint64) {
			offsets = append(offsets, offset)
			if offset < at {
				t.Errorf("offset %d below Next %d", offset, at)
			}
		}})
		if err != nil || next != l.Next() {
			t.Fatal(next, l.Next(), err)
		}
	}
	if _, err := seglog.Open(dir, withKeys(opt)); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	next := l.Next()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Append(rec(1)); !errors.Is(err, seglog.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}

	l, err = seglog.Open(dir, withKeys(opt))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if r := l.Recovery(); !r.Clean || r.CutBytes != 0 {
		t.Errorf("recovery after a close: %+v", r)
	}
	if l.Next() < next {
		t.Errorf("Next went back from %d to %d", next, l.Next())
	}
	heads, damage := read(t, l)
	if !slices.Equal(heads, want(upTo(50)...)) || damage != nil {
		t.Errorf("read %v %v", heads, damage)
	}
	for i, at := range offsets {
		e, err := l.ReadAt(at)
		if err != nil || !bytes.Equal(e.Body, rec(i).Body) || e.Offset != at {
			t.Fatalf("ReadAt %d: %v %v", at, e, err)
		}
	}
	if _, err := l.ReadAt(offsets[3] + 1); err == nil {
		t.Error("ReadAt between records succeeded")
	}
	n := 0
	for e, err := range l.Heads(offsets[40]) {
		if err != nil || e.Body != nil || e.BodyLen != len(rec(40+n).Body) {
			t.Fatal(e, err)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d heads", n)
	}
	if len(l.Segments()) < 5 {
		t.Errorf("segments: %+v", l.Segments())
	}
	add(t, l, 50)
	if heads, _ := read(t, l); len(heads) != 51 {
		t.Errorf("%d records after going on", len(heads))
	}
}

func TestRemoveBefore(t *testing.T) {
	l := open(t, faultfs.New(), seglog.Options{SegmentBytes: 400})
	var nexts []uint64
	for i := range 40 {
		nexts = append(nexts, add(t, l, i))
	}
	r := l.Reader(0)
	defer r.Close()
	if _, err := r.TryNext(); err != nil {
		t.Fatal(err)
	}
	before := l.Bytes()
	if err := l.RemoveBefore(nexts[20]); err != nil {
		t.Fatal(err)
	}
	if l.Bytes() >= before || l.Oldest() > nexts[20] {
		t.Errorf("%d bytes after %d, oldest %d", l.Bytes(), before, l.Oldest())
	}
	heads, damage := read(t, l)
	gone, ok := errors.AsType[*seglog.RemovedError](damage[0])
	if !ok || gone.From != 0 || gone.To != l.Oldest() {
		t.Errorf("reading from 0: %v", damage)
	}
	if heads[len(heads)-1] != "head 39" || len(heads) < 19 || len(heads) > 30 {
		t.Errorf("%d left", len(heads))
	}
	// A reader that was in the removed part is told once and goes on.
	told := 0
	for {
		_, err := r.TryNext()
		if errors.Is(err, seglog.ErrEnd) {
			break
		}
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			told++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
	// The newest segment stays.
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	next := l.Next()
	if err := l.RemoveBefore(next); err != nil || len(l.Segments()) != 1 || l.Next() != next {
		t.Errorf("%+v %d %v", l.Segments(), l.Next(), err)
	}
}

func TestReaderFollows(t *testing.T) {
	l := open(t, faultfs.New(), seglog.Options{SegmentBytes: 500})
	r := l.Reader(0)
	defer r.Close()
	got := make(chan string)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(got)
		for {
			e, err := r.Next(ctx)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- string(e.Head)
		}
	}()
	for i := range 60 {
		add(t, l, i)
		if h := <-got; h != want(i)[0] {
			t.Fatalf("got %q, want record %d", h, i)
		}
	}
	cancel()
	if h := <-got; h != context.Canceled.Error() {
		t.Errorf("after cancel: %q", h)
	}
}

func TestConcurrentAppendersShareSyncs(t *testing.T) {
	d := faultfs.New()
	var syncs atomic.Int64
	d.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "sync" {
			syncs.Add(1)
			time.Sleep(100 * time.Microsecond) // a disk takes its time
		}
		return nil
	})
	var state []byte
	l := open(t, d, seglog.Options{SegmentBytes: 8 << 10, State: func() []byte { return bytes.Clone(state) }})
	const appenders, each = 16, 60
	var wg sync.WaitGroup
	var order []uint64
	for a := range appenders {
		wg.Go(func() {
			for i := range each {
				r := rec(a*each + i)
				r.Committed = func(offset, _ uint64) { // calls are serial: -race looks at that
					order = append(order, offset)
					state = append(state, byte(a))
				}
				if _, err := l.Append(r, rec(1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(order) != appenders*each || !slices.IsSorted(order) {
		t.Errorf("%d commits, sorted %v", len(order), slices.IsSorted(order))
	}
	heads, damage := read(t, l)
	if len(heads) != 2*appenders*each || damage != nil {
		t.Errorf("%d records, %v", len(heads), damage)
	}
	if n := syncs.Load(); n > appenders*each/2 {
		t.Errorf("%d syncs for %d appends", n, appenders*each)
	}
	// State + the records behind it = everything.
	st, from, err := l.LastState()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for e, err := range l.Records(from) {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Head) != "head 1" || len(e.Body) != 11 {
			n++
		}
	}
	// "head 1" proper is one of the appends too; it stands in one of the two.
	if got := len(st) + n; got != appenders*each && got != appenders*each-1 {
		t.Errorf("state knows %d, %d behind it, want %d", len(st), n, appenders*each)
	}
}

// TestEveryPrefix cuts the newest file at every length, as a crash in the
// middle of a write does: the log opens, and has exactly the whole records.
func TestEveryPrefix(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{State: func() []byte { return []byte("state") }})
	var ends []uint64
	for i := range 12 {
		ends = append(ends, add(t, l, i))
	}
	name := l.Segments()[0].Name
	whole := d.Get(name)
	for n := range len(whole) + 1 {
		c := faultfs.New()
		c.Put(name, whole[:n])
		putKeys(c, d)
		l := open(t, c, seglog.Options{})
		k := 0
		for k < len(ends) && ends[k] <= uint64(n) {
			k++
		}
		heads, damage := read(t, l)
		if !slices.Equal(heads, want(upTo(k)...)) || damage != nil {
			t.Fatalf("cut at %d: %v %v, want %d records", n, heads, damage, k)
		}
		// It goes on, at offsets that were never used, and the next start
		// finds the same without damage.
		next := l.Next()
		torn := l.Recovery().CutBytes > 0
		if torn && next < uint64(n) {
			t.Fatalf("cut at %d: Next is %d", n, next)
		}
		add(t, l, 99)
		for e, err := range l.Records(next) {
			if err != nil || e.Offset < next {
				t.Fatalf("cut at %d: %d %v", n, e.Offset, err)
			}
		}
		l = open(t, c.Kill(), seglog.Options{})
		heads, damage = read(t, l)
		if !slices.Equal(heads, append(want(upTo(k)...), "head 99")) || damage != nil {
			t.Fatalf("cut at %d, second start: %v %v", n, heads, damage)
		}
	}
}

// TestEveryBit flips each bit of every file of a closed log in turn: it opens,
// at most one record is lost, and that loss is reported.
func TestEveryBit(t *testing.T) {
	d := faultfs.New()
	opt := seglog.Options{SegmentBytes: 300, State: func() []byte { return []byte("st") }}
	l := open(t, d, opt)
	const n = 9
	for i := range n {
		add(t, l, i)
	}
	segs := l.Segments()
	if len(segs) < 3 {
		t.Fatal("want some segments")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	flips, headKept := 0, 0
	for _, s := range segs {
		data := d.Get(s.Name)
		step := 1
		if encrypted {
			step = 7 // a start costs more there
		}
		for bit := 0; bit < len(data)*8; bit += step {
			c := faultfs.New()
			for _, o := range segs {
				c.Put(o.Name, d.Get(o.Name))
			}
			b := bytes.Clone(data)
			b[bit/8] ^= 1 << (bit % 8)
			c.Put(s.Name, b)
			putKeys(c, d)
			l, err := seglog.OpenFS(c, withKeys(opt))
			if err != nil {
				t.Fatalf("%s bit %d: %v", s.Name, bit, err)
			}
			heads, damage := read(t, l)
			switch {
			case len(heads) == n && len(damage) == 0: // in a file's header, a state or a mark
			case len(heads) == n && len(damage) == 1 && strings.Contains(damage[0].Error(), fmt.Sprintf("header of the record at offset %d ", s.Base+64)):
				// In the header of a state: how far it went nobody can tell.
			case len(heads) == n-1 && len(damage) == 1:
				ce, ok := errors.AsType[*seglog.CorruptError](damage[0])
				if !ok {
					t.Fatalf("%s bit %d: %v", s.Name, bit, damage)
				}
				if ce.Part == "body" {
					headKept++
					if slices.Contains(heads, string(ce.Head)) || !strings.HasPrefix(string(ce.Head), "head ") {
						t.Fatalf("%s bit %d: damage names %q", s.Name, bit, ce.Head)
					}
				}
			default:
				t.Fatalf("%s bit %d: %d records, damage %v", s.Name, bit, len(heads), damage)
			}
			if _, err := l.Append(rec(50)); err != nil {
				t.Fatalf("%s bit %d: append: %v", s.Name, bit, err)
			}
			if after, _ := read(t, l); len(after) != len(heads)+1 {
				t.Fatalf("%s bit %d: %d records after append, %d before", s.Name, bit, len(after), len(heads))
			}
			_ = l.Close()
			flips++
		}
	}
	if headKept == 0 {
		t.Error("no flip hit a body")
	}
	t.Logf("%d flips", flips)
}

// TestPowerLoss loses the power at each call of a trace: whatever was
// acknowledged is there afterwards, and nothing that was never written.
func TestPowerLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	opt := seglog.Options{SegmentBytes: 400}
	for stop := 1; stop < 140; stop++ {
		d := faultfs.New()
		calls := 0
		d.SetFault(func(faultfs.Op) *faultfs.Fault {
			if calls++; calls >= stop {
				return &faultfs.Fault{Err: faultfs.ErrPower, Short: rng.IntN(200)}
			}
			return nil
		})
		acked := []int{}
		next := uint64(0)
		if l, err := seglog.OpenFS(d, withKeys(opt)); err == nil {
			for i := range 40 {
				n, err := l.Append(rec(i))
				if err != nil {
					break
				}
				acked, next = append(acked, i), n
				if i%9 == 8 { // retention is part of the trace
					_ = l.RemoveBefore(0)
				}
			}
		}
		for range 4 {
			c := d.Crash(rng)
			l := open(t, c, opt)
			heads, damage := read(t, l)
			if len(heads) < len(acked) || !slices.Equal(heads[:len(acked)], want(acked...)) {
				t.Fatalf("stop %d: acknowledged %d, found %v", stop, len(acked), heads)
			}
			if len(heads) > len(acked)+1 || len(damage) > 0 {
				t.Fatalf("stop %d: found %d of %d, damage %v", stop, len(heads), len(acked), damage)
			}
			if l.Next() < next {
				t.Fatalf("stop %d: Next went back", stop)
			}
			add(t, l, 77)
		}
	}
}

func TestFailedWriteLeavesNoTrace(t *testing.T) {
	for _, truncateFails := range []bool{false, true} {
		d := faultfs.New()
		l := open(t, d, seglog.Options{})
		add(t, l, 0)
		d.SetFault(func(op faultfs.Op) *faultfs.Fault {
			switch {
			case op.Kind == "write" && op.Len > 0:
				return &faultfs.Fault{Err: syscall.EIO, Short: 30}
			case op.Kind == "truncate" && truncateFails:
				return &faultfs.Fault{Err: syscall.EIO}
			}
			return nil
		})
		if _, err := l.Append(rec(1)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
		d.SetFault(nil)
		add(t, l, 2)
		for range 2 {
			heads, damage := read(t, l)
			if !slices.Equal(heads, want(0, 2)) || damage != nil {
				t.Fatalf("truncate fails %v: %v %v", truncateFails, heads, damage)
			}
			l = open(t, d.Kill(), seglog.Options{})
		}
	}
}

// TestFailedSyncIsNeverTakenForDone: after a failed fsync the kernel forgets
// that the pages were dirty, so that the next one succeeds for nothing.
func TestFailedSyncIsNeverTakenForDone(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{})
	add(t, l, 0)
	fail := 1
	d.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "sync" && fail > 0 {
			fail--
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	add(t, l, 1) // acknowledged: it was written again elsewhere
	if len(l.Segments()) != 2 {
		t.Errorf("segments: %+v", l.Segments())
	}
	add(t, l, 2)
	if heads, damage := read(t, l); !slices.Equal(heads, want(0, 1, 2)) || damage != nil {
		t.Errorf("live: %v %v", heads, damage)
	}
	if heads, damage := read(t, open(t, d.Crash(nil), seglog.Options{})); !slices.Equal(heads, want(0, 1, 2)) || damage != nil {
		t.Errorf("after power loss: %v %v", heads, damage)
	}

	// Twice in a row: not acknowledged, and it works again when the disk does.
	d = faultfs.New()
	l = open(t, d, seglog.Options{})
	add(t, l, 0)
	d.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "sync" {
			return &faultfs.Fault{Err: syscall.EIO}
		}
		return nil
	})
	for range 3 {
		if _, err := l.Append(rec(1)); !errors.Is(err, syscall.EIO) {
			t.Fatal(err)
		}
	}
	d.SetFault(nil)
	add(t, l, 2)
	if heads, damage := read(t, open(t, d.Kill(), seglog.Options{})); !slices.Equal(heads, want(0, 2)) || damage != nil {
		t.Errorf("after EIO for a while: %v %v", heads, damage)
	}
}

func TestFullDisk(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{SegmentBytes: 500})
	for i := range 10 {
		add(t, l, i)
	}
	d.SetCapacity(d.Used() + 20)
	for range 5 {
		_, err := l.Append(rec(10))
		if _, ok := errors.AsType[*seglog.FullError](err); !ok {
			t.Fatalf("full disk: %v", err)
		}
	}
	if heads, damage := read(t, l); !slices.Equal(heads, want(upTo(10)...)) || damage != nil {
		t.Errorf("while full: %v %v", heads, damage)
	}
	// It also opens while it is full.
	l = open(t, d.Kill(), seglog.Options{SegmentBytes: 500})
	if heads, damage := read(t, l); !slices.Equal(heads, want(upTo(10)...)) || damage != nil {
		t.Errorf("opened while full: %v %v", heads, damage)
	}
	if err := l.RemoveBefore(l.Next()); err != nil {
		t.Fatal(err)
	}
	add(t, l, 11) // room again, without a restart
}

func TestStateOutlivesRecords(t *testing.T) {
	d := faultfs.New()
	count := 0
	opt := seglog.Options{SegmentBytes: 300, State: func() []byte { return fmt.Appendf(nil, "%d", count) }}
	l := open(t, d, opt)
	appendOne := func(i int) {
		r := rec(i)
		r.Committed = func(uint64, uint64) { count++ }
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 30 {
		appendOne(i)
	}
	if err := l.RemoveBefore(l.Next()); err != nil {
		t.Fatal(err)
	}
	check := func(d vfs.FS) {
		t.Helper()
		l := open(t, d, opt)
		st, from, err := l.LastState()
		if err != nil {
			t.Fatal(err)
		}
		var known int
		if _, err := fmt.Sscan(string(st), &known); err != nil {
			t.Fatal(err)
		}
		for _, err := range l.Records(from) {
			if err != nil {
				t.Fatal(err)
			}
			known++
		}
		if known != 30 {
			t.Errorf("%d known after restart", known)
		}
	}
	k := d.Kill()
	segs := l.Segments()
	check(k)
	if len(segs) != 1 {
		t.Fatal(segs)
	}

	empty := open(t, faultfs.New(), opt)
	if st, from, err := empty.LastState(); st != nil || from != 0 || err != nil {
		t.Error(st, from, err)
	}
}

func TestDamagedStateFallsBack(t *testing.T) {
	d := faultfs.New()
	n := 0
	opt := seglog.Options{SegmentBytes: 300, State: func() []byte { return fmt.Appendf(nil, "%d", n) }}
	l := open(t, d, opt)
	for i := range 20 {
		r := rec(i)
		r.Committed = func(uint64, uint64) { n++ }
		if _, err := l.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	segs := l.Segments()
	k := d.Kill()
	name := segs[len(segs)-1].Name
	b := k.Get(name)
	b[64+40] ^= 1 // the state's first byte
	k.Put(name, b)
	l = open(t, k, opt)
	st, from, err := l.LastState()
	if err != nil {
		t.Fatal(err)
	}
	var known int
	if _, err := fmt.Sscan(string(st), &known); err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Records(from) {
		if err != nil {
			t.Fatal(err)
		}
		known++
	}
	if known != 20 {
		t.Errorf("%d known", known)
	}
}

func TestOffsetsOnlyGrow(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{MinNext: 1000})
	if l.Next() != 1000 || add(t, l, 0) < 1000 {
		t.Error(l.Next())
	}
	if err := l.SkipTo(500); err != nil || len(l.Segments()) != 1 {
		t.Error(err)
	}
	if err := l.SkipTo(1 << 40); err != nil || l.Next() != 1<<40 {
		t.Error(l.Next(), err)
	}
	add(t, l, 1)
	r := l.Reader(0)
	defer r.Close()
	a, err1 := r.TryNext()
	b, err2 := r.TryNext()
	if err1 != nil || err2 != nil || a.Offset < 1000 || b.Offset < 1<<40 {
		t.Error(a.Offset, b.Offset, err1, err2)
	}
	l = open(t, d.Kill(), seglog.Options{MinNext: 1 << 50})
	if add(t, l, 2) < 1<<50 {
		t.Error("MinNext was not kept")
	}
	if heads, damage := read(t, l); len(heads) != 3 || damage != nil {
		t.Error(heads, damage)
	}
}

func TestMissingFileIsReported(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{SegmentBytes: 300})
	for i := range 20 {
		add(t, l, i)
	}
	segs := l.Segments()
	k := d.Kill()
	if err := k.Remove(segs[2].Name); err != nil {
		t.Fatal(err)
	}
	heads, damage := read(t, open(t, k, seglog.Options{}))
	if len(damage) != 1 || len(heads) == 0 || heads[len(heads)-1] != "head 19" {
		t.Fatalf("%v %v", heads, damage)
	}
	if ce, ok := errors.AsType[*seglog.CorruptError](damage[0]); !ok || ce.Part != "file" || ce.Offset != segs[1].End {
		t.Errorf("damage: %v", damage[0])
	}
}

func TestAnotherVersionIsLeftAlone(t *testing.T) {
	d := faultfs.New()
	l := open(t, d, seglog.Options{})
	add(t, l, 0)
	k := d.Kill()
	name := l.Segments()[0].Name
	future := seglog.WithVersion(k.Get(name), 9)
	k.Put(name, future)
	_, err := seglog.OpenFS(k, withKeys(seglog.Options{}))
	if ue, ok := errors.AsType[*seglog.UnsupportedError](err); !ok || ue.Version != 9 {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Get(name), future) {
		t.Error("file was changed")
	}
}

func TestTooLarge(t *testing.T) {
	l := open(t, faultfs.New(), seglog.Options{})
	if _, err := l.Append(seglog.Record{Head: make([]byte, seglog.MaxHeadBytes+1)}); !errors.Is(err, seglog.ErrTooLarge) {
		t.Error(err)
	}
}

func TestSegmentAge(t *testing.T) {
	now := time.Unix(1e9, 0)
	l := open(t, faultfs.New(), seglog.Options{SegmentAge: time.Minute, Now: func() time.Time { return now }})
	add(t, l, 0)
	now = now.Add(59 * time.Second)
	add(t, l, 1)
	now = now.Add(time.Second)
	add(t, l, 2)
	if n := len(l.Segments()); n != 2 {
		t.Errorf("%d segments", n)
	}
}

// FuzzSegment opens a log over arbitrary bytes.
func FuzzSegment(f *testing.F) {
	d := faultfs.New()
	l, err := seglog.OpenFS(d, withKeys(seglog.Options{}))
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, err := l.Append(rec(i)); err != nil {
			f.Fatal(err)
		}
	}
	name := l.Segments()[0].Name
	f.Add(d.Get(name))
	f.Add(d.Get(name)[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		c := faultfs.New()
		c.Put(name, b)
		l, err := seglog.OpenFS(c, withKeys(seglog.Options{}))
		if err != nil {
			return
		}
		count := func() (n int) {
			last := uint64(0)
			for e, err := range l.Records(0) {
				if err != nil {
					continue
				}
				if e.Offset < last {
					t.Fatal("offsets went back")
				}
				last = e.Next
				n++
			}
			return n
		}
		n := count()
		if _, err := l.Append(rec(7)); err != nil {
			t.Fatal(err)
		}
		if m := count(); m != n+1 {
			t.Fatalf("%d records, then %d", n, m)
		}
	})
}
