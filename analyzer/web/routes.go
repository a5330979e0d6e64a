package web

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// Inputs hold what a caller wrote, as text: reading it here, and not in huma,
// is what makes every mistake a 400 that says what would be right. The
// parameters are described beside each operation.
type (
	listInput struct {
		Q      string `query:"q"`
		From   string `query:"from"`
		To     string `query:"to"`
		Limit  string `query:"limit"`
		Cursor string `query:"cursor"`
	}
	histogramInput struct {
		Q       string `query:"q"`
		From    string `query:"from"`
		To      string `query:"to"`
		Buckets string `query:"buckets"`
	}
	queryInput struct {
		Q string `query:"q"`
	}
	tailInput struct {
		Q           string `query:"q"`
		Cursor      string `query:"cursor"`
		LastEventID string `header:"Last-Event-ID"`
	}
	pairInput struct {
		ID          string `path:"id"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	messageInput struct {
		ID          string `path:"id"`
		Side        string `path:"message"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	bodyInput struct {
		ID          string `path:"id"`
		Side        string `path:"message"`
		Decoded     string `query:"decoded"`
		IfNoneMatch string `header:"If-None-Match"`
	}
	ledgerInput struct {
		From string `query:"from"`
		To   string `query:"to"`
		App  string `query:"app"`
		Step string `query:"step"`
	}
	whyInput struct {
		Q      string `query:"q"`
		Around string `query:"around"`
		Within string `query:"within"`
	}
	noInput struct{}

	output[T any] struct{ Body T }
)

// routes mounts everything on rt and returns the OpenAPI document.
func (s *Server) routes(rt *router) ([]byte, error) {
	cfg := huma.DefaultConfig("Weir analyzer", "1")
	cfg.Info.Description = "Captured traffic: pairs of request and response, searched, tailed and counted. " +
		"Times are RFC 3339 with nanoseconds, durations nanoseconds, sizes bytes. Errors are problem documents (RFC 9457)."
	cfg.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil // no $schema links in answers
	api := humago.New(rt, cfg)

	s.health(api)
	s.pairs(api)
	s.stats(api)
	s.about(api)
	s.account(api)
	s.sums(api)
	s.insight(api)
	s.transfer(api)
	s.session(api)
	s.users(api)
	s.keys(api)
	s.auditLog(api)
	s.views(api)
	s.deletions(api)

	spec, err := describe(api.OpenAPI())
	if err != nil {
		return nil, err
	}
	rt.HandleFunc("GET /api/v1/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		if fresh(w, r.Header.Get("If-None-Match"), etag(spec)) {
			return
		}
		// Nothing of it was captured: it may be kept.
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Content-Type", "application/openapi+json")
		// The reader went away if this fails.
		_, _ = w.Write(spec)
	})
	rt.HandleFunc("GET /api/v1/session/oidc", s.oidcBegin)
	rt.HandleFunc("GET "+oidcCallbackPath, s.oidcCallback)
	rt.HandleFunc("POST "+cspReportPath, s.cspReport)
	rt.Handle("GET /metrics", s.metrics.handler())
	rt.HandleFunc("/api/", notFound(rt.mux))
	rt.HandleFunc("/api", notFound(rt.mux))
	viewer := s.deps.Viewer
	if viewer == nil {
		viewer = notFound(rt.mux)
	}
	rt.Handle("/", viewer)
	return spec, rt.err()
}
