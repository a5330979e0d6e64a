package oidc

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/daemon"
)

// Config is what a user sets.
type Config struct {
	// Issuer is the provider's address, as it names itself; empty: none.
	Issuer                 string
	ClientID, ClientSecret string
	// Roles says which groups have a role.
	Roles Roles
	// GroupsClaim is the claim that lists them.
	GroupsClaim string
	// Scopes are asked for besides openid, profile and email.
	Scopes []string
	// Now is the clock: time.Now.
	Now func() time.Time
}

// LoadConfig reads the OIDC variables. Mistakes are collected in env. Without
// an issuer there is no provider, and the others may not be set either.
func LoadConfig(env *daemon.Env) Config {
	c := Config{
		Issuer:       env.String("OIDC_ISSUER", ""),
		ClientID:     env.String("OIDC_CLIENT_ID", ""),
		ClientSecret: env.Secret("OIDC_CLIENT_SECRET"),
		GroupsClaim:  env.String("OIDC_GROUPS_CLAIM", "groups"),
		Scopes:       strings.Fields(env.String("OIDC_SCOPES", "")),
	}
	roles := env.String("OIDC_ROLES", "")
	if c.Issuer == "" {
		for name, v := range map[string]string{"OIDC_CLIENT_ID": c.ClientID, "OIDC_ROLES": roles} {
			if v != "" {
				env.Fail(name, "it has no effect without OIDC_ISSUER", "OIDC_ISSUER beside it, or neither")
			}
		}
		return Config{}
	}
	if err := checkURL(c.Issuer); err != nil || strings.ContainsAny(c.Issuer, "?#") {
		env.Fail("OIDC_ISSUER", "the provider has to be reached by TLS, but on this machine", "an address such as https://idp.example/realms/main")
	}
	if c.ClientID == "" {
		env.Required("OIDC_CLIENT_ID", "the id under which the provider knows this analyzer")
	}
	if roles == "" {
		env.Required("OIDC_ROLES", "who has which role, such as admins=admin,devs=investigator; without it nobody could sign in")
		return c
	}
	var err error
	if c.Roles, err = ParseRoles(roles); err != nil {
		env.Fail("OIDC_ROLES", err.Error(), "GROUP=ROLE[@app=NAME…],…, such as admins=admin,devs=investigator@app=checkout")
	}
	return c
}

// scopes are what is asked for: groups too, from a provider that has them.
func (c Config) scopes(supported []string) []string {
	out := []string{"openid", "profile", "email"}
	if slices.Contains(supported, "groups") {
		out = append(out, "groups")
	}
	for _, s := range c.Scopes {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Grant is what the members of a group may do.
type Grant struct {
	Group string
	Role  control.Role
	Scope control.Scope
}

// Roles are grants; the first that fits decides.
type Roles []Grant

// maxRoles bounds what is configured.
const maxRoles = 1000

// For is the first grant to one of the groups.
func (r Roles) For(groups []string) (Grant, bool) {
	for _, g := range r {
		if slices.Contains(groups, g.Group) {
			return g, true
		}
	}
	return Grant{}, false
}

// ParseRoles reads grants: GROUP=ROLE, with @app=NAME, @namespace=NAME and
// @cluster=NAME behind it for what members see, separated by commas. A name
// with one of ,=@" in it stands in double quotes, in which a double quote is
// written twice.
func ParseRoles(s string) (Roles, error) {
	var out Roles
	rest := s
	for rest != "" {
		var g Grant
		var err error
		if g.Group, rest, err = word(rest); err != nil {
			return nil, err
		}
		if !strings.HasPrefix(rest, "=") {
			return nil, fmt.Errorf("group %q has no role", g.Group)
		}
		var role string
		if role, rest, err = word(rest[1:]); err != nil {
			return nil, err
		}
		if g.Role = control.Role(role); !g.Role.Valid() {
			return nil, fmt.Errorf("group %q: there is no role %q; there are viewer, investigator, operator and admin", g.Group, role)
		}
		for strings.HasPrefix(rest, "@") {
			var kind, name string
			if kind, rest, err = word(rest[1:]); err != nil {
				return nil, err
			}
			if !strings.HasPrefix(rest, "=") {
				return nil, fmt.Errorf("group %q: @%s has no value", g.Group, kind)
			}
			if name, rest, err = word(rest[1:]); err != nil {
				return nil, err
			}
			switch kind {
			case "app":
				g.Scope.Apps = append(g.Scope.Apps, name)
			case "namespace":
				g.Scope.Namespaces = append(g.Scope.Namespaces, name)
			case "cluster":
				g.Scope.Clusters = append(g.Scope.Clusters, name)
			default:
				return nil, fmt.Errorf("group %q: there is no @%s; there are @app, @namespace and @cluster", g.Group, kind)
			}
		}
		if slices.ContainsFunc(out, func(o Grant) bool { return o.Group == g.Group }) {
			return nil, fmt.Errorf("group %q is there twice", g.Group)
		}
		if out = append(out, g); len(out) > maxRoles {
			return nil, fmt.Errorf("more than %d groups", maxRoles)
		}
		if rest == "" {
			break
		}
		if !strings.HasPrefix(rest, ",") || rest == "," {
			return nil, fmt.Errorf("group %q: cannot read %q behind it", g.Group, rest)
		}
		rest = rest[1:]
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no group")
	}
	return out, nil
}

// word reads one name, and says what is behind it.
func word(s string) (string, string, error) {
	s = strings.TrimLeft(s, " \t\r\n")
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, `,=@"`)
		if end < 0 {
			end = len(s)
		}
		w := strings.TrimSpace(s[:end])
		if w == "" || !utf8.ValidString(w) {
			return "", "", fmt.Errorf("a name is missing before %q", s[end:])
		}
		return w, s[end:], nil
	}
	var b strings.Builder
	for s = s[1:]; ; {
		i := strings.IndexByte(s, '"')
		if i < 0 {
			return "", "", fmt.Errorf("a double quote is not closed")
		}
		b.WriteString(s[:i])
		if s = s[i+1:]; !strings.HasPrefix(s, `"`) {
			break
		}
		b.WriteByte('"')
		s = s[1:]
	}
	if b.Len() == 0 || !utf8.ValidString(b.String()) {
		return "", "", fmt.Errorf("a name is empty or not UTF-8")
	}
	return b.String(), strings.TrimLeft(s, " \t\r\n"), nil
}
