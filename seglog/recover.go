package seglog

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/weir-capture/weir/internal/vfs"
)

// recover reads what is in the directory and finds where the log ends.
func (l *Log) recover() error {
	names, err := l.fsys.Names()
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	for _, name := range names { // sorted, which is by base
		base, ok := parseSegmentName(name)
		if !ok {
			if strings.HasSuffix(name, rewriteSuffix) { // a crash left it
				if err := l.fsys.Remove(name); err != nil {
					return fmt.Errorf("remove unfinished segment: %w", err)
				}
			}
			continue
		}
		s := &segment{name: name, base: base, sealed: true}
		if err := l.readHeader(s); err != nil {
			return err
		}
		if n := len(l.segs); n > 0 {
			l.closeSegment(l.segs[n-1], s)
		}
		l.segs = append(l.segs, s)
	}
	if err := l.recoverNewest(); err != nil {
		return err
	}
	l.nextBase = max(l.nextBase, l.opt.MinNext)
	if l.active != nil && l.nextBase > l.end {
		l.seal()
	}
	return nil
}

// readHeader reads what a file says about itself. A damaged header costs only
// itself: the name has the base, and records have the salt.
func (l *Log) readHeader(s *segment) error {
	f, err := l.fsys.OpenFile(s.name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("open segment: %w", err)
	}
	defer f.Close()
	if s.bytes, err = f.Size(); err != nil {
		return fmt.Errorf("read segment %s: %w", s.name, err)
	}
	s.end = s.base + uint64(s.bytes)
	b := make([]byte, min(s.bytes, segmentHeaderLen))
	v := view{name: s.name, f: f}
	if unreadable, err := v.readAt(b, 0); err != nil {
		return err
	} else if unreadable != nil {
		b = nil // damaged, then
	}
	h, version := parseSegmentHeader(b)
	switch {
	case version == 0 || h.base != s.base:
		s.anySalt, s.prevEnd = true, s.base
	case version > VersionEncrypted:
		return &UnsupportedError{s.name, version}
	default:
		s.salt, s.prevEnd, s.created, s.key = h.salt, h.prevEnd, h.created, h.key
		if version == VersionEncrypted {
			return l.openKeys(s, h.ring)
		}
	}
	return nil
}

// closeSegment takes from the header of the segment after it where the
// records of s end.
func (l *Log) closeSegment(s, after *segment) {
	if after.anySalt { // its header is damaged: the length has to do
		return
	}
	s.end = min(s.end, max(after.prevEnd, s.base))
}

// recoverNewest reads the newest segment to the end. Only there can a crash
// have left half a record: every other one was synced before the next began.
func (l *Log) recoverNewest() error {
	for len(l.segs) > 0 {
		s := l.segs[len(l.segs)-1]
		if s.gone { // nobody can say what is in it
			l.end = s.end
			l.nextBase = max(l.nextBase, s.base+uint64(max(s.bytes, l.opt.SegmentBytes)))
			return nil
		}
		tail, err := l.scan(s)
		if err != nil {
			return err
		}
		end := tail.end
		if tail.unreadable {
			// There may be whole records in what the disk won't read just
			// now: it is damage, and not a tail that may be cut.
			end = s.end
		}
		if end == 0 {
			// Nothing whole: a crash while it was made. Records cannot have
			// been in it, and its predecessor is the newest again.
			l.nextBase = max(l.nextBase, s.base+uint64(max(s.bytes, 1)))
			l.recovery.CutBytes += s.bytes
			// Or a whole file was damaged later. What it has is kept, as far
			// as there is room; that is no reason not to start.
			_ = l.Quarantine(&CorruptError{Segment: s.name, Offset: s.base, Next: s.base + uint64(s.bytes), Part: "file"})
			l.segs = l.segs[:len(l.segs)-1]
			l.forget(s)
			if n := len(l.segs); n > 0 {
				l.segs[n-1].end = l.segs[n-1].base + uint64(l.segs[n-1].bytes)
			}
			if err := l.fsys.Remove(s.name); err != nil {
				return fmt.Errorf("remove unfinished segment: %w", err)
			}
			continue
		}
		torn := int64(s.end - end)
		s.end, l.end = end, end
		gone := l.recovery.CutBytes
		l.recovery = Recovery{CutBytes: gone + torn, CutHeads: tail.heads, Clean: gone == 0 && torn == 0 && tail.last == kindMark && !tail.unreadable}
		// What was read may have been in the page cache only: it is synced
		// before anybody relies on it.
		f, err := l.sync(s)
		if err != nil {
			return err
		}
		plain := s.key == 0 && l.keys != nil // what comes is to be encrypted
		if plain && torn == 0 && !s.anySalt && !tail.unreadable {
			return f.Close()
		}
		if torn > 0 || s.anySalt || tail.unreadable {
			// The tail stays on the disk until the next segment's header has
			// said that it is none of the log's, so that a second crash finds
			// the same. That segment begins beyond any offset which the torn
			// part may have had.
			l.nextBase = max(l.nextBase, s.base+uint64(max(s.bytes, l.opt.SegmentBytes)))
			return f.Close()
		}
		l.forget(s) // the handle that it was scanned with
		s.removed = false
		s.f, s.refs, s.sealed = f, 1, false
		l.open++
		l.active, l.file, l.fileSize = s, f, s.bytes
		return nil
	}
	return nil
}

func (l *Log) sync(s *segment) (vfs.File, error) {
	f, err := l.fsys.OpenFile(s.name, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(fmt.Errorf("sync segment %s: %w", s.name, err), f.Close())
	}
	if err := l.fsys.SyncDir(); err != nil {
		return nil, errors.Join(fmt.Errorf("sync directory: %w", err), f.Close())
	}
	return f, nil
}

// tail is what stands at the end of the newest segment.
type tail struct {
	end  uint64 // of its whole records; 0: there is none
	last kind   // of the last one
	// heads of damaged records behind end.
	heads [][]byte
	// unreadable: the disk would not read all of what is behind end.
	unreadable bool
}

// scan reads all of a segment.
func (l *Log) scan(s *segment) (t tail, err error) {
	v, err := l.view(s)
	if err != nil {
		return tail{}, err
	}
	defer l.release(s)
	buf := make([]byte, 256<<10)
	for at := s.base + segmentHeaderLen; at < s.end; {
		r, err := v.step(at, partAll, buf)
		if err != nil {
			return tail{}, err
		}
		if r.damage == nil {
			t = tail{end: r.next, last: r.kind}
		} else {
			t.unreadable = t.unreadable || r.damage.Err != nil
			if r.damage.Head != nil {
				t.heads = append(t.heads, r.damage.Head)
			}
		}
		at = r.next
	}
	return t, nil
}
