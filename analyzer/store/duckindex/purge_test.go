package duckindex_test

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/duckindex"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// grep counts a text in all files of a directory.
func grep(t *testing.T, dir, text string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if info, err := e.Info(); err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		n += bytes.Count(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What was erased is in no file after a purge; all else is as it was.
func TestR37Purge(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "it's an index")
	opt := duckindex.Options{Dir: dir, Store: "store", End: 10_000}
	log := slog.New(slog.DiscardHandler)
	x, err := duckindex.Open(t.Context(), opt, log)
	if err != nil {
		t.Fatal(err)
	}
	var rows []index.Row
	var gone []store.ID
	for i := range 5000 {
		r := index.Row{ID: store.ID{byte(i >> 8), byte(i), 15: 1}, Off: uint64(i), Time: int64(i + 1), Path: "/kept", Method: "GET", Weight: 1}
		if i%100 == 7 {
			r.Path, r.Query = "/canary-of-the-index", "q=canary-of-the-index"
			gone = append(gone, r.ID)
		}
		rows = append(rows, r)
	}
	if err := x.Insert(t.Context(), rows, 6000); err != nil {
		t.Fatal(err)
	}
	if err := x.Erase(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	before, err := x.Stats(t.Context())
	if err != nil || before.Rows != uint64(5000-len(gone)) {
		t.Fatal(before, err)
	}
	y, err := x.Purge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Find(t.Context(), rows[0].ID); err != nil {
		t.Error("the old one does not answer any more:", err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if n := grep(t, dir, "canary-of-the-index"); n != 0 {
		t.Errorf("it is still there, %d times", n)
	}
	if err := y.Insert(t.Context(), []index.Row{{ID: store.ID{9, 9}, Off: 60_001, Time: 1, Path: "/new", Weight: 1}}, 60_002); err != nil {
		t.Error(err)
	}
	if after, err := y.Stats(t.Context()); err != nil || after.Rows != before.Rows+1 || y.Watermark() != 60_002 {
		t.Error(after, err)
	}
	// Again, and over a start.
	z, err := y.Purge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := y.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	opt.End = 70_000
	x, err = duckindex.Open(t.Context(), opt, log)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if r, err := x.Find(t.Context(), rows[0].ID); err != nil || r.Off != rows[0].Off || x.Watermark() != 60_002 {
		t.Error(r, err)
	}
}
