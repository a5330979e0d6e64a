package analyzer

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/control"
)

// TestCopiesOfTheControlStoreAreSwept: what a crash in a backup has left goes
// with the next start, and nothing else does.
func TestCopiesOfTheControlStoreAreSwept(t *testing.T) {
	cfg := config(t)
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	left := []string{".123.tmp", ".123.tmp-wal", ".123.tmp-shm", ".9.tmp-journal"}
	for _, suffix := range append(left, ".kept") {
		if err := os.WriteFile(filepath.Join(cfg.DataDir, control.SnapshotName+suffix), []byte("secrets"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range left {
		if _, err := os.Stat(filepath.Join(cfg.DataDir, control.SnapshotName+suffix)); !os.IsNotExist(err) {
			t.Errorf("%s is still there: %v", suffix, err)
		}
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, control.SnapshotName+".kept")); err != nil {
		t.Error(err)
	}
}

// TestBackupSaysThatTheControlStoreIsElsewhere: by the setting, and without it by
// what the analyzer has left in its directory.
func TestBackupSaysThatTheControlStoreIsElsewhere(t *testing.T) {
	t.Setenv("CONTROL_STORE", "")
	cfg := config(t)
	a, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	backup := func(want bool) {
		t.Helper()
		var tar bytes.Buffer
		elsewhere, err := Backup(t.Context(), cfg.DataDir, &tar, nil, log)
		if err != nil || elsewhere != want || strings.Contains(tar.String(), control.SnapshotName) == want {
			t.Errorf("control store elsewhere: %v, want %v; %v", elsewhere, want, err)
		}
	}
	backup(false)
	t.Setenv("CONTROL_STORE", "postgres://weir@db.example/weir")
	backup(true)
	t.Setenv("CONTROL_STORE", "")
	for _, name := range []string{controlFile, controlFile + "-wal", controlFile + "-shm"} {
		if err := os.Remove(filepath.Join(cfg.DataDir, name)); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, anchorFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	backup(true)
	if _, err := Backup(t.Context(), filepath.Join(t.TempDir(), "new"), io.Discard, nil, log); err != nil {
		t.Error(err)
	}
}
