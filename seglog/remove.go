package seglog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/weir-capture/weir/internal/keyring"
)

// RemoveBefore unlinks the sealed segments that end at or before offset, the
// oldest first, and syncs the directory.
func (l *Log) RemoveBefore(offset uint64) error {
	removed := false
	for {
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			return ErrClosed
		}
		var s *segment
		// The newest stays even when it is sealed: it knows where offsets and
		// the state stand.
		if len(l.segs) > 1 && l.segs[0].sealed && l.segs[0].end <= offset {
			s = l.segs[0]
		}
		l.mu.Unlock()
		if s == nil {
			break
		}
		if err := l.fsys.Remove(s.name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove segment: %w", err)
		}
		removed = true
		l.mu.Lock()
		if len(l.segs) > 0 && l.segs[0] == s {
			l.segs = append([]*segment(nil), l.segs[1:]...)
		}
		l.mu.Unlock()
		l.forget(s)
	}
	if !removed {
		return nil
	}
	if err := l.fsys.SyncDir(); err != nil {
		return fmt.Errorf("remove segment: sync directory: %w", err)
	}
	// Neither of these keeps anybody from going on: what stays now goes with
	// the next segment.
	l.shredUnused()
	l.trimQuarantine()
	return nil
}

// shredUnused removes the keys of days that no segment is of any more. That of
// today is for the segments that come.
func (l *Log) shredUnused() {
	if l.keys == nil {
		return
	}
	l.mu.Lock()
	used := map[uint16]bool{}
	for _, s := range l.segs {
		used[s.key] = true
		if s.anySalt { // its header could have said
			l.mu.Unlock()
			return
		}
	}
	l.mu.Unlock()
	now := l.opt.Now()
	var ids []uint16
	for _, d := range l.keys.Days() {
		if !used[d.ID] && d.Shredded.IsZero() && d.Day != keyring.DayOf(now) {
			ids = append(ids, d.ID)
		}
	}
	if len(ids) > 0 {
		_ = l.keys.Shred(now, ids...)
	}
}

// trimQuarantine removes copies of damaged stretches whose segment was removed.
func (l *Log) trimQuarantine() {
	names, err := l.fsys.Names()
	if err != nil || !slices.Contains(names, quarantineDir) {
		return
	}
	l.qmu.Lock()
	defer l.qmu.Unlock()
	oldest := segmentName(l.Oldest())
	d, err := l.fsys.Sub(quarantineDir)
	if err != nil {
		return
	}
	defer d.Close()
	if names, err = d.Names(); err != nil {
		return
	}
	for _, n := range names {
		if strings.Contains(n, quarantineSuffix) && n < oldest {
			_ = d.Remove(n)
		}
	}
}

// trim cuts what stands behind the last record of a segment that is done. The
// next segment's header says already that it is no record, so that this only
// gives back room and may fail.
func (l *Log) trim(s *segment) {
	l.mu.Lock()
	size := int64(s.end - s.base)
	long := s.bytes > size
	l.mu.Unlock()
	if !long {
		return
	}
	f, err := l.fsys.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	if f.Truncate(size) == nil {
		l.mu.Lock()
		s.bytes = size
		l.mu.Unlock()
	}
	_ = f.Close()
}
