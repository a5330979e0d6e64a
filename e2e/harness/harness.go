// Package harness starts Weir's programs and the servers around them for the
// end-to-end tests, waits for what they do, and keeps what they wrote. Every
// wait has a deadline, every process belongs to one test and ends with it.
package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Programs are the programs of Weir.
var Programs = []string{"goproxy", "forwarder", "analyzer", "weir"}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Bins is a folder with Weir's programs.
type Bins struct {
	dir  string
	made bool
}

// OpenBins takes the programs from WEIR_BIN, or builds them.
func OpenBins(ctx context.Context) (*Bins, error) {
	if dir := os.Getenv("WEIR_BIN"); dir != "" {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil, fmt.Errorf("find WEIR_BIN: %w", err)
		}
		for _, p := range Programs {
			if _, err := exec.LookPath(filepath.Join(dir, p)); err != nil {
				return nil, fmt.Errorf("find program in WEIR_BIN: %w", err)
			}
		}
		return &Bins{dir: dir}, nil
	}
	dir, err := os.MkdirTemp("", "weir-e2e-bin-")
	if err != nil {
		return nil, fmt.Errorf("make folder for programs: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator))
	for _, p := range Programs {
		cmd.Args = append(cmd.Args, "./cmd/"+p)
	}
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("build programs: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return &Bins{dir: dir, made: true}, nil
}

// Main runs a package's tests with the programs, and ends the process. Flags
// are parsed before.
func Main(m *testing.M, name string, bins **Bins) {
	flag.Parse()
	code, err := func() (code int, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		b, err := OpenBins(ctx)
		if err != nil {
			return 1, err
		}
		defer func() { err = errors.Join(err, b.Close()) }()
		*bins = b
		return m.Run(), nil
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		code = 1
	}
	os.Exit(code)
}

// Path is one program's file.
func (b *Bins) Path(program string) string { return filepath.Join(b.dir, program) }

// Dir is the folder that holds them.
func (b *Bins) Dir() string { return b.dir }

// Close removes what OpenBins built.
func (b *Bins) Close() error {
	if !b.made {
		return nil
	}
	return os.RemoveAll(b.dir)
}

// ports hands out numbers below the range from which the kernel takes the
// ports of outgoing connections, so that no client of a test that runs beside
// it can sit on one before its server listens.
var ports struct {
	sync.Mutex
	next  int
	given map[int]bool
}

const portMin, portMax = 12_000, 32_000

// Port is a TCP port of the loopback that nobody listens on, given out once.
func Port(t testing.TB) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
		ports.next = portMin + rand.IntN(portMax-portMin)
	}
	for range portMax - portMin {
		p := ports.next
		ports.next++
		if ports.next >= portMax {
			ports.next = portMin
		}
		if ports.given[p] {
			continue
		}
		// All interfaces: goproxy and the forwarder listen there.
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", p))
		if err != nil {
			continue
		}
		l.Close()
		ports.given[p] = true
		return p
	}
	t.Fatal("no free port")
	return 0
}

// Addr is "127.0.0.1:port".
func Addr(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// Poll asks every 20 ms until ok answers nil. The test fails with its last
// answer when that takes longer than within.
func Poll(t testing.TB, within time.Duration, what string, ok func() error) {
	t.Helper()
	if err := Await(t.Context(), within, ok); err != nil {
		t.Fatalf("%s: not within %v: %v", what, within, err)
	}
}

// Await is Poll for those who judge the error themselves.
func Await(ctx context.Context, within time.Duration, ok func() error) error {
	deadline := time.Now().Add(within)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// WaitPort waits until something accepts connections on a port of the
// loopback.
func WaitPort(t testing.TB, port int) {
	t.Helper()
	Poll(t, 20*time.Second, fmt.Sprintf("port %d", port), func() error {
		c, err := net.DialTimeout("tcp", Addr(port), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Dir is a folder for one test. When the test fails, the logs in it are kept
// among the artifacts.
func Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if !t.Failed() {
			return
		}
		to := Artifacts(t)
		if err := keepLogs(dir, to); err != nil {
			t.Logf("keep logs: %v", err)
			return
		}
		t.Logf("logs are kept in %s", to)
	})
	return dir
}

// Artifacts is the folder that keeps what a test leaves for people to look
// at.
func Artifacts(t testing.TB) string {
	t.Helper()
	base := os.Getenv("WEIR_ARTIFACTS")
	if base == "" {
		base = filepath.Join(Root(), "artifacts", "e2e")
	}
	dir := filepath.Join(base, strings.ReplaceAll(t.Name(), "/", "__"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatalf("make folder for artifacts: %v", err)
	}
	return dir
}

// keepLogs copies log files, at most the last 8 MiB of each.
func keepLogs(from, to string) error {
	const most = 8 << 20
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".log" {
			return err
		}
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		if info, err := in.Stat(); err == nil && info.Size() > most {
			if _, err := in.Seek(-most, io.SeekEnd); err != nil {
				return err
			}
		}
		out, err := os.Create(filepath.Join(to, filepath.Base(path)))
		if err != nil {
			return err
		}
		_, err = io.Copy(out, in)
		return errors.Join(err, out.Close())
	})
}
