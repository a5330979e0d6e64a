package goproxy

import (
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/internal/access"
)

// Ports by convention, all of them here.
const (
	defaultUpstreamPort = 80
	defaultMetricsPort  = 4145
	defaultDiagnostics  = "127.0.0.1:4100"
)

// maxBodyLimit keeps a pair with two whole bodies within one message to the
// forwarder.
const maxBodyLimit = 6 << 20

// minSpool is the smallest ring that is worth its name.
const minSpool = 16 << 20

// Config is what a user sets.
type Config struct {
	// InPort is where to listen; 0 picks a free port. ListenHost limits that
	// to one address; empty means all.
	InPort     int
	ListenHost string
	// UpstreamHost and UpstreamPort are where to carry the traffic.
	UpstreamHost string
	UpstreamPort int
	// ProxyV2 begins each connection to the upstream with a header of the
	// PROXY protocol, version 2, that tells it the client's address.
	ProxyV2 bool
	// App is shared by the instances of an application; Pod names this one,
	// and is the proxy's id; Namespace may be empty.
	App, Pod, Namespace string
	// Forwarder is the forwarder's "host:port".
	Forwarder string
	// Access is what is shown to the forwarder, and how it is verified.
	Access   access.Config
	LogLevel slog.Level
	// Capture is the kill switch.
	Capture bool
	// BodyLimit is how many bytes of each body are kept, MemoryLimit how many
	// capture may hold in all.
	BodyLimit, MemoryLimit int64
	// KeepOneIn connections is captured (CAPTURE_SAMPLE 1/n), unless the
	// forwarder says otherwise. A change is for connections that come after
	// it.
	KeepOneIn uint32
	// SpoolDir is where the ring on disk is kept, of at most SpoolBytes, for
	// what does not fit in memory while the forwarder is away; empty for none.
	// Several proxies may share the directory; each has a ring of its own.
	SpoolDir   string
	SpoolBytes int64
	// DrainDelay is how long connections are still accepted after the end
	// began, DrainTimeout how long those in flight have after that.
	DrainDelay, DrainTimeout time.Duration
	// Metrics serves Prometheus metrics on MetricsPort.
	Metrics     bool
	MetricsPort int
	// DiagnosticsAddr is empty for none. Profiling is offered there only when
	// it was asked for: it is work for the process, and shows much of it.
	DiagnosticsAddr string
	Pprof           bool
}

// LoadConfig reads the variables of the contract. Mistakes are collected in
// env.
func LoadConfig(env *daemon.Env) Config {
	var c Config
	env.OneOf("PROXY_TYPE", "", []string{"reverse"}, "forward", "dual", "transparent")
	c.InPort = env.Port("PROXY_IN_PORT", -1)
	c.UpstreamHost = host(env, "REVERSE_PROXY_HOST", "localhost")
	c.UpstreamPort = env.Port("REVERSE_PROXY_PORT", defaultUpstreamPort)
	if v := env.String("REVERSE_PROXY_PORT", ""); v != "" && strings.Trim(v, "0") == "" {
		env.Fail("REVERSE_PROXY_PORT", "nothing listens there", "a port, 1 to 65535")
	}
	c.ProxyV2 = env.OneOf("PROXY_PROTOCOL", "off", []string{"off", "v2"}) == "v2"
	c.App = env.Required("APP_LABEL", "the name of the application, shared by its instances")
	c.Pod = env.Required("APP_POD_NAME", "a unique id of this instance, such as its host name")
	c.Namespace = env.String("APP_POD_NAMESPACE", "")
	c.Forwarder = env.Addr("FORWARDER_ADDR", "")
	c.LogLevel = env.LogLevel()
	c.Capture = env.Bool("CAPTURE", true)
	c.BodyLimit = env.Size("CAPTURE_BODY_LIMIT", 1<<20)
	if c.BodyLimit > maxBodyLimit {
		env.Fail("CAPTURE_BODY_LIMIT", "too large", "at most 6MiB")
	}
	c.MemoryLimit = env.Size("CAPTURE_MEMORY_LIMIT", 64<<20)
	if env.String("CAPTURE_MEMORY_LIMIT", "") != "" && 0 < c.MemoryLimit && c.MemoryLimit < 1<<20 {
		env.Fail("CAPTURE_MEMORY_LIMIT", "too small", "at least 1MiB")
	}
	c.KeepOneIn = sample(env, "CAPTURE_SAMPLE")
	c.SpoolDir = env.String("CAPTURE_SPOOL_DIR", "")
	c.SpoolBytes = env.Size("CAPTURE_SPOOL_BYTES", 1<<30)
	if n, ok := daemon.ParseSize(env.String("CAPTURE_SPOOL_BYTES", "")); ok && n < minSpool {
		env.Fail("CAPTURE_SPOOL_BYTES", "too small", "at least 16MiB")
	}
	c.DrainDelay = env.Duration("DRAIN_DELAY", 0)
	c.DrainTimeout = env.Duration("DRAIN_TIMEOUT", 25*time.Second)
	c.Metrics = env.Bool("METRICS_HTTP_ENABLE", false)
	c.MetricsPort = env.Port("METRICS_HTTP_PORT", defaultMetricsPort)
	c.DiagnosticsAddr = env.AddrOrOff("DIAGNOSTICS_ADDR", defaultDiagnostics)
	c.Pprof = env.Bool("DIAGNOSTICS_PPROF", false)
	c.Access = env.Access("FORWARDER", c.Forwarder)
	return c
}

// sample is a rate: "1/10" is 10.
func sample(env *daemon.Env, name string) uint32 {
	one, n, ok := strings.Cut(env.String(name, "1/1"), "/")
	rate, err := strconv.ParseUint(n, 10, 32)
	if !ok || one != "1" || err != nil || rate < 1 || rate > observe.MaxKeepOneIn {
		env.Fail(name, "not a rate", "1/N, one connection in N, with N from 1 to 1000000")
		return 1
	}
	return uint32(rate)
}

// host is a name or an address, without a port or a scheme.
func host(env *daemon.Env, name, def string) string {
	v := strings.TrimSuffix(strings.TrimPrefix(env.String(name, def), "["), "]")
	if _, err := netip.ParseAddr(v); err == nil {
		return v
	}
	if strings.ContainsAny(v, "/:[] @") {
		env.Fail(name, "not a host", "a host name or an address, without scheme and port")
		return ""
	}
	return v
}

// upstream is where to carry the traffic, as "host:port".
func (c *Config) upstream() string { return joinPort(c.UpstreamHost, c.UpstreamPort) }

// listenAddr is where to listen.
func (c *Config) listenAddr() string { return joinPort(c.ListenHost, c.InPort) }

func joinPort(host string, port int) string {
	return net.JoinHostPort(host, itoa(port))
}
