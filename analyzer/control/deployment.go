package control

import (
	"context"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

const (
	dlpKey      = "dlp_key"
	dlpKeyBytes = 32
	// dlpOverlap is how long a key that was replaced is still handed out behind
	// the new one: as long as pairs with its tokens are usually kept.
	dlpOverlap = 7 * 24 * time.Hour
	// maxDLPKeys bounds the keys that are handed out at once.
	maxDLPKeys = 4
)

// DLPKey is the deployment's key of redaction as forwarders take it in
// DLP_KEY: base64, the newest first, commas between it and those that it
// replaced within the last seven days. It is made when somebody asks first.
func (s *Store) DLPKey(ctx context.Context) (string, error) {
	keys, err := s.dlpKeys(ctx)
	if err == nil && len(keys) == 0 {
		err = s.db.write(ctx, func(tx *sql.Tx) error {
			var n int
			if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM secrets WHERE name = $1`, dlpKey).Scan(&n); err != nil || n > 0 {
				return err
			}
			return s.addDLPKey(ctx, tx)
		})
		if err == nil {
			keys, err = s.dlpKeys(ctx)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read key of redaction: %w", err)
	}
	return strings.Join(keys, ","), nil
}

// dlpKeys are those that are handed out, the newest first.
func (s *Store) dlpKeys(ctx context.Context) ([]string, error) {
	var out []string
	replaced := s.opt.Now().Add(dlpOverlap) // when the next newer one was made
	over := millis(s.opt.Now().Add(-dlpOverlap))
	newer := millis(replaced)
	err := s.db.rows(ctx, func(r *sql.Rows) error {
		var value string
		var made int64
		if err := r.Scan(&value, &made); err != nil {
			return err
		}
		if len(out) < maxDLPKeys && (len(out) == 0 || newer > over) {
			out = append(out, value)
		}
		newer = made
		return nil
	}, `SELECT value, made_at FROM secrets WHERE name = $1 ORDER BY generation DESC`, dlpKey)
	return out, err
}

// RotateDLPKey puts a new key before the others.
func (s *Store) RotateDLPKey(ctx context.Context) error {
	if err := s.db.write(ctx, func(tx *sql.Tx) error { return s.addDLPKey(ctx, tx) }); err != nil {
		return fmt.Errorf("change key of redaction: %w", err)
	}
	return nil
}

func (s *Store) addDLPKey(ctx context.Context, tx *sql.Tx) error {
	b := make([]byte, dlpKeyBytes)
	if err := s.random(b); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO secrets (name, generation, value, made_at)
		SELECT CAST($1 AS TEXT), coalesce(max(generation), 0) + 1, CAST($2 AS TEXT), CAST($3 AS BIGINT) FROM secrets WHERE name = $1`,
		dlpKey, base64.StdEncoding.EncodeToString(b), millis(s.opt.Now()))
	return err
}

// dropOldSecrets removes keys that are not handed out any more: that their
// successor was made longer ago than the overlap.
func dropOldSecrets(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM secrets WHERE EXISTS
		(SELECT 1 FROM secrets newer WHERE newer.name = secrets.name AND newer.generation > secrets.generation AND newer.made_at <= $1)`,
		millis(now.Add(-dlpOverlap)))
	return err
}
