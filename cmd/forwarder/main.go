// Forwarder takes what the capture proxies of an environment captured,
// filters and redacts it, keeps it safe on disk, and hands it on to the
// analyzer. It is configured by its environment.
package main

import (
	"log/slog"
	"os"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
)

func main() {
	load := func(env *daemon.Env) (forwarder.Config, slog.Level) {
		cfg := forwarder.LoadConfig(env)
		return cfg, cfg.LogLevel
	}
	start := func(cfg forwarder.Config, log *slog.Logger) (daemon.Runner, error) { return forwarder.New(cfg, log) }
	os.Exit(daemon.Main(os.Stderr, daemon.Sorted, load, start))
}
