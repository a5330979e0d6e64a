package analyzer_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

// TestAnalyzerThatRefusesEverything has a trouble of its own: it does not cost
// the spool, and all of it goes there once the trouble is over.
func TestAnalyzerThatRefusesEverything(t *testing.T) {
	for name, refuse := range map[string]func(*capturev1.Frame) bool{
		"records":    func(f *capturev1.Frame) bool { return len(f.GetBody()) > 0 },
		"everything": func(*capturev1.Frame) bool { return true },
	} {
		for _, named := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s named %v", name, named), func(t *testing.T) {
				t.Parallel()
				a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
				a.named, a.refuse = named, refuse
				a.start()
				s := openSpool(t, spoolDir(t), spoolOptions())
				c.add(t, s, 60)
				x := run(t, s, a.addr)
				poll(t, "the brake, and two tries after it", func() error {
					if n := strings.Count(x.log.String(), "refuses one record after another"); n < 3 {
						return fmt.Errorf("%d pauses\n%s", n, x.log)
					}
					return nil
				})
				if got := x.State().GetError(); !strings.Contains(got, "records in a row") || !strings.Contains(got, "cannot take this") {
					t.Errorf("state says %q", got)
				}
				if got := x.State().GetDropped()[frame.ReasonRefused]; got > 2*each {
					t.Errorf("%d pairs are declared lost", got)
				}
				a.with(func() { a.refuse = nil })
				c.add(t, s, 5)
				poll(t, "the rest", func() error { return a.holds(c, 1, 2) })
				poll(t, "the cursor", func() error {
					if at := s.Cursor(x.Name()).Offset(); at != s.Log().End() {
						return fmt.Errorf("at %d of %d", at, s.Log().End())
					}
					return nil
				})
				if st := x.State(); st.GetError() != "" || st.GetDropped()[frame.ReasonRefused] != 2*each {
					t.Errorf("%v", st)
				}
				x.drain()
			})
		}
	}
}

// TestSomeRecordsInARow: the analyzer has reason to refuse several records one
// after another. They are declared as soon as it has taken another.
func TestSomeRecordsInARow(t *testing.T) {
	a, c := newAnalyzer(t), &captured{epoch: 1, body: 100}
	bad := []uint64{7, 8, 9, 10}
	var offsets []uint64
	a.named = true
	a.refuse = func(f *capturev1.Frame) bool {
		return len(f.GetBody()) > 0 && slices.Contains(offsets, f.GetNextOffset())
	}
	s := openSpool(t, spoolDir(t), spoolOptions())
	for range 20 {
		next, err := s.Append(c.record(t))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(bad, c.seq) {
			offsets = append(offsets, next)
		}
	}
	a.start()
	x := run(t, s, a.addr)
	poll(t, "the cursor", func() error {
		if at := s.Cursor(x.Name()).Offset(); at != s.Log().End() {
			return errors.New("not there")
		}
		return nil
	})
	if err := a.holds(c, bad...); err != nil {
		t.Error(err)
	}
	x.drain()
	if st := x.State(); st.GetDropped()[frame.ReasonRefused] != 4*each || a.lost[frame.ReasonRefused] != 4*each || st.GetError() != "" {
		t.Errorf("%v, declared %v\n%s", st, a.lost, x.log)
	}
	if n := strings.Count(x.log.String(), "refuses one record after another"); n != 2 {
		t.Errorf("%d pauses", n)
	}
}

// TestNoOthersToTry: when all that there is was refused, that is tried again.
func TestNoOthersToTry(t *testing.T) {
	a, dir, c := newAnalyzer(t), spoolDir(t), &captured{epoch: 1, body: 100}
	a.refuse = func(*capturev1.Frame) bool { return true }
	a.start()
	s := openSpool(t, dir, spoolOptions())
	c.add(t, s, 4)
	if err := s.Close(); err != nil { // what the log writes for itself is behind them
		t.Fatal(err)
	}
	s = openSpool(t, dir, spoolOptions())
	x := run(t, s, a.addr)
	poll(t, "a pause for each that is held, and one more", func() error {
		if n := strings.Count(x.log.String(), "refuses one record after another"); n < 3 {
			return fmt.Errorf("%d pauses\n%s", n, x.log)
		}
		return nil
	})
	a.with(func() { a.refuse = nil })
	poll(t, "the rest", func() error { return a.holds(c, 1, 2) })
	x.drain()
	if at := s.Cursor(x.Name()).Offset(); at != s.Log().End() {
		t.Errorf("the cursor is at %d of %d", at, s.Log().End())
	}
}
