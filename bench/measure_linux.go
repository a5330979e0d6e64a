package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bench is one run.
type Bench struct {
	Bin, Dir string
	All, Pin bool
	Rounds   int
	For      time.Duration
	Cases    []Case
	Subjects []Subject

	backend   int
	forwarder string
	started   time.Time
	processes []*Process
	running   map[string]*running
	// Absent says why a subject was left out.
	Absent []string
	// samples are by case, subject, round.
	samples map[string]map[string][]Sample
}

type running struct {
	process *Process
	addr    string
}

// Sample is what one subject took in one case and round.
type Sample struct {
	Load Result
	// CPU is the time of the process and its children, in microseconds for
	// each request (connection, MiB).
	CPU float64
	// Memory is the largest resident size, bytes.
	Memory float64
	// Pairs is what goproxy counted meanwhile.
	Pairs *Pairs
}

// Pairs are differences of goproxy's counts.
type Pairs struct{ Seen, Acked, Dropped uint64 }

// Result is what the load generator prints.
type Result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Late     int     `json:"late"`
}

// Process is one that was started.
type Process struct {
	cmd      *exec.Cmd
	stdout   io.ReadCloser
	stderr   *tail
	patience time.Duration
	// diagnostics is goproxy's address for counts; empty for others.
	diagnostics string
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 4096 {
		t.b = t.b[len(t.b)-4096:]
	}
	return len(p), nil
}

// start starts a program on the subject's CPU, or on that of the rest.
func (b *Bench) start(ctx context.Context, subject bool, env []string, path string, args ...string) (*Process, error) {
	p := &Process{stderr: new(tail), patience: 10 * time.Second}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := b.pinned(subject, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	b.processes = append(b.processes, p)
	return p, nil
}

// pinned runs f, which starts a process, on the CPU that the process is to have:
// it inherits that from the thread that starts it. Pdeathsig goes by that
// thread too, which therefore has to live on; the runtime ends one that is
// locked and never unlocked, so its affinity is put back instead.
func (b *Bench) pinned(subject bool, f func() error) error {
	if !b.Pin || runtime.NumCPU() < 2 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	cpu := 0
	if subject {
		cpu = 1
	}
	for i, n := 0, 0; i < 1024; i++ {
		if all.IsSet(i) {
			if n == cpu {
				one.Set(i)
			}
			n++
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &all))
}

// Start starts the backend, the forwarder and the subjects.
func (b *Bench) Start(ctx context.Context) error {
	b.started = time.Now()
	b.running, b.samples = map[string]*running{}, map[string]map[string][]Sample{}
	backend, err := b.start(ctx, false, nil, filepath.Join(b.Bin, "backend"))
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(backend.stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start backend: %w", err)
	}
	if b.backend, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("start backend: %w", err)
	}
	port, err := free()
	if err != nil {
		return err
	}
	b.forwarder = "127.0.0.1:" + strconv.Itoa(port)
	// The real forwarder, without an analyzer: its spool takes what comes and
	// lets the oldest go.
	if _, err := b.start(ctx, false, []string{
		"SERVICE_PORT=" + strconv.Itoa(port), "CLUSTER_NAME=bench", "ANALYZER_ADDR=127.0.0.1:1",
		"SPOOL_DIR=" + filepath.Join(b.Dir, "spool"), "SPOOL_MAX_BYTES=1GiB", "LOG_LEVEL=error",
	}, filepath.Join(b.Bin, "forwarder")); err != nil {
		return err
	}
	if err := answers(ctx, b.forwarder, 10*time.Second); err != nil {
		return fmt.Errorf("start forwarder: %w", err)
	}
	var there []Subject
	for _, s := range b.Subjects {
		p, addr, err := s.Start(ctx, b)
		if m, ok := errors.AsType[*missing](err); ok {
			b.Absent = append(b.Absent, fmt.Sprintf("%s: %v", s.Title, m))
			continue
		}
		if err == nil {
			err = answers(ctx, addr, p.patience)
		}
		if err != nil {
			text := ""
			if p != nil {
				text = ": " + string(bytes.TrimSpace(p.stderr.b))
			}
			return fmt.Errorf("start %s: %w%s", s.Name, err, text)
		}
		b.running[s.Name] = &running{p, addr}
		there = append(there, s)
	}
	b.Subjects = there
	return nil
}

func answers(ctx context.Context, addr string, patience time.Duration) error {
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", addr, time.Second); err == nil {
			return c.Close()
		}
	}
	return errors.Join(err, ctx.Err())
}

// Stop ends all processes that Start started.
func (b *Bench) Stop() {
	for _, p := range b.processes {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		_ = p.cmd.Wait()
	}
}

// Measure goes round by round, case by case, subject by subject. The order of
// subjects moves on with each round, so that none is always behind the same.
func (b *Bench) Measure(ctx context.Context) error {
	for round := range b.Rounds {
		for _, c := range b.Cases {
			if b.samples[c.Name] == nil {
				b.samples[c.Name] = map[string][]Sample{}
			}
			for i := range b.Subjects {
				s := b.Subjects[(i+round)%len(b.Subjects)]
				if c.Idle > 0 && s.NoIdle || s.Saturated && strings.HasPrefix(c.Name, "ol") {
					continue
				}
				sample, err := b.sample(ctx, c, b.running[s.Name], uint64(round))
				if err != nil {
					return fmt.Errorf("measure %s in %s: %w", s.Name, c.Name, err)
				}
				b.samples[c.Name][s.Name] = append(b.samples[c.Name][s.Name], *sample)
				fmt.Fprintf(os.Stderr, "round %d %-6s %-13s %8d requests %8.1f us each, p50 %8.0f p99 %8.0f us, %5.1f MB, errors %d\n",
					round+1, c.Name, s.Name, sample.Load.Requests, sample.CPU, sample.Load.P50, sample.Load.P99, sample.Memory/1e6, sample.Load.Errors)
			}
		}
	}
	return nil
}

// settle is how long a subject has after the load to finish what it does
// behind it, on its own account.
const settle = 300 * time.Millisecond

func (b *Bench) sample(ctx context.Context, c Case, r *running, seed uint64) (*Sample, error) {
	if c.Idle > 0 {
		return b.idle(ctx, c, r)
	}
	s := new(Sample)
	before, err := r.process.pairs(ctx)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuTime(r.process.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	args := append([]string{"-addr", r.addr, "-for", b.For.String(), "-seed", strconv.FormatUint(seed+1, 10)}, c.Load...)
	load, err := b.start(ctx, false, nil, filepath.Join(b.Bin, "load"), args...)
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() { done <- json.NewDecoder(load.stdout).Decode(&s.Load) }()
	watch := time.NewTicker(200 * time.Millisecond)
	defer watch.Stop()
	for running := true; running; {
		select {
		case err = <-done:
			running = false
		case <-watch.C:
			s.Memory = max(s.Memory, memory(r.process.cmd.Process.Pid))
		}
	}
	b.processes = b.processes[:len(b.processes)-1]
	if waitErr := load.cmd.Wait(); err != nil || waitErr != nil {
		return nil, fmt.Errorf("run load: %w: %s", errors.Join(err, waitErr), load.stderr.b)
	}
	time.Sleep(settle)
	after, err := cpuTime(r.process.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if s.Load.Requests == 0 {
		return nil, fmt.Errorf("no request was answered, %d errors", s.Load.Errors)
	}
	s.CPU = float64((after - cpu).Nanoseconds()) / 1e3 / float64(s.Load.Requests)
	s.Memory = max(s.Memory, memory(r.process.cmd.Process.Pid))
	if before != nil {
		if s.Pairs, err = r.process.delta(ctx, before); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// idle measures what open connections cost that rest.
func (b *Bench) idle(ctx context.Context, c Case, r *running) (*Sample, error) {
	s := new(Sample)
	pid := r.process.cmd.Process.Pid
	before := memory(pid)
	load, err := b.start(ctx, false, nil, filepath.Join(b.Bin, "load"), "-addr", r.addr, "-conns", strconv.Itoa(c.Idle), "-idle")
	if err != nil {
		return nil, err
	}
	err = json.NewDecoder(load.stdout).Decode(&s.Load)
	time.Sleep(2 * time.Second)
	s.Memory = max(memory(pid)-before, 0) / float64(c.Idle)
	_ = syscall.Kill(-load.cmd.Process.Pid, syscall.SIGKILL)
	_ = load.cmd.Wait()
	b.processes = b.processes[:len(b.processes)-1]
	if err != nil {
		return nil, fmt.Errorf("run load: %w: %s", err, load.stderr.b)
	}
	time.Sleep(time.Second) // the connections end
	return s, nil
}

// cpuTime is what the threads of a process and its children have run, as the
// kernel's scheduler counts it.
func cpuTime(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, p := range tree(pid) {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p))
		if err != nil {
			return 0, err
		}
		if len(tasks) == 0 {
			return 0, fmt.Errorf("process %d is gone", p)
		}
		for _, t := range tasks {
			b, err := os.ReadFile(t)
			if err != nil {
				continue // the thread ended; the runtime keeps its threads
			}
			ns, _, _ := strings.Cut(string(b), " ")
			n, err := strconv.ParseInt(ns, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read %s: %w", t, err)
			}
			sum += time.Duration(n)
		}
	}
	return sum, nil
}

// tree is a process with all below it.
func tree(pid int) []int {
	all := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		for f := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(f); err == nil {
				all = append(all, tree(child)...)
			}
		}
	}
	return all
}

// memory is the resident size of a process and its children, in bytes.
func memory(pid int) float64 {
	var sum float64
	for _, p := range tree(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p))
		f := strings.Fields(string(b))
		if len(f) > 1 {
			pages, _ := strconv.ParseFloat(f[1], 64)
			sum += pages * float64(os.Getpagesize())
		}
	}
	return sum
}

// pairs asks goproxy for its counts; nil for other programs.
func (p *Process) pairs(ctx context.Context) (*Pairs, error) {
	if p.diagnostics == "" {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.diagnostics, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask goproxy: %w", err)
	}
	defer resp.Body.Close()
	var d struct {
		Pairs struct {
			Seen    uint64
			Dropped map[string]uint64
		}
		Acked uint64
	}
	if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
		return nil, fmt.Errorf("ask goproxy: %w", err)
	}
	out := &Pairs{Seen: d.Pairs.Seen, Acked: d.Acked}
	for _, n := range d.Pairs.Dropped {
		out.Dropped += n
	}
	return out, nil
}

// delta is what was counted since before, once everything has arrived.
func (p *Process) delta(ctx context.Context, before *Pairs) (*Pairs, error) {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		now, err := p.pairs(ctx)
		if err != nil {
			return nil, err
		}
		d := &Pairs{Seen: now.Seen - before.Seen, Acked: now.Acked - before.Acked, Dropped: now.Dropped - before.Dropped}
		if d.Seen <= d.Acked+d.Dropped || time.Now().After(end) {
			return d, nil
		}
	}
}
