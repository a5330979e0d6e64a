package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	httpv1 "github.com/weir-capture/weir/api/http/v1"
	"github.com/weir-capture/weir/client"
)

// capture stands between customers and the shop and keeps pairs as the
// analyzer would show them.
type capture struct {
	mu    sync.Mutex
	pairs []httpv1.Pair
	lists int    // lists that were asked for
	third func() // called by the third
}

type tee struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (t *tee) WriteHeader(s int) {
	t.status = s
	t.ResponseWriter.WriteHeader(s)
}

func (t *tee) Write(b []byte) (int, error) {
	if t.status == 0 {
		t.status = 200
	}
	n, err := t.ResponseWriter.Write(b)
	t.body.Write(b)
	return n, err
}
func (t *tee) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func toMessage(h http.Header, b []byte, limit int) *httpv1.Message {
	m := &httpv1.Message{BodySize: sum(b).Size, BodyHash: sum(b).Hash, BodyEncoding: "text"}
	for k, vs := range h {
		m.Headers = append(m.Headers, httpv1.Header{k, vs[0]})
	}
	if len(b) > limit {
		b, m.Truncated = b[:limit], true
	}
	if m.Body = string(b); !utf8.Valid(b) {
		m.Body, m.BodyEncoding = base64.StdEncoding.EncodeToString(b), "base64"
	}
	return m
}

func (c *capture) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		t := &tee{ResponseWriter: w}
		func() {
			defer func() {
				if e := recover(); e != nil && e != http.ErrAbortHandler {
					panic(e)
				}
			}()
			next.ServeHTTP(t, r)
		}()
		out := t.body.Bytes()
		if r.Method == http.MethodHead {
			out = nil
		}
		p := httpv1.Pair{
			Request: toMessage(r.Header, body, 1<<20), Response: toMessage(w.Header(), out, 1<<20),
			Row: httpv1.Row{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Status: int32(t.status)},
		}
		if p.Response.Truncated {
			p.Flags = append(p.Flags, "truncated")
		}
		if r.Context().Err() != nil {
			p.Flags = append(p.Flags, "incomplete")
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		p.ID = fmt.Sprintf("pair-%d", len(c.pairs))
		c.pairs = append(c.pairs, p)
	})
}

// api answers as far as the verifier asks.
func (c *capture) api(t *testing.T) *client.Client {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/pairs", func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.lists++; c.lists == 3 {
			c.third()
		}
		out := httpv1.Pairs{}
		for _, p := range c.pairs {
			out.Pairs = append(out.Pairs, p.Row)
		}
		json.NewEncoder(w).Encode(out)
	})
	mux.HandleFunc("GET /api/v1/pairs/{id}", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range c.pairs {
			if p.ID == r.PathValue("id") {
				json.NewEncoder(w).Encode(p)
				return
			}
		}
		http.NotFound(w, r)
	})
	ts := httptest.NewServer(mux)
	t.Cleanup(ts.Close)
	api, err := client.New(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(api.Close)
	return api
}

// TestVerifierSeesWhatIsWrong runs every kind against the shop, then spoils
// what was captured in one way after the other.
func TestVerifierSeesWhatIsWrong(t *testing.T) {
	var c capture
	shop := httptest.NewServer(c.wrap(Shop()))
	defer shop.Close()
	customers := NewCustomers(shop.URL, "run", 1)
	defer customers.Close()
	began := time.Now()
	sent, err := customers.Make(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	customers.Close()
	shop.Close() // the last handlers are over
	api := c.api(t)
	verify := func() (*Report, string) {
		// What is lost is waited for; two looks are enough here.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		c.lists, c.third = 0, cancel
		r, err := Verify(ctx, api, "", began, sent, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		return r, b.String()
	}
	r, table := verify()
	if !r.OK() || !strings.HasSuffix(table, "\n60 requests made, 60 stored once, bodies equal\n") {
		t.Fatalf("nothing is wrong, but:\n%s", table)
	}

	find := func(k Kind) *httpv1.Pair {
		for _, s := range sent {
			if s.Kind != k {
				continue
			}
			for i := range c.pairs {
				if header(c.pairs[i].Request, IDHeader) == s.ID {
					return &c.pairs[i]
				}
			}
		}
		t.Fatalf("no pair of kind %s", k)
		return nil
	}
	for _, s := range []struct {
		name  string
		spoil func()
		want  string
	}{
		{"lost", func() { c.pairs = slices.DeleteFunc(c.pairs, func(p httpv1.Pair) bool { return p.ID == "pair-7" }) }, "59 stored once"},
		{"twice", func() { p := c.pairs[3]; p.ID = "other"; c.pairs = append(c.pairs, p) }, "stored 2 times"},
		{"another's response", func() { p, q := find(JSON), find(Image); p.Response, q.Response = q.Response, p.Response }, "response's X-Request-Id is"},
		{"hash", func() { find(Gzip).Response.BodyHash = "00" }, "response body is"},
		{"kept bytes", func() { find(Created).Response.Body += " " }, "kept response body is"},
		{"request body", func() { find(Upload).Request.BodySize++ }, "request body is"},
		{"status", func() { find(NoContent).Status = 200 }, "status is 200, was 204"},
		{"mark of the large one", func() { find(Large).Flags = nil }, "is not marked truncated"},
		{"mark of the aborted one", func() { find(Aborted).Flags = nil }, "is not flagged incomplete"},
		{"a flag too much", func() { find(Head).Flags = []string{"gap"} }, "has flags gap"},
		{"no response", func() { find(Redirect).Response = nil }, "there is no response"},
	} {
		t.Run(s.name, func(t *testing.T) {
			c.mu.Lock()
			saved := make([]httpv1.Pair, len(c.pairs))
			for i, p := range c.pairs {
				saved[i] = p
				if p.Response != nil {
					m := *p.Response
					saved[i].Response = &m
				}
				m := *p.Request
				saved[i].Request = &m
			}
			s.spoil()
			c.mu.Unlock()
			if r, table := verify(); r.OK() || !strings.Contains(table, s.want) {
				t.Errorf("not seen, or not said:\n%s", table)
			}
			c.mu.Lock()
			c.pairs = saved
			c.mu.Unlock()
		})
	}
}

// TestPlanHasEveryKind: also of the smallest number.
func TestPlanHasEveryKind(t *testing.T) {
	for _, n := range []int{len(mix), 100, 500, 1000} {
		c := NewCustomers("", "run", uint64(n))
		kinds := plan(n, c.rand)
		if len(kinds) != n {
			t.Errorf("%d kinds planned for %d requests", len(kinds), n)
		}
		for _, m := range mix {
			if !slices.Contains(kinds, m.kind) {
				t.Errorf("%d requests: no %s", n, m.kind)
			}
		}
	}
}

func TestBrowseStops(t *testing.T) {
	shop := httptest.NewServer(Shop())
	defer shop.Close()
	c := NewCustomers(shop.URL, "run", 1)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	c.Browse(ctx, func(err error) { t.Error(err) })
	if c.made == 0 {
		t.Error("no request was made")
	}
}
