package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-capture/weir/bench/store/corpus"
)

// weir is the subject: the real forwarder, with rules off, and the real
// analyzer.
type weir struct {
	b      *bench
	dir    string
	corpus corpus.Corpus

	forwarder, analyzer *process
	push, api, ingest   string // addresses
	figures             Figures
	pairBytes           float64
	stored              float64
	kept                bool // the store was there
}

func (w *weir) dataDir() string { return filepath.Join(w.dir, "data") }

func (w *weir) startAnalyzer(ctx context.Context) (time.Duration, error) {
	api, err := freePort()
	if err != nil {
		return 0, err
	}
	ingest, err := freePort()
	if err != nil {
		return 0, err
	}
	w.api, w.ingest = "http://127.0.0.1:"+api, "127.0.0.1:"+ingest
	w.analyzer, err = launch(ctx, w.dir, []string{
		"LISTEN_ADDR=127.0.0.1:" + api, "INGEST_ADDR=" + w.ingest, "DATA_DIR=" + w.dataDir(), "LOG_LEVEL=warn", "AUTH=off",
	}, filepath.Join(w.b.bin, "analyzer"))
	if err != nil {
		return 0, err
	}
	return w.analyzer.ready(ctx, w.api+"/readyz")
}

func (w *weir) startForwarder(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	w.push = "127.0.0.1:" + port
	w.forwarder, err = launch(ctx, w.dir, []string{
		"SERVICE_PORT=" + port, "CLUSTER_NAME=bench", "ANALYZER_ADDR=" + w.ingest, "FILTER_RULE=none",
		"SPOOL_DIR=" + filepath.Join(w.dir, "spool"), "LOG_LEVEL=warn",
	}, filepath.Join(w.b.bin, "forwarder"))
	if err != nil {
		return err
	}
	return dialable(ctx, w.push)
}

func (w *weir) stop() error {
	err := errors.Join(w.forwarder.stop(), w.analyzer.stop())
	w.forwarder, w.analyzer = nil, nil
	return err
}

// run measures everything.
func (w *weir) run(ctx context.Context) error {
	defer func() { w.forwarder.kill(); w.analyzer.kill() }()
	if _, err := w.startAnalyzer(ctx); err != nil {
		return err
	}
	if err := w.startForwarder(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"ingest", w.takeIn},
		{"warm", w.warm},
		{"scan", w.scan},
		{"mixed", w.mixed},
		{"cold", w.cold},
	} {
		if step.name != "ingest" && !slices.Contains(w.b.steps, step.name) || step.name == "ingest" && w.kept {
			continue
		}
		began := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		w.b.say("Weir, %d pairs: %s took %v", w.corpus.Pairs, step.name, time.Since(began).Round(time.Second))
	}
	return w.stop()
}

// metric reads one of the analyzer's.
func (w *weir) metric(ctx context.Context, name string) (float64, error) {
	a := newAsker(w.api, w.corpus)
	defer a.close()
	b, _, err := a.get(ctx, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		if rest, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(rest, 64)
		}
	}
	return 0, fmt.Errorf("the analyzer has no metric %s", name)
}

// settled waits until so many pairs are stored, and indexed.
func (w *weir) settled(ctx context.Context, pairs float64) error {
	for began := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		stored, err := w.metric(ctx, "weir_store_pairs_total")
		if err != nil {
			return err
		}
		behind, err := w.metric(ctx, "weir_index_backlog_pairs")
		if err != nil {
			return err
		}
		if stored >= pairs && behind == 0 {
			return nil
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("only %.0f of %.0f pairs were stored, %.0f of them not indexed", stored, pairs, behind)
		}
	}
}

// both are the CPU times of forwarder and analyzer.
func (w *weir) both() (forwarder, analyzer time.Duration, err error) {
	forwarder, err1 := w.forwarder.cpu()
	analyzer, err2 := w.analyzer.cpu()
	return forwarder, analyzer, errors.Join(err1, err2)
}

// rest is how long is waited after the last pair for what is done behind.
const rest = 2 * time.Second

// takeIn sends everything, as fast as it is taken.
func (w *weir) takeIn(ctx context.Context) error {
	f0, a0, err := w.both()
	if err != nil {
		return err
	}
	f := &feed{addr: w.push, corpus: w.corpus, run: 1}
	got, err := f.send(ctx)
	if err != nil {
		return errors.Join(err, w.troubles())
	}
	if err := w.settled(ctx, float64(w.corpus.Pairs)); err != nil {
		return errors.Join(err, w.troubles())
	}
	took := time.Since(f.started)
	time.Sleep(rest)
	f1, a1, err := w.both()
	if err != nil {
		return err
	}
	n := float64(w.corpus.Pairs)
	each := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) / n }
	w.stored += n
	w.pairBytes = float64(got.Bytes) / n
	w.figures["cpu forwarder"] = Figure{Value: each(f1 - f0)}
	w.figures["cpu analyzer"] = Figure{Value: each(a1 - a0)}
	w.figures["cpu"] = Figure{Value: each(f1 - f0 + a1 - a0), Note: fmt.Sprintf("forwarder %.1f, analyzer %.1f", each(f1-f0), each(a1-a0))}
	w.figures["rate"] = Figure{
		Value: n / took.Seconds(),
		Note:  fmt.Sprintf("until all was stored and indexed; %.1f CPUs were busy with it", (f1-f0+a1-a0).Seconds()/took.Seconds()),
	}
	for _, p := range []*process{w.forwarder, w.analyzer} {
		if peak, err := p.peak(); err == nil {
			w.figures["memory ingest "+p.name] = Figure{Value: float64(peak) / 1e6}
		}
	}
	used, err := diskUsed(w.dataDir())
	if err != nil {
		return err
	}
	kinds, err := diskKinds(w.dataDir())
	if err != nil {
		return err
	}
	note := fmt.Sprintf("of %.0f, everything below DATA_DIR:", w.pairBytes)
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		note += fmt.Sprintf(" %s %.0f", k, float64(kinds[k])/n)
	}
	w.figures["bytes"] = Figure{Value: float64(used) / n, Note: note}
	if w.b.keep {
		return os.WriteFile(filepath.Join(w.dir, keptFile), []byte(keptNote(w.b.end, w.pairBytes)), 0o644)
	}
	return nil
}

// troubles is what the programs said, when something went wrong.
func (w *weir) troubles() error {
	var all []error
	for _, p := range []*process{w.forwarder, w.analyzer} {
		b, _ := os.ReadFile(p.log)
		if len(b) > 0 {
			all = append(all, fmt.Errorf("%s says: %s", p.name, b[max(0, len(b)-1000):]))
		}
	}
	return errors.Join(all...)
}

func (w *weir) warm(ctx context.Context) error {
	a := newAsker(w.api, w.corpus)
	defer a.close()
	for _, q := range questions() {
		// Once before, unmeasured.
		_, _, _ = q.ask(ctx, a, w.b.repeats)
		before, err1 := w.analyzer.cpu()
		f, times := a.repeat(ctx, q, w.b.repeats, w.b.patience)
		after, err2 := w.analyzer.cpu()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if times > 0 {
			f.CPU = ms(after-before) / float64(times)
		}
		w.figures[q.key] = f
	}
	return ctx.Err()
}

// scanBytes is about how much a scan looks through.
const scanBytes = 8e9

func (w *weir) scan(ctx context.Context) error {
	a := newAsker(w.api, w.corpus)
	defer a.close()
	var speeds []float64
	for range 3 {
		n, took, err := a.scan(ctx, w.pairBytes, scanBytes)
		if err != nil {
			w.figures["scan"] = Figure{Missing: err.Error()}
			return ctx.Err()
		}
		speeds = append(speeds, n/1e9/took.Seconds())
		w.figures["scan"] = Figure{Value: middle(speeds), Note: fmt.Sprintf("%.1f GB of pairs, median of %d", n/1e9, len(speeds))}
		if took > w.b.patience {
			break
		}
	}
	return nil
}

// Mixed work: pairs come at a rate while dashboards are looked at.
const (
	mixedRate   = 5000
	dashboards  = 2
	lookEvery   = 20 * time.Millisecond
	visibleTime = 10 * time.Second
)

func (w *weir) mixed(ctx context.Context) error {
	for _, p := range []*process{w.forwarder, w.analyzer} {
		if err := p.resetPeak(); err != nil {
			w.figures.note("memory", "the peak of ingest is in it: "+err.Error())
		}
	}
	c := corpus.Corpus{Pairs: uint64(mixedRate * w.b.mixedFor.Seconds()), From: time.Now().UnixNano()}
	c.To = c.From + int64(w.b.mixedFor)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := 0
	for range dashboards {
		wg.Go(func() {
			a := newAsker(w.api, w.corpus)
			defer a.close()
			for i := 0; work.Err() == nil; i++ {
				for _, q := range questions() {
					if q.key == "rare" || q.key == "common" {
						continue
					}
					// What is not there yet is not asked for.
					if _, _, err := q.ask(work, a, i); err == nil {
						mu.Lock()
						asked++
						mu.Unlock()
					}
				}
			}
		})
	}
	var analyzer []time.Duration
	var probeErr error
	wg.Go(func() {
		p := &probe{addr: w.ingest, corpus: c}
		analyzer, probeErr = p.run(work)
	})
	seen := &watcher{a: newAsker(w.api, c), c: c, next: make(chan uint64, 1)}
	defer seen.a.close()
	wg.Go(func() { seen.run(work) })
	f0, a0, err := w.both()
	if err != nil {
		return err
	}
	f := &feed{addr: w.push, corpus: c, run: uint64(c.From), paced: true, sentOne: seen.sent}
	got, err := f.send(ctx)
	f1, a1, cpuErr := w.both()
	stop()
	wg.Wait()
	if err := errors.Join(err, probeErr, cpuErr); err != nil {
		return errors.Join(err, w.troubles())
	}
	w.stored += float64(c.Pairs)
	forwarder, alone := spread(got.Delays), spread(analyzer)
	w.figures["ack"] = Figure{
		Value: max(forwarder.Value, alone.Value), Max: max(forwarder.Max, alone.Max),
		Note: fmt.Sprintf("forwarder %.0f / %.0f, analyzer %.0f / %.0f", forwarder.Value, forwarder.Max, alone.Value, alone.Max),
	}
	w.figures["visible"] = spread(seen.delays)
	if seen.lost > 0 {
		w.figures.note("visible", fmt.Sprintf("%d of %d were not seen within %v", seen.lost, seen.lost+len(seen.delays), visibleTime))
	}
	for _, p := range []*process{w.forwarder, w.analyzer} {
		peak, err := p.peak()
		if err != nil {
			return err
		}
		w.figures["memory "+p.name] = Figure{Value: float64(peak) / 1e6}
	}
	x := w.figures["memory"]
	x.Value = w.figures["memory analyzer"].Value
	w.figures["memory"] = x
	w.figures.note("memory", fmt.Sprintf("analyzer; forwarder %.0f beside it; %.0f pairs/s and %.0f questions/s, CPU %.1f and %.1f s of %.0f s",
		w.figures["memory forwarder"].Value, float64(c.Pairs)/got.Took.Seconds(), float64(asked)/got.Took.Seconds(),
		(f1-f0).Seconds(), (a1-a0).Seconds(), got.Took.Seconds()))
	return nil
}

// watcher asks for pairs that were sent until the API has them.
type watcher struct {
	a      *asker
	c      corpus.Corpus
	next   chan uint64
	delays []time.Duration
	lost   int
}

// sent is told of pairs on their way. Most are passed over.
func (w *watcher) sent(n uint64) {
	select {
	case w.next <- n:
	default:
	}
}

func (w *watcher) run(ctx context.Context) {
	for {
		// What waits is old: the delay begins when the pair is sent.
		select {
		case <-w.next:
		default:
		}
		var n uint64
		select {
		case n = <-w.next:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		id := w.c.ID(n)
		path := fmt.Sprintf("/api/v1/pairs/%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
		for {
			_, _, err := w.a.get(ctx, path, nil)
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				w.delays = append(w.delays, time.Since(began))
				break
			}
			if time.Since(began) > visibleTime {
				w.lost++
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return
		}
	}
}

// cold starts the analyzer anew, with nothing of it in memory, and asks each
// question once, making everything cold before it; again and again.
func (w *weir) cold(ctx context.Context) error {
	if err := w.forwarder.stop(); err != nil {
		return err
	}
	w.forwarder = nil
	samples := map[string][]time.Duration{}
	var openings []time.Duration
	began := time.Now()
	rounds := 0
	for ; rounds < w.b.repeats && (time.Since(began) < w.b.coldFor || rounds < 2); rounds++ {
		if err := w.analyzer.stop(); err != nil {
			return err
		}
		if err := w.b.cooler.cool(w.dataDir()); err != nil {
			return err
		}
		took, err := w.startAnalyzer(ctx)
		if err != nil {
			return err
		}
		openings = append(openings, took)
		a := newAsker(w.api, w.corpus)
		list := questions()
		for i := range list {
			// Another one is first in each process.
			q := list[(i+rounds)%len(list)]
			if q.key == "page" {
				continue // is behind pages that warm it
			}
			if err := w.b.cooler.cool(w.dataDir()); err != nil {
				return err
			}
			if took, _, err := q.ask(ctx, a, rounds); err == nil {
				samples[q.key] = append(samples[q.key], took)
			}
		}
		a.close()
	}
	f := spread(openings)
	f.Note = fmt.Sprintf("until ready, from the start of the process; %d times", rounds)
	w.figures["open"] = f
	for key, s := range samples {
		f := w.figures[key]
		f.Cold = ms(quantile(s, 0.95))
		w.figures[key] = f
	}
	return nil
}
