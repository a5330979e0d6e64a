package ledger

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Analyzer reads pairs as any user of the HTTP API would.
type Analyzer struct {
	// URL is "http://host:port".
	URL  string
	HTTP *http.Client
}

// NewAnalyzer talks to the API at this address.
func NewAnalyzer(base string) *Analyzer {
	return &Analyzer{URL: base, HTTP: &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 8},
	}}
}

// Row is a pair as lists show it.
type Row struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	StoredAt time.Time `json:"stored_at"`
	Cluster  string    `json:"cluster"`
	App      string    `json:"app"`
	Pod      string    `json:"pod"`
	Protocol string    `json:"protocol"`
	Method   string    `json:"method"`
	Host     string    `json:"host"`
	Path     string    `json:"path"`
	Query    string    `json:"query"`
	Status   int       `json:"status"`
	Duration int64     `json:"duration_ns"`
	Request  int64     `json:"request_size"`
	Response int64     `json:"response_size"`
	Conn     uint64    `json:"conn"`
	Seq      uint64    `json:"seq"`
	Error    string    `json:"error"`
	Flags    []string  `json:"flags"`
}

// Target is path and query.
func (r Row) Target() string {
	if r.Query == "" {
		return r.Path
	}
	return r.Path + "?" + r.Query
}

// Pair is one pair, whole.
type Pair struct {
	Row
	// nil for a message that was never seen.
	RequestMsg  *Message          `json:"request"`
	ResponseMsg *Message          `json:"response"`
	Tags        map[string]string `json:"tags"`
}

// Message is one side of a pair.
type Message struct {
	StartLine string      `json:"start_line"`
	Headers   [][2]string `json:"headers"`
	BodySize  int64       `json:"body_size"`
	BodyHash  string      `json:"body_hash"`
	Truncated bool        `json:"truncated"`
}

// Header is the first field of this name; of no message, nothing.
func (m *Message) Header(name string) string {
	if m == nil {
		return ""
	}
	for _, h := range m.Headers {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}

// Problem is an error that the API answered (RFC 9457).
type Problem struct {
	Status int
	Type   string
	Body   []byte
}

func (p *Problem) Error() string { return fmt.Sprintf("status %d: %s", p.Status, p.Body) }

// Get reads one address of the API. An answer other than 200 is a *Problem.
func (a *Analyzer) Get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := a.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, &Problem{resp.StatusCode, resp.Header.Get("Content-Type"), body}
	}
	return body, nil
}

// Page is one page of a list.
type Page struct {
	Pairs   []Row  `json:"pairs"`
	Next    string `json:"next_cursor"`
	Partial bool   `json:"partial"`
}

// Page asks for one page of a list; query may be empty.
func (a *Analyzer) Page(ctx context.Context, query, cursor string, limit int) (*Page, error) {
	v := url.Values{"limit": {strconv.Itoa(limit)}}
	if query != "" {
		v.Set("q", query)
	}
	if cursor != "" {
		v.Set("cursor", cursor)
	}
	b, err := a.Get(ctx, "/api/v1/pairs?"+v.Encode())
	if err != nil {
		return nil, err
	}
	var p Page
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode page: %w", err)
	}
	return &p, nil
}

// List reads every page of a list. A list that is not in order, newest first,
// or that shows one pair twice is an error.
func (a *Analyzer) List(ctx context.Context, query string) ([]Row, error) {
	const limit = 200
	var all []Row
	seen := map[string]bool{}
	cursor := ""
	for {
		p, err := a.Page(ctx, query, cursor, limit)
		if err != nil {
			return nil, err
		}
		if p.Partial {
			return nil, errors.New("list is partial")
		}
		for _, row := range p.Pairs {
			if seen[row.ID] {
				return nil, fmt.Errorf("list shows pair %s twice", row.ID)
			}
			seen[row.ID] = true
			if n := len(all); n > 0 && row.Time.After(all[n-1].Time) {
				return nil, fmt.Errorf("list is not newest first: pair %s of %v comes after %s of %v", row.ID, row.Time, all[n-1].ID, all[n-1].Time)
			}
			all = append(all, row)
		}
		if p.Next == "" {
			return all, nil
		}
		if len(p.Pairs) == 0 || p.Next == cursor {
			return nil, errors.New("list does not end: a page without pairs names a next one")
		}
		cursor = p.Next
	}
}

// Pair reads one pair.
func (a *Analyzer) Pair(ctx context.Context, id string) (*Pair, error) {
	b, err := a.Get(ctx, "/api/v1/pairs/"+id)
	if err != nil {
		return nil, err
	}
	var p Pair
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode pair %s: %w", id, err)
	}
	return &p, nil
}

// Proxies is who is connected, as the API says it.
type Proxies struct {
	Forwarders []struct {
		Connected bool              `json:"connected"`
		Cluster   string            `json:"cluster"`
		Filtered  map[string]uint64 `json:"filtered"`
		Dropped   map[string]uint64 `json:"dropped"`
	} `json:"forwarders"`
	Proxies []struct {
		ID       string `json:"proxy_id"`
		Epoch    string `json:"epoch"`
		App      string `json:"app"`
		State    string `json:"state"`
		Counters struct {
			Seen    uint64            `json:"seen"`
			Batched uint64            `json:"batched"`
			Sampled uint64            `json:"sampled"`
			Acked   uint64            `json:"acked"`
			Dropped map[string]uint64 `json:"dropped"`
		} `json:"counters"`
	} `json:"proxies"`
}

// Proxies asks who is connected.
func (a *Analyzer) Proxies(ctx context.Context) (*Proxies, error) {
	b, err := a.Get(ctx, "/api/v1/proxies")
	if err != nil {
		return nil, err
	}
	var p Proxies
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("decode proxies: %w", err)
	}
	return &p, nil
}

// Body reads one body as it was stored; side is "request" or "response".
func (a *Analyzer) Body(ctx context.Context, id, side string) ([]byte, error) {
	return a.Get(ctx, "/api/v1/pairs/"+id+"/"+side+"/body")
}

// ReadAll reads every pair that the query selects, whole, with both bodies.
func (a *Analyzer) ReadAll(ctx context.Context, query string) ([]Stored, error) {
	rows, err := a.List(ctx, query)
	if err != nil {
		return nil, err
	}
	out := make([]Stored, len(rows))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i, row := range rows {
		g.Go(func() error {
			s, err := a.read(ctx, row)
			if err != nil {
				return fmt.Errorf("read pair %s: %w", row.ID, err)
			}
			out[i] = *s
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

func (a *Analyzer) read(ctx context.Context, row Row) (*Stored, error) {
	p, err := a.Pair(ctx, row.ID)
	if err != nil {
		return nil, err
	}
	if p.Method != row.Method || p.Target() != row.Target() || p.Status != row.Status || !p.Time.Equal(row.Time) {
		return nil, fmt.Errorf("the list shows %s %s %d of %v, the pair is %s %s %d of %v",
			row.Method, row.Target(), row.Status, row.Time, p.Method, p.Target(), p.Status, p.Time)
	}
	s := &Stored{
		Pair: row.ID, ID: FindID(p.Target()), HeaderID: p.RequestMsg.Header(Header), EchoID: p.ResponseMsg.Header(Header),
		Method: p.Method, Target: p.Target(), Status: p.Status, Flags: p.Flags, Error: p.Error, App: p.App, Cluster: p.Cluster,
	}
	if s.Out, err = a.readBody(ctx, row.ID, "request", p.RequestMsg); err != nil {
		return nil, err
	}
	if s.In, err = a.readBody(ctx, row.ID, "response", p.ResponseMsg); err != nil {
		return nil, err
	}
	return s, nil
}

func (a *Analyzer) readBody(ctx context.Context, id, side string, m *Message) (StoredBody, error) {
	if m == nil {
		return StoredBody{SHA: DigestBytes(nil).SHA}, nil
	}
	b := StoredBody{Size: m.BodySize, Truncated: m.Truncated}
	var err error
	if b.Hash, err = hex.DecodeString(m.BodyHash); err != nil {
		return b, fmt.Errorf("read %s hash %q: %w", side, m.BodyHash, err)
	}
	body, err := a.Body(ctx, id, side)
	if err != nil {
		return b, fmt.Errorf("read %s body: %w", side, err)
	}
	d := DigestBytes(body)
	b.Kept, b.SHA, b.KeptXXH3 = d.Size, d.SHA, d.XXH3
	return b, nil
}
