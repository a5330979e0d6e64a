package oidc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	clientID     = "weir"
	clientSecret = "a secret of the client"
	redirectURL  = "http://127.0.0.1:4190/api/v1/session/oidc/callback"
)

// idp is an identity provider that does what it should, and what a test wants
// it to do wrong.
type idp struct {
	*httptest.Server
	t   *testing.T
	key *ecdsa.PrivateKey

	mu    sync.Mutex
	codes map[string]url.Values // what each code was given for
	// away answers 503 to everything.
	away bool
	// reuse takes a code a second time.
	reuse bool
	// claims changes those of ID tokens.
	claims func(map[string]any)
	// sign makes the token; nil for ES256 with key.
	sign func(payload []byte) string
	// userinfo is what that endpoint says; nil for none.
	userinfo map[string]any
	now      time.Time
	asked    int
}

func newIDP(t *testing.T, now time.Time) *idp {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &idp{t: t, key: key, codes: map[string]url.Values{}, now: now}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.asked++
		doc := map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/auth", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"ES256", "HS256", "none"}, "scopes_supported": []string{"openid", "groups"},
		}
		if p.userinfo != nil {
			doc["userinfo_endpoint"] = p.URL + "/userinfo"
		}
		answer(w, doc)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer access" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		answer(w, p.userinfo)
	})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.away {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(p.Close)
	return p
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a test that gets none fails
}

// approve is the person at the provider, who says yes: the address that the
// browser is sent back to.
func (p *idp) approve(redirect string) url.Values {
	p.t.Helper()
	u, err := url.Parse(redirect)
	if err != nil {
		p.t.Fatal(err)
	}
	asked := u.Query()
	if asked.Get("client_id") != clientID || asked.Get("redirect_uri") != redirectURL || asked.Get("response_type") != "code" ||
		asked.Get("code_challenge_method") != "S256" || asked.Get("code_challenge") == "" || asked.Get("nonce") == "" || asked.Get("state") == "" {
		p.t.Fatalf("the provider is asked %s", redirect)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	code := rand.Text()
	p.codes[code] = asked
	return url.Values{"code": {code}, "state": {asked.Get("state")}}
}

func (p *idp) token(w http.ResponseWriter, r *http.Request) {
	refuse := func() {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"no"}`))
	}
	code := r.FormValue("code")
	asked, ok := p.codes[code]
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") || r.FormValue("redirect_uri") != redirectURL {
		refuse()
		return
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	if id != clientID || secret != clientSecret {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !p.reuse {
		delete(p.codes, code)
	}
	claims := map[string]any{
		"iss": p.URL, "sub": "42", "aud": clientID, "exp": p.now.Add(5 * time.Minute).Unix(), "iat": p.now.Unix(),
		"nonce": asked.Get("nonce"), "preferred_username": "ada", "groups": []string{"staff", "devs"},
	}
	if p.claims != nil {
		p.claims(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		p.t.Error(err)
	}
	sign := p.sign
	if sign == nil {
		sign = func(b []byte) string { return p.signed(jose.ES256, p.key, b) }
	}
	answer(w, map[string]any{"access_token": "access", "token_type": "Bearer", "expires_in": 300, "id_token": sign(payload)})
}

func (p *idp) signed(alg jose.SignatureAlgorithm, key any, payload []byte) string {
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		p.t.Error(err)
		return ""
	}
	jws, err := s.Sign(payload)
	if err != nil {
		p.t.Error(err)
		return ""
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		p.t.Error(err)
	}
	return compact
}
