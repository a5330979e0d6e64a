package control

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"time"
)

// Failed sign-ins delay the next ones, by name and by address. The first few
// are free: people mistype. From there the delay doubles up to its most, so
// that somebody who tries to lock a user out never does so for good.
const (
	freeByName    = 5
	freeByAddress = 30 // offices share one
	firstDelay    = 2 * time.Second
	mostDelay     = 15 * time.Minute
	failureMemory = 24 * time.Hour
	// maxFailures bounds the rows of either kind; those that lock nothing, and
	// the oldest, go first.
	maxFailures = 10_000
)

const (
	byName    = "name"
	byAddress = "address"
)

// subject names what is counted: hashed, because people type passwords where
// names belong.
func subject(kind, value string) string { return digest(kind + "\x00" + value)[:32] }

// address is what of a client's address is counted: the host, and of IPv6 the
// network, as one customer has all of a /64.
func address(from string) string {
	if ap, err := netip.ParseAddrPort(from); err == nil {
		from = ap.Addr().String()
	}
	ip, err := netip.ParseAddr(from)
	if err != nil {
		return from
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// delay is how long nobody may try after n failures.
func delay(n, free int64) time.Duration {
	if n <= free {
		return 0
	}
	d := firstDelay
	for i := free + 1; i < n && d < mostDelay; i++ {
		d *= 2
	}
	return min(d, mostDelay)
}

// attempt counts a sign-in as failed before its password is looked at: many at
// once must not all be the first. It tells what is locked; what is locked is
// not counted again, or nobody's lock would ever end who is attacked.
func (s *Store) attempt(ctx context.Context, name, from string) (nameLocked, addressLocked bool, err error) {
	now := s.opt.Now()
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		var err error
		if from != "" {
			if addressLocked, err = count(ctx, tx, byAddress, address(from), freeByAddress, now); err != nil || addressLocked {
				return err
			}
		}
		nameLocked, err = count(ctx, tx, byName, nameKey(name), freeByName, now)
		return err
	})
	return nameLocked, addressLocked, err
}

func count(ctx context.Context, tx *sql.Tx, kind, value string, free int64, now time.Time) (locked bool, err error) {
	id := subject(kind, value)
	var failed, at, until int64
	err = tx.QueryRowContext(ctx, `SELECT failed, failed_at, locked_until FROM failures WHERE subject = $1`, id).Scan(&failed, &at, &until)
	isNew := errors.Is(err, sql.ErrNoRows)
	if err != nil && !isNew {
		return false, err
	}
	if until > millis(now) {
		return true, nil
	}
	if at <= millis(now.Add(-failureMemory)) {
		failed = 0
	}
	failed++
	until = 0
	if d := delay(failed, free); d > 0 {
		until = millis(now.Add(d))
	}
	if !isNew {
		_, err = tx.ExecContext(ctx, `UPDATE failures SET failed = $1, failed_at = $2, locked_until = $3 WHERE subject = $4`, failed, millis(now), until, id)
		return false, err
	}
	var rows int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM failures WHERE kind = $1`, kind).Scan(&rows); err != nil {
		return false, err
	}
	if excess := rows + 1 - maxFailures; excess > 0 {
		if _, err := tx.ExecContext(ctx, `DELETE FROM failures WHERE subject IN (SELECT subject FROM failures WHERE kind = $1 ORDER BY locked_until, failed_at, subject LIMIT $2)`, kind, excess); err != nil {
			return false, err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO failures (subject, kind, failed, failed_at, locked_until) VALUES ($1, $2, $3, $4, $5)`, id, kind, failed, millis(now), until)
	return false, err
}

// forgive takes an attempt back that turned out right (or was not looked at):
// the name starts anew; of the address only this one is taken back, as
// somebody with an account of his own could try others' for ever otherwise.
func forgive(ctx context.Context, tx *sql.Tx, name, from string, right bool) error {
	const less = `UPDATE failures SET failed = failed - 1, locked_until = 0 WHERE subject = $1 AND failed > 0`
	if from != "" {
		if _, err := tx.ExecContext(ctx, less, subject(byAddress, address(from))); err != nil {
			return err
		}
	}
	query := less
	if right {
		query = `DELETE FROM failures WHERE subject = $1`
	}
	_, err := tx.ExecContext(ctx, query, subject(byName, nameKey(name)))
	return err
}
