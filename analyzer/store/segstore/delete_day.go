package segstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/seglog"
)

// ErrNotEncrypted: there is no key that could be shredded.
var ErrNotEncrypted = errors.New("the store is not encrypted, or not what came that day")

// Shred makes everything unreadable that was stored on a UTC day, such as
// 2026-11-23, by removing its key: here, and in every copy of the files, but for
// copies of keys.json that have the key still. The day must be over. Its rows go
// from the index. by is who asked, for the journal.
func (s *Store) Shred(ctx context.Context, day, by string) (*Deleted, error) {
	if !s.deleting.TryLock() {
		return nil, fmt.Errorf("shred %s: %w", day, ErrDeleting)
	}
	defer s.deleting.Unlock()
	d, err := s.shred(ctx, day, by)
	if err != nil {
		return nil, fmt.Errorf("shred %s: %w", day, err)
	}
	return d, nil
}

func (s *Store) shred(ctx context.Context, day, by string) (*Deleted, error) {
	now := s.opt.Now()
	switch _, err := time.Parse(time.DateOnly, day); {
	case err != nil:
		return nil, fmt.Errorf("no day such as 2026-11-23: %w", err)
	case day == keyring.DayOf(now):
		return nil, errors.New("the day is not over: delete by query what must go now")
	case s.keys == nil:
		return nil, ErrNotEncrypted
	}
	var ids []uint16
	for _, d := range s.keys.Days() {
		if d.Day == day && d.Shredded.IsZero() {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) == 0 {
		return nil, ErrNotEncrypted
	}
	// What is remembered of all that came stands in the newest segment, which
	// therefore has to be one that stays.
	segs := s.seglog.Segments()
	if n := len(segs); n > 0 && slices.Contains(ids, segs[n-1].Key) {
		if err := s.beginNext(); err != nil {
			return nil, err
		}
		segs = s.seglog.Segments()
	}
	sum := sha256.Sum256([]byte("shred " + day))
	id := store.ID(sum[:])
	e := &journalEntry{Done: true, Deleted: Deleted{
		ID: uuid.UUID(id).String(), Time: now.UnixNano(), By: by, Query: "day " + day,
	}}
	s.removing.Lock()
	defer s.removing.Unlock()
	var gone []store.OffsetRange
	for i := range segs {
		if seg := &segs[i]; slices.Contains(ids, seg.Key) {
			gone = append(gone, store.OffsetRange{From: seg.Base, To: seg.End})
			e.Bytes += uint64(seg.Bytes)
			if err := s.countGone(id, seg, e); err != nil {
				return nil, err
			}
		}
	}
	if s.opt.Settle != nil {
		if err := s.opt.Settle(); err != nil {
			return nil, err
		}
	}
	if err := s.keys.Shred(now, ids...); err != nil {
		return nil, err
	}
	s.seglog.Forget(ids...)
	e.Deleted.Deleted = e.Matched
	e.Proof.Verified = now.UTC().Truncate(time.Second)
	var end uint64
	for _, r := range gone {
		end = max(end, r.To)
		s.sidecars.renew(r.From, r.To)
	}
	s.live.forget(end)
	s.cache.forget(end)
	for i := range segs {
		if seg := &segs[i]; slices.Contains(ids, seg.Key) {
			if err := removeFile(s.opt.LogFS, segidx.Name(seg.Name)); err != nil {
				return nil, err
			}
		}
	}
	err := s.settled(ctx, end)
	if err == nil {
		err = s.purge(ctx, func(x index.Index) error {
			for _, r := range gone {
				if err := x.Remove(ctx, r.From, r.To); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("its key is gone, its rows are not yet: %w", err)
	}
	s.log.Info("Shredded the key of a day", slog.String("day", day), slog.String("by", by), slog.Uint64("pairs", e.Matched))
	return &e.Deleted, s.journal.put(e)
}

// countGone tells of all that a segment holds.
func (s *Store) countGone(id store.ID, seg *seglog.SegmentInfo, e *journalEntry) error {
	for rec, err := range s.seglog.Heads(seg.Base) {
		if err != nil {
			if seglog.IsDamage(err) {
				continue
			}
			return fmt.Errorf("read log: %w", err)
		}
		if rec.Offset >= seg.End {
			return nil
		}
		r, err := readHead(rec.Head)
		if err != nil || r.head == nil || r.unreadable {
			continue
		}
		if n := r.left(r.head); n > 0 {
			e.Matched += uint64(n)
			if s.opt.Erased != nil {
				s.opt.Erased(store.Erased{Deletion: id, At: rec.Offset, Head: r.head, Pairs: n})
			}
		}
	}
	return nil
}
