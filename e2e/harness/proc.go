package harness

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// maxLines bounds what is kept of one process's log in memory; the file has
// everything.
const maxLines = 100_000

// Line is one line that a process wrote to its standard error.
type Line struct {
	Raw string
	// fields is nil when the line is not a JSON object.
	fields map[string]any
}

// Text is the line's message in either of the two log shapes, or the whole
// line when it is not JSON.
func (l Line) Text() string {
	for _, k := range []string{"M", "msg"} {
		if s, ok := l.fields[k].(string); ok {
			return s
		}
	}
	return l.Raw
}

// Level is the line's level in lower case, empty when it has none.
func (l Line) Level() string {
	for _, k := range []string{"info", "level"} {
		if s, ok := l.fields[k].(string); ok {
			return strings.ToLower(s)
		}
	}
	return ""
}

// Field is one field of the line as text; empty when it is not there.
func (l Line) Field(name string) string {
	v, ok := l.fields[name]
	if !ok {
		return ""
	}
	return fmt.Sprint(v)
}

// Proc is a process that a test started. It is killed at the latest when the
// test ends.
type Proc struct {
	Name string
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed once the process was waited for and its output read

	mu    sync.Mutex
	lines []Line
	more  chan struct{} // closed and replaced with every new line
	code  int
}

// Start runs a program with exactly this environment, plus PATH and a home
// and temporary directory of its own. Its standard error goes to
// <dir>/<name>.log, to Lines, and, when the test fails, to the artifacts.
func Start(t testing.TB, dir, name, program string, env map[string]string, args ...string) *Proc {
	t.Helper()
	p := &Proc{Name: name, t: t, done: make(chan struct{}), more: make(chan struct{})}
	p.cmd = exec.Command(program, args...)
	p.cmd.Dir = dir
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	for k, v := range env {
		p.cmd.Env = append(p.cmd.Env, k+"="+v)
	}
	p.cmd.SysProcAttr = ownGroup()
	logPath := filepath.Join(dir, name+".log")
	file, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatalf("open log of %s: %v", name, err)
	}
	p.cmd.Stdout = file
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatalf("open pipe of %s: %v", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.read(io.TeeReader(pipe, file))
		err := p.cmd.Wait()
		file.Close()
		p.mu.Lock()
		p.code = p.cmd.ProcessState.ExitCode()
		if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			p.code = -1
		}
		p.mu.Unlock()
		close(p.done)
	}()
	t.Cleanup(p.Kill)
	return p
}

func (p *Proc) read(r io.Reader) {
	br := bufio.NewReaderSize(r, 64<<10)
	for {
		raw, err := br.ReadString('\n')
		raw = strings.TrimRight(raw, "\n")
		if raw != "" {
			l := Line{Raw: raw}
			dec := json.NewDecoder(strings.NewReader(raw))
			dec.UseNumber()
			if dec.Decode(&l.fields) != nil {
				l.fields = nil
			}
			p.mu.Lock()
			if len(p.lines) < maxLines {
				p.lines = append(p.lines, l)
			}
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// Lines is what the process has logged so far.
func (p *Proc) Lines() []Line {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.lines)
}

// Log is the whole log so far as one text.
func (p *Proc) Log() string {
	var b strings.Builder
	for _, l := range p.Lines() {
		b.WriteString(l.Raw)
		b.WriteByte('\n')
	}
	return b.String()
}

// WaitLine waits until the process has logged a line for which match holds,
// and returns the first. The test fails when that takes longer than within or
// the process ends first.
func (p *Proc) WaitLine(within time.Duration, what string, match func(Line) bool) Line {
	p.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	next, ended := 0, false
	for {
		p.mu.Lock()
		lines, more := p.lines[next:], p.more
		next = len(p.lines)
		p.mu.Unlock()
		for _, l := range lines {
			if match(l) {
				return l
			}
		}
		if ended {
			p.t.Fatalf("%s ended (status %d) without logging %s; it logged:\n%s", p.Name, p.code, what, p.Log())
		}
		select {
		case <-more:
		case <-p.done:
			ended = true
		case <-deadline.C:
			p.t.Fatalf("%s did not log %s within %v; it logged:\n%s", p.Name, what, within, p.Log())
		}
	}
}

// WaitMessage waits for a line with exactly this message.
func (p *Proc) WaitMessage(within time.Duration, message string) Line {
	p.t.Helper()
	return p.WaitLine(within, fmt.Sprintf("%q", message), func(l Line) bool { return l.Text() == message })
}

// Running tells whether the process has not ended yet.
func (p *Proc) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Signal sends one signal to the process.
func (p *Proc) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("signal %s: %v", p.Name, err)
	}
}

// Wait waits until the process has ended and returns its exit status, -1 when
// a signal ended it.
func (p *Proc) Wait(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("%s did not end within %v; it logged:\n%s", p.Name, within, p.Log())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code
}

// Stop asks the process to end and returns its exit status.
func (p *Proc) Stop(within time.Duration) int {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	return p.Wait(within)
}

// Kill ends the process and those that it started (they share a group of
// their own) at once, and waits until it is gone.
func (p *Proc) Kill() {
	if !p.Running() {
		return
	}
	// The group's id is the process's: it was made with it.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// PID is the process's id.
func (p *Proc) PID() int { return p.cmd.Process.Pid }

// Result is what a command that ran to its end left.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a program to its end, at most for a minute.
func Run(t testing.TB, dir string, env map[string]string, stdin io.Reader, program string, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdin = dir, stdin
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || ctx.Err() != nil) {
		t.Fatalf("run %s: %v\n%s%s", program, err, stdout.String(), stderr.String())
	}
	return Result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}
