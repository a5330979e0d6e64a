package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/client"
)

// Files is work on a data directory. Progress is told how many bytes are done,
// and of how many. ErrLocked errors say who has the directory.
type Files struct {
	Verify  func(ctx context.Context, dir string, progress func(done, of int64)) (*Verified, error)
	Rebuild func(ctx context.Context, dir string, progress func(done, of int64)) error
	// Backup reports whether the control store (users, keys, the audit log) is
	// in a database server, and so not in what it wrote.
	Backup  func(ctx context.Context, dir string, w io.Writer) (controlLeftOut bool, err error)
	Restore func(ctx context.Context, dir string, r io.Reader) error
	// Spool gives the pairs in the spool directory of a forwarder that does not
	// run. An *UnreadableError is of one record, any other error the last.
	Spool func(ctx context.Context, dir string) iter.Seq2[*capturev1.RRPair, error]
}

// UnreadableError: a record of a spool is damaged.
type UnreadableError struct{ Err error }

func (e *UnreadableError) Error() string { return e.Err.Error() }
func (e *UnreadableError) Unwrap() error { return e.Err }

// Verified is what a check of the files found.
type Verified struct {
	// OK: all that was stored can be read.
	OK bool
	// Lines say it for people, Document as JSON.
	Lines    []string
	Document any
}

func verify(ctx context.Context, std IO, programs Programs, c verifyCommand) error {
	show := newProgress(std, "Read")
	found, err := programs.Files.Verify(ctx, dataDir(c.Data, programs), show.bytes)
	show.end()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, found.Document)
	} else {
		var b bytes.Buffer
		for _, l := range found.Lines {
			b.WriteString(clean(l, false) + "\n")
		}
		err = write(std.Out, b.Bytes())
	}
	if err == nil && !found.OK {
		err = ErrQuiet
	}
	return err
}

func rebuild(ctx context.Context, std IO, programs Programs, c rebuildCommand) error {
	show := newProgress(std, "Indexed")
	err := programs.Files.Rebuild(ctx, dataDir(c.Data, programs), show.bytes)
	show.end()
	if err != nil {
		return err
	}
	return write(std.Out, []byte("The index is new.\n"))
}

// backup asks the analyzer that runs, or reads the files when none does.
// named: the analyzer was named, and no other will do.
func backup(ctx context.Context, std IO, api *client.Client, named bool, programs Programs, c backupCommand) error {
	show := newProgress(std, "Written")
	controlLeftOut := false
	err := writeFile(c.File, std.Out, func(w io.Writer) (err error) {
		defer show.end()
		out := &countingWriter{w: w, p: show}
		if c.Data == "" {
			err := api.Backup(ctx, out)
			if _, away := errors.AsType[*client.UnreachableError](err); !away || named || out.done > 0 {
				return err
			}
		}
		controlLeftOut, err = programs.Files.Backup(ctx, dataDir(c.Data, programs), out)
		return err
	})
	if err != nil {
		if closedPipe(err) {
			return ErrQuiet
		}
		return err
	}
	if controlLeftOut {
		fmt.Fprintln(std.Err, "weir: The control store (users, keys, saved views, the audit log) is in a database server and NOT in this file: "+
			"back it up there, with pg_dump, or take the backup while an analyzer runs, which copies it too.")
		return &statusError{exitPartial, ErrQuiet}
	}
	if c.File != "-" {
		fmt.Fprintf(std.Err, "Everything is in %s.\n", c.File)
	}
	return nil
}

func restore(ctx context.Context, std IO, programs Programs, c restoreCommand) error {
	show := newProgress(std, "Read")
	in := &countingReader{r: os.Stdin, p: show}
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return fmt.Errorf("open file: %w", err)
		}
		defer f.Close()
		if st, err := f.Stat(); err == nil {
			in.of = st.Size()
		}
		in.r = f
	}
	dir := dataDir(c.Data, programs)
	err := programs.Files.Restore(ctx, dir, in)
	show.end()
	if err != nil {
		return err
	}
	return write(std.Out, []byte("Restored into "+clean(dir, false)+".\n"))
}
