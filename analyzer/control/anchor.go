package control

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// The anchor is a file of two lines of the same length, written in turn, so
// that a crash in the middle of a write leaves the line before:
//
//	weir-audit 1 SEQ HASH CRC
//
// SEQ is the number of an event in 20 digits, HASH its hash, CRC the CRC-32 of
// what stands before it. The line with the larger SEQ holds. Several processes
// take turns by flock(2).
const (
	anchorFormat = "weir-audit 1 %020d %64s"
	anchorLine   = len("weir-audit 1 ") + 20 + 1 + 64 + 1 + 8 + 1
)

var errAnchorDamaged = errors.New("neither line is whole")

// anchor is the end of the audit log, apart from the database. It moves only
// forward, and only from a point that the log still has: once the log has lost
// what the anchor says, the anchor stays where it is, as evidence.
type anchor struct {
	mu    sync.Mutex
	file  *os.File
	known point // the last that was read or written
}

func openAnchor(name string) (*anchor, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, fmt.Errorf("open audit anchor: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open audit anchor: %w", err)
	}
	a := &anchor{file: f}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("open audit anchor: %w", err), f.Close())
	}
	// Damage is for VerifyAudit to report: the log goes on.
	if _, err := a.read(); err != nil && !errors.Is(err, errAnchorDamaged) {
		return nil, errors.Join(fmt.Errorf("open audit anchor: %w", err), f.Close())
	}
	return a, nil
}

func (a *anchor) close() error { return a.file.Close() }

// last is what was read or written last, without a look at the file.
func (a *anchor) last() point {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known
}

// read is what the file says; the zero point when it says nothing yet.
func (a *anchor) read() (p point, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return p, a.locked(func() error {
		p, _, err = a.load()
		if err == nil {
			a.known = p
		}
		return err
	})
}

// locked runs do while no other process has the file.
func (a *anchor) locked(do func() error) error {
	fd := int(a.file.Fd())
	for {
		err := unix.Flock(fd, unix.LOCK_EX)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock audit anchor: %w", err)
		}
	}
	err := do()
	if e := unix.Flock(fd, unix.LOCK_UN); e != nil {
		err = errors.Join(err, fmt.Errorf("unlock audit anchor: %w", e))
	}
	return err
}

// load is what the file says, and the line that may be written next.
func (a *anchor) load() (p point, free int, err error) {
	b := make([]byte, 2*anchorLine)
	n, err := a.file.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return p, 0, fmt.Errorf("read audit anchor: %w", err)
	}
	whole := false
	for i := range 2 {
		if line, ok := parseAnchor(b[min(n, i*anchorLine):min(n, (i+1)*anchorLine)]); ok && (!whole || line.seq > p.seq) {
			whole, p, free = true, line, 1-i
		}
	}
	if n > 0 && !whole {
		return point{}, 0, fmt.Errorf("read audit anchor: %w", errAnchorDamaged)
	}
	return p, free, nil
}

func formatAnchor(p point) string {
	text := fmt.Sprintf(anchorFormat, p.seq, p.hash)
	return fmt.Sprintf("%s %08x\n", text, crc32.ChecksumIEEE([]byte(text)))
}

func parseAnchor(line []byte) (point, bool) {
	var p point
	if len(line) != anchorLine {
		return p, false
	}
	if n, err := fmt.Sscanf(string(line), "weir-audit 1 %d %s", &p.seq, &p.hash); n != 2 || err != nil || p.seq < 1 {
		return point{}, false
	}
	return p, formatAnchor(p) == string(line)
}

// advance moves the anchor to p, from a point that the caller has found in the
// log. Where another process has moved it meanwhile, has is asked for its
// point.
func (a *anchor) advance(p, from point, has func(point) (bool, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.locked(func() error {
		now, free, err := a.load()
		if err != nil {
			return err
		}
		a.known = now
		if now.seq >= p.seq {
			return nil
		}
		if now != from {
			if holds, err := has(now); err != nil || !holds {
				return err
			}
		}
		return a.write(p, free)
	})
}

// set makes p the anchor whatever it was: for a log that was restored.
func (a *anchor) set(p point) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.locked(func() error {
		if err := a.file.Truncate(0); err != nil {
			return fmt.Errorf("write audit anchor: %w", err)
		}
		a.known = point{}
		if p.seq == 0 {
			return a.file.Sync()
		}
		return a.write(p, 0)
	})
}

func (a *anchor) write(p point, line int) error {
	if _, err := a.file.WriteAt([]byte(formatAnchor(p)), int64(line*anchorLine)); err != nil {
		return fmt.Errorf("write audit anchor: %w", err)
	}
	if err := a.file.Sync(); err != nil {
		return fmt.Errorf("write audit anchor: %w", err)
	}
	a.known = p
	return nil
}
