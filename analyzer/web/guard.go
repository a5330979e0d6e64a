package web

import (
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// problem is an error document.
func problem(status int, kind, detail string) *httpv1.Problem {
	return &httpv1.Problem{Type: kind, Title: http.StatusText(status), Status: status, Detail: detail}
}

func writeProblem(w http.ResponseWriter, p *httpv1.Problem) {
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// The reader went away if this fails.
	_ = enc.Encode(p)
}

// hsts is how long a browser asks for the viewer over TLS only (RFC 6797).
const hsts = "max-age=31536000"

// guard lets through what comes from the viewer's own pages and from programs,
// and sets the headers that every answer has.
func (s *Server) guard(next http.Handler) http.Handler {
	public := s.cfg.PublicURL != nil && s.cfg.PublicURL.Scheme == "https"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, h := visitOf(r.Context()), w.Header()
		if public && v.secure {
			h.Set("Strict-Transport-Security", hsts)
		}
		// Where the viewer's policy says that reports go.
		h.Set("Reporting-Endpoints", `weir="`+cspReportPath+`"`)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		if isAPI(r.URL.Path) {
			// Nothing that the API answers is a page, whatever it contains.
			h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
			h.Set("Cache-Control", "no-store")
		}
		if !s.hostAllowed(r.Host) {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost,
				"This analyzer answers only to names of its own: localhost, 127.0.0.1 and [::1], the host of PUBLIC_URL, and ALLOWED_HOSTS. The Host header named another one."))
			return
		}
		// What comes from elsewhere in the clear was read on its way.
		if !v.secure && !v.local && v.from.IsValid() && !v.from.IsLoopback() && r.URL.Path != "/healthz" && r.URL.Path != "/readyz" {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost,
				"This analyzer is reached over TLS only: by https, or through a proxy of TRUSTED_PROXIES that says X-Forwarded-Proto: https, or whose address is PUBLIC_URL."))
			return
		}
		// A page elsewhere cannot read the answers, but could keep the tails
		// or the store busy; so could one of another port of this host, which
		// to a browser is the same site. Links to a page of the viewer are
		// fine, and an identity provider sends people back with one.
		site, navigates := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Sec-Fetch-Mode") == "navigate"
		if (site == "cross-site" || site == "same-site") && r.URL.Path != oidcCallbackPath && (isAPI(r.URL.Path) || !navigates) ||
			site == "cross-site" && r.URL.Path == oidcCallbackPath && !navigates {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost, "Pages of other sites may not use this API."))
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && isAPI(r.URL.Path) && !s.ownOrigin(origin, v) {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost, "Pages of other origins may not use this API."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isAPI reports whether a path is answered by programs for programs.
func isAPI(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == "/api" || path == "/metrics" || path == "/healthz" || path == "/readyz"
}

// loopbackHost reports whether a Host header names this machine, on any port:
// a tunnel may have moved it.
func loopbackHost(host string) bool {
	name := hostname(host)
	if strings.EqualFold(strings.TrimSuffix(name, "."), "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}

// notFound answers what no route of the API takes.
func notFound(mux *http.ServeMux) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			get := r.Clone(r.Context())
			get.Method = http.MethodGet
			if _, pattern := mux.Handler(get); strings.HasPrefix(pattern, "GET ") {
				w.Header().Set("Allow", "GET, HEAD")
				writeProblem(w, problem(http.StatusMethodNotAllowed, httpv1.ProblemBlank, "This call is read with GET."))
				return
			}
		}
		if r.URL.Path == importPath {
			w.Header().Set("Allow", "POST")
			writeProblem(w, problem(http.StatusMethodNotAllowed, httpv1.ProblemBlank, "A file is sent with POST."))
			return
		}
		writeProblem(w, problem(http.StatusNotFound, httpv1.ProblemNotFound, "There is no such call; GET /api/v1/openapi.json lists all of them."))
	}
}

// writeJSON is an answer that huma does not write.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// The reader went away if this fails.
	_ = enc.Encode(v)
}
