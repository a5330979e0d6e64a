package listen

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoreSYN lets a listener complete the handshakes that are under way and
// begin no other: a client that comes now tries again, and finds the port
// closed. It is a socket filter (socket(7), SO_ATTACH_FILTER) on the flags of
// the TCP header; the connections that were accepted never see a SYN. It says
// whether the system can do that.
func (l listening) ignoreSYN() (ok bool) {
	const (
		flags = 13 // their offset in the header
		syn   = 0x02
	)
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
	_ = l.raw.Control(func(fd uintptr) { // fails once it is closed
		ok = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
			Len: uint16(len(program)), Filter: unsafe.SliceData(program),
		}) == nil
	})
	return ok
}
