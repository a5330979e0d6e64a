// Analyzer stores captured pairs and serves the API and the viewer. It is
// configured by its environment.
package main

import (
	"log/slog"
	"os"

	"github.com/weir-capture/weir/analyzer"
	"github.com/weir-capture/weir/daemon"
)

func main() {
	load := func(env *daemon.Env) (analyzer.Config, slog.Level) {
		cfg := analyzer.LoadConfig(env)
		return cfg, cfg.LogLevel
	}
	start := func(cfg analyzer.Config, log *slog.Logger) (daemon.Runner, error) { return analyzer.New(cfg, log) }
	os.Exit(daemon.Main(os.Stderr, daemon.Sorted, load, start))
}
