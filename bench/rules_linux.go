package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"
)

// What the rules cost on the whole way of a pair: goproxy and the forwarder
// together, with a forwarder that has none and with one that has the standard
// ones, in turn.
const (
	noRules = "none"
	byRules = "standard"
)

// rulesCase is the load: no more than both forwarders can take.
var rulesCase = Case{Name: "rules", Load: []string{"-conns", "64", "-rate", "2000"}, Per: "request", Offered: true}

// rules measures both, round by round.
func (b *Bench) rules(ctx context.Context) error {
	for round := range b.Rounds {
		sets := []string{noRules, byRules}
		if round%2 == 1 {
			sets[0], sets[1] = sets[1], sets[0]
		}
		for _, set := range sets {
			s, err := b.rulesRound(ctx, set, uint64(round))
			if err != nil {
				return fmt.Errorf("measure the whole way with the rules %s: %w", set, err)
			}
			b.keep(rulesCase, Subject{Name: set}, round, s)
		}
	}
	return nil
}

func (b *Bench) rulesRound(ctx context.Context, set string, seed uint64) (*Sample, error) {
	f, err := b.startForwarder(ctx, set)
	if err != nil {
		return nil, err
	}
	defer b.end(f)
	p, addr, err := goproxy(alone, "GOMAXPROCS=1")(ctx, b)
	if err != nil {
		return nil, err
	}
	defer b.end(p)
	if err := answers(ctx, addr, p.patience); err != nil {
		return nil, fmt.Errorf("start goproxy: %w", err)
	}
	before, err := cpuTime(f.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	s, err := b.sample(ctx, rulesCase, &running{p, addr}, seed)
	if err != nil {
		return nil, err
	}
	// goproxy's pairs are acknowledged by now: the forwarder has no more to do.
	after, err := cpuTime(f.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	s.CPU += float64((after - before).Nanoseconds()) / 1e3 / float64(s.Load.Requests)
	return s, nil
}

// startForwarder starts a real forwarder with a set of rules, without an
// analyzer: its spool takes what comes and lets the oldest go. All that are
// started from now on send to it.
func (b *Bench) startForwarder(ctx context.Context, rules string) (*Process, error) {
	port, err := free()
	if err != nil {
		return nil, err
	}
	b.forwarder = "127.0.0.1:" + strconv.Itoa(port)
	p, err := b.start(ctx, rest, []string{
		"SERVICE_PORT=" + strconv.Itoa(port), "CLUSTER_NAME=bench", "ANALYZER_ADDR=127.0.0.1:1", "DLP_CONFIG=" + rules,
		"SPOOL_DIR=" + filepath.Join(b.Dir, "spool-"+strconv.Itoa(port)), "SPOOL_MAX_BYTES=1GiB", "LOG_LEVEL=error",
	}, filepath.Join(b.Bin, "forwarder"))
	if err != nil {
		return nil, err
	}
	if err := answers(ctx, b.forwarder, 10*time.Second); err != nil {
		return nil, fmt.Errorf("start forwarder: %w: %s", err, p.stderr.b)
	}
	return p, nil
}

// rulesRatio is the CPU of goproxy and the forwarder with rules, to that
// without.
func (b *Bench) rulesRatio() Interval {
	return ratios(b.samples[rulesCase.Name][byRules], b.samples[rulesCase.Name][noRules], cpu)
}

// rulesTable prints both.
func (b *Bench) rulesTable(o io.Writer) {
	samples := b.samples[rulesCase.Name]
	if len(samples) == 0 {
		return
	}
	fmt.Fprint(o, "\n## The whole way, 2,000 requests/s: goproxy and the forwarder together\n\n| rules | CPU µs per pair | to none | pairs seen / stored / dropped / with bodies shed |\n|---|---|---|---|\n")
	for _, set := range []string{noRules, byRules} {
		fmt.Fprintf(o, "| %s | %.1f | %s | %s |\n", set, medianOf(samples[set], cpu), show(ratios(samples[set], samples[noRules], cpu)), pairsOf(samples[set]))
	}
}
