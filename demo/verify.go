package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-capture/weir/client"
)

// Report compares what was sent with what was stored.
type Report struct {
	Lines []Line
	Line  // of all kinds together
	// Problems says what is wrong, at most maxProblems of them.
	Problems []string
}

// Line counts the requests of one kind.
type Line struct {
	Kind   Kind
	Made   int
	Stored int // exactly once
	Equal  int // of those stored once: nothing differs
}

// OK: everything is stored exactly once and equal, and every kind was made.
func (r *Report) OK() bool {
	for _, l := range r.Lines {
		if l.Made == 0 {
			return false
		}
	}
	return r.Made > 0 && r.Stored == r.Made && r.Equal == r.Made && len(r.Problems) == 0
}

const maxProblems = 20

func (r *Report) problem(format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Write prints the report as people read it; the last line says it all.
func (r *Report) Write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "kind\tmade\tstored once\tbodies equal\t")
	for _, l := range r.Lines {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t\n", l.Kind, l.Made, l.Stored, l.Equal)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print report: %w", err)
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, "✕", p)
	}
	equal := "bodies equal"
	if r.Equal != r.Made {
		equal = fmt.Sprintf("bodies of %d equal", r.Equal)
	}
	_, err := fmt.Fprintf(w, "%d requests made, %d stored once, %s\n", r.Made, r.Stored, equal)
	return err
}

// Verify waits until the analyzer has every request of sent, as far as ctx
// allows, and compares each with what the customer saw. query selects the
// demo's pairs, since is before the first of them. When all are there it
// looks once more after settle, for doubles.
func Verify(ctx context.Context, api *client.Client, query string, since time.Time, sent []Sent, settle time.Duration) (*Report, error) {
	wanted := map[string]bool{}
	for _, s := range sent {
		wanted[s.ID] = true
	}
	pairs := map[string]*client.Pair{} // by pair id
	byRequest := map[string][]string{} // pair ids
	look := func() error {
		for row, err := range api.Pairs(ctx, client.List{Query: query, From: since.Format(time.RFC3339Nano), PageSize: 500}) {
			if err != nil {
				return err
			}
			if pairs[row.ID] != nil {
				continue
			}
			p, err := api.Pair(ctx, row.ID)
			if err != nil {
				return err
			}
			pairs[row.ID] = p
			if id := header(p.Request, IDHeader); wanted[id] {
				byRequest[id] = append(byRequest[id], row.ID)
			}
		}
		return nil
	}
	for {
		if err := look(); err != nil {
			if ctx.Err() != nil {
				break // the report says what is missing
			}
			return nil, fmt.Errorf("read stored pairs: %w", err)
		}
		if len(byRequest) == len(wanted) {
			if sleep(ctx, settle) {
				if err := look(); err != nil {
					return nil, fmt.Errorf("read stored pairs: %w", err)
				}
			}
			break
		}
		if !sleep(ctx, 100*time.Millisecond) {
			break
		}
	}

	r := &Report{Line: Line{Kind: "all"}}
	lines := map[Kind]*Line{}
	for _, m := range mix {
		r.Lines = append(r.Lines, Line{Kind: m.kind})
	}
	for i := range r.Lines {
		lines[r.Lines[i].Kind] = &r.Lines[i]
	}
	for _, s := range sent {
		l := lines[s.Kind]
		l.Made++
		r.Made++
		ids := byRequest[s.ID]
		switch {
		case s.Err != nil:
			r.problem("%s %s %s: no answer: %v", s.ID, s.Method, s.Path, s.Err)
		case len(ids) == 0:
			r.problem("%s %s %s: not stored", s.ID, s.Method, s.Path)
		case len(ids) > 1:
			r.problem("%s %s %s: stored %d times: %s", s.ID, s.Method, s.Path, len(ids), strings.Join(ids, " "))
		default:
			l.Stored++
			r.Stored++
			if wrong := compare(s, pairs[ids[0]]); len(wrong) > 0 {
				r.problem("%s %s %s, pair %s: %s", s.ID, s.Method, s.Path, ids[0], strings.Join(wrong, "; "))
				continue
			}
			l.Equal++
			r.Equal++
		}
	}
	return r, nil
}

// compare lists what differs between what the customer saw and what is
// stored.
func compare(s Sent, p *client.Pair) []string {
	var wrong []string
	differ := func(what string, got, want any) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %v, was %v", what, got, want))
		}
	}
	differ("method", p.Method, s.Method)
	differ("path", p.Path, s.Path)
	differ("query", p.Query, s.Query)
	differ("status", int(p.Status), s.Status)
	// With redaction on, the card is not kept, nor the hash of what it was in.
	redacted := s.Card != "" && slices.Equal(p.Flags, []string{"redacted"})
	if redacted {
		differ("size of request body", p.Request.BodySize, s.RequestBody.Size)
		differ("hash of request body", p.Request.BodyHash, "")
	} else {
		differ("request body", Sum{p.Request.BodySize, p.Request.BodyHash}, s.RequestBody)
	}
	if p.Response == nil {
		return append(wrong, "there is no response")
	}
	differ("response's "+IDHeader, header(p.Response, IDHeader), s.ID)
	kept, err := bodyOf(p.Response)
	if err != nil {
		return append(wrong, err.Error())
	}
	if s.Kind == Aborted {
		// The customer saw only the beginning, and the pair says that it is
		// not whole.
		if !bytes.HasPrefix(kept, s.Prefix) {
			wrong = append(wrong, "response body does not begin with what was received")
		}
		if !slices.Contains(p.Flags, "incomplete") {
			wrong = append(wrong, "is not flagged incomplete")
		}
		return wrong
	}
	differ("response body", Sum{p.Response.BodySize, p.Response.BodyHash}, s.ResponseBody)
	if s.Kind == Large {
		if !p.Response.Truncated || !slices.Contains(p.Flags, "truncated") || uint64(len(kept)) >= p.Response.BodySize {
			wrong = append(wrong, "is not marked truncated")
		}
		return wrong
	}
	if len(p.Flags) > 0 && !redacted {
		wrong = append(wrong, "has flags "+strings.Join(p.Flags, " "))
	}
	differ("kept response body", sum(kept), s.ResponseBody)
	if kept, err = bodyOf(p.Request); err != nil {
		return append(wrong, err.Error())
	}
	if redacted {
		// But for the card it is as it was.
		kept = cardToken.ReplaceAll(kept, []byte(s.Card))
	}
	differ("kept request body", sum(kept), s.RequestBody)
	return wrong
}

// cardToken is what redaction leaves of a card.
var cardToken = regexp.MustCompile(`REDACTED-CARD-[a-z0-9]{12}`)

// bodyOf is the kept body as bytes.
func bodyOf(m *client.Message) ([]byte, error) {
	if m.BodyEncoding == "text" {
		return []byte(m.Body), nil
	}
	b, err := base64.StdEncoding.DecodeString(m.Body)
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	return b, nil
}

// header is the first value of a field of a message, which may be nil.
func header(m *client.Message, name string) string {
	if m == nil {
		return ""
	}
	for _, h := range m.Headers {
		if strings.EqualFold(h.Name(), name) {
			return h.Value()
		}
	}
	return ""
}
