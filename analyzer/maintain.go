package analyzer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/duckindex"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/internal/vfs"
)

// Report is what Verify found.
type Report = segstore.Report

// Progress is told how many bytes are done, and of how many. It may be nil.
type Progress func(done, of int64)

func (p Progress) told() func(store.Progress) {
	if p == nil {
		return nil
	}
	return func(at store.Progress) { p(at.Scanned, at.Of) }
}

// ErrLocked: an analyzer has the directory open; the error says which process.
var ErrLocked = store.ErrLocked

// storeOptions are those of the store in a data directory, whoever opens it.
// templates may be nil.
func storeOptions(dataDir string, templates *endpoint.Templates, log *slog.Logger) segstore.Options {
	return segstore.Options{
		Dir: dataDir, Beside: []string{ledger.FileName, endpoint.FileName, control.SnapshotName}, Endpoints: templates,
		OpenIndex: func(ctx context.Context, dir, storeID string, end uint64) (index.Index, error) {
			return duckindex.Open(ctx, duckindex.Options{Dir: dir, Store: storeID, End: end, Endpoints: templates}, log)
		},
	}
}

// openTemplates reads what was learnt of endpoints in a data directory. The
// directory that it opens is the caller's to close.
func openTemplates(dataDir string) (*endpoint.Templates, vfs.FS, error) {
	dir, err := vfs.Dir(dataDir)
	if err != nil {
		return nil, nil, fmt.Errorf("open data directory: %w", err)
	}
	templates, err := endpoint.Open(dir)
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	return templates, dir, nil
}

// Verify reads everything in a data directory that no analyzer has open, and
// changes nothing.
func Verify(ctx context.Context, dataDir string, p Progress) (*Report, error) {
	master, err := ownMaster()
	if err != nil {
		return nil, err
	}
	r, err := segstore.Verify(ctx, dataDir, master, p.told())
	return r, cmp.Or(keyHint(err), err)
}

// Rebuild makes the index in a data directory anew, from the log.
func Rebuild(ctx context.Context, dataDir string, p Progress, log *slog.Logger) (err error) {
	if _, err := os.Stat(dataDir); err != nil {
		return fmt.Errorf("open data directory: %w", err) // nothing is made here
	}
	templates, dir, err := openTemplates(dataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	opt := storeOptions(dataDir, templates, log)
	if opt.Master, err = ownMaster(); err != nil {
		return err
	}
	err = segstore.Rebuild(ctx, opt, p.told(), log)
	return cmp.Or(keyHint(err), err)
}

// Backup writes a tar file of a data directory that no analyzer has open.
// controlLeftOut: the control store is in a database server, and not in the file.
func Backup(ctx context.Context, dataDir string, w io.Writer, p Progress, log *slog.Logger) (controlLeftOut bool, err error) {
	opt := storeOptions(dataDir, nil, log)
	if opt.Master, err = ownMaster(); err != nil {
		return false, err
	}
	s, err := segstore.Open(opt, log)
	if err != nil {
		return false, cmp.Or(keyHint(err), err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	remove, elsewhere, err := snapshotControl(ctx, dataDir, log)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return elsewhere, s.Backup(ctx, w, p.told())
}

// Restore makes a data directory, which is missing or empty, of what Backup
// wrote.
func Restore(ctx context.Context, dataDir string, r io.Reader) error {
	return segstore.Restore(ctx, dataDir, r)
}
