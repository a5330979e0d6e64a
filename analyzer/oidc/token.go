package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/weir-capture/weir/analyzer/control"
)

// Person is who signed in.
type Person struct {
	// Issuer and Subject name the account, for good.
	Issuer, Subject string
	// Name is for people; it may change.
	Name  string
	Role  control.Role
	Scope control.Scope
	// Group is the one that gave the role.
	Group string
}

// maxGroups bounds what is looked at of an account's groups.
const maxGroups = 10_000

// read checks an ID token and says who it is of.
func (p *Provider) read(ctx context.Context, d *discovered, tokens *oauth2.Token, raw, nonce string) (*Person, error) {
	token, err := d.verifier.Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrToken, oneLine(err.Error()))
	}
	if token.Nonce == "" || token.Nonce != nonce {
		return nil, fmt.Errorf("%w: the nonce is another sign-in's", ErrToken)
	}
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: read claims: %w", ErrToken, err)
	}
	if err := p.inTime(token, claims); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	if azp := text(claims["azp"]); azp != "" && azp != p.cfg.ClientID || azp == "" && len(token.Audience) > 1 {
		return nil, fmt.Errorf("%w: it is of another client (azp)", ErrToken)
	}
	if token.Subject == "" || len(token.Subject) > 255 {
		return nil, fmt.Errorf("%w: no subject, or one of more than 255 bytes", ErrToken)
	}
	if token.AccessTokenHash != "" {
		if err := token.VerifyAccessToken(tokens.AccessToken); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrToken, err)
		}
	}
	groups := p.groups(claims)
	if groups == nil && d.provider.UserInfoEndpoint() != "" && checkURL(d.provider.UserInfoEndpoint()) == nil {
		// Some providers tell groups only there.
		info, err := d.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		if err != nil {
			return nil, fmt.Errorf("%w: userinfo endpoint: %s", ErrAway, oneLine(err.Error()))
		}
		if info.Subject != token.Subject {
			return nil, fmt.Errorf("%w: the userinfo is somebody else's", ErrToken)
		}
		var more map[string]json.RawMessage
		if err := info.Claims(&more); err != nil {
			return nil, fmt.Errorf("%w: read userinfo: %w", ErrToken, err)
		}
		groups = p.groups(more)
		for k, v := range more {
			if _, there := claims[k]; !there {
				claims[k] = v // what is signed goes first
			}
		}
	}
	person := &Person{Issuer: p.cfg.Issuer, Subject: token.Subject, Name: name(claims, token.Subject)}
	grant, ok := p.cfg.Roles.For(groups)
	if !ok {
		return person, fmt.Errorf("%w: subject %s, %d groups", ErrNoRole, oneLine(token.Subject), len(groups))
	}
	person.Role, person.Scope, person.Group = grant.Role, grant.Scope, grant.Group
	return person, nil
}

// inTime checks when a token was made and how long it is good.
func (p *Provider) inTime(token *coreos.IDToken, claims map[string]json.RawMessage) error {
	now := p.now()
	if !token.Expiry.Add(maxSkew).After(now) {
		return fmt.Errorf("it was good until %s", token.Expiry.UTC().Format(time.RFC3339))
	}
	if token.IssuedAt.After(now.Add(maxSkew)) {
		return fmt.Errorf("it is of the future, %s: the clocks differ", token.IssuedAt.UTC().Format(time.RFC3339))
	}
	if b, ok := claims["nbf"]; ok {
		var from float64
		if json.Unmarshal(b, &from) != nil || from > float64(now.Add(maxSkew).Unix()) {
			return fmt.Errorf("it is not good yet")
		}
	}
	return nil
}

// groups are the values of the claim that lists them; nil when there is no such
// claim. Its name may be a path, such as realm_access.roles.
func (p *Provider) groups(claims map[string]json.RawMessage) []string {
	b, ok := claims[p.cfg.GroupsClaim]
	if !ok {
		first, rest, nested := strings.Cut(p.cfg.GroupsClaim, ".")
		for b = claims[first]; nested; {
			var inner map[string]json.RawMessage
			if json.Unmarshal(b, &inner) != nil {
				return nil
			}
			if b, ok = inner[rest]; ok {
				break
			}
			first, rest, nested = strings.Cut(rest, ".")
			b = inner[first]
		}
	}
	if len(b) == 0 || string(b) == "null" {
		return nil
	}
	if one := text(b); one != "" {
		return []string{one}
	}
	var many []string
	if json.Unmarshal(b, &many) != nil || len(many) > maxGroups {
		return []string{}
	}
	return many
}

// name is what people call somebody: an address only when the provider has
// checked that it is theirs.
func name(claims map[string]json.RawMessage, subject string) string {
	verified := string(claims["email_verified"]) == "true" || text(claims["email_verified"]) == "true"
	for _, claim := range []string{"preferred_username", "email", "name"} {
		if claim == "email" && !verified {
			continue
		}
		if n := oneLine(text(claims[claim])); n != "" {
			return n
		}
	}
	return oneLine(subject)
}

func text(b json.RawMessage) string {
	var s string
	if json.Unmarshal(b, &s) != nil {
		return ""
	}
	return s
}
