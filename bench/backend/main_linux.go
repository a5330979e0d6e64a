// Command backend is the application that the benchmark puts behind proxies:
// it answers every request with a fixed body, on one thread, as cheaply as it
// can. The path chooses the body: /1m gives 1 MiB, everything else 1 KiB of
// JSON. “Connection: close” is honoured.
//
// It prints its port on the first line.
package main

import (
	"bytes"
	"fmt"
	"log"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weir-capture/weir/bench/epoll"
)

func main() {
	runtime.LockOSThread()
	if err := run(); err != nil {
		log.SetFlags(0)
		log.Fatal(err)
	}
}

type conn struct {
	in  []byte
	out []byte // not written yet
	// skip is what is left of a request's body.
	skip  int
	close bool
}

func run() error {
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	if len(os.Args) > 1 {
		a, err := netip.ParseAddrPort(os.Args[1])
		if err != nil {
			return fmt.Errorf("read address: %w", err)
		}
		addr = a
	}
	ln, err := epoll.Listen(addr)
	if err != nil {
		return err
	}
	port, err := epoll.Port(ln)
	if err != nil {
		return err
	}
	loop, err := epoll.New()
	if err != nil {
		return err
	}
	if err := loop.Add(ln); err != nil {
		return err
	}
	fmt.Println(port)
	small, large := answer(jsonBody(1024), false), answer(bytes.Repeat([]byte("0123456789abcdef"), 64<<10), false)
	smallClose, largeClose := answer(jsonBody(1024), true), answer(bytes.Repeat([]byte("0123456789abcdef"), 64<<10), true)
	conns := map[int]*conn{}
	buf := make([]byte, 256<<10)
	drop := func(fd int) {
		delete(conns, fd)
		_ = unix.Close(fd)
	}
	flush := func(fd int, c *conn) bool {
		for len(c.out) > 0 {
			n, err := epoll.Write(fd, c.out)
			if err == unix.EAGAIN {
				return loop.Writable(fd, true) == nil
			}
			if err != nil {
				return false
			}
			c.out = c.out[n:]
		}
		return !c.close
	}
	for {
		err := loop.Wait(-1, func(fd int, readable, writable bool) {
			if fd == ln {
				for {
					c, err := epoll.Accept(ln)
					if err != nil {
						return
					}
					conns[c] = new(conn)
					if loop.Add(c) != nil {
						drop(c)
					}
				}
			}
			c := conns[fd]
			if c == nil {
				return
			}
			if writable {
				if !flush(fd, c) {
					drop(fd)
					return
				}
				if len(c.out) == 0 {
					_ = loop.Writable(fd, false)
				}
			}
			if !readable || len(c.out) > 0 {
				return
			}
			n, err := epoll.Read(fd, buf)
			if err == unix.EAGAIN {
				return
			}
			if n == 0 || err != nil {
				drop(fd)
				return
			}
			b := buf[:n]
			if len(c.in) > 0 {
				b = append(c.in, b...)
			}
			for {
				if k := min(c.skip, len(b)); k > 0 {
					b, c.skip = b[k:], c.skip-k
				}
				i := bytes.Index(b, []byte("\r\n\r\n"))
				if c.skip > 0 || i < 0 {
					break
				}
				head := b[:i+2]
				b = b[i+4:]
				c.skip = contentLength(head)
				c.close = bytes.Contains(head, []byte("\r\nConnection: close\r\n"))
				is1m := bytes.HasPrefix(head, []byte("GET /1m"))
				switch {
				case is1m && c.close:
					c.out = largeClose
				case is1m:
					c.out = large
				case c.close:
					c.out = smallClose
				default:
					c.out = small
				}
				if !flush(fd, c) {
					drop(fd)
					return
				}
				if len(c.out) > 0 {
					break
				}
			}
			c.in = append(c.in[:0], b...)
		})
		if err != nil {
			return err
		}
	}
}

func contentLength(head []byte) int {
	const name = "\r\nContent-Length: "
	i := bytes.Index(head, []byte(name))
	if i < 0 {
		return 0
	}
	v := head[i+len(name):]
	n, _ := strconv.Atoi(string(v[:bytes.IndexByte(v, '\r')]))
	return n
}

func answer(body []byte, closing bool) []byte {
	end := "\r\n"
	if closing {
		end = "Connection: close\r\n\r\n"
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n%s", len(body), end)
	return append([]byte(head), body...)
}

// jsonBody is n bytes of JSON as an API gives it.
func jsonBody(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"items":[`)
	for i := 0; b.Len() < n-80; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"item %d","price":"%d.%02d"}`, 1000+i, i, 3*i, i%100)
	}
	b.WriteString(`],"next":"`)
	for b.Len() < n-2 {
		b.WriteByte('x')
	}
	b.WriteString(`"}`)
	return b.Bytes()
}
