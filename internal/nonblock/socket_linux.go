package nonblock

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls below cannot block: the descriptors are non-blocking, and what is
// asked of them is answered from memory. So they are made like Read and Write,
// behind the scheduler's back.

// Inherited is what a listening socket needs so that the connections that it
// accepts have TCP_NODELAY and keepalive, as Go would set them on each: they
// inherit their options from it. It is a net.ListenConfig's Control.
func Inherited(_, _ string, raw syscall.RawConn) error {
	var errs []error
	err := raw.Control(func(fd uintptr) {
		errs = append(errs, os.NewSyscallError("setsockopt", setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)), setKeepalive(fd))
	})
	return errors.Join(append(errs, err)...)
}

// KeepAlive has the kernel find out when the peer of a connection that was
// dialled vanishes. Dial leaves that to the connections that last: it takes
// four system calls.
func (s *Socket) KeepAlive() error {
	var err error
	held := s.raw.Control(func(fd uintptr) { err = setKeepalive(fd) })
	return errors.Join(held, err)
}

func setKeepalive(fd uintptr) error {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepalive.Idle.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepalive.Interval.Seconds())},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepalive.Count},
	} {
		if err := setsockopt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return nil
}

// Accept takes a connection from a listening socket, which its caller holds,
// or says EAGAIN. local is where it listens, if that is one address.
func Accept(listener uintptr, local netip.AddrPort) (*Socket, error) {
	var from sockaddr
	size := uint32(unsafe.Sizeof(from))
	fd, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, listener, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return nil, errno
	}
	if local.Addr().IsUnspecified() {
		local = localAddr(fd)
	}
	return newSocket(fd, local, from.get()), nil
}

// newSocket gives a descriptor to the runtime's poller. Should that have no
// room for it, the first wait says so.
func newSocket(fd uintptr, local, remote netip.AddrPort) *Socket {
	f := os.NewFile(fd, "tcp")
	raw, _ := f.SyscallConn() // fails for a nil File only
	return &Socket{Local: local, Remote: remote, raw: raw, file: f}
}

// dials is how often a connection is dialled that had no free port, or found
// itself: the kernel may give a socket that dials a free port of this machine
// that very port.
const dials = 3

// Dial connects, and gives up after timeout or at the end of ctx. Its errors are
// those of net.Dial. See KeepAlive for what it leaves out.
func Dial(ctx context.Context, to netip.AddrPort, timeout time.Duration) (*Socket, error) {
	to = unmap(to)
	for again := dials; ; {
		again--
		s, err := dial(ctx, to, timeout)
		switch {
		case err == nil && s.Local == to:
			_ = s.Close()
			if again == 0 {
				return nil, dialError(to, "connect", unix.ECONNREFUSED)
			}
		case err != nil && (again == 0 || !errors.Is(err, unix.EADDRNOTAVAIL)):
			return nil, err
		case err == nil:
			return s, nil
		}
	}
}

func dial(ctx context.Context, to netip.AddrPort, timeout time.Duration) (*Socket, error) {
	var addr sockaddr
	family, size := addr.set(to)
	fd, _, errno := syscall.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errno != 0 {
		return nil, dialError(to, "socket", errno)
	}
	if err := setsockopt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		_ = unix.Close(int(fd))
		return nil, dialError(to, "setsockopt", err)
	}
	connect := func(fd uintptr) syscall.Errno {
		for {
			_, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, fd, uintptr(unsafe.Pointer(&addr)), size)
			if errno != unix.EINTR {
				return errno
			}
		}
	}
	errno = connect(fd)
	if errno == unix.EINPROGRESS {
		// A server on this machine has answered by now, behind the call's
		// back: asking again saves the wait.
		errno = connect(fd)
	}
	if errno != 0 && errno != unix.EALREADY {
		_ = unix.Close(int(fd))
		return nil, dialError(to, "connect", errno)
	}
	s := newSocket(fd, netip.AddrPort{}, to)
	if errno == unix.EALREADY {
		if err := s.connected(ctx, timeout, connect); err != nil {
			_ = s.Close()
			return nil, dialError(to, "connect", err)
		}
	}
	if err := s.raw.Control(func(fd uintptr) { s.Local = localAddr(fd) }); err != nil {
		_ = s.Close()
		return nil, dialError(to, "getsockname", err)
	}
	return s, nil
}

// dialError is what the net package would say of a connection that could not
// be made.
func dialError(to netip.AddrPort, call string, err error) error {
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		err = os.NewSyscallError(call, err)
	}
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

// errCanceled is what the net package says of a dial whose context was
// cancelled.
var errCanceled = errors.New("operation was canceled")

// connected waits until a connection that is under way is there.
func (s *Socket) connected(ctx context.Context, timeout time.Duration, connect func(uintptr) syscall.Errno) error {
	_ = s.SetWriteDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { _ = s.SetWriteDeadline(time.Unix(1, 0)) })
	var errno syscall.Errno
	err := s.raw.Write(func(fd uintptr) bool {
		errno = connect(fd)
		return errno != unix.EALREADY && errno != unix.EINPROGRESS
	})
	switch {
	case !stop(), err != nil && errors.Is(ctx.Err(), context.Canceled):
		return errCanceled
	case err != nil:
		return err
	case errno != 0:
		return errno
	}
	return s.SetWriteDeadline(time.Time{})
}

// sockaddr has room for the addresses of IPv4 and IPv6.
type sockaddr struct{ unix.RawSockaddrInet6 }

// set makes it an address without a zone, and says of which family and size.
func (a *sockaddr) set(to netip.AddrPort) (family, size uintptr) {
	if to.Addr().Is4() {
		*(*unix.RawSockaddrInet4)(unsafe.Pointer(a)) = unix.RawSockaddrInet4{
			Family: unix.AF_INET, Port: swapped(to.Port()), Addr: to.Addr().As4(),
		}
		return unix.AF_INET, unix.SizeofSockaddrInet4
	}
	a.RawSockaddrInet6 = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Port()), Addr: to.Addr().As16()}
	return unix.AF_INET6, unix.SizeofSockaddrInet6
}

// get is the address that the kernel wrote.
func (a *sockaddr) get() netip.AddrPort {
	port := swapped(a.Port)
	if a.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(a)).Addr), port)
	}
	ip := netip.AddrFrom16(a.Addr).Unmap()
	if a.Scope_id != 0 {
		zone := strconv.FormatUint(uint64(a.Scope_id), 10)
		if i, err := net.InterfaceByIndex(int(a.Scope_id)); err == nil {
			zone = i.Name
		}
		ip = ip.WithZone(zone)
	}
	return netip.AddrPortFrom(ip, port)
}

// swapped brings a port into the byte order of the network, and back.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

// localAddr is the address of our end; none if the kernel does not say, which
// it does of every connection that was made.
func localAddr(fd uintptr) netip.AddrPort {
	var addr sockaddr
	size := uint32(unsafe.Sizeof(addr))
	_, _, errno := syscall.RawSyscall(unix.SYS_GETSOCKNAME, fd, uintptr(unsafe.Pointer(&addr)), uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return netip.AddrPort{}
	}
	return addr.get()
}

func setsockopt(fd uintptr, level, name, value int) error {
	v := int32(value)
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, fd, uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func shutdownWrite(fd uintptr) error {
	if _, _, errno := syscall.RawSyscall(unix.SYS_SHUTDOWN, fd, unix.SHUT_WR, 0); errno != 0 {
		return errno
	}
	return nil
}
