// Package memstore is a store in memory, as simple as one can be: a slice that
// is looked through. It forgets nothing while it lives, so it is for tests,
// where it also says what other engines should have answered.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/rangeset"
	"github.com/weir-capture/weir/query"
)

// Store implements store.Writer and store.Reader.
type Store struct {
	now func() int64

	mu      sync.Mutex
	pairs   []*store.Stored // in order of Seq, which is the place + 1
	spools  map[store.ID]*spool
	batches map[batch]fate
	changed chan struct{}
}

// spool is what came of one.
type spool struct {
	offsets rangeset.Set
	last    uint64
	sum     uint32
	known   bool
}

// fate is what is known of a batch.
type fate int

const (
	unheard fate = iota
	here
	lost
)

type batch struct {
	epoch string
	seq   uint64
}

var (
	_ store.Writer = (*Store)(nil)
	_ store.Reader = (*Store)(nil)
)

// New makes an empty store. now is its clock, in Unix nanoseconds.
func New(now func() int64) *Store {
	return &Store{now: now, spools: map[store.ID]*spool{}, batches: map[batch]fate{}, changed: make(chan struct{})}
}

// Have implements store.Writer.
func (s *Store) Have(id store.ID) store.Have {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spool(id)
	h := store.Have{Last: sp.last, Sum: sp.sum, Known: sp.known}
	for _, r := range sp.offsets.Ranges() {
		if r.First == 0 {
			h.Next = r.Last + 1
			continue
		}
		h.Ranges = append(h.Ranges, store.OffsetRange{From: r.First, To: r.Last + 1})
	}
	return h
}

// Skip implements store.Writer.
func (s *Store) Skip(id store.ID, below uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if below > 0 {
		s.spool(id).offsets.AddRange(rangeset.Range{First: 0, Last: below - 1})
	}
}

func (s *Store) spool(id store.ID) *spool {
	sp := s.spools[id]
	if sp == nil {
		sp = new(spool)
		s.spools[id] = sp
	}
	return sp
}

// Append implements store.Writer.
func (s *Store) Append(ctx context.Context, id store.ID, frames []*capturev1.Frame) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() {
		close(s.changed)
		s.changed = make(chan struct{})
	}()
	sp := s.spool(id)
	for _, f := range frames {
		bad := &store.FrameError{Offset: f.GetOffset(), Next: f.GetNextOffset()}
		if bad.Next <= bad.Offset {
			bad.Reason = "the next offset has to be above it"
			return bad
		}
		r := rangeset.Range{First: bad.Offset, Last: bad.Next - 1}
		if sp.offsets.HasRange(r) {
			continue
		}
		missing := f.GetMissing() != ""
		if !missing && sp.offsets.HasAny(r) || missing && len(f.GetHead())+len(f.GetBody()) > 0 {
			bad.Reason = "it overlaps another, or is missing and has content"
			return bad
		}
		sp.offsets.AddRange(r)
		if missing {
			continue
		}
		if !sp.known || f.GetOffset() >= sp.last {
			sp.last, sp.sum, sp.known = f.GetOffset(), frame.Checksum(f.GetHead(), f.GetBody()), true
		}
		s.take(f)
	}
	return nil
}

// take keeps what is new in a frame. s.mu is held.
func (s *Store) take(f *capturev1.Frame) {
	head, err := frame.Head(f.GetHead())
	if err != nil {
		return
	}
	epoch := string(head.GetSource().GetEpoch())
	lose := func(seq uint64) {
		if b := (batch{epoch, seq}); s.batches[b] == unheard {
			s.batches[b] = lost
		}
	}
	for _, run := range head.GetLost() {
		for i := range run.GetPairs() {
			lose(run.GetFirstBatch() + uint64(i))
		}
	}
	b := batch{epoch, head.GetBatchSeq()}
	pairs, err := frame.Pairs(head, f.GetBody())
	dropped := head.GetDropped()
	switch {
	case s.batches[b] == here:
		return
	case b.seq == 0:
	case err != nil || len(pairs) == 0 && dropped[frame.ReasonSpoolFull]+dropped[frame.ReasonSpoolDamaged]+dropped[frame.ReasonRefused] > 0:
		lose(b.seq)
	default:
		s.batches[b] = here
	}
	for _, p := range pairs {
		s.pairs = append(s.pairs, &store.Stored{Pair: p, Endpoint: endpoint.Of(p.GetPath()), At: s.now(), Seq: uint64(len(s.pairs)) + 1})
	}
}

// from gives what is behind seq, and what closes when there is more.
func (s *Store) from(seq uint64) ([]*store.Stored, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pairs[min(seq, uint64(len(s.pairs))):], s.changed
}

// Pair implements store.Reader.
func (s *Store) Pair(ctx context.Context, id store.ID) (*store.Stored, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	all, _ := s.from(0)
	for _, st := range slices.Backward(all) {
		if store.ID(st.Pair.GetId()) == id {
			return st, nil
		}
	}
	return nil, store.ErrNotFound
}

func key(st *store.Stored) store.Key {
	return store.Key{Time: store.Time(st.Pair), ID: store.ID(st.Pair.GetId())}
}

func compare(a, b store.Key) int {
	return cmp.Or(cmp.Compare(a.Time, b.Time), bytes.Compare(a.ID[:], b.ID[:]))
}

func matcher(q *query.Query) func(*capturev1.RRPair) bool {
	if q == nil || q.Root == nil {
		return func(*capturev1.RRPair) bool { return true }
	}
	return q.Matcher(query.WithEndpoint(func(p *capturev1.RRPair) string { return endpoint.Of(p.GetPath()) })).Match
}

// List implements store.Reader.
func (s *Store) List(ctx context.Context, l store.List) iter.Seq2[*store.Stored, error] {
	return func(yield func(*store.Stored, error) bool) {
		if l.Limit <= 0 {
			return
		}
		all, _ := s.from(0)
		all = slices.Clone(all)
		slices.SortFunc(all, func(a, b *store.Stored) int { return compare(key(b), key(a)) })
		if l.To == 0 {
			l.To = math.MaxInt64
		}
		match := matcher(l.Query)
		n := 0
		for _, st := range all {
			if err := ctx.Err(); err != nil {
				yield(nil, err)
				return
			}
			k := key(st)
			if k.Time < l.From || k.Time >= l.To || l.Before != nil && compare(k, *l.Before) >= 0 || !match(st.Pair) {
				continue
			}
			if n++; !yield(st, nil) || n == l.Limit {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(nil, err)
		}
	}
}

// Histogram implements store.Reader.
func (s *Store) Histogram(ctx context.Context, h store.Histogram) (*store.Buckets, error) {
	e, err := s.Extent(ctx)
	if err != nil {
		return nil, err
	}
	b := store.NewBuckets(h, e)
	if len(b.Counts) == 0 {
		return b, nil
	}
	match := matcher(h.Query)
	all, _ := s.from(0)
	for _, st := range all {
		if match(st.Pair) {
			b.Add(store.Time(st.Pair), st.Pair.GetStatus(), store.Weight(st.Pair))
		}
	}
	return b, nil
}

// Tail implements store.Reader. It loses nothing, however slow its consumer.
func (s *Store) Tail(ctx context.Context, t store.Tail) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		match := matcher(t.Query)
		seq := t.After
		if seq == 0 {
			all, _ := s.from(0)
			seq = uint64(len(all))
		}
		for {
			news, changed := s.from(seq)
			for _, st := range news {
				seq = st.Seq
				if match(st.Pair) && !yield(store.Event{Stored: st, Seq: seq}, nil) {
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				yield(store.Event{}, ctx.Err())
				return
			}
		}
	}
}

// Extent implements store.Reader.
func (s *Store) Extent(ctx context.Context) (store.Extent, error) {
	var e store.Extent
	all, _ := s.from(0)
	for i, st := range all {
		t := store.Time(st.Pair)
		if i == 0 {
			e.Oldest, e.Newest = t, t
		}
		e.Oldest, e.Newest = min(e.Oldest, t), max(e.Newest, t)
		e.Pairs++
	}
	return e, ctx.Err()
}
