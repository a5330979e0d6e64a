package segstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/seglog"
)

// Tail implements store.Reader.
func (s *Store) Tail(ctx context.Context, t store.Tail) iter.Seq2[store.Event, error] {
	return func(yield func(store.Event, error) bool) {
		f := &follower{s: s, match: s.matcher(t.Query).Match, seq: t.After, yield: func(e store.Event) bool { return yield(e, nil) }}
		f.sign = time.NewTimer(s.opt.TailSign)
		defer f.sign.Stop()
		if err := f.run(ctx, t.After == 0); !errors.Is(err, errStop) {
			yield(store.Event{}, fmt.Errorf("tail: %w", err))
		}
	}
}

// errStop: the consumer has had enough.
var errStop = errors.New("consumer stopped")

// follower is one live tail.
type follower struct {
	s     *Store
	match func(*capturev1.RRPair) bool
	yield func(store.Event) bool
	// seq is how far it has looked.
	seq  uint64
	sign *time.Timer
}

func (f *follower) run(ctx context.Context, fromNow bool) error {
	var at place
	now, end := f.s.live.end()
	switch {
	case fromNow:
		at, f.seq = now, end
	case f.seq > max(end, f.s.seglog.Next()):
		// It comes from a log that reached further than this one does, as an
		// older copy of the directory: what it missed nobody can say.
		at, f.seq = now, end
		if err := f.send(store.Event{Dropped: 1, Seq: f.seq}); err != nil {
			return err
		}
	default:
		var err error
		if at, err = f.catchUp(ctx); err != nil {
			return err
		}
	}
	// Where it stands is said at once: a consumer that is cut off before
	// anything came can go on from there.
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.send(store.Event{Seq: f.seq}); err != nil {
		return err
	}
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, next, dropped, changed := f.s.live.take(at)
		if dropped > 0 {
			if err := f.send(store.Event{Dropped: dropped, Seq: f.seq}); err != nil {
				return err
			}
		}
		for _, e := range entries {
			if err := f.pairs(ctx, e.pairs, e.next); err != nil {
				return err
			}
		}
		at = next
		if len(entries) > 0 {
			changed = nil
		}
		if err := f.wait(ctx, changed); err != nil {
			return err
		}
	}
}

// wait waits for changed, if there is one, and gives a sign of life when it is
// time for it.
func (f *follower) wait(ctx context.Context, changed chan struct{}) error {
	if changed == nil {
		select {
		case <-f.sign.C:
			return f.send(store.Event{Seq: f.seq})
		default:
			return nil
		}
	}
	select {
	case <-changed:
		return nil
	case <-f.sign.C:
		return f.send(store.Event{Seq: f.seq})
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *follower) send(e store.Event) error {
	if !f.yield(e) {
		return errStop
	}
	f.sign.Reset(f.s.opt.TailSign)
	return nil
}

// pairs sends what fits of a record that ends at next, from behind seq on.
func (f *follower) pairs(ctx context.Context, pairs []*store.Stored, next uint64) error {
	for _, st := range pairs {
		if st.Seq <= f.seq || !f.match(st.Pair) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.send(store.Event{Stored: st, Seq: st.Seq}); err != nil {
			return err
		}
	}
	// No pair of a later record has a smaller sequence.
	f.seq = max(f.seq, next)
	return nil
}

// catchUp reads the log from seq on until the ring has what follows.
func (f *follower) catchUp(ctx context.Context) (place, error) {
	for {
		if at, ok := f.s.live.join(f.seq); ok {
			return at, nil
		}
		if oldest := f.s.seglog.Oldest(); f.seq < oldest {
			// How many there were went with them.
			f.seq = oldest
			if err := f.send(store.Event{Dropped: 1, Seq: f.seq}); err != nil {
				return place{}, err
			}
		}
		from, err := f.s.recordAt(ctx, f.seq)
		if err != nil {
			return place{}, err
		}
		for e, err := range f.s.seglog.Records(from) {
			if ctx.Err() != nil {
				return place{}, ctx.Err()
			}
			if c, ok := errors.AsType[*seglog.CorruptError](err); ok {
				f.s.damaged(c)
				f.seq = max(f.seq, c.Next)
				continue
			}
			if removed, ok := errors.AsType[*seglog.RemovedError](err); ok {
				// How many there were went with them.
				f.seq = max(f.seq, removed.To)
				if err := f.send(store.Event{Dropped: 1, Seq: f.seq}); err != nil {
					return place{}, err
				}
				continue
			}
			if err != nil {
				return place{}, fmt.Errorf("read log: %w", err)
			}
			if d, err := openRecord(e.Offset, e.Head, e.Body); err == nil {
				f.s.name(d.pairs)
				if err := f.pairs(ctx, d.pairs, e.Next); err != nil {
					return place{}, err
				}
			}
			f.seq = max(f.seq, e.Next)
			if err := f.wait(ctx, nil); err != nil {
				return place{}, err
			}
			if at, ok := f.s.live.join(f.seq); ok {
				return at, nil
			}
		}
		// Between the last record and the ring there may be a hole.
		f.seq = max(f.seq, min(f.s.live.from(), f.s.seglog.Next()))
	}
}

// recordAt is the offset of the first record that ends after seq.
func (s *Store) recordAt(ctx context.Context, seq uint64) (uint64, error) {
	for _, seg := range s.seglog.Segments() {
		if seg.End <= seq {
			continue
		}
		if seg.Base >= seq {
			return seg.Base, nil
		}
		for e, err := range s.seglog.Heads(seg.Base) {
			if ctx.Err() != nil {
				return 0, ctx.Err()
			}
			if err != nil {
				if c, ok := errors.AsType[*seglog.CorruptError](err); ok && c.Next <= seq {
					continue
				}
				break
			}
			if e.Next > seq {
				return e.Offset, nil
			}
		}
		return seg.Base, nil
	}
	return s.seglog.Next(), nil
}
