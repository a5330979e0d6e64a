package cli

// The commands that ask an analyzer or work on files, with their help. Every
// command has an example, which a test runs.

type queryCommand struct {
	Output  string   `short:"o" default:"table" enum:"table,json" help:"table, or json: one object a line (${default})."`
	Limit   int      `default:"50" help:"At most so many pairs (${default})."`
	From    string   `placeholder:"TIME" help:"Not older: RFC 3339, or how long ago, such as 15m or 24h."`
	To      string   `placeholder:"TIME" help:"Older than this."`
	Explain bool     `help:"Say how the query is answered, and do not ask it."`
	Query   []string `arg:"" optional:"" help:"What to look for; everything without it."`
}

func (queryCommand) Help() string {
	return `Example:

  weir query 'status:5xx app:checkout duration:>200ms'
  weir query -o json --from 1h -- '-path:/health* body:"card declined"'
  weir query --explain 'body:declined app:checkout'

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

func (versionCommand) Help() string {
	return `Example:

  weir version`
}

type curlCommand struct {
	ID string `arg:"" help:"Id of the pair, as query and tail print it."`
}

func (curlCommand) Help() string {
	return `Example:

  weir curl 01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa

The command is for bash. Whatever was captured cannot leave its quotes.`
}

// selected is what sums and files are of.
type selected struct {
	From  string   `placeholder:"TIME" help:"Not older: RFC 3339, or how long ago, such as 15m or 24h."`
	To    string   `placeholder:"TIME" help:"Older than this."`
	Query []string `arg:"" optional:"" help:"Which pairs; everything without it."`
}

type statsCommand struct {
	Facets    facetsCommand    `cmd:"" help:"The most frequent values of fields."`
	Endpoints endpointsCommand `cmd:"" help:"How often, how well and how fast each endpoint answered."`
	Histogram histogramCommand `cmd:"" help:"Pairs over time, by status class."`
	Map       mapCommand       `cmd:"" help:"Who calls whom."`
	Errors    errorsCommand    `cmd:"" help:"What failed, grouped by what it says."`
}

func (statsCommand) Help() string {
	return `Example:

  weir stats endpoints --from 24h
  weir stats facets --fields app,status 'method:POST'
  weir stats histogram --buckets 24 --from 24h 'status:5xx'
  weir stats map
  weir stats errors --from 1h`
}

type facetsCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	Fields string `default:"app,method,status,host,endpoint" placeholder:"NAMES" help:"Which fields, separated by commas (${default})."`
	Limit  int    `default:"10" help:"At most so many values of each (${default})."`
	selected
}

func (facetsCommand) Help() string {
	return `Example:

  weir stats facets
  weir stats facets --fields host,flag --limit 5 --from 1h 'app:checkout'`
}

type endpointsCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	Limit  int    `default:"50" help:"At most so many lines (${default})."`
	selected
}

func (endpointsCommand) Help() string {
	return `Example:

  weir stats endpoints
  weir stats endpoints -o json --from 1h 'app:checkout status:5xx'

Where sampling left pairs out, counts with ~ are estimates of all that were seen.`
}

type histogramCommand struct {
	Output  string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	Buckets int    `default:"20" help:"At most so many steps (${default})."`
	selected
}

func (histogramCommand) Help() string {
	return `Example:

  weir stats histogram --from 1h
  weir stats histogram -o json 'status:5xx'`
}

type mapCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	Limit  int    `default:"50" help:"At most so many edges (${default})."`
	selected
}

func (mapCommand) Help() string {
	return `Example:

  weir stats map
  weir stats map --from 1h 'status:5xx'`
}

type errorsCommand struct {
	Output       string `short:"o" default:"table" enum:"table,json" help:"table or json (${default})."`
	Limit        int    `default:"50" help:"At most so many groups (${default})."`
	ClientErrors bool   `name:"4xx" help:"Those with status 4xx too."`
	selected
}

func (errorsCommand) Help() string {
	return `Example:

  weir stats errors --from 1h
  weir stats errors --4xx -o json 'app:checkout'

Counts with ~ are estimates: only the newest bodies of each endpoint are looked into. What bodies say needs the role investigator.`
}

type exportCommand struct {
	Format string `enum:"har,jsonl,curl,parquet,rrpair," default:"" placeholder:"FORMAT" help:"har, jsonl, curl, parquet or rrpair; without it what the name of the file says, else har."`
	File   string `short:"f" placeholder:"FILE" help:"Where to write it; without it, standard output."`
	selected
}

func (exportCommand) Help() string {
	return `Example:

  weir export --file errors.har 'status:5xx'
  weir export --file day.parquet --from 24h
  weir export --format jsonl 'app:checkout' > checkout.jsonl

A file is only there when it is whole; its mode is 0600. jsonl and har lose
nothing: weir import makes the same pairs of them.`
}

type importCommand struct {
	Format string `enum:"har,jsonl,rrpair," default:"" placeholder:"FORMAT" help:"har, jsonl or rrpair; without it what the name of the file says."`
	App    string `placeholder:"NAME" help:"App of the pairs that name none (imported)."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
	File   string `arg:"" help:"The file; - for standard input."`
}

func (importCommand) Help() string {
	return `Example:

  weir import errors.har
  weir import --format jsonl --app checkout - < checkout.jsonl

Pairs keep their ids: the same file taken again changes nothing. Entries that
cannot be read are named, and the others are stored. Exit status: 0 when all
were read, 1 when some could not be. What is imported is not redacted.`
}

type backupCommand struct {
	Data string `placeholder:"DIR" help:"The data directory, when no analyzer runs (DATA_DIR)."`
	File string `arg:"" help:"The tar file to write."`
}

func (backupCommand) Help() string {
	return `Example:

  weir backup weir.tar

It is taken from the analyzer that runs or, when none does, from the files. The
file is only there when it is whole; its mode is 0600. A control store in
PostgreSQL is in it only when the analyzer runs; otherwise that is said, and the
exit status is 4.`
}

type restoreCommand struct {
	Data string `placeholder:"DIR" help:"The data directory, missing or empty (DATA_DIR)."`
	File string `arg:"" help:"The tar file that weir backup wrote; - for standard input."`
}

func (restoreCommand) Help() string {
	return `Example:

  weir restore --data ./restored weir.tar

The index is not in a backup; it is built when the analyzer starts.`
}

type storeCommand struct {
	Verify  verifyCommand  `cmd:"" help:"Read everything and say what is damaged."`
	Rebuild rebuildCommand `cmd:"" help:"Make the index anew from the log."`
}

func (storeCommand) Help() string {
	return `Example:

  weir store verify --data ./restored
  weir store rebuild --data ./restored`
}

type verifyCommand struct {
	Data   string `placeholder:"DIR" help:"The data directory (DATA_DIR)."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
}

func (verifyCommand) Help() string {
	return `Example:

  weir store verify --data ./restored

It changes nothing, and needs the files to itself. Exit status: 0 when all is
whole, 1 when something is damaged.`
}

type rebuildCommand struct {
	Data string `placeholder:"DIR" help:"The data directory (DATA_DIR)."`
}

func (rebuildCommand) Help() string {
	return `Example:

  weir store rebuild --data ./restored

The log is the truth and is only read. It needs the files to itself.`
}

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

func (completionCommand) Help() string {
	return `Example:

  weir completion bash > weir.bash
  weir completion zsh > _weir
  weir completion fish > weir.fish

Source the first from .bashrc; put the second into a folder of fpath, and the
third into ~/.config/fish/completions.`
}
