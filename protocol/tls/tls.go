// Package tls names TLS by its ClientHello, and reads from it where the
// client wants to go: server name (RFC 6066, section 3) and application
// protocols (RFC 7301). Record and handshake formats: RFC 8446, sections 4.1.2
// and 5.1.
package tls

import (
	"strings"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is TLS, from SSL 3.0 record headers up.
var Protocol = protocol.Protocol{
	Name:     "tls",
	Title:    "TLS",
	Detect:   protocol.ClientFirst(detect),
	Describe: describe,
	Advice:   "Carried unread: the traffic is encrypted; terminate TLS before goproxy for now.",
}

const (
	recordHandshake = 22
	clientHello     = 1
	maxRecord       = 1<<14 + 256
)

func detect(b []byte) protocol.Verdict {
	want := [...]func(c byte) bool{
		func(c byte) bool { return c == recordHandshake },
		func(c byte) bool { return c == 3 },
		func(c byte) bool { return c <= 4 },
		func(c byte) bool { return c <= maxRecord>>8 },
		func(byte) bool { return true },
		func(c byte) bool { return c == clientHello },
	}
	for i, ok := range want {
		if i == len(b) {
			return protocol.NeedMore
		}
		if !ok(b[i]) {
			return protocol.NoMatch
		}
	}
	return protocol.Match
}

// describe reads as much of the ClientHello as there is: detection may have
// seen only its beginning.
func describe(client, _ []byte) (attrs []protocol.Attr) {
	hello := cursor{b: handshake(client)}
	if hello.number(1) != clientHello {
		return nil
	}
	hello.skip(3 + 2 + 32)      // length, legacy version, random
	hello.skip(hello.number(1)) // session id
	hello.skip(hello.number(2)) // cipher suites
	hello.skip(hello.number(1)) // compression methods
	extensions := hello.piece(2)
	for range client { // each takes a byte at least
		if extensions.done() {
			break
		}
		kind := extensions.number(2)
		data := extensions.piece(2)
		switch kind {
		case 0:
			if name := serverName(data); name != "" {
				attrs = append(attrs, protocol.Attr{Key: "tls.sni", Value: name})
			}
		case 16:
			if names := alpn(data); names != "" {
				attrs = append(attrs, protocol.Attr{Key: "tls.alpn", Value: names})
			}
		}
	}
	return attrs
}

// handshake joins the payloads of the handshake records at the start of b; a
// hello may be spread over several. The last one may be cut short.
func handshake(b []byte) []byte {
	var joined []byte
	for range b { // a record takes bytes
		if len(b) <= 5 || b[0] != recordHandshake {
			break
		}
		n := int(b[3])<<8 | int(b[4])
		b = b[5:]
		n = min(n, len(b))
		if joined == nil && n == len(b) {
			return b
		}
		joined = append(joined, b[:n]...)
		b = b[n:]
	}
	return joined
}

func serverName(c cursor) string {
	list := c.piece(2)
	for range list.b { // each name takes a byte at least
		if list.done() {
			break
		}
		kind := list.number(1)
		name := list.piece(2)
		if kind == 0 && name.whole {
			return printable(name.b)
		}
	}
	return ""
}

func alpn(c cursor) string {
	list := c.piece(2)
	var names []string
	for range list.b { // each name takes a byte at least
		if list.done() {
			break
		}
		// GREASE values (RFC 8701) are not meant to be read.
		if name := list.piece(1); name.whole && printable(name.b) != "" {
			names = append(names, string(name.b))
		}
	}
	return strings.Join(names, ",")
}

// printable is b when all of it is visible ASCII, else nothing.
func printable(b []byte) string {
	for _, c := range b {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return string(b)
}

// cursor reads length-prefixed data that may end anywhere. Past its end,
// numbers are 0 and pieces are empty.
type cursor struct {
	b []byte
	// whole: all bytes that the length promised are there.
	whole bool
}

func (c *cursor) done() bool { return len(c.b) == 0 }

func (c *cursor) skip(n int) { c.b = c.b[min(n, len(c.b)):] }

// number reads a number of size bytes.
func (c *cursor) number(size int) (n int) {
	if len(c.b) < size {
		c.b = nil
		return 0
	}
	for _, d := range c.b[:size] {
		n = n<<8 | int(d)
	}
	c.b = c.b[size:]
	return n
}

// piece reads data behind a length of size bytes.
func (c *cursor) piece(size int) cursor {
	if len(c.b) < size {
		c.b = nil
		return cursor{}
	}
	n := c.number(size)
	p := cursor{b: c.b[:min(n, len(c.b))], whole: n <= len(c.b)}
	c.skip(n)
	return p
}
