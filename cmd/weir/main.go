// Weir is the command line: it runs the three programs in one process (up,
// demo) and asks a running analyzer (query, ledger, doctor and others).
package main

import (
	"context"
	"os"

	"github.com/weir-capture/weir/cmd/weir/cli"
	"github.com/weir-capture/weir/cmd/weir/stack"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/statedir"
)

func main() {
	daemon.Private()
	ctx, stop := daemon.SignalContext(context.Background())
	std := cli.IO{In: os.Stdin, Password: passwords(), Out: os.Stdout, Err: os.Stderr, Color: colored(os.Stdout), Terminal: terminal(os.Stdout), Progress: terminal(os.Stderr)}
	status := cli.Run(ctx, os.Args[1:], std, cli.Programs{
		Up: stack.Up, Demo: stack.Demo,
		Config: stack.Config, SpoolDir: statedir.Default("spool"), DataDir: statedir.Default("data"),
		Files: stack.Files(os.Stderr),
	})
	stop()
	os.Exit(status)
}

// colored reports whether f is a terminal whose user wants colours
// (https://no-color.org).
func colored(f *os.File) bool {
	return terminal(f) && os.Getenv("NO_COLOR") == ""
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
