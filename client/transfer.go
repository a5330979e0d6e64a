package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Select is which pairs a sum or a file is of; everything may be empty.
type Select struct {
	// Query is in the query language.
	Query string
	// From and To are RFC 3339 or how long ago ("15m").
	From, To string
}

func (s Select) values() url.Values {
	v := url.Values{}
	set(v, "q", s.Query)
	set(v, "from", s.From)
	set(v, "to", s.To)
	return v
}

func setCount(v url.Values, name string, n int) {
	if n > 0 {
		v.Set(name, strconv.Itoa(n))
	}
}

// Facets counts the values of fields, separated by commas; empty and 0 are the
// analyzer's defaults.
func (c *Client) Facets(ctx context.Context, s Select, fields string, limit int) (*Facets, error) {
	v := s.values()
	set(v, "fields", fields)
	setCount(v, "limit", limit)
	var out Facets
	return &out, c.get(ctx, "/api/v1/stats/facets", v, &out)
}

// Endpoints tells of each endpoint how often, how well and how fast it
// answered.
func (c *Client) Endpoints(ctx context.Context, s Select, limit int) (*Endpoints, error) {
	v := s.values()
	setCount(v, "limit", limit)
	var out Endpoints
	return &out, c.get(ctx, "/api/v1/stats/endpoints", v, &out)
}

// Map tells who calls whom.
func (c *Client) Map(ctx context.Context, s Select, limit int) (*Map, error) {
	v := s.values()
	setCount(v, "limit", limit)
	var out Map
	return &out, c.get(ctx, "/api/v1/stats/map", v, &out)
}

// Errors tells what failed, grouped by what it says; clientErrors takes those
// with status 4xx along.
func (c *Client) Errors(ctx context.Context, s Select, limit int, clientErrors bool) (*Errors, error) {
	v := s.values()
	setCount(v, "limit", limit)
	if clientErrors {
		v.Set("client_errors", "1")
	}
	var out Errors
	return &out, c.get(ctx, "/api/v1/stats/errors", v, &out)
}

// Values are those of a field that begin with prefix.
func (c *Client) Values(ctx context.Context, field, prefix string, limit int) (*Values, error) {
	v := url.Values{}
	set(v, "prefix", prefix)
	setCount(v, "limit", limit)
	var out Values
	return &out, c.get(ctx, "/api/v1/fields/"+url.PathEscape(field)+"/values", v, &out)
}

// Explain says how a query is answered.
func (c *Client) Explain(ctx context.Context, query string) (*Explain, error) {
	v := url.Values{}
	set(v, "q", query)
	var out Explain
	return &out, c.get(ctx, "/api/v1/explain", v, &out)
}

// ErrCut: a download ended before it was whole.
var ErrCut = errors.New("the analyzer ended the download before it was whole; its log says why")

// Exported is what is in a file.
type Exported struct {
	// Pairs are in it; LeftOut match, and the format has no place for them.
	// Unreadable are passed over: the store is damaged there, and nobody knows
	// whether they match.
	Pairs, LeftOut, Unreadable uint64
}

// Export writes a file of pairs to w. After an error what was written is not
// whole.
func (c *Client) Export(ctx context.Context, s Select, format string, w io.Writer) (Exported, error) {
	v := s.values()
	set(v, "format", format)
	trailer, err := c.download(ctx, "/api/v1/export", v, w)
	if err != nil {
		return Exported{}, err
	}
	var out Exported
	if out.Pairs, err = strconv.ParseUint(trailer.Get("Weir-Pairs"), 10, 64); err == nil {
		out.LeftOut, err = strconv.ParseUint(trailer.Get("Weir-Left-Out"), 10, 64)
	}
	if partial := trailer.Get("Weir-Partial"); err == nil && partial != "" {
		out.Unreadable, err = strconv.ParseUint(partial, 10, 64)
	}
	if err != nil {
		return Exported{}, fmt.Errorf("read end of export: %w", err)
	}
	return out, nil
}

// Backup writes a tar file of everything that is stored to w. After an error
// what was written is not whole.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	_, err := c.download(ctx, "/api/v1/backup", nil, w)
	return err
}

func (c *Client) download(ctx context.Context, path string, v url.Values, w io.Writer) (http.Header, error) {
	// It is compressed well or not at all where it goes to.
	resp, err := c.ask(ctx, path, v, http.Header{"Accept-Encoding": {"identity"}})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	out := &writeErr{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case out.err != nil:
			return nil, out.err
		}
		return nil, fmt.Errorf("%w (%w)", ErrCut, err)
	}
	return resp.Trailer, nil
}

// writeErr tells the writer's error from the reader's.
type writeErr struct {
	w   io.Writer
	err error
}

func (w *writeErr) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	if err != nil {
		w.err = err
	}
	return n, err
}

// Import sends a file of pairs. app is that of pairs that name none; it may be
// empty.
func (c *Client) Import(ctx context.Context, format, app string, file io.Reader) (*Import, error) {
	const path = "/api/v1/import"
	v := url.Values{}
	set(v, "format", format)
	set(v, "app", app)
	patient, done := c.patient()
	defer done()
	resp, err := patient.send(ctx, http.MethodPost, path, v, http.Header{"Content-Type": {"application/octet-stream"}}, file)
	if err != nil {
		return nil, err
	}
	if resp, err = patient.expect(resp, path); err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var out Import
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&out); err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", path, err)
	}
	return &out, nil
}

// patient is the client for work that an analyzer may answer long after the
// last byte of the question. done lets go of its connections.
func (c *Client) patient() (p *Client, done func()) {
	t, ok := c.http.Transport.(*http.Transport)
	if !ok {
		return c, func() {}
	}
	t = t.Clone()
	t.ResponseHeaderTimeout = 0
	patient := *c
	patient.http = httpClient(t)
	return &patient, t.CloseIdleConnections
}
