package control

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// AuditReport is what VerifyAudit found.
type AuditReport struct {
	// Intact: every event is as it was written, none is missing, and the end
	// is where it was.
	Intact bool
	Events int64
	// Problem says what is wrong first, at event number At.
	Problem string
	At      int64
	// Head is the hash of the last event: who keeps it elsewhere can tell later
	// that all before is still the same.
	Head string
	// Anchored: the end was also compared with the anchor, outside of the
	// database.
	Anchored bool
}

// errStop ends a walk that has found what it looked for.
var errStop = errors.New("stop")

// VerifyAudit walks the whole log: each event's hash must follow from the one
// before (an edit, an event that is missing or moved), the log must end at its
// head, and have the event of the anchor (a tail that was cut off, or a log
// that was written anew from somewhere on). What it finds is in the report;
// the error is for a log that cannot be read.
func (s *Store) VerifyAudit(ctx context.Context) (AuditReport, error) {
	// The anchor before the log: it may move on meanwhile, and must not be
	// ahead of what is read.
	var anchored point
	var report AuditReport
	if s.anchor != nil {
		var err error
		if anchored, err = s.anchor.read(); errors.Is(err, errAnchorDamaged) {
			report.Problem = "the anchor file is damaged"
		} else if err != nil {
			return AuditReport{}, fmt.Errorf("verify audit log: %w", err)
		}
	}
	err := s.db.snapshot(ctx, func(tx *sql.Tx) error {
		walked, err := walk(ctx, tx, anchored)
		report.Events, report.Head = walked.Events, walked.Head
		if walked.Problem != "" {
			report.Problem, report.At = walked.Problem, walked.At
		}
		return err
	})
	if err != nil {
		return AuditReport{}, fmt.Errorf("verify audit log: %w", err)
	}
	report.Intact = report.Problem == ""
	// An anchor that says nothing of a log with events is new, or was removed.
	report.Anchored = s.anchor != nil && (anchored.seq > 0 || report.Events == 0)
	return report, nil
}

// walk checks the log against itself, its head and the anchor. Events and Head
// count up to the first problem.
func walk(ctx context.Context, tx *sql.Tx, anchored point) (AuditReport, error) {
	var r AuditReport
	problem := func(at int64, what string) error {
		r.Problem, r.At = what, at
		return errStop
	}
	var last point
	err := each(ctx, tx, func(rows *sql.Rows) error {
		e, err := scanEvent(rows)
		if err != nil {
			return err
		}
		want := last.seq + 1
		if e.Seq != want {
			return problem(want, "an event is missing")
		}
		hash, err := e.chain(last.hash)
		if err != nil {
			return err
		}
		if hash != e.Hash {
			return problem(e.Seq, "an event, or its place, is not what was written")
		}
		if e.Seq == anchored.seq && e.Hash != anchored.hash {
			return problem(e.Seq, "the log was written anew: the anchor has another event here")
		}
		last = point{e.Seq, e.Hash}
		r.Events, r.Head = e.Seq, e.Hash
		return nil
	}, auditColumns+` ORDER BY seq`)
	if err != nil && !errors.Is(err, errStop) {
		return r, err
	}
	if err != nil {
		return r, nil
	}
	head, err := headOf(ctx, tx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		r.Problem, r.At = "the head of the log is missing", last.seq
	case err != nil:
		return r, err
	case head.seq > last.seq:
		r.Problem, r.At = fmt.Sprintf("the log ends early: its head is event %d", head.seq), last.seq+1
	case head != last:
		r.Problem, r.At = fmt.Sprintf("the log does not end at its head, event %d", head.seq), last.seq
	case anchored.seq > last.seq:
		r.Problem, r.At = fmt.Sprintf("the log ends early: the anchor has event %d", anchored.seq), last.seq+1
	}
	return r, nil
}
