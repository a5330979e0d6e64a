package listen

import (
	"errors"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// What Go sets on every connection: keepalive after 15 s without a word, again
// every 15 s, nine times.
const (
	keepIdle     = 15 // seconds
	keepInterval = 15 // seconds
	keepCount    = 9
)

// config has connections inherit their keepalive from the listening socket,
// which saves four system calls for each.
func config() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		var errs []error
		err := raw.Control(func(fd uintptr) {
			for _, o := range [...]struct{ level, name, value int }{
				{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle},
				{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval},
				{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount},
			} {
				errs = append(errs, os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), o.level, o.name, o.value)))
			}
		})
		return errors.Join(append(errs, err)...)
	}}
}
