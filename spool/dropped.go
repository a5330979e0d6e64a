package spool

import (
	"fmt"
	"maps"
)

// CountDropped counts durably what was not appended, under a reason of a
// small, fixed set of words.
func (s *Spool) CountDropped(reason string, l Loss) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, known := s.state.Dropped[reason]
	if !known && len(s.state.Dropped) >= maxReasons {
		return fmt.Errorf("count dropped: more than %d reasons", maxReasons)
	}
	sum := old
	sum.add(l)
	s.state.Dropped[reason] = sum
	if err := s.persist(); err != nil {
		s.state.Dropped[reason] = old
		return fmt.Errorf("count dropped: %w", err)
	}
	return nil
}

// Dropped is what CountDropped counted, by reason.
func (s *Spool) Dropped() map[string]Loss {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.state.Dropped)
}
