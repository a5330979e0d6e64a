package listen

import (
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ignoreSYN lets a listener complete the handshakes that are under way and
// begin no other: a client that comes now tries again, and finds the port
// closed. It is a socket filter (socket(7), SO_ATTACH_FILTER) on the flags of
// the TCP header; the connections that were accepted never see a SYN. It says
// whether the system can do that.
func ignoreSYN(ln *net.TCPListener) (ok bool) {
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
	control(ln, func(fd int) {
		ok = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{
			Len: uint16(len(program)), Filter: unsafe.SliceData(program),
		}) == nil
	})
	return ok
}

// takeWaiting accepts what waits now, at most so many, and waits for nothing.
func takeWaiting(ln *net.TCPListener, most int) (conns []*net.TCPConn) {
	var fds []int
	control(ln, func(listener int) {
		for len(fds) < most {
			fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			fds = append(fds, fd)
		}
	})
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "accepted")
		conn, err := net.FileConn(f)
		_ = f.Close() // FileConn has a descriptor of its own
		if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
			conns = append(conns, tcp)
		}
	}
	return conns
}

func control(ln *net.TCPListener, f func(fd int)) {
	if raw, err := ln.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
