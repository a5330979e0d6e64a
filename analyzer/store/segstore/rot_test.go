package segstore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
)

// rot spoils a file's content, and says which of its bytes are not what they
// were: from is the first, to the one behind the last.
func rot(b []byte, rng *rand.Rand) (spoilt []byte, from, to int, what string) {
	b = slices.Clone(b)
	if len(b) == 0 {
		return b, 0, 0, "nothing to spoil"
	}
	at := rng.IntN(len(b))
	switch n := rng.IntN(10); {
	case n < 7:
		bit := rng.IntN(8)
		b[at] ^= 1 << bit
		return b, at, at + 1, fmt.Sprintf("flip of bit %d of byte %d", bit, at)
	case n < 9:
		const page = 4096
		from, to := at/page*page, min((at/page+1)*page, len(b))
		clear(b[from:to])
		return b, from, to, fmt.Sprintf("zeros from %d to %d", from, to)
	}
	return b[:at], at, len(b), fmt.Sprintf("cut at %d of %d", at, len(b))
}

const (
	rotFrames = 24
	rotPairs  = 4
)

// rotten is a store that was filled in a directory, with its log on a disk of
// its own when there is one, and closed.
func rotten(t *testing.T, opt segstore.Options) []*capturev1.Frame {
	t.Helper()
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	rng := rand.NewChaCha8([32]byte{1})
	var frames []*capturev1.Frame
	for n := range uint64(rotFrames) {
		pairs := storetest.Pairs(n*rotPairs, (n+1)*rotPairs)
		pairs[0].Request.Body = make([]byte, 3000)
		_, _ = rng.Read(pairs[0].GetRequest().GetBody()) // never fails
		frames = append(frames, f.Frame(pairs...))
	}
	if err := s.Append(t.Context(), f.Spool, frames[:5]); err != nil {
		t.Fatal(err)
	}
	for _, fr := range frames[5:] {
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatal(err)
		}
	}
	s.close(t)
	return frames
}

// What the log's files suffer costs the record that it hits, which is counted
// by its pairs and kept apart, and no start. The index is made anew each time,
// so that all of the log is read.
func TestR18RotOfTheLog(t *testing.T) {
	const runs = 920
	dir := t.TempDir()
	disk := faultfs.New()
	opt := segstore.Options{Dir: dir, LogFS: disk, OpenIndex: openMemory, SegmentBytes: 20_000, IndexDelay: time.Millisecond, ReadyWait: time.Minute}
	frames := rotten(t, opt)
	names, err := disk.Names()
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !strings.HasSuffix(n, ".seg") })
	if len(names) < 3 {
		t.Fatalf("only %d segments", len(names))
	}
	rng := rand.New(rand.NewPCG(18, 18))
	var hit, counted, pages int
	for run := range runs {
		name := names[rng.IntN(len(names))]
		spoilt, from, to, what := rot(disk.Get(name), rng)
		after := faultfs.New()
		for _, n := range names {
			after.Put(n, disk.Get(n))
		}
		after.Put(name, spoilt)
		opt.LogFS = after
		lost, counters, err := rotted(t, opt, frames)
		if err != nil {
			t.Fatalf("run %d, %s of %s: %v", run, what, name, err)
		}
		if lost > 0 {
			hit++
		}
		flip := to-from == 1 && len(spoilt) == len(disk.Get(name))
		switch {
		case flip && (lost > rotPairs || counters.DamagedPairs != uint64(lost)):
			t.Errorf("run %d, %s of %s: %d pairs lost, %d counted", run, what, name, lost, counters.DamagedPairs)
		case lost > 0 && counters.DamagedRecords == 0 && name != names[len(names)-1]:
			t.Errorf("run %d, %s of %s: %d pairs lost, and nobody noticed", run, what, name, lost)
		case !flip && len(spoilt) == len(disk.Get(name)):
			pages++
			// A frame is longer than a page is high: two at most lie in it.
			if lost > 3*rotPairs || counters.DamagedPairs > uint64(lost) {
				t.Errorf("run %d, %s of %s: %d pairs lost, %d counted", run, what, name, lost, counters.DamagedPairs)
			}
		}
		if flip && lost > 0 {
			counted++
			if kept := quarantined(t, after); len(kept) == 0 {
				t.Errorf("run %d, %s of %s: nothing is kept of what was damaged", run, what, name)
			}
		}
	}
	if counted < runs/3 || pages < runs/10 {
		t.Errorf("%d of %d runs lost something, %d of them by a flipped bit; %d pages: the test did not test", hit, runs, counted, pages)
	}
	t.Logf("%d runs: %d lost something", runs, hit)
}

func quarantined(t *testing.T, disk *faultfs.FS) []string {
	t.Helper()
	d, err := disk.Sub("quarantine")
	if err != nil {
		t.Fatal(err)
	}
	names, err := d.Names()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// rotted opens what is left, looks at it, and sends everything again: what the
// store no longer claims to have has to be taken. lost is what was missing
// before that.
func rotted(t *testing.T, opt segstore.Options, frames []*capturev1.Frame) (lost int, counters segstore.Counters, err error) {
	opt.Master = testMaster()
	s, err := segstore.Open(opt, slog.New(slog.DiscardHandler))
	if err != nil {
		return 0, counters, fmt.Errorf("start: %w", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		err = errors.Join(err, <-done, s.Close())
	}()
	// While an index that was found broken is made anew, one is told so.
	has := func(l store.List) (got []uint64, err error) {
		l.Limit = 1 << 20
		for end := time.Now().Add(20 * time.Second); ; {
			got, err = nil, nil
			for st, e := range s.List(ctx, l) {
				if err = e; err == nil {
					got = append(got, storetest.Number(store.ID(st.Pair.GetId())))
				}
			}
			if !errors.Is(err, store.ErrNotReady) || time.Now().After(end) {
				break
			}
		}
		if err != nil {
			return nil, fmt.Errorf("list: %w", err)
		}
		slices.Sort(got)
		if once := len(slices.Compact(slices.Clone(got))); once != len(got) {
			return nil, fmt.Errorf("%d of %d pairs are there twice", len(got)-once, once)
		}
		return got, nil
	}
	got, err := has(store.List{Whole: true})
	if err != nil {
		return 0, counters, err
	}
	counters = s.Counters()
	have := s.Have(storetest.NewForwarder(1, nil).Spool)
	if err := s.Append(ctx, storetest.NewForwarder(1, nil).Spool, frames); err != nil {
		return 0, counters, fmt.Errorf("send again: %w", err)
	}
	again, err := has(store.List{})
	if err != nil {
		return 0, counters, err
	}
	for i, f := range frames {
		claimed := f.GetNextOffset() <= have.Next || slices.ContainsFunc(have.Ranges, func(r store.OffsetRange) bool {
			return r.From <= f.GetOffset() && f.GetNextOffset() <= r.To
		})
		for n := uint64(i * rotPairs); n < uint64(i+1)*rotPairs; n++ {
			_, was := slices.BinarySearch(got, n)
			_, is := slices.BinarySearch(again, n)
			if was && !is || !claimed && !is {
				return 0, counters, fmt.Errorf("pair %d: there %v, claimed %v, and when all came again: %v", n, was, claimed, is)
			}
		}
	}
	return len(frames)*rotPairs - len(got), counters, nil
}

// Whatever else is in a data directory may suffer too: no pair is lost, and
// the index is made anew where it is of no use.
func TestR18RotOfOtherFiles(t *testing.T) {
	source := t.TempDir()
	opt := segstore.Options{Dir: source, SegmentBytes: 20_000, IndexDelay: time.Millisecond, ReadyWait: time.Minute}
	frames := rotten(t, opt)
	rng := rand.New(rand.NewPCG(18, 19))
	var files []string
	err := filepath.WalkDir(source, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) != ".seg" {
			files = append(files, strings.TrimPrefix(path, source+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(t *testing.T, file string) (dir, what string) {
		t.Helper()
		dir = t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(source, file))
		if err != nil {
			t.Fatal(err)
		}
		b, _, _, what = rot(b, rng)
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			t.Fatal(err)
		}
		return dir, what
	}
	kinds := map[string]int{}
	for _, file := range files {
		isIndex := strings.HasPrefix(file, "index/")
		runs := 10
		if isIndex {
			runs = 40 // these cost most
		}
		for run := range runs {
			dir, what := spoil(t, file)
			opt := opt
			opt.Dir, opt.OpenIndex = dir, openMemory
			if isIndex {
				opt.OpenIndex = openIndex(slog.New(slog.DiscardHandler))
			}
			lost, counters, err := rotted(t, opt, frames)
			if err != nil || lost != 0 || counters.DamagedRecords != 0 {
				t.Errorf("run %d, %s of %s: %d pairs lost, %d records damaged, %v", run, what, file, lost, counters.DamagedRecords, err)
			}
			kinds[file]++
		}
	}
	t.Logf("runs by file: %v", kinds)
	if len(kinds) < 5 {
		t.Errorf("only %d kinds of files", len(kinds))
	}
}
