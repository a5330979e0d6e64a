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

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-capture/weir/analyzer/ingest"
	"github.com/weir-capture/weir/analyzer/store/duckindex"
	"github.com/weir-capture/weir/analyzer/store/index"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/web"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/ui"
)

// Analyzer is one that is ready to serve.
type Analyzer struct {
	cfg    Config
	log    *slog.Logger
	store  *segstore.Store
	ingest *ingest.Server
	web    *web.Server
	// listeners are closed by the servers that get them.
	listenWeb, listenIngest net.Listener
	webAddr, ingestAddr     net.Addr
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
	open := func(ctx context.Context, dir, storeID string, end uint64) (index.Index, error) {
		return duckindex.Open(ctx, duckindex.Options{Dir: dir, Store: storeID, End: end}, log)
	}
	if a.store, err = segstore.Open(segstore.Options{
		Dir: cfg.DataDir, OpenIndex: open, Retention: cfg.Retention, RetentionBytes: cfg.RetentionBytes,
	}, log); err != nil {
		err = fmt.Errorf("open DATA_DIR=%q: %w", cfg.DataDir, err)
		for _, cause := range []error{fs.ErrPermission, syscall.ENOTDIR, syscall.EROFS} {
			if errors.Is(err, cause) {
				err = &daemon.Hinted{Err: err, Hint: "set DATA_DIR to a directory that this user can write"}
				break
			}
		}
		return nil, err
	}
	if a.listenIngest, err = net.Listen("tcp", cfg.IngestAddr); err != nil {
		return nil, fmt.Errorf("listen on INGEST_ADDR: %w", err)
	}
	if a.listenWeb, err = net.Listen("tcp", cfg.ListenAddr); err != nil {
		return nil, fmt.Errorf("listen on LISTEN_ADDR: %w", err)
	}

	a.webAddr, a.ingestAddr = a.listenWeb.Addr(), a.listenIngest.Addr()
	directory := ingest.NewDirectory()
	a.ingest = ingest.New(ingest.Config{Version: daemon.Version, AnalyzerID: a.store.ID()}, a.store, directory, log)
	a.web, err = web.New(web.Config{
		Version: daemon.Version, BuildTime: daemon.BuildTime,
		ListenAddr: a.Addr().String(), IngestAddr: a.IngestAddr().String(), StoreID: a.store.ID(),
	}, web.Deps{
		Store:      a.store,
		Forwarders: func() []web.Forwarder { return forwarders(directory) },
		Viewer:     ui.Handler(log),
		Collectors: []prometheus.Collector{newCollector(a.store, a.ingest)},
	}, log)
	if err != nil {
		return nil, fmt.Errorf("build API: %w", err)
	}
	return a, nil
}

func forwarders(d *ingest.Directory) []web.Forwarder {
	list := d.List()
	out := make([]web.Forwarder, len(list))
	for i, f := range list {
		out[i] = web.Forwarder{Status: f.Status, LastSeen: f.LastSeen, Connected: f.Connected}
	}
	return out
}

// Addr is where the viewer and the API are.
func (a *Analyzer) Addr() net.Addr { return a.webAddr }

// IngestAddr is where forwarders connect.
func (a *Analyzer) IngestAddr() net.Addr { return a.ingestAddr }

// Run serves until ctx ends, then stops: first those who ask, then those who
// send, and last the store, each within its time. A part that fails stops the
// others too.
func (a *Analyzer) Run(ctx context.Context) error {
	a.say()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Started from the store towards the source; each ends by a context of its
	// own, in reverse.
	parts := []struct {
		name string
		run  func(context.Context) error
	}{
		{"store", a.store.Run},
		{"ingest", func(ctx context.Context) error { return a.ingest.Serve(ctx, a.listenIngest) }},
		{"web", func(ctx context.Context) error { return a.web.Serve(ctx, a.listenWeb) }},
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
	a.listenWeb, a.listenIngest = nil, nil // their servers have closed them
	if err := a.close(); err != nil {
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		a.log.Info("Stopped")
	}
	return errors.Join(errs...)
}

// say tells what is running, with what it found.
func (a *Analyzer) say() {
	a.log.Info("START Analyzer " + daemon.Version + " compiled at " + daemon.BuildTime)
	r := a.store.Recovery()
	a.log.Info("Opened store",
		slog.String("dataDir", a.cfg.DataDir), slog.Bool("cleanShutdown", r.Clean), slog.Int64("tornBytesCut", r.CutBytes),
		slog.Int("segments", r.Segments), slog.Int64("bytes", r.Bytes), slog.Int("spools", r.Spools),
		slog.Duration("retention", a.cfg.Retention), slog.Int64("retentionBytes", a.cfg.RetentionBytes))
	a.log.Info("Authentication is off; serving this machine only")
	a.log.Info("Taking pairs from forwarders", slog.String("addr", a.IngestAddr().String()))
	a.log.Info("Viewer and API", slog.String("url", "http://"+a.Addr().String()))
}

// close closes what New opened and Run has not.
func (a *Analyzer) close() error {
	var errs []error
	for _, l := range []net.Listener{a.listenWeb, a.listenIngest} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if a.store != nil {
		errs = append(errs, a.store.Close())
	}
	return errors.Join(errs...)
}
