package spool_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// A record's head is its number; it stands for number%5 things.
func record(i int) seglog.Record {
	return seglog.Record{Head: binary.BigEndian.AppendUint32(nil, uint32(i)), Body: bytes.Repeat([]byte{1}, 100)}
}

func number(head []byte) int { return int(binary.BigEndian.Uint32(head)) }

func options(when spool.WhenFull) spool.Options {
	return spool.Options{
		MaxBytes: 16 << 10, SegmentBytes: 1 << 10, WhenFull: when, Cursors: []string{"a", "b"},
		Count: func(head []byte) uint64 { return uint64(number(head) % 5) },
	}
}

func open(t *testing.T, d vfs.FS, opt spool.Options) *spool.Spool {
	t.Helper()
	s, err := spool.OpenFS(d, withKey(opt))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func numbers(t *testing.T, s *spool.Spool, from uint64) (ns []int) {
	t.Helper()
	for e, err := range s.Log().Records(from) {
		if err != nil {
			t.Fatal(err)
		}
		ns = append(ns, number(e.Head))
	}
	return ns
}

func TestDropOldestIsCountedForEachCursor(t *testing.T) {
	d := faultfs.New()
	opt := options(spool.DropOldest)
	told := map[string]spool.Loss{}
	opt.OnDrop = func(cursor string, l spool.Loss) {
		told[cursor] = spool.Loss{Records: told[cursor].Records + l.Records, Things: told[cursor].Things + l.Things}
	}
	s := open(t, d, opt)
	const n = 400
	for i := range n {
		next, err := s.Append(record(i))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Log().Bytes(); got > s.MaxBytes() {
			t.Fatalf("%d bytes, limit %d", got, s.MaxBytes())
		}
		if i == 20 { // a has read 21, b nothing
			if err := s.Cursor("a").Advance(next); err != nil {
				t.Fatal(err)
			}
		}
	}
	check := func(s *spool.Spool) {
		t.Helper()
		for name, first := range map[string]int{"a": 21, "b": 0} {
			c := s.Cursor(name)
			left := numbers(t, s, c.Offset())
			oldest := left[0]
			if left[len(left)-1] != n-1 || len(left) != n-oldest {
				t.Fatalf("%s: %d left from %d", name, len(left), oldest)
			}
			var want spool.Loss
			for i := first; i < oldest; i++ {
				want.Records++
				want.Things += uint64(i % 5)
			}
			if got := c.Lost(); got != want {
				t.Errorf("%s lost %+v, want %+v", name, got, want)
			}
			if told[name] != want {
				t.Errorf("%s was told of %+v, want %+v", name, told[name], want)
			}
		}
	}
	check(s)
	id := s.ID()
	s = open(t, d.Kill(), options(spool.DropOldest))
	check(s)
	if s.ID() != id {
		t.Error("id changed")
	}
}

// A record that no room is enough for is refused; nothing is dropped for it.
func TestTooLargeForTheSpool(t *testing.T) {
	opt := options(spool.DropOldest)
	s := open(t, faultfs.New(), opt)
	for i := range 40 {
		if _, err := s.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	big := record(40)
	big.Body = make([]byte, opt.MaxBytes)
	if _, err := s.Append(big); !errors.Is(err, spool.ErrFull) {
		t.Error(err)
	}
	if ns := numbers(t, s, s.Log().Oldest()); len(ns) != 40 || s.Cursor("a").Lost() != (spool.Loss{}) {
		t.Errorf("%d records left, lost %+v", len(ns), s.Cursor("a").Lost())
	}
}

// What a cursor passes while room is being made is not lost for it.
func TestReadWhileItIsDropped(t *testing.T) {
	var s *spool.Spool
	var advanced sync.WaitGroup
	opt := options(spool.DropOldest)
	opt.Cursors = []string{"a"}
	counted := 0
	opt.Count = func([]byte) uint64 {
		if counted++; counted > 1 {
			return 1
		}
		// The reader is told of an acknowledgement just now: it has three
		// records of the segment.
		var third uint64
		for e, err := range s.Log().Heads(0) {
			if err != nil {
				t.Error(err)
			}
			if third = e.Next; number(e.Head) == 2 {
				break
			}
		}
		c := s.Cursor("a")
		advanced.Go(func() {
			if err := c.Advance(third); err != nil {
				t.Error(err)
			}
		})
		for c.Offset() < third {
			runtime.Gosched()
		}
		return 1
	}
	s = open(t, faultfs.New(), opt)
	n := 0
	for ; s.Cursor("a").Lost().Records == 0; n++ {
		if _, err := s.Append(record(n)); err != nil {
			t.Fatal(err)
		}
	}
	advanced.Wait()
	left := numbers(t, s, s.Log().Oldest())
	lost := s.Cursor("a").Lost()
	if want := uint64(n - 3 - len(left)); lost != (spool.Loss{Records: want, Things: want}) {
		t.Errorf("lost %+v, want %d: %d appended, 3 read, %d left", lost, want, n, len(left))
	}
}

func TestDropNewest(t *testing.T) {
	s := open(t, faultfs.New(), options(spool.DropNewest))
	n := 0
	for {
		_, err := s.Append(record(n))
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	notes := 0
	for {
		r := record(1000 + notes)
		r.Body = nil
		_, err := s.AppendNotes(r)
		if errors.Is(err, spool.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		notes++
	}
	if notes == 0 || s.Log().Bytes() > s.MaxBytes()*17/16 {
		t.Errorf("%d notes, %d bytes", notes, s.Log().Bytes())
	}
	got := numbers(t, s, 0)
	if len(got) != n+notes || got[0] != 0 {
		t.Errorf("%d records, want %d and %d", len(got), n, notes)
	}
	// What everybody has read makes room, without a restart.
	for _, name := range []string{"a", "b"} {
		if err := s.Cursor(name).Advance(s.Log().Next()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Append(record(n)); err != nil {
		t.Error(err)
	}
	if l := s.Cursor("a").Lost(); l != (spool.Loss{}) {
		t.Errorf("read is not lost: %+v", l)
	}
}

func TestCursorIsDurableBeforeASegmentGoes(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	opt := options(spool.DropOldest)
	opt.Cursors = []string{"a"}
	// The power goes at each call while a reader goes on. What it had not
	// said to be done with is still there, or was counted.
	for stop := 1; stop < 150; stop++ {
		d := faultfs.New()
		s := open(t, d, opt)
		const n = 60
		for i := range n {
			if _, err := s.Append(record(i)); err != nil {
				t.Fatal(err)
			}
		}
		calls := 0
		d.SetFault(func(faultfs.Op) *faultfs.Fault {
			if calls++; calls >= stop {
				return &faultfs.Fault{Err: faultfs.ErrPower, Short: rng.IntN(100)}
			}
			return nil
		})
		c := s.Cursor("a")
		read := 0
		for e, err := range s.Log().Records(0) {
			if err != nil || c.Advance(e.Next) != nil {
				break
			}
			read++
		}
		s = open(t, d.Crash(rng), opt)
		c = s.Cursor("a")
		left := numbers(t, s, c.Offset())
		if len(left) > 0 && left[0] > read+1 || left[len(left)-1] != n-1 || len(left) != n-left[0] || c.Lost() != (spool.Loss{}) {
			t.Fatalf("stop %d: %d read, left %v, lost %+v", stop, read, left, c.Lost())
		}
	}
}

// TestPowerLossWhileDropping: stored + counted as lost = appended, whenever
// the power goes.
func TestPowerLossWhileDropping(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	opt := options(spool.DropOldest)
	opt.MaxBytes, opt.Cursors = 4<<10, []string{"a"}
	for stop := 1; stop < 300; stop += 2 {
		d := faultfs.New()
		s := open(t, d, opt)
		calls := 0
		d.SetFault(func(faultfs.Op) *faultfs.Fault {
			if calls++; calls >= stop {
				return &faultfs.Fault{Err: faultfs.ErrPower, Short: rng.IntN(100)}
			}
			return nil
		})
		acked := 0
		for i := range 120 {
			if _, err := s.Append(record(i)); err != nil {
				break
			}
			acked++
		}
		s = open(t, d.Crash(rng), opt)
		c := s.Cursor("a")
		left, lost := numbers(t, s, c.Offset()), int(c.Lost().Records)
		if sum := len(left) + lost; sum != acked && sum != acked+1 {
			t.Fatalf("stop %d: %d acknowledged, %d there, %d counted as lost", stop, acked, len(left), lost)
		}
	}
}

func TestForgottenCursorHoldsNothingBack(t *testing.T) {
	d := faultfs.New()
	opt := options(spool.DropNewest)
	s := open(t, d, opt)
	for i := range 50 {
		if _, err := s.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Cursor("a").Advance(s.Log().Next()); err != nil {
		t.Fatal(err)
	}
	before := s.Log().Bytes()
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	opt.Cursors = []string{"a"}
	s = open(t, d.Kill(), opt)
	if s.Cursor("b") != nil {
		t.Error("b is still there")
	}
	for i := range 2 {
		next, err := s.Append(record(50 + i))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Cursor("a").Advance(next); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Log().Bytes(); got > before/2 {
		t.Errorf("%d bytes of %d are still there", got, before)
	}
}

func TestOffsetsStayAboveACursor(t *testing.T) {
	d := faultfs.New()
	s := open(t, d, options(spool.DropOldest))
	for i := range 30 {
		if _, err := s.Append(record(i)); err != nil {
			t.Fatal(err)
		}
	}
	next := s.Log().Next()
	if err := s.Cursor("a").Advance(next); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names { // a disk that lied loses all segments
		if strings.HasSuffix(n, ".seg") {
			if err := d.Remove(n); err != nil {
				t.Fatal(err)
			}
		}
	}
	s = open(t, d, options(spool.DropOldest))
	if s.Log().Next() < next {
		t.Errorf("next offset %d, the cursor stood at %d", s.Log().Next(), next)
	}
}

func TestDamagedStateBeginsAgain(t *testing.T) {
	d := faultfs.New()
	s := open(t, d, options(spool.DropOldest))
	id := s.ID()
	for i := range 3 {
		next, err := s.Append(record(i))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Cursor("a").Advance(next); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	k := d.Kill()
	b := k.Get("state")
	b[10] ^= 1
	b[len(b)/2+10] ^= 1
	k.Put("state", b)
	s = open(t, k, options(spool.DropOldest))
	if !s.StateLost() || s.ID() != id || s.Cursor("a").Offset() > 200 || len(numbers(t, s, 0)) != 3 {
		t.Error(s.StateLost(), s.Cursor("a").Offset())
	}
}

func TestConcurrentUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	opt := options(spool.DropOldest)
	opt.Cursors = []string{"a"}
	s, err := spool.Open(dir, withKey(opt))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spool.Open(dir, withKey(opt)); err == nil || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 100 {
				if _, err := s.Append(record(w*100 + i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	c := s.Cursor("a")
	seen := uint64(0)
	r := s.Log().Reader(c.Offset())
	defer r.Close()
	deadline := t.Context()
	for seen+c.Lost().Records < 400 {
		e, err := r.Next(deadline)
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.Offset >= c.Offset() {
			seen++
			if err := c.Advance(e.Next); err != nil {
				t.Fatal(err)
			}
		}
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
