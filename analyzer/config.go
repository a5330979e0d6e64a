package analyzer

import (
	"log/slog"
	"strings"
	"time"

	"github.com/weir-capture/weir/analyzer/store/endpoint"
	"github.com/weir-capture/weir/daemon"
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
}

// LoadConfig reads the variables of the contract. Mistakes are collected in
// env.
func LoadConfig(env *daemon.Env) Config {
	c := Config{
		ListenAddr: env.Addr("LISTEN_ADDR", defaultListen),
		IngestAddr: loopback(env, "INGEST_ADDR", defaultIngest),
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
	c.Doors = loadDoors(env, c.ListenAddr)
	env.Unsupported(
		"STORE",
		"OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_CLIENT_SECRET_FILE",
		"ENCRYPTION_KEY", "ENCRYPTION_KEY_FILE",
	)
	return c
}

// loopback is an address that only this machine reaches: nothing asks yet who
// sends pairs.
func loopback(env *daemon.Env, name, def string) string {
	v := env.Addr(name, def)
	if v == "" || onLoopback(v) {
		return v // a mistake is recorded by Addr
	}
	env.Fail(name, "other machines could send; until this version can authenticate them it serves the loopback only", "an address such as "+def)
	return ""
}
