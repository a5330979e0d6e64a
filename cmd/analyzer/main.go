// Analyzer stores captured pairs and serves the API and the viewer. It is
// configured by its environment.
package main

import (
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/weir-capture/weir/analyzer"
	"github.com/weir-capture/weir/daemon"
)

// gcPercent is what the garbage collector lets the heap grow by. Most of what
// the analyzer keeps is of one size for good, and its memory is more often
// short than its processor.
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	load := func(env *daemon.Env) (analyzer.Config, slog.Level) {
		cfg := analyzer.LoadConfig(env)
		return cfg, cfg.LogLevel
	}
	start := func(cfg analyzer.Config, log *slog.Logger) (daemon.Runner, error) { return analyzer.New(cfg, log) }
	os.Exit(daemon.Main(os.Stderr, daemon.Sorted, load, start))
}
