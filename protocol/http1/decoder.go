package http1

import (
	"bytes"
	"fmt"

	"github.com/weir-capture/weir/protocol"
)

const (
	// maxHead bounds a header block, a trailer section, and the bytes that
	// wait for the answer to an upgrade. Servers stop at 8 to 64 KiB.
	maxHead = 64 << 10
	// maxChunkLine bounds a chunk's size line with its extensions, as Go's
	// own server does.
	maxChunkLine = 4 << 10
	// maxPending bounds the requests that wait for their responses.
	maxPending = 1024
)

// New makes the decoder of one connection.
func New(sink protocol.Sink) protocol.Decoder {
	d := &decoder{sink: sink}
	d.client.dir = protocol.ClientToServer
	d.server.dir = protocol.ServerToClient
	return d
}

type decoder struct {
	sink           protocol.Sink
	client, server half
	// pending are the requests whose response has not begun, oldest first.
	pending queue
	// answering is the request that the current response answers.
	answering request
	// upgrading: the response that changes the protocol is over, the request
	// that asked for it is not.
	upgrading bool
	// answeredLast: the response to the client's last request is over.
	answeredLast bool
	err          error
}

// request is what the framing of a response, and of what comes after it,
// needs to know of its request.
type request uint8

const (
	isHead    request = 1 << iota // the response has no body
	isConnect                     // 2xx opens a tunnel
	isUpgrade                     // 101 may follow
	isSimple                      // HTTP/0.9: the response may have no head
	isLast                        // the client sends nothing after it
)

type state uint8

const (
	between    state = iota // before a message; empty lines are skipped
	inHead                  // header block
	inSniff                 // is the answer to HTTP/0.9 a body or a head?
	inLength                // body by Content-Length
	inClose                 // body until the stream ends
	inSize                  // chunk size line
	inChunk                 // chunk data
	inChunkEnd              // the CRLF after chunk data
	inTrailer               // trailer section
	holding                 // bytes wait for the answer to an upgrade
	ignoring                // the peer does not read what comes here
)

// half is one direction of the connection.
type half struct {
	dir   protocol.Direction
	state state
	// after is the state that follows the current message.
	after state
	// open: Begin was reported, End was not.
	open   bool
	closed bool

	off   uint64 // bytes of this direction consumed so far
	start uint64 // off at the first byte of the current message
	first protocol.Time
	wire  uint64

	// buf holds the start of a header block, size line or trailer section
	// that did not arrive whole. line is the length of its last, unfinished
	// line, and lines the number of finished ones.
	buf    []byte
	line   int
	lineCR bool
	lines  int

	left uint64 // of the body or chunk
	cr   bool   // inChunkEnd: CR seen
	// behind: the first byte that nobody reads was at behindAt.
	behind   bool
	behindAt uint64

	// Of a client that sent Expect: 100-continue and no body yet.
	expects bool
	// overtaken: a response came while a head was arriving, and nothing else
	// had been asked.
	overtaken bool
	// doubtful: the response came without 100 Continue, so that what follows
	// may be the body or the next request.
	doubtful bool

	// held are bytes behind a request that may end HTTP on this connection.
	// They are read when the server declines.
	held   []byte
	heldAt protocol.Time
}

// Data implements protocol.Decoder.
func (d *decoder) Data(dir protocol.Direction, at protocol.Time, b []byte) error {
	if d.err != nil {
		return d.err
	}
	h := d.half(dir)
	if h.closed {
		return d.fail(at, d.errorf(h, protocol.ErrMalformed, "bytes after the stream's end"))
	}
	n, err := d.feed(h, at, b)
	if err == nil && n < len(b) {
		err = d.hold(h, at, b[n:])
	}
	if err != nil {
		return d.fail(at, err)
	}
	return nil
}

// Gap implements protocol.Decoder. Bytes may be missing where their meaning is
// known without them: in a body, up to its end.
func (d *decoder) Gap(dir protocol.Direction, at protocol.Time, n int64) error {
	if d.err != nil {
		return d.err
	}
	if n <= 0 {
		return nil
	}
	h := d.half(dir)
	missing := uint64(n)
	switch {
	case h.doubtful:
	case h.state == ignoring:
		h.off += missing
		return nil
	case h.state == inClose:
		d.missing(h, at, missing)
		return nil
	case h.state == inLength, h.state == inChunk:
		m := min(missing, h.left)
		d.missing(h, at, m)
		h.left -= m
		missing -= m
		if h.left == 0 {
			if err := d.bodyOver(h, at); err != nil {
				return d.fail(at, err)
			}
		}
		if missing == 0 {
			return nil
		}
	}
	return d.fail(at, d.errorf(h, protocol.ErrGap, "%d bytes outside a body", missing))
}

func (d *decoder) missing(h *half, at protocol.Time, n uint64) {
	h.off += n
	h.wire += n
	d.sink.Body(protocol.Body{Dir: h.dir, At: at, Missing: int64(n)})
}

// Close implements protocol.Decoder. A body that is delimited by the end of
// the stream is complete when that came as a FIN.
func (d *decoder) Close(dir protocol.Direction, at protocol.Time, clean bool) error {
	if d.err != nil {
		return d.err
	}
	h := d.half(dir)
	h.closed = true
	if err := d.closeHalf(h, at, clean); err != nil {
		return d.fail(at, err)
	}
	return nil
}

func (d *decoder) closeHalf(h *half, at protocol.Time, clean bool) error {
	if h.state == holding && len(h.held) > 0 {
		return nil // the answer may still make messages of them
	}
	if h.state == inSniff && clean {
		// Shorter than a status line's first word.
		if _, err := d.simpleBody(h, at); err != nil {
			return err
		}
	}
	if h.open {
		d.end(h, at, nil, !clean || h.state != inClose)
		if h.dir == protocol.ServerToClient {
			if err := d.answered(); err != nil {
				return err
			}
		}
	}
	if d.upgrading {
		return d.errorf(h, protocol.ErrUpgraded, "the stream ended")
	}
	return nil
}

func (d *decoder) half(dir protocol.Direction) *half {
	if dir == protocol.ClientToServer {
		return &d.client
	}
	return &d.server
}

// errorf says what went wrong with which message.
func (d *decoder) errorf(h *half, err error, format string, args ...any) error {
	what := "request"
	if h.dir == protocol.ServerToClient {
		what = "response"
	}
	return fmt.Errorf("read %s, byte %d: %s: %w", what, h.off, fmt.Sprintf(format, args...), err)
}

// fail ends decoding: no message stays open.
func (d *decoder) fail(at protocol.Time, err error) error {
	d.err = err
	for _, h := range [...]*half{&d.client, &d.server} {
		if h.open {
			d.end(h, at, nil, true)
		}
		h.buf, h.held = nil, nil
	}
	return err
}

// feed consumes b, all of it but what waits for the answer to an upgrade.
func (d *decoder) feed(h *half, at protocol.Time, b []byte) (int, error) {
	i := 0
	for i < len(b) && h.state != holding {
		n, err := d.step(h, at, b[i:])
		i += n
		if err != nil {
			return i, err
		}
	}
	return i, nil
}

// step consumes at least one byte of b, or changes the state.
func (d *decoder) step(h *half, at protocol.Time, b []byte) (int, error) {
	if h.doubtful {
		return 0, d.errorf(h, protocol.ErrAmbiguous, "bytes after a response that came instead of 100 Continue")
	}
	switch h.state {
	case between:
		return d.skip(h, at, b)
	case inHead:
		return d.readHead(h, at, b)
	case inSniff:
		return d.sniff(h, at, b)
	case inLength, inChunk, inClose:
		return d.readBody(h, at, b, nil)
	case inSize:
		return d.readSize(h, at, b)
	case inChunkEnd:
		return d.readChunkEnd(h, b)
	case inTrailer:
		return d.readTrailer(h, at, b)
	default:
		return d.ignore(h, b)
	}
}

// took counts n bytes of the current message.
func (h *half) took(n int) {
	h.off += uint64(n)
	h.wire += uint64(n)
}

func (h *half) untake(n int) {
	h.off -= uint64(n)
	h.wire -= uint64(n)
}

// skip passes over the empty lines that some peers send between messages (RFC
// 9112, section 2.2).
func (d *decoder) skip(h *half, at protocol.Time, b []byte) (int, error) {
	n := 0
	for n < len(b) && (b[n] == '\r' || b[n] == '\n') {
		n++
	}
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

// keepBuf is the largest buffer that a quiet connection keeps.
const keepBuf = 4 << 10

// empty lets the collected bytes go.
func (h *half) empty() {
	if cap(h.buf) > keepBuf {
		h.buf = nil
		return
	}
	h.buf = h.buf[:0]
}

// scan looks for the empty line that ends a block of lines which begins in
// h.buf and goes on with b. It stops there, and after the first line, to let
// the caller look at that.
func (h *half) scan(b []byte) (n int, found bool) {
	for n < len(b) {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			h.lineCR = h.line == 0 && len(b)-n == 1 && b[n] == '\r'
			h.line += len(b) - n
			return len(b), false
		}
		empty := h.line+i == 0 || h.line == 0 && i == 1 && b[n] == '\r' || h.line == 1 && i == 0 && h.lineCR
		n += i + 1
		h.line, h.lineCR = 0, false
		h.lines++
		if empty {
			return n, true
		}
		if h.lines == 1 {
			return n, false
		}
	}
	return n, false
}

// block scans for the end of a block of lines, and returns it whole, as a
// piece of b where it can. check is called once, with the first line.
func (d *decoder) block(h *half, b []byte, check func(line []byte) (whole bool, err error)) (n int, block []byte, err error) {
	for n < len(b) {
		first := h.lines == 0
		m, found := h.scan(b[n:])
		n += m
		if len(h.buf)+n > maxHead {
			h.untake(len(h.buf)) // to where the block began
			return 0, nil, d.errorf(h, protocol.ErrTooLarge, "more than %d bytes", maxHead)
		}
		if first && h.lines == 1 && check != nil {
			line := b[:n]
			if len(h.buf) > 0 {
				// Rare enough to copy: the start line was split.
				line = append(h.buf, b[:n]...)
				h.buf = line[:len(h.buf)]
			}
			whole, err := check(trimLineEnd(line))
			if err != nil {
				h.untake(len(h.buf)) // to where the block began
				return 0, nil, d.errorf(h, err, "not a start line of HTTP/1")
			}
			found = found || whole
		}
		if found {
			if len(h.buf) == 0 {
				return n, b[:n], nil
			}
			h.buf = append(h.buf, b[:n]...)
			return n, h.buf, nil
		}
	}
	h.buf = append(h.buf, b[:n]...)
	return n, nil, nil
}

func trimLineEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte{'\n'}), []byte{'\r'})
}

func (d *decoder) readHead(h *half, at protocol.Time, b []byte) (int, error) {
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
	var hd head
	startLine := block[:bytes.IndexByte(block, '\n')+1]
	if h.dir == protocol.ClientToServer {
		simple, _ := hd.parseRequestLine(trimLineEnd(startLine))
		hd.parseFields(block, len(startLine))
		err = d.beginRequest(h, at, &hd, block, simple)
	} else {
		hd.parseStatusLine(trimLineEnd(startLine))
		hd.parseFields(block, len(startLine))
		err = d.beginResponse(h, at, &hd, block)
	}
	h.empty()
	return n, err
}

// isRequestLine refuses what is no HTTP as soon as its first line says so.
// whole: the line is all there is (HTTP/0.9).
func isRequestLine(line []byte) (whole bool, err error) {
	var hd head
	whole, ok := hd.parseRequestLine(line)
	if !ok {
		return false, protocol.ErrMalformed
	}
	return whole, nil
}

func isStatusLine(line []byte) (whole bool, err error) {
	var hd head
	if !hd.parseStatusLine(line) {
		return false, protocol.ErrMalformed
	}
	return false, nil
}

func (d *decoder) beginRequest(h *half, at protocol.Time, hd *head, block []byte, simple bool) error {
	host, path, query := splitTarget(hd.method, hd.target)
	if host == nil {
		host = hd.host
	}
	r, after := request(0), between
	switch {
	case string(hd.method) == "HEAD":
		r |= isHead
	case string(hd.method) == "CONNECT" && !simple:
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
	if simple {
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
		if err := d.declined(r); err != nil {
			return err
		}
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
func (d *decoder) declined(r request) error {
	c := &d.client
	if d.pending.len() > 0 {
		return nil
	}
	after := between
	if r&isLast != 0 {
		after = ignoring
	}
	if c.open {
		c.after = after
		return nil
	}
	if c.state != holding {
		return nil
	}
	c.state = after
	held := c.held
	n, err := d.feed(c, c.heldAt, held)
	if err != nil {
		return err
	}
	c.held = held[n:]
	if len(c.held) == 0 {
		c.held = nil
	}
	if c.closed {
		return d.closeHalf(c, c.heldAt, false)
	}
	return nil
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
	h.held = append(h.held, b...)
	return nil
}

func (d *decoder) begin(h *half, b protocol.Begin) {
	h.open = true
	d.sink.Begin(b)
}

func (d *decoder) ambiguous(h *half, dt doubt) error {
	h.off = h.start + uint64(dt.at)
	return d.errorf(h, protocol.ErrAmbiguous, "%s", dt.why)
}

// beginBody sets the state that reads the body of the current message.
func (d *decoder) beginBody(h *half, at protocol.Time, f framing, length int64) error {
	switch f {
	case byLength:
		h.state, h.left = inLength, uint64(length)
	case byChunks:
		h.state = inSize
	case byClose:
		h.state = inClose
	default:
		return d.over(h, at, nil)
	}
	return nil
}

// readBody consumes body bytes; chunk is set for the first ones of a chunk.
func (d *decoder) readBody(h *half, at protocol.Time, b []byte, chunk *protocol.Chunk) (int, error) {
	n := len(b)
	if h.state != inClose {
		n = int(min(uint64(n), h.left))
		h.left -= uint64(n)
	}
	h.expects = false
	h.took(n)
	d.sink.Body(protocol.Body{Dir: h.dir, At: at, Data: b[:n], Chunk: chunk})
	if h.state != inClose && h.left == 0 {
		return n, d.bodyOver(h, at)
	}
	return n, nil
}

func (d *decoder) bodyOver(h *half, at protocol.Time) error {
	if h.state == inChunk {
		h.state, h.cr = inChunkEnd, false
		return nil
	}
	return d.over(h, at, nil)
}

// readSize reads a chunk's size line (RFC 9112, section 7.1).
func (d *decoder) readSize(h *half, at protocol.Time, b []byte) (int, error) {
	n := bytes.IndexByte(b, '\n') + 1
	whole := n > 0
	if !whole {
		n = len(b)
	}
	if len(h.buf)+n > maxChunkLine {
		h.untake(len(h.buf))
		return 0, d.errorf(h, protocol.ErrTooLarge, "a chunk's size line of more than %d bytes", maxChunkLine)
	}
	line := b[:n]
	if !whole || len(h.buf) > 0 {
		h.buf = append(h.buf, line...)
		line = h.buf
	}
	if !whole {
		h.expects = false
		h.took(n)
		return n, nil
	}
	size, plain, why := parseSize(line)
	if why != "" {
		h.untake(len(line) - n) // to where the line began
		return 0, d.errorf(h, protocol.ErrAmbiguous, "%s", why)
	}
	h.expects = false
	h.took(n)
	chunk := protocol.Chunk{Size: size}
	if !plain {
		chunk.Line = line[:len(line)-2]
	}
	h.left = size
	if size == 0 {
		d.sink.Body(protocol.Body{Dir: h.dir, At: at, Chunk: &chunk})
		h.state = inTrailer
		h.empty()
		h.line, h.lineCR, h.lines = 0, false, 0
		return n, nil
	}
	h.state = inChunk
	// Data goes with its size line where it came along. The line may be in
	// buf, so buf is emptied only after it was reported.
	m, err := d.readBody(h, at, b[n:], &chunk)
	h.empty()
	return n + m, err
}

// parseSize reads a size line with its line end. plain means that it is what
// strconv would write. why is set when readers may not agree about it: they
// differ on signs and prefixes, on numbers beyond 16 digits, on line ends that
// are not CRLF, and on what may stand between size and extension.
func parseSize(line []byte) (size uint64, plain bool, why string) {
	if len(line) < 2 || line[len(line)-2] != '\r' {
		return 0, false, "a chunk's size line that does not end with CRLF"
	}
	line = line[:len(line)-2]
	if bytes.IndexByte(line, '\r') >= 0 {
		return 0, false, "a carriage return inside a chunk's size line"
	}
	n, plain := 0, true
	for n < len(line) {
		c := line[n]
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
			plain = false
		default:
			c = 0xff
		}
		if c == 0xff {
			break
		}
		if n == 16 || size > (1<<63-1)>>4 {
			return 0, false, "a chunk size beyond 2^63"
		}
		size = size<<4 | uint64(c)
		n++
	}
	if n == 0 {
		return 0, false, "a chunk size that is not a number"
	}
	if rest := trim(line[n:]); len(rest) > 0 && rest[0] != ';' {
		return 0, false, "a chunk size that is not a number"
	}
	plain = plain && n == len(line) && (n == 1 || line[0] != '0')
	return size, plain, ""
}

// readChunkEnd takes the CRLF behind chunk data. Anything else, a bare line
// feed too, is a chunk of another length to somebody.
func (d *decoder) readChunkEnd(h *half, b []byte) (int, error) {
	switch {
	case !h.cr && b[0] == '\r':
		h.cr = true
	case h.cr && b[0] == '\n':
		h.state = inSize
	default:
		return 0, d.errorf(h, protocol.ErrAmbiguous, "no CRLF where a chunk ends")
	}
	h.took(1)
	return 1, nil
}

func (d *decoder) readTrailer(h *half, at protocol.Time, b []byte) (int, error) {
	n, block, err := d.block(h, b, nil)
	if err != nil {
		return n, err
	}
	h.took(n)
	if block == nil {
		return n, nil
	}
	var section head
	section.parseFields(block, 0)
	if section.structure.why != "" {
		return n, d.errorf(h, protocol.ErrAmbiguous, "trailer section: %s", section.structure.why)
	}
	if string(block) == "\r\n" {
		block = nil
	}
	err = d.over(h, at, block)
	h.empty()
	return n, err
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

// ignore passes over bytes that the peer does not read: behind a message that
// said it was the last (RFC 9112, section 9.6). A client's last request still
// gets its answer; then decoding ends.
func (d *decoder) ignore(h *half, b []byte) (int, error) {
	n := 0
	for n < len(b) && (d.upgrading || h.behind || b[n] == '\r' || b[n] == '\n') {
		n++
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
	for n < len(b) && len(h.buf) < len(prefix) && b[n] == prefix[len(h.buf)] {
		h.buf = append(h.buf, b[n])
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
	_, err := d.simpleBody(h, at)
	return n, err
}

// simpleBody begins a response without a head.
func (d *decoder) simpleBody(h *half, at protocol.Time) (int, error) {
	d.answering = d.pending.pop()
	d.begin(h, protocol.Begin{Kind: protocol.Response, Dir: h.dir, First: h.first, At: at})
	if len(h.buf) > 0 {
		d.sink.Body(protocol.Body{Dir: h.dir, At: at, Data: h.buf})
		h.buf = h.buf[:0]
	}
	h.state, h.after = inClose, ignoring
	return 0, nil
}

// queue is a bounded first-in-first-out queue of requests.
type queue struct {
	r []request
	i int
}

func (q *queue) len() int { return len(q.r) - q.i }

func (q *queue) front() request { return q.r[q.i] }

func (q *queue) push(r request) bool {
	if q.len() == maxPending {
		return false
	}
	if q.i >= maxPending {
		q.r = append(q.r[:0], q.r[q.i:]...)
		q.i = 0
	}
	q.r = append(q.r, r)
	return true
}

// pop takes the oldest; 0 when there is none.
func (q *queue) pop() request {
	if q.len() == 0 {
		return 0
	}
	r := q.r[q.i]
	if q.i++; q.i == len(q.r) {
		q.r, q.i = q.r[:0], 0
	}
	return r
}
