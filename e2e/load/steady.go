package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// Steady is a load for long runs. It is open-loop: requests are due at their
// time whether or not the ones before them were answered, so that a system
// that stands still is measured as one that stands still. What a request asks
// for follows from its id alone.
type Steady struct {
	// Addr is where to connect, "host:port".
	Addr string
	// Rate is requests a second over all connections.
	Rate int
	// Conns is how many connections are kept (default 8). One that breaks is
	// made anew for the next request.
	Conns int
	// Response and Request are the largest sizes of bodies; they vary between
	// none and this.
	Response, Request int
	// One request in so many has a body, is answered with an error (500), is
	// answered after Slow, or is broken off by its client; 0: none.
	PostEvery, FailEvery, SlowEvery, AbortEvery int
	Slow                                        time.Duration
	// Timeout is how long a client waits for a response (default 30 s).
	Timeout time.Duration
	// Prefix of all paths (default "/f/").
	Prefix string
	// Latency, if set, is told how long each completed request took from when
	// it was due. It is called from many goroutines.
	Latency func(due time.Time, took time.Duration)
	// Beside, if set, makes requests of its own until ctx ends, and writes them
	// down itself.
	Beside func(ctx context.Context, book *ledger.Book)
	// Skipped, if set, counts the requests that were not made because their
	// connection was more than a second behind.
	Skipped *atomic.Int64
}

// NoiseType is the type of the bodies of a Steady and of their answers. What
// redacts is to be told that it may keep them unread.
const NoiseType = "application/x-noise"

// behind is how late a connection may be before it leaves requests out.
const behind = time.Second

// Run makes requests until ctx ends, waits for those that are under way, and
// writes all of them down.
func (s Steady) Run(ctx context.Context, book *ledger.Book) {
	if s.Conns == 0 {
		s.Conns = 8
	}
	if s.Timeout == 0 {
		s.Timeout = 30 * time.Second
	}
	if s.Prefix == "" {
		s.Prefix = "/f/"
	}
	start := time.Now()
	every := time.Second * time.Duration(s.Conns) / time.Duration(s.Rate)
	var wg sync.WaitGroup
	if s.Beside != nil {
		wg.Go(func() { s.Beside(ctx, book) })
	}
	for w := range s.Conns {
		wg.Go(func() {
			c := steadyConn{Steady: s}
			defer c.close()
			timer := time.NewTimer(0)
			defer timer.Stop()
			due := start.Add(every * time.Duration(w) / time.Duration(s.Conns))
			for {
				timer.Reset(time.Until(due))
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				}
				c.one(due, book)
				for due = due.Add(every); time.Since(due) > behind; due = due.Add(every) {
					if s.Skipped != nil {
						s.Skipped.Add(1)
					}
				}
			}
		})
	}
	wg.Wait()
}

// Background runs the load until stop is called, which waits for its end; the
// test's end stops it too.
func (s Steady) Background(t testing.TB, book *ledger.Book) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx, book)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// steadyConn is one connection of a load.
type steadyConn struct {
	Steady
	conn net.Conn
	r    *bufio.Reader
	buf  bytes.Buffer
}

func (c *steadyConn) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// one makes one request that was due then.
func (c *steadyConn) one(due time.Time, book *ledger.Book) {
	var e ledger.Entry
	_, _ = rand.Read(e.ID[:]) // never fails
	// The id decides, each of its parts on one thing.
	draw := func(i int) int { return int(binary.LittleEndian.Uint16(e.ID[2*i:])) }
	size := func(i, most int) int { return draw(i) * (most + 1) >> 16 }
	hit := func(i, every int) bool { return every > 0 && draw(i)%every == 0 }
	ask := question{Status: 200, Size: size(0, c.Response)}
	var out []byte
	if hit(1, c.PostEvery) {
		out = ledger.Noise(e.ID, 1, size(2, c.Request))
	}
	if hit(3, c.FailEvery) {
		ask.Status = 500
	}
	if hit(4, c.SlowEvery) {
		ask.Delay = c.Slow
	}
	abort := hit(5, c.AbortEvery)
	if abort {
		ask.Delay = time.Second
	}
	e.Out = ledger.SumOf(out)
	e.Sent = time.Now().UnixNano()
	err := c.exchange(&e, ask, out, abort)
	e.Done = time.Now().UnixNano()
	if err != nil || abort {
		c.close()
	}
	switch {
	case errors.Is(err, errRefused):
		e.Outcome = ledger.Refused
	case err != nil:
		e.Outcome = ledger.Failed
	case abort:
		e.Outcome = ledger.Aborted
	case c.Latency != nil:
		c.Latency(due, time.Since(due))
	}
	book.Add(e, err)
}

var errRefused = errors.New("no connection")

// exchange sends a request and reads its response. e gets what came.
func (c *steadyConn) exchange(e *ledger.Entry, ask question, out []byte, abort bool) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.Addr, 2*time.Second)
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		c.conn, c.r = conn, bufio.NewReaderSize(conn, 16<<10)
	}
	if err := c.conn.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	id := hex.EncodeToString(e.ID[:])
	c.buf.Reset()
	method := http.MethodGet
	if out != nil {
		method = http.MethodPost
	}
	fmt.Fprintf(&c.buf, "%s %s%s?%s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", method, c.Prefix, id, ask, c.Addr, ledger.Header, id)
	if out != nil {
		fmt.Fprintf(&c.buf, "Content-Type: %s\r\nContent-Length: %d\r\n", NoiseType, len(out))
	}
	c.buf.WriteString("\r\n")
	c.buf.Write(out)
	if _, err := c.conn.Write(c.buf.Bytes()); err != nil {
		return fmt.Errorf("write request: %w", plain(err))
	}
	if abort {
		return nil
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return fmt.Errorf("read response: %w", plain(err))
	}
	defer resp.Body.Close()
	e.Status = int16(resp.StatusCode)
	c.buf.Reset()
	if _, err := io.Copy(&c.buf, resp.Body); err != nil {
		return fmt.Errorf("read body: %w", plain(err))
	}
	e.In = ledger.SumOf(c.buf.Bytes())
	if want := ledger.Noise(e.ID, 0, ask.Size); resp.StatusCode != ask.Status || !bytes.Equal(c.buf.Bytes(), want) {
		return fmt.Errorf("wrong response: status %d for %d, or %d bytes that are not the %d asked for", resp.StatusCode, ask.Status, c.buf.Len(), ask.Size)
	}
	return nil
}

// plain is what an error of a connection says without its addresses, so that
// equal ones are counted together.
func plain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}

// question is what a request asks of the Backend.
type question struct {
	Size, Status int
	Delay        time.Duration
}

func (q question) String() string {
	return fmt.Sprintf("n=%d&s=%d&d=%d", q.Size, q.Status, q.Delay.Milliseconds())
}

// Echo answers a request with its own body, type and coding, its cookies, and
// its query in an address.
func Echo(w http.ResponseWriter, r *http.Request, body []byte) {
	for _, name := range []string{"Content-Type", "Content-Encoding", "X-Note"} {
		if v := r.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	for _, c := range r.Cookies() {
		http.SetCookie(w, c)
	}
	if r.URL.RawQuery != "" {
		w.Header().Set("Location", "/next?"+r.URL.RawQuery)
	}
	_, _ = w.Write(body)
}

// Backend is a server that answers a Steady's requests as they ask, those that
// do not ask as Echo does, and writes them down in the book. It returns its
// port.
func Backend(t testing.TB, book *ledger.Book) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var id [16]byte
		if n, err := hex.Decode(id[:], []byte(r.Header.Get(ledger.Header))); n != len(id) || err != nil {
			http.Error(w, "no id", http.StatusBadRequest)
			return
		}
		in, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		v := r.URL.Query()
		number := func(name string) int { n, _ := strconv.Atoi(v.Get(name)); return n }
		size, status := number("n"), max(number("s"), 200)
		book.Serve(id, int16(status), ledger.SumOf(in))
		if d := number("d"); d > 0 {
			select {
			case <-time.After(time.Duration(d) * time.Millisecond):
			case <-r.Context().Done():
				return
			}
		}
		w.Header().Set(ledger.Header, hex.EncodeToString(id[:]))
		if !v.Has("n") {
			Echo(w, r, in)
			return
		}
		w.Header().Set("Content-Type", NoiseType)
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.WriteHeader(status)
		_, _ = w.Write(ledger.Noise(id, 0, size))
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}
