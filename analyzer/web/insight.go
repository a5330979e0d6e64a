package web

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/store"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

type (
	errorsInput struct {
		Q            string `query:"q"`
		From         string `query:"from"`
		To           string `query:"to"`
		Limit        string `query:"limit"`
		ClientErrors string `query:"client_errors"`
	}
	heatmapInput struct {
		Q     string `query:"q"`
		From  string `query:"from"`
		To    string `query:"to"`
		Steps string `query:"steps"`
	}
	differenceInput struct {
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
		In     string `query:"in"`
		InFrom string `query:"in_from"`
		InTo   string `query:"in_to"`
		Limit  string `query:"limit"`
	}
)

const (
	errorsPath     = "/api/v1/stats/errors"
	heatmapPath    = "/api/v1/stats/heatmap"
	differencePath = "/api/v1/stats/difference"
)

// insight mounts what tells one thing from another.
func (s *Server) insight(api huma.API) {
	selection := []*huma.Param{
		queryParam("What to count; empty for everything."),
		timeParam("from", "Where to begin, included."), timeParam("to", "Where to end, excluded."),
	}
	problems := []int{http.StatusBadRequest, http.StatusNotImplemented, http.StatusServiceUnavailable}
	huma.Register(api, operation(
		api, "get-errors", errorsPath, "What failed, grouped by what it says",
		"Exchanges with a status 5xx, without a whole response, or, if asked for, with a status 4xx. Of each app, endpoint and status the newest bodies are looked into, by those who may read them; counts are the index's.",
		append(slices.Clone(selection),
			countParam("limit", "Groups.", httpv1.DefaultErrorGroups, httpv1.MaxErrorGroups),
			param("query", "client_errors", "1: status 4xx too.", huma.TypeBoolean)), problems...,
	), s.errors)
	huma.Register(api, operation(
		api, "get-heatmap", heatmapPath, "Count pairs by time and duration", "",
		append(slices.Clone(selection), countParam("steps", "At most so many columns.", httpv1.DefaultHeatmapSteps, httpv1.MaxHeatmapSteps)), problems...,
	), s.heatmap)
	inside := queryParam("Which of the pairs are inside; empty for all.")
	inside.Name = "in"
	inside.Schema.Examples = []any{"duration:>=500ms"}
	huma.Register(api, operation(
		api, "get-difference", differencePath, "What a part of the pairs has more often than the rest",
		"The part is what in selects of the pairs that match q, from in_from to in_to.",
		append(slices.Clone(selection), inside,
			timeParam("in_from", "Where the part begins, included."), timeParam("in_to", "Where the part ends, excluded."),
			countParam("limit", "Values of each field.", httpv1.DefaultDifferences, httpv1.MaxDifferences)), problems...,
	), s.difference)
}

func (s *Server) heatmap(ctx context.Context, in *heatmapInput) (*output[httpv1.Heatmap], error) {
	st, err := s.summer(heatmapPath)
	if err != nil {
		return nil, err
	}
	var ask store.Heatmap
	if ask.Selection, err = s.spanned(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	if ask.Steps, err = parseCount("steps", in.Steps, httpv1.DefaultHeatmapSteps, httpv1.MaxHeatmapSteps); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	h, err := st.Heatmap(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Heatmap{
		From: nano(h.From), To: nano(h.To), StepNS: h.Step, Bands: []httpv1.HeatmapBand{}, Columns: []httpv1.HeatmapColumn{},
		Pairs: h.Pairs, Absent: h.Absent, Sampled: h.Sampled,
	}
	out.Partial, out.PartialReason = partial(h.Partial)
	for _, b := range h.Bands {
		out.Bands = append(out.Bands, httpv1.HeatmapBand{FromNS: b.From, ToNS: b.To})
	}
	for i, counts := range h.Counts {
		if counts == nil {
			counts = []uint64{}
		}
		out.Columns = append(out.Columns, httpv1.HeatmapColumn{Time: nano(h.From + int64(i)*h.Step), Counts: counts})
	}
	return &output[httpv1.Heatmap]{out}, nil
}

// spanned is a selection that ends now where nothing else is said, so that what
// is counted over time shows also that nothing came lately.
func (s *Server) spanned(ctx context.Context, q, from, to string) (store.Selection, error) {
	sel, err := s.selection(ctx, q, from, to)
	if err != nil {
		return sel, err
	}
	if now := s.cfg.Now().UnixNano(); sel.To == 0 {
		if sel.From >= now {
			return sel, badParam("from=%s is not before now; give to as well to look at what a fast clock stamped.", shown(from))
		}
		sel.To = now
	}
	return sel, nil
}

func (s *Server) difference(ctx context.Context, in *differenceInput) (*output[httpv1.Difference], error) {
	st, err := s.summer(differencePath)
	if err != nil {
		return nil, err
	}
	var ask store.Difference
	if ask.Selection, err = s.selection(ctx, in.Q, in.From, in.To); err != nil {
		return nil, err
	}
	if ask.In, _, err = s.ask(ctx, in.In); err != nil {
		if p, ok := err.(*httpv1.Problem); ok && p.Type == httpv1.ProblemQuery {
			p.Detail = "in: " + p.Detail
		}
		return nil, err
	}
	now := s.cfg.Now()
	if ask.InFrom, err = parseTime("in_from", in.InFrom, now); err != nil {
		return nil, err
	}
	if ask.InTo, err = parseTime("in_to", in.InTo, now); err != nil {
		return nil, err
	}
	if ask.InFrom != 0 && ask.InTo != 0 && ask.InFrom >= ask.InTo {
		return nil, badParam("in_from=%s is not before in_to=%s; in_from is included and in_to is not.", shown(in.InFrom), shown(in.InTo))
	}
	if ask.Limit, err = parseCount("limit", in.Limit, httpv1.DefaultDifferences, httpv1.MaxDifferences); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.QueryTimeout)
	defer cancel()
	d, err := st.Difference(ctx, ask)
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	out := httpv1.Difference{Inside: d.Inside, Outside: d.Outside, Values: []httpv1.DifferenceValue{}}
	out.Partial, out.PartialReason = partial(d.Partial)
	for _, v := range d.Values {
		if !telling(&v, d.Inside, d.Outside) {
			continue
		}
		out.Values = append(out.Values, httpv1.DifferenceValue{
			Field: text(v.Field), Value: text(v.Value), Inside: v.Inside, Outside: v.Outside,
			InsideShare: float64(v.Inside) / float64(d.Inside), OutsideShare: float64(v.Outside) / float64(d.Outside),
			Query: fieldTerm(v.Field, v.Value).String(),
		})
	}
	return &output[httpv1.Difference]{out}, nil
}

// chance is how many standard errors a difference of shares has to be above 0:
// many values are looked at, and some differ by chance.
const chance = 3

// telling reports whether a value is more frequent inside than chance makes it.
func telling(v *store.DifferenceValue, inside, outside uint64) bool {
	if inside == 0 || outside == 0 {
		return false // there is nothing to compare
	}
	a, b := float64(inside), float64(outside)
	p := float64(v.Inside+v.Outside) / (a + b)
	return v.Score(inside, outside) > chance*math.Sqrt(p*(1-p)*(1/a+1/b))
}

// fieldTerm is a query for one value of a field of sums; an empty value is
// none.
func fieldTerm(field, value string) query.Node {
	t := query.Term{Field: query.Field(field)}
	key, tag := strings.CutPrefix(field, store.FieldTag+".")
	if tag {
		t.Field, t.Key = query.FieldTag, key
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch info, _ := query.Lookup(t.Field); {
	case value == "" && !tag, t.Field == query.FieldStatus && n == 0:
		t.Values = []query.Value{{Op: query.OpExists}}
		return query.Not{Node: t}
	case t.Field == query.FieldStatus && err == nil:
		t.Values = []query.Value{{Op: query.OpRange, Range: query.Range{Lo: n, Hi: n}}}
	case info.Type == query.TypeWords:
		t.Values = []query.Value{{Op: query.OpPhrase, Text: asciiLower(value)}}
	case info.Fold:
		t.Values = []query.Value{{Op: query.OpEqual, Text: asciiLower(value)}}
	default:
		t.Values = []query.Value{{Op: query.OpEqual, Text: value}}
	}
	return t
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// narrowed is a query and more terms.
func narrowed(q *query.Query, more ...query.Node) *query.Query {
	if q != nil {
		more = append(slices.Clone(terms(q.Root)), more...)
	}
	if len(more) == 1 {
		return &query.Query{Root: more[0]}
	}
	return &query.Query{Root: query.And{Nodes: more}}
}

// scaled is the part of n that a of b is, a at least.
func scaled(n, a, b uint64) uint64 {
	if a == b {
		return n
	}
	return max(uint64(math.Round(float64(n)*float64(a)/float64(cmp.Or(b, 1)))), a)
}
