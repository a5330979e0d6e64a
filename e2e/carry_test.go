package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
	"github.com/weir-capture/weir/e2e/load"
)

// conversation is what a client and a server do to each other on one
// connection. Each returns what it read, and how the connection ended for it.
type conversation struct {
	name           string
	client, server func(*net.TCPConn) ([]byte, error)
}

var conversations = []conversation{
	{
		"the server speaks first",
		func(c *net.TCPConn) ([]byte, error) {
			greeting := make([]byte, 12)
			if _, err := io.ReadFull(c, greeting); err != nil {
				return nil, err
			}
			_, _ = io.WriteString(c, "HELO me\r\n")
			rest, err := io.ReadAll(c)
			return append(greeting, rest...), err
		},
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "220 welcome\n")
			got := make([]byte, 9)
			_, err := io.ReadFull(c, got)
			_, _ = io.WriteString(c, "221 bye\n")
			return got, err
		},
	},
	{
		"the client closes its half first",
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = c.Write(noise(100_000, 21))
			_ = c.CloseWrite()
			return io.ReadAll(c)
		},
		func(c *net.TCPConn) ([]byte, error) {
			got, err := io.ReadAll(c)
			_, _ = c.Write(noise(150_000, 22))
			return got, err
		},
	},
	{
		"the server closes its half first",
		func(c *net.TCPConn) ([]byte, error) {
			got, err := io.ReadAll(c)
			_, _ = c.Write(noise(120_000, 23))
			_ = c.CloseWrite()
			return got, err
		},
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = c.Write(noise(80_000, 24))
			_ = c.CloseWrite()
			return io.ReadAll(c)
		},
	},
	{
		"the server resets",
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			return io.ReadAll(c)
		},
		func(c *net.TCPConn) ([]byte, error) {
			got := make([]byte, 27)
			_, err := io.ReadFull(c, got)
			_ = c.SetLinger(0)
			return got, err
		},
	},
	{
		"the client resets",
		func(c *net.TCPConn) ([]byte, error) {
			got := make([]byte, 5)
			_, err := io.ReadFull(c, got)
			_ = c.SetLinger(0)
			return got, err
		},
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "hello")
			return io.ReadAll(c)
		},
	},
	{
		"bytes of no protocol, one at a time",
		func(c *net.TCPConn) ([]byte, error) {
			for _, b := range noise(60, 25) {
				if _, err := c.Write([]byte{b}); err != nil {
					return nil, err
				}
			}
			_ = c.CloseWrite()
			return io.ReadAll(c)
		},
		func(c *net.TCPConn) ([]byte, error) {
			got, err := io.ReadAll(c)
			_, _ = c.Write(got)
			return got, err
		},
	},
	{
		"an upgrade in the middle",
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n")
			_, _ = c.Write(noise(1000, 26))
			_ = c.CloseWrite()
			return io.ReadAll(c)
		},
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: own\r\n\r\n")
			got, err := io.ReadAll(c)
			_, _ = c.Write(noise(1000, 27))
			return got, err
		},
	},
	{
		"what only looks like HTTP",
		func(c *net.TCPConn) ([]byte, error) {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /\x00\xff\r\n")
			_ = c.CloseWrite()
			return io.ReadAll(c)
		},
		func(c *net.TCPConn) ([]byte, error) {
			got, err := io.ReadAll(c)
			_, _ = io.WriteString(c, "HTTP/1.1 999999 \r\n\r\nand then some")
			return got, err
		},
	},
}

// ending names how a connection ended, as far as both sides of a proxy can
// tell it.
func ending(err error) string {
	switch {
	case err == nil:
		return "closed"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	}
	return err.Error()
}

// TestCarriesAnything holds the same conversation directly and through the
// proxy: each side reads the same bytes, and sees the same end.
func TestCarriesAnything(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := harness.NewStack(t, bins, l.Addr().(*net.TCPAddr).Port)
	s.StartProxy() // and nobody else
	for _, c := range conversations {
		t.Run(c.name, func(t *testing.T) {
			hold := func(port int) string {
				deadline := time.Now().Add(15 * time.Second)
				var wg sync.WaitGroup
				var atServer string
				wg.Go(func() {
					_ = l.(*net.TCPListener).SetDeadline(deadline)
					conn, err := l.Accept()
					if err != nil {
						atServer = err.Error()
						return
					}
					defer conn.Close()
					_ = conn.SetDeadline(deadline)
					got, err := c.server(conn.(*net.TCPConn))
					atServer = fmt.Sprintf("server: %d bytes %x, %s", len(got), ledger.DigestBytes(got).XXH3, ending(err))
				})
				conn, err := net.DialTimeout("tcp", harness.Addr(port), 5*time.Second)
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.SetDeadline(deadline)
				got, err := c.client(conn.(*net.TCPConn))
				conn.Close()
				wg.Wait()
				return fmt.Sprintf("client: %d bytes %x, %s; %s", len(got), ledger.DigestBytes(got).XXH3, ending(err), atServer)
			}
			direct, through := hold(l.Addr().(*net.TCPAddr).Port), hold(s.ProxyPort)
			if direct != through {
				t.Errorf("direct:            %s\nthrough the proxy: %s", direct, through)
			}
		})
	}
}

// TestMemoryRunsOut: with the forwarder away for long, capture keeps what its
// memory holds and counts what it does not. Traffic goes on, and in the end
// what was seen is what is stored plus what is said to be dropped.
func TestMemoryRunsOut(t *testing.T) {
	t.Parallel()
	nginx := startNginx(t, false)
	s := harness.NewStack(t, bins, nginx.Port)
	s.ProxyEnv["CAPTURE_MEMORY_LIMIT"] = "8MiB"
	s.StartProxy()
	var p load.Plan
	for i := range 120 {
		p.Add("PUT", "/dav/{id}.bin", noise(300_000, uint64(i)))
	}
	calls := load.Go(t.Context(), s.Front(), p.Requests, 4)
	for _, c := range calls {
		if c.Err != "" {
			t.Fatalf("a client noticed: %s", c.Err)
		}
	}
	rss := residentKiB(t, s.Proxy.PID())
	t.Logf("36 MB carried with no forwarder and 8 MiB for capture: the proxy holds %d KiB", rss)
	if rss > 120<<10 {
		t.Errorf("the proxy holds %d KiB", rss)
	}
	s.StartForwarder()
	s.StartAnalyzer()
	s.WaitRegistered()
	// What is stored is right. Of what was shed, the size and the hash are
	// those of the whole, and the pair says that it is not.
	pairs := stored(t, s, 1)
	bodies := map[string]ledger.Body{}
	for _, c := range calls {
		bodies[c.ID] = c.Out
	}
	var whole []ledger.Stored
	shed := 0
	for _, pair := range pairs {
		if len(pair.Flags) == 0 {
			whole = append(whole, pair)
			continue
		}
		shed++
		want := bodies[pair.ID]
		if pair.Out.Size != want.Size || !bytes.Equal(pair.Out.Hash, want.XXH3[:]) || pair.Out.Kept >= want.Size || pair.Status != 201 {
			t.Errorf("pair %s of %s with flags %v: status %d, %d bytes of %d, hash %x", pair.Pair, pair.ID, pair.Flags, pair.Status, pair.Out.Kept, pair.Out.Size, pair.Out.Hash)
		}
	}
	r := ledger.Compare(calls, withoutLast(harness.Settle(t, nginx.Served, len(calls)+1)), whole)
	if len(r.Twice)+len(r.Phantom)+len(r.Corrupt)+len(r.Mispaired)+len(r.Failed) > 0 {
		t.Error(r)
	}
	api := ledger.NewAnalyzer(s.Viewer())
	harness.Poll(t, 10*time.Second, "an account that adds up", func() error {
		who, err := api.Proxies(t.Context())
		if err != nil {
			return err
		}
		if len(who.Proxies) != 1 {
			return fmt.Errorf("%d proxies", len(who.Proxies))
		}
		c, dropped := who.Proxies[0].Counters, uint64(0)
		for _, n := range c.Dropped {
			dropped += n
		}
		rows, err := api.List(t.Context(), "")
		if err != nil {
			return err
		}
		account := fmt.Sprintf("%d seen, %d stored (%d of them cut), %d dropped %v", c.Seen, len(rows), shed, dropped, c.Dropped)
		if c.Seen != uint64(len(calls)+1) || c.Seen != uint64(len(rows))+dropped {
			return errors.New(account)
		}
		t.Log(account)
		if dropped == 0 && shed == 0 {
			t.Error("nothing was dropped or shed: the test did not fill the memory")
		}
		return nil
	})
}

// residentKiB is what a process holds in memory; 0 where the system does not
// tell.
func residentKiB(t *testing.T, pid int) (n int) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(data) {
		if _, err := fmt.Sscanf(string(line), "VmRSS: %d kB", &n); err == nil {
			return n
		}
	}
	return 0
}
