package spool

// Cursor is one of Options.Cursors, or nil.
func (s *Spool) Cursor(name string) *Cursor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.Cursors[name] == nil {
		return nil
	}
	return &Cursor{s, name}
}

// Cursor is a place in the spool that survives restarts. It may be used by
// many goroutines at once.
type Cursor struct {
	s    *Spool
	name string
}

// Offset is where the cursor stands: everything below it is done with.
func (c *Cursor) Offset() uint64 {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.state.Cursors[c.name].Offset
}

// Lost is what was dropped before the cursor had passed it.
func (c *Cursor) Lost() Loss {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.state.Cursors[c.name].Lost
}

// Delivered has the spool ask, for a record above the cursor that is about to be
// dropped, whether its reader is done with that already: then it is no loss.
// done must be quick and must not call the spool. It does not outlive the
// process.
func (c *Cursor) Delivered(done func(offset uint64) bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.delivered[c.name] = done
}

// Advance moves the cursor up to offset; a smaller one is ignored. It removes
// the segments that nobody needs any more, after the cursor is durable.
func (c *Cursor) Advance(offset uint64) error {
	s := c.s
	s.mu.Lock()
	st := s.state.Cursors[c.name]
	if offset <= st.Offset {
		s.mu.Unlock()
		return nil
	}
	st.Offset, s.dirty = offset, true
	old := s.opt.Now().Sub(s.written) >= persistEvery
	s.mu.Unlock()

	s.roomMu.Lock()
	defer s.roomMu.Unlock()
	if err := s.trim(); err != nil {
		return err
	}
	if !old {
		return nil
	}
	return s.Flush()
}

// trim removes what every cursor has passed. roomMu is held.
func (s *Spool) trim() error {
	low, ok := s.lowest()
	segs := s.log.Segments()
	if !ok || len(segs) < 2 || !segs[0].Sealed || segs[0].End > low {
		return nil
	}
	if err := s.Flush(); err != nil {
		return err
	}
	return s.remove(low)
}

// trimNewest is trim that takes the newest segment too, when every cursor has
// passed it: on a small disk it may be what fills it.
func (s *Spool) trimNewest() error {
	low, ok := s.lowest()
	segs := s.log.Segments()
	if n := len(segs); ok && n > 0 && segs[n-1].End <= low && s.holdsRecords(segs[n-1]) {
		if err := s.beginNext(); err != nil {
			return err
		}
	}
	return s.trim()
}

// lowest is the offset that every cursor has passed; false without cursors.
func (s *Spool) lowest() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	low := s.log.Next()
	for _, c := range s.state.Cursors {
		low = min(low, c.Offset)
	}
	return low, len(s.state.Cursors) > 0
}

// Flush makes cursors durable.
func (s *Spool) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dirty {
		return nil
	}
	return s.persist()
}
