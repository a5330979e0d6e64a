package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Tmpfs mounts a file system of so many bytes in memory for one test, and
// returns its folder; err says why this machine does not allow that. It is
// unmounted when the test ends, and by scripts/fault should the test be
// killed, which knows it by its name.
func Tmpfs(t testing.TB, size int64) (dir string, err error) {
	t.Helper()
	dir = filepath.Join(Dir(t), "weir-tmpfs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatalf("make folder to mount on: %v", err)
	}
	if err := syscall.Mount("weir-fault", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		return "", fmt.Errorf("mount tmpfs: %w", err)
	}
	t.Cleanup(func() {
		err := syscall.Unmount(dir, 0)
		if errors.Is(err, syscall.EBUSY) {
			// A process that is being reaped may still hold a file.
			err = syscall.Unmount(dir, 0x2) // MNT_DETACH
		}
		if err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir, nil
}
