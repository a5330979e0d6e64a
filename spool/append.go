package spool

import (
	"errors"
	"fmt"

	"github.com/weir-capture/weir/seglog"
)

// Append makes records durable, all or none. When the limit is reached, or
// the disk is full before it, room is made: what every cursor has passed goes
// first, then by DropOldest the oldest segments. If that is not enough, or the
// policy is DropNewest, it fails with ErrFull. Every other error is the
// disk's; see seglog's Append.
func (s *Spool) Append(records ...seglog.Record) (next uint64, err error) {
	n := s.recordBytes(records)
	for {
		if err := s.reserve(n); err != nil {
			return 0, err
		}
		removals := s.removals.Load()
		next, err = s.log.Append(records...)
		s.unreserve(n)
		full, ok := errors.AsType[*seglog.FullError](err)
		if !ok {
			return next, err
		}
		if err := s.freeDisk(full, removals); err != nil {
			return 0, err
		}
	}
}

// AppendNotes is Append for small records that say what larger ones would have
// held. They may use the room behind the limit, and what the ballast takes of a
// full disk; they drop nothing. ErrFull when that is used up too.
func (s *Spool) AppendNotes(notes ...seglog.Record) (next uint64, err error) {
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	return s.appendBehind(s.opt.MaxBytes, notes...)
}

// appendBehind appends behind limit, by a sixteenth of the spool's own. roomMu
// is held.
func (s *Spool) appendBehind(limit int64, records ...seglog.Record) (next uint64, err error) {
	n := s.recordBytes(records)
	if !s.take(n, limit+s.opt.MaxBytes/16) {
		return 0, ErrFull
	}
	defer s.unreserve(n)
	for {
		next, err = s.log.Append(records...)
		full, ok := errors.AsType[*seglog.FullError](err)
		if !ok {
			return next, err
		}
		if !s.ballast.Release() {
			return 0, fmt.Errorf("%w: %w", ErrFull, full)
		}
	}
}

func (s *Spool) recordBytes(records []seglog.Record) (n int64) {
	for _, r := range records {
		n += s.takes(len(r.Head), len(r.Body))
	}
	return n
}

// takes is what a record of that much may take in a segment.
func (s *Spool) takes(head, body int) int64 {
	n := int64(head) + int64(body) + 64
	if s.opt.Master != nil {
		n += 64
	}
	return n
}

// reserve makes room for n bytes under the limit, or fails.
func (s *Spool) reserve(n int64) error {
	if !s.ballast.Short() && s.take(n, s.opt.MaxBytes) {
		return nil
	}
	if n > s.opt.MaxBytes { // dropping everything would not help
		return ErrFull
	}
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	// New records must not take the room that the ballast gave up for those
	// which say what is lost. Whoever drops the oldest gets it back by that.
	if !s.ballast.Refill() && s.opt.WhenFull == DropNewest && s.ballast.Released() {
		return ErrFull
	}
	// Somebody else may have made room meanwhile; and what everybody has read
	// goes before anything is dropped.
	if s.take(n, s.opt.MaxBytes) {
		return nil
	}
	if err := s.trim(); err != nil {
		return err
	}
	for !s.take(n, s.opt.MaxBytes) {
		if s.opt.WhenFull != DropOldest {
			return ErrFull
		}
		dropped, err := s.dropOldest()
		if err != nil {
			return fmt.Errorf("drop oldest segment: %w", err)
		}
		if !dropped {
			return ErrFull
		}
	}
	return nil
}

func (s *Spool) take(n, limit int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.Bytes()+s.inflight+n > limit {
		return false
	}
	s.inflight += n
	return true
}

func (s *Spool) unreserve(n int64) {
	s.mu.Lock()
	s.inflight -= n
	s.mu.Unlock()
}

// freeDisk makes room on a disk that is full though the limit is not reached.
// nil means that it is worth to try again what failed with cause; removals is
// the count of them before that.
func (s *Spool) freeDisk(cause error, removals uint64) error {
	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if s.removals.Load() != removals {
		return nil // somebody else made room
	}
	if err := s.trimNewest(); err != nil {
		return err
	}
	if s.removals.Load() != removals {
		return nil
	}
	if s.opt.WhenFull == DropOldest {
		dropped, err := s.dropOldest()
		if err != nil {
			return fmt.Errorf("drop oldest segment: %w", err)
		}
		if dropped {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrFull, cause)
}
