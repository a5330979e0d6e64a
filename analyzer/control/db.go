package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite" // the driver
)

const (
	sqlite   = "sqlite"
	postgres = "postgres"
)

// operationLimit ends a statement or transaction whose database does not
// answer, whatever time its caller has: a request that waits for ever holds a
// connection for ever.
const operationLimit = 15 * time.Second

// writerLock is the advisory lock of PostgreSQL under which all transactions
// that write take turns, as they do in SQLite. They are few and short, and
// what they check (the last admin, the head of the audit log) then holds until
// they end. The number is "weir" in ASCII.
const writerLock = 0x77656972

// db is the database behind the store: the same SQL, two dialects.
type db struct {
	dialect string
	writer  *sql.DB // SQLite: one connection, whose transactions begin as writers
	reader  *sql.DB // PostgreSQL: the same as writer
	file    string  // SQLite: the database
}

// openDB opens without touching the schema.
func openDB(ctx context.Context, dsn string) (*db, error) {
	if strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://") {
		return openPostgres(ctx, dsn)
	}
	// The name of a file may have a colon; an address of something else may not
	// be taken for one.
	if dsn == "" || strings.Contains(dsn, "://") {
		return nil, ErrInvalid{"CONTROL_STORE", "is neither a file nor PostgreSQL", "the path of a file, or postgres://user:password@host:port/database"}
	}
	return openSQLite(ctx, dsn)
}

func openPostgres(ctx context.Context, dsn string) (*db, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		// Not its words: they hold what it could not read, a password perhaps.
		return nil, ErrInvalid{"CONTROL_STORE", "is no address of PostgreSQL that can be read", "postgres://user:password@host:port/database?sslmode=verify-full"}
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "weir"
	}
	pool := stdlib.OpenDB(*cfg)
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(4)
	pool.SetConnMaxLifetime(30 * time.Minute)
	d := &db{dialect: postgres, writer: pool, reader: pool}
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("connect to control store: %w", err), pool.Close())
	}
	return d, nil
}

func openSQLite(ctx context.Context, file string) (*db, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open control store: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("open control store: %w", err)
	}
	if err := private(file); err != nil {
		return nil, fmt.Errorf("open control store: %w", err)
	}
	address := func(options string) string {
		return (&url.URL{Scheme: "file", OmitHost: true, Path: file, RawQuery: "_busy_timeout=10000&_synchronous=FULL&_foreign_keys=1&_defensive=1" + options}).String()
	}
	writer, err := sql.Open("sqlite", address("&_journal_mode=WAL&_txlock=immediate"))
	if err != nil {
		return nil, fmt.Errorf("open control store: %w", err)
	}
	writer.SetMaxOpenConns(1)
	reader, err := sql.Open("sqlite", address("&_query_only=1"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open control store: %w", err), writer.Close())
	}
	reader.SetMaxOpenConns(8)
	reader.SetMaxIdleConns(8)
	d := &db{dialect: sqlite, writer: writer, reader: reader, file: file}
	if err := writer.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open control store %s: %w", file, err), d.close())
	}
	return d, nil
}

// private makes the file with mode 0600, or takes the rights of others from it
// that somebody gave them. It never opens a file that exists: closing it again
// would end the locks that SQLite has on it in this process.
func private(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", file)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return os.Chmod(file, st.Mode().Perm()&^0o077)
	}
	return nil
}

func (d *db) close() error {
	if d.reader == d.writer {
		return d.writer.Close()
	}
	// The writer last: the last connection to close empties the write-ahead
	// log, and one that may only read could not.
	return errors.Join(d.reader.Close(), d.writer.Close())
}

// write runs do in a transaction that no other that writes runs beside, in
// this process or another. It is durable when nil is returned, and without
// effect when an error is.
func (d *db) write(ctx context.Context, do func(tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	return d.transact(ctx, do)
}

// transact is write for as long as the caller's context allows.
func (d *db) transact(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := d.writer.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	if d.dialect == postgres {
		if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, writerLock); err != nil {
			return errors.Join(fmt.Errorf("lock: %w", err), rollback(tx))
		}
	}
	if err := do(tx); err != nil {
		return errors.Join(err, rollback(tx))
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// rollback ends a transaction that failed; that its time ran out before has
// been said.
func rollback(tx *sql.Tx) error {
	if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// snapshot runs do in a transaction that sees the database as it was when it
// began. The caller's context bounds it: it may read everything.
func (d *db) snapshot(ctx context.Context, do func(tx *sql.Tx) error) error {
	opt := &sql.TxOptions{ReadOnly: true}
	if d.dialect == postgres {
		opt.Isolation = sql.LevelRepeatableRead
	}
	tx, err := d.reader.BeginTx(ctx, opt)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	return errors.Join(do(tx), rollback(tx))
}

// rows gives each row of a query to scan.
func (d *db) rows(ctx context.Context, scan func(*sql.Rows) error, query string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	return each(ctx, d.reader, scan, query, args...)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func each(ctx context.Context, q querier, scan func(*sql.Rows) error, query string, args ...any) (err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// changed is nil when a statement changed a row, and ErrNotFound otherwise.
func changed(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// millis is a time as the database keeps it; the zero time, never, is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// timeOf undoes millis.
func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// timeOrNil is timeOf, with nil for never.
func timeOrNil(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := timeOf(ms)
	return &t
}

func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
