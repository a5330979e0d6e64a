package forwarder

import (
	"log/slog"
	"strings"
	"time"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/forwarder/sampling"
	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/statedir"
	"github.com/weir-capture/weir/redact"
	"github.com/weir-capture/weir/spool"
)

const (
	// DefaultPort is where proxies find a forwarder.
	DefaultPort = 8888
	// defaultSpoolBytes is what a spool may grow to.
	defaultSpoolBytes = 10 << 30
	// minSpoolBytes leaves room for the largest batch and what is around it.
	minSpoolBytes = 32 << 20
	// minTelemetry is how often the analyzer hears of this program at all.
	minTelemetry = time.Second
)

// Config is what a user sets.
type Config struct {
	// Port is where to listen; 0 picks a free port. ListenHost limits that to
	// one address; empty means all.
	Port       int
	ListenHost string
	// Cluster names the environment; Namespace may be empty.
	Cluster, Namespace string
	LogLevel           slog.Level
	// Telemetry is how often to report; 0 is never.
	Telemetry time.Duration
	// FilterRule is what filter.Load takes; empty means none.
	FilterRule string
	// DLPConfig names the rules of redaction: a set that comes with the
	// program, or a file; empty or "none" for none. DLPKeys make its tokens;
	// nil: a key that is made once and kept in SpoolDir.
	DLPConfig string
	DLPKeys   *redact.Keys
	// SampleFile says what proxies shall sample (room sampling); empty leaves
	// it to them.
	SampleFile string
	// Analyzer is the analyzer's "host:port"; empty where Exporters, a file for
	// export.Load, names other destinations.
	Analyzer, Exporters string
	// Access is what is shown to Analyzer, and how it is verified.
	Access access.Config
	// Doors say which proxies may push.
	Doors
	// SpoolDir is made when it is missing; SpoolBytes bounds it.
	SpoolDir   string
	SpoolBytes int64
	WhenFull   spool.WhenFull
	// Master encrypts the spool from now on; nil: nothing does.
	Master *keyring.Master
}

// LoadConfig reads the variables of the contract. Mistakes are collected in
// env.
func LoadConfig(env *daemon.Env) Config {
	var c Config
	c.Port = env.Port("SERVICE_PORT", DefaultPort)
	c.Cluster = env.Required("CLUSTER_NAME", "a name for this environment")
	c.Namespace = env.String("APP_POD_NAMESPACE", "")
	c.LogLevel = env.LogLevel()
	c.Telemetry = env.Duration("TELEMETRY_INTERVAL", 0)
	if c.Telemetry > 0 && c.Telemetry < minTelemetry {
		env.Fail("TELEMETRY_INTERVAL", "too short", "0 for never, or at least 1s")
	}
	c.FilterRule = env.String("FILTER_RULE", filter.Standard)
	if _, err := filter.Load(c.FilterRule); err != nil {
		env.Fail("FILTER_RULE", err.Error(), "standard, none, an expression, or a file with one \"name: expression\" a line")
	}
	c.SampleFile = env.String("SAMPLE_FILE", "")
	if c.SampleFile != "" {
		if _, err := sampling.Load(c.SampleFile); err != nil {
			env.Fail("SAMPLE_FILE", err.Error(), `a file with lines such as "checkout 1/10" or "* 1/4"`)
		}
	}
	c.loadDLP(env)
	c.loadDestinations(env)
	c.SpoolDir = env.String("SPOOL_DIR", "")
	if c.SpoolDir == "" {
		c.SpoolDir = statedir.Default("spool")
	}
	c.SpoolBytes = env.Size("SPOOL_MAX_BYTES", defaultSpoolBytes)
	if n, ok := daemon.ParseSize(env.String("SPOOL_MAX_BYTES", "")); ok && n < minSpoolBytes {
		env.Fail("SPOOL_MAX_BYTES", "too small", "at least 32MiB")
	}
	c.Master = keyring.LoadMaster(env)
	c.WhenFull = spool.WhenFull(env.OneOf("SPOOL_WHEN_FULL", string(spool.DropOldest), []string{string(spool.DropOldest), string(spool.DropNewest)}))
	c.Doors = loadDoors(env)
	return c
}

// loadDLP reads the rules of redaction and their keys.
func (c *Config) loadDLP(env *daemon.Env) {
	c.DLPConfig = env.String("DLP_CONFIG", "")
	if c.DLPConfig != "" {
		if err := checkDLP(c.DLPConfig); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				env.Fail("DLP_CONFIG", line, `none, standard, standard+pii, or a file of rules`)
			}
		}
	}
	if key := env.Secret("DLP_KEY"); key != "" {
		var err error
		if c.DLPKeys, err = redact.ParseKeys(key); err != nil {
			env.FailSecret("DLP_KEY", err.Error(), "16 bytes or more in base64; while a key is being changed the new one, a comma, the old one")
		}
	}
}

// loadDestinations reads where pairs go. Without EXPORTERS there has to be an
// analyzer.
func (c *Config) loadDestinations(env *daemon.Env) {
	c.Exporters = env.String("EXPORTERS", "")
	needed := ""
	if c.Exporters != "" {
		needed = daemon.AddrOptional
	}
	c.Analyzer = env.Addr("ANALYZER_ADDR", needed)
	c.Access = env.Access("ANALYZER", c.Analyzer)
	if c.Exporters == "" {
		return
	}
	if _, err := c.destinations(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			env.Fail("EXPORTERS", line, `a YAML or JSON file with a list, exporters, of destinations of type analyzer or file`)
		}
	}
}
