package goproxy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
)

// roleVar makes this test's program another one.
const roleVar = "WEIR_TEST_ROLE"

var roles = map[string]func(){"goproxy": asGoproxy, "backend": asBackend, "answers": asAnswers}

// asGoproxy is cmd/goproxy.
func asGoproxy() {
	load := func(env *daemon.Env) (Config, slog.Level) {
		cfg := LoadConfig(env)
		return cfg, cfg.LogLevel
	}
	start := func(cfg Config, log *slog.Logger) (daemon.Runner, error) { return New(cfg, log) }
	os.Exit(daemon.Main(os.Stderr, daemon.Ordered, load, start))
}

// script is what a backend in a process of its own does on each of its
// connections, in the order in which they come.
type script struct {
	// Read is how many bytes of the request it reads, Say what it answers.
	Read int
	Say  []string // in base64
}

// asBackend plays the script of its environment, and stays until it is killed.
func asBackend() {
	var s script
	if err := json.Unmarshal([]byte(os.Getenv("SCRIPT")), &s); err != nil {
		panic(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "listens at %s\n", ln.Addr())
	var open []net.Conn // nobody closes them
	for _, say := range s.Say {
		conn, err := ln.Accept()
		if err != nil {
			panic(err)
		}
		open = append(open, conn)
		if _, err := io.ReadFull(conn, make([]byte, s.Read)); err != nil {
			panic(err)
		}
		data, err := base64.StdEncoding.DecodeString(say)
		if err != nil {
			panic(err)
		}
		if _, err := conn.Write(data); err != nil {
			panic(err)
		}
		fmt.Fprintf(os.Stderr, "said to %d\n", len(open))
	}
	select {} // until it is killed
}

// process is another program that belongs to a test.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  lockedBuffer
	done chan struct{}
}

// startProcess runs this program in a role, by a shell's limits, "ulimit -n 64"
// for example, where there are any.
func startProcess(t *testing.T, role, limits string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self), done: make(chan struct{})}
	if limits != "" {
		p.cmd = exec.Command("sh", "-c", limits+` && exec "$0"`, self)
	}
	p.cmd.Env = append([]string{roleVar + "=" + role, "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its state says how it ended
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			t.Logf("%s says:\n%s", role, p.log.String())
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal: %v", err)
	}
}

// says waits for something in its log, and returns the groups of it.
func (p *process) says(pattern string) []string {
	p.t.Helper()
	re := regexp.MustCompile(pattern)
	var found []string
	eventually(p.t, "it says "+pattern, func() bool {
		found = re.FindStringSubmatch(p.log.String())
		return found != nil
	})
	return found
}

// status waits for the end, and gives the exit status.
func (p *process) status(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("it runs after %v", within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// running is a goproxy in a process of its own, and its forwarder.
type running struct {
	*process
	forwarder *shiptest.Forwarder
	addr      string
}

// startGoproxy runs one in front of upstream.
func startGoproxy(t *testing.T, upstream, limits string, env ...string) *running {
	t.Helper()
	r := &running{forwarder: &shiptest.Forwarder{ID: "f"}}
	ln := listenLoop(t)
	t.Cleanup(r.forwarder.Serve(ln))
	host, port, err := net.SplitHostPort(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r.process = startProcess(t, "goproxy", limits, append([]string{
		"PROXY_TYPE=reverse", "PROXY_IN_PORT=0", "REVERSE_PROXY_HOST=" + host, "REVERSE_PROXY_PORT=" + port,
		"APP_LABEL=shop", "APP_POD_NAME=shop-1", "FORWARDER_ADDR=" + ln.Addr().String(), "DIAGNOSTICS_ADDR=off",
	}, env...)...)
	r.addr = "127.0.0.1:" + r.says(`"Starting proxy listener".*"addr":":(\d+)"`)[1]
	r.says("Successfully registered")
	return r
}

// spent is the processor time that it took so far.
func (p *process) spent() time.Duration {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	// The name in parentheses may have anything in it; user and system time are
	// the 12th and 13th field behind it, in ticks of 10 ms.
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// resident is its memory in bytes.
func (p *process) resident() int64 {
	p.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		p.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// daemonFailed is the status of a process that did not end as it should.
const daemonFailed = daemon.ExitFailed

// median of durations, which it sorts.
func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// handSize is a size that a person may set for a run by hand.
func handSize(t *testing.T, name string, usual int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// exchangeBodies sends so many bytes and reads what comes back. The answer
// must be as large when it is wanted to be right.
func exchangeBodies(t *testing.T, addr string, size int, right bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+addr+"/", &pattern{size})
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(size)
	c := client(t)
	c.Timeout = 10 * time.Minute
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	if right && (err != nil || n != int64(size) || resp.StatusCode != http.StatusOK) {
		t.Errorf("status %d, %d bytes of %d, %v", resp.StatusCode, n, size, err)
	}
}
