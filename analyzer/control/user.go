package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// maxUserName bounds a user's name, in bytes.
const maxUserName = 128

// User is somebody who may sign in. It never has the password.
type User struct {
	ID       string
	Name     string
	Role     Role
	Scope    Scope
	Disabled bool
	// External: signs in through an identity provider, and has no password.
	External     bool
	CreatedAt    time.Time
	LastSignInAt *time.Time // nil: never
}

// Identity is who the user is to the rest of the program.
func (u User) Identity() Identity {
	return Identity{Kind: KindUser, ID: u.ID, Name: u.Name, Role: u.Role, Scope: u.Scope}
}

// NewUser is what CreateUser needs.
type NewUser struct {
	Name     string
	Password string
	Role     Role
	Scope    Scope
}

// LogValue keeps the password out of logs.
func (u NewUser) LogValue() slog.Value {
	return slog.GroupValue(slog.String("name", u.Name), slog.String("role", string(u.Role)))
}

// UserChange is what SetUser changes; nil fields stay.
type UserChange struct {
	Role     *Role
	Scope    *Scope
	Disabled *bool
	Password *string
}

// LogValue keeps the password out of logs.
func (c UserChange) LogValue() slog.Value {
	var attrs []slog.Attr
	if c.Role != nil {
		attrs = append(attrs, slog.String("role", string(*c.Role)))
	}
	if c.Disabled != nil {
		attrs = append(attrs, slog.Bool("disabled", *c.Disabled))
	}
	return slog.GroupValue(append(attrs, slog.Bool("scope", c.Scope != nil), slog.Bool("password", c.Password != nil))...)
}

const userColumns = `SELECT id, name, role, scope, disabled, external_key, created_at, signed_in_at FROM users`

type scanner interface{ Scan(dest ...any) error }

func scanUser(row scanner) (User, error) {
	var u User
	var role, scope string
	var disabled, created, signedIn int64
	var external sql.NullString
	if err := row.Scan(&u.ID, &u.Name, &role, &scope, &disabled, &external, &created, &signedIn); err != nil {
		return User{}, err
	}
	u.Role, u.Disabled, u.External = Role(role), disabled != 0, external.Valid
	u.CreatedAt, u.LastSignInAt = timeOf(created), timeOrNil(signedIn)
	var err error
	u.Scope, err = parseScope(scope)
	return u, err
}

func parseScope(text string) (Scope, error) {
	var s Scope
	if text == noScope {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("read scope: %w", err)
	}
	return s, nil
}

// noScope is how a scope without limits is written.
const noScope = "{}"

func formatScope(s Scope) (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// user finds by name; sql.ErrNoRows becomes ErrNotFound.
func user(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}, name string,
) (User, error) {
	u, err := scanUser(q.QueryRowContext(ctx, userColumns+` WHERE name_key = $1`, nameKey(name)))
	if errors.Is(err, sql.ErrNoRows) {
		return User{}, ErrNotFound
	}
	return u, err
}

// HasUsers tells whether anybody can sign in yet: until then there is a
// one-time link (SetupToken).
func (s *Store) HasUsers(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	var n int
	if err := s.db.reader.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1) AS one`).Scan(&n); err != nil {
		return false, fmt.Errorf("count users: %w", err)
	}
	return n > 0, nil
}

// User finds one by name, whatever its case. Errors: ErrNotFound.
func (s *Store) User(ctx context.Context, name string) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	u, err := user(ctx, s.db.reader, name)
	if err != nil {
		return User{}, fmt.Errorf("find user: %w", err)
	}
	return u, nil
}

// ListUsers are all users, by name.
func (s *Store) ListUsers(ctx context.Context) ([]User, error) {
	var out []User
	err := s.db.rows(ctx, func(r *sql.Rows) error {
		u, err := scanUser(r)
		out = append(out, u)
		return err
	}, userColumns+` ORDER BY name_key`)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return out, nil
}

// CreateUser adds somebody who signs in with a password. One-time setup links
// end with it. Errors: ErrInvalid, ErrExists.
func (s *Store) CreateUser(ctx context.Context, n NewUser) (User, error) {
	u, hash, err := s.newUser(ctx, n)
	if err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	if err := s.db.write(ctx, func(tx *sql.Tx) error { return insertUser(ctx, tx, u, hash, "") }); err != nil {
		return User{}, fmt.Errorf("create user: %w", err)
	}
	return u, nil
}

// newUser checks what was asked for and hashes the password.
func (s *Store) newUser(ctx context.Context, n NewUser) (User, string, error) {
	if err := checkName("name", n.Name, maxUserName); err != nil {
		return User{}, "", err
	}
	if !n.Role.Valid() {
		return User{}, "", errRole
	}
	scope, err := n.Scope.clean()
	if err != nil {
		return User{}, "", err
	}
	if err := checkNewPassword(n.Name, n.Password); err != nil {
		return User{}, "", err
	}
	hash, err := s.hashPassword(ctx, n.Password)
	if err != nil {
		return User{}, "", err
	}
	id, err := s.randomText(idBytes)
	if err != nil {
		return User{}, "", err
	}
	return User{ID: id, Name: n.Name, Role: n.Role, Scope: scope, CreatedAt: s.opt.Now()}, hash, nil
}

var errRole = ErrInvalid{"role", "is not known", "viewer, investigator, operator or admin"}

func insertUser(ctx context.Context, tx *sql.Tx, u User, hash, externalKey string) error {
	if _, err := user(ctx, tx, u.Name); !errors.Is(err, ErrNotFound) {
		if err == nil {
			err = ErrExists
		}
		return err
	}
	scope, err := formatScope(u.Scope)
	if err != nil {
		return err
	}
	external := sql.NullString{String: externalKey, Valid: externalKey != ""}
	if _, err := tx.ExecContext(ctx, `INSERT INTO users (id, name, name_key, password, role, scope, disabled, external_key, created_at, signed_in_at)
		VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, 0)`,
		u.ID, u.Name, nameKey(u.Name), hash, string(u.Role), scope, external, millis(u.CreatedAt)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM setup_tokens`)
	return err
}

// SetUser changes somebody. A change of role, scope, password or of being
// disabled ends the user's sessions. The last admin who is not disabled stays
// so. Errors: ErrNotFound, ErrInvalid.
func (s *Store) SetUser(ctx context.Context, name string, c UserChange) (User, error) {
	u, err := s.setUser(ctx, name, c)
	if err != nil {
		return User{}, fmt.Errorf("change user: %w", err)
	}
	return u, nil
}

func (s *Store) setUser(ctx context.Context, name string, c UserChange) (User, error) {
	if c.Role != nil && !c.Role.Valid() {
		return User{}, errRole
	}
	var scope Scope
	if c.Scope != nil {
		var err error
		if scope, err = c.Scope.clean(); err != nil {
			return User{}, err
		}
	}
	hash := ""
	if c.Password != nil {
		u, err := s.User(ctx, name)
		if err != nil {
			return User{}, err
		}
		if u.External {
			return User{}, ErrInvalid{"password", "is not kept here", "a change at the identity provider"}
		}
		if err := checkNewPassword(u.Name, *c.Password); err != nil {
			return User{}, err
		}
		if hash, err = s.hashPassword(ctx, *c.Password); err != nil {
			return User{}, err
		}
	}
	var out User
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		u, err := user(ctx, tx, name)
		if err != nil {
			return err
		}
		was := u
		if c.Role != nil {
			u.Role = *c.Role
		}
		if c.Scope != nil {
			u.Scope = scope
		}
		if c.Disabled != nil {
			u.Disabled = *c.Disabled
		}
		if u.Role != RoleAdmin || u.Disabled {
			if err := notLastAdmin(ctx, tx, was); err != nil {
				return err
			}
		}
		out = u
		if u.Role == was.Role && u.Scope.equal(was.Scope) && u.Disabled == was.Disabled && hash == "" {
			return nil
		}
		return updateUser(ctx, tx, u, hash)
	})
	return out, err
}

// updateUser writes role, scope, disabled and, unless it is empty, the hash,
// and ends the user's sessions.
func updateUser(ctx context.Context, tx *sql.Tx, u User, hash string) error {
	scope, err := formatScope(u.Scope)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE users SET role = $1, scope = $2, disabled = $3 WHERE id = $4`,
		string(u.Role), scope, number(u.Disabled), u.ID); err != nil {
		return err
	}
	if hash != "" {
		if _, err := tx.ExecContext(ctx, `UPDATE users SET password = $1 WHERE id = $2`, hash, u.ID); err != nil {
			return err
		}
	}
	return endSessions(ctx, tx, u.ID)
}

// notLastAdmin refuses when u is the only admin who may sign in.
func notLastAdmin(ctx context.Context, tx *sql.Tx, u User) error {
	if u.Role != RoleAdmin || u.Disabled {
		return nil
	}
	var others int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE role = $1 AND disabled = 0 AND id <> $2`,
		string(RoleAdmin), u.ID).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return ErrInvalid{"name", "is the last admin", "another admin first"}
	}
	return nil
}

// SetPassword gives a user a new password, without asking for the old one, and
// ends the user's sessions. Errors: ErrNotFound, ErrInvalid.
func (s *Store) SetPassword(ctx context.Context, name, password string) error {
	_, err := s.SetUser(ctx, name, UserChange{Password: &password})
	return err
}

// DeleteUser removes somebody, with sessions and views that are not shared;
// the audit log keeps the name. Errors: ErrNotFound, ErrInvalid (the last
// admin).
func (s *Store) DeleteUser(ctx context.Context, name string) error {
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		u, err := user(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := notLastAdmin(ctx, tx, u); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM views WHERE owner = $1 AND shared = 0`, nameKey(u.Name)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM users WHERE id = $1`, u.ID)
		return err
	})
	if err != nil {
		return fmt.Errorf("delete user: %w", err)
	}
	return nil
}
