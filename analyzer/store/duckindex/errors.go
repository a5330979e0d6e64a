package duckindex

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/sums"
)

// Errors implements index.Index.
func (x *Index) Errors(ctx context.Context, e index.Errors) (*index.ErrorList, error) {
	key := fmt.Sprintf("errors %v %d %d %d %d", e.Ask.ClientErrors, e.Ask.Limit, e.Ask.Newest, e.Step, e.Count)
	return kept(ctx, x, key, e.Sum, cloneErrors,
		func(l *index.ErrorList) bool { return l.Partial == nil },
		func(ctx context.Context) (*index.ErrorList, error) { return x.errors(ctx, e) })
}

func (x *Index) errors(ctx context.Context, e index.Errors) (*index.ErrorList, error) {
	out := &index.ErrorList{ErrorList: store.ErrorList{Step: e.Step}}
	limit := sums.Limit(e.Ask.Limit, sums.DefaultLines)
	partial, err := x.analytic(ctx, func(ctx context.Context) error {
		from, args := source(e.Sum, colApp, colMethod, colEndpoint, colStatus, colError, colTime, colWeight, colFailed, colID, colOff, colIdx, colAt)
		failed := `"failed"`
		if e.Ask.ClientErrors {
			failed = `("failed" OR "status" BETWEEN 400 AND 499)`
		}
		newest := "[]"
		if e.Ask.Newest > 0 {
			// As a list has them: by time, then by id.
			newest = `list_transform(max({'t': "time", 'i': "id", 'o': "off", 'x': "idx", 'a': "at"}, ` + strconv.Itoa(e.Ask.Newest) + `),
				lambda k: concat_ws(' ', k.i, k.t, k.o, k.x, k.a))`
		}
		stmt := `WITH lines AS (SELECT "app", "method", "endpoint", "status", "error", count(*) AS n, CAST(sum("weight") AS UBIGINT) AS w,
				min("time") AS first, max("time") AS last, ` + newest + ` AS newest, histogram(("time" - ?) // ?) AS steps
				FROM ` + from + " WHERE " + failed + ` GROUP BY "app", "method", "endpoint", "status", "error"
				ORDER BY n DESC, "app", "method", "endpoint", "status", "error" LIMIT ` + strconv.Itoa(limit+1) + `)
			SELECT "app", "method", "endpoint", "status", "error", n, w, first, last, newest, map_keys(steps), map_values(steps) FROM lines
			ORDER BY n DESC, "app", "method", "endpoint", "status", "error"`
		return x.each(ctx, stmt, append([]any{e.From, e.Step}, args...), func(rows *sql.Rows) error {
			l := store.ErrorLine{Steps: make([]uint64, e.Count)}
			var newest, steps, counts any
			err := rows.Scan(&l.App, &l.Method, &l.Endpoint, &l.Status, &l.Error, &l.Pairs, &l.Estimated, &l.First, &l.Last, &newest, &steps, &counts)
			if err != nil {
				return err
			}
			if err := takeSteps(l.Steps, steps, counts); err != nil {
				return err
			}
			var pointers []index.Row
			list, _ := newest.([]any)
			for _, v := range list {
				r, err := pointer(v)
				if err != nil {
					return err
				}
				pointers = append(pointers, r)
				l.Newest = append(l.Newest, r.ID)
			}
			out.Lines, out.Rows = append(out.Lines, l), append(out.Rows, pointers)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("sum up errors: %w", err)
	}
	if len(out.Lines) > limit {
		out.Lines, out.Rows, out.More = out.Lines[:limit], out.Rows[:limit], true
	}
	out.Partial = partial
	return out, nil
}

// pointer reads what a statement says of where a pair stands.
func pointer(v any) (r index.Row, err error) {
	text, _ := v.(string)
	parts := strings.Split(text, " ")
	if len(parts) != 5 {
		return r, fmt.Errorf("place %q of a pair", text)
	}
	id, err := uuid.Parse(parts[0])
	var n [4]int64
	for i := range n {
		var e error
		n[i], e = strconv.ParseInt(parts[i+1], 10, 64)
		err = cmp.Or(err, e)
	}
	if err != nil {
		return r, fmt.Errorf("place %q of a pair: %w", text, err)
	}
	return index.Row{ID: store.ID(id), Time: n[0], Off: uint64(n[1]), Idx: uint32(n[2]), At: n[3]}, nil
}

// takeSteps reads the keys and values of a map of steps.
func takeSteps(into []uint64, steps, counts any) error {
	keys, _ := steps.([]any)
	values, _ := counts.([]any)
	if len(keys) != len(values) {
		return fmt.Errorf("%d steps have %d counts", len(keys), len(values))
	}
	for i, k := range keys {
		step, ok := k.(int64)
		n, counted := values[i].(uint64)
		if !ok || !counted || step < 0 || step >= int64(len(into)) {
			return fmt.Errorf("step %v of %d with %v (a %T)", k, len(into), values[i], values[i])
		}
		into[step] = n
	}
	return nil
}
