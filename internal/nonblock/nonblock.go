// Package nonblock accepts, dials, reads and writes on descriptors that do not
// block, without telling the scheduler, which for an ordinary Read or Write prepares for a
// call that takes long, and has a thread look after it every 20 microseconds
// for a while: at low load that costs more than the call. What it is given
// must not block, and must be held by the caller (syscall.RawConn does) while
// it is used.
package nonblock

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Conn is a TCP connection whose Read and Write go by Read and Write of this
// package. Like any other it may be used by several goroutines.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn
}

// Wrap makes a Conn of a connection; one that is not TCP it leaves as it is.
func Wrap(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	return &Conn{tcp, raw}
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := read(c.raw, b)
	return n, c.explain("read", err)
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := write(c.raw, b)
	return n, c.explain("write", err)
}

// read waits until there is something, and reads it.
func read(raw syscall.RawConn, b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	waited := raw.Read(func(fd uintptr) bool {
		n, err = Read(fd, b)
		return !errors.Is(err, syscall.EAGAIN)
	})
	if waited != nil {
		return 0, waited
	}
	if err == nil && n == 0 {
		return 0, io.EOF
	}
	return max(n, 0), os.NewSyscallError("read", err)
}

// write writes all, waiting for room where there is none.
func write(raw syscall.RawConn, b []byte) (written int, err error) {
	waited := raw.Write(func(fd uintptr) bool {
		for written < len(b) {
			var n int
			if n, err = Write(fd, b[written:]); err != nil {
				return !errors.Is(err, syscall.EAGAIN)
			}
			written += n
		}
		return true
	})
	if waited != nil {
		return written, waited
	}
	return written, os.NewSyscallError("write", err)
}

// explain says of an error of a system call what the net package would.
func (c *Conn) explain(op string, err error) error {
	if _, ok := errors.AsType[*os.SyscallError](err); !ok {
		return err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
