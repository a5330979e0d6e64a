//go:build !linux

package nonblock

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// KeepAlive has nothing to do: Dial did it.
func (s *Socket) KeepAlive() error { return nil }

// Dial connects like net.Dial, and gives up after timeout or at the end of ctx.
func Dial(ctx context.Context, to netip.AddrPort, timeout time.Duration) (*Socket, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: keepalive}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return FromConn(conn.(*net.TCPConn)) // "tcp" gives nothing else
}

func shutdownWrite(fd uintptr) error { return syscall.Shutdown(int(fd), syscall.SHUT_WR) }
