package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/internal/bodycodec"
	"github.com/weir-capture/weir/internal/errtext"
	"github.com/weir-capture/weir/internal/httphead"
	"github.com/weir-capture/weir/query"
)

// Bounds of one answer about errors.
const (
	// errorLines bounds what the store tells apart.
	errorLines = 500
	// errorSteps is how finely a group's counts are told over time.
	errorSteps = 40
	// errorBodies bounds the bodies that are looked into, errorBodiesEach those
	// of one line.
	errorBodies     = 500
	errorBodiesEach = 20
	// errorBodySize bounds what is decoded of each: what it says stands near
	// its beginning.
	errorBodySize = 64 << 10
)

// Kinds of an httpv1.ErrorGroup.
const (
	kindError  = "error"
	kindBody   = "body"
	kindStatus = "status"
)

func (s *Server) errors(ctx context.Context, in *errorsInput) (*output[httpv1.Errors], error) {
	st, err := s.summer(errorsPath)
	if err != nil {
		return nil, err
	}
	asked, _, err := s.ask(ctx, in.Q)
	if err != nil {
		return nil, err
	}
	ask := store.Errors{Limit: errorLines, Steps: errorSteps}
	if ask.Selection, err = s.spanned(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	limit, err := parseCount("limit", in.Limit, httpv1.DefaultErrorGroups, httpv1.MaxErrorGroups)
	if err != nil {
		return nil, err
	}
	if ask.ClientErrors, err = parseBool("client_errors", in.ClientErrors); err != nil {
		return nil, err
	}
	content := sightOf(ctx).content
	if ask.Newest = 1; content {
		ask.Newest, ask.Whole = errorBodiesEach, errorBodies
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	list, err := st.Errors(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	lines := make([]errorLine, len(list.Lines))
	for i := range list.Lines {
		lines[i].ErrorLine = &list.Lines[i]
		lines[i].listen()
	}
	out := httpv1.Errors{
		From: nano(list.From), To: nano(list.To), StepNS: list.Step, Groups: []httpv1.ErrorGroup{}, Content: content,
		More: list.More || list.Partial != nil,
	}
	out.Partial, out.PartialReason = partial(list.Partial)
	groups := groupErrors(lines, content, asked, list)
	for i := range lines {
		out.Sampled = out.Sampled || lines[i].Estimated > lines[i].Pairs
		if lines[i].answered() {
			out.ReadOf += lines[i].Pairs
			out.Read += uint64(len(lines[i].read))
		}
	}
	if note(ctx, "", fmt.Sprintf("what %d failed answers say", out.Read)); out.Read == 0 {
		quiet(ctx) // nothing of what was captured was read
	}
	if list.More && !out.Partial {
		out.Partial, out.PartialReason = true, fmt.Sprintf("there are more than %d endpoints, statuses and errors; the most frequent are here", errorLines)
	}
	if content && out.Read < out.ReadOf && !out.Partial {
		out.Partial, out.PartialReason = true, fmt.Sprintf("the newest %d of %d bodies were looked into", out.Read, out.ReadOf)
	}
	if len(groups) > limit {
		groups, out.More = groups[:limit], true
	}
	out.Groups = append(out.Groups, groups...)
	return &output[httpv1.Errors]{out}, nil
}

// errorLine is a line of the store, and what its newest pairs say.
type errorLine struct {
	*store.ErrorLine
	read []errorRead
}

// errorRead is what one pair says.
type errorRead struct {
	id               store.ID
	at               int64
	template, phrase string
}

// answered: there is a response, which may say more than its status.
func (l *errorLine) answered() bool { return l.Error == "" }

// listen reads what the pairs of a line say.
func (l *errorLine) listen() {
	for _, st := range l.Whole {
		r := errorRead{id: store.ID(st.Pair.GetId()), at: store.Time(st.Pair)}
		r.template, r.phrase = saidBy(st)
		l.read = append(l.read, r)
	}
}

// saidBy is the template of what a response says beyond its status, and words of
// it that its body has as they are.
func saidBy(st *store.Stored) (template, phrase string) {
	m := st.Pair.GetResponse()
	// What could be decoded before an error may say it all.
	body, _ := bodycodec.Decode(codings(m), m.GetBody(), errorBodySize, 0)
	said := errtext.Said(body)
	if said == "" {
		start, _ := httphead.StartLine(m.GetHead())
		// RFC 9112, section 4: version, status and reason.
		if parts := bytes.SplitN(start, []byte(" "), 3); len(parts) == 3 && string(parts[2]) != http.StatusText(int(st.Pair.GetStatus())) {
			template, _ = errtext.Template(errtext.Said(parts[2]))
		}
		return template, ""
	}
	// Pages repeat their status, which the group has.
	said = strings.TrimSpace(strings.TrimPrefix(said, strconv.Itoa(int(st.Pair.GetStatus()))+" "))
	template, phrase = errtext.Template(said)
	if !bytes.Contains(body, []byte(phrase)) { // it is encoded there, or on several lines
		phrase = ""
	}
	return template, phrase
}

// groupErrors joins lines and what their pairs say into groups, the most
// frequent first.
func groupErrors(lines []errorLine, content bool, asked *query.Query, list *store.ErrorList) []httpv1.ErrorGroup {
	byKey := map[string]*httpv1.ErrorGroup{}
	phrases := map[string]string{}
	for i := range lines {
		l := &lines[i]
		for _, p := range l.parts(content) {
			key := p.key(l)
			g := byKey[key]
			if g == nil {
				g = &httpv1.ErrorGroup{
					Key: key, Template: p.template, App: text(l.App), Method: text(l.Method), Endpoint: text(l.Endpoint), Status: l.Status,
					Kind: p.kind, Exact: true, First: nano(p.first), Last: nano(p.last), Steps: make([]uint64, len(l.Steps)),
				}
				byKey[key], phrases[key] = g, p.phrase
			}
			if p.phrase != phrases[key] {
				phrases[key] = "" // of errors that differ there
			}
			g.Pairs += scaled(l.Pairs, p.n, p.of)
			g.Exact = g.Exact && p.exact
			g.Read += p.read
			if !nano(p.last).Before(g.Last) && p.example != (store.ID{}) {
				g.Example = query.FormatID(p.example[:])
			}
			if first := nano(p.first); first.Before(g.First) {
				g.First = first
			}
			if last := nano(p.last); last.After(g.Last) {
				g.Last = last
			}
			for i, n := range p.steps(l, list) {
				g.Steps[i] += n
			}
			g.Query = narrowed(asked, l.terms(p.kind, phrases[key])...).String()
		}
	}
	groups := make([]httpv1.ErrorGroup, 0, len(byKey))
	for _, g := range byKey {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b httpv1.ErrorGroup) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), b.Last.Compare(a.Last), cmp.Compare(a.Key, b.Key))
	})
	return groups
}

// errorPart is the part of a line that says one thing: n of the of that were
// looked into.
type errorPart struct {
	kind, template, phrase string
	n, of, read            uint64
	exact                  bool
	first, last            int64
	example                store.ID
	reads                  []int64
}

// key tells groups apart.
func (p *errorPart) key(l *errorLine) string {
	h := sha256.New()
	for _, part := range []string{p.kind, p.template, l.App, l.Method, l.Endpoint, strconv.Itoa(int(l.Status))} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// parts are those of a line.
func (l *errorLine) parts(content bool) []*errorPart {
	whole := &errorPart{n: l.Pairs, of: l.Pairs, exact: true, first: l.First, last: l.Last, kind: kindStatus, template: http.StatusText(int(l.Status))}
	if len(l.Newest) > 0 {
		whole.example = l.Newest[0]
	}
	if !l.answered() {
		whole.kind = kindError
		whole.template, whole.phrase = errtext.Template(text(l.Error))
		return []*errorPart{whole}
	}
	if len(l.read) == 0 {
		whole.exact = !content // without content there is nothing to be looked into
		return []*errorPart{whole}
	}
	var parts []*errorPart
	for _, r := range l.read { // the newest first
		i := slices.IndexFunc(parts, func(p *errorPart) bool { return p.template == r.template })
		if i < 0 {
			i = len(parts)
			parts = append(parts, &errorPart{
				kind: kindBody, template: r.template, phrase: r.phrase, of: uint64(len(l.read)),
				exact: uint64(len(l.read)) == l.Pairs, last: r.at, example: r.id,
			})
			if r.template == "" {
				parts[i].kind, parts[i].template = kindStatus, http.StatusText(int(l.Status))
			}
		}
		p := parts[i]
		p.n++
		p.read++
		p.first = r.at
		p.reads = append(p.reads, r.at)
		if p.phrase != r.phrase {
			p.phrase = ""
		}
	}
	if len(parts) == 1 {
		// All that were looked into say the same: its endpoint and status find
		// them, without a look into bodies.
		parts[0].first, parts[0].phrase = l.First, ""
	}
	return parts
}

// steps are the part's pairs over time.
func (p *errorPart) steps(l *errorLine, list *store.ErrorList) []uint64 {
	if p.n == p.of {
		return l.Steps
	}
	out := make([]uint64, len(l.Steps))
	if p.exact {
		for _, at := range p.reads {
			out[(at-list.From)/list.Step]++
		}
		return out
	}
	for i, n := range l.Steps {
		out[i] = uint64(math.Round(float64(n) * float64(p.n) / float64(p.of)))
	}
	return out
}

// terms tell the pairs of a line from others.
func (l *errorLine) terms(kind, phrase string) []query.Node {
	nodes := []query.Node{
		fieldTerm("app", l.App), fieldTerm("method", l.Method), fieldTerm("endpoint", l.Endpoint),
		fieldTerm("status", strconv.Itoa(int(l.Status))),
	}
	switch {
	case kind == kindError && phrase != "":
		nodes = append(nodes, fieldTerm("error", phrase))
	case kind == kindError:
		nodes = append(nodes, query.Term{Field: query.FieldError, Values: []query.Value{{Op: query.OpExists}}})
	case phrase != "":
		nodes = append(nodes, fieldTerm(string(query.FieldResponseBody), phrase))
	}
	return nodes
}
