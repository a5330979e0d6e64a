package http1

import (
	"bytes"

	"github.com/weir-capture/weir/protocol"
)

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

func (d *decoder) missing(h *half, at protocol.Time, n uint64) {
	h.off += n
	h.wire += n
	h.expects = false
	d.sink.Body(protocol.Body{Dir: h.dir, At: at, Missing: int64(n)})
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
		d.collect(h, line)
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
	h.chunk = protocol.Chunk{Size: size}
	if !plain {
		h.chunk.Line = line[:len(line)-2]
	}
	h.left = size
	if size == 0 {
		d.sink.Body(protocol.Body{Dir: h.dir, At: at, Chunk: &h.chunk})
		h.state, h.chunk = inTrailer, protocol.Chunk{}
		h.empty()
		h.line, h.lineCR, h.lines = 0, false, 0
		return n, nil
	}
	h.state = inChunk
	// Data goes with its size line where it came along. The line may be in
	// buf, so buf is emptied only after it was reported.
	m, err := d.readBody(h, at, b[n:], &h.chunk)
	h.chunk = protocol.Chunk{}
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
	if bytes.Count(line, []byte{'"'})%2 != 0 {
		return 0, false, "a quote in a chunk's size line that does not end there"
	}
	n, plain := 0, true
	for _, c := range line {
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
	d.fuel.Burn(len(block))
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
