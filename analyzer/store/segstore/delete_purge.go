package segstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/weir-capture/weir/analyzer/store/index"
)

// What goes from the index is gone from its files only when these are written
// anew (index.Index.Purge). For a deletion that is done at once. Retention,
// which removes segments all the time, has it done at most every purgeEvery, and
// less often where it takes long.
const (
	purgeEvery = 5 * time.Minute
	// purgeShare: of the time, at most one part in so many goes into it.
	purgeShare = 20
	// settlePoll is how often a deletion looks whether the index has caught up.
	settlePoll = 10 * time.Millisecond
)

// purges is when the files of the index were written anew. It is the retention
// loop's own.
type purges struct {
	// owed: rows went since. at is when it was done last, took how long it was.
	owed     bool
	at, took time.Duration
}

var errClosing = errors.New("the store is being closed; its next start completes it")

// settled waits until the index has what stands below off.
func (s *Store) settled(ctx context.Context, off uint64) error {
	tick := time.NewTicker(settlePoll)
	defer tick.Stop()
	for s.live.snapshot().below < off {
		select {
		case <-tick.C:
		case <-s.closing:
			return errClosing
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// purge lets first change the rows of the index, and then has its files written
// anew. Who asks meanwhile is answered by the old ones.
func (s *Store) purge(ctx context.Context, first func(index.Index) error) error {
	if err := s.use(ctx, func(index.Index) error { return nil }); err != nil {
		return err
	}
	return s.change(func() error {
		x := s.index.current()
		if x == nil {
			return s.notReady()
		}
		if err := first(x); err != nil {
			return err
		}
		y, err := x.Purge(ctx)
		if err != nil {
			return err
		}
		stats, err := y.Stats(ctx)
		if err != nil {
			return errors.Join(err, y.Close())
		}
		s.live.setStats(stats)
		return s.index.set(y)
	})
}

// purgeOwed is purge for retention.
func (s *Store) purgeOwed(ctx context.Context) {
	p := &s.purges
	now := s.opt.Elapsed()
	if !p.owed || p.at > 0 && now-p.at < max(s.opt.PurgeEvery, purgeShare*p.took) {
		return
	}
	err := s.purge(ctx, func(index.Index) error { return nil })
	p.at = s.opt.Elapsed()
	p.took = p.at - now
	if err != nil {
		if ctx.Err() == nil {
			s.log.Error("Could not write the index anew; what was removed from it is in its file until then", slog.String("error", err.Error()))
		}
		return
	}
	p.owed = false
}

// dropIndex removes the index, which is made anew from the log.
func (s *Store) dropIndex() error {
	if err := os.RemoveAll(filepath.Join(s.opt.Dir, indexDir)); err != nil {
		return fmt.Errorf("remove index: %w", err)
	}
	return nil
}

// current is the index in use; nil: there is none.
func (h *indexHandle) current() index.Index {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.x
}
