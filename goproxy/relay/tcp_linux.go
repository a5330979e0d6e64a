package relay

import (
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tcpClosed says whether the kernel has given a connection up.
func tcpClosed(raw syscall.RawConn) bool {
	state := uint8(0)
	err := raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	const closed = 7 // TCP_CLOSE of the kernel's tcp_states.h
	return err != nil || state == closed
}

// delivered waits until the peer's kernel has everything that was written, for
// as long as that makes progress.
func delivered(raw syscall.RawConn, grace time.Duration, stop *atomic.Bool) {
	waiting := func() (n int) {
		err := raw.Control(func(fd uintptr) {
			if v, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
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
	for left > 0 && time.Since(since) < grace && !stop.Load() && !tcpClosed(raw) {
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
		if n := waiting(); n < left {
			left, since, pause = n, time.Now(), time.Millisecond
		}
	}
}
