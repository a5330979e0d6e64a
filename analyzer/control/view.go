package control

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// Bounds of saved views.
const (
	maxViewBytes = 64 << 10
	maxViewName  = 200
	maxViews     = 200 // of one owner
)

// View is what somebody saved of the viewer: a query, columns, a time. What is
// in the document is the viewer's business.
type View struct {
	Name      string
	Owner     string // the name of a user or key
	Shared    bool   // others see it, and cannot change it
	Document  json.RawMessage
	UpdatedAt time.Time
}

// ListViews are the owner's views and those that others share, by name.
func (s *Store) ListViews(ctx context.Context, owner string) ([]View, error) {
	var out []View
	err := s.db.rows(ctx, func(r *sql.Rows) error {
		var v View
		var shared, updated int64
		var document string
		if err := r.Scan(&v.Owner, &v.Name, &shared, &document, &updated); err != nil {
			return err
		}
		v.Shared, v.Document, v.UpdatedAt = shared != 0, json.RawMessage(document), timeOf(updated)
		out = append(out, v)
		return nil
	}, `SELECT owner, name, shared, document, updated_at FROM views WHERE owner = $1 OR shared = 1 ORDER BY name, owner`, nameKey(owner))
	if err != nil {
		return nil, fmt.Errorf("list views: %w", err)
	}
	return out, nil
}

// SaveView keeps a view, in place of the owner's of the same name. Errors:
// ErrInvalid.
func (s *Store) SaveView(ctx context.Context, v View) (View, error) {
	v, err := s.saveView(ctx, v)
	if err != nil {
		return View{}, fmt.Errorf("save view: %w", err)
	}
	return v, nil
}

func (s *Store) saveView(ctx context.Context, v View) (View, error) {
	if err := checkName("name", v.Name, maxViewName); err != nil {
		return View{}, err
	}
	if err := checkName("owner", v.Owner, maxUserName); err != nil {
		return View{}, err
	}
	if len(v.Document) > maxViewBytes || !utf8.Valid(v.Document) || !json.Valid(v.Document) {
		return View{}, ErrInvalid{"document", "is too long or not JSON", "JSON of at most 64 KiB"}
	}
	v.Owner, v.UpdatedAt = nameKey(v.Owner), timeOf(millis(s.opt.Now()))
	return v, s.db.write(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `UPDATE views SET shared = $1, document = $2, updated_at = $3 WHERE owner = $4 AND name = $5`,
			number(v.Shared), string(v.Document), millis(v.UpdatedAt), v.Owner, v.Name)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n > 0 {
			return err
		}
		var has int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM views WHERE owner = $1`, v.Owner).Scan(&has); err != nil {
			return err
		}
		if has >= maxViews {
			return ErrInvalid{"name", "would be one view too many", "at most 200 views each; delete some first"}
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO views (owner, name, shared, document, updated_at) VALUES ($1, $2, $3, $4, $5)`,
			v.Owner, v.Name, number(v.Shared), string(v.Document), millis(v.UpdatedAt))
		return err
	})
}

// DeleteView removes the owner's view of that name. Errors: ErrNotFound.
func (s *Store) DeleteView(ctx context.Context, owner, name string) error {
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		return changed(tx.ExecContext(ctx, `DELETE FROM views WHERE owner = $1 AND name = $2`, nameKey(owner), lookup(name)))
	})
	if err != nil {
		return fmt.Errorf("delete view: %w", err)
	}
	return nil
}
