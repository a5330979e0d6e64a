// Package registry knows the proxies of a forwarder: who is connected, who
// went away, who was given up, and what each last said of itself.
//
// A proxy is one process, told apart by its epoch; several may have the same
// proxy id. It holds a lease that every heartbeat renews; a reaper takes away
// the leases that ran out. Leases go by the monotonic clock, and time in which
// the forwarder itself stood still is nobody's silence.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

const (
	// Lease is how long a proxy may be silent.
	Lease = 45 * time.Second
	// MaxLive bounds the proxies that hold a lease, MaxPast those that are
	// remembered after theirs ended.
	MaxLive = 10_000
	MaxPast = 1_000
	// MaxListed and MaxListedBytes bound what Snapshot gives: it goes to the
	// analyzer as a part of one message.
	MaxListed      = 10_000
	MaxListedBytes = 16 << 20
	// reapEvery is how often leases are looked at.
	reapEvery = 500 * time.Millisecond
	// stalled is how much later than that means that this process stood still:
	// what proxies said meanwhile waits to be read.
	stalled = 5 * time.Second
)

// Epoch identifies one proxy process.
type Epoch [16]byte

// ErrTooMany: MaxLive proxies hold a lease already.
var ErrTooMany = errors.New("too many proxies are registered")

// ErrOther: the epoch is one of a proxy with another id. Nobody draws the same
// 128 random bits twice.
var ErrOther = errors.New("the epoch is another proxy's")

// Registry is the list of proxies. It may be used by many goroutines at once.
type Registry struct {
	log *slog.Logger
	// expire ends the stream of a proxy whose lease ran out, so that it
	// registers again if it is alive after all.
	expire func(Epoch)

	mu     sync.Mutex
	live   map[Epoch]*proxy
	past   []*proxy        // oldest first
	warned map[string]bool // ids whose duplicates were warned about
}

type proxy struct {
	epoch  Epoch
	status *capturev1.ProxyStatus // replaced parts only; never edited in place after it was given out
	state  capturev1.ProxyStatus_State
	// apiVersion is what the proxy said it speaks.
	apiVersion uint32
	// seen is when it was last heard, until when its lease runs out, and ended
	// when it was reaped or stopped.
	seen, until, ended time.Time
	// streams counts the Push streams that are open: one, or two for the
	// moment in which a new one takes over.
	streams int
	// held counts those who are at work on what it sent.
	held int
}

// heard renews the lease.
func (p *proxy) heard(now time.Time) { p.seen, p.until = now, now.Add(Lease) }

func (p *proxy) id() string { return p.status.GetSource().GetProxyId() }

// Other says whether an epoch is that of a live proxy with another id.
func (r *Registry) Other(epoch Epoch, proxyID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	return p != nil && p.id() != proxyID
}

// New makes an empty registry. expire is called by Run, without the
// registry's lock; it may be nil.
func New(log *slog.Logger, expire func(Epoch)) *Registry {
	return &Registry{log: log, expire: expire, live: map[Epoch]*proxy{}, warned: map[string]bool{}}
}

// Register opens the lease of a proxy, or renews it. status has everything
// that the proxy said; times and state are set here. apiVersion is what it
// speaks.
func (r *Registry) Register(epoch Epoch, status *capturev1.ProxyStatus, apiVersion uint32) error {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	if p != nil && p.id() != status.GetSource().GetProxyId() {
		return ErrOther
	}
	if p == nil {
		if len(r.live) >= MaxLive {
			return fmt.Errorf("%w (%d)", ErrTooMany, MaxLive)
		}
		// It may come back after it was reaped, with what it had said.
		if i := slices.IndexFunc(r.past, func(p *proxy) bool { return p.epoch == epoch }); i >= 0 {
			if r.past[i].id() != status.GetSource().GetProxyId() {
				return ErrOther
			}
			p = r.past[i]
			r.past = slices.Delete(r.past, i, i+1)
			p.streams, p.ended = 0, time.Time{}
		} else {
			p = &proxy{epoch: epoch}
		}
		p.state = capturev1.ProxyStatus_STATE_AWAY
		r.live[epoch] = p
		r.log.Info(fmt.Sprintf("REGISTER proxy ID %s at timestamp <nil>", status.GetSource().GetProxyId()))
	} else {
		r.log.Debug(fmt.Sprintf("REGISTER proxy ID %s again", status.GetSource().GetProxyId()))
	}
	if p.status != nil {
		status.Counters, status.ProxyState = p.status.GetCounters(), p.status.GetProxyState()
	}
	status.Registered = now.UnixNano()
	p.status, p.apiVersion = status, apiVersion
	p.heard(now)
	return nil
}

// Connect says that a proxy's stream began, and tells what it speaks. ok is
// false when it holds no lease: it has to register first.
func (r *Registry) Connect(epoch Epoch) (apiVersion uint32, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	if p == nil {
		return 0, false
	}
	p.streams++
	p.state = capturev1.ProxyStatus_STATE_CONNECTED
	p.heard(time.Now())
	return p.apiVersion, true
}

// Disconnect says that a stream ended; the lease still runs.
func (r *Registry) Disconnect(epoch Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	if p == nil {
		return
	}
	if p.streams--; p.streams <= 0 {
		p.state = capturev1.ProxyStatus_STATE_AWAY
	}
}

// Heartbeat renews a lease. A goodbye ends it.
func (r *Registry) Heartbeat(epoch Epoch, h *capturev1.Heartbeat) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	if p == nil {
		return
	}
	p.heard(now)
	if h.GetCounters() != nil {
		p.status.Counters = h.GetCounters()
	}
	if h.GetState() != nil {
		p.status.ProxyState = h.GetState()
	}
	if h.GetNow() != 0 {
		p.status.ClockSkew = h.GetNow() - now.UnixNano()
	}
	if h.GetGoodbye() {
		r.retire(p, capturev1.ProxyStatus_STATE_STOPPED, now)
		r.log.Info(fmt.Sprintf("STOP proxy ID %s", p.status.GetSource().GetProxyId()))
	}
}

// Hold keeps a lease for as long as somebody works on what the proxy sent:
// what it says meanwhile waits to be read. release ends that, and is a sign of
// life.
func (r *Registry) Hold(epoch Epoch) (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.live[epoch]
	if p == nil {
		return func() {}
	}
	p.held++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.held--
		p.heard(time.Now())
	}
}

// retire moves a proxy to the past. r.mu is held.
func (r *Registry) retire(p *proxy, state capturev1.ProxyStatus_State, now time.Time) {
	p.state, p.ended = state, now
	delete(r.live, p.epoch)
	r.past = append(r.past, p)
	if n := len(r.past) - MaxPast; n > 0 {
		r.past = slices.Delete(r.past, 0, n)
	}
}

// Run reaps until ctx ends.
func (r *Registry) Run(ctx context.Context) error {
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	looked := time.Now()
	for {
		select {
		case <-tick.C:
			now := time.Now()
			if late := now.Sub(looked) - reapEvery; late >= stalled {
				r.extend(late)
			}
			looked = now
			for _, e := range r.reap(now) {
				if r.expire != nil {
					r.expire(e)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// extend gives back to all leases the time in which nobody could be heard.
func (r *Registry) extend(by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.live {
		p.until = p.until.Add(by)
	}
	r.log.Warn("This process stood still; leases last that much longer", slog.Duration("for", by))
}

func (r *Registry) reap(now time.Time) (expired []Epoch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	connected := map[string]int{}
	for _, p := range r.live {
		id := p.status.GetSource().GetProxyId()
		if p.held == 0 && !now.Before(p.until) {
			r.retire(p, capturev1.ProxyStatus_STATE_REAPED, now)
			r.log.Info(fmt.Sprintf("REAP proxy ID %s last seen %v ago", id, now.Sub(p.seen).Round(100*time.Millisecond)))
			expired = append(expired, p.epoch)
			continue
		}
		if p.state == capturev1.ProxyStatus_STATE_CONNECTED {
			connected[id]++
		}
	}
	for id, n := range connected {
		if n > 1 && !r.warned[id] {
			r.warned[id] = true
			r.log.Warn("Several proxies have the same ID; they are kept apart, but nobody can tell them apart by name", slog.String("proxyID", id), slog.Int("proxies", n))
		}
	}
	for id := range r.warned {
		if connected[id] < 2 {
			delete(r.warned, id)
		}
	}
	return expired
}

// Snapshot lists the proxies that hold a lease and then those of the past,
// newest first, at most MaxListed and MaxListedBytes of them; omitted counts the
// rest.
func (r *Registry) Snapshot() (list []*capturev1.ProxyStatus, omitted int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*proxy, 0, len(r.live)+len(r.past))
	connected := map[string]int{}
	for _, p := range r.live {
		all = append(all, p)
		if p.state == capturev1.ProxyStatus_STATE_CONNECTED {
			connected[p.status.GetSource().GetProxyId()]++
		}
	}
	slices.SortFunc(all, func(a, b *proxy) int {
		return cmp.Or(cmp.Compare(b.status.GetRegistered(), a.status.GetRegistered()), slices.Compare(a.epoch[:], b.epoch[:]))
	})
	for _, p := range slices.Backward(r.past) {
		all = append(all, p)
	}
	room := MaxListedBytes
	for _, p := range all[:min(len(all), MaxListed)] {
		st := p.listed(connected)
		const around = 8 // a field's tag and length
		if room -= proto.Size(st) + around; room < 0 {
			break
		}
		list = append(list, st)
	}
	return list, len(all) - len(list)
}

// listed is what is told of a proxy. connected counts those by id that are.
func (p *proxy) listed(connected map[string]int) *capturev1.ProxyStatus {
	s := p.status
	return &capturev1.ProxyStatus{
		Source: s.GetSource(), State: p.state, Version: s.GetVersion(),
		ListenAddr: s.GetListenAddr(), UpstreamAddr: s.GetUpstreamAddr(),
		Registered: s.GetRegistered(), LastSeen: p.seen.UnixNano(), EpochStarted: s.GetEpochStarted(),
		ClockSkew: s.GetClockSkew(), Counters: s.GetCounters(), ProxyState: s.GetProxyState(),
		Ended:       unixNano(p.ended),
		DuplicateId: p.state == capturev1.ProxyStatus_STATE_CONNECTED && connected[s.GetSource().GetProxyId()] > 1,
	}
}

// Connected is how many proxies have a stream open.
func (r *Registry) Connected() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.live {
		if p.state == capturev1.ProxyStatus_STATE_CONNECTED {
			n++
		}
	}
	return n
}

// unixNano is 0 for what did not happen.
func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
