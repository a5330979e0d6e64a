// Package client speaks the analyzer's HTTP API (api/openapi.json). The
// command line and the demo are built on it.
package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
)

// The API's documents, under this package's name.
type (
	Row       = httpv1.Row
	Pair      = httpv1.Pair
	Message   = httpv1.Message
	Pairs     = httpv1.Pairs
	Histogram = httpv1.Histogram
	Proxies   = httpv1.Proxies
	Info      = httpv1.Info
	Fields    = httpv1.Fields
	Health    = httpv1.Health
	// Ledger is what was seen and what became of it, Why where a request
	// went, Doctor what is wrong, Forwarders who they are.
	Ledger     = httpv1.Ledger
	Why        = httpv1.Why
	Doctor     = httpv1.Doctor
	Forwarders = httpv1.Forwarders
	// Facets, Endpoints, Map and Errors are sums; Values completes a query.
	Facets    = httpv1.Facets
	Endpoints = httpv1.Endpoints
	Map       = httpv1.Map
	Errors    = httpv1.Errors
	Values    = httpv1.Values
	// Explain says how a query is answered, Import what became of a file.
	Explain = httpv1.Explain
	Import  = httpv1.Import
	// QueryCheck is what the analyzer makes of a query.
	QueryCheck = httpv1.QueryCheck
	// Problem is what the analyzer answers instead; it is an error.
	Problem = httpv1.Problem
)

// ErrPartial: the analyzer reached a limit before it had looked at everything,
// and cannot go on. What came before it holds. The error says which limit.
var ErrPartial = errors.New("answer is partial")

// UnreachableError: nothing that answers like an analyzer is there.
type UnreachableError struct {
	URL string
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("reach analyzer at %s: %v", e.URL, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Side is one of a pair's messages.
type Side string

const (
	Request  Side = "request"
	Response Side = "response"
)

// maxDocument bounds one JSON document: a pair has two bodies of at most a few
// MiB each, in base64.
const maxDocument = 256 << 20

// Client asks one analyzer. It may be used by several goroutines.
type Client struct {
	base  *url.URL
	http  *http.Client
	name  string
	token string
}

// Option is how an analyzer is asked.
type Option func(*Client, *http.Transport)

// WithToken shows an API key (RFC 6750). It goes over TLS or to this machine,
// and never over the control socket, whose mode says who may use it.
func WithToken(token string) Option {
	return func(c *Client, _ *http.Transport) { c.token = token }
}

// WithRoots takes certificates of these authorities alone.
func WithRoots(roots *x509.CertPool) Option {
	return func(_ *Client, t *http.Transport) {
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
}

// socketScheme is before the path of an analyzer's control socket.
const socketScheme = "unix:"

// New makes a client of the analyzer at base: "http://127.0.0.1:4190",
// "https://weir.example", or "unix:/var/lib/weir/data/control.sock" for one on
// this machine.
func New(base string, options ...Option) (*Client, error) {
	t := &http.Transport{
		// No proxy from the environment: it would carry captured content.
		Proxy:                 nil,
		ResponseHeaderTimeout: time.Minute,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		ForceAttemptHTTP2:     true,
	}
	if path, ok := strings.CutPrefix(base, socketScheme); ok {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		}
		t.DisableCompression = true // it stays on this machine
		return &Client{base: &url.URL{Scheme: "http", Host: "localhost"}, http: httpClient(t), name: base}, nil
	}
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		if err == nil {
			base = u.Redacted()
		}
		return nil, fmt.Errorf("%q is not an analyzer's address; want one such as http://127.0.0.1:4190", base)
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	c := &Client{base: u, http: httpClient(t), name: u.Redacted()}
	for _, o := range options {
		o(c, t)
	}
	if c.token != "" && u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("%s is not https, and on another machine: everybody in between could read the token; want an address such as https://%s", c.name, u.Host)
	}
	return c, nil
}

// httpClient follows nobody elsewhere: the API sends nobody on, and a token is
// for its analyzer alone.
func httpClient(t *http.Transport) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// URL is the address that the client asks, without a password that may be in
// it.
func (c *Client) URL() string { return c.name }

// List asks for pairs, newest first.
type List struct {
	// Query is in the query language; empty for all.
	Query string
	// From and To are RFC 3339 or how long ago ("15m"); empty for open.
	From, To string
	// PageSize is how many pairs one request brings; 0 for the default.
	PageSize int
	// Progress, when set, is told after each page for which stored frames were
	// looked into how many bytes that were, and of how many.
	Progress func(scanned, of int64)
}

// Page asks for one page; cursor is the NextCursor of the page before.
func (c *Client) Page(ctx context.Context, l List, cursor string) (*Pairs, error) {
	v := url.Values{}
	set(v, "q", l.Query)
	set(v, "from", l.From)
	set(v, "to", l.To)
	set(v, "cursor", cursor)
	if l.PageSize > 0 {
		v.Set("limit", strconv.Itoa(l.PageSize))
	}
	var out Pairs
	return &out, c.get(ctx, "/api/v1/pairs", v, &out)
}

// Pairs yields pairs, newest first, page by page, until there are no more or
// the consumer stops. An error is the last element; ErrPartial when the
// analyzer could not look at everything.
func (c *Client) Pairs(ctx context.Context, l List) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		cursor := ""
		for {
			page, err := c.Page(ctx, l, cursor)
			if err != nil {
				yield(Row{}, err)
				return
			}
			if l.Progress != nil && page.Of > 0 {
				l.Progress(page.Scanned, page.Of)
			}
			for _, r := range page.Pairs {
				if !yield(r, nil) {
					return
				}
			}
			if page.NextCursor == nil || *page.NextCursor == cursor {
				if page.Partial {
					yield(Row{}, fmt.Errorf("%w: %s", ErrPartial, page.PartialReason))
				}
				return
			}
			cursor = *page.NextCursor
		}
	}
}

// Pair is one pair, whole.
func (c *Client) Pair(ctx context.Context, id string) (*Pair, error) {
	var out Pair
	return &out, c.get(ctx, "/api/v1/pairs/"+url.PathEscape(id), nil, &out)
}

// Body is what was kept of a message's body; decoded undoes content codings.
func (c *Client) Body(ctx context.Context, id string, side Side, decoded bool) ([]byte, error) {
	v := url.Values{}
	if decoded {
		v.Set("decoded", "1")
	}
	return c.bytes(ctx, "/api/v1/pairs/"+url.PathEscape(id)+"/"+string(side)+"/body", v)
}

// Raw is a message as it was on the wire, as far as it was kept.
func (c *Client) Raw(ctx context.Context, id string, side Side) ([]byte, error) {
	return c.bytes(ctx, "/api/v1/pairs/"+url.PathEscape(id)+"/"+string(side)+"/raw", nil)
}

// Curl is a shell command that sends the request again.
func (c *Client) Curl(ctx context.Context, id string) (string, error) {
	b, err := c.bytes(ctx, "/api/v1/pairs/"+url.PathEscape(id)+"/curl", nil)
	return string(b), err
}

// Histogram counts pairs over time; 0 buckets for the default.
func (c *Client) Histogram(ctx context.Context, query, from, to string, buckets int) (*Histogram, error) {
	v := url.Values{}
	set(v, "q", query)
	set(v, "from", from)
	set(v, "to", to)
	if buckets > 0 {
		v.Set("buckets", strconv.Itoa(buckets))
	}
	var out Histogram
	return &out, c.get(ctx, "/api/v1/stats/histogram", v, &out)
}

// Proxies says who is connected.
func (c *Client) Proxies(ctx context.Context) (*Proxies, error) {
	var out Proxies
	return &out, c.get(ctx, "/api/v1/proxies", nil, &out)
}

// Forwarders lists those that are known.
func (c *Client) Forwarders(ctx context.Context) (*Forwarders, error) {
	var out Forwarders
	return &out, c.get(ctx, "/api/v1/forwarders", nil, &out)
}

// LedgerAsk says what a ledger covers; everything may be empty.
type LedgerAsk struct {
	// App is the only one that is asked about.
	App string
	// From and To bound steps and gaps: RFC 3339 or how long ago ("15m").
	From, To string
	// Step is the least width of a step ("10m").
	Step string
}

// Ledger says what was seen and what became of it.
func (c *Client) Ledger(ctx context.Context, ask LedgerAsk) (*Ledger, error) {
	v := url.Values{}
	set(v, "app", ask.App)
	set(v, "from", ask.From)
	set(v, "to", ask.To)
	set(v, "step", ask.Step)
	var out Ledger
	return &out, c.get(ctx, "/api/v1/ledger", v, &out)
}

// Why says where a request like query went, around a time (RFC 3339 or how
// long ago; empty for now) and within so much of it ("1m"; empty for the
// default).
func (c *Client) Why(ctx context.Context, query, around, within string) (*Why, error) {
	v := url.Values{}
	set(v, "q", query)
	set(v, "around", around)
	set(v, "within", within)
	var out Why
	return &out, c.get(ctx, "/api/v1/why", v, &out)
}

// Doctor says what is wrong, why, and what to do.
func (c *Client) Doctor(ctx context.Context) (*Doctor, error) {
	var out Doctor
	return &out, c.get(ctx, "/api/v1/doctor", nil, &out)
}

// Info says what answers.
func (c *Client) Info(ctx context.Context) (*Info, error) {
	var out Info
	return &out, c.get(ctx, "/api/v1/info", nil, &out)
}

// Fields lists what a query can ask for.
func (c *Client) Fields(ctx context.Context) (*Fields, error) {
	var out Fields
	return &out, c.get(ctx, "/api/v1/fields", nil, &out)
}

// Check says whether the other calls would take a query. A mistake is no error
// here: it is in the answer.
func (c *Client) Check(ctx context.Context, query string) (*QueryCheck, error) {
	v := url.Values{}
	set(v, "q", query)
	var out QueryCheck
	return &out, c.get(ctx, "/api/v1/query", v, &out)
}

// Ready is nil when the analyzer is ready; the error says why it is not.
func (c *Client) Ready(ctx context.Context) error {
	resp, err := c.open(ctx, "/readyz", nil, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var h Health
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&h); err != nil {
		return &UnreachableError{c.URL(), fmt.Errorf("read readiness: %w", err)}
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("analyzer is not ready: %s", strings.Join(h.Reasons, "; "))
	}
	return nil
}

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

// open sends a request and returns the answer, whatever its status.
func (c *Client) open(ctx context.Context, path string, v url.Values, headers http.Header) (*http.Response, error) {
	return c.send(ctx, http.MethodGet, path, v, headers, nil)
}

func (c *Client) send(ctx context.Context, method, path string, v url.Values, headers http.Header, body io.Reader) (*http.Response, error) {
	u := c.base.String() + path
	if len(v) > 0 {
		u += "?" + v.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, fmt.Errorf("build request: %w", err)
	}
	for k, vs := range headers {
		req.Header[k] = vs
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err // the address is said once
		}
		return nil, &UnreachableError{c.URL(), err}
	}
	return resp, nil
}

// ask is open for good answers; every other becomes an error.
func (c *Client) ask(ctx context.Context, path string, v url.Values, headers http.Header) (*http.Response, error) {
	resp, err := c.open(ctx, path, v, headers)
	if err != nil {
		return nil, err
	}
	return c.expect(resp, path)
}

// expect takes a good answer; every other becomes an error.
func (c *Client) expect(resp *http.Response, path string) (*http.Response, error) {
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusNoContent {
		return resp, nil
	}
	defer resp.Body.Close()
	if kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); kind == "application/problem+json" {
		var p Problem
		if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&p); err == nil {
			return nil, &p
		}
	}
	if where := resp.Header.Get("Location"); where != "" && resp.StatusCode/100 == 3 {
		return nil, &UnreachableError{c.URL(), fmt.Errorf("%s answered %s, to %q; name the address that it leads to", path, resp.Status, where)}
	}
	return nil, &UnreachableError{c.URL(), fmt.Errorf("%s answered %s; this is not Weir's API", path, resp.Status)}
}

func (c *Client) get(ctx context.Context, path string, v url.Values, out any) error {
	resp, err := c.ask(ctx, path, v, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxDocument)).Decode(out); err != nil {
		return fmt.Errorf("read answer of %s: %w", path, err)
	}
	return nil
}

func (c *Client) bytes(ctx context.Context, path string, v url.Values) ([]byte, error) {
	resp, err := c.ask(ctx, path, v, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", path, err)
	}
	return b, nil
}
