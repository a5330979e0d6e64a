package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/weir-capture/weir/analyzer"
	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/goproxy"
)

// Where the viewer and a demo's proxy are when nothing else is there.
const (
	viewerAddr = "127.0.0.1:4190"
	demoAddr   = "127.0.0.1:4143"
	anyPort    = "127.0.0.1:0"
)

// Up carries an application's traffic and captures it until ctx ends.
func Up(ctx context.Context, std cli.IO, u cli.Up) error {
	if err := checkAddr("--to", u.To, false); err != nil {
		return err
	}
	if err := checkAddr("--listen", u.Listen, true); err != nil {
		return err
	}
	s, err := open(std.Err, settings{to: u.To, app: u.App, listen: u.Listen, data: u.Data, logLevel: u.LogLevel})
	if err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "Weir %s\n\n", daemon.Version)
	fmt.Fprintf(std.Out, "  proxy   %s → %s, app %s\n", s.proxyAddr, u.To, u.App)
	s.describe(std.Out)
	if s.signIn != "" {
		fmt.Fprintf(std.Out, "\n  There is no user yet. This link makes the first, once, within an hour:\n  %s\n", s.signIn)
	}
	fmt.Fprintf(std.Out, "\n  Try     curl http://%s/\n  Ctrl-C  stops; a second one stops at once.\n", local(s.proxyAddr))
	return s.run(ctx, nil)
}

// checkAddr refuses what is not "host:port"; the host may be empty where
// every address of this machine is meant.
func checkAddr(flag, v string, anyHost bool) error {
	want := "HOST:PORT, such as localhost:8080"
	if anyHost {
		want = "[HOST]:PORT, such as :4143 or 127.0.0.1:4143"
	}
	host, port, err := net.SplitHostPort(v)
	if err == nil && (host != "" || anyHost) {
		n, err := strconv.ParseUint(port, 10, 16)
		if err == nil && (n > 0 || anyHost) {
			return nil
		}
	}
	return &cli.UsageError{Err: fmt.Errorf("%s %q is not valid; want %s", flag, v, want)}
}

// local is an address that somebody on this machine can use.
func local(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// settings are what a session is opened with.
type settings struct {
	to, app, listen string
	// listenPreferred: when listen is taken, any port will do.
	listenPreferred bool
	// data is empty for the programs' own defaults.
	data     string
	logLevel string
	// open lets everybody on this machine in; otherwise AUTH decides.
	open bool
	// before run between the forwarder and the proxy.
	before []part
	// drain, when set, goes before DRAIN_TIMEOUT.
	drain time.Duration
}

// session is a stack that is open and not running yet.
type session struct {
	parts []part
	// proxyAddr and viewerURL are where clients and people connect.
	proxyAddr, viewerURL string
	dataDir              string
	// signIn is a link that makes the first user; empty when there are users.
	signIn string
}

// open opens all programs from the store towards the source. Each is
// configured by the variables that it has as a process of its own; what the
// stack does not decide is left to the environment.
func open(logTo io.Writer, set settings) (*session, error) {
	cfg, err := configure(set)
	if err != nil {
		return nil, err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(set.logLevel)); err != nil {
		return nil, fmt.Errorf("read log level: %w", err)
	}
	logger := func(program string) *slog.Logger {
		return slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: level})).With(slog.String("program", program))
	}
	s := &session{dataDir: cfg.analyzer.DataDir}
	a, err := orFree(
		os.Getenv("LISTEN_ADDR") == "",
		func() (*analyzer.Analyzer, error) { return analyzer.New(cfg.analyzer, logger("analyzer")) },
		func() { cfg.analyzer.ListenAddr = anyPort },
	)
	if err != nil {
		return nil, asFlags(fmt.Errorf("open analyzer: %w", err))
	}
	s.parts = append(s.parts, part{name: "analyzer", Runner: a})
	s.viewerURL = "http://" + a.Addr().String()
	if cfg.analyzer.TLSCert != "" {
		s.viewerURL = "https://" + a.Addr().String()
	}
	if s.signIn, err = a.SignInLink(context.Background()); err != nil {
		return nil, s.abandon(err)
	}

	cfg.forwarder.Analyzer = a.IngestAddr().String()
	if cfg.forwarder.DLPKeys == nil {
		// There is no other forwarder for it to agree with.
		if cfg.forwarder.DLPKeys, err = forwarder.OwnKeys(cfg.forwarder.SpoolDir, logger("forwarder")); err != nil {
			return nil, s.abandon(err)
		}
	}
	f, err := forwarder.New(cfg.forwarder, logger("forwarder"))
	if err != nil {
		return nil, s.abandon(asFlags(fmt.Errorf("open forwarder: %w", err)))
	}
	s.parts = append(append(s.parts, part{name: "forwarder", Runner: f}), set.before...)

	cfg.proxy.Forwarder = f.Addr().String()
	p, err := orFree(
		set.listenPreferred,
		func() (*goproxy.Proxy, error) { return goproxy.New(cfg.proxy, logger("goproxy")) },
		func() { cfg.proxy.InPort = 0 },
	)
	if err != nil {
		return nil, s.abandon(asFlags(fmt.Errorf("open proxy: %w", err)))
	}
	s.parts = append(s.parts, part{name: "goproxy", Runner: p, stop: cfg.proxy.DrainDelay + cfg.proxy.DrainTimeout + stopTimeout})
	_, port, err := net.SplitHostPort(p.Addr().String())
	if err != nil {
		return nil, s.abandon(fmt.Errorf("read proxy's address: %w", err))
	}
	s.proxyAddr = net.JoinHostPort(cfg.proxy.ListenHost, port)
	return s, nil
}

// configs are the programs' own; analyzer and forwarder listen on ports that
// are known only when they are open.
type configs struct {
	analyzer  analyzer.Config
	forwarder forwarder.Config
	proxy     goproxy.Config
}

func configure(set settings) (*configs, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("read host name: %w", err)
	}
	toHost, toPort, err := net.SplitHostPort(set.to)
	if err != nil {
		return nil, fmt.Errorf("read application's address: %w", err)
	}
	inHost, inPort, err := net.SplitHostPort(set.listen)
	if err != nil {
		return nil, fmt.Errorf("read listen address: %w", err)
	}
	vars := map[string]string{
		"LOG_LEVEL":   set.logLevel,
		"INGEST_ADDR": anyPort, "ANALYZER_ADDR": anyPort, "FORWARDER_ADDR": anyPort, "SERVICE_PORT": "0",
		"PROXY_TYPE": "reverse", "PROXY_IN_PORT": inPort, "REVERSE_PROXY_HOST": toHost, "REVERSE_PROXY_PORT": toPort,
		"APP_LABEL": set.app, "APP_POD_NAME": host,
	}
	if os.Getenv("LISTEN_ADDR") == "" {
		vars["LISTEN_ADDR"] = viewerAddr
	}
	if set.open {
		vars["AUTH"] = "off"
	}
	if os.Getenv("CLUSTER_NAME") == "" {
		vars["CLUSTER_NAME"] = "local"
	}
	if os.Getenv("DLP_CONFIG") == "" {
		vars["DLP_CONFIG"] = "standard" // none turns it off
	}
	if set.data != "" {
		dir, err := filepath.Abs(set.data)
		if err != nil {
			return nil, fmt.Errorf("find data folder: %w", err)
		}
		vars["DATA_DIR"], vars["SPOOL_DIR"] = filepath.Join(dir, "data"), filepath.Join(dir, "spool")
	}
	env := daemon.NewEnv(func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, true
		}
		return os.LookupEnv(name)
	})
	c := &configs{analyzer.LoadConfig(env), forwarder.LoadConfig(env), goproxy.LoadConfig(env)}
	if err := env.Err(); err != nil {
		return nil, &cli.UsageError{Err: err}
	}
	if set.drain > 0 {
		c.proxy.DrainTimeout = set.drain
	}
	c.forwarder.ListenHost, c.proxy.ListenHost = "127.0.0.1", inHost
	return c, nil
}

// flagNames are what a user of this command sets instead of variables.
var flagNames = strings.NewReplacer(
	"PROXY_IN_PORT", "--listen", "REVERSE_PROXY_HOST and REVERSE_PROXY_PORT lead", "--to leads",
	"REVERSE_PROXY_HOST and REVERSE_PROXY_PORT", "--to", "DATA_DIR", "--data", "SPOOL_DIR", "--data",
)

// asFlags says an error of a program in the words of the command line.
func asFlags(err error) error {
	out := errors.New(flagNames.Replace(err.Error()))
	if h, ok := errors.AsType[*daemon.Hinted](err); ok {
		return &daemon.Hinted{Err: out, Hint: flagNames.Replace(h.Hint)}
	}
	return out
}

// abandon closes what is open already, by running it for no time.
func (s *session) abandon(err error) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return errors.Join(err, runInOrder(ctx, s.parts))
}

// orFree opens at an address that was only preferred, or, when that is taken,
// at a free port.
func orFree[T any](preferred bool, open func() (T, error), freePort func()) (T, error) {
	v, err := open()
	if preferred && errors.Is(err, syscall.EADDRINUSE) {
		freePort()
		return open()
	}
	return v, err
}

// describe says where things are.
func (s *session) describe(w io.Writer) {
	fmt.Fprintf(w, "  viewer  %s", s.viewerURL)
	if s.viewerURL != "http://"+viewerAddr && os.Getenv("LISTEN_ADDR") == "" {
		fmt.Fprintf(w, "   (%s is taken; set WEIR_URL for weir query, tail and show)", viewerAddr)
	}
	fmt.Fprintf(w, "\n  data    %s\n", s.dataDir)
}

// run runs the stack until ctx ends, work returns, or a part ends. work, which
// may be nil, is told to stop when the parts are, and waited for.
func (s *session) run(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		if work != nil {
			failed = work(ctx)
			cancel()
		}
	}()
	err := runInOrder(ctx, s.parts)
	cancel()
	<-done
	return errors.Join(failed, err)
}
