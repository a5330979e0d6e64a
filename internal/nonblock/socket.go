package nonblock

import (
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// Socket is a TCP connection with what a relay needs of one, and no more: its
// descriptor on the runtime's poller, and both addresses, which are known from
// the calls that made it. Accept and Dial make one with half the system calls
// of the net package, where the system allows it.
//
// Its methods may be called by several goroutines.
type Socket struct {
	// Local and Remote are the addresses of both ends, IPv4 as IPv4.
	Local, Remote netip.AddrPort

	raw  syscall.RawConn
	file file
}

// file is what holds a descriptor and waits for it: an os.File or a
// net.TCPConn.
type file interface {
	Close() error
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// FromConn makes a Socket of a connection, which it takes over; if it fails,
// it closes it.
func FromConn(conn *net.TCPConn) (*Socket, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &Socket{Local: addrPort(conn.LocalAddr()), Remote: addrPort(conn.RemoteAddr()), raw: raw, file: conn}, nil
}

func addrPort(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return unmap(tcp.AddrPort())
	}
	return netip.AddrPort{}
}

func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// Raw gives the descriptor, held for as long as a callback uses it.
func (s *Socket) Raw() syscall.RawConn { return s.raw }

// Read reads like a net.Conn.
func (s *Socket) Read(b []byte) (int, error) { return read(s.raw, b) }

// Write writes like a net.Conn.
func (s *Socket) Write(b []byte) (int, error) { return write(s.raw, b) }

// SetDeadline ends reads and writes that wait at a time; zero: never.
func (s *Socket) SetDeadline(t time.Time) error { return s.file.SetDeadline(t) }

// SetReadDeadline is SetDeadline for reads.
func (s *Socket) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for writes.
func (s *Socket) SetWriteDeadline(t time.Time) error { return s.file.SetWriteDeadline(t) }

// CloseWrite sends a FIN behind what was written.
func (s *Socket) CloseWrite() (err error) {
	held := s.raw.Control(func(fd uintptr) { err = os.NewSyscallError("shutdown", shutdownWrite(fd)) })
	if held != nil {
		return held
	}
	return err
}

// Close closes the connection. Reads and writes that wait return, and the
// descriptor is given back when the last of them has.
func (s *Socket) Close() error { return s.file.Close() }

// Reset closes the connection with a reset, as an end that is not there would.
func (s *Socket) Reset() {
	_ = s.raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
	})
	_ = s.file.Close()
}

// What Go sets on every connection, to find peers that vanished: keepalive
// after 15 s without a word, again every 15 s, nine times.
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 9}
