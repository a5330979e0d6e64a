package file

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/internal/slotfile"
	"github.com/weir-capture/weir/internal/vfs"
)

// output is the open file with its mark.
type output struct {
	d    vfs.FS
	lock io.Closer
	base string
	f    vfs.File
	slot *slotfile.File
	// at is the mark that is durable.
	at mark
	// tail is the end of the file, for the next mark: at most tailBytes.
	tail []byte
	// known: at was read, and not made up. stale: it differs from what is
	// written.
	known, stale bool
}

// openOutput brings the file to where its mark is. note is for people: what was
// found that should not be.
func openOutput(d vfs.FS, base string) (o *output, note string, err error) {
	o = &output{d: d, base: base}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open file: %w", err), o.close())
			o = nil
		}
	}()
	// Two who write to one file would cut each other's lines.
	if o.lock, err = d.Lock(export.LockName(base)); err != nil {
		return o, "", err
	}
	var lost bool
	if o.slot, o.at, o.known, lost, err = openMark(d, base); err != nil {
		return o, "", err
	}
	if lost {
		note = "how far the file was cannot be read: it goes on at its end, and some pairs may be in it twice"
	}
	names, err := d.Names()
	if err != nil {
		return o, "", err
	}
	if next := export.RotatedName(base, o.at.Rotated+1); o.known && slices.Contains(names, next) {
		// A crash between the rotation and its mark.
		o.at.Rotated, o.at.Size, o.at.Tail = o.at.Rotated+1, 0, 0
	}
	if !o.known {
		for _, n := range names {
			if number, ok := export.RotatedNumber(base, n); ok {
				o.at.Rotated = max(o.at.Rotated, number)
			}
		}
	}
	changed, err := o.open()
	if err != nil {
		return o, "", err
	}
	o.stale = !o.known || changed
	if changed {
		note = "somebody else has changed the file: it goes on at its end"
	}
	return o, note, nil
}

// open opens the file and cuts what stands behind the mark. changed: it is not
// the file that the mark is of, and nothing was cut.
func (o *output) open() (changed bool, err error) {
	if o.f, err = o.d.OpenFile(o.base, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return false, err
	}
	if err := o.d.SyncDir(); err != nil {
		return false, err
	}
	size, err := o.f.Size()
	if err != nil {
		return false, err
	}
	ours := o.known && size >= o.at.Size
	if ours {
		if o.tail, err = o.readTail(o.at.Size); err != nil {
			return false, err
		}
		ours = crc32.Checksum(o.tail, castagnoli) == o.at.Tail
	}
	if ours {
		if size > o.at.Size {
			err = o.f.Truncate(o.at.Size)
		}
		return false, err
	}
	if o.tail, err = o.readTail(size); err != nil {
		return false, err
	}
	changed = o.known
	o.at.Size = size
	return changed, nil
}

func (o *output) readTail(size int64) ([]byte, error) {
	b := make([]byte, min(size, tailBytes))
	if n, err := o.f.ReadAt(b, size-int64(len(b))); n < len(b) {
		return nil, fmt.Errorf("read file: %w", err)
	}
	return b, nil
}

// write makes lines durable, and then the mark that says so; next is the mark
// but for what follows from the file. After an error nothing of it counts.
func (o *output) write(lines []byte, next mark, maxBytes int64, keep int) error {
	if len(lines) > 0 {
		if o.at.Size > 0 && o.at.Size+int64(len(lines)) > maxBytes {
			if err := o.rotate(keep); err != nil {
				return fmt.Errorf("rotate file: %w", err)
			}
		}
		if n := len(o.tail); n > 0 && o.tail[n-1] != '\n' { // a line of somebody else's
			lines = append([]byte{'\n'}, lines...)
		}
		if _, err := o.f.WriteAt(lines, o.at.Size); err != nil {
			// The room is given back: others may need it more.
			return fmt.Errorf("write file: %w", errors.Join(err, o.f.Truncate(o.at.Size)))
		}
		if err := o.f.Sync(); err != nil {
			// What is on the disk now nobody knows; it is cut and written
			// again.
			return fmt.Errorf("sync file: %w", err)
		}
	}
	tail := append(slices.Clone(o.tail), lines[max(0, len(lines)-tailBytes):]...)
	tail = slices.Clone(tail[max(0, len(tail)-tailBytes):])
	next.Size, next.Rotated = o.at.Size+int64(len(lines)), o.at.Rotated
	next.Tail = crc32.Checksum(tail, castagnoli)
	if err := storeMark(o.slot, next); err != nil {
		return fmt.Errorf("write mark: %w", err)
	}
	o.at, o.tail, o.known, o.stale = next, tail, true, false
	return nil
}

// rotate gives the file the next number and begins a new one.
func (o *output) rotate(keep int) error {
	if err := o.f.Close(); err != nil {
		return err
	}
	o.f = nil
	to := export.RotatedName(o.base, o.at.Rotated+1)
	if err := o.d.Rename(o.base, to); err != nil {
		return err
	}
	if err := o.d.SyncDir(); err != nil {
		return err
	}
	rotated := o.at
	rotated.Rotated, rotated.Size, rotated.Tail = o.at.Rotated+1, 0, 0
	if err := storeMark(o.slot, rotated); err != nil {
		return err
	}
	o.at, o.tail = rotated, nil
	if _, err := o.open(); err != nil {
		return err
	}
	return o.removeOld(keep)
}

// removeOld leaves the newest keep rotated files.
func (o *output) removeOld(keep int) error {
	names, err := o.d.Names()
	if err != nil {
		return err
	}
	for _, n := range names {
		if number, ok := export.RotatedNumber(o.base, n); ok && number+uint64(keep) <= o.at.Rotated {
			if err := o.d.Remove(n); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (o *output) close() error {
	var err error
	if o.f != nil {
		err = o.f.Close()
	}
	if o.slot != nil {
		err = errors.Join(err, o.slot.Close())
	}
	if o.lock != nil {
		err = errors.Join(err, o.lock.Close())
	}
	return err
}
