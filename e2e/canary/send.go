package canary

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// Send writes a request as it stands, and reads all that is answered. What the
// application says to nonsense is its own affair, so that a connection that it
// resets is no error. within bounds all of it.
func Send(addr string, r *Request, within time.Duration) (answer []byte, err error) {
	end := time.Now().Add(within)
	c, err := net.DialTimeout("tcp", addr, min(within, 5*time.Second))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.SetDeadline(end); err != nil {
		return nil, err
	}
	wire := r.wire()
	size := r.Segment
	if size == 0 {
		size = wire.Len()
	}
	for wire.Len() > 0 {
		if _, err := c.Write(wire.Next(size)); err != nil {
			return nil, err
		}
	}
	answer, err = io.ReadAll(c)
	if errors.Is(err, syscall.ECONNRESET) {
		return answer, nil
	}
	return answer, err
}

// wire is the request as it is sent.
func (r *Request) wire() *bytes.Buffer {
	b := new(bytes.Buffer)
	method := "GET"
	if r.Body != nil {
		method = "POST"
	}
	fmt.Fprintf(b, "%s %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n", method, r.Target)
	for _, f := range r.Fields {
		b.WriteString(f + "\r\n")
	}
	if r.Type != "" {
		b.WriteString("Content-Type: " + r.Type + "\r\n")
	}
	switch {
	case r.Chunked > 0:
		if r.Trailer != "" {
			b.WriteString("Trailer: X-Note\r\n")
		}
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := r.Body; len(rest) > 0; {
			n := min(r.Chunked, len(rest))
			fmt.Fprintf(b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n")
		if r.Trailer != "" {
			b.WriteString(r.Trailer + "\r\n")
		}
		b.WriteString("\r\n")
	case r.Body != nil:
		fmt.Fprintf(b, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	default:
		b.WriteString("\r\n")
	}
	return b
}

// PairURLs are the addresses of all that the API tells of these pairs.
func PairURLs(ids []string) (urls []string) {
	for _, id := range ids {
		p := "/api/v1/pairs/" + id
		urls = append(urls, p, p+"/curl", p+"/request/raw", p+"/response/raw", p+"/request/body", p+"/response/body", p+"/request/body?decoded=1", p+"/response/body?decoded=1")
	}
	return urls
}
