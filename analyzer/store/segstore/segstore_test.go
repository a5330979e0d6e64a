package segstore_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/duckindex"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
)

func openIndex(log *slog.Logger) segstore.OpenIndex {
	return func(ctx context.Context, dir, storeID string, end uint64) (index.Index, error) {
		return duckindex.Open(ctx, duckindex.Options{Dir: dir, Store: storeID, End: end}, log)
	}
}

// running is a store that runs.
type running struct {
	*segstore.Store
	stop context.CancelFunc
	done chan struct{}
}

// start opens a store and runs it until the test ends or close is called.
func start(t testing.TB, opt segstore.Options) *running {
	t.Helper()
	log := testLog(t)
	if opt.OpenIndex == nil {
		opt.OpenIndex = openIndex(log)
	}
	if opt.ReadyWait == 0 {
		opt.ReadyWait = time.Minute // busy machines
	}
	if opt.Ballast == 0 {
		opt.Ballast = -1 // that of many tests would be much
	}
	if opt.Master == nil {
		opt.Master = testMaster()
	}
	s, err := segstore.Open(opt, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{Store: s, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { r.close(t) })
	return r
}

// close stops the store in order. It may be called twice.
func (r *running) close(t testing.TB) {
	t.Helper()
	r.stop()
	<-r.done
	if r.Store == nil {
		return
	}
	if err := r.Store.Close(); err != nil {
		t.Error(err)
	}
	r.Store = nil
}

// testLog shows the log of a test that fails.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// eventually waits until ok is true.
// eventually waits for what has to come, for as long as only a fault can take:
// a machine that does much else is slow, not wrong.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	const patience = 3 * time.Minute
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func indexed(t *testing.T, e storetest.Engine) {
	t.Helper()
	s, ok := e.(*running)
	if !ok {
		t.Fatalf("a %T", e)
	}
	eventually(t, "indexed", func() bool { return s.Counters().Backlog == 0 })
}

func TestConformance(t *testing.T) {
	open := func(t *testing.T) storetest.Engine { return start(t, segstore.Options{Dir: t.TempDir()}) }
	storetest.Suite{Open: open, Settle: indexed}.Run(t)
}

// A ring and a backlog that hold next to nothing, and an index that lags: the
// log and the memory have to answer.
func TestConformanceWhenTight(t *testing.T) {
	open := func(t *testing.T) storetest.Engine {
		return start(t, segstore.Options{
			Dir: t.TempDir(), RingPairs: 8, Backlog: 40_000, CacheBytes: 1, SegmentBytes: 4096,
			IndexDelay: 20 * time.Millisecond, IndexRows: 3,
		})
	}
	storetest.Suite{Open: open, Settle: indexed, Every: 5}.Run(t)
}

func TestR14DeletedIndex(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	appendFrames(t, s, f, 0, 300, 30)
	want := storetest.Numbers(storetest.All(t, s, store.List{}))
	s.close(t)
	// Its name is another one after each opening.
	file := func() string {
		files, err := filepath.Glob(filepath.Join(dir, "index", "*.duckdb"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%v %v, want one file", files, err)
		}
		return files[0]
	}
	for _, c := range []struct {
		name  string
		spoil func() error
	}{
		{"untouched", func() error { return nil }},
		{"missing", func() error { return os.RemoveAll(filepath.Join(dir, "index")) }},
		{"not a database", func() error { return os.WriteFile(file(), []byte("this is no database"), 0o600) }},
		{"empty", func() error { return os.Truncate(file(), 0) }},
		{"cut short", func() error { return os.Truncate(file(), 8192) }},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		s := start(t, segstore.Options{Dir: dir})
		got := storetest.Numbers(storetest.All(t, s, store.List{}))
		if len(got) != 300 || !equal(got, want) {
			t.Errorf("%s: %d pairs, want the same %d", c.name, len(got), len(want))
		}
		s.close(t)
	}
}

func equal(a, b []uint64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
