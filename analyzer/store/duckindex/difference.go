package duckindex

import (
	"context"
	"database/sql"
	"fmt"
	"math/bits"
	"strconv"
	"strings"

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
	partial, err := x.analytic(ctx, func(ctx context.Context) error {
		inside := insideColumn(d)
		from, args := source(d.Sum, inside)
		err := x.each(ctx, `SELECT count(*) FILTER ("inside"), count(*) FILTER (NOT "inside") FROM `+from, args, func(rows *sql.Rows) error {
			return rows.Scan(&out.Inside, &out.Outside)
		})
		if err != nil || out.Inside == 0 {
			return err
		}
		values, err := x.different(ctx, d, inside, out)
		if err != nil {
			return err
		}
		tags, partial, err := x.differentTags(ctx, d, inside, out)
		out.Values, out.Partial = append(values, tags...), partial
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("compare values: %w", err)
	}
	if partial != nil {
		out.Values, out.Partial = nil, partial
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

// different are the values of all fields but tags that are more frequent inside.
// One statement groups by each of them: it reads the rows once.
func (x *Index) different(ctx context.Context, d index.Difference, inside column, totals *store.DifferenceList) ([]store.DifferenceValue, error) {
	var fields, names, sets, texts []string
	cols := []column{inside}
	for _, field := range store.DifferenceFields() {
		if field == store.FieldTag {
			continue
		}
		c := facetColumn(field)
		c.name = "of_" + field
		cols = append(cols, c)
		name, text := `"`+c.name+`"`, `"`+c.name+`"`
		if c.kind != "VARCHAR" { // 0 is none
			text = "CASE " + name + " WHEN 0 THEN '' ELSE CAST(" + name + " AS VARCHAR) END"
		}
		fields, names = append(fields, field), append(names, name)
		sets, texts = append(sets, "("+name+")"), append(texts, text)
	}
	// Of each line all columns but one are grouped over: a bit of place says
	// which, the first column's is the highest.
	value := "CASE place"
	for i := range fields {
		value += " WHEN " + strconv.Itoa(1<<len(fields)-1-1<<(len(fields)-1-i)) + " THEN " + texts[i]
	}
	value += " END"
	// Shares as store.DifferenceValue.Score has them, to the last bit.
	from, args := source(d.Sum, cols...)
	score := `CAST("in" AS DOUBLE) / ?`
	args = append(args, float64(totals.Inside))
	if totals.Outside > 0 {
		score += ` - CAST("out" AS DOUBLE) / ?`
		args = append(args, float64(totals.Outside))
	}
	all := strings.Join(names, ", ")
	stmt := `WITH grouped AS (SELECT GROUPING(` + all + ") AS place, " + all + `, count(*) FILTER ("inside") AS "in", count(*) FILTER (NOT "inside") AS "out"
			FROM ` + from + " GROUP BY GROUPING SETS (" + strings.Join(sets, ", ") + `)),
		scored AS (SELECT place, ` + value + ` AS "value", "in", "out", ` + score + ` AS score FROM grouped WHERE "in" > 0)
		SELECT place, "value", "in", "out" FROM scored WHERE score > 0 AND "value" <> ''
		QUALIFY row_number() OVER (PARTITION BY place ORDER BY score DESC, "value") <= ` + strconv.Itoa(sums.Limit(d.Limit, sums.DefaultValues))
	var values []store.DifferenceValue
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var v store.DifferenceValue
		var place int64
		if err := rows.Scan(&place, &v.Value, &v.Inside, &v.Outside); err != nil {
			return err
		}
		at := len(fields) - bits.Len64(uint64(1<<len(fields)-1-place))
		if at < 0 || at >= len(fields) {
			return fmt.Errorf("place %b of %d fields", place, len(fields))
		}
		v.Field = fields[at]
		values = append(values, v)
		return nil
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
