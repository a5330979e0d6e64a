package segstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/seglog"
)

// indexHandle is the index that is in use, if there is one.
type indexHandle struct {
	// mu is held for reading while the index is asked, so that it is closed
	// only when nobody does.
	mu sync.RWMutex
	x  index.Index

	readyMu sync.Mutex
	ready   chan struct{} // closed while there is an index
	// change is held by whoever changes the rows.
	change sync.Mutex
	// broken asks the indexer for a new one.
	broken chan error
	// done and all are bytes of the log, for people who wait.
	done, all atomic.Uint64
}

func (h *indexHandle) init() {
	h.ready = make(chan struct{})
	h.broken = make(chan error, 1)
}

// set puts x in use, or nothing, and closes what was in use before.
func (h *indexHandle) set(x index.Index) error {
	h.readyMu.Lock()
	defer h.readyMu.Unlock()
	h.mu.Lock()
	old := h.x
	h.x = x
	h.mu.Unlock()
	if old == nil && x != nil {
		close(h.ready)
	}
	if old != nil && x == nil {
		h.ready = make(chan struct{})
	}
	if old != nil {
		return old.Close()
	}
	return nil
}

// wait returns when there is an index.
func (h *indexHandle) wait(ctx context.Context) error {
	h.readyMu.Lock()
	ready := h.ready
	h.readyMu.Unlock()
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the index: %w", ctx.Err())
	}
}

// use lends the index to do. What do finds broken is made anew.
func (s *Store) use(ctx context.Context, do func(index.Index) error) error {
	h := &s.index
	limit := time.NewTimer(s.opt.ReadyWait)
	defer limit.Stop()
	for {
		h.mu.RLock()
		if h.x != nil {
			break
		}
		h.mu.RUnlock()
		h.readyMu.Lock()
		ready := h.ready
		h.readyMu.Unlock()
		select {
		case <-ready:
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return s.notReady()
		}
	}
	defer h.mu.RUnlock()
	err := do(h.x)
	if errors.Is(err, index.ErrBroken) {
		select {
		case h.broken <- err:
		default:
		}
		return fmt.Errorf("%w: %w", store.ErrNotReady, err)
	}
	return err
}

func (s *Store) notReady() error {
	done, all := s.index.done.Load(), s.index.all.Load()
	if all == 0 {
		return fmt.Errorf("%w: the index is being opened", store.ErrNotReady)
	}
	return fmt.Errorf("%w: the index is being made from the log: %d of %d MiB", store.ErrNotReady, done>>20, all>>20)
}

// Ready is nil when questions can be answered, and store.ErrNotReady with how
// far it is otherwise.
func (s *Store) Ready() error {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	if s.index.x == nil {
		return s.notReady()
	}
	return nil
}

// Pauses before something is tried again.
const (
	indexPause    = time.Second
	maxIndexPause = 30 * time.Second
	// finalFlush bounds how long the last rows may take when Run ends.
	finalFlush = 5 * time.Second
)

// indexLoop keeps an index in use until ctx ends.
func (s *Store) indexLoop(ctx context.Context) {
	pause := indexPause
	if !s.resumed(ctx) {
		return
	}
	for ctx.Err() == nil {
		started := s.opt.Now()
		err := s.indexOnce(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		if s.opt.Now().Sub(started) > maxIndexPause {
			pause = indexPause
		}
		s.log.Error("The index failed and is opened again", slog.String("error", err.Error()), slog.Duration("in", pause))
		if errors.Is(err, index.ErrBroken) {
			// Opening it may find nothing wrong with it, as it did before.
			if err := os.RemoveAll(filepath.Join(s.opt.Dir, indexDir)); err != nil {
				s.log.Error("Could not remove a broken index", slog.String("error", err.Error()))
			}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxIndexPause)
	}
}

// indexOnce opens the index, brings it up to the end of the log, puts it in
// use and feeds it until ctx ends, which gives nil, or it fails.
func (s *Store) indexOnce(ctx context.Context) (err error) {
	s.giveRoomWhenScarce()
	x, err := s.opt.OpenIndex(ctx, filepath.Join(s.opt.Dir, indexDir), s.dir.meta.Store, s.logEnd())
	if err != nil {
		return fmt.Errorf("open index: %w", err)
	}
	select {
	case <-s.index.broken: // was said of an earlier one
	default:
	}
	if x.Watermark() == 0 && s.logEnd() > s.seglog.Oldest() {
		s.counters.indexRebuilds.Add(1)
	}
	if err := s.catchUp(ctx, x); err != nil {
		return errors.Join(err, x.Close())
	}
	if err := s.index.set(x); err != nil {
		return err
	}
	err = s.feed(ctx)
	if err == nil {
		// ctx has ended, and whoever appended has stopped: what is left is
		// little, and saves the next start some work.
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), finalFlush)
		defer cancel()
		if err := s.flush(flush); err != nil {
			s.log.Warn("Some rows were not indexed; the next start does it", slog.String("error", err.Error()))
		}
		return nil
	}
	return errors.Join(err, s.index.set(nil))
}

// logEnd is where the last record ends. The log's Next may be above it.
func (s *Store) logEnd() uint64 {
	segs := s.seglog.Segments()
	if len(segs) == 0 {
		return 0
	}
	return segs[len(segs)-1].End
}

// catchUp indexes what is in the log and not in the index.
func (s *Store) catchUp(ctx context.Context, x index.Index) error {
	started := s.opt.Now()
	from := max(x.Watermark(), s.seglog.Oldest())
	end := s.logEnd()
	s.index.done.Store(0)
	s.index.all.Store(end - min(from, end))
	defer s.index.all.Store(0)
	// Rows of segments that were removed while nobody could say so.
	if err := x.Remove(ctx, 0, s.seglog.Oldest()); err != nil {
		return fmt.Errorf("remove rows before the log: %w", err)
	}
	s.unread.hidden = 0
	if err := s.hide(ctx, x); err != nil {
		return err
	}
	var rows []index.Row
	var weight int64
	var pairs uint64
	watermark := x.Watermark()
	insert := func() error {
		if err := x.Insert(ctx, rows, watermark); err != nil {
			return fmt.Errorf("catch up with the log: %w", err)
		}
		pairs += uint64(len(rows))
		rows, weight = rows[:0], 0
		return nil
	}
	for e, err := range s.seglog.Records(from) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			next, err := s.damage(err)
			if err != nil {
				return err
			}
			watermark = max(watermark, next)
			continue
		}
		rows, weight = s.rowsOf(&e, rows, weight)
		watermark = e.Next
		s.index.done.Store(e.Next - from)
		if len(rows) >= s.opt.IndexRows || weight > s.opt.Backlog/4 {
			if err := insert(); err != nil {
				return err
			}
		}
	}
	if watermark > x.Watermark() {
		if err := insert(); err != nil {
			return err
		}
	}
	stats, err := x.Stats(ctx)
	if err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	// Of appends that were under way some are in both by now.
	s.room.Release(s.live.advance(watermark, stats))
	if pairs > 0 {
		s.log.Info("Brought the index up to the log", slog.Uint64("pairs", pairs), slog.Duration("took", s.opt.Now().Sub(started)))
	}
	return nil
}

// rowsOf adds the rows of a record of the log.
func (s *Store) rowsOf(e *seglog.Entry, rows []index.Row, weight int64) ([]index.Row, int64) {
	d, err := openRecord(e.Offset, e.Head, e.Body)
	if err != nil {
		// Stored so, and logged, when it came.
		s.counters.unreadable.Add(1)
		return rows, weight
	}
	s.name(d.pairs)
	for _, p := range d.pairs {
		r := index.RowOf(p.Pair, d.at, e.Offset, uint32(p.Seq-index.Seq(e.Offset, 0)))
		r.Endpoint = p.Endpoint
		rows = append(rows, r)
		weight += rows[len(rows)-1].Size()
	}
	return rows, weight
}

// damage takes note of a stretch of the log that cannot be read, and says
// where reading goes on. An error of another kind is given back.
func (s *Store) damage(err error) (next uint64, _ error) {
	if removed, ok := errors.AsType[*seglog.RemovedError](err); ok {
		return removed.To, nil
	}
	c, ok := errors.AsType[*seglog.CorruptError](err)
	if !ok {
		return 0, fmt.Errorf("read log: %w", err)
	}
	s.damaged(c)
	return c.Next, nil
}

// feed indexes new records as they come, until ctx ends or the index fails.
func (s *Store) feed(ctx context.Context) error {
	delay := time.NewTimer(0)
	defer delay.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.index.broken:
			return err
		case <-s.unread.more:
		case <-s.live.more:
		}
		// Others come soon, and a transaction costs the same for all of them.
		delay.Reset(s.opt.IndexDelay)
		for wait := true; wait && s.live.backlog() < s.opt.IndexRows; {
			select {
			case <-ctx.Done():
				return nil
			case err := <-s.index.broken:
				return err
			case <-s.live.more:
			case <-delay.C:
				wait = false
			}
		}
		for {
			// What is to be hidden may be pending.
			err := s.flush(ctx)
			if err == nil {
				err = s.hide(ctx, nil)
			}
			if err == nil {
				if failing {
					s.log.Info("The index takes rows again")
				}
				failing = false
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, index.ErrBroken) {
				return err
			}
			if !failing {
				failing = true
				s.log.Error("Could not index; trying again", slog.String("error", err.Error()))
			}
			select {
			case <-ctx.Done():
				return nil
			case err := <-s.index.broken:
				return err
			case <-time.After(indexPause):
			}
		}
	}
}

// flush indexes everything that is pending.
func (s *Store) flush(ctx context.Context) error {
	for {
		blocks, n := s.live.next(s.opt.IndexRows)
		if len(blocks) == 0 {
			return nil
		}
		rows := make([]index.Row, 0, n)
		for _, b := range blocks {
			rows = append(rows, b.rows...)
		}
		watermark := blocks[len(blocks)-1].next
		err := s.change(func() error {
			x := s.index.current() // a purge may have put another in its place
			if x == nil {
				return s.notReady()
			}
			if err := x.Insert(ctx, rows, watermark); err != nil {
				return err
			}
			stats := s.live.snapshot().stats
			for i := range rows {
				stats.Add(&rows[i])
			}
			s.room.Release(s.live.advance(watermark, stats))
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// resumed completes deletions that were cut short, before there is an index;
// false when ctx has ended.
func (s *Store) resumed(ctx context.Context) bool {
	for pause := indexPause; ; pause = min(2*pause, maxIndexPause) {
		err := s.resume(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		s.log.Error("Could not complete a deletion; nothing can be asked until it is done", slog.String("error", err.Error()), slog.Duration("again", pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}
