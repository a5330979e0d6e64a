package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that was started.
type process struct {
	cmd    *exec.Cmd
	name   string
	exited chan error
	log    string // file with what it said
}

// launch starts a program whose environment is env and nothing else of ours
// but PATH. What it says goes to a file in dir.
func launch(ctx context.Context, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(program), exited: make(chan error, 1)}
	p.log = filepath.Join(dir, p.name+".log")
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	defer out.Close()
	p.cmd = exec.CommandContext(ctx, program, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}, env...)
	p.cmd.Stderr = out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	return p, nil
}

// stop ends it in order.
func (p *process) stop() error {
	if p == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.exited:
		if err != nil {
			return fmt.Errorf("stop %s: %w", p.name, p.failed(err))
		}
		return nil
	case <-time.After(2 * time.Minute):
		p.kill()
		return fmt.Errorf("stop %s: it did not end within two minutes", p.name)
	}
}

func (p *process) kill() {
	if p != nil {
		_ = p.cmd.Process.Kill()
	}
}

// failed adds the end of what it said.
func (p *process) failed(err error) error {
	b, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s: %w: %s", p.name, err, strings.TrimSpace(string(b[max(0, len(b)-2000):])))
}

// ready waits until a URL answers 200, and says how long that took.
func (p *process) ready(ctx context.Context, url string) (time.Duration, error) {
	began := time.Now()
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return 0, fmt.Errorf("ask %s: %w", url, err)
		}
		resp, err := client.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		select {
		case err := <-p.exited:
			p.exited <- err
			return 0, p.failed(fmt.Errorf("it ended: %w", err))
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > 10*time.Minute {
			return 0, p.failed(errors.New("it was not ready within ten minutes"))
		}
	}
}

// cpu is the CPU time that the kernel has counted for it so far, of all its
// threads.
func (p *process) cpu() (time.Duration, error) {
	// clock_getcpuclockid(3): the clock of another process.
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|2), &ts); err != nil {
		return 0, fmt.Errorf("read CPU time of %s: %w", p.name, err)
	}
	return time.Duration(ts.Nano()), nil
}

// peak is the largest resident size since resetPeak, bytes.
func (p *process) peak() (int64, error) { return statusField(p.cmd.Process.Pid, "VmHWM:") }

// resetPeak begins anew with what is resident now (proc(5), clear_refs).
func (p *process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0)
}

func statusField(pid int, field string) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in status of %d", field, pid)
}

// Ports are looked for below the range that Linux gives to connections by
// default: one of that range may be taken between looking and listening.
const firstPort, lastPort = 20_000, 32_767

// freePort is one that nobody has at the moment.
func freePort() (string, error) {
	const tries = 100
	for range tries {
		port := strconv.Itoa(firstPort + rand.IntN(lastPort-firstPort+1))
		ln, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			return port, ln.Close()
		}
	}
	return "", fmt.Errorf("find a port: none of %d between %d and %d is free", tries, firstPort, lastPort)
}

// diskFree is what an ordinary user may still write below dir.
func diskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// diskUsed is what the files below dir take, in bytes of the disk.
func diskUsed(dir string) (total int64, err error) {
	err = eachFile(dir, func(path string, info fs.FileInfo) error {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

// diskKinds is the same by the ends of the files' names, without those that
// take less than a thousandth.
func diskKinds(dir string) (map[string]int64, error) {
	kinds := map[string]int64{}
	var total int64
	err := eachFile(dir, func(path string, info fs.FileInfo) error {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			kinds[strings.TrimPrefix(cmp.Or(filepath.Ext(path), filepath.Base(path)), ".")] += st.Blocks * 512
			total += st.Blocks * 512
		}
		return nil
	})
	maps.DeleteFunc(kinds, func(_ string, n int64) bool { return n*1000 < total })
	return kinds, err
}

func eachFile(dir string, do func(path string, info fs.FileInfo) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		return do(path, info)
	})
}

// cooler makes files cold.
type cooler struct{ gentle bool }

// String says how, for the report.
func (c cooler) String() string {
	if c.gentle {
		return "posix_fadvise(DONTNEED) on each file of the store, after fsync"
	}
	return "/proc/sys/vm/drop_caches, after sync"
}

// cool lets go of what the kernel has cached: of everything, or gently of the
// files below dirs only, so that others on the machine keep theirs.
func (c cooler) cool(dirs ...string) error {
	if !c.gentle {
		unix.Sync()
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
			return fmt.Errorf("drop caches: %w", err)
		}
		return nil
	}
	for _, dir := range dirs {
		err := eachFile(dir, func(path string, info fs.FileInfo) error {
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			defer f.Close()
			if err := f.Sync(); err != nil {
				return err
			}
			return unix.Fadvise(int(f.Fd()), 0, info.Size(), unix.FADV_DONTNEED)
		})
		if err != nil {
			return fmt.Errorf("let go of cached files: %w", err)
		}
	}
	return nil
}
