// Package duckindex is the index of the embedded store in DuckDB, the only
// package that links it. One table holds a row of metadata and a pointer for
// each pair, another how far into the log the first one reaches; both change
// in the same transaction. The file is deleted and begun again whenever it is
// missing, damaged, of another version or of another store.
//
// There is no primary key: rows come in the order of arrival, so that the
// minimum and maximum of each row group find a time or an id (which begins
// with one) well enough, and an index would cost more than the rows.
package duckindex

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/duckdb/duckdb-go/v2"
	"golang.org/x/sync/semaphore"

	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/internal/failpoint"
)

// schemaVersion changes whenever a column does, in form or in meaning (as
// that of endpoint does with the function that makes it).
const schemaVersion = 5

const (
	fileExt  = ".duckdb"
	walExt   = ".wal" // behind the file's whole name
	tempName = "tmp"
	// catalog is the file's name in SQL.
	catalog = "idx"
	// maxConns bounds the queries that run at once, and so their memory.
	maxConns = 8
	// maxSums bounds those of them that read all rows of a day.
	maxSums = 3
)

// columns are those of table pairs, in order.
var columns = []struct{ name, kind string }{
	{"id", "UUID"},
	{"off", "BIGINT"},
	{"idx", "INTEGER"},
	{"at", "BIGINT"},
	{"time", "BIGINT"},
	{"duration", "BIGINT"},
	{"ttfb", "BIGINT"},
	{"cluster", "VARCHAR"},
	{"namespace", "VARCHAR"},
	{"app", "VARCHAR"},
	{"pod", "VARCHAR"},
	{"direction", "VARCHAR"},
	{"protocol", "VARCHAR"},
	{"method", "VARCHAR"},
	{"host", "VARCHAR"},
	{"path", "VARCHAR"},
	{"query", "VARCHAR"},
	{"endpoint", "VARCHAR"},
	{"status", "INTEGER"},
	{"error", "VARCHAR"},
	{"request_size", "BIGINT"},
	{"response_size", "BIGINT"},
	{"client", "VARCHAR"},
	{"server", "VARCHAR"},
	{"conn", "BIGINT"},
	{"seq", "BIGINT"},
	{"flags", "BIGINT"},
	{"tags", "VARCHAR"},
	{"weight", "UINTEGER"},
	{"client_host", "VARCHAR"},
	{"server_host", "VARCHAR"},
	// What follows is for sums only, and not read back.
	{"edge", "VARCHAR"},
	{"bucket", "SMALLINT"},
}

// rowColumns is how many of the columns make a row.
const rowColumns = 31

// pointerColumns is how many of the first columns a page of pointers has.
const pointerColumns = 5

func selectList(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = `"` + columns[i].name + `"`
	}
	return strings.Join(names, ", ")
}

// Index implements index.Index.
type Index struct {
	db *sql.DB
	// writer is the one connection that changes anything.
	writer    *sql.Conn
	watermark atomic.Uint64
	// opt and path are what it was opened with; superseded: Purge has made
	// another of it, and its files go when it is closed.
	opt        Options
	path       string
	superseded bool
	// calls are the questions under way.
	calls sync.WaitGroup

	// heavy bounds the sums that run at once, ranking those with percentiles.
	heavy     *semaphore.Weighted
	ranking   *semaphore.Weighted
	timeLimit time.Duration
	exactRows int64

	learnt *endpoint.Templates
	// applied is the version of the endpoints that the rows have; there is none
	// before the first insert.
	applied *uint64

	cache cache

	addressMu sync.Mutex
	addresses *index.Addresses // nil when they have to be read again
}

var _ index.Index = (*Index)(nil)

// Options of Open.
type Options struct {
	// Dir is the index's own directory, which is made when it is missing and
	// emptied when what is in it is of no use.
	Dir string
	// Store is the id of the store that the rows are of.
	Store string
	// End is the end of the log. An index that knows more is of another one.
	End uint64
	// MemoryLimit is DuckDB's, as it writes sizes; empty is 128MB: what its
	// sums take and its allocator holds back comes on top of it, and what it does
	// not keep of the file the kernel does.
	MemoryLimit string
	// Endpoints, when set, give rows their templates when they are inserted,
	// and learn from them. When a template becomes another, so it does in the
	// rows that are there.
	Endpoints *endpoint.Templates
	// TimeLimit bounds a sum, which is partial then; 0 is 10 s.
	TimeLimit time.Duration
	// ExactRows is how many rows percentiles are exact of; 0 is 2 million.
	ExactRows int64
}

// Open opens the index, or begins a new one when there is none that fits.
func Open(ctx context.Context, opt Options, log *slog.Logger) (*Index, error) {
	if strings.Contains(opt.Dir, "?") {
		// It would put its write-ahead log where the path has its first one.
		return nil, fmt.Errorf("open index: DuckDB takes no path with a ? in it: %s", opt.Dir)
	}
	path, err := take(opt.Dir)
	switch {
	case err == nil:
		x, err := open(ctx, opt, path, false)
		if err == nil {
			return x, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("open index: %w", err)
		}
		log.Warn("The index is of no use and is made again from the log", slog.String("error", err.Error()))
	case !errors.Is(err, os.ErrNotExist):
		log.Warn("The index is of no use and is made again from the log", slog.String("error", err.Error()))
	}
	if err := os.RemoveAll(opt.Dir); err != nil {
		return nil, fmt.Errorf("remove index: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(opt.Dir, tempName), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of index: %w", err)
	}
	x, err := open(ctx, opt, freshName(opt.Dir), true)
	if err == nil {
		if err = failpoint.Hit(failpoint.StoreAfterIndexRename); err != nil {
			err = errors.Join(err, x.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make index: %w", errors.Join(err, os.RemoveAll(opt.Dir)))
	}
	return x, nil
}

// freshName is a name for the index's file that was never used. DuckDB's
// driver shares one database among all who open a path, and waits, spinning,
// for one that is still being closed. A statement that was cancelled keeps its
// database from ever being closed; so no path is opened twice in a process.
func freshName(dir string) string { return filepath.Join(dir, "pairs-"+rand.Text()+fileExt) }

// take gives the index's file a fresh name, and its write-ahead log with it.
// The log goes first: whichever of the two names a crash leaves, the next
// opening joins them again.
func take(dir string) (path string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var files, logs []string
	for _, e := range entries {
		switch name := filepath.Join(dir, e.Name()); {
		case strings.HasSuffix(name, fileExt):
			files = append(files, name)
		case strings.HasSuffix(name, fileExt+walExt):
			logs = append(logs, name)
		}
	}
	switch {
	case len(files) == 0:
		return "", os.ErrNotExist
	case len(files) > 1 || len(logs) > 1:
		return "", fmt.Errorf("%d files and %d logs where one of each belongs", len(files), len(logs))
	}
	path = freshName(dir)
	for _, log := range logs {
		if err := os.Rename(log, path+walExt); err != nil {
			return "", err
		}
	}
	if err := os.Rename(files[0], path); err != nil {
		return "", err
	}
	return path, failpoint.Hit(failpoint.StoreAfterIndexRename)
}

func open(ctx context.Context, opt Options, path string, create bool) (x *Index, err error) {
	if opt.MemoryLimit == "" {
		opt.MemoryLimit = "128MB"
	}
	settings := url.Values{
		"memory_limit":                  {opt.MemoryLimit},
		"threads":                       {"2"},
		"temp_directory":                {filepath.Join(opt.Dir, tempName)},
		"autoinstall_known_extensions":  {"false"},
		"autoload_known_extensions":     {"false"},
		"allow_community_extensions":    {"false"},
		"preserve_insertion_order":      {"false"},
		"storage_compatibility_version": {"latest"},
		// What sums have let go of goes back to the system soon.
		"allocator_background_threads":                {"true"},
		"allocator_flush_threshold":                   {"4MB"},
		"allocator_bulk_deallocation_flush_threshold": {"4MB"},
		// A checkpoint writes the last row group anew: not too often.
		"checkpoint_threshold": {"64MB"},
		// Errors that reach a log must not carry rows' values along.
		"errors_as_json": {"false"},
	}
	// The file is attached to a database in memory, since the driver cuts names
	// of databases at a # or %.
	attached := false
	x = &Index{
		heavy:     semaphore.NewWeighted(maxSums),
		ranking:   semaphore.NewWeighted(1),
		timeLimit: cmp.Or(opt.TimeLimit, 10*time.Second), exactRows: cmp.Or(opt.ExactRows, 2_000_000),
		learnt: opt.Endpoints, opt: opt, path: path,
	}
	connector, err := duckdb.NewConnector("?"+settings.Encode(), func(conn driver.ExecerContext) error {
		if !attached { // by the writer, before there are others
			stmt := "ATTACH '" + strings.ReplaceAll(path, "'", "''") + "' AS " + catalog
			if _, err := conn.ExecContext(ctx, stmt, nil); err != nil {
				return err
			}
			attached = true
		}
		_, err := conn.ExecContext(context.Background(), "USE "+catalog, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	x.db = db
	defer func() {
		if err != nil {
			err = errors.Join(err, x.Close())
			x = nil
		}
	}()
	if x.writer, err = db.Conn(ctx); err != nil {
		return x, fmt.Errorf("connect to DuckDB: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return x, err
	}
	// From here on SQL reaches no file but those of the index. It has to come
	// after the other settings, some of which it forbids.
	for _, stmt := range []string{
		"SET GLOBAL allowed_directories = ['" + strings.ReplaceAll(opt.Dir, "'", "''") + "']",
		"SET GLOBAL enable_external_access = false", "SET GLOBAL lock_configuration = true",
	} {
		if _, err := x.writer.ExecContext(ctx, stmt); err != nil {
			return x, fmt.Errorf("set up DuckDB: %w", err)
		}
	}
	if create {
		return x, x.create(ctx, opt.Store)
	}
	return x, x.check(ctx, opt)
}

// stateColumns are those of table state.
const stateColumns = "version INTEGER NOT NULL, store VARCHAR NOT NULL, watermark BIGINT NOT NULL"

func definitions() string {
	defs := make([]string, len(columns))
	for i, c := range columns {
		defs[i] = `"` + c.name + `" ` + c.kind + " NOT NULL"
	}
	return strings.Join(defs, ", ")
}

func (x *Index) create(ctx context.Context, storeID string) error {
	return x.transaction(ctx, func() error {
		for _, stmt := range []string{
			"CREATE TABLE pairs (" + definitions() + ")",
			"CREATE TABLE state (" + stateColumns + ")",
		} {
			if _, err := x.writer.ExecContext(ctx, stmt); err != nil {
				return fmt.Errorf("create table: %w", err)
			}
		}
		_, err := x.writer.ExecContext(ctx, "INSERT INTO state VALUES (?, ?, 0)", schemaVersion, storeID)
		return err
	})
}

// check reads the state of an index that was there already.
func (x *Index) check(ctx context.Context, opt Options) error {
	var version int
	if err := x.writer.QueryRowContext(ctx, "SELECT version FROM state").Scan(&version); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	if version != schemaVersion {
		return fmt.Errorf("it has version %d, this program wants %d", version, schemaVersion)
	}
	var id string
	var watermark, last int64
	if err := x.writer.QueryRowContext(ctx, "SELECT store, watermark FROM state").Scan(&id, &watermark); err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	// Also a look at whether the rows can be read at all.
	if err := x.writer.QueryRowContext(ctx, "SELECT coalesce(max(off), -1) FROM pairs").Scan(&last); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	switch {
	case id != opt.Store:
		return fmt.Errorf("it is of store %s, not of %s", id, opt.Store)
	case uint64(watermark) > opt.End || last >= watermark:
		return fmt.Errorf("it reaches to offset %d (last row at %d), the log to %d", watermark, last, opt.End)
	}
	x.watermark.Store(uint64(watermark))
	return nil
}

// Close closes the file. Calls under way end first.
func (x *Index) Close() error {
	x.calls.Wait()
	var errs []error
	if x.writer != nil {
		errs = append(errs, x.writer.Close())
	}
	errs = append(errs, x.db.Close())
	if x.superseded {
		errs = append(errs, removeFiles(x.path))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close index: %w", err)
	}
	return nil
}

// Watermark implements index.Index.
func (x *Index) Watermark() uint64 { return x.watermark.Load() }

// transaction runs do within BEGIN and COMMIT on the writer. What do does is
// undone when it fails. ctx ends what do asks, never BEGIN or COMMIT: nobody
// could tell whether one that was interrupted had worked.
func (x *Index) transaction(ctx context.Context, do func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	whole := context.WithoutCancel(ctx)
	if _, err := x.writer.ExecContext(whole, "BEGIN TRANSACTION"); err != nil {
		return fmt.Errorf("begin transaction: %w", wrap(whole, err))
	}
	err := wrap(ctx, do())
	if err == nil {
		if _, err = x.writer.ExecContext(whole, "COMMIT"); err == nil {
			return nil
		}
		err = fmt.Errorf("commit: %w", wrap(whole, err))
	}
	// A commit that failed has rolled back already, which is then an error of
	// no interest.
	if _, rollback := x.writer.ExecContext(whole, "ROLLBACK"); rollback != nil && !isType(rollback, duckdb.ErrorTypeTransaction) {
		return errors.Join(err, fmt.Errorf("%w: roll back: %w", index.ErrBroken, rollback))
	}
	return err
}

func isType(err error, types ...duckdb.ErrorType) bool {
	e, ok := errors.AsType[*duckdb.Error](err)
	return ok && slices.Contains(types, e.Type)
}

// wrap tells passing errors from those that only a new index mends.
func wrap(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		// DuckDB says "interrupted"; why is in the context.
		return ctx.Err()
	case isType(err, duckdb.ErrorTypeFatal, duckdb.ErrorTypeInternal, duckdb.ErrorTypeSerialization, duckdb.ErrorTypeCatalog, duckdb.ErrorTypeIndex),
		isType(err, duckdb.ErrorTypeIO) && !strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		return fmt.Errorf("%w: %w", index.ErrBroken, err)
	}
	return err
}
