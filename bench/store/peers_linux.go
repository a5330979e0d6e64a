package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/bench/store/corpus"
	"github.com/weir-capture/weir/bench/store/peer"
)

// A peer runs in a process of its own, which is this program again: so that
// its memory and its CPU time are its own.

// peerBatch is how many pairs a peer makes durable at once.
const peerBatch = 1000

// measurePeer loads a peer, then opens it again with nothing in memory.
func (b *bench) measurePeer(ctx context.Context, name, dir string, c corpus.Corpus, figures Figures) error {
	pairs := fmt.Sprintf("%d,%d", c.Pairs, b.end.Unix())
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	be := func(ask string) (Figures, error) {
		cmd := exec.CommandContext(ctx, self, "-peer", name, "-ask", ask, "-dir", dir, "-pairs", pairs, "-repeats", strconv.Itoa(b.repeats))
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("run %s: %w", name, err)
		}
		var f Figures
		if err := json.NewDecoder(bytes.NewReader(out)).Decode(&f); err != nil {
			return nil, fmt.Errorf("read figures of %s: %w", name, err)
		}
		return f, nil
	}
	loaded, err := be("load")
	if err != nil {
		return err
	}
	for k, f := range loaded {
		figures[k] = f
	}
	used, err := diskUsed(dir)
	if err != nil {
		return err
	}
	figures["bytes"] = Figure{Value: float64(used) / float64(c.Pairs)}
	if err := b.cooler.cool(dir); err != nil {
		return err
	}
	opened, err := be("open")
	if err != nil {
		return err
	}
	figures["open"] = opened["open"]
	rare := figures["rare"]
	rare.Cold = opened["rare"].Value
	figures["rare"] = rare
	return nil
}

// beAPeer is the other process.
func beAPeer(ctx context.Context, name, ask, dir, size string, repeats int) error {
	var pairs uint64
	var end int64
	if _, err := fmt.Sscanf(size, "%d,%d", &pairs, &end); err != nil {
		return fmt.Errorf("be a peer: size %q: %w", size, err)
	}
	c := corpus.Day(pairs, time.Unix(end, 0))
	figures := Figures{}
	began := time.Now()
	p, err := peer.Open(ctx, name, dir, c)
	if err != nil {
		return err
	}
	switch ask {
	case "load":
		err = load(ctx, p, c, repeats, figures)
	case "open":
		_, err = p.Ask(ctx, "newest", 0)
		figures["open"] = Figure{Value: ms(time.Since(began)), Note: "with the first list"}
		began = time.Now()
		if _, err := p.Ask(ctx, "rare", 0); err == nil {
			figures["rare"] = Figure{Value: ms(time.Since(began))}
		}
	}
	if err := errors.Join(err, p.Close()); err != nil {
		return fmt.Errorf("be %s: %w", name, err)
	}
	return json.NewEncoder(os.Stdout).Encode(figures)
}

func load(ctx context.Context, p peer.Peer, c corpus.Corpus, repeats int, figures Figures) error {
	// What making the pairs takes is not the peer's.
	making := yardstick(c)
	m := corpus.NewMaker(c)
	var commits []time.Duration
	before := ownCPU()
	began := time.Now()
	var sources [corpus.Proxies]*capturev1.Source
	for i := range sources {
		sources[i] = corpus.Source(i, 1)
	}
	for n := range c.Pairs {
		if err := p.Add(ctx, m.Pair(n), sources[n%corpus.Proxies]); err != nil {
			return err
		}
		if n%peerBatch == peerBatch-1 || n+1 == c.Pairs {
			at := time.Now()
			if err := p.Commit(ctx); err != nil {
				return err
			}
			commits = append(commits, time.Since(at))
		}
	}
	took := time.Since(began)
	each := float64((ownCPU()-before)-making*time.Duration(c.Pairs)) / float64(time.Microsecond) / float64(c.Pairs)
	figures["cpu"] = Figure{Value: each, Note: "embedded: without gRPC, without a forwarder"}
	figures["rate"] = Figure{Value: float64(c.Pairs) / took.Seconds(), Note: "the making of pairs in it"}
	figures["ack"] = spread(commits)
	figures.note("ack", fmt.Sprintf("commits of %d at full speed, with nothing beside", peerBatch))
	for _, key := range append(peer.Keys(), "scan") {
		figures[key] = askPeer(ctx, p, key, repeats)
	}
	if f := figures["scan"]; f.Missing == "" && f.Value > 0 {
		figures["scan"] = Figure{Value: bytesOfPairs * float64(c.Pairs) / 1e9 / (f.Median / 1000), Note: "both bodies of all pairs; heads not looked at"}
	}
	if peak, err := statusField(os.Getpid(), "VmHWM:"); err == nil {
		figures["memory"] = Figure{Value: float64(peak) / 1e6, Note: "load and questions, one after the other"}
	}
	return nil
}

// bytesOfPairs is what a pair of the corpus has in the mean, encoded.
const bytesOfPairs = 4080

func askPeer(ctx context.Context, p peer.Peer, key string, repeats int) Figure {
	if key == "scan" {
		repeats = 3
	}
	var samples []time.Duration
	note := ""
	for i := range repeats + 1 {
		began := time.Now()
		rows, err := p.Ask(ctx, key, i)
		if err != nil {
			return Figure{Missing: err.Error()}
		}
		if key == "rare" && rows != corpus.Needles {
			note = fmt.Sprintf("%d pairs, %d expected", rows, corpus.Needles)
		}
		if i > 0 { // the first is not measured
			samples = append(samples, time.Since(began))
		}
		if len(samples) > 2 && time.Since(began) > 3*time.Second {
			break
		}
	}
	f := spread(samples)
	f.Note = note
	return f
}

// yardstick is the CPU time that making one pair takes here and now: on a
// machine that others keep busy it is longer, as everything is.
func yardstick(c corpus.Corpus) time.Duration {
	m := corpus.NewMaker(c)
	sample := min(uint64(20_000), c.Pairs)
	before := ownCPU()
	for n := range sample {
		m.Pair(n)
	}
	return (ownCPU() - before) / time.Duration(sample)
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail with these arguments
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func title(subject string) string {
	return map[string]string{"weir": "Weir", "duckdb": "DuckDB holding everything", "sqlite": "SQLite with the same log"}[subject]
}
