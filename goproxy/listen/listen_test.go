package listen

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/nonblock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counting counts the lines that are written.
type counting struct {
	slog.Handler
	lines atomic.Int64
}

func (c *counting) Enabled(context.Context, slog.Level) bool  { return true }
func (c *counting) Handle(context.Context, slog.Record) error { c.lines.Add(1); return nil }

func open(t *testing.T, limit int) (*Listener, *counting) {
	t.Helper()
	lines := &counting{Handler: slog.DiscardHandler}
	log := lograte.New(slog.New(lines), time.Second)
	t.Cleanup(log.Close)
	l, err := Open("127.0.0.1:0", limit, log)
	if err != nil {
		t.Fatal(err)
	}
	return l, lines
}

// serve serves until the test ends.
func serve(t *testing.T, l *Listener, f func(*nonblock.Socket)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); l.Serve(ctx, f); l.Wait() }()
	t.Cleanup(func() { cancel(); <-done })
}

func dial(t *testing.T, l *Listener) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestABusyConnectionHoldsNobodyUp(t *testing.T) {
	l, _ := open(t, 10)
	block := make(chan struct{})
	var served atomic.Int64
	serve(t, l, func(c *nonblock.Socket) {
		served.Add(1)
		<-block
		_ = c.Close()
	})
	for range 5 {
		dial(t, l)
	}
	eventually(t, "all are served", func() bool { return served.Load() == 5 })
	close(block)
}

func TestR09AtTheLimitNewConnectionsWait(t *testing.T) {
	l, lines := open(t, 2)
	release := make(chan struct{})
	var served atomic.Int64
	serve(t, l, func(c *nonblock.Socket) {
		served.Add(1)
		<-release
		_ = c.Close()
	})
	for range 4 {
		dial(t, l)
	}
	eventually(t, "two are served and it is said", func() bool { return served.Load() == 2 && lines.lines.Load() > 0 })
	release <- struct{}{}
	eventually(t, "one that left makes room for one", func() bool { return served.Load() == 3 })
	close(release)
	eventually(t, "all are served", func() bool { return served.Load() == 4 })
}

// TestR21WithoutDescriptorsItWaitsAndGoesOn runs out of descriptors for real.
func TestR21WithoutDescriptorsItWaitsAndGoesOn(t *testing.T) {
	l, lines := open(t, 100)
	var served atomic.Int64
	serve(t, l, func(c *nonblock.Socket) { served.Add(1); _ = c.Close() })
	client, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(client)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(client) + 1 // no descriptor above this one
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}()
	// Descriptors below it may be free; take them.
	var taken []int
	defer func() {
		for _, fd := range taken {
			_ = syscall.Close(fd)
		}
	}()
	for {
		fd, err := syscall.Dup(client)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	var before, after syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().AddrPort()
	if err := syscall.Connect(client, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it says why it does not accept", func() bool { return lines.lines.Load() > 0 })
	time.Sleep(300 * time.Millisecond) // long enough for a loop that spins to show
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	if served.Load() != 0 {
		t.Fatal("there was a descriptor left; the test proves nothing")
	}
	if spent := time.Duration(after.Utime.Nano()-before.Utime.Nano()) + time.Duration(after.Stime.Nano()-before.Stime.Nano()); spent > 150*time.Millisecond {
		t.Errorf("spent %v of CPU in 300 ms of waiting", spent)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it accepts when there are descriptors again", func() bool { return served.Load() == 1 })
}

func TestATakenPortIsAnError(t *testing.T) {
	l, _ := open(t, 1)
	defer l.Close()
	if _, err := Open(l.Addr().String(), 1, nil); err == nil {
		t.Error("the port is taken")
	}
}

// TestR31StoppingServesWhoIsConnected: whom the kernel told that the connection
// is there is served, and whoever comes later finds the port closed.
func TestR31StoppingServesWhoIsConnected(t *testing.T) {
	l, _ := open(t, 1000)
	echo := func(c *nonblock.Socket) {
		defer c.Close()
		_, _ = io.Copy(c, c)
	}
	ask := func(c net.Conn) error {
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	waiting := make([]net.Conn, 20)
	for i := range waiting {
		waiting[i] = dial(t, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Serve(ctx, echo); l.Wait() }()

	var served atomic.Int64
	var stopping atomic.Bool
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				c, err := net.Dial("tcp", l.Addr().String())
				if err == nil {
					err = ask(c)
				}
				// Where the system cannot turn new ones away before it closes,
				// who comes in the very last moment may be reset.
				if stopping.Load() && (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET)) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				served.Add(1)
			}
		})
	}
	eventually(t, "clients are served", func() bool { return served.Load() > 100 })
	for _, c := range waiting[:10] {
		if err := ask(c); err != nil {
			t.Error(err)
		}
	}
	stopping.Store(true)
	cancel()
	clients.Wait()
	for _, c := range waiting[10:] {
		if err := ask(c); err != nil {
			t.Error(err)
		}
	}
	<-done
}

// TestR31StoppingBeforeServing: the end may come before the beginning.
func TestR31StoppingBeforeServing(t *testing.T) {
	l, _ := open(t, 1)
	c := dial(t, l)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Serve(ctx, func(c *nonblock.Socket) { _, _ = c.Write([]byte("x")); _ = c.Close() })
	l.Wait()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}
