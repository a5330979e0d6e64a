// Goproxy is the capture proxy: it stands beside an application, carries its
// traffic unchanged, and ships a copy of it to a forwarder. It is configured
// by its environment.
package main

import (
	"log/slog"
	"os"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy"
)

func main() {
	load := func(env *daemon.Env) (goproxy.Config, slog.Level) {
		cfg := goproxy.LoadConfig(env)
		return cfg, cfg.LogLevel
	}
	start := func(cfg goproxy.Config, log *slog.Logger) (daemon.Runner, error) { return goproxy.New(cfg, log) }
	os.Exit(daemon.Main(os.Stderr, daemon.Ordered, load, start))
}
