package ship

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weir-capture/weir/goproxy/ship/ring"
	"github.com/weir-capture/weir/internal/backoff"
	"github.com/weir-capture/weir/internal/ledger"
)

// keep moves batches to the ring while there are too many in memory, and back
// while a forwarder takes them. It is the one goroutine that touches the disk:
// one that hangs holds up neither pairs nor heartbeats. What the disk does not
// take stays in memory, which is bounded by its own limit.
func (s *Shipper) keep(ctx context.Context) {
	if s.set.OpenRing == nil {
		return
	}
	k := &keeper{s: s, again: backoff.Backoff{Min: time.Second, Max: 30 * time.Second, Rand: func() float64 { return 1 }}}
	for k.ring == nil {
		if ctx.Err() != nil {
			return
		}
		k.open(ctx)
	}
	s.ring.Store(k.ring)
	for ctx.Err() == nil {
		if !k.step() {
			k.wait(ctx)
		}
	}
	if err := k.ring.Close(); err != nil {
		s.set.Log.Warn("Could not remove the ring on disk; the next start does", slog.String("error", err.Error()))
	}
}

// keeper is what keep works with.
type keeper struct {
	s    *Shipper
	ring *ring.Ring
	seq  uint64
	// again is how long not to write after a failure, until that is over.
	again   backoff.Backoff
	blocked time.Time
}

// open opens the ring, or waits a while.
func (k *keeper) open(ctx context.Context) {
	r, swept, err := k.s.set.OpenRing()
	if swept.Err != nil {
		k.s.set.Log.Warn("Could not remove what an ended proxy left on disk", slog.String("error", swept.Err.Error()))
	}
	if swept.Rings > 0 {
		k.s.set.Log.Info("Removed what ended proxies left on disk; nobody can read it any more",
			slog.Int("rings", swept.Rings), slog.Int64("bytes", swept.Bytes))
	}
	if err == nil {
		k.ring = r
		k.again.Reset()
		return
	}
	k.s.set.Repeated.Log(slog.LevelError, "No ring on disk; what does not fit in memory is dropped and counted",
		slog.String("error", err.Error()), slog.String("hint", "Set CAPTURE_SPOOL_DIR to a directory that this process may write to."))
	select {
	case <-time.After(k.again.Next()):
	case <-ctx.Done():
	}
}

// step moves one batch, if there is one to be moved.
func (k *keeper) step() bool {
	if k.load() {
		return true
	}
	return !time.Now().Before(k.blocked) && k.spill()
}

func (k *keeper) wait(ctx context.Context) {
	var retry <-chan time.Time
	if d := time.Until(k.blocked); d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		retry = t.C
	}
	select {
	case <-k.s.move:
	case <-retry:
	case <-ctx.Done():
	}
}

// spill writes a batch to the ring.
func (k *keeper) spill() bool {
	s := k.s
	s.mu.Lock()
	p := s.queue.toMove()
	if p == nil {
		s.mu.Unlock()
		return false
	}
	// A reference of our own: the end of the proxy may let the parcel go.
	moving := p.contents
	moving.refs.Ref()
	s.mu.Unlock()
	err := k.ring.Append(ring.Record{Seq: k.seq + 1, Pairs: p.pairs, Held: p.held, Cut: p.cut}, moving.data)
	moving.refs.Free()
	s.mu.Lock()
	switch {
	case s.stopped: // it is counted already, and the ring goes
	case err != nil:
		s.queue.stays(p)
	default:
		k.seq++
		s.queue.moved(p)
	}
	s.mu.Unlock()
	stir(s.wake) // for a session that waits for this one
	if err == nil {
		k.again.Reset()
		return true
	}
	k.blocked = time.Now().Add(k.again.Next())
	if errors.Is(err, ring.ErrFull) {
		s.set.Repeated.Log(slog.LevelWarn, "The ring on disk is full; what does not fit in memory is dropped and counted",
			slog.Int64("bytes", k.ring.Used()))
	} else {
		s.set.Repeated.Log(slog.LevelError, "Could not write to the ring on disk; what does not fit in memory is dropped and counted",
			slog.String("error", err.Error()))
	}
	return false
}

// load reads the oldest batch back, when a forwarder is there and it has room.
func (k *keeper) load() bool {
	s := k.s
	rec, ok := k.ring.Oldest()
	s.mu.Lock()
	ok = ok && s.online && !s.stopped && s.queue.mayLoad(rec)
	s.mu.Unlock()
	if !ok {
		return false
	}
	used := k.ring.Used()
	data, err := k.ring.Pop(nil)
	var p *parcel
	if err == nil {
		p = &parcel{contents: own(data)}
	}
	if k.ring.Used() < used {
		k.blocked = time.Time{} // there may be room again
	}
	s.mu.Lock()
	if !s.stopped {
		s.queue.took(rec, p)
		if p == nil {
			s.set.Ledger.Lost(ledger.Ring, uint64(rec.Pairs))
			s.waits -= rec.Pairs
		}
	}
	s.mu.Unlock()
	stir(s.wake)
	if err != nil {
		s.set.Repeated.Log(slog.LevelError, "The ring on disk did not give a batch back; its pairs are dropped and counted",
			slog.Int("pairs", rec.Pairs), slog.String("error", err.Error()))
	}
	return true
}
