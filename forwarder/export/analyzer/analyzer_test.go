package analyzer_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/export/analyzer"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

// TestTiles: what the analyzer has is one range, however often both sides and
// segments begin anew, so that what it remembers of a spool does not grow.
func TestTiles(t *testing.T) {
	a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 2000}
	a.start()
	for round := range 6 {
		s := openSpool(t, dir, spoolOptions())
		if round%2 == 1 { // some wait before the stream begins
			c.add(t, s, 5)
		}
		x := run(t, s, a.addr)
		c.add(t, s, 30)
		poll(t, "everything", func() error { return a.holds(c) })
		if round%3 == 2 {
			a.stop()
			c.add(t, s, 30)
			a.start()
		}
		x.drain()
		if err := a.holds(c); err != nil {
			t.Fatal(err)
		}
		if err := a.closed(s); err != nil {
			t.Error(err)
		}
		if got, want := s.Cursor(analyzer.Name).Offset(), s.Log().End(); got != want {
			t.Errorf("cursor at %d, the end is %d", got, want)
		}
		if n := len(s.Log().Segments()); n > 2 {
			t.Errorf("%d segments are still there", n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if a.again > 0 || len(a.missing) > 0 {
		t.Errorf("%d frames came again, missing: %v", a.again, a.missing)
	}
	if h := a.hellos[0]; h.GetApiVersion() != capturev1.APIVersion || h.GetApiOldest() != capturev1.APIOldest {
		t.Errorf("hello %v", h)
	}
}

// TestR16LostAcknowledgement: the analyzer stores and dies before it says so.
// What it says that it has is not sent again; and where it does not say, what
// comes again is nothing new to it.
func TestR16LostAcknowledgement(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	s := openSpool(t, spoolDir(t), spoolOptions())
	x := run(t, s, a.addr)
	for range 3 {
		a.with(func() { a.mute = true })
		a.start()
		c.add(t, s, 40)
		poll(t, "everything", func() error { return a.holds(c) })
		if got := s.Cursor(analyzer.Name).Offset(); got == s.Log().End() {
			t.Fatal("the cursor moved without an acknowledgement")
		}
		a.stop()
		a.with(func() { a.mute = false })
		a.start()
		poll(t, "the cursor", func() error {
			if got, want := s.Cursor(analyzer.Name).Offset(), s.Log().End(); got != want {
				return fmt.Errorf("at %d of %d", got, want)
			}
			return nil
		})
		a.stop()
	}
	if a.again > 0 {
		t.Errorf("%d frames were sent that the analyzer had said it has", a.again)
	}
	// It forgets what it has, as one that was restored from a backup: what the
	// spool still holds comes again, and no batch counts twice.
	before := len(a.pairs)
	a.with(func() { clear(a.shelves) })
	a.start()
	c.add(t, s, 1)
	poll(t, "everything", func() error { return a.holds(c) })
	if len(a.pairs) != before+each || a.again2 == 0 {
		t.Errorf("%d pairs after %d, %d batches came again", len(a.pairs), before, a.again2)
	}
	x.drain()
}

// TestOldAnalyzer: one that knows no ranges gets everything in order.
func TestOldAnalyzer(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 1000}
	a.version = 0
	s := openSpool(t, spoolDir(t), spoolOptions())
	c.add(t, s, 200)
	a.slow = func() { time.Sleep(time.Millisecond) }
	a.start()
	x := run(t, s, a.addr)
	poll(t, "the first", func() error {
		if x.State().GetOffset() == 0 {
			return errors.New("nothing")
		}
		return nil
	})
	c.add(t, s, 50)
	x.drain()
	if err := a.holds(c); err != nil {
		t.Fatal(err)
	}
	id := s.ID()
	if order := a.shelves[string(id[:])].order; !slices.IsSorted(order) {
		t.Error("frames came out of order")
	}
	if a.again > 0 {
		t.Errorf("%d frames came again", a.again)
	}
}

// TestIncompatibleAnalyzer is told apart from one that is away, and gets
// nothing; one that still understands this program does.
func TestIncompatibleAnalyzer(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1}
	s := openSpool(t, spoolDir(t), spoolOptions())
	c.add(t, s, 3)
	a.version, a.oldest = 99, 99
	a.start()
	x := run(t, s, a.addr)
	poll(t, "a reason", func() error {
		if got := x.State().GetError(); !strings.Contains(got, "the analyzer needs version 99 at least, this program speaks") {
			return errors.New(got)
		}
		return nil
	})
	if len(a.pairs) > 0 || x.State().GetConnected() {
		t.Error("it got something")
	}
	a.stop()
	a.oldest = capturev1.APIVersion
	a.start()
	poll(t, "everything", func() error { return a.holds(c) })
}

// TestRestoredCopy: the spool's directory is an older copy which took other
// records, beyond what the analyzer has, before it met the analyzer.
func TestRestoredCopy(t *testing.T) {
	for _, more := range []int{3, 40, 200} { // fewer, as many in bytes, more
		for _, live := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d live %v", more, live), func(t *testing.T) {
				a, dir := newAnalyzer(t), spoolDir(t)
				a.start()
				old, c, d := &captured{epoch: 1, body: 500}, &captured{epoch: 2, body: 500}, &captured{epoch: 3, body: 499}
				s := openSpool(t, dir, spoolOptions())
				x := run(t, s, a.addr)
				old.add(t, s, 20)
				x.drain()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				backup := t.TempDir()
				if err := os.CopyFS(backup+"/spool", os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				s = openSpool(t, dir, spoolOptions())
				x = run(t, s, a.addr)
				c.add(t, s, 40)
				x.drain()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				s = openSpool(t, backup+"/spool", spoolOptions())
				id := s.ID()
				if more == 40 { // the same bytes but for the epoch
					d.body = 500
				}
				d.add(t, s, more)
				x = run(t, s, a.addr)
				if live {
					d.add(t, s, 5)
				}
				poll(t, "everything", func() error { return errors.Join(a.holds(old), a.holds(c), a.holds(d)) })
				x.drain()
				if s.ID() == id || !strings.Contains(x.log.String(), "older copy") {
					t.Errorf("the spool has its old id\n%s", x.log)
				}
				// The next connection finds nothing wrong.
				id = s.ID()
				x = run(t, s, a.addr)
				d.add(t, s, 1)
				poll(t, "one more", func() error { return a.holds(d) })
				x.drain()
				if s.ID() != id {
					t.Error("the spool has a new id again")
				}
				if len(a.missing) > 0 && a.missing[0] != "removed" {
					t.Errorf("missing %v", a.missing)
				}
			})
		}
	}
}

// flip changes a bit of the spool's file that holds an offset.
func flip(t *testing.T, dir string, segs []seglog.SegmentInfo, offset uint64) {
	t.Helper()
	for _, s := range segs {
		if s.Base <= offset && offset < s.End {
			name := dir + "/" + s.Name
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b[offset-s.Base] ^= 4
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no segment with offset %d", offset)
}

// TestDamage: a bit that flips costs one record, which is declared where its
// head can be read, and said to be missing where not.
func TestDamage(t *testing.T) {
	for version := range capturev1.APIVersion + 1 {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 300}
			a.version = version
			s := openSpool(t, dir, spoolOptions())
			c.add(t, s, 30)
			var entries []seglog.Entry
			for e, err := range s.Log().Records(0) {
				if err != nil {
					t.Fatal(err)
				}
				entries = append(entries, e)
			}
			segs := s.Log().Segments()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			flip(t, dir, segs, entries[9].Next-1)     // a body: batch 10
			flip(t, dir, segs, entries[14].Offset+41) // a head: batch 15
			flip(t, dir, segs, entries[19].Offset+2)  // a header: batch 20
			s = openSpool(t, dir, spoolOptions())
			x := run(t, s, a.addr)
			a.start()
			poll(t, "the rest", func() error { return a.holds(c, 10, 15, 20) })
			// Another connection finds nothing more to do.
			a.stop()
			a.start()
			c.add(t, s, 1)
			poll(t, "the next batch", func() error { return a.holds(c, 10, 15, 20) })
			x.drain()
			if got := x.State().GetDropped()[frame.ReasonSpoolDamaged]; got != each+2 { // one at least for each that nobody can count
				t.Errorf("%d pairs are counted as damaged", got)
			}
			if n := strings.Count(x.log.String(), "is damaged"); n != 3 {
				t.Errorf("%d lines:\n%s", n, x.log)
			}
			kept, err := os.ReadDir(dir + "/quarantine")
			if err != nil || len(kept) != 3 {
				t.Errorf("quarantine has %v, %v", kept, err)
			}
			if version == 0 {
				return
			}
			if a.lost[frame.ReasonSpoolDamaged] != each || fmt.Sprint(a.missing) != "[damaged head damaged header]" {
				t.Errorf("declared %v, missing %q", a.lost, a.missing)
			}
			if err := a.closed(s); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDamagedLast: the last record that the analyzer has is damaged here now,
// or was sent as a declaration. That is no other spool.
func TestDamagedLast(t *testing.T) {
	for _, at := range []string{"header", "head", "body", "declared"} {
		t.Run(at, func(t *testing.T) {
			a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 300}
			a.start()
			s := openSpool(t, dir, spoolOptions())
			if at == "declared" {
				a.refuse = func(f *capturev1.Frame) bool { return len(f.GetBody()) > 0 && len(a.pairs) == 9*each }
			}
			c.add(t, s, 10)
			x := run(t, s, a.addr)
			poll(t, "the cursor", func() error {
				if s.Cursor(analyzer.Name).Offset() != s.Log().End() {
					return errors.New("not there")
				}
				return nil
			})
			x.drain()
			var last seglog.Entry
			for e, err := range s.Log().Records(0) {
				if err != nil {
					t.Fatal(err)
				}
				last = e
			}
			segs, id := s.Log().Segments(), s.ID()
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			var except []uint64
			switch at {
			case "header":
				flip(t, dir, segs, last.Offset+2)
			case "head":
				flip(t, dir, segs, last.Offset+41)
			case "body":
				flip(t, dir, segs, last.Next-1)
			case "declared":
				a.refuse = nil
				except = []uint64{10}
			}
			s = openSpool(t, dir, spoolOptions())
			x = run(t, s, a.addr)
			c.add(t, s, 2)
			poll(t, "the rest", func() error { return a.holds(c, except...) })
			x.drain()
			if s.ID() != id {
				t.Errorf("the spool has a new id\n%s", x.log)
			}
		})
	}
}

// TestCutTail: the last record that the analyzer has stood at the end of a spool
// that was killed, is damaged there and was cut. That is no other spool, also
// when it has gone on since and the next start finds nothing to cut.
func TestCutTail(t *testing.T) {
	for _, at := range []uint64{2, 41, 0} { // header, head, body
		for _, later := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d later %v", at, later), func(t *testing.T) {
				a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 300}
				a.start()
				s := openSpool(t, dir, spoolOptions())
				c.add(t, s, 10)
				x := run(t, s, a.addr)
				poll(t, "everything", func() error { return a.holds(c) })
				x.drain()
				kill := func() {
					left := filepath.Join(t.TempDir(), "spool")
					if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
						t.Fatal(err)
					}
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
					dir = left
				}
				var last seglog.Entry
				for e, err := range s.Log().Records(0) {
					if err != nil {
						t.Fatal(err)
					}
					last = e
				}
				segs, id := s.Log().Segments(), s.ID()
				kill()
				bad := last.Offset + at
				if at == 0 {
					bad = last.Next - 1
				}
				flip(t, dir, segs, bad)
				s = openSpool(t, dir, spoolOptions())
				if s.Log().Recovery().CutBytes == 0 {
					t.Fatal("nothing was cut")
				}
				if later {
					c.add(t, s, 2)
					kill()
					s = openSpool(t, dir, spoolOptions())
					if s.Log().Recovery().CutBytes > 0 {
						t.Fatal("something was cut again")
					}
				}
				x = run(t, s, a.addr)
				c.add(t, s, 2)
				poll(t, "the rest", func() error { return a.holds(c) })
				x.drain()
				if s.ID() != id || a.again > 0 || a.again2 > 0 || len(a.missing) > 0 {
					t.Errorf("new id %v, %d and %d came again, missing %v\n%s", s.ID() != id, a.again, a.again2, a.missing, x.log)
				}
				if err := a.closed(s); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRefused: a frame that the analyzer cannot take is found, kept, declared,
// and holds up nothing behind it.
func TestRefused(t *testing.T) {
	for _, named := range []bool{true, false} {
		testRefused(t, named)
	}
}

func testRefused(t *testing.T, named bool) {
	for name, refuse := range map[string]func(seq uint64, f *capturev1.Frame) bool{
		"body":        func(seq uint64, f *capturev1.Frame) bool { return len(f.GetBody()) > 0 },
		"declaration": func(seq uint64, f *capturev1.Frame) bool { return f.GetMissing() == "" },
		"everything":  func(uint64, *capturev1.Frame) bool { return true },
	} {
		t.Run(fmt.Sprintf("%s named %v", name, named), func(t *testing.T) {
			a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 100}
			bad := []uint64{17, 18, 60}
			offsets := map[uint64]uint64{}
			a.named = named
			a.refuse = func(f *capturev1.Frame) bool {
				seq, is := offsets[f.GetNextOffset()]
				return is && refuse(seq, f)
			}
			s := openSpool(t, dir, spoolOptions())
			for range 100 {
				next, err := s.Append(c.record(t))
				if err != nil {
					t.Fatal(err)
				}
				if slices.Contains(bad, c.seq) {
					offsets[next] = c.seq
				}
			}
			a.start()
			x := run(t, s, a.addr)
			poll(t, "the rest", func() error { return a.holds(c, bad...) })
			c.add(t, s, 10)
			poll(t, "what came later", func() error { return a.holds(c, bad...) })
			poll(t, "the count", func() error {
				if got := x.State().GetDropped()[frame.ReasonRefused]; got != 3*each {
					return fmt.Errorf("%d pairs", got)
				}
				return nil
			})
			before := len(a.hellos)
			x.drain()
			switch name {
			case "body":
				if a.lost[frame.ReasonRefused] != 3*each || len(a.missing) > 0 {
					t.Errorf("declared %v, missing %v", a.lost, a.missing)
				}
			case "declaration":
				if len(a.missing) != 3 {
					t.Errorf("missing %v", a.missing)
				}
			}
			if kept, err := os.ReadDir(dir + "/quarantine"); err != nil || len(kept) != 3 {
				t.Errorf("quarantine has %v, %v", kept, err)
			}
			if before > 45 || named && before > 10 {
				t.Errorf("%d connections to find three frames", before)
			}
			if got, want := s.Cursor(analyzer.Name).Offset(), s.Log().End(); got != want {
				t.Errorf("the cursor is at %d of %d", got, want)
			}
		})
	}
}

// TestRemoved: what the spool gave up before the analyzer came is said to be
// missing, so that nobody waits for it.
func TestRemoved(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 2000}
	opt := spoolOptions()
	opt.MaxBytes = 512 << 10
	s := openSpool(t, spoolDir(t), opt)
	c.add(t, s, 300)
	oldest := s.Log().Oldest()
	if oldest == 0 {
		t.Fatal("nothing was dropped")
	}
	a.start()
	x := run(t, s, a.addr)
	x.drain()
	if err := a.closed(s); err != nil {
		t.Error(err)
	}
	if len(a.missing) != 1 || a.missing[0] != "removed" || a.shelf(string(idOf(s))).frames[0].next != oldest {
		t.Errorf("missing %v, the oldest offset was %d", a.missing, oldest)
	}
}

func idOf(s *spool.Spool) []byte {
	id := s.ID()
	return id[:]
}

// TestFilter: a destination's own filter changes what goes there, and the sum
// still holds; a frame that was made again is known again.
func TestFilter(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	a.start()
	f, err := filter.Load("path:/x/1")
	if err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, spoolDir(t), spoolOptions())
	c.add(t, s, 20)
	filtered := func(set *analyzer.Settings) { set.Filter = f }
	x := run(t, s, a.addr, filtered)
	x.drain()
	if got := x.State().GetFiltered(); len(got) != 1 || got["expression"] != 20 {
		t.Errorf("counted %v", got)
	}
	if len(a.pairs) != 20*(each-1) || a.pairs[c.id(1, 1)] != 0 || a.pairs[c.id(1, 0)] != 1 {
		t.Errorf("%d pairs", len(a.pairs))
	}
	for range 4 { // maps have another order each time
		id := s.ID()
		x = run(t, s, a.addr, filtered)
		c.add(t, s, 2)
		x.drain()
		if s.ID() != id {
			t.Fatalf("the spool has a new id\n%s", x.log)
		}
	}
	if len(a.pairs) != 28*(each-1) || a.again > 0 {
		t.Errorf("%d pairs, %d frames came again", len(a.pairs), a.again)
	}
}

// TestCountedWithoutAcknowledgement: what the analyzer has counts also when it
// could not say so before the connection ended.
func TestCountedWithoutAcknowledgement(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	a.mute = true
	a.start()
	f, err := filter.Load("path:/x/1")
	if err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, spoolDir(t), spoolOptions())
	c.add(t, s, 20)
	x := run(t, s, a.addr, func(set *analyzer.Settings) { set.Filter = f })
	poll(t, "all of it", func() error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := len(a.pairs); n != 20*(each-1) {
			return fmt.Errorf("%d pairs", n)
		}
		return nil
	})
	a.stop()
	a.with(func() { a.mute = false })
	a.start()
	poll(t, "the cursor", func() error {
		if at := s.Cursor(analyzer.Name).Offset(); at != s.Log().End() {
			return fmt.Errorf("at %d", at)
		}
		return nil
	})
	x.drain()
	if got := x.State().GetFiltered()["expression"]; got != 20 {
		t.Errorf("%d pairs are counted as filtered", got)
	}
}

// TestFilterChanged: with another filter than the last frame was made by the
// spool goes on, under another id; nothing is lost and nothing comes twice.
func TestFilterChanged(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	a.start()
	s := openSpool(t, spoolDir(t), spoolOptions())
	for i, rule := range []string{"path:/x/1", "path:/x/2", ""} {
		f, err := filter.Load(rule)
		if err != nil {
			t.Fatal(err)
		}
		c.add(t, s, 10)
		x := run(t, s, a.addr, func(set *analyzer.Settings) { set.Filter = f })
		want := 20*(i+1) + i/2*10
		poll(t, "what the filter leaves", func() error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if len(a.pairs) != want {
				return fmt.Errorf("%d pairs, want %d", len(a.pairs), want)
			}
			return nil
		})
		x.drain()
		if got := s.Cursor(analyzer.Name).Offset(); got != s.Log().End() {
			t.Errorf("the cursor is at %d of %d", got, s.Log().End())
		}
	}
	for id, n := range a.pairs {
		if n != 1 {
			t.Errorf("pair %x is stored %d times", id, n)
		}
	}
}

// TestRefusedFirst: the very first record of a spool is one like others when
// the analyzer refuses it: its offset, 0, is also what nothing begins with.
func TestRefusedFirst(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	a.named = true
	a.refuse = func(f *capturev1.Frame) bool { return f.GetOffset() == 0 && f.GetMissing() == "" }
	a.start()
	s := openSpool(t, spoolDir(t), spoolOptions())
	c.add(t, s, 10)
	x := run(t, s, a.addr)
	poll(t, "the rest", func() error { return a.holds(c, 1) })
	x.drain()
	if len(a.hellos) > 5 || len(a.missing) != 1 {
		t.Errorf("%d connections, missing %v", len(a.hellos), a.missing)
	}
}
