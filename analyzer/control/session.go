package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// maxSessions bounds the sign-ins of one user that are open at once; the
// oldest ends when another begins.
const maxSessions = 64

// Session is what a browser holds. Nobody else ever sees the token again: the
// store keeps its hash.
type Session struct {
	Token   string
	Expires time.Time // at the latest; idle ones end before
	// First: this user had never signed in before.
	First bool
}

// LogValue keeps the token out of logs.
func (s Session) LogValue() slog.Value { return slog.TimeValue(s.Expires) }

// String keeps the token out of what is printed by mistake.
func (s Session) String() string { return "session until " + s.Expires.UTC().Format(time.RFC3339) }

// GoString is String, for %#v.
func (s Session) GoString() string { return s.String() }

// External is somebody for whom an identity provider has vouched. The caller
// has checked that.
type External struct {
	Issuer, Subject string // who they are, for ever (OpenID Connect: iss, sub)
	Name            string // for people; may change, may be another's
	Role            Role
	Scope           Scope
}

// SignIn checks a password and begins a session. from is the client's address,
// with or without a port; empty for none. Errors: ErrDenied, always the same
// and after the same work for a name that is unknown, locked, disabled or of
// somebody external, and for a wrong password; ErrBusy.
func (s *Store) SignIn(ctx context.Context, name, password, from string) (Session, Identity, error) {
	u, hash, err := s.verify(ctx, name, password, from)
	if err != nil {
		return Session{}, Identity{}, fmt.Errorf("sign in: %w", err)
	}
	var out Session
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		// Between the look at the password and now it may have been changed.
		current, err := unchanged(ctx, tx, u, hash)
		if err != nil {
			return err
		}
		u = current
		if err := forgive(ctx, tx, name, from, true); err != nil {
			return err
		}
		out, err = s.begin(ctx, tx, u)
		return err
	})
	if err != nil {
		return Session{}, Identity{}, fmt.Errorf("sign in: %w", err)
	}
	if p, err := parsePHC(hash); err == nil && p.cost.weaker(s.opt.Argon) {
		s.noted("a password at today's cost", s.rehash(ctx, u, password, hash))
	}
	return out, u.Identity(), nil
}

// verify is who has this name and password, with the hash that it matched.
func (s *Store) verify(ctx context.Context, name, password, from string) (User, string, error) {
	nameLocked, addressLocked, err := s.attempt(ctx, name, from)
	if err != nil {
		return User{}, "", err
	}
	if addressLocked {
		// This tells the client of itself, not of any name; and it is what
		// keeps one client from taking all the work for passwords.
		return User{}, "", ErrDenied
	}
	u, hash, err := s.userWithHash(ctx, name)
	if err != nil {
		return User{}, "", err
	}
	ok, err := s.checkPassword(ctx, password, hash)
	if err != nil {
		undo := s.db.write(context.WithoutCancel(ctx), func(tx *sql.Tx) error {
			if nameLocked {
				return nil
			}
			return forgive(context.WithoutCancel(ctx), tx, name, from, false)
		})
		return User{}, "", errors.Join(err, undo)
	}
	if !ok || nameLocked || u.Disabled {
		return User{}, "", ErrDenied
	}
	return u, hash, nil
}

// userWithHash finds by name; the zero User and no hash when there is none.
func (s *Store) userWithHash(ctx context.Context, name string) (User, string, error) {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	u, err := user(ctx, s.db.reader, name)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return User{}, "", err
	}
	var hash string
	err = s.db.reader.QueryRowContext(ctx, `SELECT password FROM users WHERE id = $1`, u.ID).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, "", nil
	}
	return u, hash, err
}

// unchanged is the user as it is now, if the password is still that of the
// hash and signing in is allowed.
func unchanged(ctx context.Context, tx *sql.Tx, u User, hash string) (User, error) {
	var now string
	if err := tx.QueryRowContext(ctx, `SELECT password FROM users WHERE id = $1`, u.ID).Scan(&now); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return User{}, err
	}
	if now != hash {
		return User{}, ErrDenied
	}
	current, err := scanUser(tx.QueryRowContext(ctx, userColumns+` WHERE id = $1`, u.ID))
	if err != nil {
		return User{}, err
	}
	if current.Disabled {
		return User{}, ErrDenied
	}
	return current, nil
}

func (s *Store) rehash(ctx context.Context, u User, password, old string) error {
	hash, err := s.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	return s.db.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE users SET password = $1 WHERE id = $2 AND password = $3`, hash, u.ID, old)
		return err
	})
}

// ChangePassword is for users themselves: the old password must be right, and
// failing counts like failing to sign in. All sessions of the user end; the
// one returned is new. Errors: ErrDenied, ErrInvalid, ErrBusy.
func (s *Store) ChangePassword(ctx context.Context, name, old, password, from string) (Session, Identity, error) {
	fail := func(err error) (Session, Identity, error) {
		return Session{}, Identity{}, fmt.Errorf("change password: %w", err)
	}
	if err := checkNewPassword(name, password); err != nil {
		return fail(err)
	}
	u, hash, err := s.verify(ctx, name, old, from)
	if err != nil {
		return fail(err)
	}
	fresh, err := s.hashPassword(ctx, password)
	if err != nil {
		return fail(err)
	}
	var out Session
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		if u, err = unchanged(ctx, tx, u, hash); err != nil {
			return err
		}
		if err := forgive(ctx, tx, name, from, true); err != nil {
			return err
		}
		if err := updateUser(ctx, tx, u, fresh); err != nil {
			return err
		}
		out, err = s.begin(ctx, tx, u)
		return err
	})
	if err != nil {
		return fail(err)
	}
	return out, u.Identity(), nil
}

// SignInExternal begins a session for somebody whom an identity provider knows,
// and keeps what it says of them. A name that another has is told apart by a
// suffix: nobody becomes a local user by a name. Errors: ErrDenied (disabled
// here), ErrInvalid.
func (s *Store) SignInExternal(ctx context.Context, e External) (Session, Identity, error) {
	out, u, err := s.signInExternal(ctx, e)
	if err != nil {
		return Session{}, Identity{}, fmt.Errorf("sign in from identity provider: %w", err)
	}
	return out, u.Identity(), nil
}

func (s *Store) signInExternal(ctx context.Context, e External) (out Session, u User, err error) {
	const suffix = 9 // "~" and eight digits
	if e.Issuer == "" || e.Subject == "" || len(e.Issuer)+len(e.Subject) > 4096 {
		return out, u, ErrInvalid{"subject", "or issuer is missing or too long", "what the identity provider's token says"}
	}
	if err := checkName("name", e.Name, maxUserName-suffix); err != nil {
		return out, u, err
	}
	if !e.Role.Valid() {
		return out, u, errRole
	}
	if e.Scope, err = e.Scope.clean(); err != nil {
		return out, u, err
	}
	key := digest(e.Issuer + "\x00" + e.Subject)
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		var err error
		u, err = scanUser(tx.QueryRowContext(ctx, userColumns+` WHERE external_key = $1`, key))
		switch {
		case errors.Is(err, sql.ErrNoRows):
			id, err := s.randomText(idBytes)
			if err != nil {
				return err
			}
			u = User{ID: id, Name: e.Name, Role: e.Role, Scope: e.Scope, External: true, CreatedAt: s.opt.Now()}
			err = insertUser(ctx, tx, u, "", key)
			if errors.Is(err, ErrExists) {
				u.Name = e.Name + "~" + key[:suffix-1]
				err = insertUser(ctx, tx, u, "", key)
			}
			if err != nil {
				return err
			}
		case err != nil:
			return err
		case u.Disabled:
			return ErrDenied
		case u.Role != e.Role || !u.Scope.equal(e.Scope):
			// The provider decides, even of the last admin: who has no right
			// any more must not keep it because nobody else has it.
			u.Role, u.Scope = e.Role, e.Scope
			if err := updateUser(ctx, tx, u, ""); err != nil {
				return err
			}
		}
		out, err = s.begin(ctx, tx, u)
		return err
	})
	return out, u, err
}

// begin makes a session of a new family.
func (s *Store) begin(ctx context.Context, tx *sql.Tx, u User) (Session, error) {
	now := s.opt.Now()
	token, err := s.randomText(secretBytes)
	if err != nil {
		return Session{}, err
	}
	hash, ends := digest(token), now.Add(sessionAbsolute)
	if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE family IN
		(SELECT family FROM sessions WHERE user_id = $1 GROUP BY family ORDER BY max(seen_at) DESC, family LIMIT 1000000 OFFSET $2)`, u.ID, maxSessions-1); err != nil {
		return Session{}, err
	}
	// The first session's hash names the family; it tells nothing.
	first := u.LastSignInAt == nil
	if err := insertSession(ctx, tx, session{hash: hash, family: hash, userID: u.ID, issued: millis(now), ends: millis(ends), first: number(first)}); err != nil {
		return Session{}, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE users SET signed_in_at = $1 WHERE id = $2`, millis(now), u.ID); err != nil {
		return Session{}, err
	}
	return Session{Token: token, Expires: ends, First: first}, nil
}

// session is a row of sessions; times in milliseconds.
type session struct {
	hash, family, userID, predecessor  string
	issued, seen, ends, rotated, first int64
}

func insertSession(ctx context.Context, tx *sql.Tx, r session) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, family, user_id, issued_at, seen_at, ends_at, predecessor, rotated_at, first)
		VALUES ($1, $2, $3, $4, $4, $5, $6, 0, $7)`, r.hash, r.family, r.userID, r.issued, r.ends, r.predecessor, r.first)
	return err
}

func endSessions(ctx context.Context, tx *sql.Tx, userID string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE user_id = $1`, userID)
	return err
}

const sessionIdentityQuery = `SELECT u.id, u.name, u.role, u.scope, u.disabled, s.family, s.issued_at, s.seen_at, s.ends_at, s.predecessor, s.rotated_at, s.first
	FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.hash = $1`

// SessionIdentity is whose session a token is. Now and then it returns a
// Session that takes over from this one, for the client to keep: the old token
// ends a minute after the new one was used for the first time, so that
// requests on the way, and answers that were lost, sign nobody out. Errors:
// ErrDenied.
func (s *Store) SessionIdentity(ctx context.Context, token string) (Identity, *Session, error) {
	now := s.opt.Now()
	id, r, err := s.lookUp(ctx, token, now)
	if err != nil {
		return Identity{}, nil, err
	}
	return id, s.keep(ctx, r, now), nil
}

// PeekSession is SessionIdentity for who only wants to know: the session does
// not count as used, and nothing takes over from it. The Session has no token.
func (s *Store) PeekSession(ctx context.Context, token string) (Identity, Session, error) {
	id, r, err := s.lookUp(ctx, token, s.opt.Now())
	if err != nil {
		return Identity{}, Session{}, err
	}
	return id, Session{Expires: timeOf(r.ends), First: r.first != 0}, nil
}

func (s *Store) lookUp(ctx context.Context, token string, now time.Time) (Identity, session, error) {
	if len(token) != secretLen || !inAlphabet(token) {
		return Identity{}, session{}, ErrDenied
	}
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	r := session{hash: digest(token)}
	id := Identity{Kind: KindUser}
	var role, scope string
	var disabled int64
	err := s.sessionQuery.QueryRowContext(ctx, r.hash).Scan(&id.ID, &id.Name, &role, &scope, &disabled,
		&r.family, &r.issued, &r.seen, &r.ends, &r.predecessor, &r.rotated, &r.first)
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, session{}, ErrDenied
	}
	if err != nil {
		return Identity{}, session{}, fmt.Errorf("look up session: %w", err)
	}
	if disabled != 0 || r.ends <= millis(now) || r.seen <= millis(now.Add(-sessionIdle)) {
		return Identity{}, session{}, ErrDenied
	}
	id.Role, r.userID = Role(role), id.ID
	if id.Scope, err = parseScope(scope); err != nil {
		return Identity{}, session{}, fmt.Errorf("look up session: %w", err)
	}
	return id, r, nil
}

// keep notes that a session was used, and lets a new one take over when it is
// time. The request goes on when that fails.
func (s *Store) keep(ctx context.Context, r session, now time.Time) *Session {
	took := r.predecessor != ""
	// One that ends within the minute was taken over from, and hands on nothing.
	rotate := r.issued <= millis(now.Add(-sessionRotation)) && r.rotated <= millis(now.Add(-sessionOverlap)) && r.ends > millis(now.Add(sessionOverlap))
	if !took && !rotate && r.seen > millis(now.Add(-coarse)) {
		return nil
	}
	var next *Session
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE sessions SET seen_at = $1, predecessor = '' WHERE hash = $2`, millis(now), r.hash); err != nil {
			return err
		}
		if took {
			// The one before, and others that took over from it but never
			// arrived, have a minute left.
			if _, err := tx.ExecContext(ctx, `UPDATE sessions SET ends_at = $1 WHERE ends_at > $1 AND (hash = $2 OR predecessor = $2)`,
				millis(now.Add(sessionOverlap)), r.predecessor); err != nil {
				return err
			}
		}
		if !rotate {
			return nil
		}
		// Of requests at the same moment one gets the new token.
		switch err := changed(tx.ExecContext(ctx, `UPDATE sessions SET rotated_at = $1 WHERE hash = $2 AND rotated_at = $3`, millis(now), r.hash, r.rotated)); {
		case errors.Is(err, ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE family = $1 AND ends_at <= $2`, r.family, millis(now)); err != nil {
			return err
		}
		token, err := s.randomText(secretBytes)
		if err != nil {
			return err
		}
		successor := session{hash: digest(token), family: r.family, userID: r.userID, predecessor: r.hash, issued: millis(now), ends: r.ends, first: r.first}
		if err := insertSession(ctx, tx, successor); err != nil {
			return err
		}
		next = &Session{Token: token, Expires: timeOf(r.ends), First: r.first != 0}
		return nil
	})
	if err != nil {
		s.noted("that a session was used", err)
		return nil
	}
	return next
}

// SignOut ends a session, and those it took over from or that took over from
// it. A token of none is no error.
func (s *Store) SignOut(ctx context.Context, token string) error {
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE family IN (SELECT family FROM sessions WHERE hash = $1)`, digest(token))
		return err
	})
	if err != nil {
		return fmt.Errorf("sign out: %w", err)
	}
	return nil
}
