package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

type (
	facetsInput struct {
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
		Fields string `query:"fields"`
		Limit  string `query:"limit"`
	}
	linesInput struct {
		Q     string `query:"q"`
		From  string `query:"from"`
		To    string `query:"to"`
		Limit string `query:"limit"`
	}
	valuesInput struct {
		Name   string `path:"name"`
		Prefix string `query:"prefix"`
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
		Limit  string `query:"limit"`
	}
)

// defaultFacets are the fields that people look at first.
var defaultFacets = []string{"app", "method", "status", "host", "endpoint", "protocol", "flag", "error"}

// sums mounts the statistics that the store adds up.
func (s *Server) sums(api huma.API) {
	select_ := []*huma.Param{
		queryParam("What to count; empty for everything."),
		timeParam("from", "Where to begin, included."), timeParam("to", "Where to end, excluded."),
	}
	problems := []int{http.StatusBadRequest, http.StatusNotImplemented, http.StatusServiceUnavailable}
	huma.Register(api, operation(
		api, "get-facets", "/api/v1/stats/facets", "Top values of fields with counts", "",
		slices.Concat(select_, []*huma.Param{
			param("query", "fields", "Which fields, separated by commas: "+strings.Join(store.FacetFields(), ", ")+".", huma.TypeString, func(s *huma.Schema) {
				s.Default = strings.Join(defaultFacets, ",")
			}),
			countParam("limit", "Values of each field.", httpv1.DefaultFacetValues, httpv1.MaxFacetValues),
		}), problems...,
	), s.facets)
	huma.Register(api, operation(
		api, "get-endpoints", "/api/v1/stats/endpoints", "Rate, errors and latency per endpoint",
		"One line for each app, host, method and endpoint.",
		append(slices.Clone(select_), countParam("limit", "Lines.", httpv1.DefaultLines, httpv1.MaxLines)), problems...,
	), s.endpoints)
	huma.Register(api, operation(
		api, "get-map", "/api/v1/stats/map", "Who calls whom", "",
		append(slices.Clone(select_), countParam("limit", "Edges.", httpv1.DefaultLines, httpv1.MaxLines)), problems...,
	), s.edges)
	huma.Register(api, operation(
		api, "list-values", "/api/v1/fields/{name}/values", "Values of a field, for completion", "",
		append([]*huma.Param{
			param("path", "name", "The field, one of those of facets, or one with a fixed set of values.", huma.TypeString),
			param("query", "prefix", "How the values begin, whatever the case of ASCII letters.", huma.TypeString, func(s *huma.Schema) {
				most := httpv1.MaxPrefixLen
				s.MaxLength = &most
			}),
			countParam("limit", "Values.", httpv1.DefaultFacetValues, httpv1.MaxFacetValues),
		}, select_...), append(problems, http.StatusNotFound)...,
	), s.values)
	huma.Register(api, operation(
		api, "explain-query", "/api/v1/explain", "How a query is answered",
		"What the index decides and what has to be looked for in stored frames, without looking.",
		[]*huma.Param{queryParam("The query; empty for everything.")}, http.StatusBadRequest,
	), func(ctx context.Context, in *queryInput) (*output[httpv1.Explain], error) {
		q, err := parseQuery(in.Q)
		if err != nil {
			return nil, s.fail(ctx, err)
		}
		return &output[httpv1.Explain]{explain(q)}, nil
	})
}

// summer is the store's side of statistics. An engine may lack it.
func (s *Server) summer(path string) (store.Stats, error) {
	st, ok := s.deps.Store.(store.Stats)
	if !ok {
		return nil, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "GET "+path+" is not supported by this store.")
	}
	return st, nil
}

// selection reads what all statistics are asked with.
func (s *Server) selection(ctx context.Context, q, from, to string) (store.Selection, error) {
	_, narrowed, err := s.ask(ctx, q)
	if err != nil {
		return store.Selection{}, err
	}
	sel := store.Selection{Query: narrowed}
	sel.From, sel.To, err = parseRange(from, to, s.cfg.Now())
	return sel, err
}

func (s *Server) facets(ctx context.Context, in *facetsInput) (*output[httpv1.Facets], error) {
	st, err := s.summer("/api/v1/stats/facets")
	if err != nil {
		return nil, err
	}
	ask := store.Facets{Fields: defaultFacets}
	if ask.Selection, err = s.selection(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	if in.Fields != "" {
		if ask.Fields, err = parseFacetFields(in.Fields); err != nil {
			return nil, err
		}
	}
	if ask.Limit, err = parseCount("limit", in.Limit, httpv1.DefaultFacetValues, httpv1.MaxFacetValues); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	c, err := st.Facets(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Facets{Facets: []httpv1.Facet{}, Pairs: c.Pairs, Estimated: c.Estimated, Sampled: c.Estimated > c.Pairs}
	out.Partial, out.PartialReason = partial(c.Partial)
	for _, f := range c.Facets {
		out.Facets = append(out.Facets, httpv1.Facet{Field: f.Field, Values: facetValues(f.Values), Others: f.Others, Absent: f.Absent, Distinct: f.Distinct})
	}
	return &output[httpv1.Facets]{out}, nil
}

func parseFacetFields(v string) ([]string, error) {
	names := strings.Split(v, ",")
	if len(names) > httpv1.MaxFacetFields {
		return nil, badParam("fields has %d names; want at most %d.", len(names), httpv1.MaxFacetFields)
	}
	for i, name := range names {
		if !slices.Contains(store.FacetFields(), name) {
			return nil, badParam("fields has %s, whose values cannot be counted; want some of %s.", shown(name), strings.Join(store.FacetFields(), ", "))
		}
		if slices.Contains(names[:i], name) {
			return nil, badParam("fields has %s twice.", shown(name))
		}
	}
	return names, nil
}

func facetValues(values []store.FacetValue) []httpv1.FacetValue {
	out := make([]httpv1.FacetValue, 0, len(values))
	for _, v := range values {
		out = append(out, httpv1.FacetValue{Value: text(v.Value), Pairs: v.Pairs, Estimated: v.Estimated})
	}
	return out
}

func partial(p *store.PartialError) (bool, string) {
	if p == nil {
		return false, ""
	}
	return true, p.Reason
}

func (s *Server) endpoints(ctx context.Context, in *linesInput) (*output[httpv1.Endpoints], error) {
	st, err := s.summer("/api/v1/stats/endpoints")
	if err != nil {
		return nil, err
	}
	var ask store.Endpoints
	if ask.Selection, err = s.selection(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	if ask.Limit, err = parseCount("limit", in.Limit, httpv1.DefaultLines, httpv1.MaxLines); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	l, err := st.Endpoints(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Endpoints{
		From: nanoOrNil(ask.From), To: nanoOrNil(ask.To), Endpoints: []httpv1.Endpoint{}, Exact: l.Exact, More: l.More,
	}
	out.Partial, out.PartialReason = partial(l.Partial)
	for _, e := range l.Endpoints {
		out.Sampled = out.Sampled || e.Estimated > e.Pairs
		out.Endpoints = append(out.Endpoints, httpv1.Endpoint{
			App: text(e.App), Host: text(e.Host), Method: text(e.Method), Endpoint: text(e.Endpoint),
			Pairs: e.Pairs, Estimated: e.Estimated, Errors: e.Errors,
			P50NS: unlessAbsent(e.P50), P95NS: unlessAbsent(e.P95), P99NS: unlessAbsent(e.P99), MaxNS: unlessAbsent(e.Max),
			RequestBytes: e.RequestBytes, ResponseBytes: e.ResponseBytes,
			First: nanoOrNil(e.First), Last: nanoOrNil(e.Last), Classes: classes(e.StatusClasses),
		})
	}
	return &output[httpv1.Endpoints]{out}, nil
}

// unlessAbsent is null for a duration that no pair has.
func unlessAbsent(ns int64) *int64 {
	if ns < 0 {
		return nil
	}
	return &ns
}

func (s *Server) edges(ctx context.Context, in *linesInput) (*output[httpv1.Map], error) {
	st, err := s.summer("/api/v1/stats/map")
	if err != nil {
		return nil, err
	}
	var ask store.Edges
	if ask.Selection, err = s.selection(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	if ask.Limit, err = parseCount("limit", in.Limit, httpv1.DefaultLines, httpv1.MaxLines); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	l, err := st.Edges(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Map{From: nanoOrNil(ask.From), To: nanoOrNil(ask.To), Edges: []httpv1.Edge{}, More: l.More}
	out.Partial, out.PartialReason = partial(l.Partial)
	for _, e := range l.Edges {
		out.Sampled = out.Sampled || e.Estimated > e.Pairs
		out.Edges = append(out.Edges, httpv1.Edge{
			Caller: text(e.From), Callee: text(e.To), Protocol: text(e.Protocol), Pairs: e.Pairs, Estimated: e.Estimated, Errors: e.Errors,
			P50NS: unlessAbsent(e.P50), P95NS: unlessAbsent(e.P95), Last: nanoOrNil(e.Last),
		})
	}
	return &output[httpv1.Map]{out}, nil
}

// values are for completion: those that are stored, or those that there can
// be.
func (s *Server) values(ctx context.Context, in *valuesInput) (*output[httpv1.Values], error) {
	info, known := query.Lookup(query.Field(in.Name))
	if !known {
		return nil, problem(http.StatusNotFound, httpv1.ProblemNotFound, fmt.Sprintf("There is no field %s; GET /api/v1/fields lists all of them.", shown(in.Name)))
	}
	if len(in.Prefix) > httpv1.MaxPrefixLen {
		return nil, badParam("prefix has %d bytes; want at most %d.", len(in.Prefix), httpv1.MaxPrefixLen)
	}
	limit, err := parseCount("limit", in.Limit, httpv1.DefaultFacetValues, httpv1.MaxFacetValues)
	if err != nil {
		return nil, err
	}
	sel, err := s.selection(ctx, in.Q, in.From, in.To)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(store.FacetFields(), in.Name) {
		return nil, badParam("The values of %s are too many, or too dear, to be listed; there are those of %s.", info.Label(), strings.Join(store.FacetFields(), ", "))
	}
	st, err := s.summer("/api/v1/fields/" + in.Name + "/values")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	c, err := st.Facets(ctx, store.Facets{Selection: sel, Fields: []string{in.Name}, Limit: limit, Prefix: in.Prefix})
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Values{Field: in.Name, Values: []httpv1.FacetValue{}}
	out.Partial, out.PartialReason = partial(c.Partial)
	for _, f := range c.Facets {
		out.Values, out.More = facetValues(f.Values), f.Others > 0
	}
	// A state that nothing was in yet can be asked for all the same.
	for _, v := range info.Values {
		has := slices.ContainsFunc(out.Values, func(h httpv1.FacetValue) bool { return h.Value == v })
		if !has && !out.More && len(out.Values) < limit && strings.HasPrefix(v, strings.ToLower(in.Prefix)) {
			out.Values = append(out.Values, httpv1.FacetValue{Value: v})
		}
	}
	return &output[httpv1.Values]{out}, nil
}
