package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-capture/weir/client"
)

func curl(ctx context.Context, std IO, api *client.Client, c curlCommand) error {
	cmd, err := api.Curl(ctx, c.ID)
	if err != nil {
		return err
	}
	return write(std.Out, []byte(cmd))
}

func (s selected) ask() client.Select {
	return client.Select{Query: strings.Join(s.Query, " "), From: s.From, To: s.To}
}

// formatOf is what the name of a file says; empty when it says nothing.
func formatOf(name string) string {
	name = strings.ToLower(name)
	switch {
	case strings.HasSuffix(name, ".rrpair.jsonl"), strings.HasSuffix(name, ".rrpair"):
		return "rrpair"
	case strings.HasSuffix(name, ".har"):
		return "har"
	case strings.HasSuffix(name, ".jsonl"), strings.HasSuffix(name, ".ndjson"):
		return "jsonl"
	case strings.HasSuffix(name, ".parquet"):
		return "parquet"
	case strings.HasSuffix(name, ".sh"):
		return "curl"
	}
	return ""
}

func export(ctx context.Context, std IO, api *client.Client, c exportCommand) error {
	format := c.Format
	if format == "" {
		format = formatOf(c.File)
	}
	if format == "" {
		format = "har"
	}
	if c.File == "" && format == "parquet" && std.Terminal {
		return &UsageError{errors.New("a Parquet file is not for a terminal; --file names one")}
	}
	ask := c.ask()
	show := newProgress(std, "Written")
	var out client.Exported
	to := std.Out
	if std.Terminal && (format == "har" || format == "jsonl" || format == "rrpair") {
		to = &jsonForTerminal{w: std.Out}
	}
	err := writeFile(c.File, to, func(w io.Writer) (err error) {
		defer show.end()
		out, err = api.Export(ctx, ask, format, &countingWriter{w: w, p: show})
		return err
	})
	if err != nil {
		if closedPipe(err) {
			return ErrQuiet
		}
		return pointAt(std, ask.Query, err)
	}
	if c.File != "" {
		fmt.Fprintf(std.Err, "%s in %s.\n", count(out.Pairs, "pair", "pairs"), c.File)
	}
	if out.LeftOut > 0 {
		fmt.Fprintf(std.Err, "%s left out: %s has no place for what is not HTTP. jsonl and parquet have.\n", count(out.LeftOut, "pair is", "pairs are"), format)
	}
	return unreadable(std, out)
}

// unreadable says that an export is not all that there should be; nil when it
// is.
func unreadable(std IO, out client.Exported) error {
	if out.Unreadable == 0 {
		return nil
	}
	fmt.Fprintf(std.Err, "weir: %s passed over, matching or not: the store is damaged there. What is written is whole otherwise. weir store verify, while no analyzer runs, says where.\n",
		count(out.Unreadable, "pair was", "pairs were"))
	return &statusError{exitPartial, ErrQuiet}
}

// writeFile lets a function write a file, which is there under its name only
// when all went well. Without a name it is out.
func writeFile(name string, out io.Writer, do func(io.Writer) error) (err error) {
	if name == "" || name == "-" {
		return do(out)
	}
	// Beside it, so that it can be renamed. Its mode is 0600.
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("create file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err := do(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync file: %w", err)
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return fmt.Errorf("name file: %w", err)
	}
	if err := f.Close(); err != nil {
		// It has its name and its content; do not take it away.
		fmt.Fprintln(out, "close file:", err)
	}
	return nil
}

func take(ctx context.Context, std IO, api *client.Client, c importCommand) error {
	format := c.Format
	if format == "" {
		if format = formatOf(c.File); format != "har" && format != "jsonl" && format != "rrpair" {
			return &UsageError{fmt.Errorf("the name %q does not say a format that can be read; --format takes har, jsonl or rrpair", c.File)}
		}
	}
	show := newProgress(std, "Read")
	in := &countingReader{p: show}
	if c.File == "-" {
		in.r = os.Stdin
	} else {
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
	out, err := api.Import(ctx, format, c.App, in)
	show.end()
	if err != nil {
		return err
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, out)
	} else {
		var b bytes.Buffer
		printImport(&b, out, c.File)
		err = write(std.Out, b.Bytes())
	}
	if err == nil && (out.Rejected > 0 || !out.Complete) {
		err = ErrQuiet
	}
	return err
}

func printImport(b *bytes.Buffer, out *client.Import, name string) {
	fmt.Fprintf(b, "%s stored", count(out.Stored, "pair", "pairs"))
	if out.Known > 0 {
		fmt.Fprintf(b, ", %d known already", out.Known)
	}
	if out.Rejected > 0 {
		fmt.Fprintf(b, ", %s that could not be read", count(out.Rejected, "entry", "entries"))
	}
	b.WriteString(".\n")
	for _, e := range out.Errors {
		where := fmt.Sprintf("entry %d", e.Entry)
		if e.Line > 0 {
			where = fmt.Sprintf("line %d", e.Line)
		}
		text := e.Message
		if e.Want != "" {
			text += "; want " + e.Want
		}
		fmt.Fprintf(b, "%s: %s: %s\n", clean(name, false), where, clean(text, false))
	}
	if more := out.Rejected - min(out.Rejected, uint64(len(out.Errors))); more > 0 {
		fmt.Fprintf(b, "and %d more\n", more)
	}
	if !out.Complete {
		b.WriteString("The file was not read to its end. It may be sent again: what is stored stays once.\n")
	}
}
