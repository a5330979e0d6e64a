package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

// sight is what a caller may see: which rows, and how much of each.
type sight struct {
	// content: bodies, values of headers and of queries, and searching in
	// them, which tells as much.
	content bool
	scope   control.Scope
	// none: nothing at all.
	none bool
}

// sightOf is a caller's. Whoever is not known sees nothing.
func sightOf(ctx context.Context) sight {
	who := caller(ctx)
	return sight{
		content: who.Role.AtLeast(control.RoleInvestigator),
		scope:   who.Scope,
		none:    !who.Role.AtLeast(control.RoleViewer),
	}
}

// bounds are the terms that every pair in sight fulfils.
func (g sight) bounds() []query.Node {
	if g.none {
		return []query.Node{query.Or{}}
	}
	var terms []query.Node
	for _, b := range []struct {
		field query.Field
		names []string
	}{{query.FieldApp, g.scope.Apps}, {query.FieldNamespace, g.scope.Namespaces}, {query.FieldCluster, g.scope.Clusters}} {
		if len(b.names) == 0 {
			continue
		}
		names := slices.Compact(slices.Sorted(slices.Values(b.names)))
		t := query.Term{Field: b.field, Values: make([]query.Value, len(names))}
		for i, n := range names {
			t.Values[i] = query.Value{Op: query.OpEqual, Text: n}
		}
		terms = append(terms, t)
	}
	return terms
}

// within is a query that finds only what is in sight; nil asks for all.
func (g sight) within(q *query.Query) *query.Query {
	bounds := g.bounds()
	if len(bounds) == 0 {
		return q
	}
	if g.none {
		return &query.Query{Root: query.Or{}}
	}
	if q != nil {
		if or, ok := q.Root.(query.Or); ok && len(or.Nodes) == 0 {
			return q // it finds nothing as it is
		}
		bounds = append(slices.Clone(terms(q.Root)), bounds...)
	}
	if len(bounds) == 1 {
		return &query.Query{Root: bounds[0]}
	}
	return &query.Query{Root: query.And{Nodes: bounds}}
}

// has reports whether a pair is in sight.
func (g sight) has(p *capturev1.RRPair) bool {
	bounds := g.bounds()
	return len(bounds) == 0 || (&query.Query{Root: query.And{Nodes: bounds}}).Matcher().Match(p)
}

// hasApp reports the same of an app.
func (g sight) hasApp(cluster, namespace, app string) bool {
	in := func(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	return !g.none && in(g.scope.Apps, app) && in(g.scope.Namespaces, namespace) && in(g.scope.Clusters, cluster)
}

// whole: nothing is out of sight but perhaps content.
func (g sight) whole() bool { return !g.none && g.scope.All() }

// contentFields are those whose values are content.
var contentFields = []query.Field{
	query.FieldHeader, query.FieldRequestHeader, query.FieldResponseHeader,
	query.FieldBody, query.FieldRequestBody, query.FieldResponseBody, query.FieldJSON, query.FieldQuery,
}

// searchesContent finds a part of a query that asks about content: who can
// search in it can read it, letter by letter.
func searchesContent(n query.Node) (part query.Node, ok bool) {
	var nodes []query.Node
	switch n := n.(type) {
	case query.And:
		nodes = n.Nodes
	case query.Or:
		nodes = n.Nodes
	case query.Not:
		nodes = []query.Node{n.Node}
	case query.Text:
		return n, true
	case query.Term:
		return n, slices.Contains(contentFields, n.Field)
	}
	for _, c := range nodes {
		if part, ok := searchesContent(c); ok {
			return part, true
		}
	}
	return nil, false
}

// ask reads a query and narrows it to what the caller may see. asked is the
// query as it was written; both may be nil, which selects everything.
func (s *Server) ask(ctx context.Context, q string) (asked, narrowed *query.Query, err error) {
	if asked, err = parseQuery(q); err != nil {
		return nil, nil, s.fail(ctx, err)
	}
	g := sightOf(ctx)
	if asked != nil && !g.content {
		if part, found := searchesContent(asked.Root); found {
			p := problem(http.StatusForbidden, httpv1.ProblemForbidden, fmt.Sprintf(
				"%s searches in what was captured, and that needs the role %s. The role %s asks for app, host, path, method, status, duration and the like.",
				shown(part.String()), control.RoleInvestigator, caller(ctx).Role))
			p.Role = string(control.RoleInvestigator)
			return nil, nil, p
		}
	}
	return asked, g.within(asked), nil
}

// row is a pair without its messages, as far as it may be seen.
func (g sight) row(st *store.Stored) httpv1.Row {
	r := row(st)
	if !g.content {
		r.Query = ""
	}
	return r
}

// pair is a pair with its messages, as far as they may be seen: without
// content there are the names of its headers, and how large its bodies are.
func (g sight) pair(st *store.Stored) httpv1.Pair {
	p := whole(st)
	if g.content {
		return p
	}
	p.Row = g.row(st)
	for _, m := range []*httpv1.Message{p.Request, p.Response} {
		if m == nil {
			continue
		}
		m.StartLine = withoutQuery(m.StartLine)
		for _, h := range [][]httpv1.Header{m.Headers, m.Trailers} {
			for i := range h {
				h[i][1] = ""
			}
		}
		// A hash tells what a body is to who can guess it.
		m.Body, m.BodyEncoding, m.BodyHash = "", "text", ""
	}
	return p
}

// withoutQuery cuts the query string out of a request line (RFC 9112, section
// 3).
func withoutQuery(line string) string {
	i := strings.IndexByte(line, '?')
	if i < 0 {
		return line
	}
	rest := ""
	if end := strings.LastIndexByte(line[i:], ' '); end >= 0 {
		rest = line[i+end:]
	}
	return line[:i] + rest
}

// forwarders are those in sight, without what they say of others' apps.
func (g sight) forwarders(known []Forwarder) []Forwarder {
	if g.whole() {
		return known
	}
	var out []Forwarder
	for _, f := range known {
		if g.none || len(g.scope.Clusters) > 0 && !slices.Contains(g.scope.Clusters, f.Status.GetCluster()) {
			continue
		}
		st := &capturev1.ForwarderStatus{
			ForwarderId: f.Status.GetForwarderId(), Cluster: f.Status.GetCluster(), Version: f.Status.GetVersion(),
			Now: f.Status.GetNow(), Started: f.Status.GetStarted(),
			ProxiesUnauthenticated: f.Status.GetProxiesUnauthenticated(),
			DlpConfig:              f.Status.GetDlpConfig(), FilterRule: f.Status.GetFilterRule(), FilterRules: f.Status.GetFilterRules(),
		}
		for _, p := range f.Status.GetProxies() {
			src := p.GetSource()
			cluster := src.GetCluster()
			if cluster == "" {
				cluster = f.Status.GetCluster()
			}
			if g.hasApp(cluster, src.GetNamespace(), src.GetApp()) {
				st.Proxies = append(st.Proxies, p)
			}
		}
		out = append(out, Forwarder{Status: st, LastSeen: f.LastSeen, Connected: f.Connected})
	}
	return out
}

// report is the part of a ledger's report that is in sight; its sums are those
// of the apps that are.
func (g sight) report(r ledger.Report) ledger.Report {
	if g.whole() {
		return r
	}
	has := func(a ledger.App) bool { return g.hasApp(a.Cluster, a.Namespace, a.App) }
	r.Apps = slices.DeleteFunc(r.Apps, func(a ledger.AppCounts) bool { return !has(a.App) })
	r.Steps = slices.DeleteFunc(r.Steps, func(s ledger.Step) bool { return !has(s.App) })
	r.Gaps = slices.DeleteFunc(r.Gaps, func(x ledger.Gap) bool { return !has(x.App) })
	r.Deaths = slices.DeleteFunc(r.Deaths, func(d ledger.Death) bool { return !has(d.App) })
	// What does not hold is told of each app, and of the whole only to those
	// who see it.
	r.Reasons, r.Processes, r.Folded = nil, 0, 0
	r.Total = ledger.Counts{}
	for _, a := range r.Apps {
		r.Total.Add(a.Counts)
		if !a.Holds() {
			r.Reasons = append(r.Reasons, "app "+a.App.App+": the sum does not hold")
		}
	}
	r.Open = min(r.Open, r.Total.InFlight)
	return r
}

// processes are the proxies in sight.
func (g sight) processes(all []ledger.Process) []ledger.Process {
	if g.whole() {
		return all
	}
	return slices.DeleteFunc(all, func(p ledger.Process) bool { return !g.hasApp(p.Cluster, p.Namespace, p.App.App) })
}
