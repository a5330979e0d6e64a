package web

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

const (
	sessionPath      = "/api/v1/session"
	oidcCallbackPath = sessionPath + "/oidc/callback"
)

type (
	signInInput   struct{ Sent sent[httpv1.SignIn] }
	setupInput    struct{ Sent sent[httpv1.Setup] }
	passwordInput struct{ Sent sent[httpv1.PasswordChange] }
)

// session mounts what people sign in with.
func (s *Server) session(api huma.API) {
	huma.Register(api, operation(api, "get-session", sessionPath, "Who is signed in, and how to sign in",
		"Answers everybody.", nil, http.StatusServiceUnavailable),
		func(ctx context.Context, _ *noInput) (*output[httpv1.Session], error) {
			doc, err := s.sessionDocument(ctx)
			return &output[httpv1.Session]{doc}, err
		})
	huma.Register(api, change(api, http.MethodPost, "sign-in", sessionPath, "Sign in",
		"Sets a cookie. The answer is the same for a name that does not exist, a wrong password, and one that was tried too often.", nil, httpv1.SignIn{}, http.StatusTooManyRequests),
		func(ctx context.Context, in *signInInput) (*output[httpv1.Session], error) {
			return s.begin(ctx, in.Sent.doc.Name, in.Sent.err, func(c *control.Store) (control.Session, control.Identity, error) {
				return c.SignIn(ctx, in.Sent.doc.Name, in.Sent.doc.Password, visitOf(ctx).address())
			})
		})
	huma.Register(api, change(api, http.MethodPost, "set-up", sessionPath+"/setup", "Make the first user",
		"With the token of the link that the analyzer printed. The user is an admin, and signed in.", nil, httpv1.Setup{}, http.StatusTooManyRequests, http.StatusConflict),
		func(ctx context.Context, in *setupInput) (*output[httpv1.Session], error) {
			return s.begin(ctx, in.Sent.doc.Name, in.Sent.err, func(c *control.Store) (control.Session, control.Identity, error) {
				session, who, err := c.UseSetup(ctx, in.Sent.doc.Token, in.Sent.doc.Name, in.Sent.doc.Password)
				if errors.Is(err, control.ErrDenied) {
					err = problem(http.StatusUnauthorized, httpv1.ProblemSignIn, "The link was used, or is too old. The analyzer prints a new one when it starts, and weir user link makes one.")
				}
				return session, who, err
			})
		})
	huma.Register(api, change(api, http.MethodPost, "make-setup-link", sessionPath+"/link", "Make a sign-in link",
		"A new one-time link that makes the first user, while there is none.", nil, nil, http.StatusConflict),
		func(ctx context.Context, _ *noInput) (*output[httpv1.SetupLink], error) {
			c, err := s.control()
			if err != nil {
				return nil, err
			}
			token, expires, err := c.SetupToken(ctx)
			if errors.Is(err, control.ErrExists) {
				return nil, problem(http.StatusConflict, httpv1.ProblemExists, "There are users already. Sign in, or give one a new password: weir user password NAME.")
			}
			if err != nil {
				return nil, s.refuse(ctx, err, "link")
			}
			return &output[httpv1.SetupLink]{httpv1.SetupLink{URL: s.URL() + SetupFragment + token, ExpiresAt: expires.UTC()}}, nil
		})
	huma.Register(api, change(api, http.MethodPost, "change-password", sessionPath+"/password", "Change one's own password",
		"Ends one's other sessions.", nil, httpv1.PasswordChange{}, http.StatusTooManyRequests),
		func(ctx context.Context, in *passwordInput) (*output[httpv1.Session], error) {
			who := caller(ctx)
			if who.Kind != control.KindUser {
				return nil, problem(http.StatusForbidden, httpv1.ProblemForbidden, "Only a user who is signed in has a password.")
			}
			return s.begin(ctx, who.Name, in.Sent.err, func(c *control.Store) (control.Session, control.Identity, error) {
				return c.ChangePassword(ctx, who.Name, in.Sent.doc.Old, in.Sent.doc.New, visitOf(ctx).address())
			})
		})
	end := operation(api, "sign-out", sessionPath, "Sign out", "Ends the session on the server.", nil, http.StatusUnauthorized, http.StatusServiceUnavailable)
	end.Method, end.DefaultStatus = http.MethodDelete, http.StatusNoContent
	huma.Register(api, end, s.signOut)
}

// sessionDocument says who asks, and how to sign in.
func (s *Server) sessionDocument(ctx context.Context) (httpv1.Session, error) {
	out := httpv1.Session{Auth: s.auth(), Methods: []string{}}
	v := visitOf(ctx)
	if v.known {
		who := identityDocument(v.who)
		out.Identity = &who
	}
	if s.cfg.NoAuth || s.deps.Control == nil {
		return out, nil
	}
	users, err := s.deps.Control.HasUsers(ctx)
	if err != nil {
		return out, s.refuse(ctx, err, "user")
	}
	out.Setup = !users
	out.Methods = append(out.Methods, "password")
	if s.oidcOn() {
		out.Methods = append(out.Methods, "oidc")
	}
	if v.known && v.session.Token != "" {
		session := v.session
		if session.Expires.IsZero() {
			_, session, err = s.deps.Control.PeekSession(ctx, v.session.Token)
			if err != nil {
				return out, nil // it ended just now
			}
		}
		expires := session.Expires.UTC()
		out.Expires, out.Notice = &expires, session.First
	}
	return out, nil
}

// begin holds tries to sign in to their rate, makes a session, and answers
// with it.
func (s *Server) begin(ctx context.Context, name string, err error, make func(*control.Store) (control.Session, control.Identity, error)) (*output[httpv1.Session], error) {
	if err != nil {
		return nil, err
	}
	v := visitOf(ctx)
	note(ctx, name, "")
	c, err := s.control()
	if err != nil {
		return nil, err
	}
	if s.cfg.NoAuth {
		return nil, problem(http.StatusConflict, httpv1.ProblemBlank, "Authentication is off (AUTH=off): there is nothing to sign in to.")
	}
	if wait, ok := s.signIns.take(addressKey(v.from), 1); !ok && !v.local {
		return nil, tooMany(v.w, wait)
	}
	session, who, err := make(c)
	if err != nil {
		return nil, s.refuse(ctx, err, "user")
	}
	// What the browser held before is of no use to anybody any more.
	if v.session.Token != "" && v.session.Token != session.Token {
		if err := c.SignOut(ctx, v.session.Token); err != nil && !errors.Is(err, control.ErrDenied) && !errors.Is(err, control.ErrNotFound) {
			return nil, s.refuse(ctx, err, "session")
		}
	}
	s.signedIn(ctx, who)
	v.session = session
	s.setSession(v.w, v.r, session)
	doc, err := s.sessionDocument(ctx)
	return &output[httpv1.Session]{doc}, err
}

func (s *Server) signOut(ctx context.Context, _ *noInput) (*noInput, error) {
	v := visitOf(ctx)
	note(ctx, v.who.Name, "")
	if v.session.Token == "" {
		return nil, problem(http.StatusConflict, httpv1.ProblemBlank, "This is no session: a key is revoked, and AUTH=off has nothing to end.")
	}
	if err := s.deps.Control.SignOut(ctx, v.session.Token); err != nil && !errors.Is(err, control.ErrDenied) && !errors.Is(err, control.ErrNotFound) {
		return nil, s.refuse(ctx, err, "session")
	}
	s.endSession(v.w, v.r)
	return nil, nil
}

// auth is how the contract calls it.
func (s *Server) auth() string {
	if s.cfg.NoAuth {
		return "off"
	}
	return "on"
}

func identityDocument(who control.Identity) httpv1.Identity {
	return httpv1.Identity{Kind: who.Kind, Name: text(who.Name), Role: string(who.Role), Scope: scopeDocument(who.Scope)}
}

func scopeDocument(sc control.Scope) httpv1.Scope {
	list := func(names []string) []string { return append([]string{}, names...) }
	return httpv1.Scope{Apps: list(sc.Apps), Namespaces: list(sc.Namespaces), Clusters: list(sc.Clusters)}
}

func scopeOf(sc *httpv1.Scope) control.Scope {
	if sc == nil {
		return control.Scope{}
	}
	return control.Scope{Apps: sc.Apps, Namespaces: sc.Namespaces, Clusters: sc.Clusters}
}

// utcOrNil is a time as the API writes it.
func utcOrNil(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	at := t.UTC()
	return &at
}
