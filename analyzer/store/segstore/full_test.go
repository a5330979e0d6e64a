package segstore_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// smallDisk is a file system of its own with so many bytes.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("LEFT OUT: a disk to fill needs a mount, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(dir, "data")
}

// fillUp takes all the room that is left.
func fillUp(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for _, chunk := range []int{1 << 20, 4096, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, chunk))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	_ = f.Close()
}

// TestR19OpensOnAFullDisk: a disk that is full, by others too, keeps nobody from
// reading, nor the next start from working; frames are refused until there is
// room, and then taken without another start.
func TestR19OpensOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, "size=64m")
	opt := segstore.Options{Dir: dir, SegmentBytes: 1 << 20, Ballast: 64 << 20}
	s := start(t, opt)
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	eventually(t, "the ballast is there", func() bool {
		info, err := os.Stat(filepath.Join(dir, "ballast"))
		return err == nil && info.Size() > 1<<20 && info.Size() < 8<<20
	})
	rng := rand.NewChaCha8([32]byte{})
	stored := uint64(0)
	next := func() *capturev1.Frame {
		pairs := storetest.Pairs(stored, stored+4)
		pairs[0].Request = &capturev1.Message{Body: make([]byte, 1<<20), BodySize: 1 << 20}
		_, _ = rng.Read(pairs[0].GetRequest().GetBody()) // never fails
		return f.Frame(pairs...)
	}
	fr := next()
	for {
		err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr})
		if errors.Is(err, store.ErrFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		stored += 4
		fr = next()
	}
	if stored < 100 {
		t.Fatalf("only %d pairs fit", stored)
	}
	full := func(s *running, what string) {
		t.Helper()
		eventually(t, what+": ready", func() bool { return s.Ready() == nil })
		if err := s.Writable(); !errors.Is(err, store.ErrFull) {
			t.Errorf("%s: writable: %v", what, err)
		}
		if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); !errors.Is(err, store.ErrFull) {
			t.Errorf("%s: append: %v", what, err)
		}
		for _, whole := range []bool{false, true} {
			if got := storetest.All(t, s, store.List{Whole: whole}); upTo(got, stored) != nil || uint64(len(got)) != stored {
				t.Errorf("%s: %d pairs, want %d: %v", what, len(got), stored, upTo(got, stored))
			}
		}
	}
	full(s, "full")
	eventually(t, "indexed", func() bool { return s.Counters().Backlog == 0 })
	s.close(t)
	fillUp(t, filepath.Join(filepath.Dir(dir), "others"))
	s = start(t, opt)
	full(s, "opened on a full disk")
	s.close(t)
	if err := os.RemoveAll(filepath.Join(dir, "index")); err != nil {
		t.Fatal(err)
	}
	fillUp(t, filepath.Join(filepath.Dir(dir), "others"))
	s = start(t, opt)
	if err := s.Writable(); !errors.Is(err, store.ErrFull) {
		t.Errorf("without an index: writable: %v", err)
	}
	if err := syscall.Mount("tmpfs", filepath.Dir(dir), "tmpfs", syscall.MS_REMOUNT, "size=128m"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "room again", func() bool { return s.Writable() == nil })
	if err := s.Append(t.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	stored += 4
	if err := upTo(storetest.All(t, s, store.List{Whole: true}), stored); err != nil {
		t.Error(err)
	}
}
