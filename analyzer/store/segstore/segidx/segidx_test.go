package segidx_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

const (
	base = 1000
	name = "00000000000003e8.seg"
)

// pairOf is a pair with a text in one of the places where words are looked for.
func pairOf(place int, text string) *capturev1.RRPair {
	p := &capturev1.RRPair{Id: []byte{byte(place), 15: 0}, Request: &capturev1.Message{}, Response: &capturev1.Message{}, Timing: &capturev1.Timing{RequestFirst: int64(place) + 1}}
	switch place % 6 {
	case 0:
		p.Path = "/" + text
	case 1:
		p.Query = "q=" + text
	case 2:
		p.Request.Head = []byte("GET / HTTP/1.1\r\nX-A: " + text + "\r\n\r\n")
	case 3:
		p.Response.Trailers = []byte("X-A: " + text + "\r\n")
	case 4:
		p.Request.Body = []byte(text)
	case 5:
		body, err := querytest.Encode("gzip", []byte(text))
		if err != nil {
			panic(err)
		}
		p.Response.Head = []byte("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
		p.Response.Body = body
	}
	return p
}

// entries makes one frame of each group of pairs.
func entries(groups ...[]*capturev1.RRPair) []segidx.Entry {
	var c segidx.Collector
	list := make([]segidx.Entry, len(groups))
	off := uint64(base + 100)
	for i, pairs := range groups {
		e := &list[i]
		e.Off, e.Next = off, off+uint64(50+i)
		e.Rows, e.Raw = uint32(len(pairs)), uint32(1000+i)
		for j, p := range pairs {
			if t := store.Time(p); j == 0 {
				e.TimeMin, e.TimeMax = t, t
			} else {
				e.TimeMin, e.TimeMax = min(e.TimeMin, t), max(e.TimeMax, t)
			}
		}
		e.Bloom, e.Encoded = c.Collect(pairs, nil)
		off = e.Next + uint64(i%3)
	}
	return list
}

func end(list []segidx.Entry) uint64 {
	if len(list) == 0 {
		return base + 64
	}
	return list[len(list)-1].Next + 7
}

func write(t testing.TB, list []segidx.Entry) *faultfs.FS {
	t.Helper()
	d := faultfs.New()
	size, err := segidx.Write(d, name, base, end(list), list, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(d.Get(segidx.Name(name))); int64(got) != size {
		t.Fatalf("wrote %d bytes, said %d", got, size)
	}
	return d
}

func open(t testing.TB, d *faultfs.FS, list []segidx.Entry) *segidx.File {
	t.Helper()
	x, err := segidx.Open(d, name, base, end(list), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func needs(t testing.TB, src string) *query.Need {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return q.Needs()
}

// which are the numbers of the frames that may have what is needed, as the
// file says; it must say the same of each as its bloom does.
func which(t testing.TB, x *segidx.File, list []segidx.Entry, n *query.Need) (out []int) {
	t.Helper()
	frames, err := x.Directory()
	if err != nil {
		t.Fatal(err)
	}
	c, err := x.Candidates(n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range frames {
		if c.Has(&frames[i]) != list[i].Bloom.May(n) {
			t.Errorf("frame %d: the file says %v, its words %v", i, c.Has(&frames[i]), list[i].Bloom.May(n))
		}
		if c.Has(&frames[i]) {
			out = append(out, i)
		}
	}
	return out
}

func TestRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, count := range []int{0, 1, 8, 9, 100} {
		var groups [][]*capturev1.RRPair
		for i := range count {
			var pairs []*capturev1.RRPair
			for j := range 1 + rng.IntN(4) {
				words := fmt.Sprintf("Only%d with%d", i, j)
				for range rng.IntN(200) {
					words += fmt.Sprintf(" w%x", rng.Uint64())
				}
				pairs = append(pairs, pairOf(i*10+j, words))
			}
			groups = append(groups, pairs)
		}
		list := entries(groups...)
		x := open(t, write(t, list), list)
		frames, err := x.Check()
		if err != nil || len(frames) != count {
			t.Fatalf("%d frames of %d, %v", len(frames), count, err)
		}
		for i, f := range frames {
			want := list[i].Frame
			if f.Off != want.Off || f.Next != want.Next || f.Rows != want.Rows || f.Raw != want.Raw ||
				f.TimeMin != want.TimeMin || f.TimeMax != want.TimeMax || f.Encoded != want.Encoded {
				t.Errorf("frame %d is %+v, was %+v", i, f, want)
			}
		}
		if s := x.Segment(); s.Frames != count || s.Base != base || s.End != end(list) {
			t.Errorf("of %d frames it says %+v", count, s)
		}
		wrong, asked := 0, 0
		for i := 0; i < count; i += 1 + count/20 {
			asked++
			got := which(t, x, list, needs(t, fmt.Sprintf("only%d", i)))
			if !slices.Contains(got, i) {
				t.Errorf("frame %d of %d is ruled out", i, count)
			}
			wrong += len(got) - 1
		}
		if wrong > 2+count*asked/30 {
			t.Errorf("%d frames: %d looks in vain for %d words", count, wrong, asked)
		}
		if got := which(t, x, list, nil); len(got) != count {
			t.Errorf("without a need, %d of %d frames are left", len(got), count)
		}
		if got := which(t, x, list, needs(t, "-*")); len(got) != 0 {
			t.Errorf("of what is never there, %d of %d frames are left", len(got), count)
		}
		if count > 2 {
			got := which(t, x, list, needs(t, `only1 OR (only2 AND with0)`))
			if !slices.Contains(got, 1) || !slices.Contains(got, 2) || len(got) > 4+count/10 {
				t.Errorf("one or two: %v of %d", got, count)
			}
		}
	}
}

// No file, and files of other records.
func TestUseless(t *testing.T) {
	list := entries([]*capturev1.RRPair{pairOf(0, "x")})
	d := write(t, list)
	if _, err := segidx.Open(d, "0000000000000001.seg", base, end(list), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of another segment: %v", err)
	}
	if _, err := segidx.Open(d, name, base, end(list)+1, nil); !errors.Is(err, segidx.ErrUseless) {
		t.Errorf("of a segment that has more: %v", err)
	}
	if _, err := segidx.Open(d, name, base-1, end(list), nil); !errors.Is(err, segidx.ErrUseless) {
		t.Errorf("of a segment that began elsewhere: %v", err)
	}
}

// A frame with more words than are told apart, and one whose one word is long.
func TestLongTexts(t *testing.T) {
	var b strings.Builder
	for i := range 1<<20 + 300 {
		fmt.Fprintf(&b, "%x ", i)
	}
	long := strings.Repeat("x", 300_000)
	list := entries(
		[]*capturev1.RRPair{pairOf(4, b.String())},
		[]*capturev1.RRPair{pairOf(4, "before "+long+" after")},
		[]*capturev1.RRPair{pairOf(4, strings.Repeat("a ", 40_000)+"last")},
	)
	x := open(t, write(t, list), list)
	for src, want := range map[string][]int{
		"anything": {0}, "after": {0, 1}, long[:1000]: {0}, "last": {0, 2}, "a": {0, 1, 2}, "xxx": {0},
	} {
		if got := which(t, x, list, needs(t, src)); !slices.Equal(got, want) {
			t.Errorf("%.20s: %v, want %v", src, got, want)
		}
	}
	c, err := x.Candidates(&query.Need{Text: long, Words: []string{long}})
	if err != nil {
		t.Fatal(err)
	}
	frames, err := x.Directory()
	if err != nil || !c.Has(&frames[1]) || c.Has(&frames[2]) {
		t.Errorf("the long word: %v %v, %v", c.Has(&frames[1]), c.Has(&frames[2]), err)
	}
}

// TestNeverRulesOutAMatch: a frame in which the matcher finds something is one
// of those that may have it.
func TestNeverRulesOutAMatch(t *testing.T) {
	var c segidx.Collector
	check := func(t interface{ Errorf(string, ...any) }, q *query.Query, pairs []*capturev1.RRPair) (spared bool) {
		b, encoded := c.Collect(pairs, nil)
		m := q.Matcher()
		for _, p := range pairs {
			if m.Match(p) && !b.May(q.Needs()) {
				t.Errorf("%s matches a pair of a frame that is ruled out", q)
			}
			if (query.IsEncoded(p.GetRequest()) || query.IsEncoded(p.GetResponse())) && !encoded {
				t.Errorf("a frame with an encoded body is not told to have one")
			}
		}
		return !b.May(q.Needs())
	}
	rapid.Check(t, func(t *rapid.T) {
		q, err := query.Parse(querytest.QueryText().Draw(t, "query"))
		if err != nil {
			t.Skip(err)
		}
		check(t, q, rapid.SliceOfN(querytest.RandomPair(), 1, 5).Draw(t, "pairs"))
	})
	spared := 0
	for _, qc := range querytest.Cases(t) {
		q, err := query.Parse(qc.Query)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range querytest.Pairs(t) {
			if check(t, q, []*capturev1.RRPair{p.RRPair}) {
				spared++
			}
		}
	}
	if spared < 500 {
		t.Errorf("%d looks at pairs were spared: the test proves little", spared)
	}
}

func small() []segidx.Entry {
	var groups [][]*capturev1.RRPair
	for i := range 12 {
		groups = append(groups, []*capturev1.RRPair{pairOf(i, fmt.Sprintf("only%d common", i)), pairOf(i+1, "more")})
	}
	return entries(groups...)
}

// Whichever bit flips, wherever the file ends: every answer that is given is
// right, and something says that the file is damaged.
func TestR18DamageIsNoticed(t *testing.T) {
	list := small()
	d := write(t, list)
	whole := d.Get(segidx.Name(name))
	need := needs(t, "only3")
	var want []int
	{
		x := open(t, d, list)
		want = which(t, x, list, need)
	}
	check := func(what string, b []byte) {
		d.Put(segidx.Name(name), b)
		x, err := segidx.Open(d, name, base, end(list), nil)
		if err != nil {
			if !errors.Is(err, segidx.ErrUseless) {
				t.Errorf("%s: open: %v", what, err)
			}
			return
		}
		defer x.Close()
		frames, err := x.Directory()
		if err == nil {
			var c *segidx.Candidates
			if c, err = x.Candidates(need); err == nil {
				var got []int
				for i := range frames {
					if c.Has(&frames[i]) {
						got = append(got, i)
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: candidates %v, want %v", what, got, want)
				}
			}
		}
		if err != nil && !errors.Is(err, segidx.ErrUseless) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := x.Check(); !errors.Is(err, segidx.ErrUseless) {
			t.Errorf("%s: nobody notices: %v", what, err)
		}
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 1 << (at % 8)
		check(fmt.Sprintf("bit %d of byte %d", at%8, at), b)
	}
	for n := 0; n < len(whole); n += 1 + n/10 {
		check(fmt.Sprintf("cut at %d", n), whole[:n])
		b := bytes.Clone(whole)
		clear(b[n:min(n+512, len(b))])
		if !bytes.Equal(b, whole) {
			check(fmt.Sprintf("512 bytes of zeros at %d", n), b)
		}
	}
	check("longer", append(bytes.Clone(whole), 0))
}

// Each failing call of the disk leaves the file that was there, or none.
func TestWriteFails(t *testing.T) {
	list := small()
	for _, kind := range []string{"create", "write", "truncate", "sync", "rename"} {
		d := faultfs.New()
		d.SetFault(func(op faultfs.Op) *faultfs.Fault {
			if op.Kind == kind {
				return &faultfs.Fault{Err: errors.New("broken")}
			}
			return nil
		})
		if _, err := segidx.Write(d, name, base, end(list), list, nil); err == nil {
			t.Errorf("%s fails, and nobody says so", kind)
		}
		if names, err := d.Names(); err != nil || len(names) > 0 {
			t.Errorf("%s fails, and leaves %v, %v", kind, names, err)
		}
	}
}

var update = flag.Bool("update", false, "write the golden file again")

// The format does not change unnoticed. A file of version 3 that was written
// once is read, and written again byte for byte.
func TestGolden(t *testing.T) {
	const golden = "testdata/v3.idx"
	list := small()
	d := write(t, list)
	got := d.Get(segidx.Name(name))
	if *update {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("what is written differs from %s: %d bytes, %d there", golden, len(got), len(want))
	}
	d.Put(segidx.Name(name), want)
	x := open(t, d, list)
	if _, err := x.Check(); err != nil {
		t.Error(err)
	}
	if got := which(t, x, list, needs(t, "only3")); !slices.Equal(got, []int{3}) {
		t.Errorf("only3 is in %v", got)
	}
}

func FuzzOpen(f *testing.F) {
	list := small()
	d := write(f, list)
	f.Add(d.Get(segidx.Name(name)))
	f.Add([]byte("WEIRIDX\n"))
	need := needs(f, `only3 OR (common more)`)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := faultfs.New()
		d.Put(segidx.Name(name), b)
		x, err := segidx.Open(d, name, base, end(list), nil)
		if err != nil {
			return
		}
		defer x.Close()
		frames, err := x.Directory()
		if err != nil {
			return
		}
		c, err := x.Candidates(need)
		if err != nil {
			return
		}
		last := uint64(base)
		for i := range frames {
			c.Has(&frames[i])
			if frames[i].Off < last || frames[i].Next < frames[i].Off || frames[i].Next > end(list) {
				t.Errorf("frame %d at %d to %d", i, frames[i].Off, frames[i].Next)
			}
			last = frames[i].Next
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 1))
	var pairs []*capturev1.RRPair
	bytes := 0
	for range 64 {
		var s strings.Builder
		for s.Len() < 4000 {
			fmt.Fprintf(&s, `"field%d":"value-%x",`, rng.IntN(50), rng.Uint32())
		}
		bytes += s.Len()
		pairs = append(pairs, pairOf(4, s.String()))
	}
	b.SetBytes(int64(bytes))
	var c segidx.Collector
	for b.Loop() {
		c.Collect(pairs, nil)
	}
}
