// Package load is the clients of the end-to-end tests: curl, Go's net/http,
// Python's http.client and urllib, and bare sockets that pipeline. Each makes
// the requests of a plan and returns what it saw.
package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// Request is one request to make. The client adds the ledger's header.
type Request struct {
	ID     string
	Method string
	// Target is path and query.
	Target string
	Header map[string]string
	// Body is sent with a content length, or in chunks when Chunked is set.
	Body    []byte
	Chunked bool
}

// call is what the ledger knows before the request is made.
func (r Request) call(client string) ledger.Call {
	return ledger.Call{ID: r.ID, Client: client, Method: r.Method, Target: r.Target, Out: ledger.DigestBytes(r.Body), In: ledger.DigestBytes(nil)}
}

// Plan makes requests, each with an id of its own.
type Plan struct{ Requests []Request }

// Add adds one request; "{id}" in the target stands for its id.
func (p *Plan) Add(method, target string, body []byte, header ...string) *Request {
	r := Request{ID: ledger.NewID(), Method: method, Body: body, Header: map[string]string{}}
	r.Target = strings.ReplaceAll(target, "{id}", r.ID)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header[header[i]] = header[i+1]
	}
	p.Requests = append(p.Requests, r)
	return &p.Requests[len(p.Requests)-1]
}

// NewGoClient is Go's client as programs use it, but for what would change
// bytes or requests unseen: no transparent decompression, no redirects
// followed, no environment's proxy.
func NewGoClient() *http.Client {
	return &http.Client{
		Timeout: 30 * time.Second,
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 16,
			DisableCompression:  true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// One makes one request with Go's client.
func One(ctx context.Context, client *http.Client, base string, r Request) ledger.Call {
	c := r.call("go")
	var body io.Reader
	if r.Body != nil {
		body = bytes.NewReader(r.Body)
		if r.Chunked {
			body = io.MultiReader(body) // hides the length
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, base+r.Target, body)
	if err != nil {
		c.Err = err.Error()
		return c
	}
	for k, v := range r.Header {
		req.Header.Set(k, v)
	}
	req.Header.Set(ledger.Header, r.ID)
	resp, err := client.Do(req)
	if err != nil {
		c.Err = err.Error()
		return c
	}
	defer resp.Body.Close()
	c.Status = resp.StatusCode
	if c.In, err = ledger.Digest(resp.Body); err != nil {
		c.Err = err.Error()
	}
	return c
}

// Go makes the requests with Go's client, so many at a time, over connections
// that are kept.
func Go(ctx context.Context, base string, plan []Request, workers int) []ledger.Call {
	client := NewGoClient()
	defer client.CloseIdleConnections()
	calls := make([]ledger.Call, len(plan))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				calls[i] = One(ctx, client, base, plan[i])
			}
		})
	}
	for i := range plan {
		next <- i
	}
	close(next)
	wg.Wait()
	return calls
}

// Pipelined writes all requests to one connection before it reads the first
// response (RFC 9112, section 9.3.2).
func Pipelined(ctx context.Context, addr string, plan []Request) []ledger.Call {
	calls := make([]ledger.Call, len(plan))
	fail := func(from int, err error) []ledger.Call {
		for i := from; i < len(plan); i++ {
			calls[i].Err = err.Error()
		}
		return calls
	}
	for i, r := range plan {
		calls[i] = r.call("pipeline")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return fail(0, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return fail(0, err)
	}
	var all bytes.Buffer
	for _, r := range plan {
		fmt.Fprintf(&all, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", r.Method, r.Target, addr, ledger.Header, r.ID)
		for k, v := range r.Header {
			fmt.Fprintf(&all, "%s: %s\r\n", k, v)
		}
		switch {
		case r.Chunked:
			all.WriteString("Transfer-Encoding: chunked\r\n\r\n")
			for rest := r.Body; len(rest) > 0; {
				n := min(len(rest), 777)
				fmt.Fprintf(&all, "%x\r\n%s\r\n", n, rest[:n])
				rest = rest[n:]
			}
			all.WriteString("0\r\n\r\n")
		case r.Body != nil:
			fmt.Fprintf(&all, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
		default:
			all.WriteString("\r\n")
		}
	}
	// The peer may stop reading until its responses are taken.
	wrote := make(chan error, 1)
	go func() {
		_, err := conn.Write(all.Bytes())
		wrote <- err
	}()
	br := newReader(conn)
	for i, r := range plan {
		resp, err := http.ReadResponse(br, &http.Request{Method: r.Method})
		if err != nil {
			return fail(i, fmt.Errorf("read response %d of %d: %w", i, len(plan), err))
		}
		calls[i].Status = resp.StatusCode
		calls[i].In, err = ledger.Digest(resp.Body)
		resp.Body.Close()
		if err != nil {
			return fail(i, fmt.Errorf("read body %d of %d: %w", i, len(plan), err))
		}
	}
	if err := <-wrote; err != nil {
		return fail(len(plan)-1, fmt.Errorf("write: %w", err))
	}
	return calls
}

// Stream makes requests at a steady pace until stop is closed, and returns
// every call.
func Stream(ctx context.Context, base string, workers int, pace time.Duration, next func(worker, n int) Request, stop <-chan struct{}) []ledger.Call {
	client := NewGoClient()
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var all []ledger.Call
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				c := One(ctx, client, base, next(w, n))
				mu.Lock()
				all = append(all, c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}
