package duckindex

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/query"
)

// Stats implements index.Index.
func (x *Index) Stats(ctx context.Context) (index.Stats, error) { return soon(ctx, x, x.stats) }

func (x *Index) stats(ctx context.Context) (index.Stats, error) {
	var s index.Stats
	err := x.db.QueryRowContext(ctx, `SELECT count(*), coalesce(min("time"), 0), coalesce(max("time"), 0) FROM pairs`).Scan(&s.Rows, &s.Oldest, &s.Newest)
	if err != nil {
		return s, fmt.Errorf("count rows: %w", wrap(ctx, err))
	}
	return s, nil
}

// nearID is how far a pair's time is looked for from the one in its id.
const nearID = int64(time.Minute)

// Find implements index.Index.
func (x *Index) Find(ctx context.Context, id store.ID) (index.Row, error) {
	return soon(ctx, x, func(ctx context.Context) (index.Row, error) { return x.find(ctx, id) })
}

func (x *Index) find(ctx context.Context, id store.ID) (index.Row, error) {
	stmt := "SELECT " + selectList(pointerColumns) + " FROM pairs WHERE "
	args := []any{uuid.UUID(id).String()}
	if id[6]>>4 == 7 {
		// RFC 9562: it begins with the milliseconds of its making, which is
		// when the request began. Most row groups can be left alone. An id that
		// is compared with = would be looked for first, in all rows of a row
		// group: this is only asked of those that the time leaves.
		t := int64(binary.BigEndian.Uint64(id[:])>>16) * int64(time.Millisecond)
		near := stmt + `"time" BETWEEN ? AND ? AND "id" IS NOT DISTINCT FROM CAST(? AS UUID) LIMIT 1`
		rows, err := x.query(ctx, pointerColumns, near, t-nearID, t+nearID, args[0])
		if err != nil {
			return index.Row{}, fmt.Errorf("find row: %w", err)
		}
		if len(rows) > 0 {
			return rows[0], nil
		}
	}
	rows, err := x.query(ctx, pointerColumns, stmt+`"id" = CAST(? AS UUID) LIMIT 1`, args...)
	if err != nil {
		return index.Row{}, fmt.Errorf("find row: %w", err)
	}
	if len(rows) == 0 {
		return index.Row{}, store.ErrNotFound
	}
	return rows[0], nil
}

// query reads rows of the table's first n columns.
func (x *Index) query(ctx context.Context, n int, stmt string, args ...any) (out []index.Row, err error) {
	rows, err := x.db.QueryContext(ctx, stmt, args...)
	if err != nil {
		return nil, wrap(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		out = append(out, index.Row{})
		if err := scan(rows, &out[len(out)-1], n); err != nil {
			return nil, err
		}
	}
	return out, wrap(ctx, rows.Err())
}

// Exact implements index.Index.
func (x *Index) Exact(q *query.Query) bool { return compile(q).exact }

// where writes the condition of a selection. More terms may follow it.
func where(s index.Selection) (string, []any) {
	f := compile(s.Query)
	args := append([]any{s.From, s.To, int64(min(s.Below, math.MaxInt64))}, f.args...)
	return ` WHERE "time" >= ? AND "time" < ? AND "off" < ? AND ` + f.sql, args
}

// Rows implements index.Index.
func (x *Index) Rows(ctx context.Context, p index.Page) ([]index.Row, error) {
	return soon(ctx, x, func(ctx context.Context) ([]index.Row, error) { return x.rows(ctx, p) })
}

func (x *Index) rows(ctx context.Context, p index.Page) ([]index.Row, error) {
	n := rowColumns
	if p.Pointers {
		n = pointerColumns
	}
	cond, args := where(p.Selection)
	if p.Before != nil {
		cond += ` AND ("time" < ? OR ("time" = ? AND "id" < CAST(? AS UUID)))`
		args = append(args, p.Before.Time, p.Before.Time, uuid.UUID(p.Before.ID).String())
	}
	rows, err := x.query(ctx, n, "SELECT "+selectList(n)+" FROM pairs"+cond+` ORDER BY "time" DESC, "id" DESC LIMIT `+strconv.Itoa(p.Limit), args...)
	if err != nil {
		return nil, fmt.Errorf("select rows: %w", err)
	}
	return rows, nil
}

// Records implements index.Index.
func (x *Index) Records(ctx context.Context, s index.Selection) ([]index.Record, error) {
	return soon(ctx, x, func(ctx context.Context) ([]index.Record, error) { return x.records(ctx, s) })
}

func (x *Index) records(ctx context.Context, s index.Selection) ([]index.Record, error) {
	cond, args := where(s)
	var out []index.Record
	stmt := `SELECT "off", min("time"), max("time"), count(*) FROM pairs` + cond + ` GROUP BY "off"`
	err := x.each(ctx, stmt, args, func(rows *sql.Rows) error {
		var r index.Record
		err := rows.Scan(&r.Off, &r.Oldest, &r.Newest, &r.Rows)
		out = append(out, r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("select records: %w", err)
	}
	return out, nil
}

// Count implements index.Index.
func (x *Index) Count(ctx context.Context, c index.Count) (index.Counts, error) {
	return kept(ctx, x, fmt.Sprintf("count %d %d", c.Step, c.Buckets), index.Sum{Selection: c.Selection}, cloneCounts,
		func(index.Counts) bool { return true },
		func(ctx context.Context) (index.Counts, error) { return x.count(ctx, c) })
}

func (x *Index) count(ctx context.Context, c index.Count) (_ index.Counts, err error) {
	cond, args := where(c.Selection)
	stmt := `SELECT ("time" - ?) // ? AS step, CASE WHEN "status" BETWEEN 100 AND 599 THEN "status" // 100 ELSE 0 END AS class,
		count(*), CAST(sum("weight") AS UBIGINT)
		FROM pairs` + cond + " GROUP BY step, class"
	rows, err := x.db.QueryContext(ctx, stmt, append([]any{c.From, c.Step}, args...)...)
	if err != nil {
		return index.Counts{}, fmt.Errorf("count rows: %w", wrap(ctx, err))
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts := index.Counts{Rows: make([][6]uint64, c.Buckets), Weighted: make([][6]uint64, c.Buckets)}
	for rows.Next() {
		var bucket, class int64
		var n, weighted uint64
		if err := rows.Scan(&bucket, &class, &n, &weighted); err != nil {
			return index.Counts{}, fmt.Errorf("scan count: %w", err)
		}
		if bucket < 0 || bucket >= int64(c.Buckets) {
			return index.Counts{}, fmt.Errorf("count rows: bucket %d of %d", bucket, c.Buckets)
		}
		counts.Rows[bucket][class], counts.Weighted[bucket][class] = n, weighted
	}
	if err := rows.Err(); err != nil {
		return index.Counts{}, fmt.Errorf("count rows: %w", wrap(ctx, err))
	}
	return counts, nil
}
