// Package daemon is what every program of Weir does in the same way: read its
// environment, log in its shape, start, and stop when it is told to.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/weir-capture/weir/internal/credentials"
)

// Version and BuildTime are set by the linker (-X).
var (
	Version   = "v0.0.0-dev"
	BuildTime = "unknown"
)

// Exit codes of every program.
const (
	ExitOK     = 0
	ExitFailed = 1
	// ExitUsage: the configuration is wrong; nothing was started.
	ExitUsage = 2
)

// Runner is a program that is ready to serve.
type Runner interface {
	// Run serves until ctx ends, then stops in order and returns nil.
	Run(ctx context.Context) error
}

// Main runs a program that is configured by its environment and returns the
// exit status. load reads the configuration; start opens what the program
// needs (files, listeners) and starts nothing. SIGTERM and SIGINT end Run's
// context; a second one ends the process at once. Files that the program makes
// are its user's alone (Private).
func Main[C any](stderr io.Writer, shape Shape, load func(*Env) (C, slog.Level), start func(C, *slog.Logger) (Runner, error)) int {
	Private()
	env := NewEnv(os.LookupEnv)
	cfg, level := load(env)
	if err := env.Err(); err != nil {
		fmt.Fprintln(stderr, err)
		return ExitUsage
	}
	log := slog.New(NewHandler(stderr, shape, level))
	for _, s := range env.Slips(os.Environ()) {
		log.Warn("A variable is set that this program does not know", slog.String("variable", s.Name), slog.String("meant", s.Meant))
	}
	r, err := start(cfg, log)
	if err != nil {
		log.Error("Could not start", errAttrs(err)...)
		return ExitFailed
	}
	ctx, stop := SignalContext(context.Background())
	defer stop()
	if err := r.Run(ctx); err != nil {
		log.Error("Stopped by an error", errAttrs(err)...)
		return ExitFailed
	}
	return ExitOK
}

// SignalContext ends with the first SIGTERM or SIGINT. A second one ends the
// process at once with status 1, whatever is still in flight.
func SignalContext(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGTERM, syscall.SIGINT)
	done := make(chan struct{})
	go func() {
		first := true
		for {
			select {
			case s := <-ch:
				if !first {
					os.Exit(ExitFailed)
				}
				first = false
				cancel(fmt.Errorf("signal %v", s))
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(ch)
		close(done)
		cancel(context.Canceled)
	}
}

// Hangups gives each SIGHUP until ctx ends: somebody wants files to be read
// again. Where nobody asks for them, a hangup ends the process as it always
// has.
func Hangups(ctx context.Context) <-chan os.Signal {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(ch) })
	return ch
}

// Hinted is an error that knows what its reader should do about it.
type Hinted struct {
	Err  error
	Hint string
}

func (h *Hinted) Error() string { return h.Err.Error() }
func (h *Hinted) Unwrap() error { return h.Err }

// errAttrs is the error, and its hint where it has one. The error may name what
// somebody has written into the configuration.
func errAttrs(err error) []any {
	attrs := []any{slog.String("error", credentials.Hide(err.Error()))}
	if h, ok := errors.AsType[*Hinted](err); ok {
		attrs = append(attrs, slog.String("hint", h.Hint))
	}
	return attrs
}
