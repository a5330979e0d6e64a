package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/weir-capture/weir/analyzer/control"
	"github.com/weir-capture/weir/daemon"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func client(t *testing.T, p *idp, now *time.Time) *Provider {
	t.Helper()
	roles, err := ParseRoles("admins=admin,devs=investigator@app=checkout@app=cart@namespace=shop")
	if err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Issuer: p.URL, ClientID: clientID, ClientSecret: clientSecret, Roles: roles, GroupsClaim: "groups",
		Now: func() time.Time { return *now },
	}, slog.New(slog.DiscardHandler))
}

// begin is a browser that goes to sign in.
func begin(t *testing.T, c *Provider, returnTo string) *Flow {
	t.Helper()
	f, err := c.Begin(t.Context(), redirectURL, returnTo)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestS07SignInByProvider(t *testing.T) {
	now := noon
	p := newIDP(t, now)
	c := client(t, p, &now)
	if err := c.Err(); !errors.Is(err, ErrAway) {
		t.Errorf("before it was asked: %v", err)
	}
	f := begin(t, c, "/pairs?q=status:5xx#x")
	if err := c.Err(); err != nil {
		t.Error(err)
	}
	asked, _ := url.Parse(f.Redirect)
	if got := asked.Query().Get("scope"); got != "openid profile email groups" {
		t.Errorf("asks for %q", got)
	}
	for _, v := range []string{"state", "nonce", "code_challenge"} {
		if strings.Contains(f.Cookie, asked.Query().Get(v)) {
			t.Errorf("the cookie shows %s", v)
		}
	}
	person, to, err := c.Finish(t.Context(), redirectURL, p.approve(f.Redirect), f.Cookie)
	if err != nil {
		t.Fatal(err)
	}
	want := &Person{
		Issuer: p.URL, Subject: "42", Name: "ada", Role: control.RoleInvestigator, Group: "devs",
		Scope: control.Scope{Apps: []string{"checkout", "cart"}, Namespaces: []string{"shop"}},
	}
	if !reflect.DeepEqual(person, want) || to != "/pairs?q=status:5xx#x" {
		t.Errorf("%+v, then %s", person, to)
	}
}

// TestS07ProviderAttacks: what does not hold signs nobody in.
func TestS07ProviderAttacks(t *testing.T) {
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, v any) func(*idp) {
		return func(p *idp) { p.claims = func(c map[string]any) { c[name] = v } }
	}
	for name, tc := range map[string]struct {
		idp     func(*idp)
		browser func(params url.Values, cookie *string)
		want    error
	}{
		"wrong nonce":       {idp: claim("nonce", "another"), want: ErrToken},
		"no nonce":          {idp: claim("nonce", ""), want: ErrToken},
		"expired":           {idp: claim("exp", noon.Add(-2*time.Minute).Unix()), want: ErrToken},
		"of the future":     {idp: claim("iat", noon.Add(2*time.Minute+time.Second).Unix()), want: ErrToken},
		"not yet good":      {idp: claim("nbf", noon.Add(2*time.Minute+time.Second).Unix()), want: ErrToken},
		"nbf is no number":  {idp: claim("nbf", "soon"), want: ErrToken},
		"other issuer":      {idp: claim("iss", "https://evil.example"), want: ErrToken},
		"other audience":    {idp: claim("aud", "another"), want: ErrToken},
		"audiences, no azp": {idp: claim("aud", []string{clientID, "another"}), want: ErrToken},
		"other azp":         {idp: claim("azp", "another"), want: ErrToken},
		"no subject":        {idp: claim("sub", ""), want: ErrToken},
		"wrong at_hash":     {idp: claim("at_hash", "AAAA"), want: ErrToken},
		"no group of ours":  {idp: claim("groups", []string{"staff", "Admins", "admins "}), want: ErrNoRole},
		"no groups":         {idp: claim("groups", nil), want: ErrNoRole},
		"odd groups":        {idp: claim("groups", []any{"admins", 7}), want: ErrNoRole},
		"alg none": {idp: func(p *idp) {
			p.sign = func(b []byte) string {
				return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k"}`)) + "." + base64.RawURLEncoding.EncodeToString(b) + "."
			}
		}, want: ErrToken},
		"HS256 with the client's secret": {idp: func(p *idp) {
			p.sign = func(b []byte) string { return p.signed(jose.HS256, []byte(strings.Repeat(clientSecret, 2)), b) }
		}, want: ErrToken},
		"HS256 with the public key": {idp: func(p *idp) {
			der, _ := x509.MarshalPKIXPublicKey(p.key.Public())
			p.sign = func(b []byte) string { return p.signed(jose.HS256, der, b) }
		}, want: ErrToken},
		"another's key": {idp: func(p *idp) {
			p.sign = func(b []byte) string { return p.signed(jose.ES256, other, b) }
		}, want: ErrToken},
		"no JWT":         {idp: func(p *idp) { p.sign = func([]byte) string { return "x.y" } }, want: ErrToken},
		"wrong state":    {browser: func(v url.Values, _ *string) { v.Set("state", "another") }, want: ErrFlow},
		"no state":       {browser: func(v url.Values, _ *string) { v.Del("state") }, want: ErrFlow},
		"two states":     {browser: func(v url.Values, _ *string) { v.Add("state", v.Get("state")) }, want: ErrFlow},
		"no cookie":      {browser: func(_ url.Values, c *string) { *c = "" }, want: ErrFlow},
		"another cookie": {browser: func(_ url.Values, c *string) { *c = strings.Repeat("A", len(*c)) }, want: ErrFlow},
		"changed way back": {browser: func(_ url.Values, c *string) {
			raw, _ := encoding.DecodeString(*c)
			*c = encoding.EncodeToString(append(raw, "evil"...))
		}, want: ErrFlow},
		"no code":        {browser: func(v url.Values, _ *string) { v.Del("code") }, want: ErrFlow},
		"a made-up code": {browser: func(v url.Values, _ *string) { v.Set("code", "x") }, want: ErrRefused},
		"the person said no": {browser: func(v url.Values, _ *string) {
			v.Del("code")
			v.Set("error", "access_denied\r\nfaked log line")
		}, want: ErrRefused},
		"mixed up issuers": {browser: func(v url.Values, _ *string) { v.Set("iss", "https://evil.example") }, want: ErrFlow},
		"provider away":    {browser: func(url.Values, *string) {}, idp: nil, want: ErrAway},
	} {
		t.Run(name, func(t *testing.T) {
			now := noon
			p := newIDP(t, now)
			if tc.idp != nil {
				tc.idp(p)
			}
			c := client(t, p, &now)
			f := begin(t, c, "/")
			params, cookie := p.approve(f.Redirect), f.Cookie
			if tc.browser != nil {
				tc.browser(params, &cookie)
			}
			if tc.want == ErrAway {
				p.mu.Lock()
				p.away = true
				p.mu.Unlock()
			}
			person, to, err := c.Finish(t.Context(), redirectURL, params, cookie)
			if !errors.Is(err, tc.want) || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), clientSecret) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if tc.want == ErrNoRole {
				if person.Role != "" {
					t.Errorf("%+v", person)
				}
			} else if person != nil {
				t.Errorf("%+v", person)
			}
			if to != "/" {
				t.Errorf("sent to %q", to)
			}
		})
	}
}

// TestS07CodeIsUsedOnce: neither with a provider that minds, nor with one that
// does not.
func TestS07CodeIsUsedOnce(t *testing.T) {
	now := noon
	p := newIDP(t, now)
	p.reuse = true
	c := client(t, p, &now)
	f := begin(t, c, "/")
	params := p.approve(f.Redirect)
	if _, _, err := c.Finish(t.Context(), redirectURL, params, f.Cookie); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Finish(t.Context(), redirectURL, params, f.Cookie); !errors.Is(err, ErrFlow) {
		t.Errorf("a second time: %v", err)
	}
	// In another browser's flow a stolen code has another verifier.
	stolen := p.approve(f.Redirect)
	mine := begin(t, c, "/")
	own := p.approve(mine.Redirect)
	own.Set("code", stolen.Get("code"))
	if _, _, err := c.Finish(t.Context(), redirectURL, own, mine.Cookie); !errors.Is(err, ErrRefused) {
		t.Errorf("a stolen code: %v", err)
	}
	late := begin(t, c, "/")
	params = p.approve(late.Redirect)
	now = now.Add(FlowTimeout + time.Second)
	if _, _, err := c.Finish(t.Context(), redirectURL, params, late.Cookie); !errors.Is(err, ErrFlow) {
		t.Errorf("too late: %v", err)
	}
}

func TestClocksMayDifferByTwoMinutes(t *testing.T) {
	for _, off := range []time.Duration{-2*time.Minute + time.Second, 2 * time.Minute} {
		now := noon
		p := newIDP(t, now)
		p.claims = func(c map[string]any) {
			at := noon.Add(off)
			c["iat"], c["nbf"], c["exp"] = at.Unix(), at.Unix(), at.Unix()
			if off > 0 {
				c["exp"] = at.Add(time.Minute).Unix()
			}
		}
		c := client(t, p, &now)
		f := begin(t, c, "/")
		if _, _, err := c.Finish(t.Context(), redirectURL, p.approve(f.Redirect), f.Cookie); err != nil {
			t.Errorf("off by %v: %v", off, err)
		}
	}
}

// TestProviderIsAwayAtFirst: it is found when it comes, and nothing waits for
// it.
func TestProviderIsAwayAtFirst(t *testing.T) {
	now := noon
	p := newIDP(t, now)
	p.away = true
	c := client(t, p, &now)
	if _, err := c.Begin(t.Context(), redirectURL, "/"); !errors.Is(err, ErrAway) {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.away = false
	asked := p.asked
	p.mu.Unlock()
	if _, err := c.Begin(t.Context(), redirectURL, "/"); !errors.Is(err, ErrAway) || p.asked != asked {
		t.Errorf("it is asked again at once: %v", err)
	}
	now = now.Add(retryAfter)
	begin(t, c, "/")

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	fresh := client(t, p, &now)
	go func() { done <- fresh.Run(ctx) }()
	for deadline := time.Now().Add(10 * time.Second); fresh.Err() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(fresh.Err())
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestGroupsFromElsewhere(t *testing.T) {
	now := noon
	sign := func(p *idp, c *Provider) (*Person, error) {
		f := begin(t, c, "/")
		person, _, err := c.Finish(t.Context(), redirectURL, p.approve(f.Redirect), f.Cookie)
		return person, err
	}
	t.Run("nested", func(t *testing.T) {
		p := newIDP(t, now)
		p.claims = func(c map[string]any) { c["realm_access"] = map[string]any{"roles": []string{"admins"}} }
		c := client(t, p, &now)
		c.cfg.GroupsClaim = "realm_access.roles"
		if person, err := sign(p, c); err != nil || person.Role != control.RoleAdmin || len(person.Scope.Apps) > 0 {
			t.Errorf("%+v %v", person, err)
		}
	})
	t.Run("userinfo", func(t *testing.T) {
		p := newIDP(t, now)
		p.claims = func(c map[string]any) { delete(c, "groups"); delete(c, "preferred_username") }
		p.userinfo = map[string]any{"sub": "42", "groups": "admins", "preferred_username": "ada"}
		c := client(t, p, &now)
		if person, err := sign(p, c); err != nil || person.Role != control.RoleAdmin || person.Name != "ada" {
			t.Errorf("%+v %v", person, err)
		}
		p.userinfo["sub"] = "43"
		if person, err := sign(p, c); !errors.Is(err, ErrToken) {
			t.Errorf("somebody else's: %+v %v", person, err)
		}
	})
}

func TestS07OwnPath(t *testing.T) {
	for _, own := range []string{"/", "/pairs", "/pairs?q=a%20b&x=//y", "/pairs/#a", "/a/b/"} {
		if got := OwnPath(own); got != own {
			t.Errorf("%q becomes %q", own, got)
		}
	}
	for _, other := range []string{
		"", "pairs", "//evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/\n/evil.example", "https://evil.example",
		"https:evil.example", "javascript:alert(1)", "/..//evil.example", "/./x", "/%2f/evil.example", "/x/../..//evil.example", "/%5cevil.example",
		" /x", "/x y", "/\x00", "/" + strings.Repeat("a", maxReturn), "/api/v1/session/oidc", "/api", "/\xff/x",
	} {
		if got := OwnPath(other); got != "/" {
			t.Errorf("%q becomes %q", other, got)
		}
	}
}

func TestAddressOfProvider(t *testing.T) {
	for address, good := range map[string]bool{
		"https://idp.example/realms/x": true, "http://127.0.0.1:1": true, "http://[::1]:1": true, "http://localhost": true,
		"http://idp.example": false, "https://u:p@idp.example": false, "ftp://idp.example": false, "idp.example": false, "http://127.0.0.1.evil.example": false,
	} {
		if err := checkURL(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestLoadConfig(t *testing.T) {
	load := func(vars map[string]string) (Config, error) {
		env := daemon.NewEnv(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
		c := LoadConfig(env)
		return c, env.Err()
	}
	if c, err := load(nil); err != nil || c.Issuer != "" {
		t.Errorf("%+v %v", c, err)
	}
	c, err := load(map[string]string{"OIDC_ISSUER": "https://idp.example", "OIDC_CLIENT_ID": "weir", "OIDC_ROLES": "a=admin", "OIDC_SCOPES": "groups x"})
	if err != nil || c.GroupsClaim != "groups" || len(c.Scopes) != 2 || len(c.Roles) != 1 {
		t.Errorf("%+v %v", c, err)
	}
	_, err = load(map[string]string{"OIDC_ISSUER": "http://idp.example", "OIDC_ROLES": "a=boss", "OIDC_CLIENT_SECRET": "hunter2hunter2"})
	for _, want := range []string{"OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_ROLES", "investigator"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if _, err = load(map[string]string{"OIDC_ROLES": "a=admin"}); err == nil || !strings.Contains(err.Error(), "OIDC_ISSUER") {
		t.Errorf("%v", err)
	}
}

func TestParseRoles(t *testing.T) {
	got, err := ParseRoles(`"cn=admins,ou=""x""" = admin , devs=investigator@app="a,b"@cluster=c`)
	want := Roles{
		{Group: `cn=admins,ou="x"`, Role: control.RoleAdmin},
		{Group: "devs", Role: control.RoleInvestigator, Scope: control.Scope{Apps: []string{"a,b"}, Clusters: []string{"c"}}},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if g, ok := got.For([]string{"devs", `cn=admins,ou="x"`}); !ok || g.Role != control.RoleAdmin {
		t.Errorf("the first in order does not decide: %+v", g)
	}
	for _, bad := range []string{"", ",", "a", "a=", "a=boss", "a=admin,", "a=admin,a=viewer", `"a=admin`, `""=admin`, "a=admin@x=y", "a=admin@app", "a=admin@app=", "a=admin b=viewer", "=admin", "a=admin@"} {
		if got, err := ParseRoles(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, got)
		}
	}
}

// FuzzParseRoles: whatever is read has a group, a role and names that mean
// something, and reads the same when written in quotes.
func FuzzParseRoles(f *testing.F) {
	f.Add("admins=admin,devs=investigator@app=checkout")
	f.Add(`"cn=a,ou=b"=viewer@namespace="x""y"`)
	f.Fuzz(func(t *testing.T, s string) {
		roles, err := ParseRoles(s)
		if err != nil {
			return
		}
		quote := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
		var out []string
		for _, g := range roles {
			one := quote(g.Group) + "=" + string(g.Role)
			for _, l := range []struct {
				name   string
				values []string
			}{{"app", g.Scope.Apps}, {"namespace", g.Scope.Namespaces}, {"cluster", g.Scope.Clusters}} {
				for _, v := range l.values {
					one += "@" + l.name + "=" + quote(v)
				}
			}
			out = append(out, one)
		}
		again, err := ParseRoles(strings.Join(out, ","))
		if err != nil || !reflect.DeepEqual(again, roles) {
			t.Errorf("%q: %+v, then %+v, %v", s, roles, again, err)
		}
	})
}

// FuzzOwnPath: nothing that comes out leads elsewhere.
func FuzzOwnPath(f *testing.F) {
	f.Add("/pairs?q=x")
	f.Add("//evil.example")
	f.Add(`/\evil.example`)
	base, _ := url.Parse("https://weir.example/sign-in")
	f.Fuzz(func(t *testing.T, s string) {
		got := OwnPath(s)
		to, err := base.Parse(got)
		if err != nil || to.Host != base.Host || to.Scheme != base.Scheme || strings.ContainsAny(got, "\\\t\r\n") || strings.HasPrefix(got, "//") {
			t.Errorf("%q becomes %q: %v", s, got, err)
		}
	})
}
