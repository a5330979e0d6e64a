package segstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/seglog"
)

// change runs what changes the index, one at a time.
func (s *Store) change(do func() error) error {
	s.index.change.Lock()
	defer s.index.change.Unlock()
	return do()
}

func (s *Store) retainLoop(ctx context.Context) {
	if s.opt.Retention == 0 && s.opt.RetentionBytes == 0 {
		return
	}
	tick := time.NewTicker(s.opt.RetainEvery)
	defer tick.Stop()
	for {
		if err := s.index.wait(ctx); err != nil {
			return
		}
		if err := s.retain(ctx, s.opt.Now()); err != nil && ctx.Err() == nil {
			s.log.Error("Could not remove what is too old", slog.String("error", err.Error()))
		}
		s.purgeOwed(ctx)
		s.looks.Add(1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// maxIndexShare: the index counts for a quarter of what may be kept at most. Its
// file is used again but does not shrink, so that after a bound was lowered it
// would drive out everything else.
const maxIndexShare = 4

// retain removes the segments that are too old or too many, then their rows.
// A kill between the two leaves rows that point to nothing, which readers pass
// over and the next start removes; where the index fails, the next look does.
func (s *Store) retain(ctx context.Context, now time.Time) error {
	s.watch(now)
	if err := s.letGo(); err != nil {
		return fmt.Errorf("end segment: %w", err)
	}
	segs := s.seglog.Segments()
	var cut uint64
	total := s.seglog.Bytes() + s.sidecars.bytes() + min(indexBytes(s.opt.Dir), s.opt.RetentionBytes/maxIndexShare)
	removed := 0
	for i := range len(segs) - 1 {
		// Whatever is in a segment came before the next one was begun.
		newest, stamped := segs[i+1].Created, segs[i+1].Base
		if at, off := s.lastAt.Load(), s.lastOff.Load(); at > 0 && off < stamped {
			newest, stamped = time.Unix(0, at), off
		}
		tooOld := s.opt.Retention > 0 && !newest.IsZero() && s.ages.of(newest, stamped) > s.opt.Retention
		tooMany := s.opt.RetentionBytes > 0 && total > s.opt.RetentionBytes
		if !tooOld && !tooMany {
			break
		}
		total -= segs[i].Bytes
		if f, ok := s.sidecars.of(segs[i].Base); ok {
			total -= f.bytes
		}
		cut = segs[i+1].Base
		removed++
	}
	if removed > 0 {
		if err := s.remove(cut); err != nil {
			return fmt.Errorf("remove segments: %w", err)
		}
		s.live.forget(cut)
		s.cache.forget(cut)
		s.sidecars.forget(cut)
		s.ages.forget(cut)
		s.rowsBelow = cut
		if err := s.removeOrphans(s.seglog.Segments()); err != nil {
			return fmt.Errorf("remove segments: %w", err)
		}
		if err := failpoint.Hit(failpoint.StoreMidCompaction); err != nil {
			return fmt.Errorf("remove segments: %w", err)
		}
	}
	// Rows of what was removed that are not in the index yet would get there
	// after they were removed from it: the next look does it then.
	if s.rowsBelow == 0 || s.live.snapshot().below < s.rowsBelow {
		return nil
	}
	var stats index.Stats
	err := s.use(ctx, func(x index.Index) error {
		return s.change(func() (err error) {
			if err = x.Remove(ctx, 0, s.rowsBelow); err != nil {
				return err
			}
			if stats, err = x.Stats(ctx); err == nil {
				s.live.setStats(stats)
			}
			return err
		})
	})
	if err != nil {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return fmt.Errorf("remove rows: %w", err)
	}
	s.rowsBelow, s.purges.owed = 0, true
	s.log.Info("Removed what is past retention", slog.Int("segments", removed), slog.Uint64("pairs_left", stats.Rows))
	return nil
}

// remove removes the segments below cut.
func (s *Store) remove(cut uint64) error {
	s.removing.Lock()
	defer s.removing.Unlock()
	if s.opt.Removing != nil {
		s.opt.Removing(cut)
	}
	return s.seglog.RemoveBefore(cut)
}

// watch looks whether the wall clock was set.
func (s *Store) watch(now time.Time) {
	if by := s.ages.look(now, s.seglog.Next()); by != 0 {
		s.log.Warn("The wall clock jumped; retention goes by the time that passed", slog.Duration("by", by), slog.Time("now", now))
	}
}

// letGo begins a new segment when everything in the last one is too old: the
// log never removes its last one, and where nothing comes any more none would
// follow it.
func (s *Store) letGo() error {
	segs := s.seglog.Segments()
	if s.opt.Retention == 0 || len(segs) == 0 {
		return nil
	}
	off, at := s.lastOff.Load(), s.lastAt.Load()
	// A segment may be there a moment before its first record is known of; of
	// the very first there is no time then, and nothing is too old.
	if at == 0 || off < segs[len(segs)-1].Base || s.ages.of(time.Unix(0, at), off) <= s.opt.Retention {
		return nil
	}
	return s.beginNext()
}

// beginNext begins a segment, with a record that stands for nothing.
func (s *Store) beginNext() error {
	if err := s.seglog.Rotate(); err != nil {
		return err
	}
	w := wrapper{mark: true, at: s.lastAt.Load()}
	_, err := s.seglog.Append(seglog.Record{Head: w.encode(), Committed: func(off, next uint64) {
		s.live.publish(&block{off: off, next: next}, nil, 0)
	}})
	return err
}
