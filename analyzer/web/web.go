// Package web is the analyzer's HTTP side: the query API (version 1, described
// by api/openapi.json, which is generated from this package), the viewer,
// health and metrics. It asks the store through store.Reader and knows no
// engine.
//
// Every route has a row in a table (doors) that says who may come in, and
// nothing can be mounted without one. What somebody may not see is left out of
// queries before the store is asked. Captured content never becomes a document
// of this origin: bodies leave as attachments that no browser renders. Only
// names of this analyzer are accepted as Host, so that a page elsewhere cannot
// reach the API by pointing its own name here.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/netutil"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/doctor"
)

// Config is what the developer of a program sets. Zero values mean the
// defaults that stand beside them.
type Config struct {
	Version, BuildTime string
	// ListenAddr and IngestAddr are shown to people.
	ListenAddr, IngestAddr string
	// NoAuth lets in everybody who reaches the listener, as an admin: for
	// listeners that only this machine reaches.
	NoAuth bool
	// PublicURL is where people find the viewer, where that is not ListenAddr;
	// nil: it is. AllowedHosts are more names that requests may ask for,
	// besides its host and those of this machine.
	PublicURL    *url.URL
	AllowedHosts []string
	// TrustedProxies are believed what they say of their clients.
	TrustedProxies []netip.Prefix
	// TLS is what Serve speaks on TCP; nil: it does not. IngestTLS is whether
	// forwarders have to.
	TLS       *tls.Config
	IngestTLS bool
	// Recheck is how often a caller of an answer that goes on is looked up
	// again: 15 s.
	Recheck time.Duration
	// StoreID tells the cursors of this store's tails from another's.
	StoreID string
	// Tails is how many live tails run at once: 256.
	Tails int
	// Exports is how many exports run at once: 4.
	Exports int
	// Conns is how many connections are served at once: 1024.
	Conns int
	// QueryTimeout bounds one answer but for tails: 30 s.
	QueryTimeout time.Duration
	// Heartbeat is how long a tail may be silent: 15 s.
	Heartbeat time.Duration
	// StopTimeout bounds how long Serve waits for answers under way when it
	// is told to stop: 5 s.
	StopTimeout time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Tails == 0 {
		c.Tails = 256
	}
	if c.Exports == 0 {
		c.Exports = 4
	}
	if c.Conns == 0 {
		c.Conns = 1024
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 30 * time.Second
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = 15 * time.Second
	}
	if c.Recheck == 0 {
		c.Recheck = 15 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Deps is what the server asks. Only Store is needed.
type Deps struct {
	Store store.Reader
	// Control knows who may come in. Without it and with authentication
	// nobody may.
	Control *control.Store
	// OIDC signs people in too; nil for none.
	OIDC IdentityProvider
	// Deleter deletes for good; without one that is refused.
	Deleter Deleter
	// Forwarders are those seen since the analyzer started.
	Forwarders func() []Forwarder
	// Ledger knows what became of everything that was seen.
	Ledger Ledger
	// Health is what the analyzer's doctor looks at, besides what forwarders
	// say.
	Health func() Health
	// Importer takes files of pairs in; without one that is refused.
	Importer Importer
	// Backup writes everything that is stored as a tar file; without it that is
	// refused.
	Backup func(context.Context, io.Writer) error
	// Viewer serves everything that is not the API.
	Viewer http.Handler
	// Checks decide readiness, besides the store's.
	Checks []Check
	// Collectors are the metrics of other rooms.
	Collectors []prometheus.Collector
}

// Health is what an analyzer knows of itself.
type Health = doctor.Analyzer

// Doors is what it knows of who may come in.
type Doors = doctor.Doors

// Ledger answers for what was seen; *ledger.Ledger is one.
type Ledger interface {
	Report(ledger.Ask) ledger.Report
	// Processes lists the proxy processes that were there in [from, to), Unix
	// nanoseconds, newest first, at most limit.
	Processes(from, to int64, limit int) []ledger.Process
}

// Forwarder is what a forwarder last said of itself. The status is only read.
type Forwarder struct {
	Status *capturev1.ForwarderStatus
	// LastSeen is by this process's clock.
	LastSeen time.Time
	// Connected: its stream is open.
	Connected bool
	// Telemetry is the newest that it sent, and when it came; nil without.
	Telemetry   *capturev1.Telemetry
	TelemetryAt time.Time
}

// Check is one condition of readiness. Its error says what is missing, and is
// shown to whoever asks.
type Check struct {
	Name  string
	Probe func(context.Context) error
}

// Server answers requests.
type Server struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	started time.Time
	metrics *metrics
	spec    []byte
	handler http.Handler
	// How often somebody may ask: callers by who they are, strangers and those
	// who sign in by their address.
	callers, strangers, signIns *limiter

	// tails and exports are semaphores; stopping ends all of them.
	tails    chan struct{}
	exports  chan struct{}
	stopping context.Context
	stop     context.CancelFunc
}

// New builds the routes. It starts nothing.
func New(cfg Config, deps Deps, log *slog.Logger) (*Server, error) {
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, deps: deps, log: log, started: cfg.Now(), tails: make(chan struct{}, cfg.Tails), exports: make(chan struct{}, cfg.Exports)}
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	if s.metrics, err = newMetrics(deps.Store, deps.Collectors, func() float64 { return float64(len(s.tails)) }); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	s.callers = newLimiter(callerRate, callerBurst, cfg.Now)
	s.strangers = newLimiter(strangerRate, strangerBurst, cfg.Now)
	s.signIns = newLimiter(signInRate, signInBurst, cfg.Now)
	mux := http.NewServeMux()
	if s.spec, err = s.routes(&router{s: s, mux: mux, mounted: map[string]bool{}}); err != nil {
		return nil, fmt.Errorf("mount routes: %w", err)
	}
	crossOrigin := http.NewCrossOriginProtection()
	if p := cfg.PublicURL; p != nil {
		if err := crossOrigin.AddTrustedOrigin(p.Scheme + "://" + p.Host); err != nil {
			return nil, fmt.Errorf("trust the public address: %w", err)
		}
	}
	compressed := compress(mux)
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Nothing may stand between a tail and its flushes and deadlines, and
		// the viewer brings its files compressed.
		if isAPI(r.URL.Path) && r.URL.Path != tailPath {
			compressed.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost, "Pages of other origins may not use this API."))
	}))
	s.handler = s.metrics.instrument(mux, s.arrive(s.guard(crossOrigin.Handler(inner))))
	return s, nil
}

// Handler is the whole server, for a listener of the caller's.
func (s *Server) Handler() http.Handler { return s.handler }

// Serve answers on ln until ctx ends, then lets answers under way finish
// within StopTimeout, ends the tails, and returns nil. It closes ln. Whoever
// comes by a Unix socket is on this machine and may open it: that is an admin.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		// Tails move their own deadline.
		WriteTimeout:   s.cfg.QueryTimeout + 30*time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	serve := srv.Serve
	if ln.Addr().Network() == "unix" {
		srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, localConn{}, true)
		}
	} else if s.cfg.TLS != nil {
		srv.TLSConfig = s.cfg.TLS
		serve = func(l net.Listener) error { return srv.ServeTLS(l, "", "") }
	}
	failed := make(chan error, 1)
	go func() { failed <- serve(netutil.LimitListener(ln, s.cfg.Conns)) }()
	select {
	case err := <-failed:
		s.stop()
		return fmt.Errorf("serve HTTP: %w", err)
	case <-ctx.Done():
	}
	s.stop()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		// The deadline is over: what is left is cut.
		if err = srv.Close(); err != nil {
			return fmt.Errorf("close HTTP: %w", err)
		}
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// forwarders is Deps.Forwarders, which may be missing.
func (s *Server) forwarders() []Forwarder {
	if s.deps.Forwarders == nil {
		return nil
	}
	return s.deps.Forwarders()
}

// fail turns an error of the store into a problem. Those that are nobody's
// mistake are logged here, once, and say no more than they must outside.
func (s *Server) fail(ctx context.Context, err error) error {
	if p, ok := errors.AsType[*httpv1.Problem](err); ok {
		return p
	}
	switch {
	case errors.Is(err, store.ErrNotReady):
		// The error says how far it is; it has nothing private.
		return problem(http.StatusServiceUnavailable, httpv1.ProblemBusy, "The store is not ready: "+err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusServiceUnavailable, httpv1.ProblemTimeout,
			fmt.Sprintf("The answer took longer than %v. A shorter time range, or a term on an indexed field such as path, status or app, makes it faster.", s.cfg.QueryTimeout))
	case errors.Is(err, context.Canceled):
		// Nobody is there to read it.
		return problem(http.StatusServiceUnavailable, httpv1.ProblemBlank, "The request was cancelled.")
	}
	s.log.ErrorContext(ctx, "Could not answer", slog.String("error", err.Error()))
	return problem(http.StatusInternalServerError, httpv1.ProblemBlank, "The store could not answer; the analyzer's log says why.")
}
