package control

import (
	"slices"
	"strings"
)

// Role is what a user or an API key may do. Each includes the ones before it.
type Role string

const (
	// RoleViewer sees metadata: no bodies, no values of headers or queries.
	RoleViewer Role = "viewer"
	// RoleInvestigator reads bodies, searches in them and exports.
	RoleInvestigator Role = "investigator"
	// RoleOperator changes rules, makes keys of forwarders and proxies, imports
	// and deletes.
	RoleOperator Role = "operator"
	// RoleAdmin manages users, all keys, the audit log and backups.
	RoleAdmin Role = "admin"
)

// Roles are all roles, the least first.
func Roles() []Role { return []Role{RoleViewer, RoleInvestigator, RoleOperator, RoleAdmin} }

// Valid: it is one of Roles.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// AtLeast: r may do all that o may. A role that does not exist, as the empty
// one of forwarders and proxies, may do nothing, and nothing suffices for it.
func (r Role) AtLeast(o Role) bool {
	have, need := slices.Index(Roles(), r), slices.Index(Roles(), o)
	return need >= 0 && have >= need
}

// Scope is the rows that somebody may see: pairs of these apps, in these
// namespaces, of these clusters. An empty list is all of them.
type Scope struct {
	Apps       []string `json:"apps,omitempty"`
	Namespaces []string `json:"namespaces,omitempty"`
	Clusters   []string `json:"clusters,omitempty"`
}

// All: nothing is left out.
func (s Scope) All() bool {
	return len(s.Apps) == 0 && len(s.Namespaces) == 0 && len(s.Clusters) == 0
}

// Bounds of a scope.
const (
	maxScope     = 200 // names in a list
	maxScopeName = 253 // bytes of a name
)

// clean is the scope with each name once, in order, or what is wrong with it.
func (s Scope) clean() (Scope, error) {
	for _, list := range []struct {
		field string
		names *[]string
	}{{"scope.apps", &s.Apps}, {"scope.namespaces", &s.Namespaces}, {"scope.clusters", &s.Clusters}} {
		names := slices.Clone(*list.names)
		slices.Sort(names)
		names = slices.Compact(names)
		if len(names) > maxScope {
			return s, ErrInvalid{list.field, "has too many names", "at most 200"}
		}
		for _, n := range names {
			// An empty name would be a row without an app, not no limit: it
			// is surely not what was meant.
			if n == "" || len(n) > maxScopeName || !printable(n) {
				return s, ErrInvalid{list.field, "has a name that is empty, too long or not printable", "1 to 253 bytes of text"}
			}
		}
		*list.names = names
	}
	return s, nil
}

// equal tells whether two clean scopes are the same.
func (s Scope) equal(o Scope) bool {
	return slices.Equal(s.Apps, o.Apps) && slices.Equal(s.Namespaces, o.Namespaces) && slices.Equal(s.Clusters, o.Clusters)
}

// Kinds of an Identity.
const (
	KindUser      = "user"
	KindKey       = "key"
	KindForwarder = "forwarder"
	KindProxy     = "proxy"
	// KindLocal is who asks over the control socket, or with authentication
	// off: somebody who could read the files anyway.
	KindLocal = "local"
)

// Identity is who asks.
type Identity struct {
	Kind string // KindUser, KindKey, KindForwarder, KindProxy, KindLocal
	ID   string // of the user or key; stays the same when a user is renamed
	Name string // for people
	// Role is empty for forwarders and proxies, which may ask the API nothing.
	Role  Role
	Scope Scope
}

// Local is the identity of who needs none.
func Local() Identity {
	return Identity{Kind: KindLocal, ID: KindLocal, Name: KindLocal, Role: RoleAdmin}
}

// printable: valid UTF-8 without control characters, which the databases or a
// terminal would take for something else.
func printable(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, unprintable)
}
