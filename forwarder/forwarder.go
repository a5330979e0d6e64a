// Package forwarder is the program between the proxies of an environment and
// the analyzer: it takes what they captured, leaves out what nobody wants,
// redacts, keeps it safe on disk, and hands it on.
//
// It wires its rooms: receive (with registry and filter) → spool → export.
package forwarder

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/admit"
	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/forwarder/receive"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/forwarder/sampling"
	"github.com/weir-capture/weir/forwarder/telemetry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/clock"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/internal/tlsfiles"
	"github.com/weir-capture/weir/internal/vfs"
	"github.com/weir-capture/weir/spool"
)

// drainTime is how long the end waits for the destinations to take what is
// spooled. What they do not take waits for the next start.
const drainTime = 3 * time.Second

// Forwarder is one forwarder.
type Forwarder struct {
	cfg      Config
	log      *slog.Logger
	repeated *lograte.Logger
	clock    *clock.Clock
	id       string

	listener  net.Listener
	spool     *spool.Spool
	filter    *filter.Filter
	redactor  receive.Redactor
	dlp       *dlp // nil without a DLP_CONFIG
	registry  *registry.Registry
	receiver  *receive.Receiver
	sampling  *sampling.Watcher // nil without a SAMPLE_FILE
	telemetry *telemetry.Meter
	exporters []export.Exporter
	tls       *tlsfiles.Server // nil without certificates
	tokens    *admit.File      // nil without PROXY_TOKENS_FILE
}

// New opens the port and the spool. It starts nothing; Run does, and Run must
// be called to close them.
func New(cfg Config, log *slog.Logger) (*Forwarder, error) {
	f := &Forwarder{cfg: cfg, log: log, repeated: lograte.New(log, time.Second), clock: clock.New(), redactor: receive.NoRedaction{}}
	var err error
	if f.filter, err = filter.Load(cfg.FilterRule); err != nil {
		return nil, fmt.Errorf("load FILTER_RULE: %w", err)
	}
	var keepOneIn func(app string) uint32
	if cfg.SampleFile != "" {
		if f.sampling, err = sampling.Watch(cfg.SampleFile, func() { f.receiver.Retune() }, log); err != nil {
			return nil, fmt.Errorf("read SAMPLE_FILE %s: %w", cfg.SampleFile, err)
		}
		keepOneIn = func(app string) uint32 { return f.sampling.Rules().KeepOneIn(app) }
	}
	destinations, err := cfg.destinations()
	if err != nil {
		return nil, fmt.Errorf("load EXPORTERS: %w", err)
	}
	door, err := f.openDoors()
	if err != nil {
		return nil, err
	}
	accepted := receive.NewAccepted(time.Now)
	f.spool, err = spool.Open(cfg.SpoolDir, spool.Options{
		MaxBytes: cfg.SpoolBytes, WhenFull: cfg.WhenFull, Cursors: names(destinations),
		Count: receive.Pairs, Condense: receive.Condense(f.repeated), State: accepted.State, OnDrop: f.dropped,
		Master: cfg.Master,
	})
	if err != nil {
		return nil, spoolError(cfg.SpoolDir, err)
	}
	if err := accepted.Recover(f.spool.Log()); err != nil {
		return nil, errors.Join(spoolError(cfg.SpoolDir, err), f.spool.Close())
	}
	if err := f.openDLP(); err != nil {
		return nil, errors.Join(err, f.spool.Close())
	}
	f.declareCut()
	addr := net.JoinHostPort(cfg.ListenHost, strconv.Itoa(cfg.Port))
	if f.listener, err = new(net.ListenConfig).Listen(context.Background(), "tcp", addr); err != nil {
		err = fmt.Errorf("open SERVICE_PORT: %w", err)
		return nil, &daemon.Hinted{
			Err:  errors.Join(err, f.spool.Close()),
			Hint: "Stop what listens there, or set SERVICE_PORT to another port.",
		}
	}
	id := f.spool.ID()
	f.id = hex.EncodeToString(id[:])
	f.registry = registry.New(log, func(e registry.Epoch) { f.receiver.Expire(e) })
	f.receiver = receive.New(receive.Settings{
		ForwarderID: f.id, Version: daemon.Version, Cluster: cfg.Cluster,
		Spool: f.spool, Accepted: accepted, Registry: f.registry, Filter: f.filter, Redactor: f.redactor,
		KeepOneIn: keepOneIn, Log: log, Repeated: f.repeated, Door: door,
	})
	f.telemetry = telemetry.New(f.telemetryInterval(), time.Now)
	for _, d := range destinations {
		x, err := f.exporter(d)
		if err != nil {
			return nil, errors.Join(err, f.listener.Close(), f.spool.Close())
		}
		f.exporters = append(f.exporters, x)
	}
	return f, nil
}

// openDLP reads the rules of redaction.
func (f *Forwarder) openDLP() (err error) {
	keys := f.cfg.DLPKeys
	if keys == nil && f.cfg.DLPConfig != "" {
		if keys, err = OwnKeys(f.cfg.SpoolDir, f.log); err != nil {
			return err
		}
	}
	if f.dlp, err = loadDLP(f.cfg.DLPConfig, keys, f.log); err != nil {
		return fmt.Errorf("load DLP_CONFIG: %w", err)
	}
	if f.dlp != nil {
		f.redactor = f.dlp
	}
	return nil
}

func spoolError(dir string, err error) error {
	err = fmt.Errorf("open SPOOL_DIR %s: %w", dir, err)
	if _, ok := errors.AsType[*vfs.LockedError](err); ok {
		return &daemon.Hinted{Err: err, Hint: "Each forwarder needs a spool of its own: stop the other one, or set SPOOL_DIR to another directory."}
	}
	if hint := keyring.Hint(err); hint != "" {
		return &daemon.Hinted{Err: err, Hint: hint}
	}
	return &daemon.Hinted{Err: err, Hint: "Set SPOOL_DIR to a directory that can be written."}
}

// declareCut accounts for what the spool's last run left unreadable at its end.
// That it cannot be declared is no reason not to start: a full disk would keep
// a forwarder from coming back.
func (f *Forwarder) declareCut() {
	pairs, err := receive.DeclareCut(f.spool)
	if err != nil {
		f.log.Error("Could not declare all that cannot be read at the end of the spool", slog.String("error", err.Error()))
	}
	if pairs > 0 {
		f.log.Warn("The end of the spool cannot be read; its pairs are declared lost until their proxies send them again",
			slog.Uint64("pairs", pairs), slog.String("reason", frame.ReasonSpoolDamaged))
	}
}

// dropped says that the spool made room.
func (f *Forwarder) dropped(destination string, lost spool.Loss) {
	f.repeated.Log(slog.LevelWarn, "The spool is full; its oldest pairs are dropped and counted",
		slog.String("destination", destination), slog.Uint64("pairs", lost.Things))
}

// Addr is where the forwarder listens.
func (f *Forwarder) Addr() net.Addr { return f.listener.Addr() }

// Run serves until ctx ends. Then it takes no more from proxies, gives the
// destinations a moment to take what is spooled, closes the spool, and returns
// nil.
func (f *Forwarder) Run(ctx context.Context) error {
	f.announce()
	receiving, stopReceiving := context.WithCancel(ctx)
	defer stopReceiving()
	// A room that cannot go on ends all of them.
	var broken error
	var once sync.Once
	fail := func(err error) {
		once.Do(func() {
			broken = err
			stopReceiving()
		})
	}
	background, stop := context.WithCancel(context.Background())
	defer stop()
	drain := make(chan struct{})
	var watching, exporting sync.WaitGroup
	watching.Go(func() {
		if err := f.registry.Run(background); err != nil {
			fail(fmt.Errorf("run registry: %w", err))
		}
	})
	if f.dlp != nil {
		watching.Go(func() {
			if err := f.dlp.run(background, daemon.Hangups(background)); err != nil {
				fail(fmt.Errorf("watch DLP_CONFIG: %w", err))
			}
		})
	}
	if f.sampling != nil {
		watching.Go(func() {
			if err := f.sampling.Run(background, daemon.Hangups(background)); err != nil {
				fail(fmt.Errorf("watch SAMPLE_FILE: %w", err))
			}
		})
	}
	for _, watch := range f.watchDoors(background, daemon.Hangups) {
		watching.Go(func() {
			if err := watch(); err != nil {
				fail(fmt.Errorf("watch files of the doors: %w", err))
			}
		})
	}
	for _, x := range f.exporters {
		exporting.Go(func() {
			if err := x.Run(background, drain); err != nil {
				fail(fmt.Errorf("export to %s: %w", x.Name(), err))
			}
		})
	}
	err := f.receiver.Run(receiving, f.listener)
	// From the source towards the store: nothing comes any more.
	close(drain)
	deadline := time.AfterFunc(drainTime, stop)
	exporting.Wait()
	deadline.Stop()
	stop()
	watching.Wait()
	f.repeated.Close()
	return errors.Join(err, broken, f.spool.Close())
}

// telemetryInterval is how often this program reports on itself; 0 is never.
func (f *Forwarder) telemetryInterval() time.Duration {
	if f.cfg.Namespace == "" {
		return 0
	}
	return f.cfg.Telemetry
}

// announce logs the lines of the guide, in its order.
func (f *Forwarder) announce() {
	f.log.Info("SERVICE_PORT: " + strconv.Itoa(f.cfg.Port))
	f.log.Info(fmt.Sprintf("START Forwarder %s compiled at %s", daemon.Version, daemon.BuildTime))
	if f.cfg.Master == nil {
		f.log.Info("Not encrypted at rest: " + keyring.Variable + " is not set")
	}
	if name := f.redactor.Name(); name == "" {
		f.log.Info("DLP is not configured, skipping")
	} else {
		f.log.Info("DLP rule set is on", slog.String("rules", name))
		if f.cfg.DLPKeys == nil {
			f.log.Warn("DLP_KEY is not set: a value has the same token only where this forwarder redacts it")
		}
	}
	if f.telemetryInterval() == 0 {
		f.log.Info("Telemetry reporting turned off because interval is zero or app pod namespace is empty")
	} else {
		f.log.Info(fmt.Sprintf("Telemetry reporting to the analyzer every %v", f.cfg.Telemetry))
	}
	f.log.Info(fmt.Sprintf("Starting reaper for proxies that haven't checked in after %v", registry.Lease))
	if f.spool.StateLost() {
		f.log.Warn("The spool's cursors could not be read; exporting begins where the analyzer says")
	}
	if r := f.spool.Log().Recovery(); r.CutBytes > 0 {
		f.log.Info("Cut an unfinished write at the end of the spool", slog.Int64("bytes", r.CutBytes))
	}
	f.sayDoors()
	// Last: whoever waits for this line has heard all that a start has to say.
	f.log.Info("Starting gRPC listener on port", slog.Int("port", f.listener.Addr().(*net.TCPAddr).Port)) // "tcp" gives nothing else
}

// status is what the analyzer hears each second. What receiving filtered and
// dropped counts from the start of this process; what a destination did not
// get, cumulative over restarts, stands in its own state. The spool's state
// goes by the first destination, which is the analyzer wherever there is one.
func (f *Forwarder) status() *capturev1.ForwarderStatus {
	log := f.spool.Log()
	totals := f.receiver.Totals()
	states := f.states()
	proxies, omitted := f.registry.Snapshot()
	st := &capturev1.ForwarderStatus{
		ForwarderId: f.id, Cluster: f.cfg.Cluster, Version: daemon.Version,
		Now: f.clock.Now(), Started: f.clock.Start(),
		Spool: &capturev1.SpoolState{
			BytesUsed: uint64(log.Bytes()), BytesLimit: uint64(f.spool.MaxBytes()),
			OldestOffset: log.Oldest(), NextOffset: log.Next(), ExportedOffset: states[0].GetOffset(),
		},
		Proxies: proxies, ProxiesOmitted: uint32(omitted),
		DlpConfig: f.redactor.Name(), FilterRule: f.filter.Name(), FilterRules: f.filter.Rules(),
		Filtered: totals.Filtered, Dropped: totals.Dropped, Destinations: states,
		Telemetry:              f.telemetry.Measure(f.traffic),
		ProxiesUnauthenticated: f.cfg.open(), Refused: f.receiver.Refused(),
	}
	if f.sampling != nil {
		st.KeepOneIn = f.sampling.Rules().All()
	}
	return st
}

func (f *Forwarder) traffic() telemetry.Traffic {
	t := f.receiver.Totals()
	return telemetry.Traffic{Pairs: t.Pairs, Bytes: t.Bytes, Proxies: f.registry.Connected()}
}
