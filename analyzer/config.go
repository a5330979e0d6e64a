package analyzer

import (
	"log/slog"
	"strings"
	"time"

	"github.com/weir-capture/weir/analyzer/oidc"
	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/keyring"
	"github.com/weir-capture/weir/internal/statedir"
)

// Ports and times by convention, all of them here.
const (
	defaultListen    = "127.0.0.1:4190"
	defaultIngest    = "127.0.0.1:4191"
	defaultRetention = 7 * 24 * time.Hour
	// minRetentionBytes is room for the segments that retention works with.
	minRetentionBytes = 16 << 20
)

// Config is what a user sets.
type Config struct {
	// ListenAddr serves the viewer and the API, IngestAddr the forwarders.
	// "host:port"; port 0 picks a free one.
	ListenAddr, IngestAddr string
	// Doors say who may come in to ListenAddr.
	Doors
	// IngestDoor says who may come in to IngestAddr.
	IngestDoor
	// DataDir holds everything that is stored.
	DataDir string
	// Retention is how long pairs are kept, RetentionBytes how much of them;
	// 0: without a bound.
	Retention      time.Duration
	RetentionBytes int64
	LogLevel       slog.Level
	// EndpointRules is a file that corrects the templates of paths; empty for
	// none.
	EndpointRules string
	// OIDC is the identity provider, if there is one.
	OIDC oidc.Config
	// Master encrypts what is stored from now on; nil: nothing does.
	Master *keyring.Master
}

// LoadConfig reads the variables of the contract. Mistakes are collected in
// env.
func LoadConfig(env *daemon.Env) Config {
	c := Config{
		ListenAddr: env.Addr("LISTEN_ADDR", defaultListen),
		IngestAddr: env.Addr("INGEST_ADDR", defaultIngest),
		DataDir:    env.String("DATA_DIR", ""),
		Retention:  env.Duration("RETENTION", defaultRetention),
		LogLevel:   env.LogLevel(),
	}
	c.RetentionBytes = env.Size("RETENTION_BYTES", 0)
	if 0 < c.RetentionBytes && c.RetentionBytes < minRetentionBytes {
		env.Fail("RETENTION_BYTES", "too small", "at least 16MiB, or 0 for no bound")
	}
	if strings.Contains(c.DataDir, "?") {
		env.Fail("DATA_DIR", "the index cannot be kept there", "a path without a question mark")
	}
	if c.DataDir == "" {
		c.DataDir = statedir.Default("data")
	}
	if c.EndpointRules = env.String("ENDPOINT_RULES", ""); c.EndpointRules != "" {
		if _, err := endpoint.ReadRules(c.EndpointRules); err != nil {
			env.Fail("ENDPOINT_RULES", err.Error(), "a file of rules, as docs/operations.md shows")
		}
	}
	c.Master = keyring.LoadMaster(env)
	c.Doors = loadDoors(env, c.ListenAddr)
	c.IngestDoor = loadIngestDoor(env, c.IngestAddr, c.tlsFiles())
	c.OIDC = oidc.LoadConfig(env)
	env.Unsupported("STORE")
	return c
}
