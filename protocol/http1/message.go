package http1

import (
	"bytes"

	"github.com/weir-capture/weir/protocol"
)

// skip passes over the empty lines that some peers send between messages (RFC
// 9112, section 2.2).
func (d *decoder) skip(h *half, at protocol.Time, b []byte) (int, error) {
	n := lineEnds(b)
	h.off += uint64(n)
	if n == len(b) {
		return n, nil
	}
	h.start, h.first, h.wire = h.off, at, 0
	h.line, h.lineCR, h.lines = 0, false, 0
	h.state = inHead
	if h.dir == protocol.ServerToClient && d.pending.len() > 0 && d.pending.front()&isSimple != 0 {
		h.state = inSniff
	}
	return n, nil
}

// lineEnds is how many line ends, or pieces of them, b begins with.
func lineEnds(b []byte) int {
	for i, c := range b {
		if c != '\r' && c != '\n' {
			return i
		}
	}
	return len(b)
}

// keepBuf is the largest buffer that a quiet connection keeps.
const keepBuf = 4 << 10

// collect keeps b, the next bytes of what did not arrive whole.
func (d *decoder) collect(h *half, b []byte) {
	d.fuel.Burn(len(b))
	h.buf = append(h.buf, b...)
}

// empty lets the collected bytes go.
func (h *half) empty() {
	if cap(h.buf) > keepBuf {
		h.buf = nil
		return
	}
	h.buf = h.buf[:0]
}

// scanLine looks for the end of the line that begins in h.buf and goes on with
// b; empty says that there is nothing else in it.
func (h *half) scanLine(b []byte) (n int, whole, empty bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		h.lineCR = h.line == 0 && len(b) == 1 && b[0] == '\r'
		h.line += len(b)
		return len(b), false, false
	}
	empty = h.line+i == 0 || h.line == 0 && i == 1 && b[0] == '\r' || h.line == 1 && i == 0 && h.lineCR
	h.line, h.lineCR = 0, false
	h.lines++
	return i + 1, true, empty
}

// block collects a block of lines up to the empty line that ends it, and
// returns it when it is whole, as a piece of b where it can. check is called
// once, with the first line.
func (d *decoder) block(h *half, b []byte, check func(line []byte) (whole bool, err error)) (n int, block []byte, err error) {
	for n < len(b) {
		d.fuel.Burn(1)
		m, whole, found := h.scanLine(b[n:])
		n += m
		if len(h.buf)+n > maxHead {
			return 0, nil, d.tooLarge(h)
		}
		if whole && h.lines == 1 && check != nil {
			line := b[:n]
			if len(h.buf) > 0 {
				// Rare enough to copy: the start line was split.
				line = append(h.buf, b[:n]...)
				h.buf = line[:len(h.buf)]
			}
			whole, err := check(trimLineEnd(line))
			if err != nil {
				return 0, nil, d.notAStartLine(h, err)
			}
			found = found || whole
		}
		if found {
			if len(h.buf) == 0 {
				return n, b[:n], nil
			}
			d.collect(h, b[:n])
			return n, h.buf, nil
		}
	}
	d.collect(h, b[:n])
	return n, nil, nil
}

// tooLarge and notAStartLine give up on the block of lines that is collected.
func (d *decoder) tooLarge(h *half) error {
	h.untake(len(h.buf)) // to where the block began
	return d.errorf(h, protocol.ErrTooLarge, "more than %d bytes", maxHead)
}

func (d *decoder) notAStartLine(h *half, err error) error {
	h.untake(len(h.buf)) // to where the block began
	return d.errorf(h, err, "not a start line of HTTP/1")
}

func trimLineEnd(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}

// readHead reads a header block: where it lies, in one pass, when all of it is
// there, as it mostly is; else when it was collected.
func (d *decoder) readHead(h *half, at protocol.Time, b []byte) (int, error) {
	var hd head
	if len(h.buf) == 0 && h.line == 0 && h.lines == 0 {
		n, whole, ok := hd.parse(h.dir, b[:min(len(b), maxHead)])
		switch {
		case !ok:
			return 0, d.notAStartLine(h, protocol.ErrMalformed)
		case whole:
			h.took(n)
			return n, d.beginMessage(h, at, &hd, b[:n])
		}
		d.fuel.Burn(len(b)) // once for nothing
		hd = head{}
	}
	check := isStatusLine
	if h.dir == protocol.ClientToServer {
		check = isRequestLine
	}
	n, block, err := d.block(h, b, check)
	if err != nil {
		return n, err
	}
	h.took(n)
	if block == nil {
		return n, nil
	}
	d.fuel.Burn(len(block))
	hd.parse(h.dir, block)
	err = d.beginMessage(h, at, &hd, block)
	h.empty()
	return n, err
}

func (d *decoder) beginMessage(h *half, at protocol.Time, hd *head, block []byte) error {
	if h.dir == protocol.ClientToServer {
		return d.beginRequest(h, at, hd, block)
	}
	return d.beginResponse(h, at, hd, block)
}

// isRequestLine refuses what is no HTTP as soon as its first line says so.
// whole: the line is all there is (HTTP/0.9).
func isRequestLine(line []byte) (whole bool, err error) {
	var hd head
	if !hd.parseRequestLine(line) {
		return false, protocol.ErrMalformed
	}
	return hd.simple, nil
}

func isStatusLine(line []byte) (whole bool, err error) {
	var hd head
	if !hd.parseStatusLine(line) {
		return false, protocol.ErrMalformed
	}
	return false, nil
}

func (d *decoder) beginRequest(h *half, at protocol.Time, hd *head, block []byte) error {
	host, path, query := splitTarget(hd.method, hd.target)
	if host == nil {
		host = hd.host
	}
	r, after := request(0), between
	switch {
	case string(hd.method) == "HEAD":
		r |= isHead
	case string(hd.method) == "CONNECT" && !hd.simple:
		r |= isConnect
		after = holding
	}
	if hd.upgrade && hd.upgradeTo && hd.version.minor > 0 {
		r |= isUpgrade
		after = holding
	}
	if !hd.persists() && r&isConnect == 0 {
		r |= isLast
		if after == between {
			after = ignoring
		}
	}
	if hd.simple {
		r |= isSimple
	}
	if !d.pending.push(r) {
		return d.errorf(h, protocol.ErrTooLarge, "more than %d requests wait for a response", maxPending)
	}
	d.begin(h, protocol.Begin{
		Kind: protocol.Request, Dir: h.dir, First: h.first, At: at, Head: block,
		Method: hd.method, Host: host, Path: path, Query: query,
	})
	f, dt := hd.requestFraming()
	if dt.why == "" && h.overtaken {
		dt.why = "a request that may have been answered before its head was complete"
	}
	if dt.why != "" {
		return d.ambiguous(h, dt)
	}
	h.after = after
	h.expects = hd.expect && f != noBody
	return d.beginBody(h, at, f, hd.length)
}

func (d *decoder) beginResponse(h *half, at protocol.Time, hd *head, block []byte) error {
	begin := protocol.Begin{
		Kind: protocol.Response, Dir: h.dir, First: h.first, At: at, Head: block, Status: hd.status,
	}
	if hd.status < 200 && hd.status != 101 {
		begin.Kind = protocol.Interim
		d.sink.Begin(begin)
		if hd.structure.why != "" {
			return d.ambiguous(h, hd.structure)
		}
		h.state = between
		if hd.status == 100 && d.pending.len() == 1 {
			d.client.expects = false
		}
		return nil
	}
	if d.pending.len() == 0 && d.client.state == inHead {
		d.client.overtaken = true
	}
	r := d.pending.pop()
	d.answering = r
	d.begin(h, begin)
	tunnel := hd.status == 101 || r&isConnect != 0 && hd.status/100 == 2
	bodyless := tunnel || r&isHead != 0 || hd.status == 204 || hd.status == 304
	f, dt := hd.responseFraming(bodyless)
	if dt.why != "" {
		return d.ambiguous(h, dt)
	}
	if tunnel {
		return d.upgraded(h, at)
	}
	if r&(isUpgrade|isConnect) != 0 {
		d.declined(r)
	}
	if c := &d.client; c.open && c.expects && d.pending.len() == 0 && hd.persists() {
		c.doubtful = true
	}
	h.after = between
	if !hd.persists() {
		h.after = ignoring
	}
	return d.beginBody(h, at, f, hd.length)
}

func (d *decoder) begin(h *half, b protocol.Begin) {
	h.open = true
	d.sink.Begin(b)
}

func (d *decoder) ambiguous(h *half, dt doubt) error {
	h.off = h.start + uint64(dt.at)
	return d.errorf(h, protocol.ErrAmbiguous, "%s", dt.why)
}

// over ends the current message, as its framing says, and sets what is next.
func (d *decoder) over(h *half, at protocol.Time, trailers []byte) error {
	d.end(h, at, trailers, false)
	h.state = h.after
	if h.dir == protocol.ClientToServer {
		if d.upgrading {
			return d.errorf(h, protocol.ErrUpgraded, "the server agreed")
		}
		return nil
	}
	return d.answered()
}

// answered: a response is over. If it was the one to the client's last
// request, then what the client sent behind that will never be read.
func (d *decoder) answered() error {
	if d.answering&isLast == 0 {
		return nil
	}
	d.answeredLast = true
	if d.client.behind {
		return d.unread(&d.client)
	}
	return nil
}

func (d *decoder) end(h *half, at protocol.Time, trailers []byte, incomplete bool) {
	h.open, h.expects, h.left = false, false, 0
	d.sink.End(protocol.End{Dir: h.dir, At: at, Trailers: trailers, Wire: h.wire, Incomplete: incomplete})
}

// upgraded ends the response that ends HTTP here. The request may be early:
// then its rest is still HTTP.
func (d *decoder) upgraded(h *half, at protocol.Time) error {
	d.end(h, at, nil, false)
	if d.client.open && d.pending.len() == 0 {
		d.upgrading = true
		h.state = ignoring
		return nil
	}
	return d.errorf(h, protocol.ErrUpgraded, "the server agreed")
}

// declined: the server answered the last request, which wanted another
// protocol, in this one. What the client sent behind it is HTTP after all.
func (d *decoder) declined(r request) {
	c := &d.client
	if d.pending.len() > 0 {
		return
	}
	after := between
	if r&isLast != 0 {
		after = ignoring
	}
	switch {
	case c.open:
		c.after = after
	case c.state == holding:
		c.state, d.released = after, true
	}
}

// hold keeps bytes that came behind a request for another protocol, before
// its answer: nobody can know yet what they are. All of them get the time of
// the first.
func (d *decoder) hold(h *half, at protocol.Time, b []byte) error {
	if len(h.held)+len(b) > maxHead {
		return d.errorf(h, protocol.ErrAmbiguous, "more than %d bytes behind a request for another protocol", maxHead)
	}
	if len(h.held) == 0 {
		h.heldAt = at
	}
	d.fuel.Burn(len(b))
	h.held = append(h.held, b...)
	return nil
}

// ignore passes over bytes that the peer does not read: behind a message that
// said it was the last (RFC 9112, section 9.6). A client's last request still
// gets its answer; then decoding ends.
func (d *decoder) ignore(h *half, b []byte) (int, error) {
	n := len(b)
	if !d.upgrading && !h.behind {
		n = lineEnds(b)
	}
	h.off += uint64(n)
	if n == len(b) {
		return n, nil
	}
	if h.dir == protocol.ServerToClient && d.pending.len() > 0 {
		// It was asked for more meanwhile, and answers all the same.
		h.state = between
		return n, nil
	}
	h.behind, h.behindAt = true, h.off
	if h.dir == protocol.ServerToClient || d.answeredLast {
		return n, d.unread(h)
	}
	return n, nil
}

// unread: what the client sent behind its last request will never be read, or
// the server goes on although it was done.
func (d *decoder) unread(h *half) error {
	h.off = h.behindAt
	return d.errorf(h, protocol.ErrMalformed, "bytes after the last message")
}

// sniff decides whether the answer to an HTTP/0.9 request has a head: servers
// that do not speak 0.9 send one.
func (d *decoder) sniff(h *half, at protocol.Time, b []byte) (int, error) {
	const prefix = "HTTP/"
	n := 0
	for _, c := range b {
		if len(h.buf) == len(prefix) || c != prefix[len(h.buf)] {
			break
		}
		h.buf = append(h.buf, c)
		n++
	}
	switch {
	case len(h.buf) == len(prefix):
		h.state = inHead
		h.line = len(prefix)
		h.took(n)
		return n, nil
	case n == len(b):
		h.took(n)
		return n, nil
	}
	h.took(n)
	d.simpleBody(h, at)
	return n, nil
}

// simpleBody begins a response without a head.
func (d *decoder) simpleBody(h *half, at protocol.Time) {
	d.answering = d.pending.pop()
	d.begin(h, protocol.Begin{Kind: protocol.Response, Dir: h.dir, First: h.first, At: at})
	if len(h.buf) > 0 {
		d.sink.Body(protocol.Body{Dir: h.dir, At: at, Data: h.buf})
		h.buf = h.buf[:0]
	}
	h.state, h.after = inClose, ignoring
}
