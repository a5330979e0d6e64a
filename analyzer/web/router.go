package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// auditTimeout bounds how long an answer waits for the audit log.
const auditTimeout = 5 * time.Second

// router is the only way to mount a route. It takes those that have a row in
// doors, and lets through it whom the row lets.
type router struct {
	s       *Server
	mux     *http.ServeMux
	mounted map[string]bool
	errs    []error
}

// HandleFunc mounts a route; huma mounts its operations with it too. What is
// wrong is told by err.
func (rt *router) HandleFunc(route string, next func(http.ResponseWriter, *http.Request)) {
	d, ok := doorOf(route)
	if !ok {
		rt.errs = append(rt.errs, fmt.Errorf("route %q has no row in the table of doors", route))
		return
	}
	rt.mounted[route] = true
	rt.mux.HandleFunc(route, rt.s.admit(d, next))
}

// Handle is HandleFunc for handlers.
func (rt *router) Handle(route string, next http.Handler) { rt.HandleFunc(route, next.ServeHTTP) }

func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) { rt.mux.ServeHTTP(w, r) }

// err says which routes have no row, and which rows no route.
func (rt *router) err() error {
	errs := rt.errs
	for _, d := range doors {
		if !rt.mounted[d.route] {
			errs = append(errs, fmt.Errorf("row %q of the table of doors has no route", d.route))
		}
	}
	return errors.Join(errs...)
}

// admit lets through a door whom its row lets, and writes down who did what.
func (s *Server) admit(d door, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := visitOf(r.Context())
		if v == nil {
			// Nothing comes here but through arrive.
			writeProblem(w, problem(http.StatusInternalServerError, httpv1.ProblemBlank, "The request came in by no door."))
			return
		}
		if !d.file {
			r.Body = http.MaxBytesReader(w, r.Body, httpv1.MaxDoorBody)
		}
		p := s.meet(w, r, v, d)
		if p == nil {
			p = allowed(v, d)
		}
		if p != nil {
			if d.audit != "" && v.known && p.Status == http.StatusForbidden {
				v.target = cut(r.URL.Path, maxNoted)
				if err := s.record(r.Context(), v, d.audit, control.ResultDenied); err != nil {
					p = unrecorded()
				}
			}
			writeProblem(w, p)
			return
		}
		if d.stream && v.check != nil {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			go s.watch(ctx, cancel, v)
			r = r.WithContext(ctx)
		}
		if d.audit == "" {
			next(w, r)
			return
		}
		a := &audited{ResponseWriter: w, s: s, r: r, v: v, action: d.audit}
		ended := false
		defer func() {
			if !a.wrote { // nothing was answered, or the handler panicked
				status := http.StatusOK
				if !ended {
					status = http.StatusInternalServerError
				}
				a.WriteHeader(status)
			}
		}()
		next(a, r)
		ended = true
	}
}

// allowed says why a caller may not go through a door; nil: it may.
func allowed(v *visit, d door) *httpv1.Problem {
	if d.who == anyone || d.who == machine && v.onMachine() {
		return nil
	}
	if !v.known {
		return problem(http.StatusUnauthorized, httpv1.ProblemSignIn, "Nobody is signed in. Sign in at the viewer, or send an API key: Authorization: Bearer weir_….")
	}
	least := control.Role(d.who)
	if d.who == machine {
		least = control.RoleAdmin
	}
	if !v.who.Role.AtLeast(least) {
		p := problem(http.StatusForbidden, httpv1.ProblemForbidden, fmt.Sprintf("This needs the role %s; %s has the role %s.", least, shown(v.who.Name), v.who.Role))
		p.Role = string(least)
		return p
	}
	if d.scope == refused && !v.who.Scope.All() {
		return problem(http.StatusForbidden, httpv1.ProblemForbidden, "This is about everything that was captured, and "+shown(v.who.Name)+" may see only a part of it.")
	}
	return nil
}

// watch ends an answer that goes on when its caller may not go on with it:
// the session ended, the key was revoked, the role was taken away.
func (s *Server) watch(ctx context.Context, cancel context.CancelFunc, v *visit) {
	tick := time.NewTicker(s.cfg.Recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		who, err := v.check(ctx)
		if err != nil && !errors.Is(err, control.ErrDenied) {
			continue // the control store is away, and comes back
		}
		if err != nil || !sameCaller(who, v.who) {
			cancel()
			return
		}
	}
}

// maxNoted bounds what is written down of what a caller wrote.
const maxNoted = 256

func unrecorded() *httpv1.Problem {
	return problem(http.StatusServiceUnavailable, httpv1.ProblemBlank, "The audit log could not be written, and nothing is answered without it; the analyzer's log says why.")
}

// record writes into the audit log. It does not end with the request: what
// was done is written down though its caller went away.
func (s *Server) record(ctx context.Context, v *visit, action string, result control.Result) error {
	if s.deps.Control == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	err := s.deps.Control.Audit(ctx, control.Event{
		Actor: v.who, Action: action, Target: v.target, Detail: v.detail, From: v.address(), Result: result,
	})
	if err != nil {
		s.log.ErrorContext(ctx, "Could not write the audit log", "action", action, "error", err.Error())
	}
	return err
}

// audited writes down what is answered, just before it is.
type audited struct {
	http.ResponseWriter
	s      *Server
	r      *http.Request
	v      *visit
	action string
	// wrote: the status is out. muted: it is that of a problem of the audit
	// log, and what the handler writes goes nowhere.
	wrote, muted bool
}

// Unwrap is for http.ResponseController.
func (a *audited) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *audited) WriteHeader(status int) {
	if a.wrote || status < 200 {
		if !a.muted {
			a.ResponseWriter.WriteHeader(status)
		}
		return
	}
	a.wrote = true
	result := control.ResultOK
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusTooManyRequests:
		result = control.ResultDenied
	case status >= 400:
		result = control.ResultFailed
	}
	if a.v.quiet || a.s.record(a.r.Context(), a.v, a.action, result) == nil {
		a.ResponseWriter.WriteHeader(status)
		return
	}
	a.muted = true
	for _, name := range []string{"Content-Length", "Content-Disposition", "Content-Encoding", "ETag", "Trailer", "Set-Cookie", "Location"} {
		a.Header().Del(name)
	}
	writeProblem(a.ResponseWriter, unrecorded())
}

func (a *audited) Write(b []byte) (int, error) {
	if !a.wrote {
		a.WriteHeader(http.StatusOK)
	}
	if a.muted {
		return len(b), nil
	}
	return a.ResponseWriter.Write(b)
}
