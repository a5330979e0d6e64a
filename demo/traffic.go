package demo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/zeebo/xxh3"
)

// IDHeader carries the id of each request; the shop gives it back.
const IDHeader = "X-Request-Id"

// Kind is a sort of request that the demo makes.
type Kind string

// The kinds, in the order in which they are shown.
const (
	JSON        Kind = "JSON"
	Created     Kind = "JSON posted"
	ClientError Kind = "4xx"
	ServerError Kind = "5xx"
	Slow        Kind = "slow"
	Gzip        Kind = "gzip"
	Chunked     Kind = "chunked, with trailer"
	Image       Kind = "image"
	Head        Kind = "HEAD"
	NoContent   Kind = "204"
	NotModified Kind = "304"
	Redirect    Kind = "redirect"
	Upload      Kind = "upload, chunked"
	Large       Kind = "3 MiB body, truncated"
	Events      Kind = "SSE stream"
	Aborted     Kind = "aborted by the client"
)

// mix says how often each kind comes, out of all.
var mix = []struct {
	kind   Kind
	weight int
}{
	{JSON, 150},
	{Created, 60},
	{ClientError, 40},
	{ServerError, 25},
	{Slow, 12},
	{Gzip, 70},
	{Chunked, 40},
	{Image, 30},
	{Head, 12},
	{NoContent, 20},
	{NotModified, 14},
	{Redirect, 8},
	{Upload, 5},
	{Large, 3},
	{Events, 6},
	{Aborted, 5},
}

// call is one request to make.
type call struct {
	id     string
	kind   Kind
	method string
	target string // path and query
	header http.Header
	body   []byte
	// chunked: send the body without its length.
	chunked bool
	// card is the payment card in the body, if there is one.
	card string
}

// Sent is one request that was made, and what came back.
type Sent struct {
	ID           string
	Kind         Kind
	Method       string
	Path, Query  string
	Status       int
	RequestBody  Sum
	ResponseBody Sum
	// Prefix is the beginning of the answer's body, or all of it; only kept
	// of those that the client aborts.
	Prefix []byte
	// Card is what redaction takes out of the request's body; empty when there
	// is nothing.
	Card string
	// Err says why there is no answer.
	Err error
}

// Sum is what a body is compared by.
type Sum struct {
	Size uint64
	// Hash is XXH3-128 as hexadecimal digits; empty for an empty body.
	Hash string
}

func sum(b []byte) Sum {
	if len(b) == 0 {
		return Sum{}
	}
	h := xxh3.Hash128(b).Bytes()
	return Sum{uint64(len(b)), fmt.Sprintf("%x", h)}
}

// Customers make requests to one address.
type Customers struct {
	base string
	run  string
	http *http.Client

	mu   sync.Mutex
	rand *rand.Rand
	made int
}

// NewCustomers prepares requests to base ("http://127.0.0.1:4143"). run tells
// them from those of another run; seed makes their choices.
func NewCustomers(base, run string, seed uint64) *Customers {
	return &Customers{
		base: base, run: run, rand: rand.New(rand.NewPCG(seed, seed)),
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               nil,
				DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				MaxIdleConnsPerHost: 16,
				// What is compared is what was on the wire.
				DisableCompression: true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Timeout:       20 * time.Second,
		},
	}
}

// Close lets go of idle connections.
func (c *Customers) Close() { c.http.CloseIdleConnections() }

// next makes up one request of a kind.
func (c *Customers) next(k Kind) call {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	r := c.rand
	p := catalogue[r.IntN(len(catalogue))]
	cart := 4000 + r.IntN(90)
	order := 100200 + r.IntN(900)
	out := call{
		id: fmt.Sprintf("%s-%04d", c.run, c.made), kind: k, method: http.MethodGet,
		header: http.Header{"User-Agent": {agents[r.IntN(len(agents))]}, "Accept": {"application/json"}},
	}
	out.header.Set(IDHeader, out.id)
	post := func(target, body string) {
		out.method, out.target, out.body = http.MethodPost, target, []byte(body)
		out.header.Set("Content-Type", "application/json")
	}
	pay := func(card string) {
		out.card = card
		post("/api/checkout", fmt.Sprintf(`{"cart":"%d","payment":{"method":"card","card":%q},"address":{"city":"Zürich","zip":"%d"}}`, cart, card, 8000+r.IntN(60)))
	}
	switch k {
	case Created:
		switch r.IntN(3) {
		case 0:
			pay("4000 0000 0000 4242")
		default:
			post(fmt.Sprintf("/api/carts/%d/items", cart), fmt.Sprintf(`{"sku":%q,"quantity":%d}`, p.SKU, 1+r.IntN(3)))
		}
	case ClientError:
		switch r.IntN(4) {
		case 0:
			pay("4000 0000 0000 0002")
		case 1:
			post(fmt.Sprintf("/api/carts/%d/items", cart), `{"sku":"NONE-1","quantity":0}`)
		default:
			out.target = fmt.Sprintf("/api/products/OLD-%04d", r.IntN(10000))
		}
	case ServerError:
		pay([]string{"4000 0000 0000 0119", "4000 0000 0000 0500"}[r.IntN(2)])
	case Slow:
		out.target = fmt.Sprintf("/api/orders/%d?wait=%dms", order, 300+r.IntN(900))
	case Gzip:
		out.target = []string{"/api/products", "/api/products?category=" + p.Category, "/api/search?q=" + words[r.IntN(len(words))]}[r.IntN(3)]
		out.header.Set("Accept-Encoding", "gzip")
	case Chunked:
		out.target = fmt.Sprintf("/api/recommendations?cart=%d", cart)
	case Image:
		out.target = "/api/products/" + p.SKU + "/image"
		out.header.Set("Accept", "image/*")
	case Head:
		out.method, out.target = http.MethodHead, "/api/products/"+p.SKU+"/image"
	case NoContent:
		out.method, out.target = http.MethodDelete, fmt.Sprintf("/api/carts/%d/items/%s", cart, p.SKU)
	case NotModified:
		out.target = "/api/products/" + p.SKU
		out.header.Set("If-None-Match", `"`+p.SKU+`-7"`)
	case Redirect:
		out.target = "/products/" + p.SKU
	case Upload:
		out.method, out.target, out.chunked = http.MethodPost, "/api/reviews/photos", true
		out.header.Set("Content-Type", "image/jpeg")
		out.body = make([]byte, 40<<10+r.IntN(80<<10))
		for i := range out.body {
			out.body[i] = byte(r.Uint32())
		}
	case Large:
		out.target = "/api/exports/orders.csv"
		out.header.Set("Accept", "text/csv")
	case Events:
		out.target = fmt.Sprintf("/api/orders/%d/events", order)
		out.header.Set("Accept", "text/event-stream")
	case Aborted:
		out.target = "/api/exports/live"
		out.header.Set("Accept", "text/csv")
	default:
		out.target = []string{fmt.Sprintf("/api/carts/%d", cart), fmt.Sprintf("/api/orders/%d", order), "/api/products/" + p.SKU}[r.IntN(3)]
	}
	return out
}

var (
	agents = []string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
		"shop-app/8.3.1 (Android 16)",
		"checkout-service/2.14",
	}
	words = []string{"tent", "boots", "pack", "map", "jacket"}
)

// do makes one request and reads its answer.
func (c *Customers) do(ctx context.Context, in call) Sent {
	path, query, _ := strings.Cut(in.target, "?")
	out := Sent{ID: in.id, Kind: in.kind, Method: in.method, Path: path, Query: query, RequestBody: sum(in.body), Card: in.card}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var body io.Reader
	if in.body != nil {
		body = bytes.NewReader(in.body)
		if in.chunked {
			body = struct{ io.Reader }{body} // hides the length
		}
	}
	req, err := http.NewRequestWithContext(ctx, in.method, c.base+in.target, body)
	if err != nil {
		out.Err = err
		return out
	}
	req.Header = in.header
	resp, err := c.http.Do(req)
	if err != nil {
		out.Err = err
		return out
	}
	defer resp.Body.Close()
	out.Status = resp.StatusCode
	if in.kind == Aborted {
		// Read a little, then hang up: the connection is closed with the
		// answer still coming.
		b := make([]byte, 256)
		n, err := io.ReadFull(resp.Body, b)
		if err != nil {
			out.Err = fmt.Errorf("read the beginning: %w", err)
		}
		out.Prefix = b[:n]
		return out
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		out.Err = fmt.Errorf("read answer: %w", err)
		return out
	}
	out.ResponseBody = sum(b)
	if back := resp.Header.Get(IDHeader); back != in.id {
		out.Err = fmt.Errorf("the answer belongs to request %q", back)
	}
	return out
}

// plan is n kinds in the proportions of mix, each at least once, shuffled.
func plan(n int, r *rand.Rand) []Kind {
	total := 0
	var out []Kind
	for _, m := range mix {
		total += m.weight
		out = append(out, m.kind)
	}
	for _, m := range mix {
		for range min(n*m.weight/total-1, n-len(out)) {
			out = append(out, m.kind)
		}
	}
	for len(out) < n {
		out = append(out, JSON)
	}
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// Make makes n requests, at least as many as there are kinds, over several
// connections, and returns them when all are over.
func (c *Customers) Make(ctx context.Context, n int) ([]Sent, error) {
	if n < len(mix) {
		return nil, fmt.Errorf("%d requests are fewer than the %d kinds", n, len(mix))
	}
	kinds := make(chan Kind)
	var (
		mu   sync.Mutex
		sent []Sent
		wg   sync.WaitGroup
	)
	const customers = 8
	for range customers {
		wg.Go(func() {
			for k := range kinds {
				s := c.do(ctx, c.next(k))
				mu.Lock()
				sent = append(sent, s)
				mu.Unlock()
			}
		})
	}
	c.mu.Lock()
	order := plan(n, c.rand)
	c.mu.Unlock()
	for _, k := range order {
		kinds <- k
	}
	close(kinds)
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return sent, fmt.Errorf("make requests: %w", context.Cause(ctx))
	}
	return sent, nil
}

// Browse makes a few requests a second until ctx ends. Failures are part of a
// demo; failed is told of those that got no answer at all.
func (c *Customers) Browse(ctx context.Context, failed func(error)) {
	const atOnce = 8
	places := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	defer wg.Wait()
	weights := 0
	for _, m := range mix {
		weights += m.weight
	}
	for {
		c.mu.Lock()
		pause := 100*time.Millisecond + time.Duration(c.rand.IntN(300))*time.Millisecond
		at := c.rand.IntN(weights)
		c.mu.Unlock()
		kind := JSON
		for _, m := range mix {
			if at -= m.weight; at < 0 {
				kind = m.kind
				break
			}
		}
		if !sleep(ctx, pause) {
			return
		}
		select {
		case places <- struct{}{}:
		default:
			continue // the shop is slow; customers do not pile up
		}
		wg.Go(func() {
			defer func() { <-places }()
			if s := c.do(ctx, c.next(kind)); s.Err != nil && ctx.Err() == nil {
				failed(s.Err)
			}
		})
	}
}
