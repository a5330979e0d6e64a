package spool

import (
	"errors"
	"fmt"
	"iter"
	"maps"

	"github.com/weir-capture/weir/seglog"
)

// dropOldest removes the oldest segment, or says that it cannot gain any room
// so. What that loses is declared and counted durably before the segment is
// gone. roomMu is held.
func (s *Spool) dropOldest() (bool, error) {
	segs := s.log.Segments()
	if len(segs) == 0 {
		return false, nil
	}
	oldest := segs[0]
	if len(segs) == 1 { // the newest stays, so that another has to begin
		if !s.holdsRecords(oldest) {
			return false, nil
		}
		if err := s.beginNext(); err != nil {
			return false, err
		}
	}
	if gains, err := s.declare(oldest); err != nil || !gains {
		return false, err
	}
	lost, err := s.count(oldest.End)
	if err != nil {
		return false, err
	}
	if s.opt.OnDrop != nil {
		for name, l := range lost {
			s.opt.OnDrop(name, l)
		}
	}
	return true, s.remove(oldest.End)
}

// remove unlinks the segments that end at or before offset. roomMu is held.
func (s *Spool) remove(offset uint64) error {
	err := s.log.RemoveBefore(offset)
	s.removals.Add(1)
	s.ballast.Fill()
	return err
}

// holdsRecords says whether a segment has any.
func (s *Spool) holdsRecords(seg seglog.SegmentInfo) bool {
	for e := range s.log.Heads(seg.Base) {
		return e.Offset < seg.End
	}
	return false
}

// beginNext ends the newest segment and begins the next.
func (s *Spool) beginNext() error {
	if err := s.log.Rotate(); err != nil {
		return err
	}
	_, err := s.appendBehind(s.shrinking(0))
	return err
}

// shrinking is the limit for what is appended to let a segment go that holds so
// many bytes. A spool whose limit was made smaller, or that had filled the room
// behind it with notes, stands above it until enough segments went, and could
// never say what it loses if that were held against it.
func (s *Spool) shrinking(held int64) int64 {
	if s.opened <= s.opt.MaxBytes {
		return s.opt.MaxBytes
	}
	return s.opened + held
}

// declare appends what Options.Condense makes of the records of a segment
// that not every cursor has passed. gains is false when removing the segment
// would then free nothing.
func (s *Spool) declare(seg seglog.SegmentInfo) (gains bool, err error) {
	from := seg.End
	for _, o := range s.below(seg.End) {
		from = min(from, o)
	}
	if s.opt.Condense == nil || from >= seg.End {
		return true, nil
	}
	var held int64
	var failed error
	blind := false
	records, err := s.opt.Condense(func(yield func([]byte) bool) {
		for h, err := range s.heads(seg.Base, seg.End) {
			if failed = err; err != nil {
				return
			}
			held += h.bytes
			if h.offset < from {
				continue
			}
			blind = blind || h.head == nil
			if h.head != nil && !yield(h.head) {
				return
			}
		}
	})
	if err = errors.Join(failed, err); err != nil {
		return false, fmt.Errorf("condense heads: %w", err)
	}
	if blind {
		s.mu.Lock()
		s.state.Blind = max(s.state.Blind, seg.End) // durable with the count, before the segment goes
		s.mu.Unlock()
	}
	if len(records) == 0 {
		return true, nil
	}
	if s.recordBytes(records) >= held {
		return false, nil
	}
	if _, err := s.appendBehind(s.shrinking(held), records...); err != nil {
		return false, fmt.Errorf("declare loss: %w", err)
	}
	return true, nil
}

// Declared says that everything that stood in [from, to) was dropped by the
// spool itself and declared lost before it was: nothing of it is missing
// without an account.
func (s *Spool) Declared(from, to uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opt.Condense != nil && to <= s.state.Floor && from >= s.state.Blind
}

// heldRecord is a record, or a damaged stretch, as counting needs it.
type heldRecord struct {
	offset uint64
	bytes  int64
	head   []byte // nil when it cannot be read
}

// heads are the records in [from, end).
func (s *Spool) heads(from, end uint64) iter.Seq2[heldRecord, error] {
	return func(yield func(heldRecord, error) bool) {
		for e, err := range s.log.Heads(from) {
			r := heldRecord{e.Offset, s.takes(len(e.Head), e.BodyLen), e.Head}
			if err != nil {
				if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
					continue
				}
				ce, ok := errors.AsType[*seglog.CorruptError](err)
				if !ok {
					yield(heldRecord{}, err)
					return
				}
				r = heldRecord{ce.Offset, int64(ce.Next - ce.Offset), ce.Head}
			}
			if r.offset >= end || !yield(r, nil) {
				return
			}
		}
	}
}

// count makes durable that everything below end is lost to those who have not
// passed it, and how much that is for each.
func (s *Spool) count(end uint64) (map[string]Loss, error) {
	var lost map[string]Loss
	for counted := false; !counted; {
		at := s.below(end)
		var err error
		if lost, err = s.lossBefore(end, at); err != nil {
			return nil, err
		}
		s.mu.Lock()
		// One that has gone on meanwhile has read some of what was counted.
		counted = true
		for name, offset := range at {
			counted = counted && s.state.Cursors[name].Offset == offset
		}
		if !counted {
			s.mu.Unlock()
		}
	}
	defer s.mu.Unlock()
	for name, l := range lost {
		c := s.state.Cursors[name]
		c.Lost.add(l)
		c.Offset = end
	}
	s.state.Floor = max(s.state.Floor, end)
	return lost, s.persist()
}

// below gives the cursors that stand below end, and where.
func (s *Spool) below(end uint64) map[string]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := make(map[string]uint64, len(s.state.Cursors))
	for name, c := range s.state.Cursors {
		if c.Offset < end {
			at[name] = c.Offset
		}
	}
	return at
}

// lossBefore counts, for each cursor of at, what stands from it on below end
// and was not delivered.
func (s *Spool) lossBefore(end uint64, at map[string]uint64) (map[string]Loss, error) {
	lost := make(map[string]Loss, len(at))
	if len(at) == 0 {
		return lost, nil
	}
	from := end
	s.mu.Lock()
	delivered := maps.Clone(s.delivered)
	s.mu.Unlock()
	for name, o := range at {
		lost[name] = Loss{}
		from = min(from, o)
	}
	for r, err := range s.heads(from, end) {
		if err != nil {
			return nil, err
		}
		var things uint64
		if r.head != nil {
			things = s.opt.Count(r.head)
		}
		for name, o := range at {
			if done := delivered[name]; r.offset >= o && (done == nil || !done(r.offset)) {
				l := lost[name]
				l.add(Loss{1, things})
				lost[name] = l
			}
		}
	}
	return lost, nil
}
