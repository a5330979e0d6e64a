// Command bench measures what carrying and capturing cost, side by side with
// the proxies that others made: the same load on the same backend, one subject
// after the other in every round, and ratios of the same round. Times of a
// shared machine move by a factor of two within minutes; ratios of one round
// hardly do.
//
// It builds nothing: -bin is where the programs are. Peers that are not
// installed are named and left out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(0)
	var b Bench
	flag.StringVar(&b.Bin, "bin", "bin", "`directory` of goproxy, forwarder and the benchmark's own programs")
	flag.BoolVar(&b.All, "all", false, "all subjects and all cases; otherwise goproxy on and off and haproxy tcp, four cases")
	flag.IntVar(&b.Rounds, "rounds", 9, "rounds")
	flag.DurationVar(&b.For, "for", 3*time.Second, "how long each subject is measured in each case and round")
	flag.BoolVar(&b.Pin, "pin", true, "the subject alone on one CPU, everything else on another; where there is one CPU this changes nothing")
	only := flag.String("cases", "", "comma-separated names of cases; empty: those that -all says")
	subjects := flag.String("subjects", "", "comma-separated names of subjects; empty: those that -all says")
	out := flag.String("out", "", "`directory` that gets RESULTS.md and results.svg; empty: print only")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b.Cases = choose(cases(b.All), *only, func(c Case) string { return c.Name })
	b.Subjects = choose(allSubjects(b.All), *subjects, func(s Subject) string { return s.Name })
	if len(b.Cases) == 0 || len(b.Subjects) == 0 {
		log.Fatal("bench: no case or no subject has such a name")
	}
	if err := run(ctx, &b, *out); err != nil {
		log.Fatal(err)
	}
}

// choose keeps those that are named; an empty list names all.
func choose[T any](all []T, list string, name func(T) string) []T {
	if list == "" {
		return all
	}
	wanted := strings.Split(list, ",")
	return slices.DeleteFunc(slices.Clone(all), func(v T) bool { return !slices.Contains(wanted, name(v)) })
}

func run(ctx context.Context, b *Bench, out string) (err error) {
	if out != "" { // not found out an hour later
		if err := os.MkdirAll(out, 0o755); err != nil {
			return fmt.Errorf("make directory for results: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b.Dir = dir
	defer b.Stop()
	if err := b.Start(ctx); err != nil {
		return err
	}
	if err := b.Measure(ctx); err != nil {
		return err
	}
	if err := b.rules(ctx); err != nil {
		return err
	}
	// What is measured beside others is done: the processes would disturb this.
	b.Stop()
	if err := b.redact(); err != nil {
		return err
	}
	report := b.Report()
	fmt.Print(report)
	if out == "" {
		return nil
	}
	for name, text := range map[string]string{"RESULTS.md": report, "results.svg": b.Picture()} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write results: %w", err)
		}
	}
	return nil
}
