package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is one that was started.
type Process struct {
	cmd      *exec.Cmd
	stdout   io.ReadCloser
	stderr   *tail
	patience time.Duration
	// diagnostics and metrics are where goproxy tells its counts; empty for
	// others.
	diagnostics, metrics string
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

// place is where a process runs.
type place int

const (
	rest     place = iota // the CPU of everything but the subject
	alone                 // the subject's CPU
	anywhere              // both
)

// start starts a program.
func (b *Bench) start(ctx context.Context, at place, env []string, path string, args ...string) (*Process, error) {
	p := &Process{stderr: new(tail), patience: 10 * time.Second}
	p.cmd = exec.CommandContext(ctx, path, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stderr = p.stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	// The load generator keeps idle connections until its input ends.
	if _, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	if err := b.pinned(at, p.cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	b.processes = append(b.processes, p)
	return p, nil
}

// pinned runs f, which starts a process, on the CPU that the process is to have:
// it inherits that from the thread that starts it. Pdeathsig goes by that
// thread too, which therefore has to live on; the runtime ends one that is
// locked and never unlocked, so its affinity is put back instead.
func (b *Bench) pinned(at place, f func() error) error {
	if !b.Pin || at == anywhere || runtime.NumCPU() < 2 {
		return f()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	cpu := 0
	if at == alone {
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

// modest lets a process stand back behind the forwarder, which shares its CPU:
// one that never sleeps would otherwise keep it from storing what is captured.
func (p *Process) modest() error {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, p.cmd.Process.Pid, 5); err != nil {
		return fmt.Errorf("lower priority: %w", err)
	}
	return nil
}

// end kills a process with all that it started, and forgets it.
func (b *Bench) end(p *Process) {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	_ = p.cmd.Wait()
	b.processes = slices.DeleteFunc(b.processes, func(q *Process) bool { return q == p })
}

// Stop ends all processes that are left.
func (b *Bench) Stop() {
	for len(b.processes) > 0 {
		b.end(b.processes[0])
	}
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
