package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// The documents of who may do what.
type (
	Session       = httpv1.Session
	SetupLink     = httpv1.SetupLink
	User          = httpv1.User
	NewUser       = httpv1.NewUser
	UserChange    = httpv1.UserChange
	Key           = httpv1.Key
	NewKey        = httpv1.NewKey
	MadeKey       = httpv1.MadeKey
	ForwarderList = httpv1.ForwarderList
	ProxyList     = httpv1.ProxyList
	Audit         = httpv1.Audit
	AuditEvent    = httpv1.AuditEvent
	AuditCheck    = httpv1.AuditCheck
	NewDeletion   = httpv1.NewDeletion
	NewShredding  = httpv1.NewShredding
	Deletion      = httpv1.Deletion
	Deletions     = httpv1.Deletions
)

// Session says who the analyzer takes the client for.
func (c *Client) Session(ctx context.Context) (*Session, error) {
	var out Session
	return &out, c.get(ctx, "/api/v1/session", nil, &out)
}

// SetupLink is a new one-time link that makes the first user. It is given over
// the control socket, and only while there is no user.
func (c *Client) SetupLink(ctx context.Context) (*SetupLink, error) {
	var out SetupLink
	return &out, c.do(ctx, http.MethodPost, "/api/v1/session/link", nil, &out)
}

// Users are those who may sign in, by name.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var out httpv1.Users
	err := c.get(ctx, "/api/v1/users", nil, &out)
	return out.Users, err
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, u NewUser) (*User, error) {
	var out User
	return &out, c.do(ctx, http.MethodPost, "/api/v1/users", u, &out)
}

// ChangeUser changes a user, and ends their sessions.
func (c *Client) ChangeUser(ctx context.Context, name string, change UserChange) (*User, error) {
	var out User
	return &out, c.do(ctx, http.MethodPatch, "/api/v1/users/"+url.PathEscape(name), change, &out)
}

// DeleteUser removes a user, and ends their sessions.
func (c *Client) DeleteUser(ctx context.Context, name string) error {
	return c.do(ctx, http.MethodDelete, "/api/v1/users/"+url.PathEscape(name), nil, nil)
}

// Keys are those that the caller may manage, newest first.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var out httpv1.Keys
	err := c.get(ctx, "/api/v1/keys", nil, &out)
	return out.Keys, err
}

// CreateKey makes a key. Its secret is told this once.
func (c *Client) CreateKey(ctx context.Context, k NewKey) (*MadeKey, error) {
	var out MadeKey
	return &out, c.do(ctx, http.MethodPost, "/api/v1/keys", k, &out)
}

// RevokeKey ends a key for good.
func (c *Client) RevokeKey(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/api/v1/keys/"+url.PathEscape(id), nil, nil)
}

// ForwarderEnv is the env-file of a forwarder, with a fresh token in it.
func (c *Client) ForwarderEnv(ctx context.Context, l ForwarderList) ([]byte, error) {
	return c.postText(ctx, "/api/v1/forwarder-list", l)
}

// ProxyEnv is the env-file of a proxy.
func (c *Client) ProxyEnv(ctx context.Context, l ProxyList) ([]byte, error) {
	return c.postText(ctx, "/api/v1/proxy-list", l)
}

// AuditPage is a page of the audit log, newest first; cursor is the NextCursor
// of the page before, limit 0 the default.
func (c *Client) AuditPage(ctx context.Context, limit int, cursor string) (*Audit, error) {
	v := url.Values{}
	setCount(v, "limit", limit)
	set(v, "cursor", cursor)
	var out Audit
	return &out, c.get(ctx, "/api/v1/audit", v, &out)
}

// AuditVerify says whether the audit log is as it was written.
func (c *Client) AuditVerify(ctx context.Context) (*AuditCheck, error) {
	var out AuditCheck
	return &out, c.get(ctx, "/api/v1/audit/verify", nil, &out)
}

// Delete removes pairs for good, or counts them (DryRun).
func (c *Client) Delete(ctx context.Context, d NewDeletion) (*Deletion, error) {
	patient, done := c.patient()
	defer done()
	var out Deletion
	return &out, patient.do(ctx, http.MethodPost, "/api/v1/deletions", d, &out)
}

// Shred makes unreadable what was stored on a day, or counts it (DryRun).
func (c *Client) Shred(ctx context.Context, s NewShredding) (*Deletion, error) {
	patient, done := c.patient()
	defer done()
	var out Deletion
	return &out, patient.do(ctx, http.MethodPost, "/api/v1/deletions/day", s, &out)
}

// do sends a document, or none, and reads one, or none.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.sendDocument(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(out); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

func (c *Client) postText(ctx context.Context, path string, in any) ([]byte, error) {
	resp, err := c.sendDocument(ctx, http.MethodPost, path, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", path, err)
	}
	return b, nil
}

func (c *Client) sendDocument(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	headers := http.Header{}
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
		headers.Set("Content-Type", "application/json")
	}
	resp, err := c.send(ctx, method, path, nil, headers, body)
	if err != nil {
		return nil, err
	}
	return c.expect(resp, path)
}
