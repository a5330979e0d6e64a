package segstore

import (
	"container/list"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/index"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/seglog"
)

// decoded is an opened record. It does not change.
type decoded struct {
	at    int64
	pairs []*store.Stored
	// bytes is the length of the body when it is not compressed.
	bytes int64
	// deleted: pairs of it were.
	deleted bool
}

// openRecord opens a record as the log gave it.
func openRecord(off uint64, head, body []byte) (*decoded, error) {
	r, err := readHead(head)
	if err != nil {
		return nil, err
	}
	raw, err := r.raw(body, nil)
	if err != nil {
		return nil, err
	}
	return r.decode(off, raw)
}

// recordHead is the head of a record, and of the frame in it: nil when the
// record has no pairs.
type recordHead struct {
	wrapper
	head *capturev1.FrameHead
}

func readHead(b []byte) (r recordHead, err error) {
	if r.wrapper, err = decodeWrapper(b); err != nil || r.duplicate || r.mark || r.missing != "" {
		return r, err
	}
	if r.head, err = frame.Head(r.frameHead); err != nil {
		return r, fmt.Errorf("open frame: %w", err)
	}
	return r, nil
}

// raw is the frame's body before it is decoded, in buf where it has room.
func (r *recordHead) raw(body, buf []byte) ([]byte, error) {
	if r.head == nil {
		return nil, nil
	}
	raw, err := frame.Raw(r.head, body, buf)
	if err != nil {
		return nil, fmt.Errorf("open frame: %w", err)
	}
	return raw, nil
}

// decode does not keep raw.
func (r *recordHead) decode(off uint64, raw []byte) (*decoded, error) {
	d := &decoded{at: r.at, deleted: r.deleted > 0}
	if r.head == nil {
		return d, nil
	}
	pairs, err := frame.Decode(r.head, raw)
	if err != nil {
		return nil, fmt.Errorf("open frame: %w", err)
	}
	d.bytes = int64(len(raw))
	var erased []bool
	if r.deleted > 0 {
		erased = make([]bool, len(pairs))
		for i, p := range pairs {
			erased[i] = proto.Size(p) == 0
		}
	}
	d.pairs = storedPairs(&r.wrapper, pairs)
	for i, p := range d.pairs {
		p.Seq = index.Seq(off, uint32(i))
	}
	if r.deleted > 0 {
		kept := d.pairs[:0]
		for i, p := range d.pairs {
			if !erased[i] {
				kept = append(kept, p)
			}
		}
		d.pairs = kept
	}
	return d, nil
}

// place is the pair at a place of the record at off, nil where none is.
func (d *decoded) place(off uint64, idx uint32) *store.Stored {
	seq := index.Seq(off, idx)
	i := int(idx)
	if i >= len(d.pairs) || d.pairs[i].Seq != seq { // some before it were deleted
		i = slices.IndexFunc(d.pairs, func(p *store.Stored) bool { return p.Seq == seq })
	}
	if i < 0 {
		return nil
	}
	return d.pairs[i]
}

// decodeSome is decode for those pairs of whose encoding want says so.
func (r *recordHead) decodeSome(off uint64, raw []byte, want func(pair []byte) bool) (*decoded, error) {
	d := &decoded{at: r.at, bytes: int64(len(raw))}
	if r.head == nil {
		return d, nil
	}
	err := frame.DecodeSome(r.head, raw, want, func(i int, p *capturev1.RRPair) {
		st := storedPair(&r.wrapper, p, i)
		st.Seq = index.Seq(off, uint32(i))
		d.pairs = append(d.pairs, st)
	})
	if err != nil {
		return nil, fmt.Errorf("open frame: %w", err)
	}
	return d, nil
}

// storedPairs wraps pairs of a frame; their Seq is not known yet.
func storedPairs(w *wrapper, pairs []*capturev1.RRPair) []*store.Stored {
	out := make([]*store.Stored, len(pairs))
	for i, p := range pairs {
		out[i] = storedPair(w, p, i)
	}
	return out
}

// storedPair wraps a frame's pair at place i. One that came without a proper id
// gets one that follows from where it stands, so that it has the same whenever
// it is read.
func storedPair(w *wrapper, p *capturev1.RRPair, i int) *store.Stored {
	if len(p.GetId()) != len(store.ID{}) {
		sum := xxh3.Hash128(fmt.Appendf(nil, "%x %d %d", w.spool, w.offset, i)).Bytes()
		// Version 8 of RFC 9562: made by rules of one's own.
		sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
		p.Id = sum[:]
	}
	return &store.Stored{Pair: p, Endpoint: endpoint.Of(p.GetPath()), At: w.at}
}

// name gives pairs that nobody else has yet the templates that are known now.
func (s *Store) name(pairs []*store.Stored) {
	if s.opt.Endpoints == nil {
		return // they have those that follow from their paths
	}
	for _, p := range pairs {
		p.Endpoint = s.endpoint(p.Pair)
	}
}

func formatID(id store.ID) string { return hex.EncodeToString(id[:]) }

// errGone: retention has removed the record.
var errGone = errors.New("record was removed")

// publishWait is far longer than a record can take from its row to the log's
// end.
const publishWait = 2 * time.Second

// entry reads the record at off.
func (s *Store) entry(ctx context.Context, off uint64) (seglog.Entry, error) {
	e, err := s.seglog.ReadAt(off)
	if errors.Is(err, seglog.ErrEnd) {
		// Its row is published a moment before the log shows the record.
		r := s.seglog.Reader(off)
		waitCtx, cancel := context.WithTimeout(ctx, publishWait)
		e, err = r.Next(waitCtx)
		cancel()
		r.Close()
		switch {
		case ctx.Err() != nil:
			return e, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded) || err == nil && e.Offset != off:
			err = fmt.Errorf("%w: it has a row for offset %d, where the log has no record", index.ErrBroken, off)
		}
	}
	if err != nil {
		if _, ok := errors.AsType[*seglog.RemovedError](err); ok {
			return e, errGone
		}
		if c, ok := errors.AsType[*seglog.CorruptError](err); ok {
			s.damaged(c)
		}
		return e, fmt.Errorf("read record: %w", err)
	}
	return e, nil
}

// frame opens the record at off, or finds it open.
func (s *Store) frame(ctx context.Context, off uint64) (*decoded, error) {
	if d := s.cache.get(off); d != nil {
		return d, nil
	}
	e, err := s.entry(ctx, off)
	if err != nil {
		return nil, err
	}
	d, err := openRecord(off, e.Head, e.Body)
	if err != nil {
		return nil, err
	}
	s.name(d.pairs)
	s.cache.put(off, d)
	return d, nil
}

// pair is the pair that a row points to, with the length of its frame's body.
func (s *Store) pair(ctx context.Context, r *index.Row) (*store.Stored, int64, error) {
	d, err := s.frame(ctx, r.Off)
	if err != nil {
		return nil, 0, err
	}
	p := d.place(r.Off, r.Idx)
	if p == nil && d.deleted {
		return nil, 0, errGone
	}
	if p == nil || store.ID(p.Pair.GetId()) != r.ID {
		return nil, 0, fmt.Errorf("%w: its row of offset %d, place %d is not what the log has there", index.ErrBroken, r.Off, r.Idx)
	}
	return p, d.bytes, nil
}

// frameCache keeps the frames that were used last.
type frameCache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	byOff map[uint64]*list.Element
	used  *list.List // of cached, the newest first
}

type cached struct {
	off uint64
	d   *decoded
}

// frameOverhead is about what an open frame takes beside its bodies.
const frameOverhead = 64 << 10

func newFrameCache(limit int64) *frameCache {
	return &frameCache{max: limit, byOff: map[uint64]*list.Element{}, used: list.New()}
}

func (c *frameCache) get(off uint64) *decoded {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byOff[off]
	if el == nil {
		return nil
	}
	c.used.MoveToFront(el)
	return el.Value.(cached).d // the list has nothing else
}

func (c *frameCache) put(off uint64, d *decoded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	size := d.bytes + frameOverhead
	if c.byOff[off] != nil || size > c.max {
		return
	}
	c.byOff[off] = c.used.PushFront(cached{off, d})
	c.bytes += size
	for c.bytes > c.max {
		old := c.used.Remove(c.used.Back()).(cached) // as above
		delete(c.byOff, old.off)
		c.bytes -= old.d.bytes + frameOverhead
	}
}

// forget lets go of the frames below off.
func (c *frameCache) forget(off uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for el := c.used.Front(); el != nil; {
		next := el.Next()
		if old := el.Value.(cached); old.off < off { // as above
			c.used.Remove(el)
			delete(c.byOff, old.off)
			c.bytes -= old.d.bytes + frameOverhead
		}
		el = next
	}
}
