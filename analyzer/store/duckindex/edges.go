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

// edge is a line of an answer, and which of its ends is an address.
type edge struct {
	store.Edge
	address int32
}

// namesakes reports whether several addresses have one name, so that lines of
// theirs are to be added up.
func namesakes(known *index.Addresses) bool {
	apps := map[string]bool{}
	for _, app := range known.All() {
		if apps[app] {
			return true
		}
		apps[app] = true
	}
	return false
}

// rename puts names in place of addresses and the lines in order. It answers
// false where two lines have become one.
func rename(list []edge, known *index.Addresses) bool {
	seen := map[[3]string]bool{}
	for i := range list {
		l := &list[i]
		switch l.address {
		case 1:
			l.From = cmp.Or(known.App(l.From), l.From)
		case 2:
			l.To = cmp.Or(known.App(l.To), l.To)
		}
		key := [3]string{l.From, l.To, l.Protocol}
		if seen[key] {
			return false
		}
		seen[key] = true
	}
	slices.SortFunc(list, func(a, b edge) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.Protocol, b.Protocol))
	})
	return true
}

// maxRenamed bounds the lines that get their names here.
const maxRenamed = 20_000

// readEdges reads one line more than limit. With join they have names in place
// of addresses, which takes half as long again. Without it all are read, up to
// one more than maxRenamed: which of them are one under their names, and what
// their order is then, turns out when all are there.
func (x *Index) readEdges(ctx context.Context, e index.Edges, exact, join bool, limit int) (list []edge, err error) {
	cols := []column{colCaller, colCallee, colAddress, colProtocol, colTime, colWeight, colFailed, colBucket}
	if exact {
		cols[len(cols)-1] = colDuration
	}
	from, args := source(e.Sum, cols...)
	caller, callee, address, joined := `"caller"`, `"callee"`, `"address"`, ""
	if join {
		var addresses, apps []any
		for address, app := range e.Known.All() {
			addresses, apps = append(addresses, address), append(apps, app)
		}
		joined = ` LEFT JOIN (SELECT unnest(CAST(? AS VARCHAR[])) AS host, unnest(CAST(? AS VARCHAR[])) AS name) AS known
			ON known.host = CASE "address" WHEN 1 THEN "caller" WHEN 2 THEN "callee" END`
		args = append(args, addresses, apps)
		caller = `CASE WHEN "address" = 1 THEN coalesce(known.name, "caller") ELSE "caller" END`
		callee = `CASE WHEN "address" = 2 THEN coalesce(known.name, "callee") ELSE "callee" END`
		address = "0"
	}
	stmt := "SELECT " + caller + " AS a, " + callee + " AS b, " + address + ` AS c, "protocol", count(*) AS n, CAST(sum("weight") AS UBIGINT),
		count(*) FILTER ("failed"), ` + percentiles(exact, "[0.5, 0.95]") + `, max("time")
		FROM ` + from + " AS pairs" + joined + ` GROUP BY a, b, c, "protocol"`
	if join {
		stmt += ` ORDER BY n DESC, a, b, "protocol" LIMIT ` + strconv.Itoa(limit+1)
	} else {
		stmt += " LIMIT " + strconv.Itoa(maxRenamed+1)
	}
	err = x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var l edge
		var q any
		if err := rows.Scan(&l.From, &l.To, &l.address, &l.Protocol, &l.Pairs, &l.Estimated, &l.Errors, &q, &l.Last); err != nil {
			return err
		}
		if err := spread(exact, q, math.MaxInt64, &l.P50, &l.P95); err != nil {
			return err
		}
		list = append(list, l)
		return nil
	})
	return list, err
}

// Edges implements index.Index.
func (x *Index) Edges(ctx context.Context, e index.Edges) (*store.EdgeList, error) {
	return kept(ctx, x, fmt.Sprintf("edges %d %d", e.Limit, fingerprint(e.Known)), e.Sum, cloneEdges,
		func(l *store.EdgeList) bool { return l.Partial == nil },
		func(ctx context.Context) (*store.EdgeList, error) { return x.edges(ctx, e) })
}

func (x *Index) edges(ctx context.Context, e index.Edges) (*store.EdgeList, error) {
	out := new(store.EdgeList)
	var list []edge
	limit := sums.Limit(e.Limit, sums.DefaultLines)
	partial, err := x.analytic(ctx, func(ctx context.Context) (err error) {
		if out.Exact, err = x.exactly(ctx, e.Sum); err != nil {
			return err
		}
		joins := namesakes(e.Known)
		if !joins {
			if list, err = x.readEdges(ctx, e, out.Exact, false, limit); err != nil {
				return err
			}
			joins = len(list) > maxRenamed || !rename(list, e.Known)
		}
		if joins {
			list, err = x.readEdges(ctx, e, out.Exact, true, limit)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("sum up edges: %w", err)
	}
	for _, line := range list[:min(limit, len(list))] {
		out.Edges = append(out.Edges, line.Edge)
	}
	out.More, out.Partial = len(list) > limit, partial
	return out, nil
}
