package web

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/oidc"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// IdentityProvider signs people in elsewhere; *oidc.Provider is one.
type IdentityProvider interface {
	Begin(ctx context.Context, redirect, returnTo string) (*oidc.Flow, error)
	Finish(ctx context.Context, redirect string, params url.Values, cookie string) (*oidc.Person, string, error)
}

// oidcOn: people may sign in with an identity provider.
func (s *Server) oidcOn() bool { return s.deps.OIDC != nil && !s.cfg.NoAuth && s.deps.Control != nil }

// flowCookie holds a sign-in that was begun. The provider sends people back
// from another site, so it cannot be strict.
func (s *Server) flowCookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	secure := s.secure(r)
	c := &http.Cookie{Name: "weir-oidc", Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if secure {
		c.Name = "__Host-" + c.Name
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

func (s *Server) oidcBegin(w http.ResponseWriter, r *http.Request) {
	if !s.oidcReady(w, r) {
		return
	}
	flow, err := s.deps.OIDC.Begin(r.Context(), s.baseURL(r)+oidcCallbackPath, r.URL.Query().Get("to"))
	if err != nil {
		s.oidcFailed(w, r, err)
		return
	}
	http.SetCookie(w, s.flowCookie(r, flow.Cookie, oidc.FlowTimeout))
	http.Redirect(w, r, flow.Redirect, http.StatusSeeOther)
}

func (s *Server) oidcCallback(w http.ResponseWriter, r *http.Request) {
	if !s.oidcReady(w, r) {
		return
	}
	held := ""
	if c, err := r.Cookie(s.flowCookie(r, "x", 0).Name); err == nil {
		held = c.Value
	}
	http.SetCookie(w, s.flowCookie(r, "", 0)) // whatever comes of it, it is over
	person, to, err := s.deps.OIDC.Finish(r.Context(), s.baseURL(r)+oidcCallbackPath, r.URL.Query(), held)
	if person != nil {
		note(r.Context(), person.Name, "subject "+person.Subject)
	}
	if err != nil {
		s.oidcFailed(w, r, err)
		return
	}
	session, who, err := s.deps.Control.SignInExternal(r.Context(), control.External{
		Issuer: person.Issuer, Subject: person.Subject, Name: person.Name, Role: person.Role, Scope: person.Scope,
	})
	if err != nil {
		s.oidcFailed(w, r, err)
		return
	}
	note(r.Context(), who.Name, "by the identity provider, as a member of "+person.Group)
	v := visitOf(r.Context())
	if old := v.session.Token; old != "" && old != session.Token {
		// What the browser held before is of no use to anybody any more.
		if err := s.deps.Control.SignOut(r.Context(), old); err != nil && !errors.Is(err, control.ErrDenied) && !errors.Is(err, control.ErrNotFound) {
			s.oidcFailed(w, r, err)
			return
		}
	}
	s.signedIn(r.Context(), who)
	v.session = session
	s.setSession(w, r, session)
	// A page, not a redirect: the way here began at another site, and on a
	// redirect a browser would not send the cookie that was just set.
	s.writePage(w, http.StatusOK, page{Title: "Signed in", Text: "You are signed in as " + text(who.Name) + ".", Link: s.baseURL(r) + to, Name: "Go on", Go: true})
}

// oidcReady answers itself where nobody may sign in this way now.
func (s *Server) oidcReady(w http.ResponseWriter, r *http.Request) bool {
	if !s.oidcOn() {
		writeProblem(w, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "No identity provider is set: OIDC_ISSUER."))
		return false
	}
	v := visitOf(r.Context())
	if wait, ok := s.signIns.take(addressKey(v.from), 1); !ok && !v.local {
		w.Header().Set("Retry-After", fmt.Sprint(int(wait.Seconds())+1))
		s.oidcPage(w, r, http.StatusTooManyRequests, "Too many tries", "Too many sign-ins come from your address. Please wait a little.")
		return false
	}
	return true
}

// oidcFailed says what became of a sign-in: to the log all that is known, to
// whoever asks what they can do.
func (s *Server) oidcFailed(w http.ResponseWriter, r *http.Request, err error) {
	s.log.Warn("Nobody was signed in by the identity provider", slog.String("error", err.Error()), slog.String("from", s.from(r)))
	status, title, words := http.StatusForbidden, "Not signed in", ""
	switch {
	case errors.Is(err, oidc.ErrAway):
		status, title = http.StatusServiceUnavailable, "The identity provider does not answer"
		words = "Please try again in a moment. A name and a password of this analyzer work meanwhile."
	case errors.Is(err, oidc.ErrNoRole):
		title, words = "You have no role here", "The identity provider knows you, and none of your groups has a role in this analyzer. Whoever runs it sets that with OIDC_ROLES."
	case errors.Is(err, oidc.ErrRefused):
		words = "The identity provider refused, or you did there."
	case errors.Is(err, oidc.ErrFlow):
		words = "This sign-in was not begun in this browser, was finished before, or took longer than ten minutes. Please begin again."
	case errors.Is(err, oidc.ErrToken):
		words = "What the identity provider sent does not hold. The analyzer's log says why."
	case errors.Is(err, control.ErrDenied):
		words = "This account may not sign in here any more. Ask an admin of this analyzer."
	default:
		status, words = http.StatusInternalServerError, "Something failed. The analyzer's log says what."
	}
	s.oidcPage(w, r, status, title, words)
}

func (s *Server) oidcPage(w http.ResponseWriter, r *http.Request, status int, title, words string) {
	s.writePage(w, status, page{Title: title, Text: words, Link: s.baseURL(r) + "/sign-in", Name: "Back to the sign-in"})
}

// page is the only document that this package renders itself. Nothing of it
// was captured.
type page struct {
	Title, Text, Link, Name string
	// Go: the browser follows the link by itself.
	Go bool
}

const (
	pageStyle = "body{font:16px/1.5 system-ui,sans-serif;max-width:34em;margin:15vh auto;padding:0 1em;color-scheme:light dark}"
	pageText  = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">{{if .Go}}<meta http-equiv="refresh" content="0; url={{.Link}}">{{end}}
<title>{{.Title}} · Weir</title><style>` + pageStyle + `</style></head>
<body><h1>{{.Title}}</h1><p>{{.Text}}</p><p><a href="{{.Link}}">{{.Name}}</a></p></body></html>
`
)

func (s *Server) writePage(w http.ResponseWriter, status int, p page) {
	t, err := template.New("page").Parse(pageText)
	if err != nil {
		writeProblem(w, problem(http.StatusInternalServerError, httpv1.ProblemBlank, "A page could not be written."))
		return
	}
	sum := sha256.Sum256([]byte(pageStyle))
	h := w.Header()
	// Not sandboxed, as answers of the API are: such a page cannot go on.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = t.Execute(w, p) // the reader went away if this fails
}
