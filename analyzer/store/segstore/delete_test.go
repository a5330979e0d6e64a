package segstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/query"
)

// The texts that pairs carry which are to go, in a body, a path and a query
// string, and those that are to stay.
const (
	goes  = "canary-that-goes"
	stays = "canary-that-stays"
)

// marked are pairs of which every third carries what goes.
func marked(from, to uint64) []*capturev1.RRPair {
	pairs := storetest.Pairs(from, to)
	for i, p := range pairs {
		text := stays
		if (from+uint64(i))%3 == 0 {
			text = goes
			p.Tags = map[string]string{"subject": "4711"}
		}
		p.Path = "/" + text
		p.Query = "q=" + text
		p.Request = &capturev1.Message{Body: fmt.Appendf(nil, "%s %d", text, i)}
		p.Response = &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\n\r\n")}
		p.Response.Body = bytes.Repeat([]byte(text+" "), 20)
	}
	return pairs
}

func subject(t testing.TB) *query.Query {
	t.Helper()
	q, err := query.Parse(`tag.subject:4711`)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func feedMarked(t testing.TB, s *running, f *storetest.Forwarder, from, to, each uint64) (frames []*capturev1.Frame) {
	t.Helper()
	for n := from; n < to; n += each {
		frames = append(frames, f.Frame(marked(n, min(n+each, to))...))
	}
	for _, fr := range frames {
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			t.Fatal(err)
		}
	}
	return frames
}

// grep counts a text in all files of a directory, and looks at their modes.
func grep(t testing.TB, dir, text string) (n int, where []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil || e.IsDir() || e.Type()&fs.ModeSocket != 0 {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if k := bytes.Count(b, []byte(text)); k > 0 {
			n += k
			where = append(where, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n, where
}

// withLedger has a store counted.
func withLedger(t *testing.T, opt segstore.Options) (*running, *ledger.Ledger) {
	t.Helper()
	dir, err := vfs.Dir(opt.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dir.Close() })
	l := ledger.New(ledger.Options{}, testLog(t))
	opt.Committed, opt.Removing, opt.Damaged, opt.Hiding = l.Commit, l.Removing, l.Damaged, l.Hiding
	opt.Erased, opt.Settle = l.Erased, l.Save
	log := testLog(t)
	if opt.OpenIndex == nil {
		opt.OpenIndex = openIndex(log)
	}
	if opt.Master == nil {
		opt.Master = testMaster()
	}
	opt.ReadyWait, opt.Ballast = time.Minute, -1
	s, err := segstore.Open(opt, log)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Open(dir, s.ID(), s.End(), s); err != nil {
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
	return r, l
}

// law holds a ledger to: seen = stored + dropped, with so many deleted.
func law(t *testing.T, l *ledger.Ledger, seen, deleted uint64) {
	t.Helper()
	c := l.Report(ledger.Ask{}).Total
	gone := c.Dropped[ledger.Drop{Hop: ledger.HopAnalyzer, Reason: ledger.ReasonDeleted}]
	if c.Seen != seen || gone != deleted || c.Stored != seen-deleted {
		t.Errorf("seen %d, stored %d, deleted %d; want %d and %d", c.Seen, c.Stored, gone, seen, deleted)
	}
}

// deletion holds everything that a deletion promises, of a store that has 300
// pairs, 100 of which are to go.
func TestS26DeletionByQuery(t *testing.T) {
	dir := t.TempDir()
	opt := segstore.Options{Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond}
	s, l := withLedger(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	frames := feedMarked(t, s, f, 0, 300, 10)
	indexed(t, s)
	q := subject(t)

	dry, err := s.Delete(t.Context(), segstore.Deletion{Query: q, DryRun: true})
	if err != nil || dry.Matched != 100 || dry.Deleted != 0 || dry.SegmentsRewritten == 0 {
		t.Fatalf("%+v %v", dry, err)
	}
	if _, err := s.Delete(t.Context(), segstore.Deletion{Query: q, Most: 99}); err == nil {
		t.Error("100 were deleted where 99 were to be")
	} else if e, ok := errors.AsType[*segstore.TooManyError](err); !ok || e.Matched != 100 {
		t.Error(err)
	}
	before := storetest.Numbers(storetest.All(t, s, store.List{}))
	var seqs []uint64 // places of what stays
	for _, st := range storetest.All(t, s, store.List{Whole: true}) {
		if st.Pair.GetPath() == "/"+stays {
			seqs = append(seqs, st.Seq)
		}
	}
	d, err := s.Delete(t.Context(), segstore.Deletion{Query: q, By: "somebody"})
	if err != nil {
		t.Fatal(err)
	}
	p := d.Proof
	if d.Matched != 100 || d.Deleted != 100 || d.SegmentsRewritten < 2 || d.Bytes == 0 || d.By != "somebody" ||
		p.Remaining != 0 || len(p.Pairs) != 64 || len(p.Segments) != int(d.SegmentsRewritten) || p.Verified.IsZero() || p.Segments[0].Before == p.Segments[0].After {
		t.Errorf("%+v", d)
	}
	check := func(s *running, l *ledger.Ledger) {
		t.Helper()
		if n, where := grep(t, dir, goes); n != 0 && testMaster() == nil {
			t.Errorf("what was deleted is still there, %d times: %v", n, where)
		}
		for _, list := range []store.List{{}, {Whole: true}} {
			got := storetest.All(t, s, list)
			if len(got) != 200 || len(before) != 300 {
				t.Errorf("%d pairs of %d", len(got), len(before))
			}
			var kept []uint64
			for _, st := range got {
				if st.Pair.GetPath() != "/"+stays {
					t.Error("a deleted pair is listed:", st.Pair.GetPath())
				}
				kept = append(kept, st.Seq)
			}
			if a, b := slices.Sorted(slices.Values(kept)), slices.Sorted(slices.Values(seqs)); !slices.Equal(a, b) {
				t.Error("what stays has other places")
			}
		}
		if again := storetest.All(t, s, store.List{Query: words(t, goes)}); len(again) != 0 {
			t.Errorf("searching finds %d of them", len(again))
		}
		if found := storetest.All(t, s, store.List{Query: words(t, stays)}); len(found) != 200 {
			t.Errorf("searching finds %d of those that stay", len(found))
		}
		law(t, l, 300, 100)
		if list := s.Deletions(); len(list) != 1 || list[0].ID != d.ID || list[0].Deleted != 100 {
			t.Errorf("%+v", list)
		}
	}
	check(s, l)
	// What is sent again does not come back.
	if err := s.Append(t.Context(), f.Spool, frames); err != nil {
		t.Fatal(err)
	}
	check(s, l)
	s.close(t)
	s, l = withLedger(t, opt)
	check(s, l)
	s.close(t)
	// Nor with an index and a ledger that are made anew, and all of it is sound.
	for _, name := range []string{"index", ledger.FileName} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, l = withLedger(t, opt)
	check(s, l)
	s.close(t)
	if r, err := segstore.Verify(t.Context(), dir, testMaster(), nil); err != nil || !r.OK() || r.Pairs != 200 || r.Deleted != 100 {
		t.Errorf("%+v %v", r, err)
	}
}

func words(t *testing.T, text string) *query.Query {
	t.Helper()
	q, err := query.Parse(`"` + text + `"`)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// Whole frames go, twice over, and frames that cannot become much shorter.
func TestDeletionsOfAllShapes(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir, SegmentBytes: 3000, IndexDelay: time.Millisecond})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	feedMarked(t, s, f, 0, 40, 1)
	var alike []*capturev1.RRPair // each says what the one before said
	for i, p := range storetest.Pairs(40, 100) {
		p.Tags = map[string]string{"subject": fmt.Sprint(i)}
		alike = append(alike, p)
	}
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(alike...)}); err != nil {
		t.Fatal(err)
	}
	left := 100
	for i, src := range []string{"tag.subject:4711", "tag.subject:7", "tag.subject:8", "tag.subject:9 OR tag.subject:10", ""} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Delete(t.Context(), segstore.Deletion{Query: q})
		if err != nil {
			t.Fatal(src, err)
		}
		left -= int(d.Deleted)
		if got := storetest.All(t, s, store.List{Whole: true}); d.Deleted == 0 || len(got) != left {
			t.Errorf("%d: %d deleted, %d are there, want %d", i, d.Deleted, len(got), left)
		}
	}
	if left != 0 {
		t.Error(left, "are left")
	}
	if again, err := s.Delete(t.Context(), segstore.Deletion{}); err != nil || again.Deleted != 0 || again.Proof.Remaining != 0 {
		t.Errorf("%+v %v", again, err)
	}
	feedMarked(t, s, f, 100, 130, 10)
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 30 {
		t.Error(len(got), "of what came after it")
	}
}

// Everything is there for its owner alone, whatever umask a process has.
func TestS26Modes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	dir := filepath.Join(t.TempDir(), "data")
	s := start(t, segstore.Options{Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond, Master: master(strings.Repeat("11", 32))})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	feedMarked(t, s, f, 0, 100, 10)
	indexed(t, s)
	if _, err := s.Delete(t.Context(), segstore.Deletion{Query: subject(t)}); err != nil {
		t.Fatal(err)
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		n++
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil || n < 8 {
		t.Error(n, err)
	}
}

// With a key nothing that a pair carried is in the log, the files beside it or
// the journal, but for what rows have: those are in the index.
func TestS26EncryptedStore(t *testing.T) {
	dir := t.TempDir()
	key := strings.Repeat("11", 32)
	opt := segstore.Options{Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond, Master: master(key)}
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	feedMarked(t, s, f, 0, 300, 10)
	indexed(t, s)
	if n, where := grep(t, filepath.Join(dir, "seg"), "canary-that"); n != 0 {
		t.Error(n, where)
	}
	if n, where := grep(t, dir, "canary-that-goes canary-that-goes"); n != 0 { // of bodies
		t.Error(n, where)
	}
	if got := storetest.All(t, s, store.List{Query: words(t, goes)}); len(got) != 100 {
		t.Errorf("searching finds %d", len(got))
	}
	s.close(t)

	none := opt
	none.Master, none.OpenIndex = nil, openMemory
	if _, err := segstore.Open(none, testLog(t)); err == nil || !strings.Contains(err.Error(), "ENCRYPTION_KEY") {
		t.Error("without a key:", err)
	}
	none.Master = master(strings.Repeat("22", 32))
	if _, err := segstore.Open(none, testLog(t)); err == nil || !strings.Contains(err.Error(), "ENCRYPTION_KEY") {
		t.Error("with another key:", err)
	}
	opt.Master = master(strings.Repeat("22", 32) + "," + key)
	s = start(t, opt)
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 300 {
		t.Error("with a rotated key:", len(got))
	}
	var backup bytes.Buffer
	if err := s.Backup(t.Context(), &backup, nil); err != nil {
		t.Fatal(err)
	}
	s.close(t)
	restored := filepath.Join(t.TempDir(), "restored")
	if err := segstore.Restore(t.Context(), restored, &backup); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, restored} {
		if r, err := segstore.Verify(t.Context(), dir, master(strings.Repeat("22", 32)), nil); err != nil || !r.OK() || r.Pairs != 300 {
			t.Errorf("%+v %v", r, err)
		}
	}
}

// After retention nothing of what it removed is in any file, the index's
// among them.
func TestR37RetentionLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	now := &clock{now: time.Unix(1_800_000_000, 0)}
	opt := segstore.Options{
		Dir: dir, Retention: time.Hour, RetainEvery: 10 * time.Millisecond, PurgeEvery: time.Millisecond, IndexDelay: time.Millisecond,
		Now: now.Now, Elapsed: now.Elapsed,
	}
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	for n := uint64(0); n < 300; n += 10 {
		pairs := storetest.Pairs(n, n+10)
		for _, p := range pairs {
			p.Path, p.Query, p.Request = "/"+goes, "q="+goes, &capturev1.Message{Body: []byte(goes)}
		}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{f.Frame(pairs...)}); err != nil {
			t.Fatal(err)
		}
	}
	indexed(t, s)
	if n, _ := grep(t, dir, goes); n == 0 && testMaster() == nil {
		t.Fatal("it never was in the files: the test proves nothing")
	}
	now.add(2 * time.Hour)
	var n int
	var where []string
	defer func() { t.Log(n, "times in", where) }()
	eventually(t, "nothing of it is left", func() bool {
		now.add(10 * time.Millisecond)
		n, where = grep(t, dir, goes)
		return n == 0 && len(storetest.All(t, s, store.List{})) == 0
	})
	// What comes then stays.
	feedMarked(t, s, f, 300, 310, 10)
	indexed(t, s)
	if got := storetest.All(t, s, store.List{}); len(got) != 10 {
		t.Errorf("%d pairs of 10", len(got))
	}
}

// deletionOptions are of a store of few pairs in many segments, counted by l.
func deletionOptions(dir string, l *ledger.Ledger, log *slog.Logger) segstore.Options {
	return segstore.Options{
		Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond, OpenIndex: openIndex(log), Master: testMaster(), Ballast: -1, ReadyWait: time.Minute,
		Committed: l.Commit, Removing: l.Removing, Damaged: l.Damaged, Hiding: l.Hiding, Erased: l.Erased, Settle: l.Save,
	}
}

// deletingChild deletes what is marked.
func deletingChild(path string) error {
	log := slog.New(slog.DiscardHandler)
	dir, err := vfs.Dir(path)
	if err != nil {
		return err
	}
	l := ledger.New(ledger.Options{}, log)
	s, err := segstore.Open(deletionOptions(path, l, log), log)
	if err != nil {
		return err
	}
	if err := l.Open(dir, s.ID(), s.End(), s); err != nil {
		return err
	}
	go func() { _ = s.Run(context.Background()) }()
	q, err := query.Parse("tag.subject:4711")
	if err != nil {
		return err
	}
	if _, err := s.Delete(context.Background(), segstore.Deletion{Query: q}); err != nil {
		return err
	}
	return errors.New("it was not killed")
}

// A deletion that is killed anywhere is completed by the next start, and counted
// once.
func TestS26KillWhileDeleting(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a program with fail points")
	}
	program := failing(t)
	for _, point := range []string{
		failpoint.DeletionBegun + "=kill", failpoint.DeletionBeforeSwap + "=kill", failpoint.DeletionAfterSwap + "=kill",
		failpoint.DeletionBeforeSwap + "=kill@3", failpoint.DeletionAfterSwap + "=kill@3", failpoint.DeletionRows + "=kill",
	} {
		t.Run(point, func(t *testing.T) {
			dir := t.TempDir()
			s, _ := withLedger(t, segstore.Options{Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond})
			f := storetest.NewForwarder(1, storetest.NewProxy(1))
			feedMarked(t, s, f, 0, 300, 10)
			indexed(t, s)
			s.close(t)
			runChild(t, program, point, time.Minute, childDir+"="+dir, childDeletes+"=1")
			s, l := withLedger(t, segstore.Options{Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond})
			if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 200 {
				t.Errorf("%d pairs", len(got))
			}
			if n, where := grep(t, dir, goes); n != 0 {
				t.Errorf("what was deleted is still there, %d times: %v", n, where)
			}
			law(t, l, 300, 100)
			if list := s.Deletions(); len(list) != 1 || list[0].Deleted != 100 || !list[0].Proof.Resumed || list[0].Proof.Remaining != 0 {
				t.Errorf("%+v", list)
			}
		})
	}
}

// A day's key goes, and with it what came that day and nothing else.
func TestS26ShreddedDay(t *testing.T) {
	dir := t.TempDir()
	now := &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	opt := segstore.Options{
		Dir: dir, SegmentBytes: 6000, IndexDelay: time.Millisecond, Master: master(strings.Repeat("11", 32)), Now: now.Now, Elapsed: now.Elapsed,
	}
	s, l := withLedger(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	for n := uint64(0); n < 90; n += 30 {
		feedMarked(t, s, f, n, n+30, 10)
		now.add(24 * time.Hour)
	}
	indexed(t, s)
	for day, want := range map[string]error{
		"2026-11-26": segstore.ErrDayNotOver, "2026-11-27": segstore.ErrDayNotOver, "2026-11-22": segstore.ErrNotEncrypted, "yesterday": segstore.ErrNoDay,
	} {
		if _, err := s.Shred(t.Context(), segstore.Shredding{Day: day}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", day, err, want)
		}
	}
	// What only counts, and what was not meant, changes nothing.
	if d, err := s.Shred(t.Context(), segstore.Shredding{Day: "2026-11-24", DryRun: true}); err != nil || d.Matched != 30 || d.Deleted != 0 || d.Bytes == 0 {
		t.Errorf("%+v %v", d, err)
	}
	_, err := s.Shred(t.Context(), segstore.Shredding{Day: "2026-11-24", Most: 29})
	if many, ok := errors.AsType[*segstore.TooManyError](err); !ok || many.Matched != 30 {
		t.Errorf("%v", err)
	}
	law(t, l, 90, 0)
	for i, day := range []string{"2026-11-24", "2026-11-25"} {
		d, err := s.Shred(t.Context(), segstore.Shredding{Day: day, By: "somebody", Most: 30})
		if err != nil || d.Deleted != 30 || len(d.Proof.Keys) != 1 || d.Proof.Verified.IsZero() {
			t.Fatalf("%+v %v", d, err)
		}
		want := 60 - 30*i
		for range 2 {
			for _, list := range []store.List{{}, {Whole: true}, {Query: words(t, "canary")}} {
				if got := storetest.All(t, s, list); len(got) != want {
					t.Errorf("%s: %d pairs, want %d", day, len(got), want)
				}
			}
			law(t, l, 90, uint64(90-want))
			s.close(t)
			if r, err := segstore.Verify(t.Context(), dir, opt.Master, nil); err != nil || !r.OK() || r.Pairs != uint64(want) || r.Shredded == 0 {
				t.Errorf("%+v %v", r, err)
			}
			s, l = withLedger(t, opt)
		}
	}
	// It goes on.
	feedMarked(t, s, f, 90, 120, 10)
	if got := storetest.All(t, s, store.List{Whole: true}); len(got) != 60 {
		t.Errorf("%d pairs", len(got))
	}
}
