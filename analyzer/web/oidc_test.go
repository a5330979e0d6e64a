package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/analyzer/oidc"
)

// provider signs in whoever a test says; what it checks itself is tested in
// its own room.
type provider struct {
	err          error
	role         control.Role
	redirect, to string
	cookie       string
}

func (p *provider) Begin(_ context.Context, redirect, to string) (*oidc.Flow, error) {
	p.redirect, p.to = redirect, to
	return &oidc.Flow{Redirect: "https://idp.example/auth?state=s", Cookie: "flow"}, p.err
}

func (p *provider) Finish(_ context.Context, redirect string, params url.Values, cookie string) (*oidc.Person, string, error) {
	p.redirect, p.cookie = redirect, cookie
	if p.err != nil || params.Get("code") != "c" {
		return nil, "/", fmt.Errorf("%w: inner <b>details</b>", p.err)
	}
	return &oidc.Person{Issuer: "https://idp.example", Subject: "42", Name: "ada <i>", Role: p.role, Group: "devs"}, oidc.OwnPath(p.to), nil
}

func TestS07IdentityProvider(t *testing.T) {
	c, err := control.Open(t.Context(), filepath.Join(t.TempDir(), "control.db"), control.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &provider{role: control.RoleInvestigator}
	srv, err := New(Config{}, Deps{Store: newFake(), Control: c, OIDC: p}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(srv.Handler())
	defer ts.Close()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(path, cookie string) (*http.Response, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		req.Header.Set("Sec-Fetch-Mode", "navigate")
		if cookie != "" {
			req.Header.Set("Cookie", cookie)
		}
		if !strings.Contains(path, "callback") {
			req.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp, string(b)
	}

	resp, _ := get("/api/v1/session/oidc?to=%2Fpairs%3Fq%3Da", "")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "https://idp.example/auth?state=s" || p.redirect != ts.URL+"/api/v1/session/oidc/callback" || p.to != "/pairs?q=a" {
		t.Errorf("%s to %s: %+v", resp.Status, resp.Header.Get("Location"), p)
	}
	flow := resp.Cookies()[0]
	if flow.Name != "weir-oidc" || flow.Value != "flow" || !flow.HttpOnly || flow.SameSite != http.SameSiteLaxMode || flow.MaxAge != 600 || flow.Secure {
		t.Errorf("%+v", flow)
	}

	resp, body := get("/api/v1/session/oidc/callback?code=c&state=s", "weir-oidc=flow")
	if resp.StatusCode != http.StatusOK || p.cookie != "flow" || !strings.Contains(body, `content="0; url=`+ts.URL+`/pairs?q=a"`) || strings.Contains(body, "<i>") {
		t.Errorf("%s with %q\n%s", resp.Status, p.cookie, body)
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("CSP %s", csp)
	}
	session := ""
	for _, k := range resp.Cookies() {
		switch {
		case k.Name == "weir-oidc" && k.MaxAge >= 0:
			t.Errorf("the flow's cookie stays: %+v", k)
		case k.Name == cookieName(false):
			session = k.Name + "=" + k.Value
			if !k.HttpOnly || k.SameSite != http.SameSiteStrictMode {
				t.Errorf("%+v", k)
			}
		}
	}
	if _, body = get("/api/v1/session", session); !strings.Contains(body, `"role":"investigator"`) || !strings.Contains(body, `"oidc"`) {
		t.Error(body)
	}
	// A disabled account stays out, whatever the provider says.
	users, err := c.ListUsers(t.Context())
	if err != nil || len(users) != 1 || !users[0].External {
		t.Fatalf("%+v %v", users, err)
	}
	off := true
	if _, err := c.SetUser(t.Context(), users[0].Name, control.UserChange{Disabled: &off}); err != nil {
		t.Fatal(err)
	}
	if resp, _ = get("/api/v1/session/oidc/callback?code=c&state=s", "weir-oidc=flow"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a disabled account: %s", resp.Status)
	}
	if _, body = get("/api/v1/session", session); strings.Contains(body, "investigator") {
		t.Errorf("its session goes on: %s", body)
	}

	for err, status := range map[error]int{oidc.ErrAway: 503, oidc.ErrNoRole: 403, oidc.ErrRefused: 403, oidc.ErrFlow: 403, oidc.ErrToken: 403, errors.New("odd"): 500} {
		p.err = err
		resp, body := get("/api/v1/session/oidc/callback?code=c&state=s", "weir-oidc=flow")
		if resp.StatusCode != status || !strings.Contains(body, "/sign-in") || strings.Contains(body, "details") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%v: %s\n%s", err, resp.Status, body)
		}
		for _, k := range resp.Cookies() {
			if k.Name == cookieName(false) && k.Value != "" {
				t.Errorf("%v: signed in", err)
			}
		}
	}
	// Not as a part of another site's page.
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, ts.URL+"/api/v1/session/oidc/callback?code=c", nil)
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	req.Header.Set("Sec-Fetch-Mode", "no-cors")
	if resp, err := browser.Do(req); err != nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("%v %v", resp, err)
	} else {
		resp.Body.Close()
	}
}
