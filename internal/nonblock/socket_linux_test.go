package nonblock

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// blackHole is a listener whose queue is full: who dials it waits.
func blackHole(t *testing.T) (to netip.AddrPort, listener int) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(sa.(*unix.SockaddrInet4).Port))
	for range 8 {
		c, err := net.DialTimeout("tcp", to.String(), 200*time.Millisecond)
		if err != nil {
			return to, fd
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("its queue has no end")
	return to, fd
}

func closedPort(t *testing.T) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

// TestDialFailsLikeNet: operators know what the net package says.
func TestDialFailsLikeNet(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	soon, stop := context.WithCancel(t.Context())
	defer stop()
	cancel()
	silent, _ := blackHole(t)
	for _, c := range []struct {
		name string
		to   netip.AddrPort
		ctx  context.Context
		is   error
	}{
		{"refused", closedPort(t), t.Context(), syscall.ECONNREFUSED},
		{"no answer", silent, t.Context(), os.ErrDeadlineExceeded},
		{"unreachable", netip.MustParseAddrPort("255.255.255.255:80"), t.Context(), syscall.ENETUNREACH},
		{"cancelled before", silent, cancelled, nil},
		{"cancelled", silent, soon, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			const timeout = 100 * time.Millisecond
			if c.ctx == soon {
				time.AfterFunc(timeout/4, stop)
			}
			s, err := Dial(c.ctx, c.to, timeout)
			if err == nil {
				_ = s.Close()
				t.Fatal("it was dialled")
			}
			d := net.Dialer{Timeout: timeout}
			_, want := d.DialContext(c.ctx, "tcp", c.to.String())
			if err.Error() != want.Error() {
				t.Errorf("%q, the net package says %q", err, want)
			}
			if c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v is not %v", err, c.is)
			}
			got, ok := errors.AsType[*net.OpError](err)
			if !ok || got.Timeout() != want.(*net.OpError).Timeout() {
				t.Errorf("%#v", err)
			}
		})
	}
}

// TestDialWaits: a server that takes its time is waited for, and the deadline
// of the dial does not stay with the connection.
func TestDialWaits(t *testing.T) {
	to, listener := blackHole(t)
	const timeout = 4 * time.Second
	began := time.Now()
	type dialled struct {
		*Socket
		error
	}
	done := make(chan dialled, 1)
	go func() {
		s, err := Dial(t.Context(), to, timeout)
		done <- dialled{s, err}
	}()
	select {
	case <-done:
		t.Fatal("it did not wait")
	case <-time.After(100 * time.Millisecond):
	}
	for { // room for those that ask again
		fd, _, err := unix.Accept4(listener, unix.SOCK_NONBLOCK)
		if err != nil {
			break
		}
		defer func() { _ = unix.Close(fd) }()
	}
	s := <-done
	if s.error != nil {
		t.Fatal(s.error)
	}
	defer func() { _ = s.Close() }()
	if !s.Local.Addr().IsLoopback() || s.Local.Port() == 0 {
		t.Errorf("its address is %v", s.Local)
	}
	time.Sleep(time.Until(began.Add(timeout + 10*time.Millisecond)))
	if err := s.raw.Write(func(uintptr) bool { return true }); err != nil {
		t.Errorf("the deadline of the dial ends a write: %v", err)
	}
}

func TestAcceptAndDial(t *testing.T) {
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		t.Run(at, func(t *testing.T) {
			how := net.ListenConfig{KeepAlive: -1, Control: Inherited}
			how.SetMultipathTCP(false)
			ln, err := how.Listen(t.Context(), "tcp", at)
			if err != nil {
				t.Fatal(err)
			}
			file, err := ln.(*net.TCPListener).File()
			if err = errors.Join(err, ln.Close()); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = file.Close() }()
			listens := addrPort(ln.Addr())
			to := listens
			if to.Addr().IsUnspecified() {
				to = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), to.Port())
			}
			client, err := Dial(t.Context(), to, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			raw, err := file.SyscallConn() // and not its Fd, which blocks
			if err != nil {
				t.Fatal(err)
			}
			accept := func() (s *Socket, err error) {
				held := raw.Control(func(fd uintptr) { s, err = Accept(fd, listens) })
				return s, errors.Join(held, err)
			}
			server, err := accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = server.Close() }()
			if _, err := accept(); !errors.Is(err, unix.EAGAIN) {
				t.Errorf("an empty queue says %v", err)
			}
			if client.Remote != to || server.Local != to || client.Local != server.Remote || !client.Local.Addr().IsLoopback() {
				t.Errorf("the client says %v and %v, the server %v and %v", client.Local, client.Remote, server.Remote, server.Local)
			}
			if got, want := options(t, server), (opts{1, 1, 15, 15, 9}); got != want {
				t.Errorf("accepted: %v", got)
			}
			if got := options(t, client); got.nodelay != 1 || got.keepalive != 0 {
				t.Errorf("dialled: %v", got)
			}
			if err := client.KeepAlive(); err != nil {
				t.Fatal(err)
			}
			if got, want := options(t, client), (opts{1, 1, 15, 15, 9}); got != want {
				t.Errorf("dialled, and lasting: %v", got)
			}
			// What a relay does with it.
			if _, err := client.Write([]byte("ping")); err != nil {
				t.Fatal(err)
			}
			if err := client.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(server); string(got) != "ping" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
			server.Reset()
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("after a reset: %v", err)
			}
		})
	}
}

type opts struct{ nodelay, keepalive, idle, interval, count int }

func options(t *testing.T, s *Socket) (o opts) {
	t.Helper()
	err := s.Raw().Control(func(fd uintptr) {
		get := func(level, name int) int {
			v, err := unix.GetsockoptInt(int(fd), level, name)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		o = opts{
			get(unix.IPPROTO_TCP, unix.TCP_NODELAY), get(unix.SOL_SOCKET, unix.SO_KEEPALIVE),
			get(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE), get(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL), get(unix.IPPROTO_TCP, unix.TCP_KEEPCNT),
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}
