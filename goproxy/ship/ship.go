// Package ship brings pairs to the forwarder: in batches, over one gRPC stream,
// kept until they are acknowledged. What it holds counts against the memory
// budget of capture, which is what bounds it: while the forwarder is away,
// new pairs are let go before they get here.
//
// Batches are numbered without holes within the epoch of the process, and so
// are the pairs in them. After a lost connection everything that was not
// acknowledged is sent again in order; the forwarder knows what it has by the
// numbers.
package ship

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
)

const (
	// A batch is cut at maxPairs pairs, maxBytes bytes or maxAge, whichever
	// comes first. A pair above aloneBytes travels alone.
	maxPairs   = 64
	maxBytes   = 128 << 10
	maxAge     = 50 * time.Millisecond
	aloneBytes = 64 << 10

	// heartbeats is how often the forwarder hears from the proxy.
	heartbeats = time.Second
	// drainTime is how long the end waits for what was captured to be
	// acknowledged, goodbyeTime how long after that for the goodbye to arrive.
	drainTime   = 5 * time.Second
	goodbyeTime = time.Second

	// maxMessage bounds a gRPC message in both directions.
	maxMessage = 16 << 20
)

// Settings are what a Shipper needs.
type Settings struct {
	// Addr is the forwarder's "host:port".
	Addr string
	// Register is what the proxy says of itself; Now is filled in.
	Register *capturev1.RegisterRequest
	Budget   *budget.Budget
	Ledger   *ledger.Ledger
	// State is what heartbeats carry beside the counters.
	State func() *capturev1.ProxyState
	// Now is the proxy's wall clock.
	Now func() int64
	// Rand gives numbers in [0, 1).
	Rand func() float64
	Log  *slog.Logger
	// Repeated limits the lines about a forwarder that stays away.
	Repeated *lograte.Logger
	// Hint says what to do about an error, where that is known.
	Hint func(error) string
	// Dial connects to Addr; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Shipper brings pairs to one forwarder.
type Shipper struct {
	set Settings

	mu sync.Mutex
	// open is the batch that is being filled.
	open      []*capturev1.RRPair
	openBytes int
	openHeld  int64
	timer     *time.Timer
	// parcels were cut and not acknowledged, in order.
	parcels []*parcel
	batches uint64 // cut so far
	pairs   uint64 // batched so far

	// wake tells the session that there is something to send, or less to wait
	// for.
	wake chan struct{}
}

// parcel is a batch with what the proxy knows about it.
type parcel struct {
	batch *capturev1.Batch
	held  int64
	// sentTo is the forwarder that may have it.
	sentTo string
}

// New makes a Shipper.
func New(set Settings) *Shipper {
	return &Shipper{set: set, wake: make(chan struct{}, 1)}
}

// Add takes a pair over, and with it held bytes of the budget. It never
// blocks.
func (s *Shipper) Add(p *capturev1.RRPair, held int64) {
	size := proto.Size(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	if size > aloneBytes {
		s.cut()
	}
	s.pairs++
	p.ProxySeq = s.pairs
	s.set.Ledger.Batched(1)
	s.open = append(s.open, p)
	s.openBytes += size
	s.openHeld += held
	switch {
	case len(s.open) == maxPairs || s.openBytes >= maxBytes || size > aloneBytes:
		s.cut()
	case len(s.open) > 1:
	case s.timer == nil:
		s.timer = time.AfterFunc(maxAge, s.cutAged)
	default:
		s.timer.Reset(maxAge)
	}
}

func (s *Shipper) cutAged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
}

// cut closes the open batch. s.mu is held.
func (s *Shipper) cut() {
	if len(s.open) == 0 {
		return
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	s.batches++
	s.parcels = append(s.parcels, &parcel{
		held: s.openHeld,
		batch: &capturev1.Batch{
			Source:       s.set.Register.Source,
			EpochStarted: s.set.Register.EpochStarted,
			Seq:          s.batches,
			FirstPairSeq: s.open[0].ProxySeq,
			Pairs:        s.open,
			Counters:     s.counters(),
		},
	})
	s.open, s.openBytes, s.openHeld = nil, 0, 0
	s.stir()
}

// stir wakes the session.
func (s *Shipper) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// counters reads the ledger.
func (s *Shipper) counters() *capturev1.Counters {
	l := s.set.Ledger
	p := l.Pairs()
	return &capturev1.Counters{
		Seen: p.Seen, Batched: p.Batched, Sampled: p.Sampled, Dropped: p.Dropped,
		Acked: l.Acked.Load(), BodiesShed: l.BodiesShed.Load(),
		BytesClientToServer: l.ClientToServer.Load(), BytesServerToClient: l.ServerToClient.Load(),
		ConnsAccepted: l.ConnsAccepted.Load(), ConnsFailed: l.ConnsFailed.Load(),
	}
}

// after is the first parcel behind a sequence, nil when there is none.
func (s *Shipper) after(seq uint64) *parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(seq + 1)
	if i == len(s.parcels) {
		return nil
	}
	return s.parcels[i]
}

// index is where the first parcel from seq on stands. s.mu is held.
func (s *Shipper) index(seq uint64) int {
	i, _ := slices.BinarySearchFunc(s.parcels, seq, func(p *parcel, seq uint64) int { return cmp.Compare(p.batch.Seq, seq) })
	return i
}

// waiting is how many pairs are not acknowledged.
func (s *Shipper) waiting() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.parcels {
		n += len(p.batch.Pairs)
	}
	return n + len(s.open)
}

// Parcels is how many batches were cut and not acknowledged.
func (s *Shipper) Parcels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parcels)
}

// acked forgets the batches from first to last.
func (s *Shipper) acked(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, j := s.index(first), s.index(last+1)
	if i >= j {
		return
	}
	for _, p := range s.parcels[i:j] {
		s.set.Ledger.Acked.Add(uint64(len(p.batch.Pairs)))
		s.set.Budget.Give(p.held)
	}
	if i == 0 { // the usual case: nothing moves
		clear(s.parcels[:j])
		s.parcels = s.parcels[j:]
	} else {
		s.parcels = slices.Delete(s.parcels, i, j)
	}
	s.stir()
}

// Run ships until ctx ends. Then it cuts the last batch, waits a while for the
// forwarder to have everything, says goodbye, and returns nil.
func (s *Shipper) Run(ctx context.Context) error {
	end := newEnding()
	defer end.stop()
	stop := context.AfterFunc(ctx, func() {
		s.cutAged()
		end.begin()
	})
	defer stop()
	retry := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second, Rand: s.set.Rand}
	for {
		began := time.Now()
		err := s.session(end)
		if err == nil || end.ctx.Err() != nil {
			break
		}
		if s.set.Log.Enabled(ctx, slog.LevelError) && !end.begun() {
			s.complain(err)
		}
		if time.Since(began) > retry.Max {
			retry.Reset()
		}
		if end.begun() && s.waiting() == 0 {
			break
		}
		select {
		case <-time.After(retry.Next()):
		case <-end.ctx.Done():
		}
	}
	s.mu.Lock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	if n := s.waiting(); n > 0 {
		s.set.Log.Warn("Stopped before the forwarder had everything", slog.Int("pairs", n))
	}
	return nil
}

// complain says why there is no forwarder to ship to.
func (s *Shipper) complain(err error) {
	attrs := []slog.Attr{slog.String("addr", s.set.Addr), slog.String("error", err.Error())}
	if s.set.Hint != nil {
		if hint := s.set.Hint(err); hint != "" {
			attrs = append(attrs, slog.String("hint", hint))
		}
	}
	s.set.Repeated.Log(slog.LevelError, "Not connected to forwarder; pairs are kept and sent later", attrs...)
}

// ending is how a shipper stops: something has begun to end (draining), then
// time is up for what is on its way (expired), then for everything (ctx).
type ending struct {
	draining, expired chan struct{}
	ctx               context.Context // it is what this type is about
	cancel            context.CancelFunc
	once              sync.Once
	mu                sync.Mutex
	timers            []*time.Timer
}

func newEnding() *ending {
	e := &ending{draining: make(chan struct{}), expired: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *ending) begin() {
	e.once.Do(func() {
		close(e.draining)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.timers = append(
			e.timers,
			time.AfterFunc(drainTime, func() { close(e.expired) }),
			time.AfterFunc(drainTime+goodbyeTime, e.cancel),
		)
	})
}

func (e *ending) begun() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

func (e *ending) stop() {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.timers {
		t.Stop()
	}
}
