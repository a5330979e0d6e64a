// Package ship brings pairs to the forwarder: in batches, over one gRPC stream,
// kept until they are acknowledged. What it holds counts against the memory
// budget of capture, which is what bounds it: while the forwarder is away,
// new pairs are let go before they get here. With a ring on disk the newest of
// what waits goes there instead, so that there is room.
//
// Batches are numbered without holes within the epoch of the process, and so
// are the pairs in them. They get their numbers when they are sent for the
// first time, so that what is lost before that, in the ring or because the
// proxy stops, leaves no hole. After a lost connection everything that was not
// acknowledged is sent again in order; the forwarder knows what it has by the
// numbers.
package ship

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/ship/ring"
	"github.com/weir-capture/weir/goproxy/ship/wire"
	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
)

const (
	// A batch is cut at maxPairs pairs, maxBytes bytes or maxAge, whichever
	// comes first. A pair above aloneBytes travels alone.
	maxPairs   = 64
	maxBytes   = 256 << 10
	maxAge     = 50 * time.Millisecond
	aloneBytes = 64 << 10

	// heartbeats is how often the forwarder hears from the proxy.
	heartbeats = time.Second
	// drainTime is how long the end waits for what was captured to be
	// acknowledged, goodbyeTime how long after that for the goodbye to arrive.
	drainTime   = 5 * time.Second
	goodbyeTime = time.Second

	// All proxies of a forwarder that ends lose their streams at once: they
	// come back at any moment of spread.
	spread = time.Second
	// A forwarder that refuses is asked again between half of refusedMin and
	// refusedMax later: it may be one that is being replaced.
	refusedMin = 20 * time.Second
	refusedMax = time.Minute

	// maxMessage bounds a gRPC message in both directions.
	maxMessage = 16 << 20
)

// Settings are what a Shipper needs.
type Settings struct {
	// Addr is the forwarder's "host:port".
	Addr string
	// Register is what the proxy says of itself; Now and the versions are
	// filled in.
	Register *capturev1.RegisterRequest
	Budget   *budget.Budget
	Ledger   *ledger.Ledger
	// State is what heartbeats carry beside the counters.
	State func() *capturev1.ProxyState
	// Tune takes what the forwarder says about capture; nil when it says
	// nothing. It may be nil itself.
	Tune func(*capturev1.Settings)
	// OpenRing opens the ring on disk; nil goes without one. Where it fails
	// it is called again, now and then.
	OpenRing func() (*ring.Ring, ring.Swept, error)
	// Now is the proxy's wall clock.
	Now func() int64
	// Rand gives numbers in [0, 1). It is called by one goroutine at a time.
	Rand func() float64
	Log  *slog.Logger
	// Repeated limits the lines about a forwarder that stays away.
	Repeated *lograte.Logger
	// Hint says what to do about an error, where that is known.
	Hint func(error) string
	// Dial connects to Addr; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Access is what is shown to the forwarder, and whether TLS is spoken; nil:
	// nothing, in the clear.
	Access *access.Client
}

// Shipper brings pairs to one forwarder.
type Shipper struct {
	set  Settings
	ring atomic.Pointer[ring.Ring]

	mu sync.Mutex
	// open is the batch that is being filled.
	// It is nil when it holds nothing and has no buffer.
	open      *[]byte
	openPairs int
	openHeld  int64
	pool      pool
	timer     *time.Timer
	queue
	batches uint64 // numbered so far
	pairs   uint64 // the same
	// waits are pairs that no forwarder has acknowledged.
	waits int
	// online: a forwarder takes batches. stopped: what comes now comes too
	// late.
	online, stopped bool

	// wake tells the session that there is something to send, or less to wait
	// for; move tells the keeper that there is something to move.
	wake, move chan struct{}
}

// New makes a Shipper.
func New(set Settings) *Shipper {
	s := &Shipper{set: set, wake: make(chan struct{}, 1), move: make(chan struct{}, 1)}
	s.queue = newQueue(set.Budget, set.OpenRing != nil)
	return s
}

// Add takes what a pair says, and with it held bytes of the budget. rest is
// what its bodies have behind Message.Body, in pieces. Of the pair itself it
// keeps nothing. It never blocks.
func (s *Shipper) Add(p *capturev1.RRPair, rest [2][][]byte, held int64) {
	bound := wire.Bound(p, rest)
	alone := bound > aloneBytes
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		s.set.Ledger.Dropped(ledger.Stopped)
		s.set.Budget.Give(held)
		return
	}
	if alone {
		data := wire.Append(make([]byte, 0, bound), p, rest)
		s.cut()
		s.took(held)
		s.enqueue(own(data))
		return
	}
	if s.open == nil {
		s.open = s.pool.Get(openBytes)
	}
	// Where writing fails, what is open stays as it was.
	*s.open = wire.Append(*s.open, p, rest)
	s.took(held)
	switch {
	case s.openPairs == maxPairs || len(*s.open) >= maxBytes:
		s.cut()
	case s.openPairs > 1:
	case s.timer == nil:
		s.timer = time.AfterFunc(maxAge, s.cutAged)
	default:
		s.timer.Reset(maxAge)
	}
}

// took counts a pair of the open batch. s.mu is held.
func (s *Shipper) took(held int64) {
	s.set.Ledger.Taken()
	s.waits++
	s.openPairs++
	s.openHeld += held
}

func (s *Shipper) cutAged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
}

// cut closes the open batch. s.mu is held.
func (s *Shipper) cut() {
	if s.openPairs > 0 {
		s.enqueue(s.pool.close(&s.open, s.openHeld))
	}
}

// enqueue makes a parcel of the pairs that are open. s.mu is held.
func (s *Shipper) enqueue(c contents) {
	if s.timer != nil {
		s.timer.Stop()
	}
	s.queue.add(&parcel{contents: c, pairs: s.openPairs, held: s.openHeld, cut: s.set.Now()})
	s.openPairs, s.openHeld = 0, 0
	stir(s.wake)
	if s.queue.high() {
		stir(s.move)
	}
}

// stir wakes whoever waits for a channel of one.
func stir(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// counters reads the ledger. What waits for a forwarder is still open to it.
func (s *Shipper) counters() *capturev1.Counters {
	l := s.set.Ledger
	at := s.set.Now() // before they are read: what comes between is in them too
	p := l.Pairs()
	return &capturev1.Counters{
		At:   at,
		Seen: p.Seen, Batched: p.Batched, Sampled: p.Sampled, Dropped: p.Dropped,
		Acked: l.Acked.Load(), BodiesShed: l.BodiesShed.Load(),
		BytesClientToServer: l.ClientToServer.Load(), BytesServerToClient: l.ServerToClient.Load(),
		ConnsAccepted: l.ConnsAccepted.Load(), ConnsFailed: l.ConnsFailed.Load(),
	}
}

// next is the batch behind a sequence, on its way to a forwarder; nil when
// there is none, or none that may be sent now.
func (s *Shipper) next(seq uint64, forwarder string) *message {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, fresh := s.queue.next(seq)
	if p == nil {
		return nil
	}
	switch {
	case fresh:
		s.batches++
		first := s.pairs + 1
		s.pairs += uint64(p.pairs)
		s.set.Ledger.Batched(uint64(p.pairs))
		// It fails on names that are not UTF-8, with which nobody gets here:
		// they cannot be registered.
		fields, _ := proto.Marshal(&capturev1.Batch{
			Source: s.set.Register.Source, EpochStarted: s.set.Register.EpochStarted,
			Seq: s.batches, FirstPairSeq: first, Counters: s.counters(),
		})
		p.number(s.batches, first, fields)
	case p.sentTo != forwarder:
		p.duplicate = true
	}
	p.sentTo = forwarder
	return p.message()
}

// waiting is how many pairs are not acknowledged.
func (s *Shipper) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits
}

// Parcels is how many batches were cut and not acknowledged.
func (s *Shipper) Parcels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queue.len()
}

// Lag is for how long the oldest batch that is not acknowledged has waited; 0
// when none does.
func (s *Shipper) Lag() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut, ok := s.queue.oldest()
	if !ok {
		return 0
	}
	return max(0, time.Duration(s.set.Now()-cut))
}

// Ring says what the ring on disk takes and may take, in bytes; 0 without one.
func (s *Shipper) Ring() (used, limit int64) {
	if r := s.ring.Load(); r != nil {
		return r.Used(), r.Limit()
	}
	return 0, 0
}

// acked forgets the batches from first to last. Those that were never sent
// nobody can have.
func (s *Shipper) acked(first, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.queue.acked(first, last)
	if n == 0 {
		return
	}
	s.set.Ledger.Acked.Add(uint64(n))
	s.waits -= n
	stir(s.wake)
	stir(s.move)
}

// abandon gives up what was not sent, and says so in the ledger: the counters
// that the forwarder hears last have to add up.
func (s *Shipper) abandon() (pairs int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.stopped = true
	n := s.queue.abandon()
	s.set.Ledger.Lost(ledger.Stopped, uint64(n))
	s.waits -= n
	return n
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
	keeping, stopKeeping := context.WithCancel(context.Background())
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keep(keeping)
	}()
	s.connect(ctx, end)
	left := s.waiting()
	s.abandon()
	stopKeeping()
	select {
	case <-kept:
	case <-time.After(goodbyeTime): // a disk that hangs keeps nobody from ending
	}
	if left += end.abandoned; left > 0 {
		s.set.Log.Warn("Stopped before the forwarder had everything", slog.Int("pairs", left))
	}
	return nil
}

// connect has one session after another until the end.
func (s *Shipper) connect(ctx context.Context, end *ending) {
	again := backoff.Backoff{Min: 200 * time.Millisecond, Max: 5 * time.Second, Rand: s.set.Rand}
	refused := backoff.Backoff{Min: refusedMin, Max: refusedMax, Rand: s.set.Rand}
	told := "" // the last refusal
	for {
		began := time.Now()
		err := s.session(end)
		if err == nil || end.ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if no, ok := errors.AsType[*refusal](err); ok {
			wait = refused.Next()
			if err.Error() != told && !end.begun() {
				told = err.Error()
				s.set.Log.LogAttrs(ctx, slog.LevelError, "Refused by the forwarder; pairs are kept, and it is asked again now and then",
					slog.String("addr", s.set.Addr), slog.String("error", no.Error()))
			}
		} else {
			told = ""
			refused.Reset()
			if s.set.Log.Enabled(ctx, slog.LevelError) && !end.begun() {
				s.complain(err)
			}
			if wait = again.Next(); time.Since(began) > again.Max {
				again.Reset()
				wait = time.Duration(s.set.Rand() * float64(spread))
			}
		}
		if end.begun() && s.waiting() == 0 {
			return
		}
		if !end.sleep(wait) && s.waiting() == 0 {
			return
		}
	}
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
