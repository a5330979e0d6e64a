package httpv1

import (
	"encoding/json"
	"time"
)

// Limits of what the control store takes.
const (
	// DefaultPage and MaxPage bound pages of the audit log.
	DefaultPage = 100
	MaxPage     = 1000
	// MaxDoorBody is how many bytes the document of a request may have.
	MaxDoorBody = 128 << 10
)

// Scope narrows what somebody sees: pairs have to be of one of the apps, and
// of one of the namespaces, and of one of the clusters. An empty list is no
// bound.
type Scope struct {
	Apps       []string `json:"apps"`
	Namespaces []string `json:"namespaces"`
	Clusters   []string `json:"clusters"`
}

// Identity is who asks.
type Identity struct {
	Kind  string `json:"kind" enum:"user,key,local" doc:"local: somebody on the analyzer's own machine, by its control socket or with AUTH=off."`
	Name  string `json:"name"`
	Role  string `json:"role" enum:"viewer,investigator,operator,admin" doc:"viewer: metadata only. investigator: bodies too. operator: imports, deletions, tokens of forwarders and proxies too. admin: everything."`
	Scope Scope  `json:"scope"`
}

// Session says who is signed in, and how to sign in.
type Session struct {
	Auth     string     `json:"auth" enum:"on,off"`
	Setup    bool       `json:"setup" doc:"There is no user yet: the link that the analyzer printed makes the first."`
	Methods  []string   `json:"methods" enum:"password,oidc" doc:"How people can sign in."`
	Identity *Identity  `json:"identity" doc:"null: nobody is signed in."`
	Notice   bool       `json:"notice" doc:"This is the first session of a user, who is to be told what is recorded here."`
	Expires  *time.Time `json:"expires" doc:"When the session ends at the latest; null without one."`
}

// SignIn is how a user signs in.
type SignIn struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// Setup makes the first user, who is an admin.
type Setup struct {
	Token    string `json:"token" doc:"Of the link that the analyzer printed."`
	Name     string `json:"name"`
	Password string `json:"password" doc:"At least 12 characters."`
}

// PasswordChange changes one's own password. It ends one's other sessions.
type PasswordChange struct {
	Old string `json:"old"`
	New string `json:"new" doc:"At least 12 characters."`
}

// Users lists everybody who may sign in.
type Users struct {
	Users []User `json:"users" doc:"By name."`
}

// User is somebody who may sign in.
type User struct {
	Name         string     `json:"name"`
	Role         string     `json:"role" enum:"viewer,investigator,operator,admin"`
	Scope        Scope      `json:"scope"`
	Disabled     bool       `json:"disabled"`
	External     bool       `json:"external" doc:"Signs in with the identity provider and has no password here."`
	CreatedAt    time.Time  `json:"created_at"`
	LastSignInAt *time.Time `json:"last_sign_in_at" doc:"null: never."`
}

// NewUser is a user to be made.
type NewUser struct {
	Name     string `json:"name"`
	Password string `json:"password" doc:"At least 12 characters."`
	Role     string `json:"role" enum:"viewer,investigator,operator,admin"`
	Scope    *Scope `json:"scope,omitempty" doc:"Without it: everything."`
}

// UserChange says what is to change of a user; what is not given stays. Each
// change ends the user's sessions.
type UserChange struct {
	Role     *string `json:"role,omitempty" enum:"viewer,investigator,operator,admin"`
	Scope    *Scope  `json:"scope,omitempty"`
	Disabled *bool   `json:"disabled,omitempty"`
	Password *string `json:"password,omitempty" doc:"At least 12 characters."`
}

// Keys lists the keys that the caller may manage.
type Keys struct {
	Keys []Key `json:"keys" doc:"Newest first."`
}

// Key is an API key, or the token of a forwarder or of a proxy. Its secret is
// kept nowhere.
type Key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Kind       string     `json:"kind" enum:"api,forwarder,proxy"`
	Role       string     `json:"role" enum:"viewer,investigator,operator,admin," doc:"Of an API key; empty for the others."`
	Scope      Scope      `json:"scope"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at" doc:"null: never."`
	LastUsedAt *time.Time `json:"last_used_at" doc:"Within a minute; null: never."`
	RevokedAt  *time.Time `json:"revoked_at" doc:"null: it is good."`
}

// NewKey is a key to be made.
type NewKey struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind" enum:"api,forwarder,proxy"`
	Role      string     `json:"role,omitempty" enum:"viewer,investigator,operator,admin" doc:"Of an API key; at most one's own."`
	Scope     *Scope     `json:"scope,omitempty" doc:"Of an API key; without it: everything."`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// MadeKey is a key with its secret, which is told this once.
type MadeKey struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}

// ForwarderList asks for the env-file of a forwarder.
type ForwarderList struct {
	Name         string `json:"name" doc:"Of the forwarder's token."`
	AnalyzerAddr string `json:"analyzer_addr,omitempty" doc:"host:port at which the forwarder reaches the analyzer's INGEST_ADDR; without it the one that the analyzer listens on."`
	Cluster      string `json:"cluster,omitempty" doc:"CLUSTER_NAME; without it the forwarder's name."`
}

// ProxyList asks for the variables of a proxy.
type ProxyList struct {
	App           string `json:"app" doc:"APP_LABEL"`
	Pod           string `json:"pod,omitempty" doc:"APP_POD_NAME; without it the app's name and a 1."`
	Namespace     string `json:"namespace,omitempty"`
	ForwarderAddr string `json:"forwarder_addr,omitempty" doc:"host:port at which the proxy reaches the forwarder."`
	Port          int    `json:"port,omitempty" doc:"PROXY_IN_PORT; 4143 without it."`
	UpstreamHost  string `json:"upstream_host,omitempty" doc:"REVERSE_PROXY_HOST"`
	UpstreamPort  int    `json:"upstream_port,omitempty" doc:"REVERSE_PROXY_PORT"`
	Token         bool   `json:"token,omitempty" doc:"With a fresh token of the proxy, and the line of it for the forwarder's PROXY_TOKENS_FILE."`
}

// Audit is a page of the audit log, newest first.
type Audit struct {
	Events     []AuditEvent `json:"events"`
	NextCursor *string      `json:"next_cursor" doc:"Give it as cursor to go on; null on the last page."`
}

// AuditEvent is one thing that somebody did, or tried to do.
type AuditEvent struct {
	Seq    uint64    `json:"seq" doc:"Its place in the log, from 1."`
	Time   time.Time `json:"time"`
	Kind   string    `json:"kind" doc:"Who: user, key, forwarder, proxy, local; empty for nobody that is known."`
	Name   string    `json:"name"`
	Action string    `json:"action" example:"pair.read"`
	Target string    `json:"target" doc:"What it was done to."`
	Detail string    `json:"detail"`
	From   string    `json:"from" doc:"The address that it came from."`
	Result string    `json:"result" enum:"ok,denied,failed"`
	Hash   string    `json:"hash" doc:"Of this event and of the hash before it, in hexadecimal."`
}

// AuditCheck says whether the audit log is as it was written.
type AuditCheck struct {
	Intact  bool   `json:"intact"`
	Events  uint64 `json:"events" doc:"How many were read."`
	Problem string `json:"problem" doc:"What is wrong; empty when it is intact."`
	At      uint64 `json:"at" doc:"seq of the first event that is wrong; 0 when it is intact."`
	// Anchored is of the file that stands beside the store.
	Anchored bool   `json:"anchored" doc:"The newest event was held against what is kept of it outside the store."`
	Head     string `json:"head" doc:"Hash of the newest event, in hexadecimal. Kept elsewhere, it shows later that nothing before it was changed."`
}

// NewDeletion asks for stored pairs to be deleted for good.
type NewDeletion struct {
	Q       string `json:"q" doc:"Which pairs. Not empty."`
	From    string `json:"from,omitempty" doc:"Oldest time, included: RFC 3339, or how long ago."`
	To      string `json:"to,omitempty" doc:"Newest time, excluded."`
	DryRun  bool   `json:"dry_run,omitempty" doc:"Only count."`
	Confirm uint64 `json:"confirm,omitempty" doc:"How many pairs are to be deleted at most, as a dry run counted them; needed without dry_run."`
}

// NewShredding asks for everything to be made unreadable that was stored on a
// day.
type NewShredding struct {
	Day     string `json:"day" doc:"A day of UTC that is over, such as 2026-11-23."`
	DryRun  bool   `json:"dry_run,omitempty" doc:"Only count."`
	Confirm uint64 `json:"confirm,omitempty" doc:"How many pairs are to go at most, as a dry run counted them; needed without dry_run."`
}

// Deletion is what became of one.
type Deletion struct {
	ID                string    `json:"id" doc:"Empty for a dry run."`
	Time              time.Time `json:"time"`
	By                string    `json:"by" doc:"Who asked for it."`
	Query             string    `json:"query" doc:"In its canonical form."`
	DryRun            bool      `json:"dry_run"`
	Matched           uint64    `json:"matched" doc:"Pairs that match."`
	Deleted           uint64    `json:"deleted" doc:"Pairs that are gone from the files."`
	Bytes             uint64    `json:"bytes" doc:"How much smaller the files are."`
	SegmentsRewritten uint64    `json:"segments_rewritten"`
	Proof             string    `json:"proof" doc:"What was looked for in the files afterwards, and not found; empty for a dry run."`
}

// Deletions lists those that were made, newest first.
type Deletions struct {
	Deletions []Deletion `json:"deletions"`
}

// Views lists the views that the caller has saved.
type Views struct {
	Views []View `json:"views" doc:"By name."`
}

// View is what somebody saved of the viewer, to come back to it.
type View struct {
	Name      string          `json:"name"`
	UpdatedAt time.Time       `json:"updated_at"`
	Document  json.RawMessage `json:"document" doc:"What the viewer keeps, any JSON."`
}

// SavedView is a view to be saved; one of the same name is replaced.
type SavedView struct {
	Name     string          `json:"name"`
	Document json.RawMessage `json:"document" doc:"Any JSON, at most 64 KiB."`
}

// SetupLink makes the first user. It holds once.
type SetupLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}
