package web

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// Names of the session's cookie. With the prefix a browser takes it only over
// TLS, for this host alone (RFC 6265bis, section 4.1.3.2); on plain loopback
// it would refuse that.
const (
	secureCookie = "__Host-weir"
	plainCookie  = "weir"
	// maxCookies is how many of one name are tried: another program on the
	// same host may have set one too.
	maxCookies = 3
)

// sameCaller reports whether somebody is who they were, and may what they
// might.
func sameCaller(a, b control.Identity) bool {
	return a.Kind == b.Kind && a.ID == b.ID && a.Role == b.Role && slices.Equal(a.Scope.Apps, b.Scope.Apps) &&
		slices.Equal(a.Scope.Namespaces, b.Scope.Namespaces) && slices.Equal(a.Scope.Clusters, b.Scope.Clusters)
}

// meet finds out who a caller is and holds it to its rate. A problem ends the
// request.
func (s *Server) meet(w http.ResponseWriter, r *http.Request, v *visit, d door) *httpv1.Problem {
	switch {
	case d.route == "/" || d.route == aliveRoute:
		return nil // files that everybody has, and probes
	case v.local || s.cfg.NoAuth:
		v.known, v.who = true, control.Local()
		return nil
	}
	err := s.identify(w, r, v)
	switch {
	case errors.Is(err, control.ErrDenied):
		if wait, ok := s.strangers.take(addressKey(v.from), guessCost); !ok {
			return tooMany(w, wait)
		}
		if d.who == anyone || d.who == machine {
			return nil
		}
		return problem(http.StatusUnauthorized, httpv1.ProblemSignIn, "The session or the API key is not good, or not any more. Sign in again, or make a new key.")
	case err != nil:
		s.log.ErrorContext(r.Context(), "Could not look up who asks", "error", err.Error())
		return problem(http.StatusServiceUnavailable, httpv1.ProblemBusy, "The control store cannot say who this is; the analyzer's log says why.")
	case v.known:
		if wait, ok := s.callers.take(v.who.Kind+" "+v.who.ID, 1); !ok {
			return tooMany(w, wait)
		}
	case d.route != readyRoute:
		if wait, ok := s.strangers.take(addressKey(v.from), 1); !ok {
			return tooMany(w, wait)
		}
	}
	return nil
}

func tooMany(w http.ResponseWriter, wait time.Duration) *httpv1.Problem {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(max(wait, time.Second).Seconds()))))
	return problem(http.StatusTooManyRequests, httpv1.ProblemTooMany, fmt.Sprintf("Too many requests; come back in %v.", max(wait, time.Second).Round(time.Second)))
}

// addressKey is what requests of strangers are counted by: an IPv6 host has a
// whole /64 to itself.
func addressKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// identify looks at an API key or a session. Without either nobody is known;
// with one that is not good it is control.ErrDenied.
func (s *Server) identify(w http.ResponseWriter, r *http.Request, v *visit) error {
	if s.deps.Control == nil {
		return nil
	}
	if auth := r.Header.Values("Authorization"); len(auth) > 0 {
		scheme, secret, _ := strings.Cut(auth[0], " ")
		if len(auth) > 1 || !strings.EqualFold(scheme, "Bearer") {
			return control.ErrDenied
		}
		check := func(ctx context.Context) (control.Identity, error) {
			who, err := s.deps.Control.KeyIdentity(ctx, strings.TrimSpace(secret))
			if err == nil && who.Kind != control.KindKey {
				// A forwarder's token opens the ingest port, and nothing here.
				err = control.ErrDenied
			}
			return who, err
		}
		who, err := check(r.Context())
		if err != nil {
			return err
		}
		v.known, v.who, v.check = true, who, check
		return nil
	}
	cookies := r.CookiesNamed(cookieName(v.secure))
	err := error(nil)
	for _, c := range cookies[:min(len(cookies), maxCookies)] {
		if err = s.resume(w, r, v, c.Value); err == nil || !errors.Is(err, control.ErrDenied) {
			return err
		}
	}
	return err
}

// resume takes up a session.
func (s *Server) resume(w http.ResponseWriter, r *http.Request, v *visit, token string) error {
	who, rotated, err := s.deps.Control.SessionIdentity(r.Context(), token)
	if err != nil {
		return err
	}
	v.known, v.who, v.session = true, who, control.Session{Token: token}
	if rotated != nil {
		v.session = *rotated
		s.setSession(w, r, *rotated)
	}
	v.check = func(ctx context.Context) (control.Identity, error) {
		who, _, err := s.deps.Control.PeekSession(ctx, token)
		return who, err
	}
	return nil
}

func cookieName(secure bool) string {
	if secure {
		return secureCookie
	}
	return plainCookie
}

// setSession gives a session to the browser that asks.
func (s *Server) setSession(w http.ResponseWriter, r *http.Request, session control.Session) {
	secure := s.secure(r)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(secure), Value: session.Token, Path: "/", Expires: session.Expires,
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// endSession takes it away again.
func (s *Server) endSession(w http.ResponseWriter, r *http.Request) {
	secure := s.secure(r)
	http.SetCookie(w, &http.Cookie{
		Name: cookieName(secure), Path: "/", MaxAge: -1, Secure: secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

// signedIn says who a caller turned out to be, for the audit log and for the
// rest of the request.
func (s *Server) signedIn(ctx context.Context, who control.Identity) {
	if v := visitOf(ctx); v != nil {
		v.known, v.who = true, who
	}
}

// caller is who asks. Where nobody is known it may nothing.
func caller(ctx context.Context) control.Identity {
	if v := visitOf(ctx); v != nil && v.known {
		return v.who
	}
	return control.Identity{}
}
