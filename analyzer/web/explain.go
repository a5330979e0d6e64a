package web

import (
	"strings"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

// explain says how a query is answered; nil selects all.
func explain(q *query.Query) httpv1.Explain {
	e := store.Explain(q)
	out := httpv1.Explain{Canonical: e.Query, Scans: e.Scans, Steps: make([]httpv1.ExplainStep, 0, len(e.Steps))}
	for _, s := range e.Steps {
		out.Steps = append(out.Steps, httpv1.ExplainStep{By: s.By, Part: s.Part, Text: s.Text})
	}
	return out
}

// sentence is an error's text as people write.
func sentence(err error) string {
	s := strings.TrimSuffix(err.Error(), ".")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
