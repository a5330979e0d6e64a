package segstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// damages are the stretches of the log that were found damaged since Open:
// each is counted, told of and kept apart once, whoever comes across it. Who
// comes across one while another does so waits until it is done: an answer
// without a pair is given when the pair has been counted.
type damages struct {
	mu sync.Mutex
	// known has, by offset, how many pairs were in each, as far as that can be
	// told.
	known map[uint64]uint64
}

// maxDamages bounds those that are known; what is found beyond them may be
// counted twice.
const maxDamages = 1 << 16

// first reports whether a stretch is new. The caller holds mu.
func (d *damages) first(off uint64) bool {
	if _, ok := d.known[off]; ok {
		return false
	}
	d.set(off, 0)
	return true
}

// set takes note of how many pairs were in a stretch. The caller holds mu.
func (d *damages) set(off, pairs uint64) {
	if d.known == nil {
		d.known = map[uint64]uint64{}
	}
	if _, ok := d.known[off]; ok || len(d.known) < maxDamages {
		d.known[off] = pairs
	}
}

// lost is how many pairs cannot be read of a damaged record of which something
// else says that it had so many rows. One of which nothing is known counts as
// one.
func (d *damages) lost(off uint64, rows uint32) uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.known[off], uint64(rows), 1)
}

// unread are stretches whose rows have to go: whoever lists or counts rows
// must not show what nobody can read.
type unread struct {
	mu   sync.Mutex
	list []store.OffsetRange
	// more wakes the indexer; one is enough.
	more chan struct{}
	// hidden of them have no rows in the index any more. It is the indexer's own.
	hidden int
}

func (u *unread) add(r store.OffsetRange) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if slices.Contains(u.list, r) || len(u.list) >= maxDamages {
		return
	}
	u.list = append(u.list, r)
	select {
	case u.more <- struct{}{}:
	default:
	}
}

// all are those that are known, in the order in which they became so; the list
// only grows.
func (u *unread) all() []store.OffsetRange {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.list
}

// has reports whether a record is in one of them.
func (u *unread) has(off uint64) bool {
	return slices.ContainsFunc(u.all(), func(r store.OffsetRange) bool { return r.From <= off && off < r.To })
}

// hide removes the rows of stretches that turned out to be damaged since it did
// so last. x is nil for the index in use. It is the indexer's own.
func (s *Store) hide(ctx context.Context, x index.Index) error {
	list := s.unread.all()
	if s.unread.hidden == len(list) {
		return nil
	}
	if s.opt.Hiding != nil {
		s.opt.Hiding()
	}
	return s.change(func() error {
		if x == nil {
			if x = s.index.current(); x == nil {
				return s.notReady()
			}
		}
		for _, r := range list[s.unread.hidden:] {
			if err := x.Remove(ctx, r.From, r.To); err != nil {
				return fmt.Errorf("remove rows of damaged records: %w", err)
			}
		}
		stats, err := x.Stats(ctx)
		if err != nil {
			return fmt.Errorf("read index: %w", err)
		}
		s.live.setStats(stats)
		s.unread.hidden = len(list)
		return nil
	})
}

// damaged takes note of a stretch that was found unreadable, whose frames do
// not come again.
func (s *Store) damaged(c *seglog.CorruptError) { s.note(c, true) }

// note takes note of a stretch that cannot be read. Unless it is final, what
// nobody can put a name to may come again, and counts as something new then.
func (s *Store) note(c *seglog.CorruptError, final bool) {
	s.damages.mu.Lock()
	defer s.damages.mu.Unlock()
	if !s.damages.first(c.Offset) {
		return
	}
	// When its rows go, whoever counts has been told.
	defer s.unread.add(store.OffsetRange{From: c.Offset, To: c.Next})
	s.counters.damagedRecords.Add(1)
	attrs := []any{slog.String("error", c.Error())}
	if w, err := decodeWrapper(c.Head); err == nil {
		if h := headOf(&w); h != nil && !w.duplicate && !w.unreadable {
			left := uint64(w.left(h))
			s.counters.damagedPairs.Add(left)
			s.damages.set(c.Offset, left)
			attrs = append(attrs, slog.Uint64("pairs", left), slog.String("app", h.GetSource().GetApp()))
			if s.opt.Damaged != nil {
				s.opt.Damaged(c.Offset, h)
			}
		}
	} else if pairs, err := s.body(c); err == nil {
		s.counters.damagedPairs.Add(uint64(len(pairs)))
		s.damages.set(c.Offset, uint64(len(pairs)))
		attrs = append(attrs, slog.Int("pairs", len(pairs)))
		if h := headFrom(pairs); h != nil && final {
			attrs = append(attrs, slog.String("app", h.GetSource().GetApp()))
			if s.opt.Damaged != nil {
				s.opt.Damaged(c.Offset, h)
			}
		}
	}
	if err := s.seglog.Quarantine(c); err != nil {
		attrs = append(attrs, slog.String("quarantine", err.Error()))
	}
	s.log.Error("A record of the log is damaged", attrs...)
}

// zstdMagic begins a frame's body (RFC 8878).
var zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// maxSalvage bounds what is read of a stretch to count what was in it.
const maxSalvage = seglog.MaxRecordBytes + 4<<10

// headFrom is as much of a frame's head as its pairs tell: each describes
// itself. It is nil where they do not.
func headFrom(pairs []*capturev1.RRPair) *capturev1.FrameHead {
	if len(pairs) == 0 || len(pairs[0].GetSource().GetEpoch()) != frame.EpochLen {
		return nil
	}
	h := &capturev1.FrameHead{
		Source: pairs[0].GetSource(), FirstPairSeq: pairs[0].GetProxySeq(),
		Received: uint32(len(pairs)), Pairs: uint32(len(pairs)),
		TimeMin: store.Time(pairs[0]),
	}
	for _, p := range pairs {
		h.TimeMin, h.TimeMax = min(h.TimeMin, store.Time(p)), max(h.TimeMax, store.Time(p))
	}
	return h
}

// body gives the pairs of a record of which the head is damaged, or the header,
// when its body is whole: that reaches to the stretch's end.
func (s *Store) body(c *seglog.CorruptError) ([]*capturev1.RRPair, error) {
	if _, body, err := s.seglog.Salvage(c); err == nil && body != nil {
		return bodyPairs(body)
	}
	name, _ := strings.CutSuffix(c.Segment, ".seg")
	base, err := strconv.ParseUint(name, 16, 64)
	if err != nil || c.Offset < base || c.Next-c.Offset > maxSalvage {
		return nil, fmt.Errorf("read pairs: no record of a known length: %w", err)
	}
	f, err := s.opt.LogFS.OpenFile(c.Segment, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("read pairs: %w", err)
	}
	defer f.Close() // only read from
	raw := make([]byte, c.Next-c.Offset)
	if _, err := f.ReadAt(raw, int64(c.Offset-base)); err != nil {
		return nil, fmt.Errorf("read pairs: %w", err)
	}
	for at := 0; ; at++ {
		i := bytes.Index(raw[at:], zstdMagic)
		if i < 0 {
			return nil, errNoBody
		}
		at += i
		if pairs, err := bodyPairs(raw[at:]); err == nil {
			return pairs, nil
		}
	}
}

// bodyPairs are the pairs of a frame's body, of which nothing else is known.
func bodyPairs(body []byte) ([]*capturev1.RRPair, error) {
	n, err := frame.Count(body)
	if err != nil {
		return nil, fmt.Errorf("read pairs: %w", err)
	}
	var z zstd.Header
	if err := z.Decode(body); err != nil {
		return nil, fmt.Errorf("read pairs: %w", err)
	}
	return frame.Pairs(&capturev1.FrameHead{Pairs: uint32(n), BodyLen: uint32(z.FrameContentSize)}, body)
}

var errNoBody = errors.New("no body that is whole")
