package sampling

import (
	"context"
	"log/slog"
	"os"
	"sync/atomic"

	"github.com/weir-capture/weir/internal/filewatch"
)

// Watcher keeps the rules of a file that may change. A file that cannot be
// read, or has a mistake, changes nothing: the rules that were last good go
// on, and a line of the log says what is wrong, once for each state of the
// file.
type Watcher struct {
	file  *filewatch.Watcher
	rules atomic.Pointer[Rules]
}

// Watch reads the file for the first time and starts nothing; Run watches it.
// changed is called by Run, after the rules have changed.
func Watch(path string, changed func(), log *slog.Logger) (*Watcher, error) {
	w := new(Watcher)
	var err error
	w.file, err = filewatch.Watch(path, maxFileBytes, func(b []byte) error {
		rules, err := Parse(b)
		if err != nil {
			return err
		}
		if w.rules.Swap(rules) != nil {
			log.Info("Sampling is as SAMPLE_FILE says", slog.String("file", path), slog.Int("apps", len(rules.byApp)))
			changed()
		}
		return nil
	}, func(err error) {
		log.Error("Could not read SAMPLE_FILE; sampling stays as it was", slog.String("file", path), slog.String("error", err.Error()))
	})
	return w, err
}

// Rules are those that hold now. It may be called by many goroutines at once.
func (w *Watcher) Rules() *Rules { return w.rules.Load() }

// Run follows the file until ctx ends, and looks at it at once at each signal
// of reload. A signal says in the log what came of it, also when nothing did.
func (w *Watcher) Run(ctx context.Context, reload <-chan os.Signal) error {
	return w.file.Run(ctx, reload)
}
