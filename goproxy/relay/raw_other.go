//go:build !linux

package relay

import "syscall"

// readSome reads what is there, or says EAGAIN.
func readSome(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

// writeSome writes what there is room for, or says EAGAIN.
func writeSome(fd uintptr, b []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), b)
		if err != syscall.EINTR {
			return n, err
		}
	}
}
