package web

import (
	"net/http"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

func (s *Server) oidcBegin(w http.ResponseWriter, _ *http.Request) {
	writeProblem(w, problem(http.StatusNotImplemented, httpv1.ProblemNotSupported, "No identity provider is set: OIDC_ISSUER."))
}

func (s *Server) oidcCallback(w http.ResponseWriter, r *http.Request) { s.oidcBegin(w, r) }

// oidcOn: people may sign in with an identity provider.
func (s *Server) oidcOn() bool { return false }
