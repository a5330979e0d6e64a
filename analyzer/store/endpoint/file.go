package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

// FileName has one fold a line. It is not a part of the index: an index that
// is made again has to give the same templates, also where the requests that
// made a place fold are gone.
const (
	// FileName is the file of the folds, in the data directory.
	FileName     = "endpoints"
	maxFoldsFile = 64 << 20
)

// Open makes Templates that know the folds of a data directory, and keep theirs
// there. dir has to stay open as long as Save is called.
func Open(dir vfs.FS) (*Templates, error) {
	b, err := atomicfile.Read(dir, FileName, maxFoldsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read folds of endpoints: %w", err)
	}
	var folds []Fold
	n := 0
	for line := range strings.Lines(string(b)) {
		n++
		f, err := ParseFold(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("read folds of endpoints: %s, line %d: %w", FileName, n, err)
		}
		folds = append(folds, f)
	}
	t := NewTemplates(folds)
	t.dir = dir
	t.saved = len(t.folds)
	return t, nil
}

// Save makes the folds durable, if there are new ones and they are kept
// anywhere. One at a time.
func (t *Templates) Save() error {
	t.mu.RLock()
	folds, dir, saved := slices.Clone(t.folds), t.dir, t.saved
	t.mu.RUnlock()
	if dir == nil || len(folds) == saved {
		return nil
	}
	// Not sorted: a place stands before those that were folded below it.
	var b bytes.Buffer
	for _, f := range folds {
		b.WriteString(f.String() + "\n")
	}
	if err := atomicfile.Write(dir, FileName, b.Bytes()); err != nil {
		return fmt.Errorf("keep folds of endpoints: %w", err)
	}
	t.mu.Lock()
	t.saved = len(folds)
	t.mu.Unlock()
	return nil
}

// ReadRules reads the rules of a file.
func ReadRules(path string) ([]Rule, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read rules of endpoints: %w", err)
	}
	defer f.Close()
	rules, err := ParseRules(f)
	if err != nil {
		return nil, fmt.Errorf("read rules of endpoints: %s, %w", path, err)
	}
	return rules, nil
}

// WatchRules puts the rules of a file in place whenever it has changed, which
// is looked at every so often until ctx ends. A file that cannot be read leaves
// the rules as they are, and is logged once.
func (t *Templates) WatchRules(ctx context.Context, path string, every time.Duration, log *slog.Logger) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var seen string
	for {
		if now := stamp(path); now != seen {
			seen = now
			rules, err := ReadRules(path)
			if err != nil {
				log.Error("The rules of endpoints stay as they were", slog.String("error", err.Error()))
			} else {
				t.SetRules(rules)
				log.Info("Read the rules of endpoints", slog.String("file", path), slog.Int("rules", len(rules)))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stamp changes when a file does, as far as that can be seen from outside.
func stamp(path string) string {
	i, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(i.ModTime().UnixNano(), i.Size())
}
