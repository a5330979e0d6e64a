package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
)

// events are those of the audit log, newest first.
func events(ctx context.Context, api *client.Client, page int) iter.Seq2[client.AuditEvent, error] {
	return func(yield func(client.AuditEvent, error) bool) {
		for cursor := ""; ; {
			a, err := api.AuditPage(ctx, page, cursor)
			if err != nil {
				yield(client.AuditEvent{}, err)
				return
			}
			for _, e := range a.Events {
				if !yield(e, nil) {
					return
				}
			}
			if a.NextCursor == nil || *a.NextCursor == cursor {
				return
			}
			cursor = *a.NextCursor
		}
	}
}

func audit(ctx context.Context, std IO, api *client.Client, command string, c auditCommand) error {
	switch strings.Fields(command)[1] {
	case "verify":
		return verifyAudit(ctx, std, api, c.Verify)
	case "export":
		n := uint64(0)
		err := writeFile(c.Export.File, std.Out, func(w io.Writer) error {
			for e, err := range events(ctx, api, httpv1.MaxPage) {
				if err != nil {
					return err
				}
				if err := writeJSON(w, e); err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err == nil && c.Export.File != "" && c.Export.File != "-" {
			fmt.Fprintf(std.Err, "%s in %s.\n", count(n, "event", "events"), c.Export.File)
		}
		return err
	}
	if c.List.Limit < 1 {
		return &UsageError{fmt.Errorf("--limit %d: want at least 1", c.List.Limit)}
	}
	n := 0
	rows := [][]string{{"time", "who", "from", "what", "of", "result", ""}}
	for e, err := range events(ctx, api, min(c.List.Limit, httpv1.MaxPage)) {
		if err != nil {
			return err
		}
		if c.List.Output == "json" {
			if err := writeJSON(std.Out, e); err != nil {
				return err
			}
		} else {
			who := strings.TrimSpace(e.Kind + " " + e.Name)
			if e.Kind == e.Name {
				who = e.Kind
			}
			rows = append(rows, []string{moment(e.Time), orDash(who), orDash(e.From), e.Action, orDash(e.Target), e.Result, e.Detail})
		}
		if n++; n == c.List.Limit {
			break
		}
	}
	if c.List.Output == "json" {
		return nil
	}
	return table(std.Out, rows...)
}

func verifyAudit(ctx context.Context, std IO, api *client.Client, c auditVerifyCommand) error {
	check, err := api.AuditVerify(ctx)
	if err != nil {
		return err
	}
	lost := c.Head != "" && check.Intact && c.Head != check.Head
	if lost {
		for e, err := range events(ctx, api, httpv1.MaxPage) {
			if err != nil {
				return err
			}
			if lost = e.Hash != c.Head; !lost {
				break
			}
		}
	}
	if lost {
		check.Intact, check.Problem = false, "there is no event with the hash "+c.Head+": the log is another one, or its end was cut off"
	}
	if c.Output == "json" {
		err = writeJSON(std.Out, check)
	} else {
		var b bytes.Buffer
		if check.Intact {
			fmt.Fprintf(&b, "%s, as they were written. The newest has the hash\n%s\n", count(check.Events, "event", "events"), clean(check.Head, false))
		} else {
			where := ""
			if check.At > 0 {
				where = fmt.Sprintf(", at event %d", check.At)
			}
			fmt.Fprintf(&b, "Not as it was written%s: %s.\n", where, clean(strings.TrimSuffix(check.Problem, "."), false))
		}
		err = write(std.Out, b.Bytes())
	}
	if err == nil && !check.Intact {
		err = ErrQuiet
	}
	return err
}

// remove counts pairs, or deletes them.
func remove(ctx context.Context, std IO, api *client.Client, c deleteCommand) error {
	ask := client.NewDeletion{Q: strings.Join(c.Query, " "), From: c.From, To: c.To, DryRun: c.Yes == nil}
	switch {
	case c.Day == "" && len(c.Query) == 0:
		return &UsageError{errors.New("a query, or --day, has to say which pairs")}
	case c.Day != "" && (len(c.Query) > 0 || c.From != "" || c.To != ""):
		return &UsageError{errors.New("--day is a whole day: neither a query nor --from or --to goes with it")}
	}
	if c.Yes != nil {
		if *c.Yes == 0 {
			return &UsageError{fmt.Errorf("--yes 0 deletes nothing; want how many pairs weir delete counted without it")}
		}
		ask.Confirm = *c.Yes
	}
	var d *client.Deletion
	var err error
	if c.Day != "" {
		d, err = api.Shred(ctx, client.NewShredding{Day: c.Day, DryRun: ask.DryRun, Confirm: ask.Confirm})
	} else {
		d, err = api.Delete(ctx, ask)
	}
	if err != nil {
		return pointAt(std, ask.Q, err)
	}
	if c.Output == "json" {
		return writeJSON(std.Out, d)
	}
	var b bytes.Buffer
	if ask.DryRun {
		fmt.Fprintf(&b, "%s: %s. Nothing was deleted.\n", clean(d.Query, false), count(d.Matched, "pair matches", "pairs match"))
		if d.Matched > 0 {
			fmt.Fprintf(&b, "To delete them for good: the same with --yes %d\n", d.Matched)
		}
		return write(std.Out, b.Bytes())
	}
	fmt.Fprintf(&b, "%s: %s of %d deleted, %s rewritten, %s less.\n", clean(d.Query, false),
		count(d.Deleted, "pair", "pairs"), d.Matched, count(d.SegmentsRewritten, "segment", "segments"), size(d.Bytes))
	if d.ID != "" {
		fmt.Fprintf(&b, "Deletion %s\n", clean(d.ID, false))
	}
	b.WriteString(clean(strings.TrimSpace(d.Proof), true) + "\n")
	if err := write(std.Out, b.Bytes()); err != nil {
		return err
	}
	if d.Deleted != d.Matched {
		return ErrQuiet
	}
	return nil
}
