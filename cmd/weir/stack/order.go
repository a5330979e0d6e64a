// Package stack runs an analyzer, a forwarder and a proxy in one process. They
// speak gRPC over loopback as separate programs do, so that there is one way
// of the data and not two.
package stack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-capture/weir/daemon"
)

// part is one program of the stack.
type part struct {
	name string
	daemon.Runner
	// stop is how long it may take to stop before the next one is told to,
	// and the process goes on without it; 0 for stopTimeout.
	stop time.Duration
}

const stopTimeout = 15 * time.Second

// runInOrder runs parts, which stand from the store towards the source. When
// ctx ends, or one of them does, it stops them from the source towards the
// store, each when the one before it is done: what a proxy still has reaches
// the forwarder, and what that has reaches the analyzer. It returns what the
// parts returned.
func runInOrder(ctx context.Context, parts []part) error {
	type running struct {
		stop context.CancelFunc
		done chan error
	}
	ended := make(chan struct{}, len(parts))
	run := make([]running, len(parts))
	for i, p := range parts {
		// Each has a context of its own: ctx must not stop all at once.
		own, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		run[i] = running{stop, make(chan error, 1)}
		go func() {
			run[i].done <- p.Run(own)
			ended <- struct{}{}
		}()
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		run[i].stop()
		most := cmp.Or(parts[i].stop, stopTimeout)
		late := time.NewTimer(most)
		select {
		case err := <-run[i].done:
			if err != nil {
				errs = append(errs, fmt.Errorf("run %s: %w", parts[i].name, err))
			}
		case <-late.C:
			errs = append(errs, fmt.Errorf("stop %s: not done after %v", parts[i].name, most))
		}
		late.Stop()
	}
	return errors.Join(errs...)
}
