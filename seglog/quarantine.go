package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weir-capture/weir/internal/atomicfile"
	"github.com/weir-capture/weir/internal/vfs"
)

const (
	quarantineDir    = "quarantine"
	quarantineSuffix = ".bad"
	// maxQuarantineFiles bounds their number; their bytes are an option.
	maxQuarantineFiles = 256
)

// Quarantine keeps the raw bytes of a damaged stretch for people to look at,
// in quarantine/<offset as 16 hexadecimal digits>.bad of the log's directory,
// and returns when that is durable. What cannot be read of it is zeros there.
// The files' number and bytes are bounded: those of the lowest offsets go
// first, and of a stretch that is longer than all may be its beginning is
// kept. A stretch that is there already, or of which the disk has nothing, is
// left as it is; one whose segment was removed is an fs.ErrNotExist.
func (l *Log) Quarantine(c *CorruptError) error {
	l.qmu.Lock()
	defer l.qmu.Unlock()
	if err := l.quarantine(c); err != nil {
		return full(fmt.Errorf("quarantine offset %d: %w", c.Offset, err))
	}
	return nil
}

func (l *Log) quarantine(c *CorruptError) error {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return ErrClosed
	}
	base, ok := parseSegmentName(c.Segment)
	if !ok || c.Offset < base || c.Next < c.Offset {
		return fmt.Errorf("no segment %q", c.Segment)
	}
	b, err := l.raw(c.Segment, int64(c.Offset-base), int64(min(c.Next-c.Offset, uint64(l.opt.QuarantineBytes))))
	if err != nil || len(b) == 0 {
		return err
	}
	d, err := l.fsys.Sub(quarantineDir)
	if err != nil {
		return err
	}
	defer d.Close()
	name := fmt.Sprintf("%016x%s", c.Offset, quarantineSuffix)
	if old, err := atomicfile.Read(d, name, l.opt.QuarantineBytes); err == nil && bytes.Equal(old, b) {
		return nil
	}
	if err := makeRoom(d, name, l.opt.QuarantineBytes-int64(len(b))); err != nil {
		return err
	}
	return atomicfile.Write(d, name, b)
}

// raw is up to n bytes at position at of a segment's file.
func (l *Log) raw(name string, at, n int64) ([]byte, error) {
	f, err := l.fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, max(0, min(n, size-at)))
	v := view{name: name, f: f}
	return b, v.readBlocks(b, uint64(at))
}

// makeRoom removes files until one more, beside the one of that name, fits.
// What a crash has left of one that was being written is a file like others.
func makeRoom(d vfs.FS, name string, room int64) error {
	names, err := d.Names()
	if err != nil {
		return err
	}
	type file struct {
		name string
		size int64
	}
	var files []file
	for _, n := range names { // sorted, which is by offset
		if n == name || !strings.Contains(n, quarantineSuffix) {
			continue
		}
		size, err := fileSize(d, n)
		if err != nil {
			return err
		}
		files = append(files, file{n, size})
		room -= size
	}
	for len(files) > 0 && (room < 0 || len(files) >= maxQuarantineFiles) {
		if err := d.Remove(files[0].name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		room += files[0].size
		files = files[1:]
	}
	return nil
}

func fileSize(d vfs.FS, name string) (int64, error) {
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return 0, err
	}
	n, err := f.Size()
	return n, errors.Join(err, f.Close())
}
