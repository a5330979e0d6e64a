package web

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

const keysPath = "/api/v1/keys"

type (
	newKeyInput struct{ Sent sent[httpv1.NewKey] }
	keyInput    struct {
		ID string `path:"id"`
	}
)

// keys mounts API keys, and tokens of forwarders and proxies.
func (s *Server) keys(api huma.API) {
	huma.Register(api, operation(api, "list-keys", keysPath, "Keys and tokens",
		"An operator sees the tokens of forwarders and proxies, an admin every key.", nil,
		http.StatusUnauthorized, http.StatusNotImplemented, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Keys], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			all, err := c.ListKeys(ctx)
			if err != nil {
				return nil, s.refuse(ctx, err, "key")
			}
			out := httpv1.Keys{Keys: []httpv1.Key{}}
			for _, k := range all {
				if manages(caller(ctx), k.Kind) {
					out.Keys = append(out.Keys, keyDocument(k))
				}
			}
			return &output[httpv1.Keys]{out}, nil
		})
	op := change(api, http.MethodPost, "create-key", keysPath, "Make a key or a token",
		"Its secret is told in the answer and kept nowhere. An operator makes tokens of forwarders and proxies, an admin every key.", nil, httpv1.NewKey{}, http.StatusConflict)
	op.DefaultStatus = http.StatusCreated
	huma.Register(api, op, s.createKey)
	del := change(api, http.MethodDelete, "revoke-key", keysPath+"/{id}", "Revoke a key", "Whoever uses it is refused within a minute.",
		[]*huma.Param{param("path", "id", "The key's id.", huma.TypeString)}, nil, http.StatusNotFound)
	del.DefaultStatus = http.StatusNoContent
	huma.Register(api, del, s.revokeKey)

	text := map[string]*huma.MediaType{"text/plain; charset=utf-8": {Schema: &huma.Schema{Type: huma.TypeString}}}
	huma.Register(api, ok(change(api, http.MethodPost, "make-forwarder-list", "/api/v1/forwarder-list", "Make the env-file of a forwarder",
		"With a fresh token, the key of redaction's tokens, and the standard rules of redaction on.", nil, httpv1.ForwarderList{}, http.StatusConflict),
		"The file.", text, nil), s.forwarderList)
	huma.Register(api, ok(change(api, http.MethodPost, "make-proxy-list", "/api/v1/proxy-list", "Make the variables of a proxy",
		"As an env-file.", nil, httpv1.ProxyList{}, http.StatusConflict),
		"The file.", text, nil), s.proxyList)
	huma.Register(api, change(api, http.MethodPost, "rotate-dlp-key", "/api/v1/dlp-key", "Make a new key for redaction's tokens",
		"The one before it holds beside it, so that forwarders may change over one by one: write their forwarder.list anew.", nil, nil),
		func(ctx context.Context, _ *noInput) (*noInput, error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			if err := c.RotateDLPKey(ctx); err != nil {
				return nil, s.refuse(ctx, err, "key")
			}
			return nil, nil
		})
}

// manages reports whether somebody may make, see and revoke keys of a kind.
func manages(who control.Identity, kind control.KeyKind) bool {
	return who.Role.AtLeast(control.RoleAdmin) || kind != control.KeyAPI && who.Role.AtLeast(control.RoleOperator)
}

func notManaged() error {
	p := problem(http.StatusForbidden, httpv1.ProblemForbidden, "API keys are made and revoked by an admin.")
	p.Role = string(control.RoleAdmin)
	return p
}

func (s *Server) createKey(ctx context.Context, in *newKeyInput) (*output[httpv1.MadeKey], error) {
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if in.Sent.err != nil {
		return nil, in.Sent.err
	}
	doc := in.Sent.doc
	if doc.Kind == "" {
		return nil, badParam("kind is not given; want api, forwarder or proxy.")
	}
	if !manages(caller(ctx), control.KeyKind(doc.Kind)) {
		note(ctx, doc.Name, doc.Kind)
		return nil, notManaged()
	}
	k := control.NewKey{Name: doc.Name, Kind: control.KeyKind(doc.Kind), Role: control.Role(doc.Role), Scope: scopeOf(doc.Scope)}
	if doc.ExpiresAt != nil {
		k.Expires = *doc.ExpiresAt
	}
	made, secret, err := s.makeKey(ctx, c, k)
	if err != nil {
		return nil, err
	}
	return &output[httpv1.MadeKey]{httpv1.MadeKey{Key: keyDocument(made), Secret: secret}}, nil
}

func (s *Server) makeKey(ctx context.Context, c *control.Store, k control.NewKey) (control.Key, string, error) {
	k.CreatedBy = caller(ctx).Name
	what := string(k.Kind)
	if k.Role != "" {
		what += " role " + string(k.Role)
	}
	note(ctx, k.Name, what)
	made, secret, err := c.CreateKey(ctx, k)
	if err != nil {
		return made, "", s.refuse(ctx, err, "key")
	}
	note(ctx, made.ID+" "+made.Name, what)
	return made, secret, nil
}

func (s *Server) revokeKey(ctx context.Context, in *keyInput) (*noInput, error) {
	note(ctx, in.ID, "")
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	all, err := c.ListKeys(ctx)
	if err != nil {
		return nil, s.refuse(ctx, err, "key")
	}
	i := slices.IndexFunc(all, func(k control.Key) bool { return k.ID == in.ID })
	if i < 0 {
		return nil, s.refuse(ctx, control.ErrNotFound, "key")
	}
	note(ctx, in.ID+" "+all[i].Name, string(all[i].Kind))
	if !manages(caller(ctx), all[i].Kind) {
		return nil, notManaged()
	}
	if _, err := c.RevokeKey(ctx, in.ID); err != nil {
		return nil, s.refuse(ctx, err, "key")
	}
	return nil, nil
}

func keyDocument(k control.Key) httpv1.Key {
	return httpv1.Key{
		ID: k.ID, Name: text(k.Name), Kind: string(k.Kind), Role: string(k.Role), Scope: scopeDocument(k.Scope),
		CreatedAt: k.CreatedAt.UTC(), ExpiresAt: utcOrNil(k.ExpiresAt), LastUsedAt: utcOrNil(k.LastUsedAt), RevokedAt: utcOrNil(k.RevokedAt),
	}
}

// scopeNote is a scope in the audit log.
func scopeNote(sc *httpv1.Scope) string {
	if sc == nil {
		return ""
	}
	return fmt.Sprintf(" scope apps=%s namespaces=%s clusters=%s",
		strings.Join(sc.Apps, ","), strings.Join(sc.Namespaces, ","), strings.Join(sc.Clusters, ","))
}
