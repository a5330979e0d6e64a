package vfs

import (
	"errors"
	"os"
	"syscall"
)

// datasync leaves out the times of the inode, which nobody needs to survive;
// the length is synced.
func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			if err != nil {
				return os.NewSyscallError("fdatasync", err)
			}
			return nil
		}
	}
}
