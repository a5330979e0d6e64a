package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-capture/weir/client"
)

func query(ctx context.Context, std IO, api *client.Client, c queryCommand) error {
	if c.Limit < 1 {
		return &UsageError{fmt.Errorf("--limit %d: want at least 1", c.Limit)}
	}
	q := strings.Join(c.Query, " ")
	if c.Explain {
		return explainQuery(ctx, std, api, q, c.Output)
	}
	p := newPrinter(std, c.Output)
	n := 0
	show := newProgress(std, "Scanned")
	defer show.end()
	var scanned, of int64
	ask := client.List{Query: q, From: c.From, To: c.To, PageSize: min(c.Limit, 1000)}
	ask.Progress = func(s, o int64) {
		scanned, of = scanned+s, max(of, o)
		show.bytes(scanned, of)
	}
	for row, err := range api.Pairs(ctx, ask) {
		show.end()
		if errors.Is(err, client.ErrPartial) {
			text := "There may be more: the analyzer reached a limit before it had looked at everything"
			if of > 0 {
				text += fmt.Sprintf(" (scanned %s of %s)", size(uint64(scanned)), size(uint64(of)))
			}
			fmt.Fprintln(std.Err, text+". A shorter time range helps.")
			return nil
		}
		if err != nil {
			return pointAt(std, q, err)
		}
		if err := p.row(row); err != nil {
			return err
		}
		if n++; n == c.Limit {
			break
		}
	}
	if n == 0 && c.Output == "table" {
		fmt.Fprintln(std.Err, "No pair matches.")
	}
	return nil
}

// explainQuery says how a query is answered.
func explainQuery(ctx context.Context, std IO, api *client.Client, q, output string) error {
	e, err := api.Explain(ctx, q)
	if err != nil {
		return pointAt(std, q, err)
	}
	if output == "json" {
		return writeJSON(std.Out, e)
	}
	var b bytes.Buffer
	canonical := e.Canonical
	if canonical == "" {
		canonical = "(everything)"
	}
	b.WriteString(clean(canonical, false) + "\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for i, s := range e.Steps {
		fmt.Fprintf(t, "%d. %s\t%s\t%s\n", i+1, s.By, clean(s.Part, false), s.Text)
	}
	t.Flush() // b is a buffer
	return write(std.Out, b.Bytes())
}

func tail(ctx context.Context, std IO, api *client.Client, c tailCommand) error {
	q := strings.Join(c.Query, " ")
	p := newPrinter(std, c.Output)
	for ev, err := range api.Follow(ctx, q, "") {
		if ctx.Err() != nil {
			return nil // told to stop
		}
		if err != nil {
			return pointAt(std, q, err)
		}
		if ev.Dropped > 0 {
			fmt.Fprintf(std.Err, "%d pairs are not shown: they came faster than they could be printed. weir query has them.\n", ev.Dropped)
		}
		if ev.Pair != nil {
			if err := p.row(*ev.Pair); err != nil {
				return err
			}
		}
	}
	return nil
}

// pointAt shows where in a query its mistake is.
func pointAt(std IO, q string, err error) error {
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || len(p.Errors) == 0 {
		return err
	}
	for _, e := range p.Errors {
		// Control characters would move the caret.
		fmt.Fprintf(std.Err, "  %s\n  %s%s\n", clean(q, false), strings.Repeat(" ", max(0, e.Column-1)), strings.Repeat("^", max(1, e.Length)))
	}
	return err
}

// printer writes rows.
type printer struct {
	std    IO
	json   bool
	headed bool
}

func newPrinter(std IO, format string) *printer { return &printer{std: std, json: format == "json"} }

// row writes one line. The id stands first, so that a line can be cut for
// weir show.
func (p *printer) row(r client.Row) error {
	if p.json {
		return writeJSON(p.std.Out, r)
	}
	if !p.headed {
		p.headed = true
		if err := p.line(fmt.Sprintf("%-36s  %-23s  %6s  %-7s  %10s  %9s  %s", "id", "time", "status", "method", "duration", "size", "app  host path")); err != nil {
			return err
		}
	}
	status := "-"
	if r.Status > 0 {
		status = fmt.Sprint(r.Status)
	}
	method := r.Method
	if method == "" {
		method = strings.ToUpper(r.Protocol)
	}
	target := r.Path
	if r.Query != "" {
		target += "?" + r.Query
	}
	end := r.App + "  " + r.Host + target
	if r.SampleWeight > 1 {
		end += fmt.Sprintf("  (one of ~%d)", r.SampleWeight) // sampling left out the others
	}
	if r.Error != "" {
		end += "  (" + r.Error + ")"
	}
	if len(r.Flags) > 0 {
		end += "  [" + strings.Join(r.Flags, " ") + "]"
	}
	return p.line(fmt.Sprintf(
		"%-36s  %-23s  %s  %-7s  %10s  %9s  %s",
		r.ID, r.Time.Local().Format("2006-01-02 15:04:05.000"), p.color(r.Status, fmt.Sprintf("%6s", status)),
		clean(method, false), duration(r.DurationNS), size(r.ResponseSize), clean(end, false),
	))
}

func (p *printer) line(s string) error {
	_, err := fmt.Fprintln(p.std.Out, s)
	if err != nil && closedPipe(err) {
		return ErrQuiet
	}
	return err
}

// color marks a status as the viewer does; the number says it too.
func (p *printer) color(status int32, s string) string {
	if !p.std.Color {
		return s
	}
	switch {
	case status == 0 || status >= 500:
		return "\x1b[31m" + s + "\x1b[0m"
	case status >= 400:
		return "\x1b[33m" + s + "\x1b[0m"
	case status >= 300:
		return "\x1b[34m" + s + "\x1b[0m"
	}
	return "\x1b[32m" + s + "\x1b[0m"
}

func show(ctx context.Context, std IO, api *client.Client, c showCommand) error {
	pair, err := api.Pair(ctx, c.ID)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(std.Out, pair)
	}
	var b bytes.Buffer
	p := newPrinter(IO{Out: &b, Color: std.Color}, "table")
	if err := p.row(pair.Row); err != nil {
		return err
	}
	t := pair.Timing
	fmt.Fprintf(&b, "\n%s → %s, connection %d, number %d, captured by %s\n", clean(pair.Client, false), clean(pair.Server, false), pair.Conn, pair.Seq, clean(pair.Pod, false))
	fmt.Fprintf(&b, "request %s, waited %s, response %s\n", between(t.RequestFirst, t.RequestLast), between(t.RequestLast, t.ResponseFirst), between(t.ResponseFirst, t.ResponseLast))
	for _, r := range pair.Redactions {
		fmt.Fprintf(&b, "redacted by %s: %s, %s, %d times\n", clean(r.Rule, false), clean(r.Location, false), clean(r.Type, false), r.Count)
	}
	if err := message(ctx, &b, api, pair, client.Request, pair.Request); err != nil {
		return err
	}
	if err := message(ctx, &b, api, pair, client.Response, pair.Response); err != nil {
		return err
	}
	if _, err = std.Out.Write(b.Bytes()); err != nil && closedPipe(err) {
		return ErrQuiet
	}
	return err
}

// message writes one side of a pair: header block, then the body as text.
func message(ctx context.Context, w io.Writer, api *client.Client, pair *client.Pair, side client.Side, m *client.Message) error {
	if m == nil {
		fmt.Fprintf(w, "\n── no %s ──\n", side)
		return nil
	}
	fmt.Fprintf(w, "\n── %s ──\n%s\n", side, clean(m.StartLine, false))
	for _, h := range m.Headers {
		fmt.Fprintf(w, "%s: %s\n", clean(h.Name(), false), clean(h.Value(), false))
	}
	if m.BodySize > 0 {
		body := []byte(m.Body)
		if m.BodyEncoding != "text" || m.ContentEncoding != "" {
			var err error
			if body, err = api.Body(ctx, pair.ID, side, true); err != nil {
				if _, ok := errors.AsType[*client.Problem](err); !ok {
					return err
				}
				body = nil // its coding cannot be undone
			}
		}
		switch {
		case len(body) == 0 && m.Truncated:
			fmt.Fprintf(w, "\n(%d bytes; none were kept)\n", m.BodySize)
		case len(body) > 0 && utf8.Valid(body) && bytes.IndexByte(body, 0) < 0:
			fmt.Fprintf(w, "\n%s\n", strings.TrimSuffix(clean(string(body), true), "\n"))
		default:
			fmt.Fprintf(w, "\n(%d bytes that are not text)\n", m.BodySize)
		}
		if m.Truncated {
			fmt.Fprintf(w, "(cut: the whole body has %d bytes)\n", m.BodySize)
		}
	}
	for _, h := range m.Trailers {
		fmt.Fprintf(w, "%s: %s (trailer)\n", clean(h.Name(), false), clean(h.Value(), false))
	}
	return nil
}

// clean makes captured text safe for a terminal: what is not printable, such
// as escape sequences and characters that change the direction of writing, is
// shown as an escape. Line ends and tabs stay where lines says so.
func clean(s string, lines bool) string {
	safe := func(r rune) bool {
		return r == ' ' || unicode.IsPrint(r) && r != utf8.RuneError || lines && (r == '\n' || r == '\t')
	}
	if strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case safe(r):
			b.WriteRune(r)
		case r == '\r' && lines && strings.HasPrefix(s[i+1:], "\n"):
		case r == utf8.RuneError:
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u{%x}`, r)
		}
	}
	return b.String()
}

// writeJSON writes one line. What a terminal could act on is written as
// escapes, which mean the same to a program.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if _, err := io.WriteString(w, escapeJSON(b.String())); err != nil {
		if closedPipe(err) {
			return ErrQuiet
		}
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

// escapeJSON writes as escapes what a terminal could act on.
func escapeJSON(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r == '\n' || r == ' ' || unicode.IsPrint(r) {
			out.WriteRune(r)
		} else if r > 0xffff {
			// JSON escapes are of UTF-16.
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		} else {
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	return out.String()
}

// jsonForTerminal is escapeJSON for a stream, which may be cut anywhere.
type jsonForTerminal struct {
	w    io.Writer
	rest []byte // the beginning of a character
}

func (j *jsonForTerminal) Write(b []byte) (int, error) {
	text := append(j.rest, b...)
	end := len(text)
	for i := 1; i < utf8.UTFMax && i <= end; i++ {
		if utf8.RuneStart(text[end-i]) {
			if !utf8.FullRune(text[end-i:]) {
				end -= i
			}
			break
		}
	}
	j.rest = append([]byte(nil), text[end:]...)
	if _, err := io.WriteString(j.w, escapeJSON(string(text[:end]))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// duration in the unit that reads best.
func duration(ns *int64) string {
	if ns == nil {
		return "-"
	}
	switch d := time.Duration(*ns); {
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d)
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d < time.Minute:
		return fmt.Sprintf("%.2f s", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

func between(from, to *time.Time) string {
	if from == nil || to == nil {
		return "-"
	}
	ns := max(0, to.Sub(*from).Nanoseconds())
	return duration(&ns)
}

// size in the unit that reads best.
func size(n uint64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	}
}
