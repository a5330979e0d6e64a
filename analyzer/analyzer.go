// Package analyzer is the program that stores captured pairs and answers for
// them: it wires ingest, store and web. The store's engine is chosen here and
// nowhere else.
package analyzer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/ingest"
	"github.com/weir-capture/weir/analyzer/ledger"
	"github.com/weir-capture/weir/analyzer/oidc"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/web"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/tlsfiles"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/ui"
)

// observeEvery is how often the ledger looks at what forwarders say, which is
// how often they say it.
const observeEvery = time.Second

// rulesEvery is how often the file of endpoint rules is looked at.
const rulesEvery = 2 * time.Second

// Analyzer is one that is ready to serve.
type Analyzer struct {
	cfg     Config
	log     *slog.Logger
	store   *segstore.Store
	control *control.Store
	oidc    *oidc.Provider // nil without one
	// link makes the first user; empty until somebody asks for it.
	link string
	// tls and ingestTLS, of the two listeners, are nil without certificates.
	tls, ingestTLS *tlsfiles.Server
	// dir is the data directory, for what is beside the store.
	dir       vfs.FS
	templates *endpoint.Templates
	ledger    *ledger.Ledger
	directory *ingest.Directory
	ingest    *ingest.Server
	web       *web.Server
	// listeners are closed by the servers that get them.
	listenWeb, listenIngest net.Listener
	// backups are those under way.
	backups backups
	// listenControl is nil where the data directory cannot hold a socket.
	listenControl       net.Listener
	webAddr, ingestAddr net.Addr
}

// New opens the store and the listeners, and starts nothing. What it opened is
// closed by Run.
func New(cfg Config, log *slog.Logger) (_ *Analyzer, err error) {
	a := &Analyzer{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.close())
		}
	}()
	a.ledger = ledger.New(ledger.Options{}, log)
	if a.templates, a.dir, err = openTemplates(cfg.DataDir); err != nil {
		return nil, openError(cfg.DataDir, err)
	}
	if cfg.EndpointRules != "" {
		rules, err := endpoint.ReadRules(cfg.EndpointRules)
		if err != nil {
			return nil, fmt.Errorf("ENDPOINT_RULES=%q: %w", cfg.EndpointRules, err)
		}
		a.templates.SetRules(rules)
	}
	opt := storeOptions(cfg.DataDir, a.templates, log)
	opt.Retention, opt.RetentionBytes, opt.Master = cfg.Retention, cfg.RetentionBytes, cfg.Master
	opt.Committed, opt.Removing, opt.Damaged, opt.Hiding = a.ledger.Commit, a.ledger.Removing, a.ledger.Damaged, a.ledger.Hiding
	opt.Erased, opt.Settle = a.ledger.Erased, a.ledger.Save
	if a.store, err = segstore.Open(opt, log); err != nil {
		return nil, openError(cfg.DataDir, err)
	}
	if a.control, err = openControl(cfg, log); err != nil {
		return nil, err
	}
	if cfg.TLSCert != "" {
		if a.tls, err = tlsfiles.NewServer(cfg.tlsFiles(), tlsfiles.Options{}, log); err != nil {
			return nil, fmt.Errorf("read TLS_CERT_FILE and TLS_KEY_FILE: %w", err)
		}
	}
	if err = a.ledger.Open(a.dir, a.store.ID(), a.store.End(), a.store); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	if a.listenIngest, err = net.Listen("tcp", cfg.IngestAddr); err != nil {
		return nil, fmt.Errorf("listen on INGEST_ADDR: %w", err)
	}
	if a.listenWeb, err = net.Listen("tcp", cfg.ListenAddr); err != nil {
		return nil, fmt.Errorf("listen on LISTEN_ADDR: %w", err)
	}
	// The lock of the directory is held: a socket that is there is of nobody.
	if a.listenControl, err = listenControl(cfg.DataDir); err != nil {
		log.Warn("Without a control socket: programs have to ask by WEIR_URL", slog.String("error", err.Error()))
	}

	a.webAddr, a.ingestAddr = a.listenWeb.Addr(), a.listenIngest.Addr()
	a.directory = ingest.NewDirectory()
	door, err := a.openIngestDoor()
	if err != nil {
		return nil, err
	}
	a.ingest = ingest.New(ingest.Config{Version: daemon.Version, AnalyzerID: a.store.ID(), Door: door}, a.store, a.directory, log)
	webConfig := web.Config{
		Version: daemon.Version, BuildTime: daemon.BuildTime,
		ListenAddr: a.Addr().String(), IngestAddr: a.IngestAddr().String(), StoreID: a.store.ID(),
		NoAuth: cfg.NoAuth, PublicURL: cfg.PublicURL, AllowedHosts: cfg.AllowedHosts, TrustedProxies: cfg.TrustedProxies,
	}
	if a.tls != nil {
		webConfig.TLS = a.tls.Config("h2", "http/1.1")
	}
	deps := web.Deps{
		Store:      a.store,
		Control:    a.control,
		Deleter:    deleter{a.store},
		Forwarders: a.forwarders,
		Ledger:     a.ledger,
		Health:     a.health,
		Importer:   importer.New(a.store, time.Now),
		Backup:     a.backup,
		Viewer:     ui.Handler(log),
		Checks:     []web.Check{{Name: "store", Probe: a.writable}},
		Collectors: []prometheus.Collector{newCollector(a.store, a.ingest), newLedgerCollector(a.ledger)},
	}
	if a.oidc = openOIDC(cfg, log); a.oidc != nil {
		deps.OIDC = a.oidc
	}
	if a.web, err = web.New(webConfig, deps, log); err != nil {
		return nil, fmt.Errorf("build API: %w", err)
	}
	return a, nil
}

// openError says which directory could not be opened, and what helps.
func openError(dataDir string, err error) error {
	err = fmt.Errorf("open DATA_DIR=%q: %w", dataDir, err)
	if hinted := keyHint(err); hinted != nil {
		return hinted
	}
	for _, cause := range []error{fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS} {
		if errors.Is(err, cause) {
			return &daemon.Hinted{Err: err, Hint: "set DATA_DIR to a directory that this user can write"}
		}
	}
	return err
}

func (a *Analyzer) forwarders() []web.Forwarder {
	list := a.directory.List()
	out := make([]web.Forwarder, len(list))
	for i, f := range list {
		out[i] = web.Forwarder{
			Status: f.Status, LastSeen: f.LastSeen, Connected: f.Connected, Telemetry: f.Telemetry, TelemetryAt: f.TelemetryAt,
		}
	}
	return out
}

// account keeps the ledger up to date with what forwarders say.
func (a *Analyzer) account(ctx context.Context) error {
	saved := make(chan error, 1)
	go func() { saved <- a.ledger.Run(ctx) }()
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			a.observe()
		case err := <-saved:
			return err
		}
	}
}

func (a *Analyzer) observe() {
	list := a.directory.List()
	said := make([]ledger.Forwarder, len(list))
	for i, f := range list {
		said[i] = ledger.Forwarder{Status: f.Status, Connected: f.Connected}
	}
	a.ledger.Observe(said)
}

// writable is not so while the disk is full; what is stored can be read all
// the same.
func (a *Analyzer) writable(context.Context) error {
	if err := a.store.Writable(); err != nil {
		return fmt.Errorf("nothing new is taken: %w; what is stored can be read", err)
	}
	return nil
}

// health is what the doctor looks at.
func (a *Analyzer) health() web.Health {
	c := a.store.Counters()
	h := web.Health{
		DataDir: a.cfg.DataDir, IndexBacklog: c.Backlog, Unreadable: c.Unreadable, Damaged: c.DamagedRecords,
		Doors: a.doors(),
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(a.cfg.DataDir, &disk); err == nil {
		h.DiskFree, h.DiskTotal = disk.Bavail*uint64(disk.Bsize), disk.Blocks*uint64(disk.Bsize)
	}
	return h
}

// Addr is where the viewer and the API are.
func (a *Analyzer) Addr() net.Addr { return a.webAddr }

// IngestAddr is where forwarders connect.
func (a *Analyzer) IngestAddr() net.Addr { return a.ingestAddr }

// Run serves until ctx ends, then stops: first those who ask, then those who
// send, and last the store, each within its time. A part that fails stops the
// others too.
func (a *Analyzer) Run(ctx context.Context) error {
	a.say(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Started from the store towards the source; each ends by a context of its
	// own, in reverse.
	type part struct {
		name string
		run  func(context.Context) error
	}
	parts := []part{
		{"control store", a.control.Run},
		{"store", a.store.Run},
		{"ledger", a.account},
		{"ingest", func(ctx context.Context) error { return a.ingest.Serve(ctx, a.listenIngest) }},
		{"web", func(ctx context.Context) error { return a.web.Serve(ctx, a.listenWeb) }},
	}
	if a.tls != nil {
		parts = append(parts, part{"certificates", func(ctx context.Context) error { return a.tls.Run(ctx, nil) }},
			part{"certificates of ingest", func(ctx context.Context) error { return a.ingestTLS.Run(ctx, nil) }})
	}
	if a.oidc != nil {
		parts = append(parts, part{"identity provider", a.oidc.Run})
	}
	if a.cfg.EndpointRules != "" {
		parts = append(parts, part{"endpoint rules", func(ctx context.Context) error {
			return a.templates.WatchRules(ctx, a.cfg.EndpointRules, rulesEvery, a.log)
		}})
	}
	if a.listenControl != nil {
		parts = append(parts, part{"control socket", func(ctx context.Context) error { return a.web.Serve(ctx, a.listenControl) }})
	}
	var mu sync.Mutex
	var errs []error
	stops := make([]func(), len(parts))
	for i, p := range parts {
		partCtx, end := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer cancel() // a part that ends takes the others along
			if err := p.run(partCtx); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("run %s: %w", p.name, err))
				mu.Unlock()
			}
		}()
		stops[i] = func() { end(); <-done }
	}
	<-ctx.Done()
	for i := len(stops) - 1; i >= 0; i-- {
		stops[i]()
	}
	a.listenWeb, a.listenIngest, a.listenControl = nil, nil, nil // their servers have closed them
	if err := a.close(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		a.log.Info("Stopped")
	}
	return errors.Join(errs...)
}

// say tells what is running, with what it found.
func (a *Analyzer) say(ctx context.Context) {
	a.log.Info("START Analyzer " + daemon.Version + " compiled at " + daemon.BuildTime)
	r := a.store.Recovery()
	a.log.Info("Opened store",
		slog.String("dataDir", a.cfg.DataDir), slog.Bool("cleanShutdown", r.Clean), slog.Int64("tornBytesCut", r.CutBytes),
		slog.Int("segments", r.Segments), slog.Int64("bytes", r.Bytes), slog.Int("spools", r.Spools),
		slog.Duration("retention", a.cfg.Retention), slog.Int64("retentionBytes", a.cfg.RetentionBytes))
	a.sayAtRest()
	a.log.Info("Taking pairs from forwarders", slog.String("addr", a.IngestAddr().String()))
	a.log.Info("Viewer and API", slog.String("url", a.web.URL()))
	if a.cfg.NoAuth {
		a.log.Info("Authentication is off; serving this machine only")
		return
	}
	switch link, err := a.SignInLink(ctx); {
	case err != nil:
		a.log.Error("Could not make a sign-in link; weir user link makes one", slog.String("error", err.Error()))
	case link != "":
		// The one secret that is ever logged: it opens nothing once somebody
		// has used it, nor an hour from now.
		a.log.Info("There is no user yet: this link makes the first, within an hour, once", slog.String("url", link))
	}
}

// close closes what New opened and Run has not.
func (a *Analyzer) close() error {
	var errs []error
	for _, l := range []net.Listener{a.listenWeb, a.listenIngest, a.listenControl} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	if a.control != nil {
		errs = append(errs, a.control.Close())
	}
	if a.dir != nil {
		errs = append(errs, a.dir.Close()) // the store's index keeps a file there
	}
	return errors.Join(errs...)
}
