package http1

import (
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
func New(sink protocol.Sink, fuel *protocol.Fuel) protocol.Decoder {
	d := &decoder{sink: sink, fuel: fuel}
	d.client.dir = protocol.ClientToServer
	d.server.dir = protocol.ServerToClient
	return d
}

type decoder struct {
	sink           protocol.Sink
	fuel           *protocol.Fuel
	client, server half
	// pending are the requests whose response has not begun, oldest first.
	pending queue
	// answering is the request that the current response answers.
	answering request
	// upgrading: the response that changes the protocol is over, the request
	// that asked for it is not.
	upgrading bool
	// released: the server declined to change the protocol, and what the client
	// sent behind its request is to be read now.
	released bool
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

	left  uint64 // of the body or chunk
	chunk protocol.Chunk
	cr    bool // inChunkEnd: CR seen
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
		d.simpleBody(h, at) // shorter than a status line's first word
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

// Held implements protocol.Decoder.
func (d *decoder) Held() int {
	return len(d.client.buf) + len(d.client.held) + len(d.server.buf) + len(d.server.held)
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
		d.fuel.Burn(1)
		n, err := d.step(h, at, b[i:])
		i += n
		if err == nil && d.released {
			err = d.readHeld()
		}
		if err != nil {
			return i, err
		}
	}
	return i, nil
}

// readHeld consumes what the client sent behind a request for another
// protocol, which the server declined: it is HTTP after all. It may hold
// another such request.
func (d *decoder) readHeld() error {
	d.released = false
	c := &d.client
	i := 0
	for i < len(c.held) && c.state != holding {
		d.fuel.Burn(1)
		n, err := d.step(c, c.heldAt, c.held[i:])
		i += n
		if err != nil {
			return err
		}
	}
	if c.held = c.held[i:]; len(c.held) == 0 {
		c.held = nil
	}
	if c.closed {
		return d.closeHalf(c, c.heldAt, false)
	}
	return nil
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
