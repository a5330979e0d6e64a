package segstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs/faultfs"
	"github.com/weir-capture/weir/query"
)

// upTo says that list has the pairs 0 to n-1, and nothing twice. What was not
// acknowledged may be there too.
func upTo(list []*store.Stored, n uint64) error {
	got := storetest.Numbers(list)
	slices.Sort(got)
	if once := slices.Compact(slices.Clone(got)); len(once) != len(got) {
		return fmt.Errorf("%d of %d pairs are there twice", len(got)-len(once), len(once))
	}
	for i := range n {
		if i >= uint64(len(got)) || got[i] != i {
			return fmt.Errorf("pair %d is missing (%d are there, %d should)", i, len(got), n)
		}
	}
	return nil
}

func TestR14SecondProcess(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir})
	_, err := segstore.Open(segstore.Options{Dir: dir, Master: testMaster(), OpenIndex: openIndex(testLog(t))}, testLog(t))
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second: %v", err)
	}
	appendFrames(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, 10, 5)
	s.close(t)
	start(t, segstore.Options{Dir: dir})
}

// A directory of a later release is left alone, and the refusal says why.
func TestOtherFormat(t *testing.T) {
	dir := t.TempDir()
	start(t, segstore.Options{Dir: dir}).close(t)
	b := segstore.EncodeMeta(3, "segstore", "0197a000-0000-7000-8000-000000000000")
	for _, name := range []string{"META.json", "META.copy.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := segstore.Open(segstore.Options{Dir: dir, Master: testMaster(), OpenIndex: openIndex(testLog(t))}, testLog(t))
	if err == nil || !strings.Contains(err.Error(), `format 3 of "segstore"`) {
		t.Errorf("opened with %v", err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "META.json")); err != nil || !bytes.Equal(got, b) {
		t.Errorf("it has become %q, %v", got, err)
	}
}

// Either of the two files that say which store this is may be damaged or gone;
// with both, all but the name is there.
func TestDamagedMeta(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 10, 5)
	id := s.ID()
	s.close(t)
	for _, names := range [][]string{{"META.json"}, {"META.copy.json"}, {"META.json", "META.copy.json"}} {
		for _, spoilt := range []string{"{}", "", "not json", "absent"} {
			for _, name := range names {
				err := os.WriteFile(filepath.Join(dir, name), []byte(spoilt), 0o600)
				if spoilt == "absent" {
					err = os.Remove(filepath.Join(dir, name))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			s := start(t, segstore.Options{Dir: dir})
			if (s.ID() == id) != (len(names) == 1) {
				t.Errorf("%v %q: id %s, was %s", names, spoilt, s.ID(), id)
			}
			id = s.ID()
			if err := upTo(storetest.All(t, s, store.List{Whole: true}), 10); err != nil {
				t.Errorf("%v %q: %v", names, spoilt, err)
			}
			s.close(t)
			if kept, err := os.ReadFile(filepath.Join(dir, names[0]+".damaged")); spoilt != "absent" && (err != nil || string(kept) != spoilt) {
				t.Errorf("%v %q: kept %q, %v", names, spoilt, kept, err)
			}
		}
	}
}

// The log may be cut anywhere within its last record: it is gone as if it had
// never been, and is taken when it comes again.
func TestTornTail(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 30, 10)
	last := f.Frame(storetest.Pairs(30, 40)...)
	s.close(t)
	files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	before, err := os.ReadFile(files[len(files)-1])
	if err != nil {
		t.Fatal(err)
	}
	s = start(t, segstore.Options{Dir: dir})
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{last}); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	all, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	file := all[len(all)-1]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	from := len(before)
	if file != files[len(files)-1] {
		from = 200
	}
	for n := from; n < len(whole)-100; n += 97 {
		if err := os.WriteFile(file, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, segstore.Options{Dir: dir})
		if err := upTo(storetest.All(t, s, store.List{Whole: true}), 30); err != nil {
			t.Errorf("cut at %d: %v", n, err)
		}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{last}); err != nil {
			t.Errorf("cut at %d: %v", n, err)
		}
		if err := upTo(storetest.All(t, s, store.List{Whole: true}), 40); err != nil {
			t.Errorf("cut at %d: sent again: %v", n, err)
		}
		s.close(t)
		// Whatever the round added goes.
		for _, added := range []string{"*"} {
			names, err := filepath.Glob(filepath.Join(dir, "seg", added+".seg"))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if !slices.Contains(all, name) {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// Power may go at any time: what was acknowledged is there, once.
func TestPowerLoss(t *testing.T) {
	for _, seed := range []uint64{5, 12} { // these found mistakes once
		t.Run(fmt.Sprint(seed), func(t *testing.T) { powerLoss(t, seed) })
	}
}

func powerLoss(t *testing.T, seed uint64) {
	const rounds = 25
	rng := rand.New(rand.NewPCG(7, seed))
	dir := t.TempDir()
	disk := faultfs.New()
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	var frames []*capturev1.Frame
	for n := range uint64(400) {
		frames = append(frames, f.Frame(storetest.Pairs(n*3, n*3+3)...))
	}
	acked := 0
	for range rounds {
		s := start(t, segstore.Options{Dir: dir, LogFS: disk, SegmentBytes: 20_000, IndexDelay: time.Millisecond})
		if err := upTo(storetest.All(t, s, store.List{}), uint64(acked)*3); err != nil {
			t.Fatal(err)
		}
		next := s.Have(f.Spool).Next
		i, _ := slices.BinarySearchFunc(frames, next, func(f *capturev1.Frame, off uint64) int {
			return int(int64(f.GetOffset()) - int64(off))
		})
		if i < acked {
			t.Fatalf("%d frames were acknowledged, %d are there", acked, i)
		}
		acked = i
		// The power goes in one of the next calls that change the disk.
		left := int64(rng.IntN(40))
		disk.SetFault(func(faultfs.Op) *faultfs.Fault {
			if left--; left < 0 {
				return &faultfs.Fault{Err: faultfs.ErrPower, Short: rng.IntN(3000)}
			}
			return nil
		})
		for acked < len(frames) {
			n := min(1+rng.IntN(3), len(frames)-acked)
			if err := s.Append(t.Context(), f.Spool, frames[acked:acked+n]); err != nil {
				break
			}
			acked += n
		}
		s.stop()
		<-s.done
		next2 := disk.Crash(rng)
		disk.SetFault(nil)
		_ = s.Store.Close() // the power is off; what it says does not count
		s.Store = nil
		disk = next2
	}
	if acked < 20 {
		t.Errorf("only %d frames came through: the test did not test", acked)
	}
	// What was lost and not acknowledged comes again, and all is there.
	s := start(t, segstore.Options{Dir: dir, LogFS: disk})
	for _, fr := range frames {
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatal(err)
		}
	}
	for _, whole := range []bool{false, true} {
		got := storetest.All(t, s, store.List{Whole: whole})
		if err := upTo(got, uint64(len(frames))*3); err != nil {
			t.Error(err)
		}
	}
}

func TestDiskFull(t *testing.T) {
	disk := faultfs.New()
	s := start(t, segstore.Options{Dir: t.TempDir(), LogFS: disk})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 50, 5)
	disk.SetCapacity(disk.Used() + 3000)
	var fr *capturev1.Frame
	n := uint64(50)
	for ; ; n += 5 {
		fr = f.Frame(storetest.Pairs(n, n+5)...)
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			if !errors.Is(err, store.ErrFull) {
				t.Fatal(err)
			}
			break
		}
	}
	if err := upTo(storetest.All(t, s, store.List{Whole: true}), n); err != nil {
		t.Errorf("while full: %v", err)
	}
	if next := s.Have(f.Spool).Next; next != fr.GetOffset() {
		t.Errorf("while full: next %d, want %d", next, fr.GetOffset())
	}
	disk.SetCapacity(1 << 30)
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := upTo(storetest.All(t, s, store.List{Whole: true}), n+5); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// flaky is an index that can be told to fail.
type flaky struct {
	index.Index
	insert, rows *atomic.Pointer[error]
}

func (x flaky) Insert(ctx context.Context, rows []index.Row, watermark uint64) error {
	if err := x.insert.Load(); err != nil {
		return *err
	}
	return x.Index.Insert(ctx, rows, watermark)
}

func (x flaky) Rows(ctx context.Context, p index.Page) ([]index.Row, error) {
	if err := x.rows.Swap(nil); err != nil {
		return nil, *err
	}
	return x.Index.Rows(ctx, p)
}

func TestIndexThatFails(t *testing.T) {
	var insert, rows atomic.Pointer[error]
	var opened atomic.Int64
	open := openIndex(testLog(t))
	s := start(t, segstore.Options{
		Dir: t.TempDir(), IndexDelay: time.Millisecond, Backlog: 64 << 10,
		OpenIndex: func(ctx context.Context, dir, id string, end uint64) (index.Index, error) {
			opened.Add(1)
			x, err := open(ctx, dir, id, end)
			return flaky{x, &insert, &rows}, err
		},
	})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 60, 6)

	// It takes no rows for a while: what is new stays visible, and when there
	// is too much of it whoever writes waits.
	full := errors.New("no space left on device")
	insert.Store(&full)
	n := uint64(60)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		f2 := *f
		fr := f2.Frame(storetest.Pairs(n, n+6)...)
		err := s.Append(ctx, f.Spool, []*capturev1.Frame{fr})
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			insert.Store(nil)
			if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
				t.Fatal(err)
			}
			f.Offset = f2.Offset
			n += 6
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Offset = f2.Offset
		n += 6
		if err := upTo(storetest.All(t, s, store.List{}), n); err != nil {
			t.Fatal(err)
		}
		if n > 10_000 {
			t.Fatal("nobody waits")
		}
	}
	if err := upTo(storetest.All(t, s, store.List{}), n); err != nil {
		t.Error(err)
	}

	// It breaks while it is read: a new one is made, with the same answers.
	before := opened.Load()
	broken := fmt.Errorf("%w: for the test", index.ErrBroken)
	rows.Store(&broken)
	for range 2 {
		for _, err := range s.List(t.Context(), store.List{Limit: 10}) {
			if err != nil && !errors.Is(err, store.ErrNotReady) {
				t.Errorf("while it is made: %v", err)
			}
		}
	}
	eventually(t, "a new index", func() bool { return opened.Load() > before && s.Ready() == nil })
	if err := upTo(storetest.All(t, s, store.List{}), n); err != nil {
		t.Error(err)
	}
	// And while it is written.
	before = opened.Load()
	insert.Store(&broken)
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(storetest.Pairs(n, n+6)...)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the index is opened again", func() bool { return opened.Load() > before })
	insert.Store(nil)
	eventually(t, "a new index", func() bool { return s.Ready() == nil })
	if err := upTo(storetest.All(t, s, store.List{}), n+6); err != nil {
		t.Error(err)
	}
}

// While the index is being made readers are told so, and writers wait.
// Records of which the filters left nothing wait for the index like others, and
// so do those who bring them when the index takes nothing.
func TestIndexThatFailsWhileNothingIsLeft(t *testing.T) {
	var insert, rows atomic.Pointer[error]
	open := openIndex(testLog(t))
	s := start(t, segstore.Options{
		Dir: t.TempDir(), IndexDelay: time.Millisecond, Backlog: 64 << 10,
		OpenIndex: func(ctx context.Context, dir, id string, end uint64) (index.Index, error) {
			x, err := open(ctx, dir, id, end)
			return flaky{x, &insert, &rows}, err
		},
	})
	eventually(t, "ready", func() bool { return s.Ready() == nil })
	full := errors.New("no space left on device")
	insert.Store(&full)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	var last *capturev1.Frame
	for waits := false; !waits; {
		if s.Counters().Frames > 20_000 {
			t.Fatal("nobody waits for the index")
		}
		var frames []*capturev1.Frame
		for range 100 {
			last = f.Wrap(&capturev1.FrameHead{
				Source: &capturev1.Source{Epoch: make([]byte, 16)}, BatchSeq: f.Offset + 1,
				Received: 5, Filtered: map[string]uint32{"health": 5},
			})
			frames = append(frames, last)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := s.Append(ctx, f.Spool, frames)
		cancel()
		if waits = errors.Is(err, context.DeadlineExceeded); !waits && err != nil {
			t.Fatal(err)
		}
		if waits {
			insert.Store(nil)
			if err := s.Append(t.Context(), f.Spool, frames); err != nil {
				t.Fatal(err)
			}
		}
	}
	if s.Have(f.Spool).Next != last.GetNextOffset() {
		t.Errorf("next is %d, want %d", s.Have(f.Spool).Next, last.GetNextOffset())
	}
}

func TestNotReady(t *testing.T) {
	release := make(chan struct{})
	open := openIndex(testLog(t))
	s := start(t, segstore.Options{
		Dir: t.TempDir(), ReadyWait: 20 * time.Millisecond,
		OpenIndex: func(ctx context.Context, dir, id string, end uint64) (index.Index, error) {
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return open(ctx, dir, id, end)
		},
	})
	if err := s.Ready(); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("ready: %v", err)
	}
	for _, err := range s.List(t.Context(), store.List{Limit: 1}) {
		if !errors.Is(err, store.ErrNotReady) {
			t.Errorf("list: %v", err)
		}
	}
	if _, err := s.Pair(t.Context(), store.ID{}); !errors.Is(err, store.ErrNotReady) {
		t.Errorf("pair: %v", err)
	}
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	fr := f.Frame(storetest.Pairs(0, 5)...)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := s.Append(ctx, f.Spool, []*capturev1.Frame{fr}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("append: %v", err)
	}
	close(release)
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
		t.Error(err)
	}
	if err := upTo(storetest.All(t, s, store.List{}), 5); err != nil {
		t.Error(err)
	}
}

// A flipped bit costs the record that it hit, which is counted, and nothing
// else; whoever needs that record is told.
func TestDamage(t *testing.T) {
	if testMaster() != nil {
		t.Skip("it looks for where a body begins, which nobody can see then")
	}
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir, CacheBytes: 1})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 100, 10)
	s.close(t)
	files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	// In the middle of a body: frames are zstd (RFC 8878).
	magic := []byte{0x28, 0xb5, 0x2f, 0xfd}
	at := len(b)/2 + bytes.Index(b[len(b)/2:], magic) + 40
	b[at] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}

	s = start(t, segstore.Options{Dir: dir, CacheBytes: 1})
	// Who comes upon it first is told; that may have been who learns the words.
	n := 0
	var last error
	for _, err := range s.List(t.Context(), store.List{Whole: true, Limit: 1000}) {
		if last = err; err == nil {
			n++
		}
	}
	if n != 90 || last != nil && !errors.Is(last, store.ErrPartial) {
		t.Errorf("whole: %d pairs, %v", n, last)
	}
	// From then on nobody lists or counts what cannot be read.
	eventually(t, "90 rows", func() bool { return len(storetest.All(t, s, store.List{})) == 90 })
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 90 {
		t.Errorf("whole: %d pairs", len(got))
	}
	hist, err := s.Histogram(t.Context(), store.Histogram{Buckets: 1})
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for _, c := range hist.Counts[0] {
		sum += c
	}
	if x, err := s.Extent(t.Context()); err != nil || x.Pairs != 90 || sum != 90 || hist.Partial {
		t.Errorf("extent %+v, %v; %d counted, partial %v", x, err, sum, hist.Partial)
	}
	s.close(t)

	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	s = start(t, segstore.Options{Dir: dir, CacheBytes: 1})
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 90 {
		t.Errorf("index made again: %d pairs", len(got))
	}
	if c := s.Counters(); c.DamagedRecords != 1 || c.DamagedPairs != 10 {
		t.Errorf("counters %+v", c)
	}
	// It does not come again: it had been acknowledged.
	if next := s.Have(f.Spool).Next; next != f.Offset {
		t.Errorf("next %d, want %d", next, f.Offset)
	}
}

// clock is a time that tests move.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	passed time.Duration
}

func (c *clock) Elapsed() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed
}

// jump sets the wall clock.
func (c *clock) jump(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.passed += d
}

// settled waits until retention and index are at rest with n pairs, and gives
// them.
func settled(t *testing.T, s *running, ok func(x store.Extent) bool) []uint64 {
	t.Helper()
	var short, whole []uint64
	var x store.Extent
	eventually(t, "index, log and count are the same", func() bool {
		var err error
		if x, err = s.Extent(t.Context()); err != nil || !ok(x) {
			return false
		}
		short, whole = storetest.Numbers(storetest.All(t, s, store.List{})), storetest.Numbers(storetest.All(t, s, store.List{Whole: true}))
		return slices.Equal(short, whole) && x.Pairs == uint64(len(short))
	})
	slices.Sort(short)
	return short
}

func exactly(n uint64) func(store.Extent) bool {
	return func(x store.Extent) bool { return x.Pairs == n }
}

func TestR37RetentionByAge(t *testing.T) {
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	dir := t.TempDir()
	opt := segstore.Options{
		Dir: dir, Retention: 8 * time.Hour, Now: c.Now, Elapsed: c.Elapsed, // segments of an hour
		RetainEvery: 5 * time.Millisecond, IndexDelay: time.Millisecond,
	}
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	for n := range uint64(12) {
		appendFrames(t, s, f, n*10, n*10+10, 10)
		indexed(t, s)
		c.add(time.Hour + time.Second)
	}
	// It is 12 h now; of segment n the newest pair came before n+1 h.
	got := settled(t, s, exactly(80))
	if got[0] != 40 {
		t.Errorf("oldest is %d", got[0])
	}
	id := store.ID(storetest.Pair(0).GetId())
	if _, err := s.Pair(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a pair that is gone: %v", err)
	}
	// A tail that goes on from there is told.
	for e, err := range s.Tail(t.Context(), store.Tail{After: 1}) {
		if err != nil || e.Dropped == 0 {
			t.Errorf("tail: %+v, %v", e, err)
		}
		break
	}
	// The index made again says the same.
	s.close(t)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	s = start(t, opt)
	again := settled(t, s, exactly(80))
	if !slices.Equal(again, got) {
		t.Errorf("made again: %d pairs", len(again))
	}
	// What had come is still known, also of segments that are gone.
	if next := s.Have(f.Spool).Next; next != f.Offset {
		t.Errorf("next %d, want %d", next, f.Offset)
	}
	// Nothing comes any more: in the end all is gone, and the store works.
	c.add(9 * time.Hour)
	settled(t, s, exactly(0))
	s.close(t)
	s = start(t, opt)
	if settled(t, s, exactly(0)); s.Have(f.Spool).Next != f.Offset {
		t.Errorf("next %d, want %d", s.Have(f.Spool).Next, f.Offset)
	}
	appendFrames(t, s, f, 500, 510, 5)
	settled(t, s, exactly(10))
}

// What is set on the wall clock makes nothing older than it is, and nothing
// younger: only what passes does.
func TestR37ClockJumps(t *testing.T) {
	for _, by := range []time.Duration{10 * 365 * 24 * time.Hour, 9 * time.Hour, -30 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			c := &clock{now: time.Unix(1_800_000_000, 0)}
			s := start(t, segstore.Options{
				Dir: t.TempDir(), Retention: 8 * time.Hour, Now: c.Now, Elapsed: c.Elapsed,
				RetainEvery: 5 * time.Millisecond, IndexDelay: time.Millisecond,
			})
			f := storetest.NewForwarder(1, storetest.NewProxy(1))
			add := func(from, to uint64) {
				t.Helper()
				appendFrames(t, s, f, from, to, 5)
				indexed(t, s)
			}
			// looked lets retention look several times, and says what it left.
			looked := func(what string, want uint64) {
				t.Helper()
				looks := s.Retained()
				eventually(t, "retention looks", func() bool { return s.Retained() > looks+3 })
				if got := settled(t, s, func(store.Extent) bool { return true }); uint64(len(got)) != want {
					t.Errorf("%s: %d pairs, want %d", what, len(got), want)
				}
			}
			// A segment is as old as the beginning of the next one.
			add(0, 10)
			c.add(2 * time.Hour)
			add(10, 20)
			c.jump(by)
			looked("after the jump", 20)
			add(20, 30)
			c.add(3 * time.Hour)
			looked("at 5 h", 30)
			add(30, 40)
			c.add(4 * time.Hour)
			looked("at 9 h", 40)
			c.add(2 * time.Hour)
			left, later := uint64(20), uint64(20)
			// By the wall clock no segment was old enough to end, but for those
			// of another day, which have another key.
			if by < 0 && testMaster() == nil {
				left, later = 30, 40
			}
			looked("at 11 h", left)
			c.jump(-by)
			looked("when it is set back", left)
			add(40, 50)
			looked("with new ones", left+10)
			c.add(3 * time.Hour)
			looked("at 14 h", later)
			c.add(6 * time.Hour)
			looked("at 20 h", 0)
		})
	}
}

// removeFails is an index that now and then cannot remove rows.
type removeFails struct {
	index.Index
	times *atomic.Int64
}

func (x removeFails) Remove(ctx context.Context, from, to uint64) error {
	if x.times.Add(-1) >= 0 {
		return errors.New("no space left on device")
	}
	return x.Index.Remove(ctx, from, to)
}

// Rows whose records are gone are not counted for ever because they could not
// be removed at once.
func TestRetentionThatFailsHalfWay(t *testing.T) {
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	var times atomic.Int64
	open := openIndex(testLog(t))
	s := start(t, segstore.Options{
		Dir: t.TempDir(), Retention: 8 * time.Hour, Now: c.Now, Elapsed: c.Elapsed,
		RetainEvery: 5 * time.Millisecond, IndexDelay: time.Millisecond,
		OpenIndex: func(ctx context.Context, dir, id string, end uint64) (index.Index, error) {
			x, err := open(ctx, dir, id, end)
			return removeFails{x, &times}, err
		},
	})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 10, 5)
	settled(t, s, exactly(10))
	times.Store(3)
	c.add(9 * time.Hour)
	settled(t, s, exactly(0))
}

func TestR37RetentionByBytes(t *testing.T) {
	s := start(t, segstore.Options{
		Dir: t.TempDir(), RetentionBytes: 8 << 20, SegmentBytes: 64 << 10, // at least 1 MiB
		RetainEvery: 5 * time.Millisecond, IndexDelay: time.Millisecond,
	})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range uint64(48) {
		p := storetest.Pair(n)
		p.Response = &capturev1.Message{Body: make([]byte, 512<<10)}
		for i := range p.Response.Body {
			p.Response.Body[i] = byte(rng.Uint32())
		}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(p)}); err != nil {
			t.Fatal(err)
		}
	}
	got := settled(t, s, func(x store.Extent) bool { return x.Bytes <= 8<<20 && x.Pairs < 20 })
	if len(got) < 10 || got[len(got)-1] != 47 {
		t.Errorf("kept %v", got)
	}
}

// A reader of the tail that does not read never makes anybody wait, and is
// told how many it missed.
func TestSlowTail(t *testing.T) {
	s := start(t, segstore.Options{Dir: t.TempDir(), RingPairs: 20})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	ready, goOn := make(chan struct{}), make(chan struct{})
	stands := sync.OnceFunc(func() { close(ready) })
	type result struct{ seen, dropped uint64 }
	results := make(chan result)
	go func() {
		var r result
		for e, err := range s.Tail(t.Context(), store.Tail{}) {
			if err != nil {
				t.Error(err)
				break
			}
			if e.Stored == nil && e.Dropped == 0 {
				stands()
				continue
			}
			r.dropped += e.Dropped
			if e.Stored != nil {
				if r.seen++; r.seen == 1 {
					<-goOn
				}
			}
			if r.seen+r.dropped >= 300 {
				break
			}
		}
		results <- r
	}()
	<-ready
	appendFrames(t, s, f, 0, 300, 3)
	close(goOn)
	r := <-results
	if r.seen+r.dropped != 300 || r.dropped < 200 {
		t.Errorf("seen %d, dropped %d", r.seen, r.dropped)
	}
}

// A reader that knows of more than there is, as after a restored backup, is
// told so and hears what comes from now on.
func TestTailFromBeyondTheEnd(t *testing.T) {
	s := start(t, segstore.Options{Dir: t.TempDir()})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 10, 5)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	dropped, stands := uint64(0), false
	for e, err := range s.Tail(ctx, store.Tail{After: 1 << 50}) {
		if err != nil {
			t.Fatal(err)
		}
		dropped += e.Dropped
		if e.Stored != nil {
			if n := storetest.Number(store.ID(e.Stored.Pair.GetId())); n != 10 {
				t.Errorf("heard of pair %d", n)
			}
			break
		}
		if e.Dropped == 0 && !stands {
			stands = true
			appendFrames(t, s, f, 10, 11, 1)
		}
	}
	if dropped == 0 {
		t.Error("was not told")
	}
}

// A question that would take long ends soon after its context, wherever it is.
func TestCancellation(t *testing.T) {
	s := start(t, segstore.Options{Dir: t.TempDir(), CacheBytes: 1})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	rng := rand.New(rand.NewPCG(3, 3))
	body := make([]byte, 2<<20)
	for i := range body {
		body[i] = byte('a' + rng.IntN(16))
	}
	for n := range uint64(60) {
		p := storetest.Pair(n)
		p.Response = &capturev1.Message{Body: body, BodySize: uint64(len(body))}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(p)}); err != nil {
			t.Fatal(err)
		}
	}
	q, err := query.Parse("body:/zzz[a-z]+zzz/")
	if err != nil {
		t.Fatal(err)
	}
	for _, ask := range map[string]func(context.Context) error{
		"list": func(ctx context.Context) (last error) {
			for _, err := range s.List(ctx, store.List{Query: q, Limit: 10}) {
				last = err
			}
			return last
		},
		"histogram": func(ctx context.Context) error {
			_, err := s.Histogram(ctx, store.Histogram{Query: q, Buckets: 10})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		started := time.Now()
		err := ask(ctx)
		cancel()
		if took := time.Since(started); !errors.Is(err, context.DeadlineExceeded) || took > 230*time.Millisecond {
			t.Errorf("after %v: %v", took, err)
		}
	}
	// The budget ends it too, and says where.
	var partial *store.PartialError
	for _, err := range s.List(t.Context(), store.List{Query: q, Limit: 10, ScanBudget: 5 << 20}) {
		if !errors.As(err, &partial) {
			t.Errorf("budget: %v", err)
		}
	}
	if partial == nil || partial.Reached == nil {
		t.Fatalf("budget: %+v", partial)
	}
	// From where it got, it can go on.
	for _, err := range s.List(t.Context(), store.List{Query: q, Limit: 10, Before: partial.Reached}) {
		t.Errorf("the rest: %v", err)
	}
	h, err := s.Histogram(t.Context(), store.Histogram{Query: q, Buckets: 10, ScanBudget: 5 << 20})
	if err != nil || !h.Partial {
		t.Errorf("budget: %+v, %v", h, err)
	}
}
