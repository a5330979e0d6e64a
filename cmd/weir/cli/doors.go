package cli

// The commands about who may do what, with their help.

type keyCommand struct {
	Create keyCreateCommand `cmd:"" help:"Make an API key, or the env-file of a forwarder or of a proxy with a token in it."`
	List   keyListCommand   `cmd:"" help:"List keys and tokens; their secrets are kept nowhere."`
	Revoke keyRevokeCommand `cmd:"" help:"End a key or a token for good."`
}

func (keyCommand) Help() string {
	return `Example:

  weir key create reports --role viewer --scope app=checkout --expires 90d
  weir key list`
}

// scoped narrows what somebody sees.
type scoped struct {
	Scope []string `placeholder:"KIND=NAME" sep:"none" help:"Only pairs of this app=NAME, namespace=NAME or cluster=NAME; may be given again. Everything without it."`
}

type keyCreateCommand struct {
	Name      string `arg:"" optional:"" help:"Name of an API key."`
	Forwarder string `placeholder:"NAME" help:"Print the env-file (forwarder.list) of a forwarder of this name."`
	Proxy     string `placeholder:"APP" help:"Print the env-file of a proxy beside this app."`
	Role      string `enum:"viewer,investigator,operator,admin" default:"viewer" placeholder:"ROLE" help:"What an API key may do: viewer, investigator, operator or admin (${default})."`
	scoped
	Expires string `placeholder:"TIME" help:"When an API key ends: RFC 3339, or how long from now, such as 90d; never without it."`
	Addr    string `placeholder:"HOST:PORT" help:"Where the forwarder reaches the analyzer, or the proxy the forwarder; without it as this machine does."`
	Cluster string `placeholder:"NAME" help:"CLUSTER_NAME of the forwarder."`
	Pod     string `placeholder:"NAME" help:"APP_POD_NAME of the proxy."`
	Output  string `short:"o" default:"text" enum:"text,json" help:"text, or json for an API key (${default})."`
}

func (keyCreateCommand) Help() string {
	return `Example:

  weir key create reports --role viewer --scope app=checkout --expires 90d
  weir key create --forwarder east > forwarder.list
  weir key create --proxy checkout --pod checkout-1 > goproxy.env

Standard output has the secret, or the env-file with it, and nothing else. It is
told this once: of a key only a hash is kept. A program shows an API key as
WEIR_TOKEN, or in a file that WEIR_TOKEN_FILE names.`
}

type keyListCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table, or json: one key a line (${default})."`
}

func (keyListCommand) Help() string {
	return `Example:

  weir key list
  weir key list -o json`
}

type keyRevokeCommand struct {
	ID []string `arg:"" help:"Ids, as weir key list shows them."`
}

func (keyRevokeCommand) Help() string {
	return `Example:

  weir key revoke KEY

It is refused from now on; connections that are open with it end within a
minute.`
}

type userCommand struct {
	Add      userAddCommand      `cmd:"" help:"Make a user."`
	List     userListCommand     `cmd:"" help:"List users."`
	Set      userSetCommand      `cmd:"" help:"Change a user's role, what they see, or whether they may sign in."`
	Password userPasswordCommand `cmd:"" help:"Set a user's password."`
	Disable  userDisableCommand  `cmd:"" help:"End a user's sessions and let them sign in no more."`
	Delete   userDeleteCommand   `cmd:"" help:"Remove a user."`
	Link     userLinkCommand     `cmd:"" help:"Print a new one-time link that makes the first user."`
}

func (userCommand) Help() string {
	return `Example:

  weir user list
  weir user add ada --role investigator --scope app=checkout`
}

// secretInput is where a password comes from.
type secretInput struct {
	PasswordStdin bool `help:"Read the password from standard input, instead of asking for it."`
}

type userAddCommand struct {
	Name string `arg:"" help:"Name to sign in with."`
	Role string `enum:"viewer,investigator,operator,admin" default:"viewer" placeholder:"ROLE" help:"viewer: metadata only. investigator: bodies too. operator: imports, deletions and tokens too. admin: everything (${default})."`
	scoped
	secretInput
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
}

func (userAddCommand) Help() string {
	return `Example:

  weir user add ada --role investigator --scope app=checkout
  weir user add grace --role admin --password-stdin < password.txt

A password has at least 12 characters.`
}

type userListCommand struct {
	Output string `short:"o" default:"table" enum:"table,json" help:"table, or json: one user a line (${default})."`
}

func (userListCommand) Help() string {
	return `Example:

  weir user list
  weir user list -o json`
}

type userSetCommand struct {
	Name string `arg:"" help:"Name of the user."`
	Role string `enum:"viewer,investigator,operator,admin," default:"" placeholder:"ROLE" help:"viewer, investigator, operator or admin."`
	scoped
	Everything bool `help:"Take away what narrows what they see."`
	Enable     bool `help:"Let them sign in again."`
}

func (userSetCommand) Help() string {
	return `Example:

  weir user set ada --role operator --everything
  weir user set ada --enable

What is not named stays. It ends their sessions.`
}

type userPasswordCommand struct {
	Name string `arg:"" help:"Name of the user."`
	secretInput
}

func (userPasswordCommand) Help() string {
	return `Example:

  weir user password ada --password-stdin < password.txt

It ends their sessions.`
}

type userDisableCommand struct {
	Name string `arg:"" help:"Name of the user."`
}

func (userDisableCommand) Help() string {
	return `Example:

  weir user disable ada

Undo it with weir user set --enable.`
}

type userDeleteCommand struct {
	Name string `arg:"" help:"Name of the user."`
}

func (userDeleteCommand) Help() string {
	return `Example:

  weir user delete ada

What they did stays in the audit log.`
}

type userLinkCommand struct{}

func (userLinkCommand) Help() string {
	return `Example:

  weir user link

It is given on the analyzer's own machine, and only while there is no user. The
one before it is good no more.`
}

type auditCommand struct {
	List   auditListCommand   `cmd:"" help:"List who did what, newest first."`
	Verify auditVerifyCommand `cmd:"" help:"Say whether the log is as it was written."`
	Export auditExportCommand `cmd:"" help:"Write the whole log as JSON lines."`
}

func (auditCommand) Help() string {
	return `Example:

  weir audit list
  weir audit verify`
}

type auditListCommand struct {
	Limit  int    `default:"50" help:"At most so many (${default})."`
	Output string `short:"o" default:"table" enum:"table,json" help:"table, or json: one event a line (${default})."`
}

func (auditListCommand) Help() string {
	return `Example:

  weir audit list
  weir audit list --limit 1000 -o json`
}

type auditVerifyCommand struct {
	Head   string `placeholder:"HASH" help:"A head that was written down before: the log has to have it still."`
	Output string `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
}

func (auditVerifyCommand) Help() string {
	return `Example:

  weir audit verify

Every event has the hash of the one before it, so that none can be changed,
removed or moved without a trace. Exit status: 0 when the log is intact, 1 when
it is not. Whoever can write all files of the analyzer could write another log:
keep a head elsewhere (--head compares it), or export the log.`
}

type auditExportCommand struct {
	File string `short:"f" placeholder:"FILE" help:"Where to write it; without it, standard output."`
}

func (auditExportCommand) Help() string {
	return `Example:

  weir audit export --file audit.jsonl

Newest first, one event a line.`
}

type deleteCommand struct {
	Day    string   `placeholder:"DAY" help:"Instead of a query: everything that was stored on this day (UTC), such as 2026-11-20, by removing its key. The store has to be encrypted, and the day over."`
	From   string   `placeholder:"TIME" help:"Not older: RFC 3339, or how long ago, such as 15m or 24h."`
	To     string   `placeholder:"TIME" help:"Older than this."`
	Yes    *uint64  `placeholder:"COUNT" help:"Delete, if at most so many pairs match; without it they are only counted."`
	Output string   `short:"o" default:"text" enum:"text,json" help:"text or json (${default})."`
	Query  []string `arg:"" optional:"" help:"Which pairs."`
}

func (deleteCommand) Help() string {
	return `Example:

  weir delete 'app:checkout path:/pay*'
  weir delete --yes 100 'app:checkout path:/pay*'
  weir delete --day 2026-11-20

The first only counts. The second deletes for good: the bytes are taken out of
the files, and what was looked for afterwards to prove it is printed. Backups,
exports and what other destinations were sent keep theirs.

With --day, which only counts without --yes too, the key of that day goes and
nothing is rewritten: no copy of the files can be read any more, unless it has
keys.json of before. It needs the role admin.`
}
