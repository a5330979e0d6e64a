package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"text/tabwriter"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/interchange"
	"github.com/weir-capture/weir/redact"
)

type dlpCommand struct {
	Test dlpTestCommand `cmd:"" help:"Show, offline, what each rule would change in a file of pairs."`
	Scan dlpScanCommand `cmd:"" help:"Look through what is stored for what rules would have taken; exit 1 when there is something."`
}

type dlpTestCommand struct {
	Rules  string `default:"standard" placeholder:"SET|FILE" help:"A rule set's name or file (${default})."`
	In     string `required:"" placeholder:"FILE" help:"Pairs as JSON lines, HAR or RRPair JSON."`
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

func (dlpTestCommand) Help() string {
	return `Example:

  weir export --format jsonl --file pairs.jsonl
  weir dlp test --rules standard+pii --in pairs.jsonl

Nothing is changed and nothing is sent. Values are never shown: only which rule
takes something, where, and how often.`
}

type dlpScanCommand struct {
	selected
	Spool   string `name:"spool" env:"SPOOL_DIR" placeholder:"DIR" help:"Look through a forwarder's spool as well; the forwarder must not run."`
	NoStore bool   `name:"no-store" help:"Look through the spool only."`
	Rules   string `default:"standard+pii" placeholder:"SET|FILE" help:"A rule set's name or file (${default})."`
	Output  string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

func (dlpScanCommand) Help() string {
	return `Example:

  weir dlp scan --from 24h
  weir dlp scan --no-store --spool /var/lib/weir/spool

Nothing is changed, and values are never shown. An encrypted spool is read with
ENCRYPTION_KEY or ENCRYPTION_KEY_FILE.

Exit status 0: nothing was found. 1: something was. 2: not all could be looked
at, whatever was found: the analyzer or the spool could not be read, or the
command was not understood. 3: the analyzer does not let this key do it.`
}

// rulesOf reads a rule set by its name or from a file.
func rulesOf(setting string) (*redact.Redactor, error) {
	set, ok := redact.Named(setting)
	if !ok {
		b, err := os.ReadFile(setting)
		if err != nil {
			return nil, &UsageError{fmt.Errorf("read rules: %w", err)}
		}
		if set, err = redact.Parse(setting, b); err != nil {
			return nil, &UsageError{fmt.Errorf("read rules %s: %w", setting, err)}
		}
	}
	return redact.New(set, redact.RandomKeys()), nil
}

// finding is what one rule takes in one place.
type finding struct {
	Rule  string `json:"rule"`
	Type  string `json:"type"`
	Where string `json:"where"`
	// Values are taken, in Pairs; Example is one of those.
	Values  uint64 `json:"values"`
	Pairs   uint64 `json:"pairs"`
	Example string `json:"example"`
}

// findings are what a rule set takes of many pairs.
type findings struct {
	Pairs    uint64     `json:"pairs"`
	Changed  uint64     `json:"changed"`
	Withheld uint64     `json:"withheld"`
	Found    []*finding `json:"found"`
}

// maxFindings bounds what is kept: names of fields may be anybody's.
const maxFindings = 10_000

// sweep redacts pairs and counts what that changes.
func sweep(r *redact.Redactor, pairs iter.Seq2[*capturev1.RRPair, error]) (*findings, error) {
	type key struct{ rule, kind, where string }
	f, by := new(findings), map[key]*finding{}
	var wrong []error
	for p, err := range pairs {
		if err != nil {
			entry, isEntry := errors.AsType[*interchange.EntryError](err)
			_, isRecord := errors.AsType[*UnreadableError](err)
			if !isRecord && (!isEntry || entry.Final) || len(wrong) == 10 {
				return nil, errors.Join(append(wrong, err)...)
			}
			wrong = append(wrong, err)
			continue
		}
		f.Pairs++
		before := len(p.GetRedactions())
		withheld := slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD)
		_ = r.Redact(p) // an error is a reason for withholding, and stands in the receipts
		if !withheld && slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD) {
			f.Withheld++
		}
		changed := false
		for _, c := range p.GetRedactions()[min(before, len(p.GetRedactions())):] {
			k := key{c.GetRule(), c.GetType(), c.GetLocation()}
			found := by[k]
			if found == nil {
				if len(by) == maxFindings {
					k = key{"(more)", "(more)", "(more)"}
					found = by[k]
				}
				if found == nil {
					found = &finding{Rule: k.rule, Type: k.kind, Where: k.where, Example: interchange.ID(p)}
					by[k] = found
					f.Found = append(f.Found, found)
				}
			}
			found.Values += uint64(c.GetCount())
			found.Pairs++
			changed = changed || !redact.OnlyWithheld(c)
		}
		if changed {
			f.Changed++
		}
	}
	slices.SortFunc(f.Found, func(a, b *finding) int {
		return cmp.Or(cmp.Compare(b.Values, a.Values), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Where, b.Where))
	})
	return f, errors.Join(wrong...)
}

func (f *findings) print(std IO, output string) error {
	if output == "json" {
		return writeJSON(std.Out, f)
	}
	t := tabwriter.NewWriter(std.Out, 0, 0, 2, ' ', 0)
	if len(f.Found) > 0 {
		fmt.Fprintln(t, "rule\ttype\twhere\tvalues\tpairs\tfor example")
	}
	for _, x := range f.Found {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%s\n", x.Rule, x.Type, x.Where, x.Values, x.Pairs, x.Example)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(std.Out, "%s: %d with something to take, %d with content to withhold.\n", count(f.Pairs, "pair", "pairs"), f.Changed, f.Withheld)
	return err
}

func dlpTest(std IO, c dlpTestCommand) error {
	r, err := rulesOf(c.Rules)
	if err != nil {
		return err
	}
	format := cmp.Or(formatOf(c.In), "jsonl")
	file, err := os.Open(c.In)
	if err != nil {
		return &UsageError{fmt.Errorf("read pairs: %w", err)}
	}
	defer file.Close()
	f, err := sweep(r, interchange.Read(interchange.Format(format), file, interchange.Limits{}))
	if f == nil {
		return err
	}
	return errors.Join(f.print(std, c.Output), err)
}

// exitNoAnswer is the status of a question that could not be answered.
const exitNoAnswer = 2

// dlpScan ends with 1 where something was found and with another status where
// that is not known.
func dlpScan(ctx context.Context, std IO, api *client.Client, programs Programs, c dlpScanCommand) error {
	found, err := dlpSearch(ctx, std, api, programs, c)
	switch {
	case err != nil:
		return &statusError{exitNoAnswer, explain(err)}
	case found:
		return ErrQuiet
	}
	return nil
}

func dlpSearch(ctx context.Context, std IO, api *client.Client, programs Programs, c dlpScanCommand) (found bool, err error) {
	r, err := rulesOf(c.Rules)
	if err != nil {
		return false, err
	}
	if c.NoStore && c.Spool == "" {
		return false, &UsageError{errors.New("--no-store leaves nothing to look through: name a spool with --spool")}
	}
	if !c.NoStore {
		if found, err = scanStore(ctx, std, api, r, c); err != nil {
			return found, err
		}
	}
	if c.Spool != "" {
		if c.Output != "json" {
			fmt.Fprintf(std.Out, "Spool %s:\n", clean(c.Spool, false))
		}
		f, err := sweep(r, programs.Files.Spool(ctx, c.Spool))
		if f == nil {
			return found, err
		}
		found = found || f.Changed > 0
		if err := errors.Join(f.print(std, c.Output), err); err != nil {
			return found, err
		}
	}
	return found, nil
}

// scanStore looks through what the analyzer has, and reports whether there is
// something to take.
func scanStore(ctx context.Context, std IO, api *client.Client, r *redact.Redactor, c dlpScanCommand) (bool, error) {
	read, written := io.Pipe()
	ask := c.ask()
	var out client.Exported // until the pipe is closed it is the other goroutine's
	go func() {
		var err error
		out, err = api.Export(ctx, ask, "jsonl", written)
		written.CloseWithError(err) // never fails
	}()
	defer read.Close()
	f, err := sweep(r, interchange.Read(interchange.JSONL, read, interchange.Limits{}))
	if f == nil {
		return false, pointAt(std, ask.Query, err)
	}
	if err := errors.Join(f.print(std, c.Output), err); err != nil {
		return f.Changed > 0, err
	}
	return f.Changed > 0, unreadable(std, out)
}
