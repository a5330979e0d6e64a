package web

import "github.com/weir-capture/weir/analyzer/control"

// who is the least that a caller of a route has to be.
type who string

const (
	// anyone: nothing that was captured, or that tells of the installation, is
	// behind it.
	anyone who = "anyone"
	// machine: a program on the analyzer's own machine, or an admin.
	machine who = "machine"

	viewer       = who(control.RoleViewer)
	investigator = who(control.RoleInvestigator)
	operator     = who(control.RoleOperator)
	admin        = who(control.RoleAdmin)
)

// scoping is how a route keeps a caller's row scope.
type scoping string

const (
	// byQuery: the scope is a part of every query that the store is asked.
	byQuery scoping = "query"
	// byPair: a pair outside is not found.
	byPair scoping = "pair"
	// byList: what is of others is left out of the lists, and of the sums.
	byList scoping = "list"
	// refused: it cannot be narrowed, and is for callers without a scope.
	refused scoping = "refused"
	// own: it is of the caller alone.
	own scoping = "own"
	// unscoped: nothing of captured traffic is in it.
	unscoped scoping = "none"
)

// door is what has to be known of a route before it can be mounted.
type door struct {
	// route is a method and a pattern as http.ServeMux takes them.
	route string
	who   who
	scope scoping
	// audit is the action that is written down each time; empty for none.
	audit string
	// stream: it answers as long as the caller likes, so that who that is has
	// to be asked again now and then. file: the body of a request may be of
	// any size.
	stream, file bool
}

// doors lists every route. What is not in it cannot be mounted: see
// router.HandleFunc.
var doors = []door{
	// The viewer's own files, and what says whether a process is alive.
	{route: "/", who: anyone, scope: unscoped},
	{route: aliveRoute, who: anyone, scope: unscoped},
	{route: readyRoute, who: anyone, scope: unscoped},
	{route: "POST " + cspReportPath, who: anyone, scope: unscoped},
	{route: "GET /metrics", who: machine, scope: unscoped},
	// What no other route takes, so that nobody learns what there is.
	{route: "/api", who: viewer, scope: unscoped},
	{route: "/api/", who: viewer, scope: unscoped},
	{route: "GET /api/v1/openapi.json", who: viewer, scope: unscoped},

	// Signing in.
	{route: "GET " + sessionPath, who: anyone, scope: own},
	{route: "POST " + sessionPath, who: anyone, scope: own, audit: "session.sign-in"},
	{route: "DELETE " + sessionPath, who: viewer, scope: own, audit: "session.sign-out"},
	{route: "POST /api/v1/session/link", who: admin, scope: refused, audit: "user.setup-link"},
	{route: "POST /api/v1/session/setup", who: anyone, scope: own, audit: "user.setup"},
	{route: "POST /api/v1/session/password", who: viewer, scope: own, audit: "user.password"},
	{route: "GET /api/v1/session/oidc", who: anyone, scope: own},
	{route: "GET " + oidcCallbackPath, who: anyone, scope: own, audit: "session.sign-in"},

	// What was captured, without its content.
	{route: "GET /api/v1/pairs", who: viewer, scope: byQuery},
	{route: "GET " + tailPath, who: viewer, scope: byQuery, stream: true},
	{route: "GET /api/v1/stats/histogram", who: viewer, scope: byQuery},
	{route: "GET /api/v1/stats/facets", who: viewer, scope: byQuery},
	{route: "GET /api/v1/stats/endpoints", who: viewer, scope: byQuery},
	{route: "GET /api/v1/stats/map", who: viewer, scope: byQuery},
	{route: "GET " + heatmapPath, who: viewer, scope: byQuery},
	{route: "GET " + differencePath, who: viewer, scope: byQuery},
	{route: "GET /api/v1/fields", who: viewer, scope: unscoped},
	{route: "GET /api/v1/fields/{name}/values", who: viewer, scope: byQuery},
	{route: "GET /api/v1/query", who: viewer, scope: unscoped},
	{route: "GET /api/v1/explain", who: operator, scope: unscoped},

	// What was captured. A viewer gets a pair without its content.
	// Of what failed it is read what bodies say, by those who may.
	{route: "GET " + errorsPath, who: viewer, scope: byQuery, audit: readAction},
	{route: "GET /api/v1/pairs/{id}", who: viewer, scope: byPair, audit: readAction},
	{route: "GET /api/v1/pairs/{id}/{message}/body", who: investigator, scope: byPair, audit: readAction},
	{route: "GET /api/v1/pairs/{id}/{message}/raw", who: investigator, scope: byPair, audit: readAction},
	{route: "GET /api/v1/pairs/{id}/curl", who: investigator, scope: byPair, audit: readAction},
	{route: "GET " + exportPath, who: investigator, scope: byQuery, audit: "pairs.export", stream: true},

	// The installation.
	{route: "GET /api/v1/info", who: viewer, scope: byList},
	{route: "GET /api/v1/proxies", who: viewer, scope: byList},
	{route: "GET /api/v1/forwarders", who: viewer, scope: byList},
	{route: "GET /api/v1/ledger", who: viewer, scope: byList},
	{route: "GET /api/v1/why", who: viewer, scope: byList},
	{route: "GET /api/v1/doctor", who: viewer, scope: refused},

	// Saved views.
	{route: "GET /api/v1/views", who: viewer, scope: own},
	{route: "PUT /api/v1/views", who: viewer, scope: own},
	{route: "DELETE /api/v1/views/{name}", who: viewer, scope: own},

	// Changes.
	{route: "POST " + importPath, who: operator, scope: refused, audit: "pairs.import", stream: true, file: true},
	{route: "GET /api/v1/deletions", who: operator, scope: refused},
	{route: "POST /api/v1/deletions", who: operator, scope: byQuery, audit: "pairs.delete"},
	{route: "POST " + shreddingPath, who: admin, scope: refused, audit: "day.shred"},
	{route: "GET /api/v1/keys", who: operator, scope: refused},
	{route: "POST /api/v1/keys", who: operator, scope: refused, audit: "key.create"},
	{route: "DELETE /api/v1/keys/{id}", who: operator, scope: refused, audit: "key.revoke"},
	{route: "POST /api/v1/forwarder-list", who: operator, scope: refused, audit: "key.create"},
	{route: "POST /api/v1/proxy-list", who: operator, scope: refused, audit: "key.create"},

	// People, and what is over everything.
	{route: "GET /api/v1/users", who: admin, scope: refused},
	{route: "POST /api/v1/users", who: admin, scope: refused, audit: "user.create"},
	{route: "PATCH /api/v1/users/{name}", who: admin, scope: refused, audit: "user.change"},
	{route: "DELETE /api/v1/users/{name}", who: admin, scope: refused, audit: "user.delete"},
	{route: "GET /api/v1/audit", who: admin, scope: refused},
	{route: "GET /api/v1/audit/verify", who: admin, scope: refused},
	{route: "POST /api/v1/dlp-key", who: admin, scope: refused, audit: "dlp-key.rotate"},
	{route: "GET " + backupPath, who: admin, scope: refused, audit: "store.backup", stream: true},
}

// Probes of orchestrators, which come often.
const (
	aliveRoute = "GET /healthz"
	readyRoute = "GET /readyz"
)

// readAction is written down when content of a pair is read.
const readAction = "pair.read"

// doorOf finds the row of a route.
func doorOf(route string) (door, bool) {
	for _, d := range doors {
		if d.route == route {
			return d, true
		}
	}
	return door{}, false
}
