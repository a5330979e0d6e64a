// Command load sends requests and measures, on one thread.
//
//	load -addr 127.0.0.1:80 -conns 64 -for 5s                 closed loop: each connection asks again when it has its answer
//	load -addr … -conns 64 -for 5s -rate 2000                 open loop: requests are due at times of a Poisson process, and
//	                                                          latency counts from when a request was due, not from when a
//	                                                          connection was free for it
//	load -addr … -conns 64 -for 5s -close                     one request for each connection
//	load -addr … -conns 3500 -idle                            one request on each; then the connections stay until stdin ends
//
// At the end it prints one line of JSON (Result). With -idle it prints it when
// all connections rest.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weir-capture/weir/bench/epoll"
)

// Result is what a run measured. Latencies are in microseconds.
type Result struct {
	Requests int     `json:"requests"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
	// Late is how many requests were due and never sent.
	Late int `json:"late"`
}

func main() {
	runtime.LockOSThread()
	log.SetFlags(0)
	g := new(generator)
	addr := flag.String("addr", "", "`host:port` to ask")
	path := flag.String("path", "/items?page=2", "request target")
	flag.IntVar(&g.conns, "conns", 64, "connections")
	flag.DurationVar(&g.length, "for", 5*time.Second, "how long")
	flag.Float64Var(&g.rate, "rate", 0, "requests a second, open loop; 0: closed loop")
	flag.BoolVar(&g.close, "close", false, "one request for each connection")
	idle := flag.Bool("idle", false, "leave the connections open after one request on each")
	seed := flag.Uint64("seed", 1, "of the arrival times")
	flag.Parse()
	var err error
	if g.addr, err = netip.ParseAddrPort(*addr); err != nil {
		log.Fatalf("-addr: %v", err)
	}
	g.random = rand.New(rand.NewPCG(*seed, 2))
	g.request = request(*path, g.close)
	if *idle {
		err = g.rest()
	} else {
		err = g.run()
	}
	if err != nil {
		log.Fatal(err)
	}
}

// request is what an API client sends: about 330 bytes with seven fields.
func request(path string, closing bool) []byte {
	b := "GET " + path + " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: bench-client/1.4 (linux; amd64)\r\nAccept: application/json\r\n" +
		"Accept-Encoding: identity\r\nX-Request-Id: 7f6c1b0e-1d2f-4a58-9a0e-3f1f5b0d9c11\r\nX-Tenant: acme\r\nTraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
	if closing {
		b += "Connection: close\r\n"
	}
	return []byte(b + "\r\n")
}

type generator struct {
	addr    netip.AddrPort
	conns   int
	length  time.Duration
	rate    float64
	close   bool
	request []byte
	random  *rand.Rand

	loop      *epoll.Loop
	open      map[int]*conn
	free      []*conn
	due       []time.Duration // open loop: waiting for a connection
	began     time.Time
	buf       []byte
	latencies []uint32 // in units of 100 ns
	errors    int
	stopping  bool
}

type conn struct {
	fd   int
	due  time.Duration
	busy bool
	// left is what is missing of the answer; -1 while its head is.
	left int
	head []byte
}

func (g *generator) start() (err error) {
	g.buf = make([]byte, 256<<10)
	g.open = map[int]*conn{}
	if g.loop, err = epoll.New(); err != nil {
		return err
	}
	for range g.conns {
		if err := g.dial(); err != nil {
			return err
		}
	}
	g.began = time.Now()
	return nil
}

func (g *generator) dial() error {
	fd, err := epoll.Dial(g.addr)
	if err != nil {
		return err
	}
	c := &conn{fd: fd}
	g.open[fd] = c
	g.free = append(g.free, c)
	return g.loop.Add(fd)
}

func (g *generator) since() time.Duration { return time.Since(g.began) }

// send sends the request that was due.
func (g *generator) send(due time.Duration) {
	c := g.free[len(g.free)-1]
	g.free = g.free[:len(g.free)-1]
	c.due, c.busy, c.left, c.head = due, true, -1, c.head[:0]
	// The socket has room: nothing of ours is on its way.
	if n, err := epoll.Write(c.fd, g.request); err != nil || n < len(g.request) {
		g.fail(c)
	}
}

func (g *generator) fail(c *conn) {
	g.errors++
	g.replace(c)
}

// replace closes a connection and opens another one.
func (g *generator) replace(c *conn) {
	delete(g.open, c.fd)
	_ = unix.Close(c.fd)
	if !g.stopping && g.dial() != nil {
		g.errors++
	}
}

func (g *generator) read(c *conn) {
	for {
		n, err := epoll.Read(c.fd, g.buf)
		if err == unix.EAGAIN {
			return
		}
		if err != nil || n == 0 {
			if c.busy {
				g.fail(c)
			} else {
				g.free = slices.DeleteFunc(g.free, func(f *conn) bool { return f == c })
				g.replace(c)
			}
			return
		}
		if !c.busy {
			g.fail(c) // an answer that nobody asked for
			return
		}
		b := g.buf[:n]
		if c.left < 0 {
			c.head = append(c.head, b...)
			i := bytes.Index(c.head, []byte("\r\n\r\n"))
			if i < 0 {
				continue
			}
			if !bytes.HasPrefix(c.head, []byte("HTTP/1.1 200 ")) {
				g.fail(c)
				return
			}
			c.left = contentLength(c.head[:i+2]) + i + 4 - len(c.head)
		} else {
			c.left -= n
		}
		if c.left == 0 {
			g.done(c)
			return
		}
		if n < len(g.buf) {
			return
		}
	}
}

func contentLength(head []byte) int {
	lower := bytes.ToLower(head)
	const name = "\r\ncontent-length: "
	i := bytes.Index(lower, []byte(name))
	if i < 0 {
		return 0
	}
	v := lower[i+len(name):]
	n, _ := strconv.Atoi(string(v[:bytes.IndexByte(v, '\r')]))
	return n
}

func (g *generator) done(c *conn) {
	g.latencies = append(g.latencies, uint32(min((g.since()-c.due)/100, 1<<32-1)))
	c.busy = false
	if g.close {
		g.replace(c)
		return
	}
	g.free = append(g.free, c)
}

func (g *generator) run() error {
	if err := g.start(); err != nil {
		return err
	}
	var next time.Duration
	for now := g.since(); now < g.length; now = g.since() {
		wait := g.length - now
		if g.rate > 0 {
			for next <= now {
				g.due = append(g.due, next)
				next += time.Duration(g.random.ExpFloat64() / g.rate * float64(time.Second))
			}
			for len(g.due) > 0 && len(g.free) > 0 {
				due := g.due[0]
				g.due = g.due[1:]
				g.send(due)
			}
			wait = min(wait, max(next-g.since(), 0))
		} else {
			for len(g.free) > 0 {
				g.send(g.since())
			}
		}
		if err := g.wait(wait); err != nil {
			return err
		}
	}
	seconds := g.since().Seconds()
	late := len(g.due)
	// What is on its way still counts.
	g.stopping = true
	for end := g.since() + 5*time.Second; g.busy() && g.since() < end; {
		if err := g.wait(end - g.since()); err != nil {
			return err
		}
	}
	return g.report(seconds, late)
}

func (g *generator) busy() bool {
	for _, c := range g.open {
		if c.busy {
			return true
		}
	}
	return false
}

func (g *generator) wait(timeout time.Duration) error {
	return g.loop.Wait(timeout, func(fd int, readable, _ bool) {
		if c := g.open[fd]; c != nil && readable {
			g.read(c)
		}
	})
}

// rest asks once on each connection, reports, and waits until stdin ends.
func (g *generator) rest() error {
	if err := g.start(); err != nil {
		return err
	}
	for len(g.free) > 0 {
		g.send(g.since())
	}
	for end := g.since() + 30*time.Second; g.busy() && g.since() < end; {
		if err := g.wait(100 * time.Millisecond); err != nil {
			return err
		}
	}
	if err := g.report(g.since().Seconds(), 0); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func (g *generator) report(seconds float64, late int) error {
	slices.Sort(g.latencies)
	at := func(q float64) float64 {
		if len(g.latencies) == 0 {
			return 0
		}
		return float64(g.latencies[min(int(q*float64(len(g.latencies))), len(g.latencies)-1)]) / 10
	}
	b, err := json.Marshal(Result{
		Requests: len(g.latencies), Errors: g.errors, Seconds: seconds, Late: late,
		P50: at(0.5), P90: at(0.9), P99: at(0.99), P999: at(0.999), Max: at(1),
	})
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(b))
	return err
}
