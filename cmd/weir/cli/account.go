package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
	lang "github.com/weir-capture/weir/query"
)

// watchEvery is how often --watch prints.
const watchEvery = 2 * time.Second

// ledger prints the sum, and fails quietly when it does not hold.
func ledger(ctx context.Context, std IO, api *client.Client, c ledgerCommand) error {
	ask := client.LedgerAsk{App: c.App, From: c.From, To: c.To}
	for {
		l, err := api.Ledger(ctx, ask)
		if err != nil {
			if c.Watch && ctx.Err() != nil {
				return nil // told to stop
			}
			return err
		}
		if c.Output == "json" {
			err = writeJSON(std.Out, l)
		} else {
			var b bytes.Buffer
			if c.Watch && std.Color {
				b.WriteString("\x1b[H\x1b[2J") // from the top of an empty screen
			}
			printLedger(&b, l, c.From)
			err = write(std.Out, b.Bytes())
		}
		if err != nil {
			return err
		}
		if c.Watch {
			select {
			case <-ctx.Done():
			case <-time.After(watchEvery):
				continue
			}
		}
		if !l.Holds {
			return ErrQuiet
		}
		return nil
	}
}

// write is for whole answers; a reader that has seen enough is no error.
func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	if err != nil && closedPipe(err) {
		return ErrQuiet
	}
	return err
}

func printLedger(w io.Writer, l *client.Ledger, from string) {
	fmt.Fprintf(w, "Since %s, %s of proxies.\n\n", moment(l.Since), count(l.Processes, "process", "processes"))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "seen\tstored\tfiltered\tsampled\tdropped\tin flight\tunknown\tunaccounted\t  app")
	line := func(c httpv1.LedgerCounts, name string) {
		var filtered, dropped uint64
		for _, n := range c.Filtered {
			filtered += n
		}
		for _, d := range c.Dropped {
			dropped += d.Pairs
		}
		unknown := "0"
		if c.Unknown > 0 {
			unknown = fmt.Sprintf("≤ %d", c.Unknown)
		}
		fmt.Fprintf(t, "%d\t%d\t%d\t%d\t%d\t%d\t%s\t%d\t  %s\n", c.Seen, c.Stored, filtered, c.Sampled, dropped, c.InFlight, unknown, c.Unaccounted, clean(name, false))
	}
	for _, a := range l.Apps {
		line(a.LedgerCounts, appName(a.Cluster, a.Namespace, a.App))
	}
	if len(l.Apps) != 1 {
		line(l.Total, "all")
	}
	t.Flush() // w is a buffer

	part := func(title string, rows [][2]string) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\n", title)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, r := range rows {
			fmt.Fprintf(t, "  %s\t%s\n", clean(r[0], false), clean(r[1], false))
		}
		t.Flush()
	}
	var rows [][2]string
	for _, rule := range slices.Sorted(maps.Keys(l.Total.Filtered)) {
		rows = append(rows, [2]string{fmt.Sprint(l.Total.Filtered[rule]), rule})
	}
	part("Filtered, by rule", rows)
	rows = nil
	for _, d := range l.Total.Dropped {
		rows = append(rows, [2]string{fmt.Sprint(d.Pairs), d.Hop + ": " + d.Reason})
	}
	part("Dropped, by where and why", rows)
	rows = nil
	for _, g := range l.Gaps {
		rows = append(rows, [2]string{stretch(g.From, g.To), appName(g.Cluster, g.Namespace, g.App) + ", " + g.ProxyID + ": " + g.Text})
	}
	since := "since " + moment(l.From)
	if from != "" {
		since = "of the last " + from
		if _, err := time.Parse(time.RFC3339, from); err == nil {
			since = "since " + from
		}
	}
	part("Gaps "+since, rows)
	rows = nil
	for _, d := range l.Deaths {
		rows = append(rows, [2]string{d.ProxyID, appName(d.Cluster, d.Namespace, d.App) + ": " + d.Text})
	}
	part("Proxies that ended without a goodbye", rows)
	if l.Partial {
		fmt.Fprintln(w, "\nThere are more gaps, or more such proxies, than are listed; the counts have them.")
	}
	if l.Holds {
		fmt.Fprintln(w, "\nThe sum holds: seen = stored + filtered + sampled + dropped + in flight + unknown.")
		return
	}
	fmt.Fprintln(w, "\nThe sum does not hold:")
	for _, r := range l.Reasons {
		fmt.Fprintln(w, "  "+clean(r, false))
	}
}

func appName(cluster, namespace, app string) string {
	parts := slices.DeleteFunc([]string{cluster, namespace, app}, func(s string) bool { return s == "" })
	return strings.Join(parts, "/")
}

func count(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func moment(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05") }

// stretch says the day once.
func stretch(from, to time.Time) string {
	from, to = from.Local(), to.Local()
	end := to.Format("15:04:05")
	if from.Format(time.DateOnly) != to.Format(time.DateOnly) {
		end = moment(to)
	}
	if from.Truncate(time.Second).Equal(to.Truncate(time.Second)) {
		return moment(from)
	}
	return moment(from) + " – " + end
}

// why prints where a request went.
func why(ctx context.Context, std IO, api *client.Client, c whyCommand) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	answer, err := api.Why(ctx, q, c.Around, c.Within)
	if err != nil {
		return pointAt(std, q, err)
	}
	if c.Output == "json" {
		return writeJSON(std.Out, answer)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s, %s\n", clean(answer.Query, false), stretch(answer.From, answer.To))
	for _, f := range answer.Findings {
		word := strings.ReplaceAll(f.Kind, "_", " ")
		if !f.Certain {
			word += ", perhaps"
		}
		fmt.Fprintf(&b, "\n%s\n  %s\n", word, clean(f.Text, false))
		p := newPrinter(IO{Out: &b, Color: std.Color}, "table")
		p.headed = true
		for _, r := range f.Pairs {
			b.WriteString("  ")
			if err := p.row(r); err != nil {
				return err
			}
		}
		if f.Kind == "never_seen" {
			printWatchers(&b, f.Proxies)
		}
		if f.Fix != "" {
			fmt.Fprintf(&b, "  → %s\n", clean(f.Fix, false))
		}
	}
	return write(std.Out, b.Bytes())
}

func printWatchers(w io.Writer, proxies []httpv1.WhyProxy) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range proxies {
		was := "was watching"
		switch {
		case p.Watching:
		case p.State == "unknown":
			was = "nobody knows"
		default:
			was = "was not there"
		}
		since, until := "?", ""
		if p.Since != nil {
			since = moment(*p.Since)
		}
		if p.Until != nil {
			until = " to " + moment(*p.Until)
		}
		listens := ""
		if p.Listen != "" {
			listens = p.Listen + " → " + p.Upstream
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s%s\t%s\t%s\n", clean(p.ProxyID, false), clean(appName(p.Cluster, p.Namespace, p.App), false),
			was, since, until, count(p.Seen, "pair", "pairs"), clean(listens, false))
	}
	t.Flush() // w is a buffer
}

// query puts the flags into the query language.
func (c whyCommand) query() (string, error) {
	var out []string
	exact := func(f lang.Field, v string, lower bool) {
		if v == "" {
			return
		}
		if lower {
			v = strings.ToLower(v)
		}
		value := lang.Value{Op: lang.OpEqual, Text: v}
		if strings.Contains(v, "*") {
			value = lang.Value{Op: lang.OpWildcard, Parts: strings.Split(v, "*")}
		}
		out = append(out, lang.Term{Field: f, Values: []lang.Value{value}}.String())
	}
	path, rest, _ := strings.Cut(c.Path, "?") // the query string is no part of it
	exact(lang.FieldPath, path, false)
	exact(lang.FieldQuery, rest, false)
	exact(lang.FieldMethod, c.Method, true)
	exact(lang.FieldApp, c.App, false)
	if c.Host != "" {
		out = append(out, "host:"+c.Host)
	}
	if c.Status != "" {
		out = append(out, "status:"+c.Status)
	}
	for _, more := range append([]string{c.Query}, strings.Join(c.Terms, " ")) {
		if strings.TrimSpace(more) != "" {
			out = append(out, more)
		}
	}
	if len(out) == 0 {
		return "", &UsageError{fmt.Errorf("say what the request was like: --path, --method, --host, --app, --status or --query")}
	}
	return strings.Join(out, " "), nil
}
