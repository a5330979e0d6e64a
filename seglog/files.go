package seglog

import (
	"errors"
	"fmt"
	"os"
)

// maxIdleFiles bounds the files that are kept open for readers.
const maxIdleFiles = 16

// view opens a segment for reading; the caller releases it.
func (l *Log) view(s *segment) (view, error) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	if s.f == nil {
		if l.open >= maxIdleFiles {
			l.closeIdle()
		}
		f, err := l.fsys.OpenFile(s.name, os.O_RDONLY, 0)
		if err != nil {
			return view{}, fmt.Errorf("open segment: %w", err)
		}
		s.f = f
		l.open++
	}
	s.refs++
	l.mu.Lock()
	defer l.mu.Unlock()
	return view{name: s.name, f: s.f, base: s.base, end: s.end, salt: s.salt, anySalt: s.anySalt, keys: l.keys, key: s.key, seal: s.seal}, nil
}

// closeIdle closes the file that nobody has used for the longest time.
func (l *Log) closeIdle() {
	l.mu.Lock()
	var oldest *segment
	for _, s := range l.segs {
		if s.f != nil && s.refs == 0 && (oldest == nil || s.used < oldest.used) {
			oldest = s
		}
	}
	l.mu.Unlock()
	if oldest != nil {
		l.closeHandle(oldest)
	}
}

func (l *Log) closeHandle(s *segment) {
	_ = s.f.Close() // only read from, or synced before
	s.f = nil
	l.open--
}

// release gives back what view held, or seal.
func (l *Log) release(s *segment) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	l.tick++
	s.used = l.tick
	if s.refs--; s.refs == 0 && s.f != nil && (s.removed || l.open > maxIdleFiles) {
		l.closeHandle(s)
	}
}

// forget closes the file of a removed segment once nobody reads it.
func (l *Log) forget(s *segment) {
	l.fmu.Lock()
	defer l.fmu.Unlock()
	s.removed = true
	if s.refs == 0 && s.f != nil {
		l.closeHandle(s)
	}
}

// closeFiles closes everything but the files that a reader holds; those go
// with their last reader.
func (l *Log) closeFiles() error {
	if s := l.active; s != nil {
		l.seal()
	}
	l.mu.Lock()
	segs := l.segs
	l.mu.Unlock()
	for _, s := range segs {
		l.forget(s)
	}
	return errors.Join(l.fsys.Close(), l.lock.Close())
}
