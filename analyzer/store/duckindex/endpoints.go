package duckindex

import (
	"context"
	"fmt"

	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
)

func request(r *index.Row) endpoint.Request {
	return endpoint.Request{App: r.App, Method: r.Method, Path: r.Path, NotFound: r.Status == 404}
}

// template is what a row is stored with.
func (x *Index) template(r *index.Row) string {
	if x.learnt == nil {
		return r.Endpoint
	}
	return x.learnt.Of(request(r))
}

// learnEndpoints takes the paths of new rows into account, and those of the
// rows that are there when there was no insert before. What was folded is
// durable before a row has it. It gives the version of the templates that the
// rows are to have.
func (x *Index) learnEndpoints(ctx context.Context, rows []index.Row) (uint64, error) {
	if x.learnt == nil {
		return 0, nil
	}
	if x.applied == nil {
		err := x.templates(ctx, func(r endpoint.Request) { x.learnt.Learn(r) })
		if err != nil {
			return 0, fmt.Errorf("read endpoints: %w", err)
		}
	}
	for i := range rows {
		x.learnt.Learn(request(&rows[i]))
	}
	// Before anything that is done by it: a change that comes in between is
	// then made up for by the next insert.
	version := x.learnt.Version()
	return version, x.learnt.Save()
}

// templates calls f with the templates that rows have. They are few.
func (x *Index) templates(ctx context.Context, f func(endpoint.Request)) error {
	rows, err := x.writer.QueryContext(ctx, `SELECT DISTINCT "app", "method", "endpoint", "status" = 404 FROM pairs`)
	if err != nil {
		return wrap(ctx, err)
	}
	defer rows.Close()
	for rows.Next() {
		var r endpoint.Request
		if err := rows.Scan(&r.App, &r.Method, &r.Path, &r.NotFound); err != nil {
			return err
		}
		f(r)
	}
	return wrap(ctx, rows.Err())
}

// refold brings the templates of rows to a version. It takes part in the
// writer's transaction.
func (x *Index) refold(ctx context.Context, version uint64) error {
	if x.learnt == nil || x.applied != nil && *x.applied == version {
		return nil
	}
	var apps, methods, was, missing, now []any
	err := x.templates(ctx, func(r endpoint.Request) {
		if t := x.learnt.Of(r); t != r.Path {
			apps, methods, was = append(apps, r.App), append(methods, r.Method), append(was, r.Path)
			missing, now = append(missing, r.NotFound), append(now, t)
		}
	})
	if err != nil || len(now) == 0 {
		return err
	}
	_, err = x.writer.ExecContext(ctx, `UPDATE pairs SET "endpoint" = changed.now
		FROM (SELECT unnest(CAST(? AS VARCHAR[])) AS app, unnest(CAST(? AS VARCHAR[])) AS method, unnest(CAST(? AS VARCHAR[])) AS was,
			unnest(CAST(? AS BOOLEAN[])) AS missing, unnest(CAST(? AS VARCHAR[])) AS now) AS changed
		WHERE pairs."app" = changed.app AND pairs."method" = changed.method AND pairs."endpoint" = changed.was
			AND (pairs."status" = 404) = changed.missing`, apps, methods, was, missing, now)
	if err != nil {
		return fmt.Errorf("change endpoints: %w", err)
	}
	return nil
}
