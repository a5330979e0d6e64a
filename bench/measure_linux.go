package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
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
	// Absent says why a subject was left out; gone are the names of those.
	Absent, gone []string
	// samples are by case, subject, round.
	samples map[string]map[string][]Sample
	// redactions are measured in this process.
	redactions []*redaction
}

// running is a subject in a round. direct has no process.
type running struct {
	process *Process
	addr    string
}

// Sample is what one subject took in one case and round.
type Sample struct {
	Load Result
	// CPU is the time of the process and its children, in microseconds for
	// each request (connection, MiB); NaN without a process.
	CPU float64
	// Memory is the largest resident size, bytes; NaN without a process.
	Memory float64
	// Pairs is what goproxy counted meanwhile.
	Pairs *Pairs
}

// Result is what the load generator prints.
type Result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
	Late     int     `json:"late"`
}

// Start starts what all subjects share: the backend and the forwarder.
func (b *Bench) Start(ctx context.Context) error {
	b.started = time.Now()
	b.samples = map[string]map[string][]Sample{}
	backend, err := b.start(ctx, rest, nil, filepath.Join(b.Bin, "backend"))
	if err != nil {
		return err
	}
	if err := backend.modest(); err != nil {
		return err
	}
	line, err := bufio.NewReader(backend.stdout).ReadString('\n')
	if err != nil {
		return fmt.Errorf("start backend: %w", err)
	}
	if b.backend, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		return fmt.Errorf("start backend: %w", err)
	}
	if _, err := b.startForwarder(ctx, noRules); err != nil {
		return err
	}
	return nil
}

// launch starts a subject.
func (b *Bench) launch(ctx context.Context, s Subject) (*running, error) {
	p, addr, err := s.Start(ctx, b)
	if err == nil && p != nil {
		err = answers(ctx, addr, p.patience)
	}
	if err == nil {
		return &running{p, addr}, nil
	}
	if _, ok := errors.AsType[*missing](err); ok {
		return nil, err
	}
	text := ""
	if p != nil {
		text = ": " + string(bytes.TrimSpace(p.stderr.b))
	}
	return nil, fmt.Errorf("start %s: %w%s", s.Name, err, text)
}

// Measure goes round by round, case by case, subject by subject. The order of
// subjects moves on with each round, so that none is always behind the same.
// Each round has processes of its own, and so has a case that asks for them:
// what a load left in a subject's memory is not taken for what the next one
// needs.
func (b *Bench) Measure(ctx context.Context) error {
	for round := range b.Rounds {
		if err := b.round(ctx, round); err != nil {
			return err
		}
	}
	return nil
}

func (b *Bench) round(ctx context.Context, round int) error {
	run := map[string]*running{}
	stop := func() {
		for _, r := range run {
			if r.process != nil {
				b.end(r.process)
			}
		}
		clear(run)
	}
	defer stop()
	for _, c := range b.Cases {
		if c.Fresh {
			stop()
		}
		for i := range b.Subjects {
			s := b.Subjects[(i+round)%len(b.Subjects)]
			if !s.takes(c, b.All) || slices.Contains(b.gone, s.Name) {
				continue
			}
			if run[s.Name] == nil {
				r, err := b.launch(ctx, s)
				if m, ok := errors.AsType[*missing](err); ok {
					b.Absent = append(b.Absent, fmt.Sprintf("%s: %v", s.Title, m))
					b.gone = append(b.gone, s.Name)
					continue
				}
				if err != nil {
					return err
				}
				run[s.Name] = r
			}
			sample, err := b.sample(ctx, c, run[s.Name], uint64(round))
			if err != nil {
				return fmt.Errorf("measure %s in %s: %w", s.Name, c.Name, err)
			}
			b.keep(c, s, round, sample)
		}
	}
	return nil
}

// keep notes a sample, and shows it to who waits.
func (b *Bench) keep(c Case, s Subject, round int, sample *Sample) {
	if b.samples[c.Name] == nil {
		b.samples[c.Name] = map[string][]Sample{}
	}
	b.samples[c.Name][s.Name] = append(b.samples[c.Name][s.Name], *sample)
	if c.Idle > 0 {
		fmt.Fprintf(os.Stderr, "round %d %-6s %-13s %.0f bytes for each connection\n", round+1, c.Name, s.Name, sample.Memory)
		return
	}
	fmt.Fprintf(os.Stderr, "round %d %-6s %-13s %8d requests %8.1f us each, p50 %8.0f p99 %8.0f us, %5.1f MB, errors %d\n",
		round+1, c.Name, s.Name, sample.Load.Requests, sample.CPU, sample.Load.P50, sample.Load.P99, sample.Memory/1e6, sample.Load.Errors)
}

// settle is how long a subject has after the load to finish what it does
// behind it, on its own account.
const settle = 300 * time.Millisecond

func (b *Bench) sample(ctx context.Context, c Case, r *running, seed uint64) (*Sample, error) {
	if c.Idle > 0 {
		return b.idle(ctx, c, r)
	}
	s := &Sample{CPU: math.NaN(), Memory: math.NaN()}
	var before *Pairs
	var cpu time.Duration
	if p := r.process; p != nil {
		var err error
		if before, err = p.pairs(ctx); err != nil {
			return nil, err
		}
		if cpu, err = cpuTime(p.cmd.Process.Pid); err != nil {
			return nil, err
		}
		s.Memory = memory(p.cmd.Process.Pid)
	}
	args := append([]string{"-addr", r.addr, "-for", b.For.String(), "-seed", strconv.FormatUint(seed+1, 10)}, c.Load...)
	if err := b.load(ctx, s, r, args); err != nil {
		return nil, err
	}
	if s.Load.Requests == 0 {
		return nil, fmt.Errorf("no request was answered, %d errors", s.Load.Errors)
	}
	if r.process == nil {
		return s, nil
	}
	time.Sleep(settle)
	after, err := cpuTime(r.process.cmd.Process.Pid)
	if err != nil {
		return nil, err
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

// load runs the load generator, and watches the subject's memory.
func (b *Bench) load(ctx context.Context, s *Sample, r *running, args []string) error {
	load, err := b.start(ctx, rest, nil, filepath.Join(b.Bin, "load"), args...)
	if err != nil {
		return err
	}
	defer b.end(load)
	if err := load.modest(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- json.NewDecoder(load.stdout).Decode(&s.Load) }()
	watch := time.NewTicker(200 * time.Millisecond)
	defer watch.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("run load: %w: %s", err, load.stderr.b)
			}
			return nil
		case <-watch.C:
			if r.process != nil {
				s.Memory = max(s.Memory, memory(r.process.cmd.Process.Pid))
			}
		}
	}
}

// idle measures what open connections cost that rest.
func (b *Bench) idle(ctx context.Context, c Case, r *running) (*Sample, error) {
	s := &Sample{CPU: math.NaN()}
	pid := r.process.cmd.Process.Pid
	before := memory(pid)
	load, err := b.start(ctx, rest, nil, filepath.Join(b.Bin, "load"), "-addr", r.addr, "-conns", strconv.Itoa(c.Idle), "-idle")
	if err != nil {
		return nil, err
	}
	err = json.NewDecoder(load.stdout).Decode(&s.Load)
	time.Sleep(2 * time.Second)
	s.Memory = max(memory(pid)-before, 0) / float64(c.Idle)
	b.end(load)
	if err != nil {
		return nil, fmt.Errorf("run load: %w: %s", err, load.stderr.b)
	}
	if s.Load.Requests < c.Idle {
		return nil, fmt.Errorf("%d of %d connections were answered", s.Load.Requests, c.Idle)
	}
	time.Sleep(time.Second) // the connections end
	return s, nil
}
