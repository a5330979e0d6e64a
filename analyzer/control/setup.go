package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// maxSetupTokens bounds the links that are good at once: each analyzer of a
// deployment prints its own when it starts.
const maxSetupTokens = 8

// SetupToken is a token for a link that makes the first admin, once, within an
// hour. Errors: ErrExists, as soon as there is a user.
func (s *Store) SetupToken(ctx context.Context) (token string, expires time.Time, err error) {
	if token, err = s.randomText(secretBytes); err != nil {
		return "", time.Time{}, fmt.Errorf("make setup token: %w", err)
	}
	expires = s.opt.Now().Add(setupLife)
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		if err := noUsers(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM setup_tokens WHERE hash IN
			(SELECT hash FROM setup_tokens ORDER BY expires_at DESC, hash LIMIT 1000000 OFFSET $1)`, maxSetupTokens-1); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO setup_tokens (hash, expires_at) VALUES ($1, $2)`, digest(token), millis(expires))
		return err
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("make setup token: %w", err)
	}
	return token, expires, nil
}

func noUsers(ctx context.Context, tx *sql.Tx) error {
	var n int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1) AS one`).Scan(&n); err != nil {
		return err
	}
	if n > 0 {
		return ErrExists
	}
	return nil
}

// UseSetup makes the first admin and begins a session. The token is used up,
// and all others with it. Errors: ErrDenied (unknown, used, expired, or
// somebody exists), ErrInvalid (the token stays good), ErrBusy.
func (s *Store) UseSetup(ctx context.Context, token, name, password string) (Session, Identity, error) {
	out, u, err := s.useSetup(ctx, token, NewUser{Name: name, Password: password, Role: RoleAdmin})
	if err != nil {
		return Session{}, Identity{}, fmt.Errorf("set up: %w", err)
	}
	return out, u.Identity(), nil
}

func (s *Store) useSetup(ctx context.Context, token string, n NewUser) (out Session, u User, err error) {
	bounded, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	// Before the work of hashing, which a token has to earn.
	var good int
	if err := s.db.reader.QueryRowContext(bounded, `SELECT count(*) FROM setup_tokens WHERE hash = $1 AND expires_at > $2`,
		digest(token), millis(s.opt.Now())).Scan(&good); err != nil {
		return out, u, err
	}
	if good == 0 {
		return out, u, ErrDenied
	}
	u, hash, err := s.newUser(ctx, n)
	if err != nil {
		return out, u, err
	}
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		if err := noUsers(ctx, tx); err != nil {
			if errors.Is(err, ErrExists) {
				err = ErrDenied
			}
			return err
		}
		// It may have been used, or have expired, in between.
		switch err := changed(tx.ExecContext(ctx, `DELETE FROM setup_tokens WHERE hash = $1 AND expires_at > $2`, digest(token), millis(s.opt.Now()))); {
		case errors.Is(err, ErrNotFound):
			return ErrDenied
		case err != nil:
			return err
		}
		if err := insertUser(ctx, tx, u, hash, ""); err != nil {
			return err
		}
		out, err = s.begin(ctx, tx, u)
		return err
	})
	return out, u, err
}
