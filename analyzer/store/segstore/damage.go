package segstore

import (
	"log/slog"
	"sync"

	"github.com/weir-capture/weir/seglog"
)

// damages are the stretches of the log that were found damaged since Open:
// each is counted, told of and kept apart once, whoever comes across it.
type damages struct {
	mu    sync.Mutex
	known map[uint64]bool // by offset
}

// maxDamages bounds those that are known; what is found beyond them may be
// counted twice.
const maxDamages = 1 << 16

func (d *damages) first(off uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[off] {
		return false
	}
	if d.known == nil {
		d.known = map[uint64]bool{}
	}
	if len(d.known) < maxDamages {
		d.known[off] = true
	}
	return true
}

// damaged takes note of a stretch that cannot be read.
func (s *Store) damaged(c *seglog.CorruptError) {
	if !s.damages.first(c.Offset) {
		return
	}
	s.counters.damagedRecords.Add(1)
	attrs := []any{slog.String("error", c.Error())}
	if w, err := decodeWrapper(c.Head); err == nil {
		if h := headOf(&w); h != nil && !w.duplicate && !w.unreadable {
			s.counters.damagedPairs.Add(uint64(h.GetPairs()))
			attrs = append(attrs, slog.Uint64("pairs", uint64(h.GetPairs())), slog.String("app", h.GetSource().GetApp()))
		}
	}
	if err := s.seglog.Quarantine(c); err != nil {
		attrs = append(attrs, slog.String("quarantine", err.Error()))
	}
	s.log.Error("A record of the log is damaged", attrs...)
}
