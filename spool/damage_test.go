package spool_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weir-capture/weir/internal/faultreport"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/spool"
)

// specimen is a spool with some segments, read in part by two destinations.
type specimen struct {
	files   map[string][]byte
	batches int
	cursors map[string]uint64
	id      spool.ID
	// at is where each batch stands: the file, and [from, to) in it.
	at map[int]place
}

type place struct {
	file     string
	from, to int64
}

var specimenOptions = spool.Options{MaxBytes: 64 << 10, SegmentBytes: 2 << 10, WhenFull: spool.DropOldest, Cursors: []string{"a", "b"}}

func makeSpecimen(t *testing.T) specimen {
	t.Helper()
	d := faultfs.New()
	d.Put("lock", []byte("4711\n"))
	opt := specimenOptions
	opt.Now = ticking()
	o, err := openOwner(d, opt)
	if err != nil {
		t.Fatal(err)
	}
	sp := specimen{files: map[string][]byte{}, batches: 40, at: map[int]place{}, cursors: map[string]uint64{}, id: o.ID()}
	for n := range sp.batches {
		next, err := o.take(n)
		if err != nil {
			t.Fatal(err)
		}
		if n == 5 || n == 8 { // twice, so that both slots of the state are in use
			sp.cursors["a"], sp.cursors["b"] = next, next
			for name, at := range sp.cursors {
				if err := o.Cursor(name).Advance(at); err != nil {
					t.Fatal(err)
				}
			}
			if err := o.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for e, err := range o.Log().Records(0) {
		if err != nil {
			continue // what both have read is gone
		}
		_, ns := batchesOf(e.Head)
		for _, s := range o.Log().Segments() {
			if e.Offset >= s.Base && e.Offset < s.End {
				sp.at[ns[0]] = place{s.Name, int64(e.Offset - s.Base), int64(e.Next - s.Base)}
			}
		}
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		sp.files[name] = d.Get(name)
	}
	return sp
}

// broken is one damaged file, and which of its bytes were touched.
type broken struct {
	what     string
	file     string
	from, to int64
	data     []byte
}

func breakOne(rng *rand.Rand, sp specimen, names []string) broken {
	name := names[rng.IntN(len(names))]
	if rng.IntN(3) > 0 { // most of what counts is in segments
		for !strings.HasSuffix(name, ".seg") {
			name = names[rng.IntN(len(names))]
		}
	}
	b := slices.Clone(sp.files[name])
	size := int64(len(b))
	switch k := rng.IntN(10); {
	case k < 8:
		at := rng.Int64N(size)
		b[at] ^= 1 << rng.IntN(8)
		return broken{"flip", name, at, at + 1, b}
	case k < 9:
		page := int64(512) << (3 * rng.IntN(2))
		from := rng.Int64N(size) / page * page
		to := min(from+page, size)
		clear(b[from:to])
		return broken{"zeroed", name, from, to, b}
	default:
		at := rng.Int64N(size)
		return broken{"cut", name, at, size, b[:at]}
	}
}

// TestR18BitRot damages one file of a spool at a time, of every kind: a bit is
// flipped, a page zeroed, the end cut off. The spool opens and works; a flip
// costs one record at the most, other damage only records that it touched; all
// that is lost is told, with what was in it where the head can be read, and
// kept in quarantine.
func TestR18BitRot(t *testing.T) {
	sp := makeSpecimen(t)
	names := []string{}
	for name := range sp.files {
		names = append(names, name)
	}
	slices.Sort(names)
	rng := rand.New(rand.NewPCG(18, 18))
	const runs = 1350 // of which 1,000 flips
	type tally struct{ runs, records, heads, quarantined int }
	tallies := map[string]*tally{}
	sum := faultreport.Line{Fault: "R18 a bit flipped in a file of a spool 1,000 times, a page zeroed or the end cut 350 times", Dropped: map[string]uint64{}}
	for i := range runs {
		br := breakOne(rng, sp, names)
		kind := br.file
		if strings.HasSuffix(kind, ".seg") {
			kind = "segment"
		}
		c := tallies[kind+" "+br.what]
		if c == nil {
			c = &tally{}
			tallies[kind+" "+br.what] = c
		}
		c.runs++
		d := faultfs.New()
		for name, data := range sp.files {
			d.Put(name, data)
		}
		d.Put(br.file, br.data)
		fail := func(format string, args ...any) {
			t.Helper()
			t.Fatalf("run %d, %s of %s [%d,%d): %s", i, br.what, br.file, br.from, br.to, fmt.Sprintf(format, args...))
		}
		o, err := openOwner(d, specimenOptions)
		if err != nil {
			fail("does not start: %v", err)
		}
		if o.ID() != sp.id {
			fail("has another id")
		}
		// A cursor goes back at the most, so that something is sent again.
		for name, at := range sp.cursors {
			if got := o.Cursor(name).Offset(); got > at {
				fail("cursor %s went on from %d to %d", name, at, got)
			}
		}
		if br.file == "state" && br.what == "flip" && o.StateLost() {
			fail("the state is lost")
		}
		got := contentsFrom(t, o.Spool, 0)
		var lost []int
		for n, at := range sp.at {
			if _, here := got.batches[n]; here {
				continue
			}
			lost = append(lost, n)
			if at.file != br.file || at.from >= br.to || at.to <= br.from {
				fail("batch %d is lost, which stands in %s [%d,%d)", n, at.file, at.from, at.to)
			}
			told := false
			for _, ce := range got.damage {
				where := o.Log().Segments()
				for _, s := range where {
					if s.Name == at.file && ce.Offset < s.Base+uint64(at.to) && ce.Next > s.Base+uint64(at.from) {
						told = true
					}
				}
				if ce.Head != nil {
					if _, ns := batchesOf(ce.Head); ns[0] == n {
						c.heads++
					}
				}
			}
			// At the end of the newest file damage looks like a crash.
			if r := o.Log().Recovery(); !told && (at.file != newest(names) || r.Clean || r.CutBytes == 0 && br.what != "cut") {
				fail("batch %d is lost and nobody is told: damage %v, %+v", n, got.damage, r)
			}
		}
		c.records += len(lost)
		sum.Generated += uint64(len(sp.at))
		sum.Stored += uint64(len(sp.at) - len(lost))
		sum.Dropped["forwarder/spool_damaged"] += uint64(len(lost))
		if br.what == "flip" && len(lost) > 1 {
			fail("%d records are lost", len(lost))
		}
		for _, ce := range got.damage {
			if ce.Part == "body" { // exactly counted
				if _, ns := batchesOf(ce.Head); !slices.Contains(lost, ns[0]) {
					fail("%v, but batch %d is there", ce, ns[0])
				}
			}
			if ce.Part == "file" {
				continue // nothing to keep
			}
			if err := o.Log().Quarantine(ce); err != nil {
				fail("quarantine: %v", err)
			}
			if d.Get(fmt.Sprintf("quarantine/%016x.bad", ce.Offset)) == nil {
				fail("%v is not in quarantine", ce)
			}
			c.quarantined++
		}
		// It works on, and a second start finds the same.
		if _, err := o.take(1 << 20); err != nil {
			fail("does not go on: %v", err)
		}
		if o, err = openOwner(d.Kill(), specimenOptions); err != nil {
			fail("does not start again: %v", err)
		}
		if again := contentsFrom(t, o.Spool, 0); len(again.batches) != len(got.batches)+1 {
			fail("%d batches, then %d", len(got.batches)+1, len(again.batches))
		}
	}
	sum.Note = "counted are batches; each that is lost was told, as a damaged record or as a cut tail, and a flipped bit cost one at the most"
	sum.Print(t)
	flips := 0
	for kind, c := range tallies {
		if strings.HasSuffix(kind, "flip") {
			flips += c.runs
		}
	}
	if flips < 1000 {
		t.Errorf("%d flips", flips)
	}
	for _, kind := range []string{"segment flip", "segment zeroed", "segment cut", "state flip", "state cut", "id flip", "id cut", "lock flip", "ballast flip", "ballast cut"} {
		c := tallies[kind]
		if c == nil {
			t.Errorf("no run with %s", kind)
			continue
		}
		t.Logf("%-15s %4d runs: %3d records lost, %3d of them known by their head, %3d stretches in quarantine", kind, c.runs, c.records, c.heads, c.quarantined)
	}
}

func newest(names []string) (last string) {
	for _, n := range names {
		if strings.HasSuffix(n, ".seg") {
			last = n
		}
	}
	return last
}

// What a lock file says is for people; it keeps nobody from starting.
func TestR18DamagedLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	for _, content := range []string{"", "\x00\xff\x00", strings.Repeat("9", 5000)} {
		s, err := spool.Open(dir, withKey(specimenOptions))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Append(batch(1)); err != nil {
			t.Error(err)
		}
		if err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, "lock"), []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
