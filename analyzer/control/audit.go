package control

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Result is how something ended that the audit log tells of.
type Result string

const (
	ResultOK     Result = "ok"
	ResultDenied Result = "denied"
	ResultFailed Result = "failed"
)

// Bounds of an event's fields, in bytes. They leave no room for a body.
const (
	maxAction = 64
	maxTarget = 512
	maxDetail = 1024
	maxOrigin = 128
)

// Event is something that somebody did. What is too long is cut, and what looks
// like a key of ours loses its secret: an event is never refused, as whoever
// causes one must not be able to choose that.
type Event struct {
	Actor  Identity
	Action string // what, as "session.sign_in"
	Target string // to which user, key, pair, …
	Detail string // how much, why; never what was in it
	From   string // the client's address
	Result Result
}

// AuditEvent is an event as the log has it.
type AuditEvent struct {
	Seq                           int64 // from 1, without gaps
	Time                          time.Time
	ActorKind, ActorID, ActorName string
	ActorRole                     Role
	Action, Target, Detail, From  string
	Result                        Result
	// Hash is over the event and the hash before it, in hex.
	Hash string
}

// record is what the hash of an event is over, after the hash before it and a
// line feed: this as JSON, fields in this order, nothing left out.
type record struct {
	Version   int    `json:"v"`
	Seq       int64  `json:"seq"`
	At        int64  `json:"at"` // milliseconds since the Unix epoch
	ActorKind string `json:"actor_kind"`
	ActorID   string `json:"actor_id"`
	ActorName string `json:"actor_name"`
	ActorRole string `json:"actor_role"`
	Action    string `json:"action"`
	Target    string `json:"target"`
	Detail    string `json:"detail"`
	From      string `json:"from"`
	Result    string `json:"result"`
}

// chain is the hash of an event that follows the event with hash prev; the
// first one follows an empty hash.
func (e AuditEvent) chain(prev string) (string, error) {
	b, err := json.Marshal(record{
		1, e.Seq, millis(e.Time), e.ActorKind, e.ActorID, e.ActorName, string(e.ActorRole),
		e.Action, e.Target, e.Detail, e.From, string(e.Result),
	})
	if err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	h := sha256.New()
	h.Write([]byte(prev + "\n"))
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Audit appends an event. It is durable when nil is returned; what must not
// happen unseen does not go on otherwise.
func (s *Store) Audit(ctx context.Context, e Event) error {
	ev := AuditEvent{
		Time:      timeOf(millis(s.opt.Now())),
		ActorKind: clip(e.Actor.Kind, maxAction), ActorID: clip(e.Actor.ID, maxAction), ActorName: clip(e.Actor.Name, maxUserName), ActorRole: Role(clip(string(e.Actor.Role), maxAction)),
		Action: clip(e.Action, maxAction), Target: clip(e.Target, maxTarget), Detail: clip(e.Detail, maxDetail),
		From: clip(e.From, maxOrigin), Result: Result(clip(string(e.Result), maxAction)),
	}
	var before point
	if s.anchor != nil {
		before = s.anchor.last()
	}
	holds := true
	err := s.db.write(ctx, func(tx *sql.Tx) error {
		var err error
		if holds, err = has(ctx, tx, before); err != nil {
			return err
		}
		return appendEvent(ctx, tx, &ev)
	})
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	if s.anchor != nil && holds {
		// The event is durable without; the anchor is then one event behind.
		s.noted("the end of the audit log in its anchor", s.anchor.advance(point{ev.Seq, ev.Hash}, before, func(p point) (bool, error) {
			ctx, cancel := context.WithTimeout(ctx, operationLimit)
			defer cancel()
			return has(ctx, s.db.reader, p)
		}))
	}
	return nil
}

// appendEvent gives the event its number and hash.
func appendEvent(ctx context.Context, tx *sql.Tx, ev *AuditEvent) error {
	head, err := headOf(ctx, tx)
	if err != nil {
		return err
	}
	ev.Seq = head.seq + 1
	if ev.Hash, err = ev.chain(head.hash); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO audit (seq, at, actor_kind, actor_id, actor_name, actor_role, action, target, detail, origin, result, hash)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		ev.Seq, millis(ev.Time), ev.ActorKind, ev.ActorID, ev.ActorName, string(ev.ActorRole),
		ev.Action, ev.Target, ev.Detail, ev.From, string(ev.Result), ev.Hash); err != nil {
		return err
	}
	return changed(tx.ExecContext(ctx, `UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1`, ev.Seq, ev.Hash))
}

// point is a place in the log: the number of an event, and its hash.
type point struct {
	seq  int64
	hash string
}

type rowQuerier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func headOf(ctx context.Context, q rowQuerier) (point, error) {
	var p point
	err := q.QueryRowContext(ctx, `SELECT seq, hash FROM audit_head WHERE id = 1`).Scan(&p.seq, &p.hash)
	return p, err
}

// has tells whether the log has this very event; it always has the place
// before the first.
func has(ctx context.Context, q rowQuerier, p point) (bool, error) {
	if p.seq == 0 {
		return true, nil
	}
	var hash string
	err := q.QueryRowContext(ctx, `SELECT hash FROM audit WHERE seq = $1`, p.seq).Scan(&hash)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return hash == p.hash, err
}

// ourKey finds keys of ours in text.
var ourKey = regexp.MustCompile(`weir_([afp])_([a-z2-7]{16})_[a-z2-7]+`)

// clip is text fit for the log: without control characters, without secrets of
// keys, and of at most n bytes.
func clip(text string, n int) string {
	const more = "…"
	if len(text) > 8*n {
		text = text[:8*n] // the work is bounded too
	}
	text = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return utf8.RuneError
		}
		return r
	}, text)
	if strings.Contains(text, keyPrefix) {
		text = ourKey.ReplaceAllString(text, "weir_${1}_${2}_"+more)
	}
	if len(text) <= n {
		return text
	}
	end := n - len(more)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + more
}

// AuditPage asks for a part of the log, the newest events first.
type AuditPage struct {
	Limit  int    // 100 when 0; at most 1,000
	Cursor string // where the page before ended; empty for the newest
	Action string // only these; empty for all
	Actor  string // only of who has this name; empty for all
}

const (
	defaultPage = 100
	maxPage     = 1000
)

const auditColumns = `SELECT seq, at, actor_kind, actor_id, actor_name, actor_role, action, target, detail, origin, result, hash FROM audit`

func scanEvent(row scanner) (AuditEvent, error) {
	var e AuditEvent
	var at int64
	var role, result string
	err := row.Scan(&e.Seq, &at, &e.ActorKind, &e.ActorID, &e.ActorName, &role, &e.Action, &e.Target, &e.Detail, &e.From, &result, &e.Hash)
	e.Time, e.ActorRole, e.Result = timeOf(at), Role(role), Result(result)
	return e, err
}

// ListAudit is a page of the log, and the cursor of the next, which is empty
// at its beginning. Errors: ErrInvalid (the cursor).
func (s *Store) ListAudit(ctx context.Context, p AuditPage) (events []AuditEvent, next string, err error) {
	before := int64(1) << 62
	if p.Cursor != "" {
		if before, err = strconv.ParseInt(p.Cursor, 10, 64); err != nil || before < 1 {
			return nil, "", fmt.Errorf("list audit log: %w", ErrInvalid{"cursor", "is not one of ours", "what the page before gave"})
		}
	}
	limit := p.Limit
	if limit <= 0 {
		limit = defaultPage
	}
	limit = min(limit, maxPage)
	where, args := []string{"seq < $1"}, []any{before}
	for column, value := range map[string]string{"action": p.Action, "actor_name": p.Actor} {
		if value != "" {
			args = append(args, lookup(value))
			where = append(where, fmt.Sprintf("%s = $%d", column, len(args)))
		}
	}
	args = append(args, limit+1)
	err = s.db.rows(ctx, func(r *sql.Rows) error {
		e, err := scanEvent(r)
		events = append(events, e)
		return err
	}, fmt.Sprintf(`%s WHERE %s ORDER BY seq DESC LIMIT $%d`, auditColumns, strings.Join(where, " AND "), len(args)), args...)
	if err != nil {
		return nil, "", fmt.Errorf("list audit log: %w", err)
	}
	if len(events) > limit {
		events = events[:limit]
		next = strconv.FormatInt(events[limit-1].Seq, 10)
	}
	return events, next, nil
}

// AuditEvents are the events after number after, the oldest first, as far as
// the log goes when they are asked for: for keeping a copy elsewhere, or
// following. It may be used once. An error ends it.
func (s *Store) AuditEvents(ctx context.Context, after int64) iter.Seq2[AuditEvent, error] {
	return func(yield func(AuditEvent, error) bool) {
		for {
			// A page at a time: nothing is held while the caller works.
			var page []AuditEvent
			err := s.db.rows(ctx, func(r *sql.Rows) error {
				e, err := scanEvent(r)
				page = append(page, e)
				return err
			}, auditColumns+` WHERE seq > $1 ORDER BY seq LIMIT $2`, after, maxPage)
			if err != nil {
				yield(AuditEvent{}, fmt.Errorf("read audit log: %w", err))
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Seq
			}
			if len(page) < maxPage {
				return
			}
		}
	}
}
