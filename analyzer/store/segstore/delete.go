package segstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/seglog"
)

// A deletion takes the pairs that match a query out of every file: segments
// that have some are written anew without them, each at once in place of the
// old one, with all other pairs where they were; the files beside them and the
// index are made anew. What it is about to do stands in deletions.json before
// it does anything: the next start completes what a crash cut short, before
// anybody can ask. What was deleted does not come again when a forwarder sends
// it again, as its batch is known still. It covers what was acknowledged when it
// began, and nothing that comes later.

// Deletion says what is to be deleted.
type Deletion struct {
	// Query selects the pairs; nil selects all of the range. Words are it as
	// people wrote it, for the journal.
	Query *query.Query
	Words string
	// From is included, To is not, of store.Time in Unix nanoseconds; 0 for no
	// bound.
	From, To int64
	// DryRun only counts.
	DryRun bool
	// Most is how many pairs may be deleted: *TooManyError where more match.
	// 0: MaxDeleted.
	Most uint64
	// By is who asked, for the journal.
	By string
}

// MaxDeleted is the most that one deletion deletes: it remembers the id of each.
const MaxDeleted = 4 << 20

// TooManyError: more pairs match than were to be deleted; nothing was.
type TooManyError struct{ Matched, Most uint64 }

func (e *TooManyError) Error() string {
	return fmt.Sprintf("%d pairs match, at most %d were to be deleted", e.Matched, e.Most)
}

// Deleted is what came of a deletion.
type Deleted struct {
	ID string `json:"id"`
	// Time is when it began, Unix nanoseconds.
	Time  int64  `json:"time"`
	By    string `json:"by,omitempty"`
	Query string `json:"query"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	// DryRun: nothing was deleted. Such a one is in no journal.
	DryRun bool `json:"dry_run,omitempty"`
	// Matched pairs, of which Deleted are gone: fewer where retention was
	// quicker. Bytes of the log hold nothing now.
	Matched           uint64 `json:"matched"`
	Deleted           uint64 `json:"deleted"`
	Bytes             uint64 `json:"bytes"`
	SegmentsRewritten uint64 `json:"segments_rewritten"`
	Proof             Proof  `json:"proof"`
}

// Proof says what a deletion did, so that it can be checked against the files.
type Proof struct {
	// Pairs is the SHA-256 over the ids of the deleted pairs, 16 bytes each, in
	// ascending order.
	Pairs string `json:"pairs_sha256,omitempty"`
	// Segments are the files that were written anew.
	Segments []ProofSegment `json:"segments,omitempty"`
	// Remaining is how many pairs matched when all of these segments were read
	// again afterwards: 0. Unreadable stretches of them were damaged before,
	// and nobody can say what is in them.
	Remaining  uint64 `json:"remaining"`
	Unreadable int    `json:"unreadable_stretches,omitempty"`
	// Verified is when that was, RFC 3339.
	Verified time.Time `json:"verified,omitzero"`
	// Keys are of a shredded day: neither in the ring nor in its files, read
	// again afterwards, is one of these ids.
	Keys []uint16 `json:"keys_removed,omitempty"`
	// Resumed: a crash cut it short, and a start completed it. Pairs is then of
	// those that were still there.
	Resumed bool `json:"resumed,omitempty"`
}

// ProofSegment is one file: SHA-256 of it before and after.
type ProofSegment struct {
	Name   string `json:"name"`
	Before string `json:"before_sha256"`
	After  string `json:"after_sha256"`
	Pairs  uint64 `json:"pairs"`
}

// ErrDeleting: another deletion is under way.
var ErrDeleting = errors.New("another deletion is under way")

// Delete deletes what matches. It returns when nothing of it is in any file of
// the store; a crash before that leaves a deletion that the next start
// completes. It needs Run. Errors: *TooManyError, ErrDeleting, store.ErrNotReady.
func (s *Store) Delete(ctx context.Context, d Deletion) (*Deleted, error) {
	if !s.deleting.TryLock() {
		return nil, fmt.Errorf("delete pairs: %w", ErrDeleting)
	}
	defer s.deleting.Unlock()
	done, err := s.delete(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("delete pairs: %w", err)
	}
	return done, nil
}

// eraser is a deletion under way.
type eraser struct {
	s     *Store
	match *query.Matcher
	entry *journalEntry
	id    store.ID
	// found are the ids of what was deleted.
	found []store.ID
	// told are frames that were rewritten, to be told of once that is durable.
	told []store.Erased
}

func (s *Store) delete(ctx context.Context, d Deletion) (*Deleted, error) {
	if d.To == 0 {
		d.To = math.MaxInt64
	}
	if d.Most == 0 || d.Most > MaxDeleted {
		d.Most = MaxDeleted
	}
	if d.Query == nil {
		d.Query = &query.Query{Root: query.And{}}
	}
	if d.Words == "" {
		d.Words = d.Query.String()
	}
	id := uuid.New()
	out := &Deleted{
		ID: id.String(), Time: s.opt.Now().UnixNano(), By: d.By, Query: d.Words, From: d.From, To: d.To, DryRun: d.DryRun,
	}
	bases, err := s.affected(ctx, d, out)
	if err != nil || d.DryRun {
		return out, err
	}
	if out.Matched > d.Most {
		return nil, &TooManyError{Matched: out.Matched, Most: d.Most}
	}
	e := &eraser{s: s, match: s.matcher(d.Query), id: store.ID(id), entry: &journalEntry{Deleted: *out, Expression: d.Query.String()}}
	if len(bases) > 0 {
		if slices.Contains(bases, s.seglog.Newest()) {
			if err := s.seglog.Rotate(); err != nil {
				return nil, err
			}
		}
		e.entry.Open = bases
	}
	// From here on it will be done, by the next start if not by this process.
	if err := s.journal.put(e.entry); err != nil {
		return nil, err
	}
	if err := failpoint.Hit(failpoint.DeletionBegun); err != nil {
		return nil, err
	}
	if len(bases) > 0 {
		// Whoever asked may be gone; what is begun is done all the same.
		if err := e.run(context.WithoutCancel(ctx)); err != nil {
			return nil, err
		}
	}
	return &e.entry.Deleted, e.finish()
}

// affected counts what matches and gives the segments that have some of it.
func (s *Store) affected(ctx context.Context, d Deletion, out *Deleted) (bases []uint64, err error) {
	wctx, w := s.walk(ctx, look{query: d.Query, from: d.From, to: d.To, forward: true, budget: -1})
	defer w.close()
	for {
		f, _, more, err := w.next(wctx)
		if err != nil {
			return nil, err
		}
		if !more {
			return bases, nil
		}
		if len(f.pairs) == 0 {
			continue
		}
		out.Matched += uint64(len(f.pairs))
		for _, p := range f.pairs {
			out.Bytes += uint64(len(p.Pair.GetRequest().GetBody()) + len(p.Pair.GetResponse().GetBody()))
		}
		if base := s.seglog.BaseOf(f.off); len(bases) == 0 || bases[len(bases)-1] != base {
			bases = append(bases, base)
			out.SegmentsRewritten++
		}
	}
}

// run rewrites the segments of the journal's entry that are still there, and
// then what was made of them.
func (e *eraser) run(ctx context.Context) error {
	s := e.s
	e.entry.Bytes, e.entry.SegmentsRewritten = 0, 0
	var end uint64
	for _, base := range e.entry.Open {
		if err := e.segment(base); err != nil {
			return err
		}
		end = max(end, s.endOf(base))
	}
	if err := failpoint.Hit(failpoint.DeletionRows); err != nil {
		return err
	}
	// Their rows may be on the way into the index.
	err := s.settled(ctx, end)
	if err == nil {
		err = s.purge(ctx, func(x index.Index) error { return x.Erase(ctx, e.found) })
	}
	if err != nil {
		return fmt.Errorf("delete rows: %w", err)
	}
	return e.verify(ctx)
}

// segment rewrites the segment at base.
func (e *eraser) segment(base uint64) error {
	s := e.s
	s.removing.Lock()
	defer s.removing.Unlock()
	e.told = e.told[:0]
	before := len(e.found)
	w, err := s.seglog.Rewrite(base, e.record)
	if errors.Is(err, os.ErrNotExist) {
		return nil // retention was quicker
	}
	if err != nil {
		return err
	}
	end := s.endOf(base)
	// What is in memory of its records has the pairs that went.
	s.live.forget(end)
	s.cache.forget(end)
	s.sidecars.renew(base, end)
	if err := removeFile(s.opt.LogFS, segidx.Name(w.Segment)); err != nil {
		return err
	}
	if err := s.opt.LogFS.SyncDir(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if s.opt.Erased != nil {
		for _, t := range e.told {
			s.opt.Erased(t)
		}
	}
	if w.Records > 0 {
		e.entry.SegmentsRewritten++
		e.entry.Bytes += uint64(w.Bytes)
		e.entry.Proof.Segments = append(e.entry.Proof.Segments, ProofSegment{w.Segment, w.Before, w.After, uint64(len(e.found) - before)})
	}
	e.entry.Proof.Unreadable += w.Damaged
	return nil
}

func (s *Store) endOf(base uint64) uint64 {
	for _, seg := range s.seglog.Segments() {
		if seg.Base == base {
			return seg.End
		}
	}
	return base
}

// record gives what is to stand in place of a record; nil: it stays.
func (e *eraser) record(at seglog.Entry, room int) (*seglog.Record, error) {
	r, err := readHead(at.Head)
	if err != nil || r.head == nil {
		return nil, nil // nobody can read pairs in it
	}
	if r.deletion == e.id && r.lastDeleted > 0 {
		// This deletion was here before a crash.
		e.told = append(e.told, store.Erased{Deletion: e.id, At: at.Offset, Head: r.head, Pairs: r.lastDeleted, Before: true})
	}
	raw, err := r.raw(at.Body, nil)
	if err != nil {
		return nil, nil
	}
	d, err := r.decode(at.Offset, raw)
	if err != nil {
		return nil, nil
	}
	gone, n, err := e.goes(at.Offset, &r, d)
	if err != nil || n == 0 {
		return nil, err
	}
	if r.deletion != e.id {
		r.lastDeleted = 0
	}
	r.deletion, r.deleted, r.lastDeleted, r.padding = e.id, r.deleted+n, r.lastDeleted+n, 0
	for _, small := range []bool{false, true} {
		head, body, err := frame.Erase(r.head, raw, gone, small)
		if err != nil {
			return nil, err
		}
		w := r.wrapper
		w.frameHead = head
		if rec := fit(&w, body, room); rec != nil {
			e.told = append(e.told, store.Erased{Deletion: e.id, At: at.Offset, Head: r.head, Pairs: n})
			return rec, nil
		}
	}
	return nil, fmt.Errorf("record at offset %d without its %d pairs is not shorter than with them", at.Offset, n)
}

// goes says which pairs of a frame go, with those that went before.
func (e *eraser) goes(off uint64, r *recordHead, d *decoded) (gone []bool, n uint32, err error) {
	gone = make([]bool, r.head.GetPairs())
	for i := range gone {
		gone[i] = true // unless it is there
	}
	e.s.name(d.pairs)
	for _, p := range d.pairs {
		idx := p.Seq - index.Seq(off, 0)
		t := store.Time(p.Pair)
		ok := t >= e.entry.From && t < e.entry.To
		if ok {
			if ok, err = e.match.MatchContext(context.Background(), p.Pair); err != nil {
				return nil, 0, err
			}
		}
		if gone[idx] = ok; ok {
			n++
			e.found = append(e.found, store.ID(p.Pair.GetId()))
		}
	}
	return gone, n, nil
}

// fit makes a record as long as there is room, or so much shorter that a hole
// fits behind it; nil where it is too long.
func fit(w *wrapper, body []byte, room int) *seglog.Record {
	head := w.encode()
	left := room - len(head) - len(body)
	switch {
	case left < 0:
		return nil
	case left > 0 && left < seglog.Hole:
		// The number of zeros takes a byte whatever it is below 128.
		w.padding = left
		head = w.encode()
	}
	return &seglog.Record{Head: head, Body: body}
}

// verify reads the segments again: nothing in them may match.
func (e *eraser) verify(ctx context.Context) error {
	s := e.s
	p := &e.entry.Proof
	slices.SortFunc(e.found, func(a, b store.ID) int { return bytes.Compare(a[:], b[:]) })
	sum := sha256.New()
	for _, id := range e.found {
		sum.Write(id[:])
	}
	p.Pairs, p.Remaining = hex.EncodeToString(sum.Sum(nil)), 0
	e.entry.Deleted.Deleted = uint64(len(e.found))
	for _, base := range e.entry.Open {
		end := s.endOf(base)
		for rec, err := range s.seglog.Records(base) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				if seglog.IsDamage(err) {
					continue
				}
				return fmt.Errorf("read log: %w", err)
			}
			if rec.Offset >= end {
				break
			}
			d, err := openRecord(rec.Offset, rec.Head, rec.Body)
			if err != nil {
				continue
			}
			s.name(d.pairs)
			for _, st := range d.pairs {
				if t := store.Time(st.Pair); t >= e.entry.From && t < e.entry.To && e.match.Match(st.Pair) {
					p.Remaining++
				}
			}
		}
	}
	p.Verified = s.opt.Now().UTC().Truncate(time.Second)
	if p.Remaining > 0 {
		return fmt.Errorf("%d pairs that match are still there", p.Remaining)
	}
	return nil
}

// finish says in the journal that it is done.
func (e *eraser) finish() error {
	s := e.s
	if s.opt.Settle != nil {
		// Who counts says the same after a start before the journal does.
		if err := s.opt.Settle(); err != nil {
			return err
		}
	}
	e.entry.Open, e.entry.Done = nil, true
	if err := s.journal.put(e.entry); err != nil {
		return err
	}
	s.log.Info("Deleted pairs by query", slog.String("deletion", e.entry.ID), slog.String("by", e.entry.By),
		slog.Uint64("pairs", e.entry.Deleted.Deleted), slog.Uint64("segments", e.entry.SegmentsRewritten))
	return nil
}

// resume completes what a crash cut short. Nobody can ask yet, and there is no
// index: it is made from what is left.
func (s *Store) resume(ctx context.Context) error {
	open := s.journal.open()
	if len(open) == 0 {
		return nil
	}
	s.deleting.Lock()
	defer s.deleting.Unlock()
	for _, entry := range open {
		q, err := query.Parse(entry.Expression)
		if err != nil {
			return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
		}
		id, err := uuid.Parse(entry.ID)
		if err != nil {
			return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
		}
		s.log.Warn("A deletion was cut short and is completed", slog.String("deletion", entry.ID), slog.Time("begun", time.Unix(0, entry.Time)))
		e := &eraser{s: s, match: s.matcher(q), id: store.ID(id), entry: entry}
		entry.Proof = Proof{Resumed: true}
		entry.SegmentsRewritten, entry.Deleted.Bytes = 0, 0
		if base := s.seglog.Newest(); slices.Contains(entry.Open, base) {
			if err := s.seglog.Rotate(); err != nil {
				return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
			}
		}
		for _, base := range entry.Open {
			if err := e.segment(base); err != nil {
				return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
			}
		}
		if err := s.dropIndex(); err != nil { // it is made from what is left
			return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
		}
		if err := e.verify(ctx); err != nil {
			return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
		}
		// All that it deleted, in whatever process: each record knows.
		entry.Deleted.Deleted = s.deletedBy(e.id, entry.Open)
		if err := e.finish(); err != nil {
			return fmt.Errorf("complete deletion %s: %w", entry.ID, err)
		}
	}
	return nil
}

// deletedBy counts what a deletion deleted.
func (s *Store) deletedBy(id store.ID, bases []uint64) (n uint64) {
	for _, base := range bases {
		end := s.endOf(base)
		for e, err := range s.seglog.Heads(base) {
			if err != nil || e.Offset >= end {
				if err != nil && seglog.IsDamage(err) {
					continue
				}
				break
			}
			if w, err := decodeWrapper(e.Head); err == nil && w.deletion == id {
				n += uint64(w.lastDeleted)
			}
		}
	}
	return n
}

// Deletions lists what was deleted, the newest first.
func (s *Store) Deletions() []Deleted { return s.journal.list() }
