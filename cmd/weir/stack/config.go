package stack

import (
	"fmt"

	"github.com/weir-capture/weir/analyzer"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder"
	"github.com/weir-capture/weir/goproxy"
)

// Config reads an environment as the named program does. The error has a line
// for each wrong variable.
func Config(program string, lookup func(string) (string, bool)) error {
	env := daemon.NewEnv(lookup)
	switch program {
	case "goproxy":
		goproxy.LoadConfig(env)
	case "forwarder":
		forwarder.LoadConfig(env)
	case "analyzer":
		analyzer.LoadConfig(env)
	default:
		return fmt.Errorf("there is no program %q", program)
	}
	return env.Err()
}
