//go:build unix

package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
)

// runner is a program around an analyzer that runs check beside it.
type runner struct {
	*Analyzer
	check func(context.Context, *Analyzer)
}

func (r runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		r.check(ctx, r.Analyzer)
	}()
	return r.Analyzer.Run(ctx)
}

// What was captured is in no file that another user can read: not in the log,
// nor in what DuckDB writes beside its own file.
func TestFilesArePrivate(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	cfg := config(t)
	load := func(*daemon.Env) (Config, slog.Level) { return cfg, slog.LevelDebug }
	start := func(cfg Config, log *slog.Logger) (daemon.Runner, error) {
		a, err := New(cfg, log)
		if err != nil {
			return nil, err
		}
		return runner{a, func(ctx context.Context, a *Analyzer) {
			f := storetest.NewForwarder(1, storetest.NewProxy(1))
			for n := range uint64(5) {
				if err := a.store.Append(ctx, f.Spool, []*capturev1.Frame{f.Frame(storetest.Pairs(n*10, n*10+10)...)}); err != nil {
					t.Error(err)
					return
				}
			}
			for end := time.Now().Add(20 * time.Second); a.store.Counters().Backlog > 0; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					t.Error("not indexed within 20 s")
					return
				}
			}
			checkModes(t, cfg.DataDir)
		}}, nil
	}
	if status := daemon.Main(t.Output(), daemon.Sorted, load, start); status != daemon.ExitOK {
		t.Errorf("status %d", status)
	}
	checkModes(t, cfg.DataDir)
}

// checkModes expects nothing for others in dir, and some files at all.
func checkModes(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it was a temporary one
		}
		if err != nil {
			return err
		}
		if mode := info.Mode(); mode.Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, mode)
		}
		if info.Mode().IsRegular() {
			files++
		}
		return nil
	})
	if err == nil && files < 3 {
		err = fmt.Errorf("only %d files", files)
	}
	if err != nil {
		t.Error(err)
	}
}
