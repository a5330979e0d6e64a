//go:build !linux

package relay

import (
	"sync/atomic"
	"syscall"
	"time"
)

// tcpClosed cannot be asked here: a reset whose error went to a write looks
// like a FIN.
func tcpClosed(uintptr) bool { return false }

// socket cannot be asked here.
func socket(syscall.RawConn) Socket { return Socket{} }

// delivered cannot be asked here: what was written gets a moment.
func delivered(_ syscall.RawConn, grace time.Duration, _ *atomic.Bool) {
	time.Sleep(min(grace, 50*time.Millisecond))
}
