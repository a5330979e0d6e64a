package duckindex

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// maxTagSets bounds the different sets of tags that are taken apart.
const maxTagSets = 20_000

// Difference implements index.Index.
func (x *Index) Difference(ctx context.Context, d index.Difference) (*store.DifferenceList, error) {
	return kept(ctx, x, fmt.Sprintf("difference %d %d %d %s", d.Limit, d.InFrom, d.InTo, d.In), d.Sum, cloneDifference,
		func(l *store.DifferenceList) bool { return l.Partial == nil },
		func(ctx context.Context) (*store.DifferenceList, error) { return x.difference(ctx, d) })
}

func (x *Index) difference(ctx context.Context, d index.Difference) (*store.DifferenceList, error) {
	out := new(store.DifferenceList)
	done := 0
	fields := store.DifferenceFields()
	partial, err := x.analytic(ctx, func(ctx context.Context) error {
		inside := insideColumn(d)
		from, args := source(d.Sum, inside)
		err := x.each(ctx, `SELECT count(*) FILTER ("inside"), count(*) FILTER (NOT "inside") FROM `+from, args, func(rows *sql.Rows) error {
			return rows.Scan(&out.Inside, &out.Outside)
		})
		for _, field := range fields {
			if err != nil || out.Inside == 0 {
				break
			}
			var values []store.DifferenceValue
			if field == store.FieldTag {
				values, out.Partial, err = x.differentTags(ctx, d, inside, out)
			} else {
				values, err = x.different(ctx, d, field, inside, out)
			}
			if err == nil {
				out.Values = append(out.Values, values...)
				done++
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("compare values: %w", err)
	}
	if partial != nil {
		partial.Reason += fmt.Sprintf(" after %d of %d fields", done, len(fields))
		out.Partial = partial
	}
	sums.Rank(out)
	return out, nil
}

// insideColumn says of each row whether it is inside.
func insideColumn(d index.Difference) column {
	f := compile(d.In)
	return column{
		"inside", "BOOLEAN", `("time" >= ? AND "time" < ? AND ` + f.sql + ")",
		func(r *index.Row) any { return d.Inside(r) }, append([]any{d.InFrom, d.InTo}, f.args...),
	}
}

// different are the values of one field that are more frequent inside.
func (x *Index) different(ctx context.Context, d index.Difference, field string, inside column, totals *store.DifferenceList) ([]store.DifferenceValue, error) {
	from, args := source(d.Sum, inside, facetColumn(field))
	limit := sums.Limit(d.Limit, sums.DefaultValues)
	// Shares as store.DifferenceValue.Score has them, to the last bit.
	score := `CAST("in" AS DOUBLE) / ?`
	args = append(args, float64(totals.Inside))
	if totals.Outside > 0 {
		score += ` - CAST("out" AS DOUBLE) / ?`
		args = append(args, float64(totals.Outside))
	}
	stmt := `WITH grouped AS (SELECT "value", count(*) FILTER ("inside") AS "in", count(*) FILTER (NOT "inside") AS "out" FROM ` + from + ` GROUP BY "value"),
		scored AS (SELECT CAST("value" AS VARCHAR) AS "value", "in", "out", ` + score + ` AS score FROM grouped WHERE "in" > 0)
		SELECT "value", "in", "out" FROM scored WHERE score > 0 AND "value" <> '' AND ("value" <> '0' OR ` + strconv.FormatBool(field != "status") + `)
		ORDER BY score DESC, "value" LIMIT ` + strconv.Itoa(limit)
	var values []store.DifferenceValue
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		v := store.DifferenceValue{Field: field}
		err := rows.Scan(&v.Value, &v.Inside, &v.Outside)
		values = append(values, v)
		return err
	})
	return values, err
}

// differentTags does the same of tags, which rows have as one text.
func (x *Index) differentTags(ctx context.Context, d index.Difference, inside column, totals *store.DifferenceList) ([]store.DifferenceValue, *store.PartialError, error) {
	from, args := source(d.Sum, inside, colTags)
	stmt := `SELECT "tags", count(*) FILTER ("inside"), count(*) FILTER (NOT "inside") FROM ` + from + ` WHERE "tags" <> ''
		GROUP BY "tags" ORDER BY count(*) DESC, "tags" LIMIT ` + strconv.Itoa(maxTagSets+1)
	values := map[[2]string]*store.DifferenceValue{}
	sets := 0
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var text string
		var in, out uint64
		if err := rows.Scan(&text, &in, &out); err != nil {
			return err
		}
		if sets++; sets > maxTagSets {
			return nil
		}
		tags, err := sums.TagsOf(text)
		if err != nil {
			return fmt.Errorf("%w: %w", index.ErrBroken, err)
		}
		for k, v := range tags {
			l := values[[2]string{k, v}]
			if l == nil {
				l = &store.DifferenceValue{Field: store.FieldTag + "." + k, Value: v}
				values[[2]string{k, v}] = l
			}
			l.Inside += in
			l.Outside += out
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	all := make([]store.DifferenceValue, 0, len(values))
	for _, v := range values {
		all = append(all, *v)
	}
	var partial *store.PartialError
	if sets > maxTagSets {
		partial = &store.PartialError{Reason: fmt.Sprintf("more than %d different sets of tags", maxTagSets)}
	}
	return sums.Different(all, totals.Inside, totals.Outside, d.Limit), partial, nil
}
