// Package importer takes pairs out of a file into the store. They go the way
// that captured ones go: as frames of a spool, made durable by Append, listed
// and counted from then on. In the ledger they are what a proxy called
// "import" saw, one process for each import, all of it stored.
//
// A pair keeps its id, and one whose id is stored already is left out: the
// same file taken twice does not double. A pair without an app gets the one
// that the importing person named.
package importer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/query"
)

// ProxyID is who saw imported pairs, for the ledger, and the app of those that
// have none.
const (
	ProxyID    = "import"
	DefaultApp = "imported"
)

// MaxPair bounds one pair, in bytes of its encoding: a few MiB above what a
// proxy keeps of two bodies.
const MaxPair = 24 << 20

// batchBytes ends a frame before it has its 64 pairs.
const batchBytes = 4 << 20

// spool is the one that all imports share; only one runs at a time.
var spool = store.ID([]byte("weir:import:v001"))

// ErrBusy: another import is running.
var ErrBusy = errors.New("another import is running")

// PairError is a pair that cannot be stored.
type PairError struct {
	Size int
}

func (e *PairError) Error() string {
	return fmt.Sprintf("the pair takes %d bytes; want at most %d", e.Size, MaxPair)
}

// Store is what an importer writes to and asks.
type Store interface {
	store.Writer
	List(ctx context.Context, l store.List) iter.Seq2[*store.Stored, error]
}

// Importer takes one file at a time.
type Importer struct {
	store Store
	now   func() time.Time
	// turn is held by the import that runs.
	turn chan struct{}
}

// New makes an importer; now is its clock.
func New(st Store, now func() time.Time) *Importer {
	return &Importer{store: st, now: now, turn: make(chan struct{}, 1)}
}

// Counts is what became of the pairs of an import.
type Counts struct{ Stored, Known uint64 }

// Begin begins an import, or fails with ErrBusy. The caller has to Close it. app
// is that of pairs that have none; empty for DefaultApp.
func (im *Importer) Begin(app string) (*Import, error) {
	select {
	case im.turn <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	if app == "" {
		app = DefaultApp
	}
	in := &Import{im: im, app: app, began: im.now().UnixNano(), epoch: make([]byte, frame.EpochLen), ids: map[store.ID]bool{}}
	rand.Read(in.epoch) // never fails
	return in, nil
}

// Import is one that is under way. It is for one goroutine, and holds one
// frame of pairs.
type Import struct {
	im     *Importer
	app    string
	began  int64
	epoch  []byte
	counts Counts
	closed bool
	// seen are the pairs that were given to the store, batch the frames.
	seen, batch uint64

	pairs []*capturev1.RRPair
	ids   map[store.ID]bool // of pairs
	bytes int
}

// Add takes a pair over. A *PairError concerns this one alone; after another
// error nothing more can be added, and what Counts says is durable.
func (in *Import) Add(ctx context.Context, p *capturev1.RRPair) error {
	if p.GetSource() == nil {
		p.Source = &capturev1.Source{}
	}
	if p.Source.App == "" {
		p.Source.App = in.app
	}
	size := proto.Size(p)
	if size > MaxPair {
		return &PairError{size}
	}
	if len(in.pairs) == frame.MaxPairs || in.bytes > 0 && in.bytes+size > batchBytes {
		if err := in.flush(ctx); err != nil {
			return err
		}
	}
	id := store.ID(p.GetId())
	if in.ids[id] {
		in.counts.Known++
		return nil
	}
	in.ids[id] = true
	in.pairs = append(in.pairs, p)
	in.bytes += size
	return nil
}

// Finish makes what is left durable.
func (in *Import) Finish(ctx context.Context) error { return in.flush(ctx) }

// Counts is what became of the pairs so far; what is not yet in a frame is not
// in it.
func (in *Import) Counts() Counts { return in.counts }

// Close lets the next import begin. What was not finished is let go of.
func (in *Import) Close() {
	if !in.closed {
		in.closed = true
		<-in.im.turn
	}
}

// flush appends the pairs that the store does not have as one frame.
func (in *Import) flush(ctx context.Context) error {
	known, err := in.known(ctx)
	if err != nil {
		return fmt.Errorf("look for known pairs: %w", err)
	}
	fresh := in.pairs[:0]
	for _, p := range in.pairs {
		if known[store.ID(p.GetId())] {
			in.counts.Known++
		} else {
			fresh = append(fresh, p)
		}
	}
	in.pairs, in.bytes = nil, 0
	clear(in.ids)
	if len(fresh) == 0 {
		return nil
	}
	n := uint64(len(fresh))
	now := in.im.now().UnixNano()
	head, body, err := frame.Make(&capturev1.FrameHead{
		Source:       &capturev1.Source{App: in.app, ProxyId: ProxyID, Pod: ProxyID, Epoch: in.epoch},
		EpochStarted: in.began, BatchSeq: in.batch + 1, FirstPairSeq: in.seen + 1, Received: uint32(n),
		Counters: &capturev1.Counters{Seen: in.seen + n, Batched: in.seen + n, Acked: in.seen + n, At: now},
	}, fresh)
	if err != nil {
		return err
	}
	offset := in.im.store.Have(spool).Next
	if err := in.im.store.Append(ctx, spool, []*capturev1.Frame{{Offset: offset, NextOffset: offset + 1, Head: head, Body: body}}); err != nil {
		return err
	}
	in.batch++
	in.seen += n
	in.counts.Stored += n
	return nil
}

// known asks which of the pairs are stored: by id, within their times, so that
// little has to be looked at.
func (in *Import) known(ctx context.Context) (map[store.ID]bool, error) {
	if len(in.pairs) == 0 {
		return nil, nil
	}
	from, to := int64(math.MaxInt64), int64(0)
	ids := query.Term{Field: query.FieldID}
	for _, p := range in.pairs {
		t := store.Time(p)
		from, to = min(from, t), max(to, t)
		ids.Values = append(ids.Values, query.Value{Op: query.OpEqual, Text: query.FormatID(p.GetId())})
	}
	known := map[store.ID]bool{}
	for st, err := range in.im.store.List(ctx, store.List{Query: &query.Query{Root: ids}, From: from, To: to + 1, Limit: len(in.pairs)}) {
		if err != nil {
			return nil, err
		}
		known[store.ID(st.Pair.GetId())] = true
	}
	return known, nil
}
