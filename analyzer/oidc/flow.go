package oidc

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
	"time"
	"unicode"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// Flow is a sign-in that was begun.
type Flow struct {
	// Redirect is where to send the browser.
	Redirect string
	// Cookie is what the browser has to bring back: a secret, for its eyes and
	// ours. It is good for FlowTimeout.
	Cookie string
}

// seedSize and stampSize are those of a cookie's parts: the secret, when the
// flow began (Unix seconds), and behind them where to go afterwards.
const (
	seedSize  = 32
	stampSize = 8
	maxReturn = 2048
	// maxParameter bounds what a browser brings back in one parameter.
	maxParameter = 8192
)

var encoding = base64.RawURLEncoding.Strict()

// secrets are a flow's: which way they go is said beside them.
type secrets struct {
	state    string // to the provider and back, by the browser
	nonce    string // to the provider, and back in the ID token
	verifier string // to the provider, directly; its hash goes before it
}

// derive makes a flow's secrets of its cookie. Knowing one of them tells
// nothing of the cookie nor of the others.
func derive(cookie []byte) secrets {
	one := func(what string) string {
		mac := hmac.New(sha256.New, cookie[:seedSize])
		mac.Write([]byte(what))
		mac.Write(cookie[seedSize:]) // the time and the way back cannot be changed either
		return encoding.EncodeToString(mac.Sum(nil))
	}
	return secrets{state: one("state"), nonce: one("nonce"), verifier: one("verifier")}
}

// Begin starts a sign-in. redirect is the address of our own that the provider
// sends the browser to; returnTo is where the person wanted to go, and is left
// out when it is not a path of ours. The error is ErrAway.
func (p *Provider) Begin(ctx context.Context, redirect, returnTo string) (*Flow, error) {
	d, err := p.discover(ctx, false)
	if err != nil {
		return nil, err
	}
	cookie := make([]byte, seedSize, seedSize+stampSize+len(returnTo))
	if _, err := rand.Read(cookie); err != nil {
		return nil, fmt.Errorf("read random bytes: %w", err)
	}
	cookie = binary.BigEndian.AppendUint64(cookie, uint64(p.now().Unix()))
	cookie = append(cookie, OwnPath(returnTo)...)
	s := derive(cookie)
	return &Flow{
		Redirect: p.oauth(d, redirect).AuthCodeURL(s.state, oauth2.S256ChallengeOption(s.verifier), coreos.Nonce(s.nonce)),
		Cookie:   encoding.EncodeToString(cookie),
	}, nil
}

// Finish ends a sign-in: params are what the browser brought in the address,
// cookie what Begin gave it, redirect what Begin was given. It says who came,
// and where they wanted to go (a path of ours, with an error too). Errors wrap one of this
// package's.
func (p *Provider) Finish(ctx context.Context, redirect string, params url.Values, cookie string) (*Person, string, error) {
	now := p.now()
	raw, err := encoding.DecodeString(cookie)
	if err != nil || len(raw) < seedSize+stampSize || len(raw) > seedSize+stampSize+maxReturn {
		return nil, "/", fmt.Errorf("%w: no cookie of a sign-in", ErrFlow)
	}
	began := time.Unix(int64(binary.BigEndian.Uint64(raw[seedSize:])), 0)
	if age := now.Sub(began); age > FlowTimeout || age < -maxSkew {
		return nil, "/", fmt.Errorf("%w: it was begun %v ago", ErrFlow, age.Round(time.Second))
	}
	s := derive(raw)
	state, err := only(params, "state")
	if err != nil || subtle.ConstantTimeCompare([]byte(state), []byte(s.state)) != 1 {
		return nil, "/", fmt.Errorf("%w: the state is another's", ErrFlow)
	}
	returnTo := OwnPath(string(raw[seedSize+stampSize:])) // the state is made of it too
	if !p.first(sha256.Sum256([]byte(s.state)), now) {
		return nil, returnTo, fmt.Errorf("%w: it came to its end before", ErrFlow)
	}
	// RFC 9207: an answer that names its issuer has to name the right one.
	if iss := params["iss"]; len(iss) > 0 && (len(iss) > 1 || iss[0] != p.cfg.Issuer) {
		return nil, returnTo, fmt.Errorf("%w: the answer is of another issuer", ErrFlow)
	}
	if params.Has("error") {
		return nil, returnTo, fmt.Errorf("%w: %s", ErrRefused, oneLine(params.Get("error")+" "+params.Get("error_description")))
	}
	code, err := only(params, "code")
	if err != nil {
		return nil, returnTo, fmt.Errorf("%w: %w", ErrFlow, err)
	}
	d, err := p.discover(ctx, false)
	if err != nil {
		return nil, returnTo, err
	}
	person, err := p.exchange(ctx, d, redirect, code, s)
	return person, returnTo, err
}

// only is a parameter that has to be there once.
func only(params url.Values, name string) (string, error) {
	vs := params[name]
	if len(vs) != 1 || vs[0] == "" || len(vs[0]) > maxParameter {
		return "", fmt.Errorf("parameter %s is missing, there twice or too long", name)
	}
	return vs[0], nil
}

// exchange gives the code for tokens, and reads who they are of.
func (p *Provider) exchange(ctx context.Context, d *discovered, redirect, code string, s secrets) (*Person, error) {
	ctx, cancel := context.WithTimeout(coreos.ClientContext(ctx, p.http), askTimeout)
	defer cancel()
	tokens, err := p.oauth(d, redirect).Exchange(ctx, code, oauth2.VerifierOption(s.verifier))
	if err != nil {
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.Response != nil && refused.Response.StatusCode < 500 {
			// Its body may hold anything; the code is for machines.
			return nil, fmt.Errorf("%w: token endpoint answered %s %s", ErrRefused, refused.Response.Status, oneLine(refused.ErrorCode))
		}
		return nil, fmt.Errorf("%w: token endpoint: %w", ErrAway, hideBody(err))
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok || raw == "" {
		return nil, fmt.Errorf("%w: no id_token", ErrToken)
	}
	return p.read(ctx, d, tokens, raw, s.nonce)
}

// hideBody keeps what a server sent out of an error.
func hideBody(err error) error {
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return fmt.Errorf("answered %s", e.Response.Status)
	}
	return err
}

// oneLine is text of a stranger, short and without control characters.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	if len(s) > 200 {
		s = s[:200]
	}
	return strings.ToValidUTF8(strings.TrimSpace(s), "")
}

// OwnPath is where somebody may be sent afterwards: a path of this origin, or
// "/" for whatever a browser could read as anything else.
func OwnPath(to string) string {
	if len(to) > maxReturn || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
		return "/"
	}
	// Browsers take \ for /, and leave out tabs and line ends.
	if strings.ContainsFunc(to, func(r rune) bool { return r == '\\' || r <= ' ' || r == 0x7f || r == unicode.ReplacementChar }) {
		return "/"
	}
	u, err := url.Parse(to)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	// /..//evil.test is //evil.test to whoever cleans it.
	if clean := path.Clean(u.Path); strings.Contains(u.Path, "//") || strings.Contains(u.Path, `\`) || clean != u.Path && clean+"/" != u.Path {
		return "/"
	}
	// An answer of the API is no page.
	if u.Path == "/api" || strings.HasPrefix(u.Path, "/api/") {
		return "/"
	}
	return to
}
