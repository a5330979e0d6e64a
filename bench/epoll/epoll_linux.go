// Package epoll is what the benchmark's backend and load generator share: one
// thread that waits for many sockets, so that they need far less time for a
// request than the proxies that they measure.
package epoll

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Loop waits for descriptors. It belongs to one goroutine.
type Loop struct {
	fd     int
	events []unix.EpollEvent
}

// New makes a loop.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &Loop{fd: fd, events: make([]unix.EpollEvent, 512)}, nil
}

// Add watches a descriptor for reading.
func (l *Loop) Add(fd int) error {
	return unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// Writable also watches it for room to write, or no longer does.
func (l *Loop) Writable(fd int, on bool) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if on {
		ev.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.fd, unix.EPOLL_CTL_MOD, fd, &ev)
}

// Wait calls f for each descriptor that is ready, after timeout at the latest
// (negative: never). Timeouts are exact to the kernel's timer, not to a
// millisecond.
func (l *Loop) Wait(timeout time.Duration, f func(fd int, readable, writable bool)) error {
	n, errno := l.poll(timeout)
	if errno == syscall.EINTR {
		return nil
	}
	if errno != 0 {
		return fmt.Errorf("wait for sockets: %w", errno)
	}
	for _, e := range l.events[:n] {
		const in = unix.EPOLLIN | unix.EPOLLHUP | unix.EPOLLERR | unix.EPOLLRDHUP
		f(int(e.Fd), e.Events&in != 0, e.Events&unix.EPOLLOUT != 0)
	}
	return nil
}

// spin is how long a loop asks again and again before it sleeps. Who sends to a
// process that sleeps pays for waking it; what a proxy is charged with should
// not depend on how often its peers have nothing to do.
const spin = 200 * time.Microsecond

// poll waits for events, awake at first. It yields the CPU each time: what
// drives a proxy shares one.
func (l *Loop) poll(timeout time.Duration) (int, syscall.Errno) {
	for began := time.Now(); timeout != 0; {
		n, errno := l.ask(0)
		if n != 0 || errno != 0 {
			return n, errno
		}
		_, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		if passed := time.Since(began); passed >= spin || timeout > 0 && passed >= timeout {
			if timeout > 0 {
				timeout = max(timeout-passed, 0)
			}
			break
		}
	}
	return l.ask(timeout)
}

// ask is the system call behind poll; a negative timeout waits for ever.
func (l *Loop) ask(timeout time.Duration) (int, syscall.Errno) {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(timeout.Nanoseconds())
		ts = &t
	}
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.fd), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(unsafe.Pointer(ts)), 0, 0)
	return int(n), errno
}

// Read and Write are the system calls on a non-blocking socket. They return
// unix.EAGAIN when there is nothing, or no room.
func Read(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func Write(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Listen opens a listening socket on loopback.
func Listen(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, fmt.Errorf("set address reuse: %w", err)
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return 0, fmt.Errorf("bind %v: %w", addr, err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return 0, fmt.Errorf("listen on %v: %w", addr, err)
	}
	return fd, nil
}

// Port is the port that a listening socket has.
func Port(fd int) (int, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("ask for port: %w", err)
	}
	in, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("ask for port: %T is no IPv4 address", sa)
	}
	return in.Port, nil
}

// Accept takes a connection, or returns unix.EAGAIN.
func Accept(fd int) (int, error) {
	c, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return 0, err
	}
	return c, unix.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
}

// Dial connects, and returns when it is connected.
func Dial(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Connect(fd, sockaddr(addr)); err != nil {
		_ = unix.Close(fd)
		return 0, fmt.Errorf("connect to %v: %w", addr, err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return 0, fmt.Errorf("set no delay: %w", err)
	}
	return fd, unix.SetNonblock(fd, true)
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}
