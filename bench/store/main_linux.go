// Store measures what it costs to keep pairs and how quickly questions about
// them are answered: of Weir, from its front doors, and of two other ways to
// keep the same pairs. It makes its data while it sends them, looks for room
// on the disk first, and removes what a subject has written before the next
// one begins.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-capture/weir/bench/store/corpus"
)

// bench is one run.
type bench struct {
	bin, dir string
	repeats  int
	// patience bounds the repeats of one question, coldFor all of them cold.
	patience, coldFor, mixedFor time.Duration
	cooler                      cooler
	// keep leaves Weir's store in dir, and begins with the one that is there.
	keep bool
	// steps are those of Weir beside ingest.
	steps   []string
	started time.Time
	end     time.Time // of the corpora
	// results are by subject and size.
	results map[string]map[uint64]Figures
	sizes   []uint64
	notes   []string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench/store:", err)
		os.Exit(1)
	}
}

func run() error {
	b := &bench{results: map[string]map[uint64]Figures{}}
	var pairs, subjects, steps, out, peer, ask string
	flag.StringVar(&b.bin, "bin", "bin/bench", "folder with forwarder and analyzer")
	flag.StringVar(&b.dir, "dir", "", "folder for what subjects write; a temporary one when empty")
	flag.StringVar(&pairs, "pairs", "1000000,10000000", "sizes of the store, in pairs")
	flag.StringVar(&subjects, "subjects", "weir,duckdb,sqlite", "who is measured; others than weir at the smallest size only")
	flag.StringVar(&steps, "steps", "warm,scan,mixed,cold", "what is measured of Weir beside ingest, in this order")
	flag.StringVar(&out, "out", "", "folder to write RESULTS-store.md to")
	flag.IntVar(&b.repeats, "repeats", 20, "how often each question is asked")
	flag.DurationVar(&b.patience, "patience", time.Minute, "how long the repeats of one question may take")
	flag.DurationVar(&b.coldFor, "cold", 8*time.Minute, "how long the cold repeats of all questions may take")
	flag.DurationVar(&b.mixedFor, "mixed", time.Minute, "how long pairs and dashboards are mixed")
	flag.BoolVar(&b.cooler.gentle, "gentle", false, "make only the store's own files cold, for a machine that others use")
	flag.BoolVar(&b.keep, "keep", false, "leave Weir's store in -dir, and begin with the one that an earlier run of the same size has left")
	flag.StringVar(&peer, "peer", "", "internal: be this peer")
	flag.StringVar(&ask, "ask", "", "internal: what the peer does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if peer != "" {
		return beAPeer(ctx, peer, ask, b.dir, pairs, b.repeats)
	}
	b.steps = strings.Split(steps, ",")
	for s := range strings.SplitSeq(pairs, ",") {
		n, err := strconv.ParseUint(strings.ReplaceAll(strings.TrimSpace(s), "_", ""), 10, 64)
		if err != nil || n < 10_000 {
			return fmt.Errorf("-pairs %q: a number of at least 10000", s)
		}
		b.sizes = append(b.sizes, n)
	}
	slices.Sort(b.sizes)
	if !b.cooler.gentle {
		if err := b.cooler.cool(); err != nil {
			b.cooler.gentle = true
			b.note("Caches of the whole machine could not be dropped (%v).", err)
		}
	}
	if b.keep && (b.dir == "" || len(b.sizes) > 1) {
		return errors.New("-keep: it takes one size, and a folder with -dir")
	}
	if b.dir == "" {
		dir, err := os.MkdirTemp("", "weir-bench-store-")
		if err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
		defer os.RemoveAll(dir)
		b.dir = dir
	}
	b.started = time.Now()
	b.end = b.started.Truncate(time.Second)
	for _, name := range strings.Split(subjects, ",") {
		for i, n := range b.sizes {
			if name != "weir" && i > 0 || ctx.Err() != nil {
				continue
			}
			if err := b.measure(ctx, name, n); err != nil {
				// Who interrupts it gets what there is.
				b.note("%s with %d pairs was not measured to the end: %v.", name, n, err)
			}
		}
	}
	report := b.report()
	fmt.Print(report)
	if out == "" {
		return nil
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(out, "RESULTS-store.md"), []byte(report), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

func (b *bench) say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
	b.say("%s", b.notes[len(b.notes)-1])
}

// needBytes is what a subject may have on the disk at once.
func needBytes(subject string, pairs uint64) int64 {
	const beside = 2 << 30 // spool, ballast, logs, and air
	each := uint64(1700)   // a quarter more than a pair takes
	if subject != "weir" {
		each = 6000 // with what a database leaves before it checkpoints
	}
	return int64(pairs*each) + beside
}

// keptFile says of a store that was kept when its corpus ended, and how long an
// encoded pair of it is.
const keptFile = "KEPT"

func keptNote(end time.Time, pairBytes float64) string {
	return fmt.Sprintf("%s %.2f\n", end.Format(time.RFC3339), pairBytes)
}

// measureKept asks a store that an earlier run has left.
func (b *bench) measureKept(ctx context.Context, dir string, pairs uint64, note string) error {
	var end string
	w := &weir{b: b, dir: dir, kept: true, figures: Figures{}}
	if _, err := fmt.Sscan(note, &end, &w.pairBytes); err != nil {
		return fmt.Errorf("read what was noted of the kept store: %w", err)
	}
	at, err := time.Parse(time.RFC3339, end)
	if err != nil {
		return fmt.Errorf("read what was noted of the kept store: %w", err)
	}
	w.corpus = corpus.Day(pairs, at)
	b.results["weir"] = map[uint64]Figures{pairs: w.figures}
	return w.run(ctx)
}

func (b *bench) measure(ctx context.Context, name string, pairs uint64) error {
	dir := filepath.Join(b.dir, name)
	if b.keep && name == "weir" {
		if kept, err := os.ReadFile(filepath.Join(dir, keptFile)); err == nil {
			return b.measureKept(ctx, dir, pairs, string(kept))
		}
	}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	free, err := diskFree(b.dir)
	if err != nil {
		return err
	}
	if need := needBytes(name, pairs); free < need {
		return fmt.Errorf("%s has %.1f GB free, and it may take %.1f GB", b.dir, float64(free)/1e9, float64(need)/1e9)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what was there: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if !b.keep {
		defer os.RemoveAll(dir)
	}
	// What was written before is not this subject's to wait for.
	syscall.Sync()
	figures := Figures{}
	if b.results[name] == nil {
		b.results[name] = map[uint64]Figures{}
	}
	b.results[name][pairs] = figures
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		b.note("Before %s with %d pairs: making one pair took %.1f µs of CPU, the load of the machine was %s.", title(name), pairs,
			float64(yardstick(corpus.Day(pairs, b.end)))/1000, strings.Fields(string(load))[0])
	}
	switch name {
	case "weir":
		w := &weir{b: b, dir: dir, corpus: corpus.Day(pairs, b.end), figures: figures}
		return w.run(ctx)
	case "duckdb", "sqlite":
		return b.measurePeer(ctx, name, dir, corpus.Day(pairs, b.end), figures)
	}
	return errors.New("nobody knows it")
}

func dialable(ctx context.Context, addr string) error {
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return fmt.Errorf("nothing answers at %s: %w", addr, err)
		}
	}
}

func middle(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[len(s)/2]
}

func machine() string {
	model := "?"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == "model name" {
				model = strings.TrimSpace(v)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	memory := ""
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				memory = fmt.Sprintf(", %d GiB", kb>>20)
			}
		}
	}
	return fmt.Sprintf("%d CPUs (%s)%s, Linux %s, %s", runtime.NumCPU(), model, memory, strings.TrimSpace(string(kernel)), runtime.Version())
}
