package ingest

// Counters are cumulative since New.
type Counters struct {
	// Frames and Bytes were received; Refused counts streams that ended by a
	// mistake of the forwarder's or for want of a free one.
	Frames, Bytes, Refused uint64
	// Streams are open now.
	Streams int
	// TurnedAway counts those who did not get in, by reason (grpcdoor.Reason).
	TurnedAway map[string]uint64
}

// Counters are for metrics.
func (s *Server) Counters() Counters {
	c := Counters{Frames: s.frames.Load(), Bytes: s.bytes.Load(), Refused: s.refused.Load(), Streams: len(s.slots)}
	if door := s.door.Load(); door != nil {
		c.TurnedAway = door.Refused()
	}
	return c
}
