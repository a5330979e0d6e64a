package duckindex

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Insert implements index.Index.
func (x *Index) Insert(ctx context.Context, rows []index.Row, watermark uint64) error {
	version, err := x.learnEndpoints(ctx, rows)
	if err != nil {
		return fmt.Errorf("insert rows: %w", err)
	}
	err = x.transaction(ctx, func() error {
		if err := x.refold(ctx, version); err != nil {
			return err
		}
		if err := x.append(rows); err != nil {
			return err
		}
		// If it stands elsewhere than this program believes, the rows may be
		// there already.
		r, err := x.writer.ExecContext(ctx, "UPDATE state SET watermark = ? WHERE watermark = ?", int64(watermark), int64(x.Watermark()))
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n != 1 {
			return errors.Join(fmt.Errorf("%w: its watermark is not %d", index.ErrBroken, x.Watermark()), err)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("insert rows: %w", err)
	}
	x.watermark.Store(watermark)
	if x.applied != nil && *x.applied != version {
		x.cache.changed() // rows may have other templates
	}
	x.applied = &version
	x.cache.added(rows)
	x.learn(rows)
	return nil
}

// append takes part in the transaction that the writer is in.
func (x *Index) append(rows []index.Row) error {
	if len(rows) == 0 {
		return nil
	}
	return x.writer.Raw(func(raw any) (err error) {
		conn, ok := raw.(driver.Conn)
		if !ok {
			return fmt.Errorf("connection is a %T", raw)
		}
		a, err := duckdb.NewAppender(conn, catalog, "main", "pairs")
		if err != nil {
			return fmt.Errorf("make appender: %w", err)
		}
		// It has to be closed before the transaction can end, also badly.
		defer func() { err = errors.Join(err, a.Close()) }()
		values := make([]driver.Value, len(columns))
		for i := range rows {
			fill(values, &rows[i], x.template(&rows[i]))
			if err := a.AppendRow(values...); err != nil {
				return err
			}
		}
		return nil
	})
}

func fill(v []driver.Value, r *index.Row, template string) {
	for i, value := range [...]driver.Value{
		duckdb.UUID(r.ID), int64(r.Off), int32(r.Idx), r.At, r.Time, r.Duration, r.TTFB,
		r.Cluster, r.Namespace, r.App, r.Pod, r.Direction, r.Protocol,
		r.Method, r.Host, r.Path, r.Query, template, r.Status, r.Error,
		r.RequestSize, r.ResponseSize, r.Client, r.Server, r.Conn, r.Seq,
		int64(r.Flags), r.Tags, r.Weight, r.ClientHost, r.ServerHost, index.EdgeOf(r).Key(), index.BucketOf(r.Duration),
	} {
		v[i] = value
	}
}

// scan reads the first n columns into r.
func scan(rows *sql.Rows, r *index.Row, n int) error {
	var id duckdb.UUID
	var off, flags int64
	var idx int32
	dest := [...]any{
		&id, &off, &idx, &r.At, &r.Time, &r.Duration, &r.TTFB,
		&r.Cluster, &r.Namespace, &r.App, &r.Pod, &r.Direction, &r.Protocol,
		&r.Method, &r.Host, &r.Path, &r.Query, &r.Endpoint, &r.Status, &r.Error,
		&r.RequestSize, &r.ResponseSize, &r.Client, &r.Server, &r.Conn, &r.Seq,
		&flags, &r.Tags, &r.Weight, &r.ClientHost, &r.ServerHost,
	}
	if err := rows.Scan(dest[:n]...); err != nil {
		return fmt.Errorf("scan row: %w", err)
	}
	r.ID, r.Off, r.Idx, r.Flags = store.ID(id), uint64(off), uint32(idx), uint32(flags)
	return nil
}

// Remove implements index.Index.
func (x *Index) Remove(ctx context.Context, from, to uint64) error {
	err := x.transaction(ctx, func() error {
		_, err := x.writer.ExecContext(ctx, "DELETE FROM pairs WHERE off >= ? AND off < ?", int64(from), int64(to))
		return err
	})
	if err != nil {
		return fmt.Errorf("remove rows: %w", err)
	}
	x.forget()
	return nil
}

// learn takes the addresses of new rows.
func (x *Index) learn(rows []index.Row) {
	x.addressMu.Lock()
	defer x.addressMu.Unlock()
	if x.addresses == nil {
		return
	}
	for i := range rows {
		x.addresses.Learn(&rows[i])
	}
}
