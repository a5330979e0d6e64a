package relay

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// tcpClosed says whether the kernel has given a connection up: by the state,
// which is the first byte of its struct tcp_info.
func tcpClosed(fd uintptr) bool {
	const closed = 7 // TCP_CLOSE of the kernel's tcp_states.h
	var info [8]byte
	size := uint32(len(info))
	_, _, errno := syscall.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return errno == 0 && size > 0 && info[0] == closed
}

// states are the names of the kernel's tcp_states.h, which counts from 1.
var states = [...]string{
	"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
	"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
}

func socket(raw syscall.RawConn) (s Socket) {
	err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && int(info.State) < len(states) {
			s.State = states[info.State]
		}
		s.Unread, _ = unix.IoctlGetInt(int(fd), unix.SIOCINQ) // 0 is what can be said of a socket that does not tell
		s.Unacked, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		s.SendBuffer, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	})
	if err != nil {
		return Socket{}
	}
	return s
}

// delivered waits until the peer's kernel has everything that was written, for
// as long as that makes progress.
func delivered(raw syscall.RawConn, grace time.Duration, stop *atomic.Bool) {
	waiting := func() (n int) {
		err := raw.Control(func(fd uintptr) {
			if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil && !tcpClosed(fd) {
				n = v
			}
		})
		if err != nil {
			return 0
		}
		return n
	}
	left := waiting()
	since, pause := time.Now(), time.Millisecond
	for left > 0 && time.Since(since) < grace && !stop.Load() {
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
		if n := waiting(); n < left {
			left, since, pause = n, time.Now(), time.Millisecond
		}
	}
}
