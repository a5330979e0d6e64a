package control

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

// A migration is NNNN_name.sql, in SQL that both databases take: text and
// bigint only, hashes in hex, times in milliseconds since the Unix epoch (0 =
// never). What differs is in NNNN_name.sqlite.sql and NNNN_name.postgres.sql,
// which run after it. A migration that was released never changes.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

type migration struct {
	number int
	sql    []string
}

// migrations are those of a dialect, in order.
func migrations(dialect string) ([]migration, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	byNumber := map[int][]string{}
	slices.SortFunc(names, func(a, b string) int {
		// The portable part first: "0001_a.sql" before "0001_a.postgres.sql".
		return strings.Compare(strings.TrimSuffix(a, ".sql"), strings.TrimSuffix(b, ".sql"))
	})
	for _, name := range names {
		base := strings.TrimPrefix(strings.TrimSuffix(name, ".sql"), "migrations/")
		if _, of, ok := strings.Cut(base, "."); ok && of != dialect {
			continue
		}
		digits, _, _ := strings.Cut(base, "_")
		n, err := strconv.Atoi(digits)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("migration %s: the name has no number", name)
		}
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		byNumber[n] = append(byNumber[n], string(text))
	}
	out := make([]migration, 0, len(byNumber))
	for n := 1; n <= len(byNumber); n++ {
		if byNumber[n] == nil {
			return nil, fmt.Errorf("migration %d is missing", n)
		}
		out = append(out, migration{n, byNumber[n]})
	}
	return out, nil
}

// migrate brings the database to the newest schema, in one transaction: it has
// the old one or the new one. Two programs that start at once take turns.
func (d *db) migrate(ctx context.Context) error {
	all, err := migrations(d.dialect)
	if err != nil {
		return err
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		has, err := schema(ctx, tx, d.dialect)
		if err != nil {
			return err
		}
		if has > len(all) {
			return ErrNewer{Has: has, Knows: len(all)}
		}
		for _, m := range all[has:] {
			for _, text := range m.sql {
				if _, err := tx.ExecContext(ctx, text); err != nil {
					return fmt.Errorf("migration %d: %w", m.number, err)
				}
			}
			if _, err := tx.ExecContext(ctx, `UPDATE meta SET value = $1 WHERE name = 'schema'`, strconv.Itoa(m.number)); err != nil {
				return fmt.Errorf("migration %d: %w", m.number, err)
			}
		}
		return nil
	})
}

// schema is the number of the last migration that the database has had.
func schema(ctx context.Context, tx *sql.Tx, dialect string) (int, error) {
	exists := `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'meta'`
	if dialect == postgres {
		exists = `SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'meta'`
	}
	var n int
	if err := tx.QueryRowContext(ctx, exists).Scan(&n); err != nil {
		return 0, fmt.Errorf("read schema: %w", err)
	}
	if n == 0 {
		return 0, nil
	}
	var value string
	err := tx.QueryRowContext(ctx, `SELECT value FROM meta WHERE name = 'schema'`).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errors.New("read schema: the database has a table meta that is not Weir's: want a database, or a schema, of its own")
	}
	if err != nil {
		return 0, fmt.Errorf("read schema: %w", err)
	}
	has, err := strconv.Atoi(value)
	if err != nil || has < 0 {
		return 0, fmt.Errorf("read schema: %q is no number of a migration", value)
	}
	return has, nil
}
