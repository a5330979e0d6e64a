package soak

import (
	"bufio"
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// abortOneIn connections is broken off.
const abortOneIn = 20

// timeout bounds one request.
const timeout = 30 * time.Second

// late is how far a client may fall behind its pace before it leaves requests
// out.
const late = time.Second

// kind is one sort of traffic.
type kind struct {
	name string
	// clients at a time, each of which makes a request (or a batch of them)
	// every so often, and life of them on one connection.
	clients int
	every   time.Duration
	life    int
	// make chooses the requests of one turn.
	make func(rng *rand.Rand) []ask
}

// ask is one request.
type ask struct {
	path    string // with its query
	size    int    // of the response's body
	body    int    // of the request's body
	chunked bool   // the request's body
	events  int    // the response is so many events instead
}

// mix is the whole load: some 220 requests a second. idle is how long an idle
// connection rests between two requests.
func mix(idle time.Duration) []kind {
	one := func(f func(*rand.Rand) ask) func(*rand.Rand) []ask {
		return func(rng *rand.Rand) []ask { return []ask{f(rng)} }
	}
	sized := func(n int) ask { return ask{path: fmt.Sprintf("/size?n=%d", n), size: n} }
	return []kind{
		{"small", 12, 100 * time.Millisecond, 200, one(func(rng *rand.Rand) ask { return sized(rng.IntN(2 << 10)) })},
		{"posts", 4, 200 * time.Millisecond, 100, one(func(rng *rand.Rand) ask {
			a := sized(rng.IntN(4 << 10))
			a.body = 1 + rng.IntN(16<<10)
			return a
		})},
		{"chunked", 2, 200 * time.Millisecond, 50, one(func(rng *rand.Rand) ask {
			n := 1 + rng.IntN(16<<10)
			return ask{path: fmt.Sprintf("/chunked?n=%d", n), size: n, body: 1 + rng.IntN(8<<10), chunked: true}
		})},
		{"pipelined", 2, time.Second, 10, func(rng *rand.Rand) []ask {
			batch := make([]ask, 10)
			for i := range batch {
				batch[i] = sized(rng.IntN(2 << 10))
			}
			return batch
		}},
		{"1 MiB up", 1, 4 * time.Second, 10, one(func(*rand.Rand) ask { return ask{path: "/size?n=2", size: 2, body: 1 << 20} })},
		{"1 MiB down", 1, 4 * time.Second, 10, one(func(*rand.Rand) ask { return sized(1 << 20) })},
		{"short", 6, 250 * time.Millisecond, 1, one(func(rng *rand.Rand) ask { return sized(rng.IntN(2 << 10)) })},
		{"slow stream", 6, 4 * time.Second, 2, one(func(*rand.Rand) ask { return ask{path: "/events?n=15&every=200", events: 15} })},
		{"idle", 64, idle, 20, one(func(*rand.Rand) ask { return sized(100) })},
	}
}

// tally counts what the clients saw.
type tally struct {
	// Completed requests were answered as they should be. AtRisk were sent, in
	// whole or in part, on a connection that was then broken off on purpose.
	// Skipped were not made, because their client was late.
	completed, atRisk, skipped atomic.Int64
	conns, aborted             atomic.Int64

	mu     sync.Mutex
	errors map[string]int
	failed int64
}

// fail writes down what a client noticed.
func (t *tally) fail(kind string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = fmt.Errorf("%s: %w", op.Op, op.Err) // without addresses, so that equal ones are counted together
	}
	if text := kind + ": " + err.Error(); len(t.errors) < 50 || t.errors[text] > 0 {
		t.errors[text]++
	}
}

func (t *tally) failures() (int64, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed, fmt.Sprint(t.errors)
}

// drive runs the load until ctx ends, and waits for the requests under way.
func drive(ctx context.Context, addr string, kinds []kind, seed uint64, t *tally) {
	var wg sync.WaitGroup
	for i, k := range kinds {
		for j := range k.clients {
			wg.Go(func() {
				c := client{kind: k, addr: addr, tally: t, rng: rand.New(rand.NewPCG(seed, uint64(i)<<32|uint64(j)))}
				c.run(ctx, k.every*time.Duration(j)/time.Duration(k.clients))
			})
		}
	}
	wg.Wait()
}

// client makes the requests of one kind, on one connection after another.
type client struct {
	kind
	addr  string
	tally *tally
	rng   *rand.Rand

	conn net.Conn
	r    *bufio.Reader
	// turns are left on this connection, which is broken off after that when
	// doomed is set.
	turns  int
	doomed bool
}

func (c *client) run(ctx context.Context, first time.Duration) {
	defer c.close()
	due := time.Now().Add(first)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(time.Until(due))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := c.turn(); err != nil {
			c.tally.fail(c.name, err)
			c.close()
		}
		for due = due.Add(c.every); time.Since(due) > max(late, c.every); due = due.Add(c.every) {
			c.tally.skipped.Add(1)
		}
	}
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// turn makes one request or one batch, or breaks the connection off in the
// middle of it.
func (c *client) turn() error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, timeout)
		if err != nil {
			return err
		}
		c.tally.conns.Add(1)
		c.conn, c.r = conn, bufio.NewReaderSize(conn, 8<<10)
		c.turns = c.life
		if c.doomed = c.rng.IntN(abortOneIn) == 0; c.doomed {
			c.turns = 1 + c.rng.IntN(c.life)
		}
	}
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	c.turns--
	if c.turns == 0 && c.doomed {
		defer c.close()
		c.tally.aborted.Add(1)
		return c.abort()
	}
	if err := c.exchange(c.make(c.rng)); err != nil {
		return err
	}
	if c.turns == 0 {
		c.close()
	}
	return nil
}

// exchange makes the requests, all before the first answer, and reads the
// answers.
func (c *client) exchange(asks []ask) error {
	var out bytes.Buffer
	ids, bodies := make([][16]byte, len(asks)), make([][]byte, len(asks))
	for i, a := range asks {
		_, _ = crand.Read(ids[i][:]) // never fails
		bodies[i] = ledger.Noise(ids[i], 1, a.body)
		write(&out, ids[i], a, bodies[i])
	}
	if _, err := c.conn.Write(out.Bytes()); err != nil {
		return err
	}
	for i, a := range asks {
		resp, err := http.ReadResponse(c.r, nil)
		if err != nil {
			return err
		}
		in, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		want := ledger.Noise(ids[i], 0, a.size)
		for n := range a.events {
			want = append(want, event(ids[i], n)...)
		}
		switch {
		case resp.StatusCode != http.StatusOK || !bytes.Equal(in, want):
			return fmt.Errorf("wrong answer: status %d, %d bytes, which are not the %d asked for", resp.StatusCode, len(in), len(want))
		case resp.Header.Get(sumHeader) != sumText(bodies[i]):
			return fmt.Errorf("the server got another body: %s, not %s", resp.Header.Get(sumHeader), sumText(bodies[i]))
		}
		c.tally.completed.Add(1)
	}
	return nil
}

// abort breaks the connection off in the middle of a request's head or body or
// of its response, with FIN or RST.
func (c *client) abort() error {
	c.tally.atRisk.Add(1)
	var id [16]byte
	_, _ = crand.Read(id[:]) // never fails
	if c.rng.IntN(2) == 0 {
		if err := c.conn.(*net.TCPConn).SetLinger(0); err != nil { // RST instead of FIN
			return err
		}
	}
	const n = 8 << 10
	var out bytes.Buffer
	switch c.rng.IntN(3) {
	case 0:
		write(&out, id, ask{path: "/size?n=1"}, nil)
		_, err := c.conn.Write(out.Bytes()[:out.Len()/2])
		return err
	case 1:
		write(&out, id, ask{path: "/size?n=1"}, make([]byte, n))
		_, err := c.conn.Write(out.Bytes()[:out.Len()-n/2])
		return err
	}
	write(&out, id, ask{path: fmt.Sprintf("/halves?n=%d", n)}, nil)
	if _, err := c.conn.Write(out.Bytes()); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, resp.Body, n/2)
	return err
}

// write is a request's bytes.
func write(out *bytes.Buffer, id [16]byte, a ask, body []byte) {
	method := http.MethodGet
	if len(body) > 0 {
		method = http.MethodPost
	}
	path, query, _ := strings.Cut(a.path, "?")
	fmt.Fprintf(out, "%s %s?%s&id=%x HTTP/1.1\r\nHost: soak.test\r\n%s: %x\r\n", method, path, query, id, ledger.Header, id)
	switch {
	case len(body) == 0:
		out.WriteString("\r\n")
	case a.chunked:
		out.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for len(body) > 0 {
			n := min(len(body), 1777)
			fmt.Fprintf(out, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		out.WriteString("0\r\n\r\n")
	default:
		fmt.Fprintf(out, "Content-Length: %d\r\n\r\n%s", len(body), body)
	}
}
