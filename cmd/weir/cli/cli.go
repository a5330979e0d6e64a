// Package cli is weir's command line: what it takes and what it prints. The
// programs that up and demo run are given to it, so that asking an analyzer
// needs none of them.
//
// Exit status: 0 when all went well, 1 when something failed, 2 when the
// command or the query was not understood, 3 when the analyzer lets nobody, or
// not this key, do it; after 2 and 3 nothing was done. 4 is an export that is
// whole but for what nobody can read any more, or a backup without the control
// store. Commands that are questions (dlp
// scan) end as grep does: 0 nothing found, 1 something, 2 it failed.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/statedir"
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
	In       io.Reader
	Out, Err io.Writer
	// Color: Out is a terminal that may be coloured.
	Color bool
	// Terminal: Out is a terminal. Progress: Err is one, and long work may say
	// there how far it is.
	Terminal, Progress bool
	// Password asks on the terminal for something that is not shown; nil when
	// there is none.
	Password func(ctx context.Context, prompt string) (string, error)
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
	// Files is work on a data directory that no analyzer has open.
	Files Files
}

// UsageError is a mistake of the caller: exit status 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ErrQuiet is a failure that was explained already.
var ErrQuiet = errors.New("failed")

// exitPartial: it is done, but for what standard error tells of.
const exitPartial = 4

// statusError ends a command with a status of its own.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// later are commands of weir that this version does not have. They are
// refused by name, so that a script learns that they exist elsewhere.
var later = []string{
	"plan",
}

// grammar is what kong reads.
type grammar struct {
	URL string `name:"url" env:"WEIR_URL" placeholder:"URL" help:"Address of the analyzer. Without it: the socket in DATA_DIR, then http://127.0.0.1:4190. WEIR_TOKEN shows it an API key; WEIR_CA_FILE has its certificate authorities."`

	Up      upCommand      `cmd:"" help:"Capture an application's traffic: proxy, forwarder and analyzer in one process."`
	Demo    demoCommand    `cmd:"" help:"The same with a sample application and traffic of its own."`
	Query   queryCommand   `cmd:"" help:"List stored pairs, newest first."`
	Tail    tailCommand    `cmd:"" help:"Follow pairs as they are stored."`
	Show    showCommand    `cmd:"" help:"Show one pair, whole."`
	Curl    curlCommand    `cmd:"" help:"Print a curl command that sends a pair's request again."`
	Stats   statsCommand   `cmd:"" help:"Count pairs: by value, by endpoint, over time, by who calls whom."`
	Export  exportCommand  `cmd:"" help:"Write pairs to a file: HAR, JSON lines, curl, Parquet, RRPair JSON."`
	Import  importCommand  `cmd:"" help:"Take in a file of pairs: HAR, JSON lines, RRPair JSON."`
	Ledger  ledgerCommand  `cmd:"" help:"Say what became of every pair that was seen."`
	Why     whyCommand     `cmd:"" help:"Say where a request went."`
	Doctor  doctorCommand  `cmd:"" help:"Say what is wrong, why, and what to do."`
	Dlp     dlpCommand     `cmd:"" name:"dlp" help:"Try rules of redaction, and look for what they would have taken."`
	Key     keyCommand     `cmd:"" help:"Make, list and revoke API keys and the tokens of forwarders and proxies."`
	User    userCommand    `cmd:"" help:"Make, list and change users."`
	Audit   auditCommand   `cmd:"" help:"Say who did what, and whether the log of it is intact."`
	Delete  deleteCommand  `cmd:"" help:"Delete pairs for good, and prove it."`
	Backup  backupCommand  `cmd:"" help:"Write everything that is stored to one file."`
	Restore restoreCommand `cmd:"" help:"Unpack a backup into an empty data directory."`
	Store   storeCommand   `cmd:"" help:"Look after the files of a data directory."`

	Completion completionCommand `cmd:"" help:"Print a script that completes commands and flags in a shell."`
	Version    versionCommand    `cmd:"" help:"Print the version."`
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

// exit carries the status that kong wants to end with (after --help).
type exit struct{ status int }

// Run runs one command and returns the exit status. ctx ends with the first
// signal.
func Run(ctx context.Context, args []string, std IO, programs Programs) int {
	err := run(ctx, args, std, programs)
	status := daemon.ExitFailed
	if s, ok := errors.AsType[*statusError](err); ok {
		status = s.status
	}
	switch {
	case err == nil:
		return daemon.ExitOK
	case errors.Is(err, ErrQuiet):
		return status
	}
	fmt.Fprintln(std.Err, "weir: "+clean(err.Error(), true))
	if h, ok := errors.AsType[*daemon.Hinted](err); ok {
		fmt.Fprintln(std.Err, h.Hint)
	}
	if _, ok := errors.AsType[*UsageError](err); ok {
		return daemon.ExitUsage
	}
	if denied(err) != nil {
		return exitDenied
	}
	return status
}

func run(ctx context.Context, args []string, std IO, programs Programs) (err error) {
	if len(args) > 0 && slices.Contains(later, args[0]) {
		return &UsageError{fmt.Errorf("%s: not supported by this version", args[0])}
	}
	var g grammar
	parser, err := kong.New(
		&g, kong.Name("weir"),
		kong.Description("See what your application says and hears. Exit status: 0 done, 1 failed, 2 not understood, 3 not allowed, 4 done in part. docs/command-line.md tells more."),
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
	command := parsed.Command()
	switch name, _, _ := strings.Cut(command, " "); name {
	case "up":
		return programs.Up(ctx, std, Up{g.Up.To, g.Up.App, g.Up.Listen, g.Up.Data, g.Up.LogLevel})
	case "demo":
		return programs.Demo(ctx, std, Demo{g.Demo.Once, g.Demo.Requests, g.Demo.Data, g.Demo.LogLevel})
	case "version":
		_, err := fmt.Fprintf(std.Out, "weir %s (built %s, %s)\n", daemon.Version, daemon.BuildTime, runtime.Version())
		return err
	case "completion":
		return complete(std, parser.Model, g.Completion)
	case "restore":
		return restore(ctx, std, programs, g.Restore)
	case "dlp":
		if strings.HasPrefix(command, "dlp test") {
			return dlpTest(std, g.Dlp.Test)
		}
	case "store":
		if strings.HasPrefix(command, "store verify") {
			return verify(ctx, std, programs, g.Store.Verify)
		}
		return rebuild(ctx, std, programs, g.Store.Rebuild)
	}
	api, err := open(g.URL, programs)
	if err != nil {
		return err
	}
	defer api.Close()
	switch name, _, _ := strings.Cut(command, " "); name {
	case "query":
		err = query(ctx, std, api, g.Query)
	case "tail":
		err = tail(ctx, std, api, g.Tail)
	case "show":
		err = show(ctx, std, api, g.Show)
	case "curl":
		err = curl(ctx, std, api, g.Curl)
	case "stats":
		err = stats(ctx, std, api, command, g.Stats)
	case "export":
		err = export(ctx, std, api, g.Export)
	case "import":
		err = take(ctx, std, api, g.Import)
	case "dlp":
		return dlpScan(ctx, std, api, programs, g.Dlp.Scan)
	case "key":
		err = keys(ctx, std, api, command, g.Key)
	case "user":
		err = users(ctx, std, api, command, g.User)
	case "audit":
		err = audit(ctx, std, api, command, g.Audit)
	case "delete":
		err = remove(ctx, std, api, g.Delete)
	case "backup":
		err = backup(ctx, std, api, g.URL != "", programs, g.Backup)
	case "ledger":
		err = ledger(ctx, std, api, g.Ledger)
	case "why":
		err = why(ctx, std, api, g.Why)
	case "doctor":
		err = diagnose(ctx, std, api, programs, g.Doctor)
	}
	return explain(err)
}

// address is that of the analyzer that is meant: the one that was named, else
// the one that has the data directory open, else the usual one.
func address(named string, programs Programs) string {
	if named != "" {
		return named
	}
	name := filepath.Join(dataDir("", programs), statedir.ControlSocket)
	if st, err := os.Stat(name); err == nil && st.Mode()&os.ModeSocket != 0 {
		return "unix:" + name
	}
	return "http://127.0.0.1:4190"
}

// dataDir is the one that was named, by flag or by variable, else the usual
// one.
func dataDir(named string, programs Programs) string {
	if named == "" {
		named = os.Getenv("DATA_DIR")
	}
	if named == "" {
		named = programs.DataDir
	}
	return named
}

// explain adds to an error what its reader can do.
func explain(err error) error {
	if d := denied(err); d != nil {
		return d
	}
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
