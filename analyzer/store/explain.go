package store

import (
	"fmt"
	"strings"

	"github.com/weir-capture/weir/query"
)

// Answer is how far an index of metadata answers a term of a query.
type Answer int

const (
	// AnswerFrames: headers or bodies have to be looked at, which are in the
	// frames of the log.
	AnswerFrames Answer = iota
	// AnswerRows: rows have what it takes, but each is to be looked at.
	AnswerRows
	// AnswerRoughly: as AnswerRows, but the index leaves out most of those that
	// do not fit.
	AnswerRoughly
	// AnswerExactly: the index decides.
	AnswerExactly
)

// AnswerOf is what an index has to say to a leaf of a query.
func AnswerOf(leaf query.Node) Answer {
	t, ok := leaf.(query.Term)
	if !ok {
		return AnswerFrames
	}
	switch t.Field {
	case query.FieldHeader, query.FieldRequestHeader, query.FieldResponseHeader,
		query.FieldBody, query.FieldRequestBody, query.FieldResponseBody, query.FieldJSON:
		return AnswerFrames
	case query.FieldTag:
		return AnswerRoughly
	case query.FieldFlag, query.FieldDirection:
		return AnswerExactly // of few values, expressions too
	}
	answer := AnswerExactly
	for _, v := range t.Values {
		switch v.Op {
		case query.OpRegex:
			return AnswerRows
		case query.OpWord:
			answer = AnswerRoughly
		}
	}
	return answer
}

// Explanation says how a query is answered.
type Explanation struct {
	// Query is its canonical form.
	Query string
	// Steps are in the order in which they are taken.
	Steps []ExplainStep
	// Scans: frames of the log are opened, so that a budget holds and answers
	// may be partial.
	Scans bool
}

// ExplainStep is one step of an answer.
type ExplainStep struct {
	// By is who takes it: "index", "rows", "words" or "frames".
	By string
	// Part is of the query, in its canonical form; of words it is what is
	// looked for.
	Part string
	// Text says for people what is done.
	Text string
}

func (e *Explanation) String() string {
	query, width := e.Query, 0
	if query == "" {
		query = "(everything)"
	}
	for _, s := range e.Steps {
		width = max(width, len([]rune(s.Part)))
	}
	width = min(width, 40)
	var b strings.Builder
	b.WriteString(query + "\n")
	for i, s := range e.Steps {
		fmt.Fprintf(&b, "%d. %-6s  %-*s  %s\n", i+1, s.By, width, s.Part, s.Text)
	}
	return b.String()
}

// Explain says how a store of a log and an index beside it answers q, which may
// be nil.
func Explain(q *query.Query) *Explanation {
	if q == nil || q.Root == nil {
		q = query.All()
	}
	e := &Explanation{Query: q.String()}
	add := func(by, part, text string) { e.Steps = append(e.Steps, ExplainStep{By: by, Part: part, Text: text}) }
	part, exact := q.Split(func(n query.Node) bool { return AnswerOf(n) == AnswerExactly })
	if exact {
		add("index", e.Query, "decided by the index alone; no frame is opened")
		return e
	}
	var roughly, rows, frames []query.Node
	leaves(q.Root, func(n query.Node) {
		switch AnswerOf(n) {
		case AnswerRoughly:
			roughly = append(roughly, n)
		case AnswerRows:
			rows = append(rows, n)
		case AnswerFrames:
			frames = append(frames, n)
		}
	})
	if a, ok := part.(query.And); !ok || len(a.Nodes) > 0 {
		add("index", part.String(), "leaves out what does not fit, by time from the newest on")
	} else {
		add("index", "", "gives everything in the time asked for, from the newest on")
	}
	if len(roughly) > 0 {
		add("rows", list(roughly), "the index leaves out most of what does not fit; each row that is left is looked at")
	}
	if len(rows) > 0 {
		add("rows", list(rows), "each row is looked at")
	}
	if len(frames) == 0 {
		return e
	}
	e.Scans = true
	if need := q.Needs(); need != nil {
		if words := needed(need); words != "" {
			add("words", words, "frames without these words are passed over")
		}
	}
	add("frames", list(frames), "frames that are left are opened and looked at, newest first, within the scan budget")
	return e
}

// leaves calls f with the leaves of a query.
func leaves(n query.Node, f func(query.Node)) {
	switch n := n.(type) {
	case query.And:
		for _, c := range n.Nodes {
			leaves(c, f)
		}
	case query.Or:
		for _, c := range n.Nodes {
			leaves(c, f)
		}
	case query.Not:
		leaves(n.Node, f)
	default:
		f(n)
	}
}

// list writes leaves one after another, each once.
func list(nodes []query.Node) string {
	var parts []string
	seen := map[string]bool{}
	for _, n := range nodes {
		if s := n.String(); !seen[s] {
			seen[s] = true
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ", ")
}

// needed writes the words of what is needed; empty where that has none.
func needed(n *query.Need) string {
	group := func(nodes []*query.Need, sep string, all bool) string {
		var parts []string
		for _, c := range nodes {
			s := needed(c)
			if s == "" && !all {
				return "" // one that needs no words is enough
			}
			if s != "" {
				parts = append(parts, s)
			}
		}
		if len(parts) > 1 && !all {
			return "(" + strings.Join(parts, sep) + ")"
		}
		return strings.Join(parts, sep)
	}
	switch {
	case n.All != nil:
		return group(n.All, " ", true)
	case n.Any != nil:
		return group(n.Any, " OR ", false)
	}
	return strings.Join(n.Words, " ")
}
