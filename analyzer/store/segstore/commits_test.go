package segstore_test

import (
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// witness hears of commits.
type witness struct {
	mu   sync.Mutex
	list []store.Commit
}

func (w *witness) committed(c store.Commit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, c)
}

func (w *witness) heard() []store.Commit {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.list
}

// replay is what the store says of itself afterwards.
func replay(t testing.TB, s *running, from uint64) []store.Commit {
	t.Helper()
	var out []store.Commit
	for c, err := range s.Commits(from) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func sameCommits(t testing.TB, got, want []store.Commit) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d commits, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		same := proto.Equal(g.Head, w.Head) && (g.Head == nil) == (w.Head == nil)
		g.Head, w.Head = nil, nil
		if !same || g != w {
			t.Errorf("commit %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

// Whoever was not there when frames came is told the same afterwards.
func TestCommitsAreReplayed(t *testing.T) {
	var w witness
	opt := segstore.Options{Dir: t.TempDir(), Committed: w.committed, SegmentBytes: 8 << 10}
	s := start(t, opt)
	f, other := storetest.NewForwarder(1, storetest.NewProxy(1)), storetest.NewForwarder(2, storetest.NewProxy(2))
	var last *capturev1.Frame
	for n := range uint64(20) {
		last = f.Frame(storetest.Pairs(n*3, n*3+3)...)
		for _, err := range []error{
			s.Append(t.Context(), f.Spool, []*capturev1.Frame{last}),
			s.Append(t.Context(), other.Spool, []*capturev1.Frame{other.Again(last), other.Put([]byte("no head"), nil), other.Put(last.GetHead(), []byte("no body"))}),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	want := w.heard()
	if len(want) != 80 {
		t.Fatalf("heard of %d frames, want 80", len(want))
	}
	sameCommits(t, replay(t, s, 0), want)
	sameCommits(t, replay(t, s, want[30].Next), want[31:])
	if end := s.End(); end != want[79].Next || len(replay(t, s, end)) != 0 {
		t.Errorf("end is %d, last commit at %d", end, want[79].Next)
	}
	for i, c := range want {
		if dup := i%4 == 1 || i%4 == 3; c.Duplicate != dup && i%4 != 3 || c.Unreadable != (i%4 == 2) && i%4 != 3 || (c.Head == nil) != (i%4 == 2) {
			t.Errorf("commit %d: %+v", i, c)
		}
	}
	s.close(t)
	opt.Committed = nil
	s = start(t, opt)
	sameCommits(t, replay(t, s, 0), want)
}
