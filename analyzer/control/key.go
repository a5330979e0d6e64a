package control

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// KeyKind is what a key opens.
type KeyKind string

const (
	KeyAPI       KeyKind = "api"       // the API, with a role
	KeyForwarder KeyKind = "forwarder" // the analyzer's ingest
	KeyProxy     KeyKind = "proxy"     // a forwarder's door
)

var keyKinds = []KeyKind{KeyAPI, KeyForwarder, KeyProxy}

// letter stands for the kind within the key, so that who finds one knows.
func (k KeyKind) letter() byte { return k[0] }

// identity is the kind of who has such a key.
func (k KeyKind) identity() string {
	if k == KeyAPI {
		return KindKey
	}
	return string(k)
}

// maxKeyName bounds a key's name, in bytes.
const maxKeyName = 128

// deadKeys is how long a key that was revoked or has expired is listed.
const deadKeys = 90 * 24 * time.Hour

// Key is a bearer token for a program: an API key, a forwarder's or a proxy's.
// It never has the secret.
type Key struct {
	ID string
	// Name is who has the key. Two keys of a kind may share one, while the
	// first is being replaced by the second.
	Name      string
	Kind      KeyKind
	Role      Role // only of KeyAPI
	Scope     Scope
	CreatedBy string
	CreatedAt time.Time
	// nil: never. LastUsedAt is exact to a minute.
	ExpiresAt, RevokedAt, LastUsedAt *time.Time
	Spools                           int // bound to this key
}

// NewKey is what CreateKey needs.
type NewKey struct {
	Name      string
	Kind      KeyKind
	Role      Role // of KeyAPI; empty otherwise
	Scope     Scope
	Expires   time.Time // zero: never
	CreatedBy string    // the name of who asked
}

// CreateKey makes a key and returns its secret, which nobody can find out
// again. Errors: ErrInvalid.
func (s *Store) CreateKey(ctx context.Context, n NewKey) (Key, string, error) {
	k, secret, err := s.createKey(ctx, n)
	if err != nil {
		return Key{}, "", fmt.Errorf("create key: %w", err)
	}
	return k, secret, nil
}

func (s *Store) createKey(ctx context.Context, n NewKey) (Key, string, error) {
	if err := checkName("name", n.Name, maxKeyName); err != nil {
		return Key{}, "", err
	}
	switch n.Kind {
	case KeyAPI:
		if !n.Role.Valid() {
			return Key{}, "", errRole
		}
	case KeyForwarder, KeyProxy:
		if n.Role != "" {
			return Key{}, "", ErrInvalid{"role", "is not for forwarders and proxies", "none"}
		}
		if !n.Scope.All() {
			return Key{}, "", ErrInvalid{"scope", "is not for forwarders and proxies", "none"}
		}
	default:
		return Key{}, "", ErrInvalid{"kind", "is not known", "api, forwarder or proxy"}
	}
	scope, err := n.Scope.clean()
	if err != nil {
		return Key{}, "", err
	}
	now := s.opt.Now()
	if !n.Expires.IsZero() && !n.Expires.After(now) {
		return Key{}, "", ErrInvalid{"expires", "is in the past", "a time to come, or none"}
	}
	id, err := s.randomText(idBytes)
	if err != nil {
		return Key{}, "", err
	}
	random, err := s.randomText(secretBytes)
	if err != nil {
		return Key{}, "", err
	}
	k := Key{ID: id, Name: n.Name, Kind: n.Kind, Role: n.Role, Scope: scope, CreatedBy: clip(n.CreatedBy, maxUserName), CreatedAt: now, ExpiresAt: timeOrNil(millis(n.Expires))}
	secret := formatKey(k.Kind, id, random)
	text, err := formatScope(scope)
	if err != nil {
		return Key{}, "", err
	}
	err = s.db.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO keys (id, name, kind, hash, role, scope, created_by, created_at, expires_at, revoked_at, used_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0)`,
			id, k.Name, string(k.Kind), digest(secret), string(k.Role), text, k.CreatedBy, millis(now), millis(n.Expires))
		return err
	})
	return k, secret, err
}

const keyColumns = `SELECT id, name, kind, role, scope, created_by, created_at, expires_at, revoked_at, used_at,
	(SELECT count(*) FROM spools WHERE spools.key_id = keys.id) FROM keys`

func scanKey(row scanner) (Key, error) {
	var k Key
	var kind, role, scope string
	var created, expires, revoked, used int64
	if err := row.Scan(&k.ID, &k.Name, &kind, &role, &scope, &k.CreatedBy, &created, &expires, &revoked, &used, &k.Spools); err != nil {
		return Key{}, err
	}
	k.Kind, k.Role, k.CreatedAt = KeyKind(kind), Role(role), timeOf(created)
	k.ExpiresAt, k.RevokedAt, k.LastUsedAt = timeOrNil(expires), timeOrNil(revoked), timeOrNil(used)
	var err error
	k.Scope, err = parseScope(scope)
	return k, err
}

// ListKeys are all keys, the newest first, with those that ended within the
// last 90 days.
func (s *Store) ListKeys(ctx context.Context) ([]Key, error) {
	var out []Key
	dead := millis(s.opt.Now().Add(-deadKeys))
	err := s.db.rows(ctx, func(r *sql.Rows) error {
		k, err := scanKey(r)
		out = append(out, k)
		return err
	}, keyColumns+` WHERE (revoked_at = 0 OR revoked_at > $1) AND (expires_at = 0 OR expires_at > $1) ORDER BY created_at DESC, id`, dead)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return out, nil
}

// RevokeKey ends a key: the next request with it is denied, everywhere. Doing
// it twice is no error. Errors: ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, id string) (Key, error) {
	var k Key
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE keys SET revoked_at = $1 WHERE id = $2 AND revoked_at = 0`, millis(s.opt.Now()), lookup(id)); err != nil {
			return err
		}
		var err error
		k, err = scanKey(tx.QueryRowContext(ctx, keyColumns+` WHERE id = $1`, lookup(id)))
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		}
		return err
	})
	if err != nil {
		return Key{}, fmt.Errorf("revoke key: %w", err)
	}
	return k, nil
}

const keyIdentityQuery = `SELECT name, kind, hash, role, scope, expires_at, revoked_at, used_at FROM keys WHERE id = $1`

// KeyIdentity is whose key a secret is. Nothing is cached: what is revoked is
// denied at once. The caller looks at the Kind: a forwarder's key is none for
// the API. Errors: ErrDenied.
func (s *Store) KeyIdentity(ctx context.Context, secret string) (Identity, error) {
	kind, id, err := parseKey(secret)
	if err != nil {
		return Identity{}, ErrDenied
	}
	bounded, cancel := context.WithTimeout(ctx, operationLimit)
	defer cancel()
	now := s.opt.Now()
	var name, has, hash, role, scope string
	var expires, revoked, used int64
	err = s.keyQuery.QueryRowContext(bounded, id).Scan(&name, &has, &hash, &role, &scope, &expires, &revoked, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return Identity{}, ErrDenied
	}
	if err != nil {
		return Identity{}, fmt.Errorf("look up key: %w", err)
	}
	stored, err := hex.DecodeString(hash)
	if err != nil {
		return Identity{}, fmt.Errorf("look up key: %w", err)
	}
	given, err := hex.DecodeString(digest(secret))
	if err != nil {
		return Identity{}, fmt.Errorf("look up key: %w", err)
	}
	if subtle.ConstantTimeCompare(given, stored) != 1 || KeyKind(has) != kind || revoked != 0 || expires != 0 && expires <= millis(now) {
		return Identity{}, ErrDenied
	}
	out := Identity{Kind: kind.identity(), ID: id, Name: name, Role: Role(role)}
	if out.Scope, err = parseScope(scope); err != nil {
		return Identity{}, fmt.Errorf("look up key: %w", err)
	}
	if used <= millis(now.Add(-coarse)) {
		s.noted("that a key was used", s.db.write(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE keys SET used_at = $1 WHERE id = $2 AND used_at < $1`, millis(now), id)
			return err
		}))
	}
	return out, nil
}

// dropDeadKeys removes keys that nobody lists any more and no spool is bound
// to.
func dropDeadKeys(ctx context.Context, tx *sql.Tx, now time.Time) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM keys WHERE (revoked_at <> 0 AND revoked_at <= $1 OR expires_at <> 0 AND expires_at <= $1)
		AND NOT EXISTS (SELECT 1 FROM spools WHERE spools.key_id = keys.id)`, millis(now.Add(-deadKeys)))
	return err
}
