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
)

// controlFile is the control store in a data directory, anchorFile what is
// kept of the audit log beside one that is elsewhere.
const (
	controlFile = "control.db"
	anchorFile  = "control.audit"
)

// openControl opens the control store of a configuration.
func openControl(cfg Config, log *slog.Logger) (*control.Store, error) {
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
// before Run, which logs the same: another would end it.
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
// nothing. remove takes the copy away.
func snapshotControl(ctx context.Context, dataDir string, log *slog.Logger) (remove func() error, err error) {
	file := filepath.Join(dataDir, controlFile)
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return func() error { return nil }, nil
	}
	s, err := control.Open(ctx, file, control.Options{Log: log})
	if err != nil {
		return nil, fmt.Errorf("open control store: %w", err)
	}
	name := filepath.Join(dataDir, control.SnapshotName)
	if err := errors.Join(s.Snapshot(ctx, name), s.Close()); err != nil {
		return nil, fmt.Errorf("copy control store: %w", err)
	}
	return func() error { return removeSnapshot(name) }, nil
}

func removeSnapshot(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove copy of control store: %w", err)
	}
	return nil
}
