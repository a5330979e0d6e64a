package segstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/seglog"
)

// sidecarEvery is how often somebody looks whether a segment was sealed.
const sidecarEvery = time.Second

// sidecarLoop makes the files of sealed segments, and learns what is in the
// others, until ctx ends.
func (s *Store) sidecarLoop(ctx context.Context) {
	tick := time.NewTicker(sidecarEvery)
	defer tick.Stop()
	var newest uint64
	failing, again := false, true
	for {
		segs := s.seglog.Segments()
		if n := len(segs); n > 0 && segs[n-1].Base != newest {
			newest, again = segs[n-1].Base, true
		}
		if again {
			err := s.makeSidecars(ctx, segs)
			if err != nil && ctx.Err() == nil && !failing {
				s.log.Error("Could not make the index of a segment; searching it takes longer", slog.String("error", err.Error()))
			}
			failing = err != nil
			again = failing
		}
		select {
		case <-s.sidecars.sealed:
			again = true
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// makeSidecars makes what is missing, of the newest segment first: most
// questions are about it.
func (s *Store) makeSidecars(ctx context.Context, segs []seglog.SegmentInfo) error {
	if err := s.removeOrphans(segs); err != nil {
		return err
	}
	var errs []error
	for i := range slices.Backward(segs) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		seg := &segs[i]
		// Nothing is added to one that another follows.
		sealed := seg.Sealed || i < len(segs)-1
		if err := s.makeSidecar(ctx, seg, sealed); err != nil {
			errs = append(errs, fmt.Errorf("segment %s: %w", seg.Name, err))
		}
	}
	if n := len(segs); n > 1 {
		// What could not be written is not kept for ever: it can be read again.
		s.sidecars.letGo(segs[n-2].Base)
	}
	return errors.Join(errs...)
}

func (s *Store) makeSidecar(ctx context.Context, seg *seglog.SegmentInfo, sealed bool) error {
	c := &s.sidecars
	if f, ok := c.of(seg.Base); ok && f.End == seg.End {
		return nil
	}
	if !sealed {
		return s.learn(ctx, seg.Base)
	}
	if seg.Gone {
		if err := removeFile(s.opt.LogFS, segidx.Name(seg.Name)); err != nil {
			return err
		}
		c.done(sidecar{segidx.Summary(seg.Base, seg.End, nil), 0})
		return nil
	}
	key, renewed := s.wordKey(seg.Base), c.renewals(seg.Base)
	x, err := segidx.Open(s.opt.LogFS, seg.Name, seg.Base, seg.End, key)
	if err == nil {
		known := sidecar{x.Segment(), x.Size()}
		if err := x.Close(); err != nil {
			return err
		}
		c.done(known)
		return nil
	}
	if errors.Is(err, segidx.ErrUseless) {
		s.log.Warn("The index of a segment is of no use and is made again", slog.String("error", err.Error()))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, ok := c.entries(seg.Base, seg.End)
	if !ok {
		if entries, err = s.readEntries(ctx, seg.Base, seg.End); err != nil {
			return err
		}
	}
	size, err := segidx.Write(s.opt.LogFS, seg.Name, seg.Base, seg.End, entries, key)
	if err != nil {
		return err
	}
	if s.seglog.Oldest() > seg.Base || c.renewals(seg.Base) != renewed { // retention was quicker, or a deletion
		return removeFile(s.opt.LogFS, segidx.Name(seg.Name))
	}
	c.done(sidecar{segidx.Summary(seg.Base, seg.End, entries), size})
	return nil
}

// entries are those in memory of [base, end); ok is false when not all are.
func (c *sidecars) entries(base, end uint64) ([]segidx.Entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if base < c.from {
		return nil, false
	}
	from, _ := c.find(base)
	to, _ := c.find(end)
	return slices.Clone(c.fresh[from:to]), true
}

// done takes note of a segment's file. What was in memory of it is let go, when
// nothing in memory is older.
func (c *sidecars) done(f sidecar) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files[f.Base] = f
	if c.from >= f.Base {
		c.drop(f.End)
	}
}

// learn reads what was in the segment at base before the store was opened.
func (s *Store) learn(ctx context.Context, base uint64) error {
	c := &s.sidecars
	c.mu.RLock()
	from := c.from
	c.mu.RUnlock()
	if from <= base {
		return nil
	}
	entries, err := s.readEntries(ctx, base, from)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == from {
		c.fresh = append(entries, c.fresh...)
		c.from = base
	}
	return nil
}

// readEntries reads the records of [base, end).
func (s *Store) readEntries(ctx context.Context, base, end uint64) ([]segidx.Entry, error) {
	w := s.sidecars.collectors.Get().(*segidx.Collector) // it has nothing else
	defer s.sidecars.collectors.Put(w)
	var entries []segidx.Entry
	key := s.wordKey(base)
	for e, err := range s.seglog.Records(base) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if c, ok := errors.AsType[*seglog.CorruptError](err); ok && c.Offset < end {
			s.damaged(c)
			// Whoever searches comes upon it, also after the next start.
			entries = append(entries, segidx.Entry{Frame: segidx.Frame{Off: c.Offset, Next: min(c.Next, end)}})
			continue
		}
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			continue
		}
		if err == nil && e.Offset >= end || err != nil && seglog.IsDamage(err) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read log: %w", err)
		}
		d, err := openRecord(e.Offset, e.Head, e.Body)
		if err != nil || len(d.pairs) == 0 {
			continue // one that cannot be opened has no pairs for anybody
		}
		entry := entryOf(e.Offset, e.Next, d.bytes, d.pairs)
		entry.Bloom, entry.Encoded = w.Collect(pairsOf(d.pairs), key)
		entries = append(entries, entry)
	}
	return entries, nil
}

func pairsOf(list []*store.Stored) []*capturev1.RRPair {
	pairs := make([]*capturev1.RRPair, len(list))
	for i, st := range list {
		pairs[i] = st.Pair
	}
	return pairs
}

func removeFile(d vfs.FS, name string) error {
	if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// removeOrphans removes files whose segment is gone, and what a crash has left
// of one that was being written.
func (s *Store) removeOrphans(segs []seglog.SegmentInfo) error {
	names, err := s.opt.LogFS.Names()
	if err != nil {
		return fmt.Errorf("list segments: %w", err)
	}
	for _, name := range names {
		segment, ok := segidx.IsName(name)
		if ok && !slices.ContainsFunc(segs, func(i seglog.SegmentInfo) bool { return i.Name == segment }) {
			if err := removeFile(s.opt.LogFS, name); err != nil {
				return err
			}
		}
	}
	return nil
}
