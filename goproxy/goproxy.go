// Package goproxy is the capture proxy beside an application: it carries the
// application's traffic unchanged, and ships a copy of it to the forwarder.
//
// It wires five rooms. listen accepts; relay carries, and lends what it
// carried to tee; observe finds out what was said and pairs it; ship brings
// the pairs to the forwarder. What happens in the last two is never felt by
// the first three.
package goproxy

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy/listen"
	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/goproxy/relay"
	"github.com/weir-capture/weir/goproxy/ship"
	"github.com/weir-capture/weir/goproxy/ship/ring"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/clock"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/nonblock"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol/protocols"
	"github.com/weir-capture/weir/redact"
)

// dialTimeout bounds the wait for an upstream that does not answer at all.
const dialTimeout = 30 * time.Second

// Proxy is one capture proxy.
type Proxy struct {
	cfg      Config
	log      *slog.Logger
	repeated *lograte.Logger
	clock    *clock.Clock
	ledger   ledger.Ledger
	budget   *budget.Budget
	listener *listen.Listener
	dialer   *relay.Dialer
	relay    *relay.Relay
	observer *observe.Observer
	sampler  *observe.Sampler
	shipper  *ship.Shipper
	services []service
	advisor  advisor
	loops    loops
	// weirPorts and forwarderAt are where no upstream may be.
	weirPorts   map[int]string
	forwarderAt []netip.AddrPort
	conns       registry
	emitted     emitted

	accepted      atomic.Uint64
	upstreamError atomic.Pointer[string]
	stopping      atomic.Bool
}

// New opens what the proxy listens on. It starts nothing; Run does.
func New(cfg Config, log *slog.Logger) (*Proxy, error) {
	p := &Proxy{
		cfg: cfg, log: log, clock: clock.New(), budget: budget.New(cfg.MemoryLimit),
		repeated: lograte.New(log, time.Second), advisor: newAdvisor(),
		emitted: newEmitted(protocols.All()), weirPorts: weirPorts(cfg), forwarderAt: forwarderAddrs(cfg),
	}
	if err := refuseSelf(cfg); err != nil {
		return nil, err
	}
	if err := refuseWeir(cfg); err != nil {
		return nil, err
	}
	shown, err := access.New(cfg.Access, log)
	if err != nil {
		return nil, fmt.Errorf("prepare for the forwarder: %w", err)
	}
	if p.listener, err = listen.Open(cfg.listenAddr(), connLimit(), p.repeated); err != nil {
		return nil, &daemon.Hinted{Err: err, Hint: "Stop what listens there, or set PROXY_IN_PORT to another port."}
	}
	var random [16 + 32]byte
	if _, err := crand.Read(random[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("read random bytes: %w", err), p.listener.Close())
	}
	ids := pair.NewIDs([32]byte(random[16:]))
	p.sampler = observe.NewSampler([16]byte(random[:16]), cfg.KeepOneIn)
	p.dialer = relay.NewDialer(cfg.upstream(), dialTimeout, p.refuseOwn)
	p.relay = relay.New(p.clock.Now, &p.ledger.ClientToServer, &p.ledger.ServerToClient)
	p.shipper = ship.New(ship.Settings{
		Addr: cfg.Forwarder,
		Register: &capturev1.RegisterRequest{
			Source: &capturev1.Source{
				Namespace: cfg.Namespace, App: cfg.App, Pod: cfg.Pod, ProxyId: cfg.Pod, Epoch: random[:16],
			},
			EpochStarted: p.clock.Start(), Version: daemon.Version,
			ListenAddr: p.Addr().String(), UpstreamAddr: cfg.upstream(),
		},
		Budget: p.budget, Ledger: &p.ledger, State: p.state, Now: p.clock.Now, Rand: rand.Float64,
		Tune: p.tune, OpenRing: openRing(cfg, random[:16]),
		Log: log, Repeated: p.repeated, Access: shown,
		Hint: func(err error) string { return p.advisor.hint(cfg.Forwarder, "FORWARDER_ADDR", err) },
	})
	p.observer = observe.New(observe.Settings{
		Protocols: protocols.All(), Detect: protocols.Detect,
		Pairs: pair.New(pair.Settings{
			BodyLimit: int(cfg.BodyLimit), Budget: p.budget, Ledger: &p.ledger,
			NewID: ids.New, Emit: p.emit,
		}),
		Budget: p.budget, Ledger: &p.ledger, Now: p.clock.Now,
		Log: log, LogPath: logPath(log), Repeated: p.repeated, Capture: cfg.Capture, Sampler: p.sampler,
	})
	p.openServices()
	return p, nil
}

// openRing opens the ring of this process, named by its epoch.
func openRing(cfg Config, epoch []byte) func() (*ring.Ring, ring.Swept, error) {
	if cfg.SpoolDir == "" {
		return nil
	}
	name := hex.EncodeToString(epoch)
	return func() (*ring.Ring, ring.Swept, error) { return ring.Open(cfg.SpoolDir, name, cfg.SpoolBytes) }
}

// tune does what the forwarder says about capture; without a word from it,
// what the proxy's own configuration says.
func (p *Proxy) tune(set *capturev1.Settings) {
	before := p.sampler.KeepOneIn()
	p.sampler.Tell(set.GetKeepOneIn())
	if now := p.sampler.KeepOneIn(); now != before {
		p.log.Info("Sampling changed; it is for connections from now on", slog.String("keep", "1/"+strconv.FormatUint(uint64(now), 10)))
	}
}

// connLimit is how many connections may be open at a time: each takes two
// descriptors, and some are needed for everything else.
func connLimit() int {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		files.Cur = 1024
	}
	n := min(files.Cur, 1<<20)
	return int(n-min(n/4, 128)) / 2
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// SetCapture turns the kill switch.
func (p *Proxy) SetCapture(on bool) {
	p.observer.SetCapture(on)
	state := "off"
	if on {
		state = "on"
	}
	p.log.Info("Capture is " + state)
}

// Run carries traffic until ctx ends. Then it goes on accepting for the drain
// delay, lets connections in flight finish within the drain timeout, ships
// what was captured, and returns nil.
func (p *Proxy) Run(ctx context.Context) error {
	p.log.Info("START Weir Network Proxy", slog.String("version", daemon.Version), slog.String("buildTime", daemon.BuildTime))
	p.log.Info("Starting proxy listener", slog.String("network", "tcp"), slog.String("addr", net.JoinHostPort(p.cfg.ListenHost, strconv.Itoa(p.listener.Addr().Port))))
	p.log.Info("Reverse proxy upstream", slog.String("addr", p.cfg.upstream()))
	if !p.observer.Capture() {
		p.log.Warn("Capture is off: traffic is carried and not recorded")
	}
	if n := p.sampler.KeepOneIn(); n > 1 {
		p.log.Info("Sampling: one connection in so many is recorded, and what fails or is slow on the others", slog.Uint64("connections", uint64(n)))
	}
	var background sync.WaitGroup
	shipping, stopShipping := context.WithCancel(context.Background())
	defer stopShipping()
	var shipErr error
	background.Go(func() { shipErr = p.shipper.Run(shipping) })
	// From here on the signal ends no process.
	toggle := make(chan os.Signal, 1)
	signal.Notify(toggle, syscall.SIGUSR1)
	defer signal.Stop(toggle)
	background.Go(func() { p.watchSignal(shipping, toggle) })
	background.Go(func() { p.keepHouse(shipping) })
	p.startServices(&background)

	accepting, stopAccepting := context.WithCancel(context.Background())
	defer stopAccepting()
	dialling, stopDialling := context.WithCancel(context.Background())
	defer stopDialling()
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		p.listener.Serve(accepting, func(c *nonblock.Socket) { p.serve(dialling, c) })
		p.listener.Wait()
	}()

	<-ctx.Done()
	p.stopping.Store(true)
	p.log.Info("Stopping: connections in flight may finish",
		slog.Duration("drainDelay", p.cfg.DrainDelay), slog.Duration("drainTimeout", p.cfg.DrainTimeout))
	time.Sleep(p.cfg.DrainDelay)
	stopAccepting()
	if !p.drain(accepted) {
		p.log.Warn("Cutting connections that did not finish", slog.Int("connections", p.conns.len()))
		stopDialling()
		p.conns.cut()
		<-accepted
	}
	stopShipping()
	err := p.stopServices()
	background.Wait()
	p.repeated.Close()
	if err = errors.Join(err, shipErr); err != nil {
		return err
	}
	p.log.Info("Stopped")
	return nil
}

// drain lets connections finish, and says whether all did in time.
func (p *Proxy) drain(done <-chan struct{}) bool {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	timeout := time.After(p.cfg.DrainTimeout)
	for {
		p.conns.drain()
		select {
		case <-done:
			return true
		case <-timeout:
			return false
		case <-again.C:
		}
	}
}

// watchSignal toggles capture with each signal.
func (p *Proxy) watchSignal(ctx context.Context, toggle <-chan os.Signal) {
	for {
		select {
		case <-toggle:
			p.SetCapture(!p.observer.Capture())
		case <-ctx.Done():
			return
		}
	}
}

// serve carries one connection. What it takes to open one and to part with it
// is not on the stack meanwhile: most connections rest for most of the time,
// and there may be many.
func (p *Proxy) serve(ctx context.Context, client *nonblock.Socket) {
	if e := p.open(ctx, client); e != nil {
		e.conn.Run()
		p.part(e)
	}
}

// open takes a client in and dials its upstream; nil if that was refused, or
// failed, and is over.
func (p *Proxy) open(ctx context.Context, client *nonblock.Socket) *entry {
	p.ledger.ConnsAccepted.Add(1)
	a := arrival{id: p.accepted.Add(1) - 1, conn: client, from: client.Remote.String(), began: time.Now()}
	downstream := route{from: client.Remote, to: client.Local}
	if !p.loops.accept(downstream) {
		p.cutLoop(&a)
		return nil
	}
	watch := p.observer.Conn(a.id, a.from, p.clock.Now())
	server, upstream, err := p.reach(ctx, downstream)
	if err != nil {
		p.loops.leave(downstream)
		if errors.Is(err, errSelf) {
			p.cutLoop(&a)
		} else {
			p.failed(&a, watch, err)
		}
		return nil
	}
	e := &entry{
		id: a.id, watch: watch, client: a.from, server: upstream.to.String(),
		downstream: downstream, upstream: upstream, began: a.began,
		conn: p.relay.Conn(client, server, tee.New(watch.Event, watch.Idle)),
	}
	watch.Connected(e.server, p.clock.Now())
	p.conns.add(e)
	return e
}

// reach dials the upstream for a client, unless that leads back here: then its
// error is errSelf.
func (p *Proxy) reach(ctx context.Context, downstream route) (*nonblock.Socket, route, error) {
	server, err := p.dial(ctx)
	if err != nil {
		return nil, route{}, err
	}
	upstream := route{from: server.Local, to: server.Remote}
	if !p.loops.dial(upstream, downstream) {
		server.Reset()
		return nil, route{}, errSelf
	}
	if err := p.introduce(server, downstream); err != nil {
		p.loops.hangUp(upstream)
		server.Reset()
		return nil, route{}, err
	}
	return server, upstream, nil
}

// part ends what open began, when the connection is over.
func (p *Proxy) part(e *entry) {
	e.watch.Close()
	p.loops.hangUp(e.upstream)
	p.loops.leave(e.downstream)
	p.conns.remove(e, e.end(time.Now()))
}

// dial connects to the upstream.
func (p *Proxy) dial(ctx context.Context) (*nonblock.Socket, error) {
	conn, err := p.dialer.Dial(ctx)
	if err != nil {
		return nil, err
	}
	if p.upstreamError.Load() != nil {
		p.upstreamError.Store(nil)
	}
	return conn, nil
}

// dialFailed says that the upstream cannot be reached, and why that may be.
func (p *Proxy) dialFailed(err error) {
	text := err.Error()
	p.upstreamError.Store(&text)
	var hint []slog.Attr
	if h := p.advisor.hint(p.cfg.upstream(), "REVERSE_PROXY_HOST", err); h != "" {
		hint = []slog.Attr{slog.String("hint", h)}
	}
	p.repeated.Log(slog.LevelError, "dial() ERR could not connect",
		append([]slog.Attr{slog.String("addr", p.cfg.upstream()), slog.String("error", text)}, hint...)...)
	p.repeated.Log(slog.LevelError, "DIRECT||Could not connect, giving up",
		append([]slog.Attr{slog.String("error", text)}, hint...)...)
}

// arrival is a connection that was accepted, and is not carried yet.
type arrival struct {
	id    uint64
	conn  *nonblock.Socket
	from  string
	began time.Time
}

// failed ends a connection whose upstream cannot be reached.
func (p *Proxy) failed(a *arrival, watch *observe.Conn, err error) {
	watch.DialFailed(p.cfg.upstream(), p.clock.Now(), err)
	p.dialFailed(err)
	p.turnAway(a, "dial: "+observe.Reason(err))
}

// cutLoop ends a connection that leads back here.
func (p *Proxy) cutLoop(a *arrival) {
	p.repeated.Log(slog.LevelError, "The upstream leads back to this proxy; connection cut",
		slog.String("addr", p.cfg.upstream()), slog.String("hint", selfHint))
	p.turnAway(a, "led back to this proxy")
}

// turnAway ends a connection that is not carried, as a server that refuses.
func (p *Proxy) turnAway(a *arrival, how string) {
	p.ledger.ConnsFailed.Add(1)
	p.conns.failed(ended{id: a.id, client: a.from, server: p.cfg.upstream(), began: a.began, over: time.Now(), how: how})
	a.conn.Reset()
}

// state is what heartbeats carry.
func (p *Proxy) state() *capturev1.ProxyState {
	s := &capturev1.ProxyState{
		OpenConns:  uint64(p.conns.len()),
		MemoryUsed: uint64(p.budget.Used()), MemoryLimit: uint64(p.budget.Limit()),
		CaptureOn: p.observer.Capture(), Protocols: p.observer.Protocols(), KeepOneIn: p.sampler.KeepOneIn(),
	}
	used, limit := p.shipper.Ring()
	s.RingUsed, s.RingLimit = uint64(used), uint64(limit)
	if text := p.upstreamError.Load(); text != nil {
		s.UpstreamError = *text
	}
	return s
}

func itoa(n int) string { return strconv.Itoa(n) }

// service is an HTTP service for operators.
type service struct {
	name   string
	ln     net.Listener
	server *http.Server
}

// logPath keeps secrets in paths out of the log, whatever rules the forwarder
// has: a log goes other ways than pairs.
func logPath(log *slog.Logger) func([]byte) []byte {
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return nil // it shows none
	}
	set, _ := redact.Named(redact.Standard) // it comes with the program
	return redact.New(set, redact.RandomKeys()).Path
}
