package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/control"
	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// signIn signs in and returns the cookie.
func (in *installation) signIn(name, word string) (status int, doc httpv1.Session, cookie *http.Cookie) {
	in.t.Helper()
	body, err := json.Marshal(httpv1.SignIn{Name: name, Password: word})
	if err != nil {
		in.t.Fatal(err)
	}
	status, answer, head := in.call("POST", sessionPath, string(body))
	return status, in.document(status, answer), cookieOf(head)
}

func (in *installation) document(status int, answer string) (doc httpv1.Session) {
	in.t.Helper()
	if status == 200 {
		if err := json.Unmarshal([]byte(answer), &doc); err != nil {
			in.t.Fatalf("%v: %s", err, answer)
		}
	}
	return doc
}

func cookieOf(h http.Header) *http.Cookie {
	cookies := (&http.Response{Header: h}).Cookies()
	if len(cookies) == 0 {
		return nil
	}
	return cookies[0]
}

func with(c *http.Cookie) []string { return []string{"Cookie", c.Name + "=" + c.Value} }

// TestS07FirstUserAndSessions: the one-time token makes the first user, once;
// sessions are told by a cookie that scripts cannot read, go on over a
// rotation, and end on the server: when somebody signs out, is idle, is
// disabled, or gets another role.
func TestS07FirstUserAndSessions(t *testing.T) {
	in := install(t)
	_, answer, _ := in.call("GET", sessionPath, "")
	if doc := in.document(200, answer); !doc.Setup || doc.Identity != nil || doc.Auth != "on" || !slices.Equal(doc.Methods, []string{"password"}) {
		t.Errorf("before there is anybody: %s", answer)
	}
	token, _, err := in.ctl.SetupToken(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := `{"token":"` + token + `","name":"root","password":"` + password + `"}`
	status, answer, head := in.call("POST", sessionPath+"/setup", first)
	cookie := cookieOf(head)
	if doc := in.document(status, answer); status != 200 || doc.Identity == nil || doc.Identity.Role != "admin" || !doc.Notice || doc.Setup || cookie == nil {
		t.Fatalf("setting up: %d %s", status, answer)
	}
	if cookie.Name != "weir" || cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/" {
		t.Errorf("cookie on plain loopback: %v", cookie)
	}
	if status, _, _ := in.call("POST", sessionPath+"/setup", strings.Replace(first, "root", "eve", 1)); status != 401 {
		t.Errorf("the token works twice: %d", status)
	}
	if status, _, _ := in.call("GET", "/api/v1/users", "", with(cookie)...); status != 200 {
		t.Errorf("the first user is no admin: %d", status)
	}

	// Over an hour a session gets another token, and the old one ends.
	in.skip.Add(int64(61 * time.Minute))
	status, _, head = in.call("GET", "/api/v1/pairs", "", with(cookie)...)
	fresh := cookieOf(head)
	if status != 200 || fresh == nil || fresh.Value == cookie.Value {
		t.Fatalf("after an hour: %d %v", status, head)
	}
	if status, _, _ := in.call("GET", "/api/v1/pairs", "", with(fresh)...); status != 200 {
		t.Errorf("the token of after the rotation: %d", status)
	}
	in.skip.Add(int64(10 * time.Minute))
	if status, _, _ := in.call("GET", "/api/v1/pairs", "", with(cookie)...); status != 401 {
		t.Errorf("the token of before the rotation: %d", status)
	}
	if status, _, _ := in.call("DELETE", sessionPath, "", with(fresh)...); status != 204 {
		t.Errorf("signing out: %d", status)
	}
	if status, _, _ := in.call("GET", "/api/v1/pairs", "", with(fresh)...); status != 401 {
		t.Errorf("after signing out: %d", status)
	}

	for what, end := range map[string]func(){
		"idle":         func() { in.skip.Add(int64(9 * time.Hour)) },
		"disabled":     func() { in.change("ann", `{"disabled":true}`) },
		"another role": func() { in.change("ann", `{"role":"viewer"}`) },
		"new password": func() { in.change("ann", `{"password":"another good one"}`) },
	} {
		in.user("ann", control.RoleInvestigator, control.Scope{})
		in.skip.Add(int64(time.Hour))
		_, _, cookie := in.signIn("ann", password)
		if status, _, _ := in.call("GET", "/api/v1/pairs", "", with(cookie)...); status != 200 {
			t.Fatalf("%s: before: %d", what, status)
		}
		end()
		if status, _, _ := in.call("GET", "/api/v1/pairs", "", with(cookie)...); status != 401 {
			t.Errorf("%s: the session goes on: %d", what, status)
		}
		if err := in.ctl.DeleteUser(t.Context(), "ann"); err != nil {
			t.Fatal(err)
		}
	}
}

func (in *installation) change(user, doc string) {
	in.t.Helper()
	if status, answer, _ := in.call("PATCH", "/api/v1/users/"+user, doc, bearer(in.tokens["admin"])...); status != 200 {
		in.t.Fatalf("change %s: %d %s", user, status, answer)
	}
}

// TestS07NoEnumeration: a name that does not exist, a wrong password, a user
// who is disabled and one who is locked out look the same; many tries from an
// address are held up.
func TestS07NoEnumeration(t *testing.T) {
	in := install(t)
	in.user("ann", control.RoleViewer, control.Scope{})
	in.user("off", control.RoleViewer, control.Scope{})
	in.change("off", `{"disabled":true}`)
	var first string
	for _, try := range [][2]string{{"ann", "wrong"}, {"nobody", password}, {"off", password}, {"", ""}, {strings.Repeat("x", 5000), "x"}} {
		status, answer, _ := in.call("POST", sessionPath, `{"name":"`+try[0]+`","password":"`+try[1]+`"}`)
		if first == "" {
			first = answer
		}
		if status != 401 || answer != first {
			t.Errorf("%.20s: %d %s; want 401 %s", try[0], status, answer, first)
		}
	}
	status := 0
	for range 12 {
		status, _, _ = in.call("POST", sessionPath, `{"name":"ann","password":"wrong"}`)
	}
	if status != 429 {
		t.Errorf("the 17th try in no time: %d", status)
	}
	for range 10 { // each failure locks for twice as long
		in.skip.Add(int64(time.Minute))
		if _, _, err := in.ctl.SignIn(t.Context(), "ann", "wrong", "198.51.100.7"); !errors.Is(err, control.ErrDenied) {
			t.Fatal(err)
		}
	}
	in.skip.Add(int64(6 * time.Second))
	// The name is locked by now: even the right password does not open it, and
	// nobody can tell.
	if status, answer, _ := in.call("POST", sessionPath, `{"name":"ann","password":"`+password+`"}`); status != 401 || answer != first {
		t.Errorf("locked: %d %s", status, answer)
	}
}

// TestS10HostAndOrigin: neither another name for this machine nor a page of
// another origin gets an answer, whatever it holds.
func TestS10HostAndOrigin(t *testing.T) {
	public, err := url.Parse("https://weir.example.com")
	if err != nil {
		t.Fatal(err)
	}
	in := install(t, func(c *Config, _ *Deps) { c.PublicURL, c.AllowedHosts = public, []string{"other.example"} })
	token := bearer(in.tokens["admin"])
	for _, tt := range []struct {
		method  string
		headers []string
		want    int
	}{
		{"GET", nil, 200},
		{"GET", []string{"Host", "evil.test"}, 403},
		{"GET", []string{"Host", "evil.test:4190"}, 403},
		{"GET", []string{"Host", "127.0.0.1.evil.test"}, 403},
		{"GET", []string{"Host", "localhost.evil.test"}, 403},
		{"GET", []string{"Host", "weir.example.com.evil.test"}, 403},
		{"GET", []string{"Host", "weir.example.com"}, 200},
		{"GET", []string{"Host", "OTHER.example:9"}, 200},
		{"GET", []string{"Host", "localhost."}, 200},
		{"GET", []string{"Host", "[::1]:4190"}, 200},
		{"GET", []string{"Origin", "http://evil.test"}, 403},
		{"GET", []string{"Origin", "null"}, 403},
		{"GET", []string{"Origin", "http://127.0.0.1:3000"}, 403},
		{"GET", []string{"Origin", "https://weir.example.com"}, 200},
		{"GET", []string{"Origin", "http://weir.example.com"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"GET", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"PUT", []string{"Origin", "http://evil.test"}, 403},
		{"PUT", []string{"Origin", "null"}, 403},
		{"PUT", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"PUT", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"PUT", []string{"Content-Type", "text/plain"}, 415},
		{"PUT", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"PUT", []string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		body := ""
		if tt.method == "PUT" {
			body = `{"name":"v","document":{}}`
		}
		if status, answer, _ := in.call(tt.method, viewsPath, body, slices.Concat(token, tt.headers)...); status != tt.want {
			t.Errorf("%s %q: %d %s, want %d", tt.method, tt.headers, status, answer, tt.want)
		}
	}
}

// TestS10CookiesOverTLS: over TLS, its own or that of a trusted proxy, the
// cookie is bound to the host; what somebody else says of TLS is not believed,
// and nothing is answered in the clear beyond this machine.
func TestS10CookiesOverTLS(t *testing.T) {
	public, err := url.Parse("https://weir.example.com")
	if err != nil {
		t.Fatal(err)
	}
	in := install(t, func(c *Config, _ *Deps) {
		c.PublicURL, c.TrustedProxies = public, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	in.user("ann", control.RoleViewer, control.Scope{})
	ask := func(peer string, headers ...string) *http.Response {
		r := httptest.NewRequestWithContext(t.Context(), "POST", sessionPath, strings.NewReader(`{"name":"ann","password":"`+password+`"}`))
		r.RemoteAddr, r.Host = peer, "weir.example.com"
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		in.http.Config.Handler.ServeHTTP(w, r)
		return w.Result()
	}
	resp := ask("10.1.2.3:5", "X-Forwarded-For", "198.51.100.9", "X-Forwarded-Proto", "https")
	cookie := cookieOf(resp.Header)
	if resp.StatusCode != 200 || cookie == nil || cookie.Name != "__Host-weir" || !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" || cookie.Domain != "" || cookie.SameSite != http.SameSiteStrictMode {
		t.Errorf("through a trusted proxy: %s %v", resp.Status, cookie)
	}
	if resp.Header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS")
	}
	events, _, err := in.ctl.ListAudit(t.Context(), control.AuditPage{Limit: 1})
	if err != nil || len(events) != 1 || events[0].From != "198.51.100.9" || events[0].ActorName != "ann" || events[0].Action != "session.sign-in" {
		t.Errorf("the audit log: %+v %v", events, err)
	}
	for _, tt := range [][]string{
		{"203.0.113.9:5"},
		{"203.0.113.9:5", "X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "https"},
		{"10.1.2.3:5", "X-Forwarded-For", "198.51.100.9", "X-Forwarded-Proto", "http"},
	} {
		if resp := ask(tt[0], tt[1:]...); resp.StatusCode != 403 || cookieOf(resp.Header) != nil {
			t.Errorf("%q: %s", tt, resp.Status)
		}
	}
}

// TestS12Diagnostics: metrics are for this machine and for admins, and what
// readiness has to say of directories is too. Nothing of a path or a name is
// in a label.
func TestS12Diagnostics(t *testing.T) {
	in := install(t)
	get := func(path, peer string, headers ...string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		r.RemoteAddr, r.Host = peer, "127.0.0.1:4190"
		r.TLS = in.tls()
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		in.http.Config.Handler.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	in.call("GET", "/api/v1/pairs/"+shopPair, "", bearer(in.tokens["admin"])...)
	for _, tt := range []struct {
		peer    string
		headers []string
		want    int
	}{
		{"127.0.0.1:9", nil, 200},
		{"[::1]:9", nil, 200},
		{"203.0.113.7:9", nil, 401},
		{"127.0.0.1:9", []string{"X-Forwarded-For", "203.0.113.7"}, 401},
		{"127.0.0.1:9", []string{"Via", "1.1 proxy"}, 401},
		{"203.0.113.7:9", bearer(in.tokens["operator"]), 403},
		{"203.0.113.7:9", bearer(in.tokens["admin"]), 200},
	} {
		status, body := get("/metrics", tt.peer, tt.headers...)
		if status != tt.want {
			t.Errorf("metrics for %s %q: %d, want %d", tt.peer, tt.headers, status, tt.want)
		}
		if status == 200 && (strings.Contains(body, shopPair) || strings.Contains(body, "shop")) {
			t.Error("metrics have ids or names in them")
		}
	}
	in.store.err = os.ErrPermission
	if status, body := get("/readyz", "203.0.113.7:9"); status != 503 || strings.Contains(body, "permission") {
		t.Errorf("readiness for strangers: %d %s", status, body)
	}
	if status, body := get("/readyz", "127.0.0.1:9"); status != 503 || !strings.Contains(body, "permission") {
		t.Errorf("readiness on this machine: %d %s", status, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/config", "/api/v1/config"} {
		if status, body := get(path, "203.0.113.7:9"); status == 200 && strings.Contains(body, "goroutine") {
			t.Errorf("%s: %s", path, body)
		}
	}
}

// TestS11HeadersOfTheAPI: nothing that the API answers is a page.
func TestS11HeadersOfTheAPI(t *testing.T) {
	in := install(t)
	for _, path := range []string{"/api/v1/pairs", "/api/v1/pairs/" + shopPair + "/response/body", "/api/v1/none", "/metrics"} {
		_, _, h := in.call("GET", path, "", bearer(in.tokens["admin"])...)
		for name, want := range map[string]string{
			"X-Content-Type-Options": "^nosniff$", "Referrer-Policy": "^no-referrer$", "X-Frame-Options": "^DENY$",
			"Cross-Origin-Opener-Policy": "^same-origin$", "Cross-Origin-Resource-Policy": "^same-origin$",
			"Content-Security-Policy": "default-src 'none'.*sandbox.*frame-ancestors 'none'", "Cache-Control": "^no-store$",
		} {
			if !regexp.MustCompile(want).MatchString(h.Get(name)) {
				t.Errorf("%s: %s is %q", path, name, h.Get(name))
			}
		}
	}
}

// TestS25Limits: bodies, queries and rates are bounded, and whoever exceeds
// them is told so.
func TestS25Limits(t *testing.T) {
	in := install(t)
	token := bearer(in.tokens["viewer"])
	if status, _, _ := in.call("PUT", viewsPath, `{"name":"v","document":"`+strings.Repeat("x", httpv1.MaxDoorBody)+`"}`, token...); status != 413 {
		t.Errorf("a large body: %d", status)
	}
	if status, _, _ := in.call("GET", "/api/v1/pairs?q="+strings.Repeat("a", httpv1.MaxQueryLen+1), "", token...); status != 400 {
		t.Errorf("a long query: %d", status)
	}
	status, retry := 0, ""
	for range callerBurst + 1 {
		var h http.Header
		if status, _, h = in.call("GET", "/api/v1/fields", "", token...); status == 429 {
			retry = h.Get("Retry-After")
			break
		}
	}
	if status != 429 || retry == "" {
		t.Errorf("%d requests at once: %d, Retry-After %q", callerBurst+1, status, retry)
	}
	if status, _, _ := in.call("GET", "/api/v1/fields", "", bearer(in.tokens["operator"])...); status != 200 {
		t.Errorf("somebody else: %d", status)
	}
	in.skip.Add(int64(time.Minute))
	if status, _, _ := in.call("GET", "/api/v1/fields", "", token...); status != 200 {
		t.Errorf("a minute later: %d", status)
	}
	l := newLimiter(1, 1, time.Now)
	for i := range maxRates + 10 {
		l.take(string(rune(i)), 1)
	}
	if len(l.at) > maxRates || l.order.Len() != len(l.at) {
		t.Errorf("the table of rates has %d and %d entries", len(l.at), l.order.Len())
	}
}

// TestS27WhatIsWrittenDown: content that is read, exports, changes and what
// was refused; a viewer who reads metadata is not.
func TestS27WhatIsWrittenDown(t *testing.T) {
	in := install(t)
	admin := bearer(in.tokens["admin"])
	in.call("GET", "/api/v1/pairs/"+shopPair, "", bearer(in.tokens["viewer"])...)
	in.call("GET", "/api/v1/pairs/"+shopPair, "", bearer(in.tokens["investigator"])...)
	in.call("GET", "/api/v1/pairs/"+shopPair+"/response/body", "", bearer(in.tokens["viewer"])...)
	in.call("POST", "/api/v1/users", `{"name":"ann","password":"`+password+`","role":"viewer"}`, admin...)
	in.call("POST", "/api/v1/keys", `{"name":"ci","kind":"api","role":"viewer"}`, admin...)
	in.call("POST", sessionPath, `{"name":"ann","password":"wrong"}`)
	events, _, err := in.ctl.ListAudit(t.Context(), control.AuditPage{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Backward(events) {
		target, _, _ := strings.Cut(e.Target, " ")
		if e.Action == "key.create" {
			target = "…"
		}
		got = append(got, strings.Join([]string{e.ActorName, e.Action, target, string(e.Result)}, " "))
		if strings.Contains(e.Target+e.Detail, password) || strings.Contains(e.Target+e.Detail, "secret of") {
			t.Errorf("a secret is written down: %+v", e)
		}
	}
	want := []string{
		"investigator pair.read " + shopPair + " ok",
		"viewer pair.read /api/v1/pairs/" + shopPair + "/response/body denied",
		"admin user.create ann ok",
		"admin key.create … ok",
		" session.sign-in ann denied",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if status, answer, _ := in.call("GET", "/api/v1/audit/verify", "", admin...); status != 200 || !strings.Contains(answer, `"intact":true`) {
		t.Errorf("verify: %d %s", status, answer)
	}
}
