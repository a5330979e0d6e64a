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
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/seglog"
)

var (
	// ErrNotEncrypted: there is no key that could be shredded.
	ErrNotEncrypted = errors.New("the store is not encrypted, or nothing that came that day is")
	// ErrDayNotOver: what came today goes by query.
	ErrDayNotOver = errors.New("the day is not over: delete by query what must go now")
	// ErrNoDay: it is written in another way.
	ErrNoDay = errors.New("not a day such as 2026-11-23")
)

// Shredding says which day is to be made unreadable.
type Shredding struct {
	// Day is one of UTC, such as 2026-11-23, which is over.
	Day string
	// DryRun only counts.
	DryRun bool
	// Most is how many pairs may go: *TooManyError where there are more. 0: any
	// number.
	Most uint64
	// By is who asked, for the journal.
	By string
}

// Shred makes everything unreadable that was stored on a day, by removing its
// key: here, and in every copy of the files, but for copies of keys.json that
// have the key still. Its rows go from the index. Errors: ErrNoDay,
// ErrDayNotOver, ErrNotEncrypted, *TooManyError, ErrDeleting.
func (s *Store) Shred(ctx context.Context, ask Shredding) (*Deleted, error) {
	if !s.deleting.TryLock() {
		return nil, fmt.Errorf("shred %s: %w", ask.Day, ErrDeleting)
	}
	defer s.deleting.Unlock()
	d, err := s.shred(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("shred %s: %w", ask.Day, err)
	}
	return d, nil
}

func (s *Store) shred(ctx context.Context, ask Shredding) (*Deleted, error) {
	now := s.opt.Now()
	switch _, err := time.Parse(time.DateOnly, ask.Day); {
	case err != nil:
		return nil, ErrNoDay
	case ask.Day >= keyring.DayOf(now):
		return nil, ErrDayNotOver
	case s.keys == nil:
		return nil, ErrNotEncrypted
	}
	var ids []uint16
	for _, d := range s.keys.Days() {
		if d.Day == ask.Day && d.Shredded.IsZero() {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) == 0 {
		return nil, ErrNotEncrypted
	}
	sum := sha256.Sum256([]byte("shred " + ask.Day))
	id := store.ID(sum[:])
	e := &journalEntry{Done: true, Deleted: Deleted{
		ID: uuid.UUID(id).String(), Time: now.UnixNano(), By: ask.By, Query: "day " + ask.Day, DryRun: ask.DryRun,
	}}
	if err := s.countDay(ids, e); err != nil {
		return nil, err
	}
	switch {
	case ask.DryRun:
		return &e.Deleted, nil
	case ask.Most > 0 && e.Matched > ask.Most:
		return nil, &TooManyError{Matched: e.Matched, Most: ask.Most}
	}
	e.Matched, e.Bytes = 0, 0
	// What is remembered of all that came stands in the newest segment, which
	// therefore has to be one that stays.
	segs := s.seglog.Segments()
	if n := len(segs); n > 0 && slices.Contains(ids, segs[n-1].Key) {
		if err := s.beginNext(); err != nil {
			return nil, err
		}
		segs = s.seglog.Segments()
	}
	s.removing.Lock()
	defer s.removing.Unlock()
	var gone []store.OffsetRange
	for i := range segs {
		if seg := &segs[i]; slices.Contains(ids, seg.Key) {
			gone = append(gone, store.OffsetRange{From: seg.Base, To: seg.End})
			e.Bytes += uint64(seg.Bytes)
			err := s.ofSegment(seg, func(off uint64, head *capturev1.FrameHead, n uint32) {
				e.Matched += uint64(n)
				if s.opt.Erased != nil {
					s.opt.Erased(store.Erased{Deletion: id, At: off, Head: head, Pairs: n})
				}
			})
			if err != nil {
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
	if err := s.shredded(ids); err != nil {
		return nil, err
	}
	e.Deleted.Deleted, e.Proof.Keys = e.Matched, ids
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
	s.log.Info("Shredded the key of a day", slog.String("day", ask.Day), slog.String("by", ask.By), slog.Uint64("pairs", e.Matched))
	return &e.Deleted, s.journal.put(e)
}

// countDay counts what the segments of some keys hold.
func (s *Store) countDay(ids []uint16, e *journalEntry) error {
	segs := s.seglog.Segments()
	for i := range segs {
		seg := &segs[i]
		if !slices.Contains(ids, seg.Key) {
			continue
		}
		e.Bytes += uint64(seg.Bytes)
		if err := s.ofSegment(seg, func(_ uint64, _ *capturev1.FrameHead, n uint32) { e.Matched += uint64(n) }); err != nil {
			return err
		}
	}
	return nil
}

// shredded makes sure that keys are gone: the ring has to say so, and the files
// of it, read again.
func (s *Store) shredded(ids []uint16) error {
	files, err := keyring.Read(s.dir.fsys, s.opt.Master)
	if err != nil {
		return fmt.Errorf("read keys again: %w", err)
	}
	for _, id := range ids {
		for _, ring := range []*keyring.Ring{s.keys, files} {
			if _, err := ring.Key(id); !errors.Is(err, keyring.ErrShredded) {
				return fmt.Errorf("key %d is still there", id)
			}
		}
	}
	return nil
}

// ofSegment tells of all frames with pairs that a segment holds, and of how many
// each has.
func (s *Store) ofSegment(seg *seglog.SegmentInfo, tell func(off uint64, head *capturev1.FrameHead, pairs uint32)) error {
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
			tell(rec.Offset, r.head, n)
		}
	}
	return nil
}
