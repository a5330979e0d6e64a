// Package cli is weir's command line: what it takes and what it prints. The
// programs that up and demo run are given to it, so that asking an analyzer
// needs none of them.
//
// Exit status: 0 when all went well, 1 when something failed, 2 when the
// command or the query was not understood; then nothing was done.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/daemon"
)

// Up is what `weir up` was asked for.
type Up struct {
	// To is the application, "host:port".
	To string
	// App is its name.
	App string
	// Listen is where clients connect, "host:port" or ":port".
	Listen string
	// Data is the folder for spool and store; empty for the usual one.
	Data     string
	LogLevel string
}

// Demo is what `weir demo` was asked for.
type Demo struct {
	// Once makes Requests requests, verifies them and ends.
	Once     bool
	Requests int
	Data     string
	LogLevel string
}

// IO is what a command reads and writes.
type IO struct {
	Out, Err io.Writer
	// Color: Out is a terminal that may be coloured.
	Color bool
}

// Programs are the commands that run more than the command line.
type Programs struct {
	Up   func(context.Context, IO, Up) error
	Demo func(context.Context, IO, Demo) error
	// Config reads the environment of a program as it does itself; the error
	// has a line for each wrong variable. SpoolDir and DataDir are where those
	// are when nobody says.
	Config            func(program string, lookup func(string) (string, bool)) error
	SpoolDir, DataDir string
}

// UsageError is a mistake of the caller: exit status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ErrQuiet is a failure that was explained already.
var ErrQuiet = errors.New("failed")

// later are commands of weir that this version does not have. They are
// refused by name, so that a script learns that they exist elsewhere.
var later = []string{
	"curl", "export", "import", "stats", "dlp", "key", "user", "audit", "backup", "restore", "store", "plan",
}

// grammar is what kong reads.
type grammar struct {
	URL string `name:"url" env:"WEIR_URL" default:"http://127.0.0.1:4190" placeholder:"URL" help:"Address of the analyzer."`

	Up      upCommand      `cmd:"" help:"Capture an application's traffic: proxy, forwarder and analyzer in one process."`
	Demo    demoCommand    `cmd:"" help:"The same with a sample application and traffic of its own."`
	Query   queryCommand   `cmd:"" help:"List stored pairs, newest first."`
	Tail    tailCommand    `cmd:"" help:"Follow pairs as they are stored."`
	Show    showCommand    `cmd:"" help:"Show one pair, whole."`
	Ledger  ledgerCommand  `cmd:"" help:"Say what became of every pair that was seen."`
	Why     whyCommand     `cmd:"" help:"Say where a request went."`
	Doctor  doctorCommand  `cmd:"" help:"Say what is wrong, why, and what to do."`
	Version versionCommand `cmd:"" help:"Print the version."`
}

type upCommand struct {
	To     string `required:"" placeholder:"HOST:PORT" help:"The application whose traffic to carry and capture."`
	App    string `default:"app" help:"Name of the application."`
	Listen string `default:":4143" placeholder:"[HOST]:PORT" help:"Where clients connect instead (${default})."`
	common
}

func (upCommand) Help() string {
	return `Example:

  weir up --to localhost:8080 --app checkout
  curl http://localhost:4143/

Clients that use port 4143 instead of 8080 notice no difference, and every
exchange appears in the viewer, whose address is printed.`
}

type demoCommand struct {
	Once     bool `help:"Make the requests as fast as they go, verify that each is stored exactly once with the right bodies, print a table, and end with 0 or 1."`
	Requests int  `default:"500" hidden:""`
	common
}

func (demoCommand) Help() string {
	return `Example:

  weir demo
  weir demo --once

With --once the data goes to a temporary folder that is removed, unless --data
names one.`
}

type common struct {
	Data     string `placeholder:"DIR" help:"Folder for what is captured."`
	LogLevel string `default:"warn" enum:"debug,info,warn,error" help:"What the programs log: debug, info, warn or error (${default})."`
}

type queryCommand struct {
	Output string   `short:"o" default:"table" enum:"table,json" help:"table, or json: one object a line (${default})."`
	Limit  int      `default:"50" help:"At most so many pairs (${default})."`
	From   string   `placeholder:"TIME" help:"Not older: RFC 3339, or how long ago, such as 15m or 24h."`
	To     string   `placeholder:"TIME" help:"Older than this."`
	Query  []string `arg:"" optional:"" help:"What to look for; everything without it."`
}

func (queryCommand) Help() string {
	return `Example:

  weir query 'status:5xx app:checkout duration:>200ms'
  weir query -o json --from 1h -- '-path:/health* body:"card declined"'

A query that begins with - goes behind --.`
}

type tailCommand struct {
	Output string   `short:"o" default:"table" enum:"table,json" help:"table, or json: one object a line (${default})."`
	Query  []string `arg:"" optional:"" help:"What to follow; everything without it."`
}

func (tailCommand) Help() string {
	return `Example:

  weir tail 'status:5xx'

It goes on where it was after the analyzer was away. Ctrl-C ends it.`
}

type showCommand struct {
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
	ID     string `arg:"" help:"Id of the pair, as query and tail print it."`
}

func (showCommand) Help() string {
	return `Example:

  weir show 01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa

Bodies are decompressed; those that are not text are only counted.`
}

type ledgerCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	App    string `placeholder:"NAME" help:"Only this app."`
	From   string `default:"24h" placeholder:"TIME" help:"Gaps not older: RFC 3339, or how long ago, such as 15m (${default})."`
	To     string `placeholder:"TIME" help:"Gaps older than this."`
	Watch  bool   `help:"Print it again every two seconds, until Ctrl-C."`
}

func (ledgerCommand) Help() string {
	return `Example:

  weir ledger
  weir ledger --app checkout --from 1h
  weir ledger -o json

The counts are since counting began, also of what retention has removed; gaps
are of the time that is asked for. Exit status: 0 when the sum holds, 1 when
pairs are missing without a reason.`
}

type whyCommand struct {
	Output string   `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
	Path   string   `placeholder:"PATH" help:"Path of the request; * stands for anything."`
	Method string   `placeholder:"METHOD" help:"Its method."`
	Host   string   `placeholder:"HOST" help:"The host that it named."`
	App    string   `placeholder:"NAME" help:"The app that it was made to."`
	Status string   `placeholder:"STATUS" help:"Status of its response: 503, 5xx."`
	Query  string   `placeholder:"QUERY" help:"More about it, in the query language."`
	Around string   `placeholder:"TIME" help:"When it was made: RFC 3339, or how long ago, such as 15m; now without it."`
	Within string   `default:"1m" placeholder:"TIME" help:"How far from that to look, on both sides (${default})."`
	Terms  []string `arg:"" optional:"" name:"query" help:"The same as --query."`
}

func (whyCommand) Help() string {
	return `Example:

  weir why --path /pay --method POST --around 2026-11-23T12:04:05Z
  weir why --app checkout --path '/orders/*' --around 10m --within 5m

It was stored, filtered, dropped and why, lost with its proxy, sampled out, is
on its way, or was never seen; then it says who was watching.`
}

type doctorCommand struct {
	Output  string   `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
	EnvFile []string `placeholder:"FILE" help:"Look at what this env-file sets up instead of at the environment; may be given again."`
}

func (doctorCommand) Help() string {
	return `Example:

  weir doctor
  weir doctor --env-file goproxy.env --env-file forwarder.list

It looks at this machine as the variables of goproxy, forwarder and analyzer
set it up (ports, upstream, forwarder, directories, clock, rules), and at what
the analyzer knows of all others. Exit status: 0 when all is well, 1 when there
is a warning or a failure.`
}

type versionCommand struct{}

// exit carries the status that kong wants to end with (after --help).
type exit struct{ status int }

// Run runs one command and returns the exit status. ctx ends with the first
// signal.
func Run(ctx context.Context, args []string, std IO, programs Programs) int {
	err := run(ctx, args, std, programs)
	switch {
	case err == nil:
		return daemon.ExitOK
	case errors.Is(err, ErrQuiet):
		return daemon.ExitFailed
	}
	fmt.Fprintln(std.Err, "weir: "+clean(err.Error(), true))
	if h, ok := errors.AsType[*daemon.Hinted](err); ok {
		fmt.Fprintln(std.Err, h.Hint)
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		return daemon.ExitUsage
	}
	return daemon.ExitFailed
}

func run(ctx context.Context, args []string, std IO, programs Programs) (err error) {
	if len(args) > 0 && slices.Contains(later, args[0]) {
		return &UsageError{fmt.Errorf("%s: not supported by this version", args[0])}
	}
	var g grammar
	parser, err := kong.New(
		&g, kong.Name("weir"),
		kong.Description("See what your application says and hears. Exit status: 0 done, 1 failed, 2 not understood."),
		kong.Writers(std.Out, std.Err),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(status int) { panic(exit{status}) }),
		kong.Vars{},
	)
	if err != nil {
		return fmt.Errorf("build command line: %w", err)
	}
	defer func() {
		if e := recover(); e != nil {
			if _, ok := e.(exit); !ok {
				panic(e)
			}
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		return &UsageError{fmt.Errorf("%w\nTry: weir --help", err)}
	}
	switch parsed.Selected().Name {
	case "up":
		return programs.Up(ctx, std, Up{g.Up.To, g.Up.App, g.Up.Listen, g.Up.Data, g.Up.LogLevel})
	case "demo":
		return programs.Demo(ctx, std, Demo{g.Demo.Once, g.Demo.Requests, g.Demo.Data, g.Demo.LogLevel})
	case "version":
		_, err := fmt.Fprintf(std.Out, "weir %s (built %s, %s)\n", daemon.Version, daemon.BuildTime, runtime.Version())
		return err
	}
	api, err := client.New(g.URL)
	if err != nil {
		return &UsageError{err}
	}
	defer api.Close()
	switch parsed.Selected().Name {
	case "query":
		err = query(ctx, std, api, g.Query)
	case "tail":
		err = tail(ctx, std, api, g.Tail)
	case "show":
		err = show(ctx, std, api, g.Show)
	case "ledger":
		err = ledger(ctx, std, api, g.Ledger)
	case "why":
		err = why(ctx, std, api, g.Why)
	case "doctor":
		err = diagnose(ctx, std, api, programs, g.Doctor)
	}
	return explain(err)
}

// explain adds to an error what its reader can do.
func explain(err error) error {
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Status >= 400 && p.Status < 500 && p.Status != 404 {
		return &UsageError{err}
	}
	if _, ok := errors.AsType[*client.UnreachableError](err); ok {
		return &daemon.Hinted{Err: err, Hint: "Is it running? weir up --to HOST:PORT starts one; WEIR_URL or --url names another."}
	}
	return err
}

// closedPipe: whoever reads, such as head, has seen enough.
func closedPipe(err error) bool { return errors.Is(err, os.ErrClosed) || errors.Is(err, syscall.EPIPE) }
