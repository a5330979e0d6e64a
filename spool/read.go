package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
)

// Read gives the records that the spool in dir has, and changes nothing but its
// lock, which it takes: a *vfs.LockedError while a forwarder has it. What every
// cursor has passed may be among them. A record that is damaged comes as an
// error that is one by seglog.IsDamage, and those behind it follow; any other
// error is the last. master reads what is encrypted; it may be nil.
func Read(ctx context.Context, dir string, master *keyring.Master) iter.Seq2[seglog.Entry, error] {
	return func(yield func(seglog.Entry, error) bool) {
		if err := read(ctx, dir, master, yield); err != nil {
			yield(seglog.Entry{}, fmt.Errorf("read spool: %w", err))
		}
	}
}

func read(ctx context.Context, dir string, master *keyring.Master, yield func(seglog.Entry, error) bool) (err error) {
	// vfs.Dir would make what is missing.
	if _, err := os.Stat(filepath.Join(dir, stateName)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is no spool: it has no %s", dir, stateName)
		}
		return err
	}
	disk, err := vfs.Dir(dir)
	if err != nil {
		return err
	}
	opt := seglog.Options{}
	if master != nil {
		opt.Keys = func(vfs.FS) (*keyring.Ring, error) {
			ring, err := keyring.Read(disk, master)
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return ring, err
		}
	}
	log, err := seglog.OpenFS(vfs.ReadOnly(disk), opt)
	if err != nil {
		return errors.Join(err, disk.Close())
	}
	// A mark that it was closed cannot be written, and must not be.
	defer func() { _ = log.Close() }()
	for e, err := range log.Records(log.Oldest()) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !seglog.IsDamage(err) {
			return err
		}
		if !yield(e, err) {
			return nil
		}
	}
	return nil
}
