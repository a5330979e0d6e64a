package segstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/query"
)

func parse(t testing.TB, src string) *query.Query {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// talk appends frames of pairs that each have words of their own: only<n>, and
// common in all. Times go back and forth between frames.
func talk(t testing.TB, s *running, f *storetest.Forwarder, from, to uint64) {
	t.Helper()
	for n := from; n < to; n += 5 {
		rng := rand.New(rand.NewPCG(n, 5))
		pairs := storetest.Pairs(n, min(n+5, to))
		for i, p := range pairs {
			p.Timing.RequestFirst += int64(rng.IntN(30)) * int64(time.Second)
			text := fmt.Sprintf("only%d common Failed-%x", n+uint64(i), rng.Uint64())
			if n%2 == 0 {
				p.Response = &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\nX-Note: " + text + "\r\n\r\n")}
			} else {
				p.Response = &capturev1.Message{Body: []byte(text), BodySize: uint64(len(text))}
			}
		}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(pairs...)}); err != nil {
			t.Fatal(err)
		}
	}
}

// sidecars waits until each segment but the last has its file, and lists them.
func sidecarsOf(t testing.TB, dir string) []string {
	t.Helper()
	var files []string
	eventually(t, "files beside all sealed segments", func() bool {
		segs, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
		if err != nil {
			t.Fatal(err)
		}
		files, err = filepath.Glob(filepath.Join(dir, "seg", "*.idx"))
		if err != nil {
			t.Fatal(err)
		}
		return len(segs) > 1 && len(files) == len(segs)-1
	})
	return files
}

func numbers(t testing.TB, s *running, l store.List) []uint64 {
	t.Helper()
	return storetest.Numbers(storetest.All(t, s, l))
}

// whatever asks, with files beside the segments or without, before and after a
// restart, the answer is the same.
func searchesAgree(t *testing.T, s *running, what string, total uint64) {
	t.Helper()
	all := storetest.All(t, s, store.List{Whole: true, Limit: 100_000})
	if len(all) != int(total) {
		t.Fatalf("%s: %d pairs, want %d", what, len(all), total)
	}
	for _, src := range []string{
		"common", "only7", "only7 common", "only3 OR only" + fmt.Sprint(total-1), "absentword", "failed*", `"common fail"`, "*ommon*",
		"body:/only[0-9]*7 /", "header.x-note:*common*", "-common", "only7 app:app", "common -only7", `body:common method:GET`,
		"only", "ommon", `header.x-note:*only12*`,
	} {
		q := parse(t, src)
		m := q.Matcher()
		var want []uint64
		for _, st := range all {
			if m.Match(st.Pair) {
				want = append(want, storetest.Numbers([]*store.Stored{st})...)
			}
		}
		for _, whole := range []bool{false, true} {
			if got := numbers(t, s, store.List{Query: q, Whole: whole, Limit: 100_000}); !slices.Equal(got, want) {
				t.Errorf("%s: %s, whole %v: %v, want %v", what, src, whole, got, want)
			}
		}
		if len(want) > 3 {
			if got := numbers(t, s, store.List{Query: q, Limit: 3}); !slices.Equal(got, want[:3]) {
				t.Errorf("%s: %s, first three: %v, want %v", what, src, got, want[:3])
			}
			mid := all[len(all)/2]
			key := store.Key{Time: store.Time(mid.Pair), ID: store.ID(mid.Pair.GetId())}
			older := want[slices.IndexFunc(append(want, 0), func(n uint64) bool {
				i := slices.IndexFunc(all, func(st *store.Stored) bool { return storetest.Numbers([]*store.Stored{st})[0] == n })
				return i > len(all)/2 || i < 0
			}):]
			if got := numbers(t, s, store.List{Query: q, Before: &key, Limit: 100_000}); !slices.Equal(got, older) {
				t.Errorf("%s: %s, second half: %v, want %v", what, src, got, older)
			}
		}
		h, err := s.Histogram(t.Context(), store.Histogram{Query: q, Buckets: 3})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range h.Counts {
			for _, k := range c {
				n += int(k)
			}
		}
		if n != len(want) || h.Partial {
			t.Errorf("%s: %s: histogram counts %d, want %d", what, src, n, len(want))
		}
		var scanned []uint64
		last := uint64(0)
		for st, err := range s.Scan(t.Context(), store.Scan{Selection: store.Selection{Query: q}}) {
			if err != nil {
				t.Fatalf("%s: %s: scan: %v", what, src, err)
			}
			if st.Seq <= last {
				t.Errorf("%s: %s: scan goes back from %d to %d", what, src, last, st.Seq)
			}
			last = st.Seq
			scanned = append(scanned, storetest.Numbers([]*store.Stored{st})...)
		}
		slices.Sort(scanned)
		slices.Sort(want)
		if !slices.Equal(scanned, want) {
			t.Errorf("%s: %s: scan gives %v, want %v", what, src, scanned, want)
		}
		f, err := s.Facets(t.Context(), store.Facets{Selection: store.Selection{Query: q}, Fields: []string{"app"}})
		if err != nil || f.Pairs != uint64(len(want)) || f.Partial != nil {
			t.Errorf("%s: %s: facets %+v, %v, want %d pairs", what, src, f, err, len(want))
		}
		if e, err := s.Endpoints(t.Context(), store.Endpoints{Selection: store.Selection{Query: q}}); err != nil || e.Partial != nil {
			t.Errorf("%s: %s: endpoints %+v, %v", what, src, e, err)
		}
		if e, err := s.Edges(t.Context(), store.Edges{Selection: store.Selection{Query: q}}); err != nil || e.Partial != nil {
			t.Errorf("%s: %s: edges %+v, %v", what, src, e, err)
		}
	}
}

func TestR18SidecarsFlippedAndDeleted(t *testing.T) {
	const total = 200
	dir := t.TempDir()
	opt := segstore.Options{Dir: dir, SegmentBytes: 6000, CacheBytes: 1}
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	talk(t, s, f, 0, total/2)
	searchesAgree(t, s, "new", total/2)
	talk(t, s, f, total/2, total)
	files := sidecarsOf(t, dir)
	searchesAgree(t, s, "with files", total)
	// Made useless while the store runs.
	for i, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b[(i*97)%len(b)] ^= 1
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	searchesAgree(t, s, "flipped", total)
	s.close(t)

	s = start(t, opt)
	searchesAgree(t, s, "flipped, and opened again", total)
	sidecarsOf(t, dir)
	s.close(t)
	for _, file := range files {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	s = start(t, opt)
	searchesAgree(t, s, "deleted", total)
	if again := sidecarsOf(t, dir); !slices.Equal(again, files) {
		t.Errorf("made again: %v, were %v", again, files)
	}
	searchesAgree(t, s, "made again", total)
}

// counting counts the bytes and calls that read what has a suffix.
type counting struct {
	vfs.FS
	suffix string
	reads  *atomic.Int64
}

type countingFile struct {
	vfs.File
	reads *atomic.Int64
}

func (c counting) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, c.suffix) {
		return f, err
	}
	return countingFile{f, c.reads}, nil
}

func (f countingFile) ReadAt(b []byte, off int64) (int, error) {
	f.reads.Add(1)
	return f.File.ReadAt(b, off)
}

// Opening reads a header of each sealed segment and nothing else of it; a word
// that is nowhere is looked for without reading any record of them.
func TestReadsOfOpeningAndSearching(t *testing.T) {
	dir := t.TempDir()
	opt := segstore.Options{Dir: dir, SegmentBytes: 6000}
	s := start(t, opt)
	talk(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, 300)
	files := sidecarsOf(t, dir)
	eventually(t, "indexed", func() bool { return s.Counters().Backlog == 0 })
	s.close(t)
	d, err := vfs.Dir(filepath.Join(dir, "seg"))
	if err != nil {
		t.Fatal(err)
	}
	var reads, sidecarReads atomic.Int64
	segs, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	newest := filepath.Base(segs[len(segs)-1])
	opt.LogFS = counting{counting{sealedOnly{d, newest, &reads}, ".idx", &sidecarReads}, "none", &reads}
	s = start(t, opt)
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	sidecarsOf(t, dir)
	if got := reads.Load(); got > int64(len(files)) {
		t.Errorf("opening reads %d times from %d sealed segments", got, len(files))
	}
	if got := sidecarReads.Load(); got > int64(2*len(files)) {
		t.Errorf("opening reads %d times from %d files beside them", got, len(files))
	}
	reads.Store(0)
	if got := numbers(t, s, store.List{Query: parse(t, "nowherewhatever")}); len(got) > 0 {
		t.Errorf("found %v", got)
	}
	if got := reads.Load(); got > 6 {
		t.Errorf("a word that is nowhere costs %d reads of sealed segments", got)
	}
	if got := numbers(t, s, store.List{Query: parse(t, "only12")}); !slices.Equal(got, []uint64{12}) {
		t.Errorf("found %v", got)
	}
	if got := reads.Load(); got > 20 {
		t.Errorf("one word costs %d reads of sealed segments", got)
	}
}

// sealedOnly counts reads of segments but the newest.
type sealedOnly struct {
	vfs.FS
	newest string
	reads  *atomic.Int64
}

func (c sealedOnly) OpenFile(name string, flag int, perm fs.FileMode) (vfs.File, error) {
	f, err := c.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.HasSuffix(name, ".seg") || name == c.newest {
		return f, err
	}
	return countingFile{f, c.reads}, nil
}

// What a budget leaves is found from where it ended, nothing twice, and how far
// it got is told.
func TestSearchGoesOnFromItsBudget(t *testing.T) {
	const total = 200
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir, SegmentBytes: 6000, CacheBytes: 1})
	talk(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, total)
	sidecarsOf(t, dir)
	want := numbers(t, s, store.List{Query: parse(t, "*ommon*"), Limit: 1000})
	if len(want) != total {
		t.Fatalf("%d pairs", len(want))
	}
	var got []uint64
	var before *store.Key
	pages := 0
	for done := false; !done; pages++ {
		var told store.Progress
		var partial *store.PartialError
		l := store.List{
			Query: parse(t, "*ommon*"), Limit: 1000, Before: before, ScanBudget: 20 << 10,
			Progress: func(p store.Progress) {
				if p.Scanned < told.Scanned || p.Scanned > p.Of || told.Of != 0 && p.Of != told.Of {
					t.Errorf("progress from %+v to %+v", told, p)
				}
				told = p
			},
		}
		done = true
		for st, err := range s.List(t.Context(), l) {
			if errors.As(err, &partial) {
				done, before = false, partial.Reached
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, storetest.Numbers([]*store.Stored{st})...)
		}
		switch {
		case told.Of == 0 || done && told.Scanned != told.Of || !done && told.Scanned == told.Of:
			t.Errorf("page %d, done %v: %+v", pages, done, told)
		case !done && !strings.Contains(partial.Reason, "scanned "):
			t.Errorf("partial: %s", partial.Reason)
		case pages > total:
			t.Fatal("it gets no further")
		}
	}
	if !slices.Equal(got, want) || pages < 3 {
		t.Errorf("%d pages give %v, want %v", pages, got, want)
	}
}

// TestR38ManySearches: 50 searches that look into everything, while frames keep
// coming, take turns; ingest goes on, and what is cancelled ends.
func TestR38ManySearches(t *testing.T) {
	s := start(t, segstore.Options{Dir: t.TempDir(), SegmentBytes: 4 << 20, CacheBytes: 1})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	n := uint64(0)
	for range 150 {
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fullFrame(f, n)}); err != nil {
			t.Fatal(err)
		}
		n++
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	q := parse(t, "body:/(an|the) item of [a-z]+ length.{0,40}absent/")
	var ended sync.WaitGroup
	var began atomic.Int64
	errs := make(chan error, 50)
	for range 50 {
		ended.Go(func() {
			var last error
			for ctx.Err() == nil && last == nil {
				first := true
				l := store.List{Query: q, Limit: 10, ScanBudget: 1 << 40, Progress: func(store.Progress) {
					if first {
						first = false
						began.Add(1)
					}
				}}
				for _, err := range s.List(ctx, l) {
					last = err
				}
			}
			errs <- last
		})
	}
	// They take turns; to wait for all of them takes long on a busy machine.
	eventually(t, "they get on", func() bool { return began.Load() >= 15 })
	var slowest time.Duration
	for range 20 {
		fr := fullFrame(f, n)
		n++
		started := time.Now()
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatal(err)
		}
		slowest = max(slowest, time.Since(started))
	}
	if slowest > 2*time.Second {
		t.Errorf("an append took %v", slowest)
	}
	started := time.Now()
	cancel()
	ended.Wait()
	if took := time.Since(started); took > 200*time.Millisecond {
		t.Errorf("they ended %v after they were cancelled", took)
	}
	close(errs)
	for err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("a search ended with %v", err)
		}
	}
	t.Logf("the slowest append took %v", slowest)
}
