package web

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/importer"
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
)

const password = "correct horse battery"

// installation is a server that asks who somebody is, with a real control
// store and somebody of each role.
type installation struct {
	file  string // of ctl
	t     *testing.T
	ctl   *control.Store
	http  *httptest.Server
	store *fakeStore
	// skip moves the clock.
	skip atomic.Int64
	// tokens of API keys, by role and by what is wrong with them.
	tokens map[string]string
}

func install(t *testing.T, change ...func(*Config, *Deps)) *installation {
	t.Helper()
	in := &installation{t: t, store: newFake(), tokens: map[string]string{}}
	now := func() time.Time { return base.Add(time.Hour + time.Duration(in.skip.Load())) }
	var err error
	in.file = filepath.Join(t.TempDir(), "control.db")
	in.ctl, err = control.Open(t.Context(), in.file, control.Options{Now: now, Argon: control.Argon{Memory: 64, Time: 1, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.ctl.Close(); err != nil {
			t.Error(err)
		}
	})
	for i, app := range []string{"shop", "bank"} {
		p := exchange(i, "GET", "/of/"+app, 200, "asked", "secret of "+app)
		p.Source.App, p.Query = app, "token=hidden"
		in.store.add(p)
	}
	_, in.http = serve(t, in.store, append([]func(*Config, *Deps){func(c *Config, d *Deps) {
		c.NoAuth, c.Now, d.Control = false, now, in.ctl
	}}, change...)...)
	for _, role := range control.Roles() {
		in.tokens[string(role)] = in.key(control.NewKey{Name: string(role), Kind: control.KeyAPI, Role: role})
	}
	return in
}

func (in *installation) key(k control.NewKey) string {
	in.t.Helper()
	_, secret, err := in.ctl.CreateKey(in.t.Context(), k)
	if err != nil {
		in.t.Fatal(err)
	}
	return secret
}

func (in *installation) user(name string, role control.Role, scope control.Scope) {
	in.t.Helper()
	if _, err := in.ctl.CreateUser(in.t.Context(), control.NewUser{Name: name, Password: password, Role: role, Scope: scope}); err != nil {
		in.t.Fatal(err)
	}
}

// call asks and reads a problem's type and role, if the answer is one.
func (in *installation) call(method, path, body string, headers ...string) (status int, answer string, head http.Header) {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), method, in.http.URL+path, strings.NewReader(body))
	if err != nil {
		in.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := noRedirects(in.http.Client()).Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer resp.Body.Close()
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, "", resp.Header
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func noRedirects(c *http.Client) *http.Client {
	out := *c
	out.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &out
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

const (
	shopPair  = "01997b2c-6d3f-7c44-9d6e-000000000000"
	noPair    = "01997b2c-6d3f-7c44-9d6e-0000000000ff"
	routeFile = "testdata/routes.md"
)

// sample is a request of a route: what is sent is right as far as who may
// send it goes.
type sample struct{ path, body string }

var samples = map[string]sample{
	"/":                                     {"/pairs", ""},
	"/api":                                  {"/api", ""},
	"/api/":                                 {"/api/v2/anything", ""},
	"POST /api/v1/session":                  {body: `{"name":"root","password":"` + password + `"}`},
	"POST /api/v1/session/setup":            {body: `{"token":"x","name":"eve","password":"` + password + `"}`},
	"POST /api/v1/session/password":         {body: `{"old":"x","new":"` + password + `"}`},
	"GET /api/v1/pairs/{id}":                {path: "/api/v1/pairs/" + shopPair},
	"GET /api/v1/pairs/{id}/{message}/body": {path: "/api/v1/pairs/" + shopPair + "/request/body"},
	"GET /api/v1/pairs/{id}/{message}/raw":  {path: "/api/v1/pairs/" + shopPair + "/request/raw"},
	"GET /api/v1/pairs/{id}/curl":           {path: "/api/v1/pairs/" + shopPair + "/curl"},
	"GET /api/v1/fields/{name}/values":      {path: "/api/v1/fields/app/values"},
	"GET /api/v1/session/oidc/callback":     {path: "/api/v1/session/oidc/callback?code=c"},
	"PUT /api/v1/views":                     {body: `{"name":"v","document":{}}`},
	"DELETE /api/v1/views/{name}":           {path: "/api/v1/views/none"},
	"POST /api/v1/deletions":                {body: `{"q":"app:x","dry_run":true}`},
	"POST /api/v1/deletions/day":            {body: `{"day":"2026-11-20","dry_run":true}`},
	"POST /api/v1/keys":                     {body: `{"name":"k","kind":"proxy"}`},
	"DELETE /api/v1/keys/{id}":              {path: "/api/v1/keys/none"},
	"POST /api/v1/forwarder-list":           {body: `{"name":"f"}`},
	"POST /api/v1/proxy-list":               {body: `{"app":"a","token":true}`},
	"POST /api/v1/users":                    {body: `{}`},
	"PATCH /api/v1/users/{name}":            {path: "/api/v1/users/none", body: `{"disabled":true}`},
	"DELETE /api/v1/users/{name}":           {path: "/api/v1/users/none"},
	"POST /api/v1/import":                   {path: "/api/v1/import", body: "{}"},
}

// wholeStore is a store that answers everything.
type wholeStore struct {
	store.Reader
	store.Scanner
	store.Stats
}

// nothingToDelete is a Deleter that finds nothing.
type nothingToDelete struct{}

func (nothingToDelete) Delete(context.Context, DeletionAsk) (Deleted, error) { return Deleted{}, nil }

func (nothingToDelete) Shred(context.Context, ShreddingAsk) (Deleted, error) { return Deleted{}, nil }
func (nothingToDelete) Deletions(context.Context) ([]Deleted, error)         { return nil, nil }

// TestS08RouteMatrix calls every route as nobody, with every kind of token
// that is not good, in every role, and with the scope of another app, and holds
// what is answered to the committed table. Routes without a row cannot be
// mounted, and rows without a sample fail here.
func TestS08RouteMatrix(t *testing.T) {
	in := install(t, func(_ *Config, d *Deps) {
		mem := memstore.New(func() int64 { return base.UnixNano() })
		d.Store = wholeStore{d.Store, mem, mem}
		d.Ledger, d.Importer, d.Deleter = &fakeLedger{}, importer.New(mem, time.Now), nothingToDelete{}
		d.OIDC = &provider{role: control.RoleViewer}
		d.Backup = func(context.Context, io.Writer) error { return nil }
		d.Viewer = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	})
	in.user("root", control.RoleAdmin, control.Scope{})
	in.tokens["forwarder"] = in.key(control.NewKey{Name: "f1", Kind: control.KeyForwarder})
	in.tokens["other app"] = in.key(control.NewKey{Name: "other", Kind: control.KeyAPI, Role: control.RoleAdmin, Scope: control.Scope{Apps: []string{"bank"}}})
	in.tokens["expired"] = in.key(control.NewKey{Name: "expired", Kind: control.KeyAPI, Role: control.RoleAdmin, Expires: base.Add(time.Hour + time.Minute)})
	revoked, secret, err := in.ctl.CreateKey(t.Context(), control.NewKey{Name: "revoked", Kind: control.KeyAPI, Role: control.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.ctl.RevokeKey(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	in.tokens["revoked"] = secret
	in.tokens["wrong"] = secret[:len(secret)-1] + "x"
	callers := []string{"nobody", "wrong", "expired", "revoked", "forwarder", "viewer", "investigator", "operator", "admin", "other app"}

	var got strings.Builder
	fmt.Fprintf(&got, "# Who may do what\n\nThe status of each route's answer, by who asks. It is written by `go test ./analyzer/web -run S08 -update`\nand read by people: 401 nobody is signed in, 403 not with this role or this scope, 404 for a pair that the\nscope leaves out; everything else was let in. `far` is nobody on another machine, `other app` an admin whose\nscope is an app that the pair is not of. A forwarder's token is `forwarder`.\n\n| route | scope | far | %s |\n|---|---|---|%s\n", strings.Join(callers, " | "), strings.Repeat("---|", len(callers)))
	for _, d := range doors {
		method, path, found := strings.Cut(d.route, " ")
		if !found {
			method, path = "GET", d.route
		}
		s, has := samples[d.route]
		if strings.Contains(path, "{") && !has {
			t.Errorf("route %s has no sample", d.route)
			continue
		}
		if s.path != "" {
			path = s.path
		}
		row := []string{}
		for _, who := range append([]string{"far"}, callers...) {
			in.skip.Add(int64(10 * time.Minute)) // what was counted is forgotten
			var headers []string
			if token := in.tokens[who]; token != "" {
				headers = bearer(token)
			}
			if who == "far" {
				row = append(row, fmt.Sprint(in.far(method, path, s.body)))
				continue
			}
			status, _, _ := in.call(method, path, s.body, headers...)
			row = append(row, fmt.Sprint(status))
		}
		fmt.Fprintf(&got, "| `%s` | %s | %s |\n", d.route, d.scope, strings.Join(row, " | "))
	}
	if *update {
		if err := os.WriteFile(routeFile, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(routeFile)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Errorf("%s, line %d: the server answers\n%s", routeFile, i+1, line)
		}
	}
}

// far asks from another machine, over TLS.
func (in *installation) far(method, path, body string) int {
	r := httptest.NewRequestWithContext(in.t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr, r.Host, r.TLS = "203.0.113.7:4000", "localhost", &tls.ConnectionState{}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	in.http.Config.Handler.ServeHTTP(w, r)
	return w.Code
}

// TestS08Table holds the rows themselves: whatever changes something or has
// content is written down, and nothing but the viewer's files, probes and
// signing in is open to anybody.
func TestS08Table(t *testing.T) {
	open := []string{
		"/", aliveRoute, readyRoute, "POST " + cspReportPath, "GET " + sessionPath, "POST " + sessionPath,
		"POST /api/v1/session/setup", "GET /api/v1/session/oidc", "GET " + oidcCallbackPath,
	}
	for i, d := range doors {
		if slices.ContainsFunc(doors[:i], func(o door) bool { return o.route == d.route }) {
			t.Errorf("%s has two rows", d.route)
		}
		if d.who == anyone && !slices.Contains(open, d.route) {
			t.Errorf("%s is open to anybody", d.route)
		}
		changes := !strings.HasPrefix(d.route, "GET ") && strings.Contains(d.route, " ")
		if changes && d.audit == "" && d.scope != own && d.route != "POST "+cspReportPath {
			t.Errorf("%s changes something and is not written down", d.route)
		}
		if d.who != anyone && d.who != machine && !control.Role(d.who).Valid() {
			t.Errorf("%s: no such role: %s", d.route, d.who)
		}
	}
	rt := &router{s: &Server{}, mux: http.NewServeMux(), mounted: map[string]bool{}}
	rt.HandleFunc("GET /api/v1/backdoor", func(http.ResponseWriter, *http.Request) {})
	if err := rt.err(); err == nil || !strings.Contains(err.Error(), "backdoor") {
		t.Errorf("a route without a row is mounted: %v", err)
	}
	if h, pattern := rt.mux.Handler(httptest.NewRequest("GET", "/api/v1/backdoor", nil)); pattern != "" {
		t.Errorf("it is served: %v", h)
	}
}

// TestScopeIsKept: a scope leaves out everything of others, also where a query
// tries to get around it.
func TestScopeIsKept(t *testing.T) {
	in := install(t)
	token := bearer(in.key(control.NewKey{Name: "shop", Kind: control.KeyAPI, Role: control.RoleInvestigator, Scope: control.Scope{Apps: []string{"shop"}}}))
	for _, q := range []string{"", "app:bank", "app:*", "app:bank OR app:shop", "NOT app:shop", "-app:shop", "(app:bank OR app:*) path:/of/*", "bank", "NOT (app:shop app:bank)"} {
		_, answer, _ := in.call("GET", "/api/v1/pairs?q="+urlQuery(q), "", token...)
		if strings.Contains(answer, "/of/bank") {
			t.Errorf("q=%s finds what is of another app: %s", q, answer)
		}
	}
	if _, answer, _ := in.call("GET", "/api/v1/pairs", "", token...); !strings.Contains(answer, "/of/shop") {
		t.Errorf("its own app is missing: %s", answer)
	}
	bankPair := "01997b2c-6d3f-7c44-9d6e-000000000001"
	for _, path := range []string{"", "/request/body", "/response/body", "/request/raw", "/curl"} {
		status, answer, _ := in.call("GET", "/api/v1/pairs/"+bankPair+path, "", token...)
		_, none, _ := in.call("GET", "/api/v1/pairs/"+noPair+path, "", token...)
		if status != 404 || strings.ReplaceAll(none, noPair, bankPair) != answer {
			t.Errorf("%s of a pair of another app: %d %s; of none: %s", path, status, answer, none)
		}
	}
	if _, answer, _ := in.call("GET", "/api/v1/info", "", token...); !strings.Contains(answer, `"pairs":1}`) {
		t.Errorf("info counts others' pairs: %s", answer)
	}
}

// TestViewerSeesNoContent: with the least role there is metadata and nothing
// of what was captured, and nothing can be found out by searching.
func TestViewerSeesNoContent(t *testing.T) {
	in := install(t)
	token := bearer(in.tokens["viewer"])
	for _, path := range []string{"/api/v1/pairs", "/api/v1/pairs/" + shopPair} {
		status, answer, _ := in.call("GET", path, "", token...)
		if status != 200 || strings.Contains(answer, "hidden") || strings.Contains(answer, "secret of") || strings.Contains(answer, "text/plain") || strings.Contains(answer, "3031323") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
		if !strings.Contains(answer, "/of/shop") {
			t.Errorf("%s has no metadata: %s", path, answer)
		}
	}
	for _, q := range []string{"secret", `"secret of"`, "body:secret", "request.body:*", "json.a:1", "header.x-one:1", "query:token", "app:shop -body:x", "app:a OR NOT response.header.content-type:*"} {
		for _, path := range []string{"/api/v1/pairs", "/api/v1/tail", "/api/v1/stats/histogram"} {
			status, answer, _ := in.call("GET", path+"?q="+urlQuery(q), "", token...)
			var p struct{ Type, Role string }
			if err := json.Unmarshal([]byte(answer), &p); status != 403 || err != nil || p.Role != "investigator" || p.Type != "urn:weir:problem:forbidden" {
				t.Errorf("%s q=%s: %d %s", path, q, status, answer)
			}
		}
	}
	if status, answer, _ := in.call("GET", "/api/v1/pairs?q="+urlQuery("app:shop path:/of/* status:2xx"), "", token...); status != 200 {
		t.Errorf("metadata cannot be asked for: %d %s", status, answer)
	}
}

func urlQuery(q string) string {
	return strings.NewReplacer(" ", "%20", `"`, "%22", "+", "%2B", "#", "%23", "&", "%26").Replace(q)
}

func (in *installation) tls() *tls.ConnectionState { return &tls.ConnectionState{} }
