package forwarder_test

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
)

// asProgram makes the test binary the forwarder itself, for tests that kill
// it.
const asProgram = "FORWARDER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		load := func(env *daemon.Env) (forwarder.Config, slog.Level) {
			cfg := forwarder.LoadConfig(env)
			cfg.ListenHost = "127.0.0.1"
			return cfg, cfg.LogLevel
		}
		start := func(cfg forwarder.Config, log *slog.Logger) (daemon.Runner, error) { return forwarder.New(cfg, log) }
		os.Exit(daemon.Main(os.Stderr, daemon.Sorted, load, start))
	}
	goleak.VerifyTestMain(m)
}
