package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/daemon"
)

func (s scoped) scope() (*httpv1.Scope, error) {
	if len(s.Scope) == 0 {
		return nil, nil
	}
	var out httpv1.Scope
	for _, one := range s.Scope {
		kind, name, _ := strings.Cut(one, "=")
		list := map[string]*[]string{"app": &out.Apps, "namespace": &out.Namespaces, "cluster": &out.Clusters}[kind]
		if list == nil || name == "" {
			return nil, &UsageError{fmt.Errorf("--scope %q is not valid; want app=NAME, namespace=NAME or cluster=NAME", one)}
		}
		*list = append(*list, name)
	}
	return &out, nil
}

// scopeText says a scope as it is given.
func scopeText(s httpv1.Scope) string {
	var out []string
	for _, l := range []struct {
		kind  string
		names []string
	}{{"app", s.Apps}, {"namespace", s.Namespaces}, {"cluster", s.Clusters}} {
		for _, n := range l.names {
			out = append(out, l.kind+"="+n)
		}
	}
	if len(out) == 0 {
		return "everything"
	}
	return strings.Join(out, " ")
}

// when is a time that may be missing.
func when(t *time.Time, never string) string {
	if t == nil {
		return never
	}
	return moment(*t)
}

// table prints rows under a line of names.
func table(w io.Writer, rows ...[]string) error {
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		for i, cell := range r {
			r[i] = clean(cell, false)
		}
		fmt.Fprintln(t, strings.Join(r, "\t"))
	}
	t.Flush() // b is a buffer
	var out []byte
	for line := range bytes.Lines(b.Bytes()) {
		out = append(append(out, bytes.TrimRight(line, " \n")...), '\n')
	}
	return write(w, out)
}

func keys(ctx context.Context, std IO, api *client.Client, command string, c keyCommand) error {
	switch {
	case strings.HasPrefix(command, "key create"):
		return createKey(ctx, std, api, c.Create)
	case strings.HasPrefix(command, "key revoke"):
		for _, id := range c.Revoke.ID {
			if err := api.RevokeKey(ctx, id); err != nil {
				return err
			}
			if err := write(std.Out, []byte("Revoked: "+clean(id, false)+"\n")); err != nil {
				return err
			}
		}
		return nil
	}
	list, err := api.Keys(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"id", "name", "kind", "role", "sees", "created", "ends", "last used", ""}}
	for _, k := range list {
		if c.List.Output == "json" {
			if err := writeJSON(std.Out, k); err != nil {
				return err
			}
			continue
		}
		state := ""
		switch {
		case k.RevokedAt != nil:
			state = "revoked " + moment(*k.RevokedAt)
		case k.ExpiresAt != nil && k.ExpiresAt.Before(time.Now()):
			state = "ended"
		}
		sees := "–"
		if k.Kind == "api" {
			sees = scopeText(k.Scope)
		}
		rows = append(rows, []string{k.ID, k.Name, k.Kind, orDash(k.Role), sees, moment(k.CreatedAt), when(k.ExpiresAt, "never"), when(k.LastUsedAt, "never"), state})
	}
	if c.List.Output == "json" {
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(std.Err, "There is no key.")
		return nil
	}
	return table(std.Out, rows...)
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// createKey prints the secret, or the env-file with it, on standard output and
// everything else on standard error.
func createKey(ctx context.Context, std IO, api *client.Client, c keyCreateCommand) error {
	named := 0
	for _, n := range []string{c.Name, c.Forwarder, c.Proxy} {
		if n != "" {
			named++
		}
	}
	if named != 1 {
		return &UsageError{fmt.Errorf("name one of: an API key (weir key create NAME), --forwarder NAME, --proxy APP")}
	}
	if c.Name == "" && (len(c.Scope) > 0 || c.Expires != "" || c.Role != "viewer" || c.Output != "text") {
		return &UsageError{fmt.Errorf("--role, --scope, --expires and --output are of API keys; the token of a forwarder or a proxy only writes")}
	}
	if c.Name != "" && c.Addr+c.Cluster+c.Pod != "" {
		return &UsageError{fmt.Errorf("--addr, --cluster and --pod go with --forwarder or --proxy")}
	}
	if c.Forwarder != "" {
		b, err := api.ForwarderEnv(ctx, client.ForwarderList{Name: c.Forwarder, AnalyzerAddr: c.Addr, Cluster: c.Cluster})
		if err != nil {
			return err
		}
		fmt.Fprintln(std.Err, "The env-file of a forwarder, with its token and the key of the redaction's tokens. It is told this once.")
		return write(std.Out, b)
	}
	if c.Proxy != "" {
		b, err := api.ProxyEnv(ctx, client.ProxyList{App: c.Proxy, Pod: c.Pod, ForwarderAddr: c.Addr, Token: true})
		if err != nil {
			return err
		}
		fmt.Fprintln(std.Err, "The env-file of a proxy, with its token. It is told this once. The forwarder's PROXY_TOKENS_FILE needs the line that the file shows.")
		return write(std.Out, b)
	}
	scope, err := c.scope()
	if err != nil {
		return err
	}
	k := client.NewKey{Name: c.Name, Kind: "api", Role: c.Role, Scope: scope}
	if c.Expires != "" {
		end, err := until(c.Expires, time.Now())
		if err != nil {
			return err
		}
		k.ExpiresAt = &end
	}
	made, err := api.CreateKey(ctx, k)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeJSON(std.Out, made)
	}
	fmt.Fprintf(std.Err, "Key %s of the role %s, which sees %s and ends %s. Its secret is told this once:\n",
		clean(made.Key.ID, false), made.Key.Role, clean(scopeText(made.Key.Scope), false), when(made.Key.ExpiresAt, "never"))
	return write(std.Out, []byte(clean(made.Secret, false)+"\n"))
}

// until is a time to come.
func until(s string, now time.Time) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		var d time.Duration
		if d, err = daemon.ParseDuration(s); err == nil {
			at = now.Add(d)
		}
	}
	if err != nil || !at.After(now) {
		return time.Time{}, &UsageError{fmt.Errorf("--expires %q is not valid; want a time to come: RFC 3339, or how long from now, such as 12h or 90d", s)}
	}
	return at.UTC(), nil
}

func users(ctx context.Context, std IO, api *client.Client, command string, c userCommand) error {
	said := func(u *client.User, err error, text string) error {
		if err != nil {
			return err
		}
		return write(std.Out, []byte(clean(u.Name, false)+" "+text+"\n"))
	}
	switch strings.Fields(command)[1] {
	case "add":
		scope, err := c.Add.scope()
		if err != nil {
			return err
		}
		secret, err := password(ctx, std, c.Add.secretInput, c.Add.Name)
		if err != nil {
			return err
		}
		u, err := api.CreateUser(ctx, client.NewUser{Name: c.Add.Name, Password: secret, Role: c.Add.Role, Scope: scope})
		if err == nil && c.Add.Output == "json" {
			return writeJSON(std.Out, u)
		}
		return said(u, err, "may sign in as "+c.Add.Role+".")
	case "set":
		change, err := c.Set.change()
		if err != nil {
			return err
		}
		u, err := api.ChangeUser(ctx, c.Set.Name, change)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("is %s and sees %s.", u.Role, scopeText(u.Scope))
		if u.Disabled {
			text = fmt.Sprintf("is %s, sees %s, and may not sign in.", u.Role, scopeText(u.Scope))
		}
		return said(u, nil, clean(text, false))
	case "password":
		secret, err := password(ctx, std, c.Password.secretInput, c.Password.Name)
		if err != nil {
			return err
		}
		u, err := api.ChangeUser(ctx, c.Password.Name, client.UserChange{Password: &secret})
		return said(u, err, "has a new password.")
	case "disable":
		yes := true
		u, err := api.ChangeUser(ctx, c.Disable.Name, client.UserChange{Disabled: &yes})
		return said(u, err, "may not sign in any more.")
	case "delete":
		return said(&client.User{Name: c.Delete.Name}, api.DeleteUser(ctx, c.Delete.Name), "is removed.")
	case "link":
		link, err := api.SetupLink(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.Err, "It makes the first user, once, until %s:\n", moment(link.ExpiresAt))
		return write(std.Out, []byte(clean(link.URL, false)+"\n"))
	}
	list, err := api.Users(ctx)
	if err != nil {
		return err
	}
	rows := [][]string{{"name", "role", "sees", "created", "last sign-in", ""}}
	for _, u := range list {
		if c.List.Output == "json" {
			if err := writeJSON(std.Out, u); err != nil {
				return err
			}
			continue
		}
		var state []string
		if u.Disabled {
			state = append(state, "disabled")
		}
		if u.External {
			state = append(state, "by the identity provider")
		}
		rows = append(rows, []string{u.Name, u.Role, scopeText(u.Scope), moment(u.CreatedAt), when(u.LastSignInAt, "never"), strings.Join(state, ", ")})
	}
	if c.List.Output == "json" {
		return nil
	}
	if len(list) == 0 {
		fmt.Fprintln(std.Err, "There is no user; weir user link prints a link that makes the first.")
		return nil
	}
	return table(std.Out, rows...)
}

func (c userSetCommand) change() (client.UserChange, error) {
	var out client.UserChange
	var err error
	if c.Role != "" {
		out.Role = &c.Role
	}
	if out.Scope, err = c.scope(); err != nil {
		return out, err
	}
	if c.Everything {
		if out.Scope != nil {
			return out, &UsageError{fmt.Errorf("--everything and --scope do not go together")}
		}
		out.Scope = &httpv1.Scope{}
	}
	if c.Enable {
		no := false
		out.Disabled = &no
	}
	if out == (client.UserChange{}) {
		return out, &UsageError{fmt.Errorf("say what to change: --role, --scope, --everything or --enable")}
	}
	return out, nil
}
