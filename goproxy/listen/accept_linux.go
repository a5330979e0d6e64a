package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-capture/weir/internal/nonblock"
)

// config has connections inherit TCP_NODELAY and their keepalive from the
// listening socket, which saves five system calls for each.
func config() net.ListenConfig {
	return net.ListenConfig{KeepAlive: -1, Control: nonblock.Inherited}
}

// listening is a listening socket as a file on the runtime's poller: the net
// package lets nobody else wait for its own.
type listening struct {
	file  *os.File
	raw   syscall.RawConn
	local netip.AddrPort // may be all addresses
}

// newListening takes a listener over.
func newListening(ln *net.TCPListener) (listening, error) {
	at := ln.Addr().(*net.TCPAddr).AddrPort() // a TCPListener has no other
	file, err := ln.File()
	if err = errors.Join(err, ln.Close()); err != nil {
		return listening{}, err
	}
	raw, err := file.SyscallConn()
	return listening{file: file, raw: raw, local: netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, err
}

func (l listening) setDeadline(t time.Time) error { return l.file.SetReadDeadline(t) }
func (l listening) close() error                  { return l.file.Close() }

// accept accepts, in order, until take wants no more; it waits while there is
// none. It stays within one callback, and waits only after the kernel said that
// nothing is left: a wake-up takes all that came, and what comes behind that
// answer gives another one.
func (l listening) accept(take func(*nonblock.Socket) (more bool)) error {
	var failed error
	err := l.raw.Read(func(fd uintptr) (done bool) {
		for {
			conn, err := nonblock.Accept(fd, l.local)
			switch {
			case err == nil:
				if !take(conn) {
					return true
				}
			case err == unix.EAGAIN:
				return false
			case err == unix.EINTR, err == unix.ECONNABORTED:
				// The next one may be better: this one is gone already.
			default:
				failed = &net.OpError{Op: "accept", Net: "tcp", Addr: net.TCPAddrFromAddrPort(l.local), Err: os.NewSyscallError("accept4", err)}
				return true
			}
		}
	})
	return errors.Join(failed, err)
}

// takeWaiting accepts what waits now, at most so many, and waits for nothing.
func (l listening) takeWaiting(most int) (conns []*nonblock.Socket) {
	_ = l.raw.Control(func(fd uintptr) { // fails once it is closed
		for len(conns) < most {
			conn, err := nonblock.Accept(fd, l.local)
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	})
	return conns
}
