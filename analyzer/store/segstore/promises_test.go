package segstore_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/faultreport"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/query"
)

// testdata/format-1 is a directory that the release before format 2 has left:
// eight batches of three pairs by one spool; then by another spool the first
// and the last of them again, a frame that cannot be opened, and a note that
// batch 9, of three pairs, was dropped because the spool was full.
func TestR33DirectoryOfFormat1(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "format-1"))); err != nil {
		t.Fatal(err)
	}
	var w witness
	opt := segstore.Options{Dir: dir, Committed: w.committed}
	s := start(t, opt)
	if id := s.ID(); id == "" || !strings.Contains(readFile(t, filepath.Join("testdata", "format-1", "META.json")), id) {
		t.Errorf("its id has become %q", id)
	}
	all := func(n uint64) {
		t.Helper()
		for _, whole := range []bool{false, true} {
			got := storetest.All(t, s, store.List{Whole: whole})
			if err := upTo(got, n); err != nil || uint64(len(got)) != n {
				t.Errorf("%d pairs, want %d: %v", len(got), n, err)
			}
		}
	}
	all(24)
	p := storetest.NewProxy(1)
	a, b := storetest.NewForwarder(1, p), storetest.NewForwarder(2, p)
	for f, want := range map[*storetest.Forwarder]uint64{a: 6676, b: 1758} {
		if h := s.Have(f.Spool); h.Next != want || len(h.Ranges) != 0 || h.Known {
			t.Errorf("have %+v, want all below %d", h, want)
		}
		f.Offset = want
	}
	var duplicates, unreadable, heads int
	for _, c := range replay(t, s, 0) {
		for _, n := range []struct {
			is    bool
			count *int
		}{{c.Duplicate, &duplicates}, {c.Unreadable, &unreadable}, {c.Head != nil, &heads}} {
			if n.is {
				*n.count++
			}
		}
	}
	if duplicates != 2 || unreadable != 1 || heads != 11 {
		t.Errorf("%d duplicates, %d unreadable, %d heads", duplicates, unreadable, heads)
	}
	// The batches that are there stay the only ones, the lost one may come.
	for n := range uint64(9) {
		if err := s.Append(t.Context(), a.Spool, []*capturev1.Frame{a.Frame(storetest.Pairs(n*3, n*3+3)...)}); err != nil {
			t.Fatal(err)
		}
	}
	all(27)
	for i, c := range w.heard() {
		if c.Duplicate != (i < 8) || c.Reclaimed != (i == 8) {
			t.Errorf("batch %d: %+v", i+1, c)
		}
	}
	if h := s.Have(a.Spool); h.Next != a.Offset || !h.Known {
		t.Errorf("have %+v", h)
	}
	s.close(t)
	s = start(t, opt)
	all(27)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A kind of delivery that goes wrong in every way: batches come by two spools,
// each in an order of its own, again and again, with declarations that they
// are lost before and after them; and now and then the process ends. Each pair
// is there once, and every batch is accounted for as what it is.
func TestR16DeliveredInAnyOrderAndAgain(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { deliveredAnyhow(t, seed) })
	}
}

func deliveredAnyhow(t *testing.T, seed uint64) {
	const batches, each = 60, 3
	rng := rand.New(rand.NewPCG(16, seed))
	disk := faultfs.New()
	dir := t.TempDir()
	var w witness
	open := func() *running {
		return start(t, segstore.Options{
			Dir: dir, LogFS: disk, SegmentBytes: 8 << 10, IndexDelay: time.Millisecond,
			OpenIndex: openMemory, Committed: w.committed,
		})
	}
	s := open()
	p := storetest.NewProxy(1)
	spools := []*storetest.Forwarder{storetest.NewForwarder(1, p), storetest.NewForwarder(2, p)}
	epoch := []byte{0: 1, 15: 0xe0}
	src := &capturev1.Source{App: "app", Epoch: epoch}
	// Each spool has some of the batches, and has declared some lost; every
	// batch is in one of them at least.
	var queues [2][]*capturev1.Frame
	whole := map[uint64]bool{}
	for n := range uint64(batches) {
		fr := spools[0].Frame(storetest.Pairs(n*each, n*each+each)...)
		other := spools[1].Again(fr)
		kept := 1 + rng.IntN(3)
		for i, f := range []*capturev1.Frame{fr, other} {
			if kept>>i&1 == 1 {
				queues[i] = append(queues[i], f)
				whole[n+1] = true
			}
		}
	}
	for i, f := range spools {
		for range 12 {
			first := 1 + rng.Uint64N(batches-8)
			run := &capturev1.LostRun{FirstBatch: first, FirstPairSeq: (first-1)*each + 1}
			for range 1 + rng.IntN(8) {
				run.Pairs = append(run.Pairs, each)
			}
			queues[i] = append(queues[i], f.Wrap(&capturev1.FrameHead{Source: src, Lost: []*capturev1.LostRun{run}, LostReason: "spool_full"}))
			seq := 1 + rng.Uint64N(batches+5) // the last five come by nobody
			queues[i] = append(queues[i], f.Wrap(&capturev1.FrameHead{
				Source: src, BatchSeq: seq, FirstPairSeq: (seq-1)*each + 1,
				Received: each, Dropped: map[string]uint32{"spool_damaged": each},
			}))
		}
	}
	var mu sync.Mutex // seeds are for one goroutine
	shuffled := func(q []*capturev1.Frame) []*capturev1.Frame {
		mu.Lock()
		defer mu.Unlock()
		q = slices.Clone(q)
		rng.Shuffle(len(q), func(i, j int) { q[i], q[j] = q[j], q[i] })
		return q
	}
	for round := range 5 {
		var wg sync.WaitGroup
		errs := make([]error, len(queues))
		for i := range queues {
			wg.Go(func() {
				for part := range slices.Chunk(shuffled(queues[i]), 1+int(seed)) {
					// Half of the acknowledgements of a round are lost.
					if err := s.Append(t.Context(), spools[i].Spool, part); err != nil {
						errs[i] = err
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if round%2 == 1 {
			s.stop()
			<-s.done
			next := disk.Kill()
			_ = s.Store.Close() // it was killed
			s.Store = nil
			disk = next
			s = open()
		}
	}
	got := storetest.All(t, s, store.List{Whole: true})
	if err := upTo(got, batches*each); err != nil || len(got) != batches*each {
		t.Errorf("%d pairs: %v", len(got), err)
	}
	if err := sameAsLog(t, s); err != nil {
		t.Error(err)
	}
	// What was told: every batch that came is counted once, and what had been
	// declared before it is taken back.
	tally := func(list []store.Commit) map[uint64]string {
		fate := map[uint64]string{}
		for _, c := range list {
			if c.Duplicate {
				continue
			}
			say := func(seq uint64, word string) {
				if before := fate[seq]; before != "" && !(c.Reclaimed && before == "lost") || c.Reclaimed && before != "lost" {
					t.Errorf("batch %d was %q, and is %q, reclaimed %v", seq, before, word, c.Reclaimed)
				}
				fate[seq] = word
			}
			for _, run := range c.Head.GetLost() {
				for i := range run.GetPairs() {
					say(run.GetFirstBatch()+uint64(i), "lost")
				}
			}
			switch {
			case c.Head.GetBatchSeq() == 0:
			case c.Head.GetPairs() == 0:
				say(c.Head.GetBatchSeq(), "lost")
			default:
				say(c.Head.GetBatchSeq(), "here")
			}
		}
		return fate
	}
	fate := tally(w.heard())
	for n := range uint64(batches) {
		if fate[n+1] != "here" {
			t.Errorf("batch %d was told to be %q", n+1, fate[n+1])
		}
	}
	if again := tally(replay(t, s, 0)); fmt.Sprint(again) != fmt.Sprint(fate) {
		t.Errorf("told again: %v, before: %v", again, fate)
	}
}

// The mark that a batch is here stands in the record that holds it: whatever
// is lost of the log takes both away or neither.
func TestR16MarkIsInTheRecord(t *testing.T) {
	disk := faultfs.New()
	dir := t.TempDir()
	opt := segstore.Options{Dir: dir, LogFS: disk, OpenIndex: openMemory}
	s := start(t, opt)
	p := storetest.NewProxy(1)
	a, b := storetest.NewForwarder(1, p), storetest.NewForwarder(2, p)
	durable := a.Frame(storetest.Pairs(0, 3)...)
	if err := s.Append(t.Context(), a.Spool, []*capturev1.Frame{durable}); err != nil {
		t.Fatal(err)
	}
	torn := a.Frame(storetest.Pairs(3, 6)...)
	disk.SetFault(func(op faultfs.Op) *faultfs.Fault {
		if op.Kind == "sync" {
			return &faultfs.Fault{Err: faultfs.ErrPower}
		}
		return nil
	})
	if err := s.Append(t.Context(), a.Spool, []*capturev1.Frame{torn}); err == nil {
		t.Fatal("the power was off, and it said that it had it")
	}
	s.stop()
	<-s.done
	opt.LogFS = disk.Crash(nil)
	_ = s.Store.Close() // the power is off
	s.Store = nil
	s = start(t, opt)
	// By the other spool: the first is a duplicate, the second is not.
	if err := s.Append(t.Context(), b.Spool, []*capturev1.Frame{b.Again(durable), b.Again(torn)}); err != nil {
		t.Fatal(err)
	}
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 6 || upTo(got, 6) != nil {
		t.Errorf("%d pairs: %v", len(got), upTo(got, 6))
	}
	if n := s.Counters().Duplicates; n != 1 {
		t.Errorf("%d duplicates", n)
	}
}

// The disk may be full for as long as it likes: what is there can be read, who
// brings more is told, and when there is room again it goes on, in the same
// process.
func TestR19DiskFull(t *testing.T) {
	disk := faultfs.New()
	s := start(t, segstore.Options{Dir: t.TempDir(), LogFS: disk, OpenIndex: openMemory, SegmentBytes: 8 << 10})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	rng := rand.New(rand.NewPCG(19, 19))
	stored := uint64(0)
	full := 0
	for range 6 {
		appendFrames(t, s, f, stored, stored+20, 4)
		stored += 20
		disk.SetCapacity(disk.Used() + rng.Int64N(5000))
		fr := f.Frame(storetest.Pairs(stored, stored+4)...)
		for {
			err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr})
			if errors.Is(err, store.ErrFull) {
				break
			}
			if err != nil {
				t.Fatalf("neither stored nor full: %v", err)
			}
			stored += 4
			fr = f.Frame(storetest.Pairs(stored, stored+4)...)
		}
		for range 5 { // and it stays so
			full++
			if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); !errors.Is(err, store.ErrFull) {
				t.Fatalf("while full: %v", err)
			}
			if h := s.Have(f.Spool); h.Next != fr.GetOffset() || len(h.Ranges) != 0 {
				t.Fatalf("while full: have %+v, want all below %d", h, fr.GetOffset())
			}
			if err := sameAsLog(t, s); err != nil {
				t.Fatalf("while full: %v", err)
			}
		}
		disk.SetCapacity(0)
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatalf("with room again: %v", err)
		}
		stored += 4
		if got := storetest.All(t, s, store.List{Whole: true}); upTo(got, stored) != nil || uint64(len(got)) != stored {
			t.Fatalf("with room again: %d pairs, want %d: %v", len(got), stored, upTo(got, stored))
		}
	}
	t.Logf("%d pairs stored, %d writes refused", stored, full)
}

// Every moment at which the power may go, or the process end, in a run of 200
// operations: what was acknowledged by then is there once, the start works, and
// what comes again fills the rest.
func TestR17EveryCrashOfATrace(t *testing.T) {
	if testMaster() != nil {
		t.Skip("the keys are not on the disk that crashes: package seglog does this with both on one")
	}
	const operations = 200
	rng := rand.New(rand.NewPCG(17, 17))
	disk := faultfs.New()
	trace := disk.Record()
	// acked is how many frames were acknowledged after so many events, removed
	// how many retention had removed.
	type promise struct {
		events, acked, removed int
	}
	var promises []promise
	var frames []*capturev1.Frame
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	dir := t.TempDir()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	open := func(dir string, fsys *faultfs.FS) *running {
		return start(t, segstore.Options{
			Dir: dir, LogFS: fsys, SegmentBytes: 6000, OpenIndex: openMemory, ReadyWait: time.Minute, IndexDelay: time.Millisecond,
			Retention: 100 * time.Hour, RetainEvery: time.Hour, Now: c.Now, Elapsed: c.Elapsed,
		})
	}
	s := open(dir, disk)
	acked, removed := 0, 0
	for op := range operations {
		switch {
		case op%40 == 39: // reopen, and let retention look
			s.close(t)
			s = open(dir, disk)
			eventually(t, "retention has looked", func() bool { return s.Retained() > 0 })
			got := storetest.Numbers(storetest.All(t, s, store.List{}))
			removed = int(slices.Min(got))
		case op%15 == 14: // seal
			c.add(13 * time.Hour)
		default:
			n := 1 + rng.IntN(2)
			var group []*capturev1.Frame
			for range n {
				at := uint64(len(frames))
				frames = append(frames, f.Frame(storetest.Pair(at)))
				group = append(group, frames[at])
			}
			if err := s.Append(t.Context(), f.Spool, group); err != nil {
				t.Fatal(err)
			}
			acked += n
		}
		promises = append(promises, promise{disk.Events(), acked, removed})
	}
	s.close(t)
	if removed == 0 || removed > len(frames)/2 {
		t.Fatalf("retention removed %d of %d frames: the test does not test", removed, len(frames))
	}
	prefixes := 0
	sum := faultreport.Line{Fault: "R17 every crash prefix of 200 operations, store"}
	for n, disks := range trace.Prefixes() {
		i, _ := slices.BinarySearchFunc(promises, n, func(p promise, n int) int {
			if p.events <= n {
				return -1
			}
			return 1
		})
		have, gone := 0, promises[min(i, len(promises)-1)].removed
		if i > 0 {
			have = promises[i-1].acked
		}
		prefixes++
		left := map[string]*faultfs.FS{"nothing unsynced": disks.Crash(nil), "some of it": disks.Crash(rng)}
		if n%4 == 0 {
			left["kill"] = disks.Kill()
		}
		for name, after := range left {
			// What follows a start takes longer than it, and is looked at for some.
			if err := afterCrash(t, after, frames, gone, have, n%16 == 0); err != nil {
				t.Fatalf("event %d, %s: %v", n, name, err)
			}
			sum.Generated += uint64(max(have-gone, 0))
			sum.Stored += uint64(max(have-gone, 0))
		}
	}
	sum.Note = fmt.Sprintf("%d disks after %d prefixes; counted are the acknowledged frames on each", 3*prefixes, prefixes)
	sum.Print(t)
	t.Logf("%d frames, %d prefixes", len(frames), prefixes)
}

// afterCrash opens a store on the disk, of which the first acked frames were
// acknowledged and the first gone ones may have been removed. With again it
// also sends all of them.
func afterCrash(t *testing.T, disk *faultfs.FS, frames []*capturev1.Frame, gone, acked int, again bool) error {
	log := slog.New(slog.DiscardHandler)
	s, err := segstore.Open(segstore.Options{
		Master: testMaster(),
		Dir:    t.TempDir(), LogFS: disk, OpenIndex: openMemory, SegmentBytes: 6000, ReadyWait: time.Minute,
	}, log)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	if again {
		go func() { done <- s.Run(ctx) }()
	} else {
		done <- nil
	}
	defer func() {
		cancel()
		<-done
		_ = s.Close()
	}()
	has := func(list []*capturev1.RRPair, frames int) error {
		var got []uint64
		for _, p := range list {
			got = append(got, storetest.Number(store.ID(p.GetId())))
		}
		slices.Sort(got)
		if once := len(slices.Compact(slices.Clone(got))); once != len(got) {
			return fmt.Errorf("%d of %d pairs are there twice", len(got)-once, once)
		}
		for n := gone; n < frames; n++ {
			if _, ok := slices.BinarySearch(got, uint64(n)); !ok {
				return fmt.Errorf("pair %d is missing: of %d there should be %d to %d", n, len(got), gone, frames)
			}
		}
		return nil
	}
	scan, err := s.Everything()
	if err != nil {
		return fmt.Errorf("scan: %w", err)
	}
	if err := has(scan, acked); err != nil || !again {
		return err
	}
	if err := s.Append(ctx, storetest.NewForwarder(1, nil).Spool, frames); err != nil {
		return fmt.Errorf("send again: %w", err)
	}
	var list []*capturev1.RRPair
	for st, err := range s.List(ctx, store.List{Limit: 1 << 20}) {
		if err != nil {
			return fmt.Errorf("list: %w", err)
		}
		list = append(list, st.Pair)
	}
	if err := has(list, len(frames)); err != nil {
		return fmt.Errorf("after all came again: %w", err)
	}
	return nil
}

// memoryIndex is an index that costs nothing to open: for tests that open many
// stores to see what becomes of their logs.
type memoryIndex struct {
	mu        sync.Mutex
	rows      []index.Row
	watermark uint64
}

func openMemory(context.Context, string, string, uint64) (index.Index, error) {
	return new(memoryIndex), nil
}

func (x *memoryIndex) Watermark() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.watermark
}

func (x *memoryIndex) Insert(_ context.Context, rows []index.Row, watermark uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rows, x.watermark = append(x.rows, rows...), watermark
	return nil
}

func (x *memoryIndex) Remove(_ context.Context, from, to uint64) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rows = slices.DeleteFunc(x.rows, func(r index.Row) bool { return r.Off >= from && r.Off < to })
	return nil
}

func (x *memoryIndex) Erase(_ context.Context, ids []store.ID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.rows = slices.DeleteFunc(x.rows, func(r index.Row) bool { return slices.Contains(ids, r.ID) })
	return nil
}

// Purge has no files to write anew.
func (x *memoryIndex) Purge(context.Context) (index.Index, error) { return x, nil }

func (x *memoryIndex) Stats(context.Context) (stats index.Stats, _ error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.rows {
		stats.Add(&x.rows[i])
	}
	return stats, nil
}

func (x *memoryIndex) Find(_ context.Context, id store.ID) (index.Row, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, r := range x.rows {
		if r.ID == id {
			return r, nil
		}
	}
	return index.Row{}, store.ErrNotFound
}

func (x *memoryIndex) Exact(*query.Query) bool { return false }

func (x *memoryIndex) Rows(_ context.Context, p index.Page) ([]index.Row, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	newest := func(a, b store.Key) int { return cmp.Or(cmp.Compare(b.Time, a.Time), bytes.Compare(b.ID[:], a.ID[:])) }
	var out []index.Row
	for _, r := range x.rows {
		if r.Time >= p.From && r.Time < p.To && r.Off < p.Below && (p.Before == nil || newest(*p.Before, r.Key()) < 0) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b index.Row) int { return newest(a.Key(), b.Key()) })
	return out[:min(len(out), p.Limit)], nil
}

func (x *memoryIndex) Count(context.Context, index.Count) (index.Counts, error) {
	return index.Counts{}, errors.ErrUnsupported // no query is exact
}

func (x *memoryIndex) Records(_ context.Context, s index.Selection) ([]index.Record, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := map[uint64]int{}
	var out []index.Record
	for _, r := range x.rows {
		if r.Time < s.From || r.Time >= s.To || r.Off >= s.Below {
			continue
		}
		i, ok := at[r.Off]
		if !ok {
			i = len(out)
			at[r.Off] = i
			out = append(out, index.Record{Off: r.Off, Oldest: r.Time, Newest: r.Time})
		}
		out[i].Oldest, out[i].Newest, out[i].Rows = min(out[i].Oldest, r.Time), max(out[i].Newest, r.Time), out[i].Rows+1
	}
	return out, nil
}

func (x *memoryIndex) Facets(context.Context, index.Facets) (*store.FacetCounts, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Endpoints(context.Context, index.Endpoints) (*store.EndpointList, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Edges(context.Context, index.Edges) (*store.EdgeList, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Errors(context.Context, index.Errors) (*index.ErrorList, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Heatmap(context.Context, index.Heatmap) (*store.HeatmapCounts, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Difference(context.Context, index.Difference) (*store.DifferenceList, error) {
	return nil, errors.ErrUnsupported
}

func (x *memoryIndex) Addresses(context.Context) (*index.Addresses, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	a := new(index.Addresses)
	for i := range x.rows {
		a.Learn(&x.rows[i])
	}
	return a, nil
}

func (x *memoryIndex) Close() error { return nil }
