package duckindex

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/duckdb/duckdb-go/v2"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Erase implements index.Index.
func (x *Index) Erase(ctx context.Context, ids []store.ID) error {
	if len(ids) == 0 {
		return nil
	}
	err := x.transaction(ctx, func() error {
		if _, err := x.writer.ExecContext(ctx, "CREATE TEMP TABLE gone (id UUID NOT NULL)"); err != nil {
			return err
		}
		if err := x.appendIDs(ids); err != nil {
			return err
		}
		if _, err := x.writer.ExecContext(ctx, "DELETE FROM "+catalog+".main.pairs WHERE id IN (SELECT id FROM temp.main.gone)"); err != nil {
			return err
		}
		_, err := x.writer.ExecContext(ctx, "DROP TABLE temp.main.gone")
		return err
	})
	if err != nil {
		return fmt.Errorf("erase rows: %w", err)
	}
	x.forget()
	return nil
}

func (x *Index) appendIDs(ids []store.ID) error {
	return x.writer.Raw(func(raw any) (err error) {
		conn, ok := raw.(driver.Conn)
		if !ok {
			return fmt.Errorf("connection is a %T", raw)
		}
		a, err := duckdb.NewAppender(conn, "temp", "main", "gone")
		if err != nil {
			return fmt.Errorf("make appender: %w", err)
		}
		defer func() { err = errors.Join(err, a.Close()) }()
		for _, id := range ids {
			if err := a.AppendRow(duckdb.UUID(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// forget lets go of what is known of the rows.
func (x *Index) forget() {
	x.cache.changed()
	x.addressMu.Lock()
	defer x.addressMu.Unlock()
	x.addresses = nil
}

// fresh is the catalog of the file that Purge writes.
const fresh = "fresh"

// Purge implements index.Index: neither DELETE nor CHECKPOINT overwrites the
// blocks that they free, so that all rows that are left go to a new file. A
// crash while there are two leaves an index that is made anew from the log.
func (x *Index) Purge(ctx context.Context) (index.Index, error) {
	y, err := x.purge(ctx)
	if err != nil {
		return nil, fmt.Errorf("purge index: %w", wrap(ctx, err))
	}
	return y, nil
}

func (x *Index) purge(ctx context.Context) (_ *Index, err error) {
	path := freshName(x.opt.Dir)
	defer func() {
		if err != nil {
			err = errors.Join(err, removeFiles(path))
		}
	}()
	if err := x.copyTo(ctx, path); err != nil {
		return nil, err
	}
	opt := x.opt
	opt.End = math.MaxInt64 // the log has grown since
	y, err := open(ctx, opt, path, false)
	if err != nil {
		return nil, err
	}
	y.applied = x.applied
	x.superseded = true
	return y, nil
}

// copyTo writes a file with the rows that are left.
func (x *Index) copyTo(ctx context.Context, path string) (err error) {
	whole := context.WithoutCancel(ctx)
	if _, err := x.writer.ExecContext(ctx, "ATTACH '"+strings.ReplaceAll(path, "'", "''")+"' AS "+fresh); err != nil {
		return err
	}
	defer func() {
		_, derr := x.writer.ExecContext(whole, "DETACH "+fresh)
		err = errors.Join(err, derr)
	}()
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	for _, stmt := range []string{
		"CREATE TABLE " + fresh + ".main.pairs (" + definitions() + ")",
		"INSERT INTO " + fresh + ".main.pairs SELECT * FROM " + catalog + ".main.pairs",
		"CREATE TABLE " + fresh + ".main.state (" + stateColumns + ")",
		"INSERT INTO " + fresh + ".main.state SELECT * FROM " + catalog + ".main.state",
		"CHECKPOINT " + fresh,
	} {
		if _, err := x.writer.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	return nil
}

// removeFiles removes an index's file and what belongs to it.
func removeFiles(path string) error {
	var errs []error
	for _, name := range []string{path + walExt, path} {
		if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
