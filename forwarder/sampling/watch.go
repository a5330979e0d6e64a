package sampling

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// pollEvery is how often the file is looked at.
const pollEvery = time.Second

// Watcher keeps the rules of a file that may change. A file that cannot be
// read, or has a mistake, changes nothing: the rules that were last good go
// on, and a line of the log says what is wrong, once for each state of the
// file.
type Watcher struct {
	path    string
	log     *slog.Logger
	changed func()

	rules atomic.Pointer[Rules]
	// taken is what was last acted on; seen is what the last look found.
	taken, seen content
}

// content is what a look at the file found.
type content struct {
	b   []byte
	err string // why it could not be read
}

func (c content) equal(o content) bool { return c.err == o.err && bytes.Equal(c.b, o.b) }

func (c content) parse() (*Rules, error) {
	if c.err != "" {
		return nil, errors.New(c.err)
	}
	return Parse(c.b)
}

// Watch reads the file for the first time and starts nothing; Run watches it.
// changed is called by Run, after the rules have changed.
func Watch(path string, changed func(), log *slog.Logger) (*Watcher, error) {
	w := &Watcher{path: path, log: log, changed: changed}
	w.taken = w.read()
	w.seen = w.taken
	rules, err := w.taken.parse()
	if err != nil {
		return nil, err
	}
	w.rules.Store(rules)
	return w, nil
}

func (w *Watcher) read() content {
	b, err := read(w.path)
	if err != nil {
		return content{err: err.Error()}
	}
	return content{b: b}
}

// Rules are those that hold now. It may be called by many goroutines at once.
func (w *Watcher) Rules() *Rules { return w.rules.Load() }

// Run reads the file each second and at each signal of reload, until ctx ends.
// A signal says in the log what came of it, also when nothing did.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look(false)
		case <-reload:
			w.look(true)
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the file. asked: somebody says that it is ready, and waits for an
// answer. Otherwise it has to look the same twice before it counts: it may be
// half written.
func (w *Watcher) look(asked bool) {
	// All of it each time: it is small, and no time stamp says as much.
	now := w.read()
	before := w.seen
	w.seen = now
	if !asked && (now.equal(w.taken) || !now.equal(before)) {
		return
	}
	w.taken = now
	rules, err := now.parse()
	if err != nil {
		w.log.Error("Could not read SAMPLE_FILE; sampling stays as it was", slog.String("file", w.path), slog.String("error", err.Error()))
		return
	}
	w.rules.Store(rules)
	w.log.Info("Sampling is as SAMPLE_FILE says", slog.String("file", w.path), slog.Int("apps", len(rules.byApp)))
	w.changed()
}
