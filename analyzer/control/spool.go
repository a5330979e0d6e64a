package control

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// maxSpools bounds the spools of one owner: a forwarder makes one when its disk
// is new.
const maxSpools = 1024

// SpoolOwner is who writes a spool: a forwarder by its key, or by the name that
// its certificate is for. The zero value is a forwarder on loopback, which needs
// neither.
type SpoolOwner struct{ KeyID, Certificate string }

// SpoolBinding says whose a spool is: KeyID and KeyName, or Certificate.
type SpoolBinding struct {
	Spool       [16]byte
	KeyID       string
	KeyName     string
	Certificate string
	BoundAt     time.Time
}

// BindSpool lets only the forwarder that wrote a spool first write it again:
// the first key that asks has it from then on, with the keys of the same name
// and kind that replace it, or the first certificate, with those for the same
// name. For the zero owner it is nil for a spool that is nobody's, which it
// stays. Errors: ErrDenied.
func (s *Store) BindSpool(ctx context.Context, owner SpoolOwner, spool [16]byte) error {
	owner.KeyID, owner.Certificate = lookup(owner.KeyID), lookup(owner.Certificate)
	// Nearly always it is bound already: no turn with the writers for that.
	bounded, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	bound, err := checkBinding(bounded, s.db.reader, owner, spool)
	if err == nil && !bound && owner != (SpoolOwner{}) {
		err = s.db.write(ctx, func(tx *sql.Tx) error { return bind(ctx, tx, owner, spool, s.opt.Now()) })
	}
	if err != nil {
		return fmt.Errorf("bind spool: %w", err)
	}
	return nil
}

// checkBinding tells whether the spool is bound to this owner; ErrDenied when it
// is bound to another.
func checkBinding(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, owner SpoolOwner, spool [16]byte,
) (bool, error) {
	var same int
	err := q.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM keys mine WHERE mine.id = $1 AND mine.name = owner.name AND mine.kind = owner.kind)
		FROM spools JOIN keys owner ON owner.id = spools.key_id WHERE spools.spool = $3
		UNION ALL SELECT CASE WHEN certificate = $2 THEN 1 ELSE 0 END FROM certificate_spools WHERE spool = $3`,
		owner.KeyID, owner.Certificate, hex.EncodeToString(spool[:])).Scan(&same)
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

func bind(ctx context.Context, tx *sql.Tx, owner SpoolOwner, spool [16]byte, now time.Time) error {
	if bound, err := checkBinding(ctx, tx, owner, spool); err != nil || bound {
		return err
	}
	exists, has, insert, whose := 1, 0, `INSERT INTO certificate_spools (spool, certificate, bound_at) VALUES ($1, $2, $3)`, owner.Certificate
	var err error
	if owner.KeyID == "" {
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM certificate_spools WHERE certificate = $1`, owner.Certificate).Scan(&has)
	} else {
		insert, whose = `INSERT INTO spools (spool, key_id, bound_at) VALUES ($1, $2, $3)`, owner.KeyID
		err = tx.QueryRowContext(ctx, `SELECT count(*),
			(SELECT count(*) FROM spools JOIN keys owner ON owner.id = spools.key_id JOIN keys mine ON mine.id = $1 WHERE owner.name = mine.name AND owner.kind = mine.kind)
			FROM keys WHERE id = $1 AND kind = $2`, owner.KeyID, string(KeyForwarder)).Scan(&exists, &has)
	}
	switch {
	case err != nil:
		return err
	case exists == 0:
		return ErrDenied
	case has >= maxSpools:
		return fmt.Errorf("%w: this forwarder has %d spools already; an admin can release some", ErrDenied, has)
	}
	_, err = tx.ExecContext(ctx, insert, hex.EncodeToString(spool[:]), whose, millis(now))
	return err
}

// ReleaseSpool makes a spool nobody's again: the next key or certificate that
// writes it has it. Errors: ErrNotFound.
func (s *Store) ReleaseSpool(ctx context.Context, spool [16]byte) error {
	id := hex.EncodeToString(spool[:])
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		err := changed(tx.ExecContext(ctx, `DELETE FROM spools WHERE spool = $1`, id))
		if errors.Is(err, ErrNotFound) {
			err = changed(tx.ExecContext(ctx, `DELETE FROM certificate_spools WHERE spool = $1`, id))
		}
		return err
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
		if err := r.Scan(&spool, &b.KeyID, &b.KeyName, &b.Certificate, &at); err != nil {
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
	}, `SELECT spool, key_id, name, '' AS certificate, bound_at FROM spools JOIN keys ON keys.id = spools.key_id
		UNION ALL SELECT spool, '', '', certificate, bound_at FROM certificate_spools ORDER BY bound_at DESC, spool`)
	if err != nil {
		return nil, fmt.Errorf("list spools: %w", err)
	}
	return out, nil
}
