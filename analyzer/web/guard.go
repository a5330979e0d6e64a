package web

import (
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
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

// guard lets through what comes from this machine's own pages and programs,
// and sets the headers that every answer has.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
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
		if !loopbackHost(r.Host) {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost,
				"This analyzer answers only to names of its own machine: localhost, 127.0.0.1 or [::1]. The Host header named another one."))
			return
		}
		// A page elsewhere cannot read the answers, but could keep the tails
		// or the store busy. Links to a page of the viewer are fine.
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" && (isAPI(r.URL.Path) || r.Header.Get("Sec-Fetch-Mode") != "navigate") {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost, "Pages of other sites may not use this API."))
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" && isAPI(r.URL.Path) && !sameHost(origin, r.Host) {
			writeProblem(w, problem(http.StatusForbidden, httpv1.ProblemHost, "Pages of other origins may not use this API."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// sameHost reports whether an Origin is of the host that was asked.
func sameHost(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, host)
}

// isAPI reports whether a path is answered by programs for programs.
func isAPI(path string) bool {
	return strings.HasPrefix(path, "/api/") || path == "/api" || path == "/metrics" || path == "/healthz" || path == "/readyz"
}

// loopbackHost reports whether a Host header names this machine, on any port:
// a tunnel may have moved it.
func loopbackHost(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	} else {
		name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	}
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
