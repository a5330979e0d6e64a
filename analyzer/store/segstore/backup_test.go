package segstore_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
)

// content is every file below dir but locks, by its path.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.EqualFold(d.Name(), "lock") {
			return err
		}
		b, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameContent(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	for name, b := range want {
		if g, ok := got[name]; !ok || g != b {
			t.Errorf("%s: %s has %d bytes (there: %v), had %d", what, name, len(g), ok, len(b))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: there is %s", what, name)
		}
	}
}

func verified(t testing.TB, dir string) *segstore.Report {
	t.Helper()
	var told store.Progress
	r, err := segstore.Verify(t.Context(), dir, testMaster(), func(p store.Progress) {
		if p.Scanned < told.Scanned || p.Scanned > p.Of {
			t.Errorf("progress from %+v to %+v", told, p)
		}
		told = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if told.Scanned != told.Of || told.Of == 0 {
		t.Errorf("at the end it is at %+v", told)
	}
	return r
}

func TestVerify(t *testing.T) {
	dir := t.TempDir()
	if _, err := segstore.Verify(t.Context(), dir, testMaster(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of an empty directory: %v", err)
	}
	s := start(t, segstore.Options{Dir: dir, SegmentBytes: 6000})
	talk(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, 200)
	files := sidecarsOf(t, dir)
	if _, err := segstore.Verify(t.Context(), dir, testMaster(), nil); !errors.Is(err, store.ErrLocked) {
		t.Errorf("of a store that runs: %v", err)
	}
	id := s.ID()
	s.close(t)
	before := content(t, dir)
	r := verified(t, dir)
	if !r.OK() || !r.Clean || r.Pairs != 200 || r.Records != 40 || r.Store != id || r.Format != 2 ||
		r.Sidecars.Good != len(files) || r.Sidecars.Missing+r.Sidecars.Bad != 0 {
		t.Errorf("of a whole one: %+v", r)
	}
	sameContent(t, "a whole one", content(t, dir), before)

	// One file gone, one damaged; a bit of a record; a file that says who it is.
	segs, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(name string, at int) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[at] ^= 4
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	flip(files[1], 200)
	flip(segs[2], len(before["seg/"+filepath.Base(segs[2])])-20)
	flip(filepath.Join(dir, "META.copy.json"), 10)
	before = content(t, dir)
	r = verified(t, dir)
	if r.OK() || r.DamagedRecords != 1 || len(r.Damaged) != 1 || r.Damaged[0].Pairs != 5 || r.Damaged[0].Segment != filepath.Base(segs[2]) ||
		r.Pairs != 195 || r.Sidecars.Missing != 1 || r.Sidecars.Bad != 1 || len(r.Problems) != 1 {
		t.Errorf("of a damaged one: %+v", r)
	}
	sameContent(t, "a damaged one", content(t, dir), before)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := segstore.Verify(ctx, dir, testMaster(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	opt := segstore.Options{Master: testMaster(), Dir: dir, SegmentBytes: 6000, OpenIndex: openIndex(testLog(t)), ReadyWait: time.Nanosecond}
	s := start(t, opt)
	talk(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, 200)
	files := sidecarsOf(t, dir)
	if err := segstore.Rebuild(t.Context(), opt, nil, testLog(t)); !errors.Is(err, store.ErrLocked) {
		t.Errorf("of a store that runs: %v", err)
	}
	eventually(t, "indexed", func() bool { return s.Counters().Backlog == 0 })
	want := numbers(t, s, store.List{Limit: 1000})
	s.close(t)
	whole := content(t, dir)
	for _, f := range files {
		if err := os.WriteFile(f, []byte("of no use"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var told store.Progress
	err := segstore.Rebuild(t.Context(), opt, func(p store.Progress) {
		if p.Scanned < told.Scanned || p.Scanned > p.Of {
			t.Errorf("progress from %+v to %+v", told, p)
		}
		told = p
	}, testLog(t))
	if err != nil || told.Scanned != told.Of || told.Of == 0 {
		t.Fatalf("%v, at %+v", err, told)
	}
	for name, b := range content(t, dir) {
		if strings.HasSuffix(name, ".idx") && b != whole[name] {
			t.Errorf("%s has become another one", name)
		}
	}
	if r := verified(t, dir); !r.OK() || r.Sidecars.Good != len(files) || r.Sidecars.Bad+r.Sidecars.Missing != 0 {
		t.Errorf("%+v", r)
	}
	s = start(t, segstore.Options{Dir: dir, SegmentBytes: 6000})
	if got := numbers(t, s, store.List{Limit: 1000}); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if c := s.Counters(); c.IndexRebuilds != 0 {
		t.Errorf("made again once more: %+v", c)
	}
}

// A backup of a store that takes frames and removes segments has what was there
// at one moment, and can be opened, and gone on with.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	opt := segstore.Options{Dir: dir, SegmentBytes: 6000, Beside: []string{"LEDGER", "absent"}}
	s := start(t, opt)
	if err := os.WriteFile(filepath.Join(dir, "LEDGER"), []byte("what was counted"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	talk(t, s, f, 0, 200)
	sidecarsOf(t, dir)
	want := numbers(t, s, store.List{Limit: 1000, Whole: true})

	var stream bytes.Buffer
	var told store.Progress
	more := uint64(200)
	err := s.Backup(t.Context(), &stream, func(p store.Progress) {
		if p.Scanned < told.Scanned || p.Scanned > p.Of {
			t.Errorf("progress from %+v to %+v", told, p)
		}
		told = p
		if more < 300 { // what comes meanwhile is not in it
			talk(t, s, f, more, more+5)
			more += 5
		}
	})
	if err != nil || told.Scanned != told.Of || more == 200 {
		t.Fatalf("%v, at %+v, %d", err, told, more)
	}
	linked := filepath.Join(t.TempDir(), "deep", "copy")
	if err := s.BackupDir(t.Context(), linked, nil); err != nil {
		t.Fatal(err)
	}
	all := numbers(t, s, store.List{Limit: 1000, Whole: true})
	s.close(t)

	restored := filepath.Join(t.TempDir(), "restored")
	if err := segstore.Restore(t.Context(), restored, bytes.NewReader(stream.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := segstore.Restore(t.Context(), restored, bytes.NewReader(stream.Bytes())); err == nil {
		t.Error("a directory that is not empty was taken")
	}
	for path, want := range map[string][]uint64{restored: want, linked: all} {
		if b, err := os.ReadFile(filepath.Join(path, "LEDGER")); err != nil || string(b) != "what was counted" {
			t.Errorf("beside it: %q, %v", b, err)
		}
		r := verified(t, path)
		if !r.OK() || r.Pairs != uint64(len(want)) || r.Sidecars.Good == 0 || r.Sidecars.Bad > 0 {
			t.Errorf("%+v", r)
		}
		opt.Dir = path
		s := start(t, opt)
		if got := numbers(t, s, store.List{Limit: 1000, Whole: true}); !slices.Equal(got, want) {
			t.Errorf("%d pairs, want %d", len(got), len(want))
		}
		if s.Counters().DamagedRecords != 0 {
			t.Errorf("%+v", s.Counters())
		}
		// What it has is not taken again, what it has not is.
		again := storetest.NewForwarder(1, storetest.NewProxy(1))
		talk(t, s, again, 0, 400)
		if err := upTo(storetest.All(t, s, store.List{Limit: 1000}), 400); err != nil {
			t.Error(err)
		}
		s.close(t)
	}
	// The original is as it was, whatever was done with what is linked to it.
	opt.Dir = dir
	s = start(t, opt)
	if got := numbers(t, s, store.List{Limit: 1000, Whole: true}); !slices.Equal(got, all) {
		t.Errorf("the original has %d pairs, had %d", len(got), len(all))
	}
}

// While a backup is written, retention removes what is in it.
func TestBackupDuringRetention(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	s := start(t, segstore.Options{Dir: dir, SegmentBytes: 6000, Retention: 1000 * time.Hour, RetainEvery: time.Millisecond, Now: c.Now, Elapsed: c.Elapsed})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	talk(t, s, f, 0, 100)
	var stream bytes.Buffer
	aged := false
	err := s.Backup(t.Context(), &stream, func(store.Progress) {
		if !aged {
			aged = true
			c.add(2000 * time.Hour)
			eventually(t, "all is removed", func() bool {
				x, err := s.Extent(t.Context())
				return err == nil && x.Pairs == 0
			})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(t.TempDir(), "restored")
	if err := segstore.Restore(t.Context(), restored, &stream); err != nil {
		t.Fatal(err)
	}
	if r := verified(t, restored); !r.OK() || r.Pairs != 100 {
		t.Errorf("%+v", r)
	}
}

// What is not a whole backup, or has files that are none of one, leaves nothing.
func TestS18RestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	s := start(t, segstore.Options{Dir: dir})
	if err := s.Append(t.Context(), storetest.NewForwarder(1, nil).Spool, []*capturev1.Frame{storetest.NewForwarder(1, storetest.NewProxy(1)).Frame(storetest.Pairs(0, 3)...)}); err != nil {
		t.Fatal(err)
	}
	var whole bytes.Buffer
	if err := s.Backup(t.Context(), &whole, nil); err != nil {
		t.Fatal(err)
	}
	stream := func(change func(*tar.Header)) io.Reader {
		var out bytes.Buffer
		tw, tr := tar.NewWriter(&out), tar.NewReader(bytes.NewReader(whole.Bytes()))
		for {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			change(h)
			if h.Typeflag != tar.TypeReg {
				b, h.Size = nil, 0
			}
			if err := tw.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			if _, err := tw.Write(b); err != nil {
				t.Fatal(err)
			}
		}
		return &out // without an end, which tar itself does not miss
	}
	rename := func(to string) func(*tar.Header) {
		return func(h *tar.Header) {
			if strings.HasSuffix(h.Name, ".seg") {
				h.Name = to
			}
		}
	}
	cases := map[string]io.Reader{
		"nothing":     bytes.NewReader(nil),
		"no tar":      strings.NewReader(strings.Repeat("this is no tar ", 100)),
		"above":       stream(rename("../../etc/passwd")),
		"absolute":    stream(rename("/etc/passwd")),
		"elsewhere":   stream(rename("index/pairs.duckdb")),
		"a lock":      stream(rename("LOCK")),
		"no segment":  stream(rename("seg/../x.seg")),
		"hidden":      stream(rename(".profile")),
		"twice":       stream(rename("META.copy.json")),
		"a link":      stream(func(h *tar.Header) { h.Typeflag, h.Linkname = tar.TypeSymlink, "/etc/passwd" }),
		"no META":     stream(func(h *tar.Header) { h.Name = strings.Replace(h.Name, "META.json", "OTHER.json", 1) }),
		"a directory": stream(func(h *tar.Header) { h.Typeflag = tar.TypeDir }),
	}
	cases["holes"] = io.MultiReader(bytes.NewReader(holes(t, "BIG", 64<<20)), bytes.NewReader(whole.Bytes()))
	for n := 300; n < whole.Len()-2048; n += 1 + whole.Len()/20 {
		cases["cut"+string(rune('a'+n%26))] = bytes.NewReader(whole.Bytes()[:n])
	}
	for name, r := range cases {
		parent := t.TempDir()
		if err := segstore.Restore(t.Context(), filepath.Join(parent, "data"), r); err == nil {
			t.Errorf("%s: taken", name)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left is %v, %v", name, left, err)
		}
	}
	if err := segstore.Restore(t.Context(), filepath.Join(t.TempDir(), "data"), stream(func(*tar.Header) {})); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

// holes is a file of a tar that is nothing but one hole (GNU tar's sparse
// format 0.1 in POSIX headers, which the standard library reads only).
func holes(t *testing.T, name string, size int) []byte {
	t.Helper()
	block := func(kind byte, name string, content string) []byte {
		var b bytes.Buffer
		tw := tar.NewWriter(&b)
		if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o600, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
		if err := tw.Flush(); err != nil {
			t.Fatal(err)
		}
		out := b.Bytes()
		out[156] = kind
		copy(out[148:156], "        ")
		sum := 0
		for _, c := range out[:512] {
			sum += int(c)
		}
		copy(out[148:156], fmt.Sprintf("%06o\x00 ", sum))
		return out
	}
	var records strings.Builder
	for _, r := range []string{"GNU.sparse.major=0", "GNU.sparse.minor=1", "GNU.sparse.numblocks=0", fmt.Sprintf("GNU.sparse.size=%d", size)} {
		n := len(r) + 2 // the blank and the line feed
		n += len(fmt.Sprint(n + len(fmt.Sprint(n))))
		fmt.Fprintf(&records, "%d %s\n", n, r)
	}
	return append(block('x', "h", records.String()), block(tar.TypeReg, name, "")...)
}

// A directory that is replaced is looked at first: what a link points to gets
// the store, and where a file system is mounted nothing is begun.
func TestRestoreIntoWhatIsThere(t *testing.T) {
	s := start(t, segstore.Options{Dir: t.TempDir()})
	talk(t, s, storetest.NewForwarder(1, storetest.NewProxy(1)), 0, 5)
	var whole bytes.Buffer
	if err := s.Backup(t.Context(), &whole, nil); err != nil {
		t.Fatal(err)
	}
	far, near := filepath.Join(t.TempDir(), "far"), filepath.Join(t.TempDir(), "near")
	if err := os.Mkdir(far, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(far, near); err != nil {
		t.Fatal(err)
	}
	if err := segstore.Restore(t.Context(), near, &whole); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(near); err != nil || to != far {
		t.Errorf("the link is gone: %q, %v", to, err)
	}
	if r := verified(t, far); !r.OK() {
		t.Errorf("%+v", r)
	}
	for dir, want := range map[string]bool{"/dev": true, "/": true, far: false} {
		if got, err := segstore.MountPoint(dir); err != nil || got != want {
			t.Errorf("%s: %t, %v", dir, got, err)
		}
	}
}
