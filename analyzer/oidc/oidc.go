// Package oidc signs people in with an OpenID Connect provider: authorization
// code with PKCE (RFC 7636, S256), state and nonce, ID tokens as OpenID Connect
// Core 1.0 section 3.1.3.7 has them checked. It knows neither HTTP requests nor
// sessions: Begin says where to send a browser and what it has to bring back,
// Finish says who came back, and with which role.
//
// Nothing is kept between the two but what the browser holds, a secret of which
// state, nonce and verifier are derived one way. Several analyzers behind one
// address need to share nothing, and a restart in between harms nobody.
package oidc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/weir-capture/weir/internal/backoff"
)

const (
	// FlowTimeout is how long somebody may take at the provider.
	FlowTimeout = 10 * time.Minute
	// maxSkew is how far the provider's clock may be off.
	maxSkew = 2 * time.Minute
	// askTimeout bounds each request to the provider.
	askTimeout = 10 * time.Second
	// refreshEvery is how often what the provider says of itself is read
	// again. Its keys are read when a token names one that is not known.
	refreshEvery = time.Hour
	// retryAfter is how long a failure stands for all who ask meanwhile.
	retryAfter = 2 * time.Second
	// maxUsed is how many finished flows are remembered, so that nobody goes
	// the same way twice. Each is forgotten after FlowTimeout.
	maxUsed = 10_000
)

// algorithms may sign ID tokens. All have a private key that only the provider
// knows: with HS256 the client's secret would make tokens, and with none
// anybody.
var algorithms = []string{
	coreos.RS256, coreos.RS384, coreos.RS512, coreos.ES256, coreos.ES384, coreos.ES512,
	coreos.PS256, coreos.PS384, coreos.PS512, coreos.EdDSA,
}

// The reasons for which nobody is signed in. Errors wrap one of them, and say
// more for the log; it is not for whoever asks.
var (
	// ErrAway: the provider does not answer, or not as one.
	ErrAway = errors.New("identity provider does not answer")
	// ErrFlow: this is not the end of what this browser began, or it took too
	// long.
	ErrFlow = errors.New("sign-in was not begun here, or took too long")
	// ErrRefused: the provider says no, or the person did there.
	ErrRefused = errors.New("identity provider refused")
	// ErrToken: what the provider sent does not hold.
	ErrToken = errors.New("identity provider's answer does not hold")
	// ErrNoRole: who it is, is known, and has no role here.
	ErrNoRole = errors.New("no group of this account has a role here")
)

// Provider is an identity provider. It may be used by several goroutines.
type Provider struct {
	cfg  Config
	log  *slog.Logger
	http *http.Client
	now  func() time.Time

	asking sync.Mutex // one asks, the others wait for what it learns

	mu     sync.Mutex
	found  *discovered
	err    error // why found is nil, or is old
	failed time.Time
	used   map[[32]byte]time.Time
}

// discovered is what a provider says of itself.
type discovered struct {
	provider *coreos.Provider
	verifier *coreos.IDTokenVerifier
	scopes   []string
}

// New makes a client of the provider that cfg names. It asks nothing yet.
func New(cfg Config, log *slog.Logger) *Provider {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Provider{
		cfg: cfg, log: log, http: httpClient(), now: cfg.Now,
		err: errors.New("it was not asked yet"), used: map[[32]byte]time.Time{},
	}
}

// Run looks for the provider until it is found, and every hour again, until
// ctx ends. A provider that is away stops nothing.
func (p *Provider) Run(ctx context.Context) error {
	retry := backoff.Backoff{Min: 2 * retryAfter, Max: time.Minute, Rand: rand.Float64}
	said := ""
	for {
		wait := refreshEvery
		_, err := p.discover(ctx, true)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			wait = retry.Next()
			if text := err.Error(); text != said { // each reason once
				said = text
				p.log.Warn("The identity provider is not ready; it is asked again", slog.String("issuer", p.cfg.Issuer), slog.String("error", text))
			}
		default:
			retry.Reset()
			said = ""
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Issuer is the provider's address.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Err says why nobody can sign in with the provider now, or nil.
func (p *Provider) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return nil
	}
	return fmt.Errorf("%w at %s: %w", ErrAway, p.cfg.Issuer, p.err)
}

// discover is what the provider says of itself, read when nothing is known of
// it or when again.
func (p *Provider) discover(ctx context.Context, again bool) (*discovered, error) {
	known := func() (*discovered, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.found == nil && p.now().Sub(p.failed) < retryAfter {
			return nil, fmt.Errorf("%w: %w", ErrAway, p.err)
		}
		return p.found, nil
	}
	if found, err := known(); !again && (found != nil || err != nil) {
		return found, err
	}
	p.asking.Lock()
	defer p.asking.Unlock()
	if found, err := known(); !again && (found != nil || err != nil) {
		return found, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	fresh, err := p.ask(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		// What was found before is as good as it was.
		p.err, p.failed = err, p.now()
		return nil, fmt.Errorf("%w: %w", ErrAway, err)
	}
	p.found, p.err = fresh, nil
	return fresh, nil
}

// ask reads the provider's document (OpenID Connect Discovery 1.0, section 4).
func (p *Provider) ask(ctx context.Context) (*discovered, error) {
	provider, err := coreos.NewProvider(coreos.ClientContext(ctx, p.http), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("discover provider: %w", err)
	}
	var more struct {
		JWKS   string   `json:"jwks_uri"`
		Scopes []string `json:"scopes_supported"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, fmt.Errorf("read provider's document: %w", err)
	}
	end := provider.Endpoint()
	for _, e := range []struct{ name, url string }{
		{"authorization_endpoint", end.AuthURL}, {"token_endpoint", end.TokenURL}, {"jwks_uri", more.JWKS},
	} {
		if err := checkURL(e.url); err != nil {
			return nil, fmt.Errorf("read provider's document: %s: %w", e.name, err)
		}
	}
	return &discovered{
		provider: provider,
		// The clock is looked at in token.go: the library's leeway is another.
		verifier: provider.VerifierContext(coreos.ClientContext(context.Background(), p.http), &coreos.Config{
			ClientID: p.cfg.ClientID, SupportedSigningAlgs: algorithms, SkipExpiryCheck: true,
		}),
		scopes: p.cfg.scopes(more.Scopes),
	}, nil
}

// oauth is the OAuth 2.0 client of one flow.
func (p *Provider) oauth(d *discovered, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: d.provider.Endpoint(),
		RedirectURL: redirect, Scopes: d.scopes,
	}
}

// first reports whether a flow comes to its end for the first time. The table
// is bounded: when it is full, nobody finishes until something is forgotten,
// which takes many thousands of sign-ins in ten minutes.
func (p *Provider) first(state [32]byte, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.used) >= maxUsed {
		for s, until := range p.used {
			if now.After(until) {
				delete(p.used, s)
			}
		}
	}
	if until, again := p.used[state]; again && !now.After(until) || len(p.used) >= maxUsed {
		return false
	}
	p.used[state] = now.Add(FlowTimeout + maxSkew)
	return true
}
