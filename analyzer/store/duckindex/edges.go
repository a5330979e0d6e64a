package duckindex

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// maxEdges bounds the edges of one answer, before they have names.
const maxEdges = 50_000

// Edges implements index.Index.
func (x *Index) Edges(ctx context.Context, e index.Edges) (*store.EdgeList, error) {
	return kept(ctx, x, fmt.Sprintf("edges %d %d", e.Limit, fingerprint(e.Known)), e.Sum, cloneEdges,
		func(l *store.EdgeList) bool { return l.Partial == nil },
		func(ctx context.Context) (*store.EdgeList, error) { return x.edges(ctx, e) })
}

func (x *Index) edges(ctx context.Context, e index.Edges) (*store.EdgeList, error) {
	out := new(store.EdgeList)
	tooMany := false
	partial, err := x.ranked(ctx, func(ctx context.Context) error {
		m, err := x.measure(ctx, e.Sum)
		if err != nil {
			return err
		}
		out.Exact = m.exact
		// Edges are one text in the table, which is grouped in half the time of
		// three. Where several get the same name they are read again as one:
		// percentiles cannot be added.
		lines, err := x.readEdges(ctx, e.Sum, m, nil)
		if err != nil {
			return err
		}
		names := map[string]string{}
		distinct := map[string]bool{}
		for key, l := range lines {
			named := l.Named(e.Known)
			names[key] = named.Key()
			distinct[names[key]] = true
		}
		if len(distinct) < len(lines) {
			if lines, err = x.readEdges(ctx, e.Sum, m, names); err != nil {
				return err
			}
		}
		tooMany = len(lines) > maxEdges
		for _, l := range lines {
			named := l.Named(e.Known)
			l.line.From, l.line.To, l.line.Protocol = named.From, named.To, named.Protocol
			out.Edges = append(out.Edges, l.line)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sum up edges: %w", err)
	}
	slices.SortFunc(out.Edges, func(a, b store.Edge) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	if limit := sums.Limit(e.Limit, sums.DefaultLines); len(out.Edges) > limit {
		out.Edges, out.More = slices.Clip(out.Edges[:limit]), true
	}
	if out.Partial = partial; partial == nil && tooMany {
		out.Partial = &store.PartialError{Reason: fmt.Sprintf("more than %d edges", maxEdges)}
	}
	return out, nil
}

// edge is a line of an answer.
type edge struct {
	index.Edge
	line store.Edge
}

// readEdges reads edges by their key, or by what names has in its place, the
// most frequent ones up to one more than maxEdges.
func (x *Index) readEdges(ctx context.Context, s index.Sum, m measure, names map[string]string) (map[string]edge, error) {
	from, args := source(s, colEdge, colTime, colWeight, colFailed, m.column())
	key, join := `"edge"`, ""
	if names != nil {
		var was, is []any
		for a, b := range names {
			was, is = append(was, a), append(is, b)
		}
		key = `coalesce(named."is", "edge")`
		join = ` LEFT JOIN (SELECT unnest(CAST(? AS VARCHAR[])) AS was, unnest(CAST(? AS VARCHAR[])) AS "is") AS named ON named.was = "edge"`
		args = append(args, was, is)
	}
	stmt := "SELECT " + key + ` AS line, count(*) AS n, CAST(sum("weight") AS UBIGINT), count(*) FILTER ("failed"), ` +
		m.percentiles("[0.5, 0.95]") + `, max("time") FROM ` + from + " AS pairs" + join +
		" GROUP BY line ORDER BY n DESC, line LIMIT " + strconv.Itoa(maxEdges+1)
	lines := map[string]edge{}
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var key string
		var q any
		var l edge
		if err := rows.Scan(&key, &l.line.Pairs, &l.line.Estimated, &l.line.Errors, &q, &l.line.Last); err != nil {
			return err
		}
		var err error
		if l.Edge, err = index.ParseEdge(key); err != nil {
			return fmt.Errorf("%w: %w", index.ErrBroken, err)
		}
		if err := m.spread(q, math.MaxInt64, &l.line.P50, &l.line.P95); err != nil {
			return err
		}
		lines[key] = l
		return nil
	})
	return lines, err
}
