// Package atomicfile replaces a file as a whole: after a crash at any point
// it has the old content or the new one.
package atomicfile

import (
	"errors"
	"fmt"
	"os"

	"github.com/weir-capture/weir/internal/vfs"
)

const tempSuffix = ".tmp"

// Write makes data the content of name and returns when that is durable. Only
// one Write of a name may run at a time.
func Write(d vfs.FS, name string, data []byte) error {
	if err := write(d, name, data); err != nil {
		return fmt.Errorf("write file %s: %w", name, err)
	}
	return nil
}

func write(d vfs.FS, name string, data []byte) (err error) {
	temp := name + tempSuffix
	f, err := d.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(0); err == nil {
		if _, err = f.WriteAt(data, 0); err == nil {
			err = f.Sync()
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.Remove(temp))
	}
	if err := d.Rename(temp, name); err != nil {
		return errors.Join(err, d.Remove(temp))
	}
	return d.SyncDir()
}

// Read is the content of name, at most limit bytes of it.
func Read(d vfs.FS, name string, limit int64) ([]byte, error) {
	f, err := d.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("read file %s: %w", name, err)
	}
	if n > limit {
		return nil, fmt.Errorf("read file %s: %d bytes, at most %d expected", name, n, limit)
	}
	b := make([]byte, n)
	if m, err := f.ReadAt(b, 0); m < len(b) {
		return nil, fmt.Errorf("read file %s: %w", name, err)
	}
	return b, nil
}
