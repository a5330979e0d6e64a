package analyzer

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/duckindex"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
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
func storeOptions(dataDir string, log *slog.Logger) segstore.Options {
	return segstore.Options{
		Dir: dataDir, Beside: []string{ledger.FileName},
		OpenIndex: func(ctx context.Context, dir, storeID string, end uint64) (index.Index, error) {
			return duckindex.Open(ctx, duckindex.Options{Dir: dir, Store: storeID, End: end}, log)
		},
	}
}

// Verify reads everything in a data directory that no analyzer has open, and
// changes nothing.
func Verify(ctx context.Context, dataDir string, p Progress) (*Report, error) {
	return segstore.Verify(ctx, dataDir, p.told())
}

// Rebuild makes the index in a data directory anew, from the log.
func Rebuild(ctx context.Context, dataDir string, p Progress, log *slog.Logger) error {
	return segstore.Rebuild(ctx, storeOptions(dataDir, log), p.told(), log)
}

// Backup writes a tar file of a data directory that no analyzer has open.
func Backup(ctx context.Context, dataDir string, w io.Writer, p Progress, log *slog.Logger) (err error) {
	s, err := segstore.Open(storeOptions(dataDir, log), log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Backup(ctx, w, p.told())
}

// Restore makes a data directory, which is missing or empty, of what Backup
// wrote.
func Restore(ctx context.Context, dataDir string, r io.Reader) error {
	return segstore.Restore(ctx, dataDir, r)
}
