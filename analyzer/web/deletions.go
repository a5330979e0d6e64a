package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/query"
)

const (
	deletionsPath = "/api/v1/deletions"
	shreddingPath = deletionsPath + "/day"
)

// Deleter takes pairs out of the store for good.
type Deleter interface {
	// Delete deletes what an ask selects, or counts it. ErrTooMany: nothing
	// was deleted.
	Delete(ctx context.Context, ask DeletionAsk) (Deleted, error)
	// Shred makes a day unreadable, or counts what is of it. ErrTooMany and
	// ErrNoKey: nothing was done.
	Shred(ctx context.Context, ask ShreddingAsk) (Deleted, error)
	// Deletions are those that were made, newest first.
	Deletions(ctx context.Context) ([]Deleted, error)
}

var (
	// ErrTooMany: more pairs match than the asker said.
	ErrTooMany = errors.New("more pairs match than were confirmed")
	// ErrDeleting: another deletion is under way; one runs at a time.
	ErrDeleting = errors.New("another deletion is under way")
	// ErrNoKey: nothing of that day has a key that could be taken away.
	ErrNoKey = errors.New("nothing of that day is encrypted")
)

// ShreddingAsk says which day of UTC, such as 2026-11-23, and how many pairs at
// most.
type ShreddingAsk struct {
	Day    string
	DryRun bool
	Most   uint64
	By     string
}

// DeletionAsk says which pairs, and how many at most. Times are Unix
// nanoseconds, 0 leaves a side open.
type DeletionAsk struct {
	Query *query.Query
	// Words is the query as it was asked, in its canonical form.
	Words    string
	From, To int64
	DryRun   bool
	Most     uint64
	By       string
}

// Deleted is what became of an ask.
type Deleted struct {
	ID        string
	Time      int64
	By, Query string
	DryRun    bool
	// Matched pairs; Deleted of them; Bytes that the files lost; segments that
	// were written anew.
	Matched, Deleted, Bytes, Segments uint64
	// Proof says what was looked for in the files afterwards.
	Proof string
}

type deletionInput struct{ Sent sent[httpv1.NewDeletion] }

// deletions mounts deletion for good.
func (s *Server) deletions(api huma.API) {
	huma.Register(api, operation(api, "list-deletions", deletionsPath, "Deletions that were made, newest first", "", nil,
		http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Deletions], error) {
			if s.deps.Deleter == nil {
				return nil, noDeleter()
			}
			all, err := s.deps.Deleter.Deletions(ctx)
			if err != nil {
				return nil, s.fail(ctx, err)
			}
			out := httpv1.Deletions{Deletions: make([]httpv1.Deletion, 0, len(all))}
			for _, d := range all {
				out.Deletions = append(out.Deletions, deletionDocument(d))
			}
			return &output[httpv1.Deletions]{out}, nil
		})
	huma.Register(api, change(api, http.MethodPost, "delete-pairs", deletionsPath, "Delete pairs for good",
		"Their bytes are gone from the files when this answers, and the answer says how that was made sure of. "+
			"First a dry run, which only counts; then confirm with that count. Backups, and what was sent elsewhere, are not touched.",
		nil, httpv1.NewDeletion{}, http.StatusConflict), s.deletePairs)
	huma.Register(api, change(api, http.MethodPost, "shred-day", shreddingPath, "Make a day unreadable for good",
		"Of a store that is encrypted: the key of what was stored on that day of UTC is removed, and with it what it had encrypted, in every copy of the files but "+
			"those that have the key still. First a dry run, which only counts; then confirm with that count.",
		nil, httpv1.NewShredding{}, http.StatusConflict), s.shredDay)
}

func noDeleter() error {
	return problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, deletionsPath+" is not supported by this store.")
}

func (s *Server) deletePairs(ctx context.Context, in *deletionInput) (*output[httpv1.Deletion], error) {
	if s.deps.Deleter == nil {
		return nil, noDeleter()
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc := in.Sent.doc
	asked, narrowed, err := s.ask(ctx, doc.Q)
	if err != nil {
		return nil, err
	}
	if asked == nil || len(terms(asked.Root)) == 0 {
		return nil, badParam("q selects everything; want at least one term. app:* selects what has an app.")
	}
	ask := DeletionAsk{Query: narrowed, Words: asked.String(), DryRun: doc.DryRun, Most: doc.Confirm, By: caller(ctx).Name}
	if ask.From, ask.To, err = parseRange(doc.From, doc.To, s.cfg.Now()); err != nil {
		return nil, err
	}
	note(ctx, ask.Words, fmt.Sprintf("from %s to %s dry run %t confirmed %d", doc.From, doc.To, ask.DryRun, ask.Most))
	if !ask.DryRun && ask.Most == 0 {
		return nil, badParam("confirm is not given; want how many pairs a dry run (dry_run) counted.")
	}
	d, err := s.deps.Deleter.Delete(ctx, ask)
	if errors.Is(err, ErrTooMany) {
		return nil, problem(http.StatusConflict, httpv1.ProblemParameter,
			fmt.Sprintf("%d pairs match and %d were confirmed: nothing was deleted. Look again, with a to in the past where pairs still come.", d.Matched, ask.Most))
	}
	if errors.Is(err, ErrDeleting) {
		return nil, problem(http.StatusConflict, httpv1.ProblemBusy, "Another deletion is running; one runs at a time. Ask again later.")
	}
	if err != nil {
		return nil, s.fail(ctx, err)
	}
	if !ask.DryRun {
		note(ctx, ask.Words, fmt.Sprintf("%s: %d deleted of %d", d.ID, d.Deleted, d.Matched))
	}
	return &output[httpv1.Deletion]{deletionDocument(d)}, nil
}

type shreddingInput struct{ Sent sent[httpv1.NewShredding] }

func (s *Server) shredDay(ctx context.Context, in *shreddingInput) (*output[httpv1.Deletion], error) {
	if s.deps.Deleter == nil {
		return nil, noDeleter()
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc := in.Sent.doc
	day, err := time.Parse(time.DateOnly, doc.Day)
	if err != nil {
		return nil, badParam("day=%s is not valid; want a day such as 2026-11-23.", shown(doc.Day))
	}
	if !day.AddDate(0, 0, 1).Before(s.cfg.Now()) {
		return nil, badParam("day=%s is not over (UTC). What must go now is deleted by query.", doc.Day)
	}
	ask := ShreddingAsk{Day: doc.Day, DryRun: doc.DryRun, Most: doc.Confirm, By: caller(ctx).Name}
	note(ctx, ask.Day, fmt.Sprintf("dry run %t confirmed %d", ask.DryRun, ask.Most))
	if !ask.DryRun && ask.Most == 0 {
		return nil, badParam("confirm is not given; want how many pairs a dry run (dry_run) counted, or 1 where there are none.")
	}
	d, err := s.deps.Deleter.Shred(ctx, ask)
	switch {
	case errors.Is(err, ErrNoKey):
		return nil, problem(http.StatusConflict, httpv1.ProblemParameter,
			"Nothing that was stored on "+ask.Day+" has a key: the store was not encrypted then, or retention or a shredding has removed it. Delete by query instead.")
	case errors.Is(err, ErrTooMany):
		return nil, problem(http.StatusConflict, httpv1.ProblemParameter,
			fmt.Sprintf("%d pairs are of %s and %d were confirmed: nothing was done.", d.Matched, ask.Day, ask.Most))
	case errors.Is(err, ErrDeleting):
		return nil, problem(http.StatusConflict, httpv1.ProblemBusy, "Another deletion is running; one runs at a time. Ask again later.")
	case err != nil:
		return nil, s.fail(ctx, err)
	}
	if !ask.DryRun {
		note(ctx, ask.Day, fmt.Sprintf("%s: %d shredded", d.ID, d.Deleted))
	}
	return &output[httpv1.Deletion]{deletionDocument(d)}, nil
}

func deletionDocument(d Deleted) httpv1.Deletion {
	return httpv1.Deletion{
		ID: d.ID, Time: nano(d.Time), By: text(d.By), Query: d.Query, DryRun: d.DryRun,
		Matched: d.Matched, Deleted: d.Deleted, Bytes: d.Bytes, SegmentsRewritten: d.Segments, Proof: text(d.Proof),
	}
}
