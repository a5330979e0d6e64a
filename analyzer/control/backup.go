package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tables are all tables with their columns, those that others refer to first:
// what is copied between databases.
var tables = []struct {
	name    string
	columns []string
}{
	{"users", []string{"id", "name", "name_key", "password", "role", "scope", "disabled", "external_key", "created_at", "signed_in_at"}},
	{"sessions", []string{"hash", "family", "user_id", "issued_at", "seen_at", "ends_at", "predecessor", "rotated_at", "first"}},
	{"setup_tokens", []string{"hash", "expires_at"}},
	{"failures", []string{"subject", "kind", "failed", "failed_at", "locked_until"}},
	{"keys", []string{"id", "name", "kind", "hash", "role", "scope", "created_by", "created_at", "expires_at", "revoked_at", "used_at"}},
	{"spools", []string{"spool", "key_id", "bound_at"}},
	{"certificate_spools", []string{"spool", "certificate", "bound_at"}},
	{"secrets", []string{"name", "generation", "value", "made_at"}},
	{"views", []string{"owner", "name", "shared", "document", "updated_at"}},
	{"audit", []string{"seq", "at", "actor_kind", "actor_id", "actor_name", "actor_role", "action", "target", "detail", "origin", "result", "hash"}},
	{"audit_head", []string{"id", "seq", "hash"}},
}

// fleeting tables are not restored: who was signed in signs in again.
var fleeting = []string{"sessions", "setup_tokens", "failures"}

// Snapshot writes a consistent copy of the store to a file, mode 0600, which
// it replaces as a whole: a SQLite database, whatever the store itself is in.
// It holds what the store holds, hashes of passwords and the key of redaction
// too.
func (s *Store) Snapshot(ctx context.Context, file string) error {
	if err := s.snapshot(ctx, file); err != nil {
		return fmt.Errorf("write snapshot of control store: %w", err)
	}
	return nil
}

func (s *Store) snapshot(ctx context.Context, file string) (err error) {
	temp, err := tempFile(filepath.Dir(file), filepath.Base(file))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeDatabase(temp)) }()
	if s.db.dialect == sqlite {
		// Into an empty file, which keeps its mode.
		if _, err := s.db.writer.ExecContext(ctx, `VACUUM INTO $1`, temp); err != nil {
			return err
		}
	} else if err := s.dump(ctx, temp); err != nil {
		return err
	}
	if err := syncFile(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, file); err != nil {
		return err
	}
	return syncFile(filepath.Dir(file))
}

// dump copies all rows, as of one moment, into a new SQLite file.
func (s *Store) dump(ctx context.Context, file string) error {
	to, err := openSQLite(ctx, file)
	if err != nil {
		return err
	}
	err = to.migrate(ctx)
	if err == nil {
		err = s.db.snapshot(ctx, func(from *sql.Tx) error { return copyTables(ctx, from, to, nil) })
	}
	return errors.Join(err, to.close())
}

// Backup writes what Snapshot would to w.
func (s *Store) Backup(ctx context.Context, w io.Writer) (err error) {
	dir := os.TempDir()
	if s.db.file != "" {
		dir = filepath.Dir(s.db.file) // what is in it must not lie elsewhere
	} else if s.opt.AnchorFile != "" {
		dir = filepath.Dir(s.opt.AnchorFile)
	}
	temp, err := tempFile(dir, "control-backup")
	if err != nil {
		return fmt.Errorf("back up control store: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(temp)) }()
	if err := s.Snapshot(ctx, temp); err != nil {
		return fmt.Errorf("back up control store: %w", err)
	}
	f, err := os.Open(temp)
	if err != nil {
		return fmt.Errorf("back up control store: %w", err)
	}
	defer f.Close()
	if _, err := io.Copy(w, f); err != nil {
		return fmt.Errorf("back up control store: %w", err)
	}
	return nil
}

// Restore makes the store at dsn from a file that Snapshot or Backup wrote.
// Nobody is signed in afterwards, and the audit log says what was done. Errors:
// ErrExists when there is a store with something in it, ErrNewer.
func Restore(ctx context.Context, dsn, file string, opt Options) error {
	if err := restore(ctx, dsn, file, opt); err != nil {
		return fmt.Errorf("restore control store: %w", err)
	}
	return nil
}

func restore(ctx context.Context, dsn, file string, opt Options) (err error) {
	if opt, err = opt.withDefaults(); err != nil {
		return err
	}
	toFile := !strings.Contains(dsn, "://")
	if toFile {
		if dsn, err = filepath.Abs(dsn); err != nil {
			return err
		}
		if _, err := os.Stat(dsn); err == nil {
			return fmt.Errorf("%s: %w", dsn, ErrExists)
		}
		if opt.AnchorFile == "" {
			opt.AnchorFile = dsn + ".audit"
		}
		if err := os.MkdirAll(filepath.Dir(dsn), 0o700); err != nil {
			return err
		}
	}
	// The file itself stays as it is: opening it brings it up to date.
	dir := os.TempDir()
	if toFile {
		dir = filepath.Dir(dsn)
	}
	temp, err := tempFile(dir, "control-restore")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeDatabase(temp)) }()
	if err := copyFile(temp, file); err != nil {
		return err
	}
	from, err := openSQLite(ctx, temp)
	if err != nil {
		return err
	}
	err = prepare(ctx, from)
	if err == nil && !toFile {
		err = fill(ctx, dsn, from)
	}
	if err := errors.Join(err, from.close()); err != nil {
		return err
	}
	if toFile {
		if err := syncFile(temp); err != nil {
			return err
		}
		if err := os.Rename(temp, dsn); err != nil {
			return err
		}
		if err := syncFile(dir); err != nil {
			return err
		}
	}
	return reanchor(ctx, dsn, opt)
}

// prepare checks a copy and takes from it what is not restored.
func prepare(ctx context.Context, d *db) error {
	var verdict string
	if err := d.reader.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check the file: %w", err)
	}
	if verdict != "ok" {
		return fmt.Errorf("check the file: %s", verdict)
	}
	var ours int
	if err := d.reader.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name IN ('meta', 'audit_head')`).Scan(&ours); err != nil {
		return fmt.Errorf("check the file: %w", err)
	}
	if ours != 2 {
		return ErrInvalid{"file", "is no snapshot of a control store", "what a backup of Weir has"}
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	return d.write(ctx, func(tx *sql.Tx) error {
		for _, name := range fleeting {
			if _, err := tx.ExecContext(ctx, `DELETE FROM `+name); err != nil {
				return err
			}
		}
		return nil
	})
}

// fill copies into a PostgreSQL store that has nothing in it yet.
func fill(ctx context.Context, dsn string, from *db) error {
	to, err := openDB(ctx, dsn)
	if err != nil {
		return err
	}
	err = to.migrate(ctx)
	if err == nil {
		err = from.snapshot(ctx, func(tx *sql.Tx) error {
			return copyTables(ctx, tx, to, func(to *sql.Tx) error {
				head, err := headOf(ctx, to)
				if err != nil {
					return err
				}
				if err := noUsers(ctx, to); err != nil {
					return err
				}
				if head.seq > 0 {
					return ErrExists
				}
				return nil
			})
		})
	}
	return errors.Join(err, to.close())
}

// reanchor ends a restore: the anchor holds what was restored, and the log says
// what the anchor held before, as events after that were lost.
func reanchor(ctx context.Context, dsn string, opt Options) error {
	s, err := open(ctx, dsn, opt)
	if err != nil {
		return err
	}
	return errors.Join(s.reanchor(ctx), s.Close())
}

func (s *Store) reanchor(ctx context.Context) error {
	head, err := headOf(ctx, s.db.reader)
	if err != nil {
		return err
	}
	detail := fmt.Sprintf("from a backup that ends at event %d", head.seq)
	if s.anchor != nil {
		if old := s.anchor.last(); old.seq > head.seq {
			detail += fmt.Sprintf("; events up to %d are not in it", old.seq)
		}
		if err := s.anchor.set(head); err != nil {
			return err
		}
	}
	return s.Audit(ctx, Event{Actor: Local(), Action: "control.restore", Detail: detail, Result: ResultOK})
}

// copyTables copies all rows into a store that has its schema; first may look
// at it and refuse.
func copyTables(ctx context.Context, from *sql.Tx, to *db, first func(*sql.Tx) error) error {
	return to.transact(ctx, func(tx *sql.Tx) error {
		if first != nil {
			if err := first(tx); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM audit_head`); err != nil {
			return err
		}
		for _, t := range tables {
			marks := make([]string, len(t.columns))
			for i := range marks {
				marks[i] = fmt.Sprintf("$%d", i+1)
			}
			columns := strings.Join(t.columns, ", ")
			insert, err := tx.PrepareContext(ctx, fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, t.name, columns, strings.Join(marks, ", ")))
			if err != nil {
				return err
			}
			err = each(ctx, from, func(r *sql.Rows) error {
				values := make([]any, len(t.columns))
				into := make([]any, len(values))
				for i := range values {
					into[i] = &values[i]
				}
				if err := r.Scan(into...); err != nil {
					return err
				}
				_, err := insert.ExecContext(ctx, values...)
				return err
			}, fmt.Sprintf(`SELECT %s FROM %s`, columns, t.name))
			if err := errors.Join(err, insert.Close()); err != nil {
				return fmt.Errorf("copy %s: %w", t.name, err)
			}
		}
		return nil
	})
}

// tempFile makes an empty file, mode 0600.
func tempFile(dir, name string) (string, error) {
	f, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// removeDatabase removes a SQLite database with what SQLite keeps beside it,
// whatever of it is there.
func removeDatabase(file string) error {
	var errs []error
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} {
		if err := os.Remove(file + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

// syncFile makes a file, or the names in a folder, durable.
func syncFile(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
