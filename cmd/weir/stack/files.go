package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"

	"github.com/weir-capture/weir/analyzer"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
)

// Files is work on an analyzer's data directory, which needs the directory for
// itself. What the store has to say of it goes to logTo.
func Files(logTo io.Writer) cli.Files {
	log := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return cli.Files{
		Verify: func(ctx context.Context, dir string, progress func(done, of int64)) (*cli.Verified, error) {
			r, err := analyzer.Verify(ctx, dir, progress)
			if err != nil {
				return nil, alone(err)
			}
			return &cli.Verified{OK: r.OK(), Document: r, Lines: lines(r)}, nil
		},
		Rebuild: func(ctx context.Context, dir string, progress func(done, of int64)) error {
			return alone(analyzer.Rebuild(ctx, dir, progress, log))
		},
		Backup: func(ctx context.Context, dir string, w io.Writer) (bool, error) {
			controlLeftOut, err := analyzer.Backup(ctx, dir, w, nil, log)
			return controlLeftOut, alone(err)
		},
		Restore: func(ctx context.Context, dir string, r io.Reader) error {
			return alone(analyzer.Restore(ctx, dir, r))
		},
		Spool: spoolPairs,
	}
}

// spoolPairs reads the spool of a forwarder that does not run.
func spoolPairs(ctx context.Context, dir string) iter.Seq2[*capturev1.RRPair, error] {
	return func(yield func(*capturev1.RRPair, error) bool) {
		master, err := masterKey()
		if err != nil {
			yield(nil, err)
			return
		}
		for p, err := range forwarder.SpoolPairs(ctx, dir, master) {
			switch {
			case err == nil:
			case seglog.IsDamage(err):
				err = &cli.UnreadableError{Err: err}
			case errorIs[*vfs.LockedError](err):
				err = &daemon.Hinted{Err: err, Hint: "This needs the files to itself: stop the forwarder first."}
			case keyring.Hint(err) != "":
				err = &daemon.Hinted{Err: err, Hint: keyring.Hint(err)}
			}
			if !yield(p, err) {
				return
			}
		}
	}
}

func errorIs[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// masterKey is the one of data at rest, if the environment has one.
func masterKey() (*keyring.Master, error) {
	env := daemon.NewEnv(os.LookupEnv)
	master := keyring.LoadMaster(env)
	return master, env.Err()
}

// alone says what to do about a directory that is in use.
func alone(err error) error {
	if errors.Is(err, analyzer.ErrLocked) {
		return &daemon.Hinted{Err: err, Hint: "This needs the files to itself: stop the analyzer first. weir backup also works while it runs."}
	}
	return err
}

// lines says a report in words.
func lines(r *analyzer.Report) []string {
	out := []string{
		fmt.Sprintf("Store %s, format %d: %d segments, %d bytes, %d records, %d pairs.", r.Store, r.Format, r.Segments, r.Bytes, r.Records, r.Pairs),
	}
	if !r.Clean {
		out = append(out, fmt.Sprintf("It was not closed in order; %d bytes at its end are of a write that was under way.", r.TornBytes))
	}
	for _, n := range []struct {
		n    uint64
		what string
	}{
		{r.Duplicates, "records are of batches that had come before"},
		{r.Unreadable, "records came unreadable, and are kept as they came"},
		{r.Missing, "records stand for what was missing in a spool"},
	} {
		if n.n > 0 {
			out = append(out, fmt.Sprintf("%d %s.", n.n, n.what))
		}
	}
	out = append(out, fmt.Sprintf("Files beside segments: %d good, %d missing, %d bad; the store makes them again.", r.Sidecars.Good, r.Sidecars.Missing, r.Sidecars.Bad))
	out = append(out, r.Sidecars.Reasons...)
	for _, d := range r.Damaged {
		out = append(out, fmt.Sprintf("Damaged: %s from %d to %d, %s, %d pairs.", d.Segment, d.Offset, d.Next, d.Part, d.Pairs))
	}
	if more := r.DamagedRecords - min(r.DamagedRecords, uint64(len(r.Damaged))); more > 0 {
		out = append(out, fmt.Sprintf("And %d more damaged records.", more))
	}
	out = append(out, r.Problems...)
	if r.OK() {
		return append(out, "All that was stored can be read.")
	}
	return append(out, "Not all that was stored can be read.")
}
