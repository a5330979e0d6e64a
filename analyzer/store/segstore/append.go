package segstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore/segidx"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/failpoint"
	"github.com/weir-capture/weir/seglog"
)

// groupBytes bounds what goes to the log in one write.
const groupBytes = 8 << 20

// Have implements store.Writer.
func (s *Store) Have(spool store.ID) store.Have { return s.delivery.have(spool) }

// Skip implements store.Writer. It lasts from the next segment on; until then
// a crash makes the spool's next stream say it again.
func (s *Store) Skip(spool store.ID, below uint64) { s.delivery.skip(spool, below) }

// Append implements store.Writer.
func (s *Store) Append(ctx context.Context, spool store.ID, frames []*capturev1.Frame) error {
	if err := s.index.wait(ctx); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := s.Writable(); err != nil {
		return fmt.Errorf("append: %w", err)
	}
	leave, err := s.gates.enter(ctx, spool)
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	defer leave()
	frames, bad := s.delivery.wanted(spool, frames)
	for len(frames) > 0 {
		n, err := s.appendGroup(ctx, spool, frames)
		if err != nil {
			return fmt.Errorf("append: %w", err)
		}
		frames = frames[n:]
	}
	if bad != nil {
		return fmt.Errorf("append: %w", bad)
	}
	return nil
}

// incoming is a frame on its way into the log.
type incoming struct {
	wrapper wrapper
	head    *capturev1.FrameHead // nil where the frame has none that can be read
	news    news
	body    []byte
	block   *block
	pairs   []*store.Stored
	bytes   int64
	// bloom and encoded are known when the log has written.
	bloom   segidx.Bloom
	encoded bool
}

// appendGroup appends the first frames, at least one, and says how many.
func (s *Store) appendGroup(ctx context.Context, spool store.ID, frames []*capturev1.Frame) (int, error) {
	var group []*incoming
	var bytes, weight int64
	now := s.opt.Now()
	s.watch(now)
	at := now.UnixNano()
	for _, f := range frames {
		size := int64(len(f.GetHead()) + len(f.GetBody()))
		if len(group) > 0 && (bytes+size > groupBytes || weight >= s.opt.Backlog/4) {
			break
		}
		in := s.open(spool, f, at)
		bytes += size
		weight += in.block.weight
		group = append(group, in)
	}

	if err := s.room.Acquire(ctx, weight); err != nil {
		return 0, fmt.Errorf("wait for the index: %w", err)
	}
	n, used, err := s.commit(ctx, group)
	s.room.Release(weight - used)
	return n, err
}

// open reads what is needed of a frame. One that cannot be opened is stored as
// it is: it must not stand in the way of those behind it.
func (s *Store) open(spool store.ID, f *capturev1.Frame, at int64) *incoming {
	in := &incoming{
		wrapper: wrapper{
			version: wrapperVersion, spool: spool, offset: f.GetOffset(), next: f.GetNextOffset(), at: at,
			sum: frame.Checksum(f.GetHead(), f.GetBody()), missing: shortened(f.GetMissing()), frameHead: f.GetHead(),
		},
		body:  f.GetBody(),
		block: &block{weight: overhead},
	}
	if in.wrapper.missing != "" {
		s.log.Warn("A stretch of a spool is missing: nobody knows what was in it",
			slog.String("spool", formatID(spool)), slog.Uint64("from", f.GetOffset()), slog.Uint64("to", f.GetNextOffset()),
			slog.String("reason", in.wrapper.missing))
		return in
	}
	head, err := frame.Head(f.GetHead())
	if err == nil {
		in.head = head
		var pairs []*capturev1.RRPair
		if pairs, err = frame.Pairs(head, f.GetBody()); err == nil {
			in.bytes = int64(head.GetBodyLen())
			in.pairs = storedPairs(&in.wrapper, pairs)
			s.name(in.pairs)
			in.block.rows = make([]index.Row, len(pairs))
			for i, p := range pairs {
				r := index.RowOf(p, at, 0, uint32(i)) // Off is known when it is durable
				r.Endpoint = in.pairs[i].Endpoint
				in.block.rows[i] = r
				in.block.weight += r.Size()
			}
			// Together with the bound on groups: none is more than fits.
			in.block.weight = min(in.block.weight, s.opt.Backlog/4)
		}
	}
	if err != nil {
		in.wrapper.unreadable = true
		s.counters.unreadable.Add(1)
		s.log.Error("A frame cannot be opened; it is stored as it is",
			slog.String("spool", formatID(spool)), slog.Uint64("offset", f.GetOffset()), slog.String("error", err.Error()))
	}
	in.news = newsOf(in.head, in.wrapper.unreadable)
	return in
}

// maxReason bounds why something is missing, in bytes.
const maxReason = 256

func shortened(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
}

// commit writes as much of the group as no other spool is just bringing too.
// used is the weight of what is now pending.
func (s *Store) commit(ctx context.Context, group []*incoming) (n int, used int64, err error) {
	news := make([]news, len(group))
	for i, in := range group {
		news[i] = in.news
	}
	verdicts := make([]verdict, len(group))
	var release chan struct{}
	for n == 0 {
		var wait chan struct{}
		if n, release, wait = s.delivery.claim(news, verdicts); n == 0 {
			select {
			case <-wait:
			case <-ctx.Done():
				return 0, 0, ctx.Err()
			}
		}
	}
	defer s.delivery.release(news[:n], release)

	records := make([]seglog.Record, n)
	for i, in := range group[:n] {
		if err := in.apply(&verdicts[i]); err != nil {
			return 0, 0, err
		}
		records[i] = seglog.Record{
			Head: in.wrapper.encode(), Body: in.body,
			Committed: func(off, next uint64) { s.committed(in, off, next) },
		}
		used += in.block.weight
	}
	// Neither the disk nor the words wait for each other.
	var words sync.WaitGroup
	key := s.comingKey()
	words.Go(func() { s.sidecars.words(group[:n], key) })
	_, err = s.seglog.Append(records...)
	words.Wait()
	if err != nil {
		if full, ok := errors.AsType[*seglog.FullError](err); ok {
			s.giveRoom()
			return 0, 0, fmt.Errorf("%w: %w", store.ErrFull, full.Err)
		}
		return 0, 0, fmt.Errorf("write to log: %w", err)
	}
	s.rekey(group[:n])
	s.sidecars.fill(group[:n])
	return n, used, failpoint.Hit(failpoint.StoreAfterSegment)
}

// apply makes the record what it is to be.
func (in *incoming) apply(v *verdict) error {
	switch {
	case v.duplicate:
		in.wrapper.duplicate, in.wrapper.unreadable = true, false
		in.body, in.pairs, in.bytes = nil, nil, 0
		in.block = &block{weight: overhead}
	case v.trimmed:
		in.head.Lost, in.news.runs = v.runs, v.runs
		b, err := proto.Marshal(in.head)
		if err != nil {
			return fmt.Errorf("encode head: %w", err)
		}
		in.wrapper.frameHead = b
	}
	in.wrapper.reclaimed = v.reclaimed
	return nil
}

// committed makes a durable record visible. The log calls it in order.
func (s *Store) committed(in *incoming, off, next uint64) {
	in.block.off, in.block.next = off, next
	for i := range in.block.rows {
		in.block.rows[i].Off = off
	}
	for i, p := range in.pairs {
		p.Seq = index.Seq(off, uint32(i))
	}
	s.delivery.commit(&in.wrapper, in.news)
	if len(in.pairs) > 0 {
		s.sidecars.add(entryOf(off, next, in.bytes, in.pairs))
	}
	s.live.publish(in.block, in.pairs, in.bytes)
	s.lastAt.Store(in.wrapper.at)
	s.lastOff.Store(off)
	s.counters.frames.Add(1)
	s.counters.pairs.Add(uint64(len(in.pairs)))
	if in.wrapper.duplicate {
		s.counters.duplicates.Add(1)
	}
	if s.opt.Committed != nil {
		s.opt.Committed(in.wrapper.commit(in.head, next))
	}
}

// gates let one caller at a time through for each spool.
type gates struct {
	mu   sync.Mutex
	open map[store.ID]*gate
}

type gate struct {
	token chan struct{}
	users int
}

func (g *gates) enter(ctx context.Context, spool store.ID) (leave func(), err error) {
	g.mu.Lock()
	t := g.open[spool]
	if t == nil {
		t = &gate{token: make(chan struct{}, 1)}
		g.open[spool] = t
	}
	t.users++
	g.mu.Unlock()
	gone := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(g.open, spool)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}
