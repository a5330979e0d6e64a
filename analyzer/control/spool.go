package control

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// maxSpools bounds the spools of one key's name: a forwarder makes one when
// its disk is new.
const maxSpools = 1024

// SpoolBinding says whose a spool is.
type SpoolBinding struct {
	Spool   [16]byte
	KeyID   string
	KeyName string
	BoundAt time.Time
}

// BindSpool lets only the forwarder that wrote a spool first write it again:
// the first key that asks has it from then on, with the keys of the same name
// and kind that replace it. Without a key ID (a forwarder on loopback, which
// needs none) it is nil for a spool that is nobody's, which it stays. Errors:
// ErrDenied.
func (s *Store) BindSpool(ctx context.Context, keyID string, spool [16]byte) error {
	keyID = lookup(keyID)
	// Nearly always it is bound already: no turn with the writers for that.
	bounded, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	bound, err := checkBinding(bounded, s.db.reader, keyID, spool)
	if err == nil && !bound && keyID != "" {
		err = s.db.write(ctx, func(tx *sql.Tx) error { return bind(ctx, tx, keyID, spool, s.opt.Now()) })
	}
	if err != nil {
		return fmt.Errorf("bind spool: %w", err)
	}
	return nil
}

// checkBinding tells whether the spool is bound to this key's name; ErrDenied
// when it is bound to another.
func checkBinding(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, keyID string, spool [16]byte,
) (bool, error) {
	var same int
	err := q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM keys mine WHERE mine.id = $1 AND mine.name = owner.name AND mine.kind = owner.kind)
		FROM spools JOIN keys owner ON owner.id = spools.key_id WHERE spools.spool = $2`, keyID, hex.EncodeToString(spool[:])).Scan(&same)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case same == 0:
		return false, ErrDenied
	}
	return true, nil
}

func bind(ctx context.Context, tx *sql.Tx, keyID string, spool [16]byte, now time.Time) error {
	if bound, err := checkBinding(ctx, tx, keyID, spool); err != nil || bound {
		return err
	}
	var exists, has int
	if err := tx.QueryRowContext(ctx, `SELECT count(*),
		(SELECT count(*) FROM spools JOIN keys owner ON owner.id = spools.key_id JOIN keys mine ON mine.id = $1 WHERE owner.name = mine.name AND owner.kind = mine.kind)
		FROM keys WHERE id = $1 AND kind = $2`, keyID, string(KeyForwarder)).Scan(&exists, &has); err != nil {
		return err
	}
	if exists == 0 {
		return ErrDenied
	}
	if has >= maxSpools {
		return fmt.Errorf("%w: this key's name has %d spools already; an admin can release some", ErrDenied, has)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO spools (spool, key_id, bound_at) VALUES ($1, $2, $3)`, hex.EncodeToString(spool[:]), keyID, millis(now))
	return err
}

// ReleaseSpool makes a spool nobody's again: the next key that writes it has
// it. Errors: ErrNotFound.
func (s *Store) ReleaseSpool(ctx context.Context, spool [16]byte) error {
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.ExecContext(ctx, `DELETE FROM spools WHERE spool = $1`, hex.EncodeToString(spool[:])))
	})
	if err != nil {
		return fmt.Errorf("release spool: %w", err)
	}
	return nil
}

// ListSpools are all bindings, the newest first.
func (s *Store) ListSpools(ctx context.Context) ([]SpoolBinding, error) {
	var out []SpoolBinding
	err := s.db.rows(ctx, func(r *sql.Rows) error {
		var b SpoolBinding
		var spool string
		var at int64
		if err := r.Scan(&spool, &b.KeyID, &b.KeyName, &at); err != nil {
			return err
		}
		id, err := hex.DecodeString(spool)
		if err != nil || len(id) != len(b.Spool) {
			return fmt.Errorf("read binding: %q is no spool", spool)
		}
		copy(b.Spool[:], id)
		b.BoundAt = timeOf(at)
		out = append(out, b)
		return nil
	}, `SELECT spool, key_id, name, bound_at FROM spools JOIN keys ON keys.id = spools.key_id ORDER BY bound_at DESC, spool`)
	if err != nil {
		return nil, fmt.Errorf("list spools: %w", err)
	}
	return out, nil
}
