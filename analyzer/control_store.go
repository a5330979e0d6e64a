package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/web"
	"github.com/weir-capture/weir/daemon"
)

// controlFile is the control store in a data directory, anchorFile what is
// kept of the audit log beside one that is elsewhere.
const (
	controlFile = "control.db"
	anchorFile  = "control.audit"
)

// openControl opens the control store of a configuration.
func openControl(cfg Config, log *slog.Logger) (*control.Store, error) {
	if err := sweepSnapshots(cfg.DataDir); err != nil {
		return nil, err
	}
	dsn, opt := cfg.ControlStore, control.Options{Log: log}
	if dsn == "" {
		dsn = filepath.Join(cfg.DataDir, controlFile)
	}
	if strings.Contains(dsn, "://") {
		opt.AnchorFile = filepath.Join(cfg.DataDir, anchorFile)
	}
	s, err := control.Open(context.Background(), dsn, opt)
	if err != nil {
		return nil, fmt.Errorf("open CONTROL_STORE: %w", err)
	}
	return s, nil
}

// SignInLink is the one-time link that makes the first user; empty where there
// are users, or nothing asks for one. It is for whoever starts the analyzer,
// before Run, which logs the same.
func (a *Analyzer) SignInLink(ctx context.Context) (string, error) {
	if a.cfg.NoAuth || a.link != "" {
		return a.link, nil
	}
	token, _, err := a.control.SetupToken(ctx)
	if errors.Is(err, control.ErrExists) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("make sign-in link: %w", err)
	}
	a.link = a.web.URL() + web.SetupFragment + token
	return a.link, nil
}

// backups counts those under way: they share one snapshot of the control
// store, and the last of them removes it.
type backups struct {
	mu sync.Mutex
	n  int
}

// backup writes everything that is stored, with the control store as it is
// now.
func (a *Analyzer) backup(ctx context.Context, w io.Writer) (err error) {
	name := filepath.Join(a.cfg.DataDir, control.SnapshotName)
	a.backups.mu.Lock()
	err = a.control.Snapshot(ctx, name)
	if err == nil {
		a.backups.n++
	}
	a.backups.mu.Unlock()
	if err != nil {
		return fmt.Errorf("copy control store: %w", err)
	}
	defer func() {
		a.backups.mu.Lock()
		defer a.backups.mu.Unlock()
		if a.backups.n--; a.backups.n == 0 {
			err = errors.Join(err, removeSnapshot(name))
		}
	}()
	return a.store.Backup(ctx, w, nil)
}

// snapshotControl copies the control store of a data directory that no
// analyzer has open to where a backup finds it; where there is none it does
// nothing. remove takes the copy away. elsewhere: the analyzer of this directory
// has its control store in a database server, which is not copied.
func snapshotControl(ctx context.Context, dataDir string, log *slog.Logger) (remove func() error, elsewhere bool, err error) {
	if err := sweepSnapshots(dataDir); err != nil {
		return nil, false, err
	}
	nothing := func() error { return nil }
	if elsewhere, err = controlElsewhere(dataDir); err != nil || elsewhere {
		return nothing, elsewhere, err
	}
	file := filepath.Join(dataDir, controlFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nothing, false, nil
	}
	s, err := control.Open(ctx, file, control.Options{Log: log})
	if err != nil {
		return nil, false, fmt.Errorf("open control store: %w", err)
	}
	name := filepath.Join(dataDir, control.SnapshotName)
	if err := errors.Join(s.Snapshot(ctx, name), s.Close()); err != nil {
		return nil, false, fmt.Errorf("copy control store: %w", err)
	}
	return func() error { return removeSnapshot(name) }, false, nil
}

// controlElsewhere reports whether a control store is not a file: the setting
// says so, or what the analyzer keeps here of the audit log of such a one.
func controlElsewhere(dataDir string) (bool, error) {
	env := daemon.NewEnv(os.LookupEnv)
	dsn := env.Secret("CONTROL_STORE")
	if err := env.Err(); err != nil {
		return false, err
	}
	if dsn != "" {
		return strings.Contains(dsn, "://"), nil
	}
	switch _, err := os.Stat(filepath.Join(dataDir, anchorFile)); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for control store: %w", err)
	}
	// It may have moved into a file since.
	_, err := os.Stat(filepath.Join(dataDir, controlFile))
	return errors.Is(err, fs.ErrNotExist), nil
}

// sweepSnapshots removes what a crash in the middle of a backup has left of
// copies of the control store, which hold what that holds. The caller has the
// directory for itself.
func sweepSnapshots(dataDir string) error {
	entries, err := os.ReadDir(dataDir)
	if err != nil {
		return fmt.Errorf("look for copies of control store: %w", err)
	}
	for _, e := range entries {
		if rest, ok := strings.CutPrefix(e.Name(), control.SnapshotName+"."); ok && strings.Contains(rest, ".tmp") {
			if err := removeSnapshot(filepath.Join(dataDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func removeSnapshot(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove copy of control store: %w", err)
	}
	return nil
}
