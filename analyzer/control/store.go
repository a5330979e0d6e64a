package control

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/weir-capture/weir/internal/lograte"
)

// Times of sessions and of what is kept coarsely.
const (
	sessionIdle     = 8 * time.Hour
	sessionAbsolute = 7 * 24 * time.Hour
	sessionRotation = time.Hour
	sessionOverlap  = time.Minute
	setupLife       = time.Hour
	// coarse is how exact "last seen" and "last used" are: a write a minute,
	// not one a request.
	coarse = time.Minute
	// sweepEvery is how often Run removes what has expired.
	sweepEvery = 10 * time.Minute
)

// Options of a Store. The zero value is right.
type Options struct {
	Now  func() time.Time // time.Now
	Rand io.Reader        // crypto/rand; for tests, which it must outlive
	Log  *slog.Logger     // what could not be kept and refuses nobody; discarded when nil
	// AnchorFile holds the end of the audit log apart from the database, so
	// that the database alone cannot lose it. By default it stands beside a
	// SQLite file; for PostgreSQL there is none without a name.
	AnchorFile string
	// Argon is the cost of passwords made from now on; by default what RFC 9106
	// recommends for 64 MiB.
	Argon Argon
}

func (o Options) withDefaults() (Options, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Argon == (Argon{}) {
		o.Argon = defaultArgon
	}
	if !o.Argon.valid() {
		return o, ErrInvalid{"Argon", "is out of bounds", "up to 1 GiB, 64 passes and 64 lanes, and 8 KiB a lane"}
	}
	return o, nil
}

// Store is an open control store, safe for concurrent use, by other processes
// too.
type Store struct {
	db      *db
	opt     Options
	hashers *hashers
	limited *lograte.Logger
	anchor  *anchor // nil without a file

	keyQuery, sessionQuery *sql.Stmt
}

// Open opens the store at dsn, the path of a file or postgres://…, makes it
// when it is missing (from the snapshot of a restored backup, when one lies
// beside it; see SnapshotName) and brings its schema up to date. The caller
// closes it.
func Open(ctx context.Context, dsn string, opt Options) (*Store, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := adoptSnapshot(ctx, dsn, opt); err != nil {
		return nil, err
	}
	return open(ctx, dsn, opt)
}

func open(ctx context.Context, dsn string, opt Options) (_ *Store, err error) {
	d, err := openDB(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s := &Store{db: d, opt: opt, hashers: newHashers(), limited: lograte.New(opt.Log, time.Minute)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if err := d.migrate(ctx); err != nil {
		return nil, fmt.Errorf("prepare control store: %w", err)
	}
	if s.keyQuery, err = d.reader.PrepareContext(ctx, keyIdentityQuery); err != nil {
		return nil, fmt.Errorf("prepare control store: %w", err)
	}
	if s.sessionQuery, err = d.reader.PrepareContext(ctx, sessionIdentityQuery); err != nil {
		return nil, fmt.Errorf("prepare control store: %w", err)
	}
	file := opt.AnchorFile
	if file == "" && d.file != "" {
		file = d.file + ".audit"
	}
	if file != "" {
		if s.anchor, err = openAnchor(file); err != nil {
			return nil, err
		}
	}
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the database. No other method may run then or later.
func (s *Store) Close() error {
	var errs []error
	for _, q := range []*sql.Stmt{s.keyQuery, s.sessionQuery} {
		if q != nil {
			errs = append(errs, q.Close())
		}
	}
	if s.anchor != nil {
		errs = append(errs, s.anchor.close())
	}
	errs = append(errs, s.db.close())
	s.limited.Close()
	return errors.Join(errs...)
}

// Ping tells whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	var n int
	if err := s.db.reader.QueryRowContext(ctx, `SELECT count(*) FROM meta WHERE name = 'schema'`).Scan(&n); err != nil {
		return fmt.Errorf("ask control store: %w", err)
	}
	return nil
}

// Run removes what has expired, until ctx ends. A store that is not run
// refuses the expired all the same.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.opt.Log.Warn("control store: cannot remove what has expired; trying again later", "err", err)
		}
	}
}

// sweep removes rows that nothing looks at any more.
func (s *Store) sweep(ctx context.Context) error {
	now := s.opt.Now()
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		for _, q := range []struct {
			text string
			args []any
		}{
			{`DELETE FROM sessions WHERE ends_at <= $1 OR seen_at <= $2`, []any{millis(now), millis(now.Add(-sessionIdle))}},
			{`DELETE FROM setup_tokens WHERE expires_at <= $1`, []any{millis(now)}},
			{`DELETE FROM failures WHERE failed_at <= $1 AND locked_until <= $2`, []any{millis(now.Add(-failureMemory)), millis(now)}},
		} {
			if _, err := tx.ExecContext(ctx, q.text, q.args...); err != nil {
				return err
			}
		}
		return errors.Join(dropOldSecrets(ctx, tx, now), dropDeadKeys(ctx, tx, now))
	})
	if err != nil {
		return fmt.Errorf("remove what has expired: %w", err)
	}
	return nil
}

// noted is for what is written beside an answer that does not depend on it: a
// full disk must not sign everybody out. It says what failed, now and then.
func (s *Store) noted(what string, err error) {
	if err != nil {
		s.limited.Log(slog.LevelWarn, "control store: cannot note "+what, slog.Any("err", err))
	}
}

// unprintable characters are what the databases or a terminal would take for
// something else.
func unprintable(r rune) bool { return unicode.IsControl(r) || r == utf8.RuneError }

// checkName bounds a name that people give.
func checkName(field, name string, most int) error {
	if name == "" || len(name) > most || strings.TrimSpace(name) != name || !printable(name) {
		return ErrInvalid{field, "is empty, too long, or has characters that cannot be shown", fmt.Sprintf("1 to %d bytes of text without spaces around it", most)}
	}
	return nil
}

// lookup is text to look something up by. What a database does not take as text
// (PostgreSQL: invalid UTF-8, NUL) finds nothing, rather than failing.
func lookup(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
}

// nameKey is a user's name as it must be unique: Ann is ann.
func nameKey(name string) string { return strings.ToLower(strings.TrimSpace(lookup(name))) }

// SnapshotName is the file, in the folder of the database, in which a backup
// keeps the control store: Snapshot writes it before, and Open takes it when
// there is no database yet.
const SnapshotName = "control.snapshot"

// adoptSnapshot makes the database from the snapshot beside where it would be.
func adoptSnapshot(ctx context.Context, dsn string, opt Options) error {
	if dsn == "" || strings.Contains(dsn, "://") {
		return nil
	}
	if _, err := os.Stat(dsn); err == nil {
		return nil
	}
	file := filepath.Join(filepath.Dir(dsn), SnapshotName)
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	return Restore(ctx, dsn, file, opt)
}
