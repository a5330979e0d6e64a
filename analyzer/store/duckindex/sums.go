package duckindex

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2"
	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// column is an expression over table pairs that sums are made of, and the same
// of a row that is not in the table.
type column struct {
	name, kind, sql string
	of              func(*index.Row) any
	// args are the parameters of sql.
	args []any
}

func text(name string, of func(*index.Row) string) column {
	return column{name, "VARCHAR", `"` + name + `"`, func(r *index.Row) any { return of(r) }, nil}
}

func number(name string, of func(*index.Row) int64) column {
	return column{name, "BIGINT", `"` + name + `"`, func(r *index.Row) any { return of(r) }, nil}
}

var (
	colApp      = text("app", func(r *index.Row) string { return r.App })
	colHost     = text("host", func(r *index.Row) string { return r.Host })
	colMethod   = text("method", func(r *index.Row) string { return r.Method })
	colEndpoint = text("endpoint", func(r *index.Row) string { return r.Endpoint })
	colEdge     = text("edge", func(r *index.Row) string { return index.EdgeOf(r).Key() })
	colTime     = number("time", func(r *index.Row) int64 { return r.Time })
	colDuration = number("duration", func(r *index.Row) int64 { return r.Duration })
	colRequest  = number("request_size", func(r *index.Row) int64 { return r.RequestSize })
	colResponse = number("response_size", func(r *index.Row) int64 { return r.ResponseSize })
	colWeight   = number("weight", func(r *index.Row) int64 { return int64(r.Weight) })
	colFlags    = number("flags", func(r *index.Row) int64 { return int64(r.Flags) })
	colStatus   = column{"status", "INTEGER", `"status"`, func(r *index.Row) any { return r.Status }, nil}
	colBucket   = column{"bucket", "SMALLINT", `"bucket"`, func(r *index.Row) any { return index.BucketOf(r.Duration) }, nil}
	colFailed   = column{
		"failed", "BOOLEAN", `("status" BETWEEN 500 AND 599 OR "error" <> '')`,
		func(r *index.Row) any { return sums.IsError(r) }, nil,
	}
	colError = text("error", func(r *index.Row) string { return r.Error })
	colTags  = text("tags", func(r *index.Row) string { return r.Tags })
	colOff   = number("off", func(r *index.Row) int64 { return int64(r.Off) })
	colAt    = number("at", func(r *index.Row) int64 { return r.At })
	colIdx   = column{"idx", "INTEGER", `"idx"`, func(r *index.Row) any { return int32(r.Idx) }, nil}
	colID    = column{"id", "UUID", `"id"`, func(r *index.Row) any { return uuid.UUID(r.ID).String() }, nil}
)

// source is the rows of a sum as a subquery of some columns: those of the table
// and, as parameters, those that are not in it yet.
func source(s index.Sum, cols ...column) (string, []any) {
	names := make([]string, len(cols))
	var args []any
	for i, c := range cols {
		names[i] = c.sql + ` AS "` + c.name + `"`
		args = append(args, c.args...)
	}
	cond, more := where(s.Selection)
	args = append(args, more...)
	stmt := "(SELECT " + strings.Join(names, ", ") + " FROM pairs" + cond
	if len(s.Extra) > 0 {
		for i, c := range cols {
			values := make([]any, len(s.Extra))
			for j, r := range s.Extra {
				values[j] = c.of(r)
			}
			args = append(args, values)
			list := "?"
			if c.kind == "UUID" { // the driver takes no texts for one
				list = "CAST(? AS VARCHAR[])"
			}
			// Several unnests of one SELECT go on together.
			names[i] = "unnest(CAST(" + list + " AS " + c.kind + `[])) AS "` + c.name + `"`
		}
		stmt += " UNION ALL SELECT " + strings.Join(names, ", ")
	}
	return stmt + ")", args
}

// each runs a statement and calls scan for each of its rows.
func (x *Index) each(ctx context.Context, stmt string, args []any, scan func(*sql.Rows) error) (err error) {
	rows, err := x.db.QueryContext(ctx, stmt, args...)
	if err != nil {
		return wrap(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("scan sum: %w", err)
		}
	}
	return wrap(ctx, rows.Err())
}

// analytic runs a sum: only so many at once, and none for too long. What it
// gives says whether the time, or the memory, was too little, which is not an
// error.
func (x *Index) analytic(ctx context.Context, do func(context.Context) error) (*store.PartialError, error) {
	if err := x.heavy.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer x.heavy.Release(1)
	limited, cancel := context.WithTimeout(ctx, x.timeLimit)
	defer cancel()
	switch err := do(limited); {
	case err == nil:
		return nil, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limited.Err() != nil:
		return &store.PartialError{Reason: fmt.Sprintf("time limit of %s used up", x.timeLimit)}, nil
	case isType(err, duckdb.ErrorTypeOutOfMemory):
		return &store.PartialError{Reason: "memory limit of the index used up"}, nil
	default:
		return nil, err
	}
}

// ranked is analytic for sums with percentiles, one at a time: what they keep of
// each row no limit bounds but the number of rows.
func (x *Index) ranked(ctx context.Context, do func(context.Context) error) (*store.PartialError, error) {
	if err := x.ranking.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer x.ranking.Release(1)
	return x.analytic(ctx, do)
}

// Facets implements index.Index.
func (x *Index) Facets(ctx context.Context, f index.Facets) (*store.FacetCounts, error) {
	return kept(ctx, x, fmt.Sprintf("facets %q %d %q", f.Fields, f.Limit, f.Prefix), f.Sum, cloneFacets,
		func(c *store.FacetCounts) bool { return c.Partial == nil },
		func(ctx context.Context) (*store.FacetCounts, error) { return x.facets(ctx, f) })
}

func (x *Index) facets(ctx context.Context, f index.Facets) (*store.FacetCounts, error) {
	if err := sums.CheckFields(f.Fields); err != nil {
		return nil, fmt.Errorf("count values: %w", err)
	}
	out := new(store.FacetCounts)
	partial, err := x.analytic(ctx, func(ctx context.Context) error {
		from, args := source(f.Sum, colWeight)
		stmt := `SELECT count(*), CAST(coalesce(sum("weight"), 0) AS UBIGINT) FROM ` + from
		err := x.each(ctx, stmt, args, func(rows *sql.Rows) error { return rows.Scan(&out.Pairs, &out.Estimated) })
		for _, field := range f.Fields {
			if err != nil {
				break
			}
			var c store.Facet
			if field == string(query.FieldFlag) {
				c, err = x.flags(ctx, f, out.Pairs)
			} else {
				c, err = x.facet(ctx, f, field)
			}
			if err == nil {
				out.Facets = append(out.Facets, c)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("count values: %w", err)
	}
	if partial != nil {
		partial.Reason += fmt.Sprintf(" after %d of %d fields", len(out.Facets), len(f.Fields))
		for _, field := range f.Fields[len(out.Facets):] {
			out.Facets = append(out.Facets, store.Facet{Field: field})
		}
		out.Partial = partial
	}
	return out, nil
}

// facetColumns are the columns of fields where they are not those of queries.
var facetColumns = map[string]column{
	// Grouped as the number that it is, which is much faster.
	"status": {"value", "INTEGER", `"status"`, func(r *index.Row) any { return r.Status }, nil},
	"client": {"value", "VARCHAR", `"client_host"`, func(r *index.Row) any { return r.ClientHost }, nil},
	"server": {"value", "VARCHAR", `"server_host"`, func(r *index.Row) any { return r.ServerHost }, nil},
}

// facetColumn is of one of store.FacetFields.
func facetColumn(field string) column {
	if c, ok := facetColumns[field]; ok {
		return c
	}
	return column{"value", "VARCHAR", `"` + field + `"`, func(r *index.Row) any { return sums.Value(r, field) }, nil}
}

// facet counts the values of one field. An empty value is none.
func (x *Index) facet(ctx context.Context, f index.Facets, field string) (store.Facet, error) {
	col := facetColumn(field)
	from, args := source(f.Sum, col, colWeight)
	value := `"value"`
	if col.kind == "INTEGER" {
		value = `CASE "value" WHEN 0 THEN '' ELSE CAST("value" AS VARCHAR) END`
	}
	cond := ""
	if f.Prefix != "" {
		cond = ` WHERE "value" = '' OR starts_with(` + fold(`"value"`) + ", ?)"
		args = append(args, foldASCII(f.Prefix))
	}
	// A left join: the counts are wanted also where there is no value.
	stmt := `WITH grouped AS (SELECT "value", count(*) AS n, sum("weight") AS w FROM ` + from + ` GROUP BY "value"),
		counts AS MATERIALIZED (SELECT * FROM (SELECT ` + value + ` AS "value", n, w FROM grouped)` + cond + `),
		sums AS (SELECT count(*) FILTER ("value" <> '') AS kinds,
			CAST(coalesce(sum(n) FILTER ("value" <> ''), 0) AS UBIGINT) AS there,
			CAST(coalesce(sum(n) FILTER ("value" = ''), 0) AS UBIGINT) AS absent FROM counts),
		top AS (SELECT "value", n, CAST(w AS UBIGINT) AS w FROM counts WHERE "value" <> '' ORDER BY n DESC, "value" LIMIT ` + strconv.Itoa(sums.Limit(f.Limit, sums.DefaultValues)) + `)
		SELECT kinds, there, absent, "value", n, w FROM sums LEFT JOIN top ON TRUE ORDER BY n DESC, "value"`
	c := store.Facet{Field: field}
	var there uint64
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var value sql.Null[string]
		var n, weighted sql.Null[uint64]
		if err := rows.Scan(&c.Distinct, &there, &c.Absent, &value, &n, &weighted); err != nil || !value.Valid {
			return err
		}
		c.Values = append(c.Values, store.FacetValue{Value: value.V, Pairs: n.V, Estimated: weighted.V})
		return nil
	})
	c.Others = there
	for _, v := range c.Values {
		c.Others -= v.Pairs
	}
	return c, err
}

// flags counts each of the flags.
func (x *Index) flags(ctx context.Context, f index.Facets, pairs uint64) (store.Facet, error) {
	from, args := source(f.Sum, colFlags, colWeight)
	known := 0
	for query.FlagName(capturev1.Flag(known+1)) != "" {
		known++
	}
	stmt := `SELECT count(*) FILTER ("flags" = 0)`
	counts := make([]uint64, 1+2*known)
	dest := []any{&counts[0]}
	for i := range known {
		set := `FILTER (("flags" & ` + strconv.Itoa(int(index.FlagBit(capturev1.Flag(i+1)))) + ") <> 0)"
		stmt += ", count(*) " + set + `, CAST(coalesce(sum("weight") ` + set + ", 0) AS UBIGINT)"
		dest = append(dest, &counts[1+2*i], &counts[2+2*i])
	}
	if err := x.each(ctx, stmt+" FROM "+from, args, func(rows *sql.Rows) error { return rows.Scan(dest...) }); err != nil {
		return store.Facet{}, err
	}
	values := make([]store.FacetValue, known)
	for i := range values {
		values[i] = store.FacetValue{Value: query.FlagName(capturev1.Flag(i + 1)), Pairs: counts[1+2*i], Estimated: counts[2+2*i]}
	}
	return sums.TopOf("flag", values, counts[0], f.Limit, f.Prefix), nil
}

// measure is what percentiles of a sum are made of: durations, or their
// buckets.
type measure struct {
	exact bool
	// all: each row has a duration.
	all bool
}

func (m measure) column() column {
	if m.exact {
		return colDuration
	}
	return colBucket
}

// percentiles writes the quantiles of durations.
func (m measure) percentiles(list string) string {
	name := `"` + m.column().name + `"`
	// It keeps the value of every row in memory that no limit counts: buckets
	// stay as narrow as they are stored.
	expr := "quantile_disc(" + name + ", " + list + ")"
	if !m.all {
		// It takes a fifth of the time of a sum.
		expr += " FILTER (" + name + " >= 0)"
	}
	return expr
}

// spread takes what percentiles gives apart.
func (m measure) spread(got any, longest int64, into ...*int64) error {
	list, ok := got.([]any)
	if !ok || len(list) != len(into) {
		for _, p := range into {
			*p = index.Absent
		}
		return nil
	}
	for i, p := range into {
		switch n := list[i].(type) {
		case int64:
			*p = n
		case int16:
			*p = min(index.BucketValue(n), longest)
		default:
			return fmt.Errorf("percentile is a %T", list[i])
		}
	}
	return nil
}

// measure looks at what percentiles of a sum can be made of. Beyond so many
// rows exact ones take more memory and time than they are worth.
func (x *Index) measure(ctx context.Context, s index.Sum) (m measure, err error) {
	from, args := source(s, colBucket)
	err = x.each(ctx, `SELECT count(*), coalesce(min("bucket"), 0) >= 0 FROM `+from, args, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n, &m.all)
		m.exact = n <= x.exactRows
		return err
	})
	return m, err
}

// Endpoints implements index.Index.
func (x *Index) Endpoints(ctx context.Context, e index.Endpoints) (*store.EndpointList, error) {
	return kept(ctx, x, fmt.Sprintf("endpoints %d", e.Limit), e.Sum, cloneEndpoints,
		func(l *store.EndpointList) bool { return l.Partial == nil },
		func(ctx context.Context) (*store.EndpointList, error) { return x.endpoints(ctx, e) })
}

func (x *Index) endpoints(ctx context.Context, e index.Endpoints) (*store.EndpointList, error) {
	out := new(store.EndpointList)
	limit := sums.Limit(e.Limit, sums.DefaultLines)
	partial, err := x.ranked(ctx, func(ctx context.Context) error {
		m, err := x.measure(ctx, e.Sum)
		if err != nil {
			return err
		}
		out.Exact = m.exact
		cols := []column{colApp, colHost, colMethod, colEndpoint, colTime, colDuration, colRequest, colResponse, colWeight, colStatus, colFailed}
		if !m.exact {
			cols = append(cols, colBucket)
		}
		from, args := source(e.Sum, cols...)
		stmt := `SELECT "app", "host", "method", "endpoint", count(*) AS n, CAST(sum("weight") AS UBIGINT),
			count(*) FILTER ("failed"), ` + m.percentiles("[0.5, 0.95, 0.99]") + `, max("duration"),
			CAST(least(sum("request_size"), 18446744073709551615) AS UBIGINT), CAST(least(sum("response_size"), 18446744073709551615) AS UBIGINT),
			min("time"), max("time")`
		// Two counts in each sum: one for each class takes longer than the rest.
		for _, two := range [...]string{"WHEN 1 THEN 1 WHEN 2 THEN 4294967296", "WHEN 3 THEN 1 WHEN 4 THEN 4294967296"} {
			stmt += `, CAST(sum(CASE "status" // 100 ` + two + ` ELSE 0 END) AS UBIGINT)`
		}
		stmt += `, count(*) FILTER ("status" BETWEEN 500 AND 599) FROM ` + from + ` GROUP BY "app", "host", "method", "endpoint"
			ORDER BY n DESC, "app", "host", "method", "endpoint" LIMIT ` + strconv.Itoa(limit+1)
		return x.each(ctx, stmt, args, func(rows *sql.Rows) error {
			var s store.EndpointStats
			var q any
			var low, high uint64
			c := &s.StatusClasses
			err := rows.Scan(&s.App, &s.Host, &s.Method, &s.Endpoint, &s.Pairs, &s.Estimated, &s.Errors, &q, &s.Max,
				&s.RequestBytes, &s.ResponseBytes, &s.First, &s.Last, &low, &high, &c[5])
			if err != nil {
				return err
			}
			c[1], c[2], c[3], c[4] = low&math.MaxUint32, low>>32, high&math.MaxUint32, high>>32
			c[0] = s.Pairs - c[1] - c[2] - c[3] - c[4] - c[5]
			if err := m.spread(q, s.Max, &s.P50, &s.P95, &s.P99); err != nil {
				return err
			}
			out.Endpoints = append(out.Endpoints, s)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("sum up endpoints: %w", err)
	}
	if len(out.Endpoints) > limit {
		out.Endpoints, out.More = out.Endpoints[:limit], true
	}
	out.Partial = partial
	return out, nil
}

// Addresses implements index.Index.
func (x *Index) Addresses(ctx context.Context) (*index.Addresses, error) {
	return soon(ctx, x, x.readAddresses)
}

func (x *Index) readAddresses(ctx context.Context) (*index.Addresses, error) {
	x.addressMu.Lock()
	defer x.addressMu.Unlock()
	if x.addresses == nil {
		a := new(index.Addresses)
		stmt := `SELECT DISTINCT "app", CASE "direction" WHEN 'outbound' THEN "client_host" ELSE "server_host" END AS address
			FROM pairs WHERE "direction" <> '' ORDER BY address, "app"`
		err := x.each(ctx, stmt, nil, func(rows *sql.Rows) error {
			var app, address string
			err := rows.Scan(&app, &address)
			a.Add(address, app)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		x.addresses = a
	}
	return x.addresses.Clone(), nil
}
