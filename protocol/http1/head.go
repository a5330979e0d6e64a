package http1

import (
	"bytes"
	"math"

	"github.com/weir-capture/weir/protocol"
)

// head is what the decoder needs of a header block. Slices point into it.
type head struct {
	method, target []byte
	status         int
	version        version
	// simple: HTTP/0.9. There is no version, and no field follows.
	simple bool

	host     []byte
	hasHost  bool
	length   int64
	lengths  int // Content-Length fields seen
	lengthIn []byte
	codings  int // Transfer-Encoding elements seen
	chunked  int // how many of them are chunked
	last     []byte
	encoding bool // a Transfer-Encoding field was seen, even an empty one
	identity bool // one of them is identity
	unknown  bool // one of them is none that HTTP/1 ever had

	close, keepAlive, upgrade, upgradeTo, expect bool

	// What makes the framing doubtful, and where in the block. structure
	// doubts hold for every message, the others only where a body may follow.
	structure, sizing doubt
}

// doubt is a reason why two readers may not agree. The zero value is none.
type doubt struct {
	why string
	at  int // offset in the header block
}

func (d *doubt) set(why string, at int) {
	if d.why == "" {
		*d = doubt{why, at}
	}
}

type version struct{ major, minor byte }

// persists says whether the sender of this head means to go on after its
// message (RFC 9112, section 9.3).
func (h *head) persists() bool {
	if h.close || h.version.major == 0 {
		return false
	}
	return h.version.minor > 0 || h.keepAlive
}

// parse reads the header block that b begins with. whole says that all of it
// is there, and then n is its length. It is not ok when the first line is no
// start line.
func (h *head) parse(dir protocol.Direction, b []byte) (n int, whole, ok bool) {
	n = bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		return 0, false, true
	}
	line := trimLineEnd(b[:n])
	if dir == protocol.ClientToServer {
		ok = h.parseRequestLine(line)
	} else {
		ok = h.parseStatusLine(line)
	}
	if !ok || h.simple {
		return n, ok, ok
	}
	n, whole = h.parseFields(b, n)
	return n, whole, true
}

// parseRequestLine reads line (without its end) into h. It is lenient about
// the target, which may hold spaces.
func (h *head) parseRequestLine(line []byte) bool {
	n := tokenLen(line)
	if n == 0 || n == len(line) || line[n] != ' ' {
		return false
	}
	h.method = line[:n]
	rest := line[n+1:]
	if len(rest) > 0 && rest[0] == ' ' {
		rest = bytes.TrimLeft(rest, " ")
	}
	target, v, ok := cutVersion(rest)
	if !ok {
		// Only a path makes a simple request, or else any two words would.
		h.target = trimSpaces(rest)
		h.simple = true
		return len(h.target) > 0 && h.target[0] == '/' && !bytes.ContainsAny(h.target, " \t\r")
	}
	h.target, h.version = target, v
	return v.major == 1
}

// cutVersion cuts the HTTP version off the end of a request line whose method
// was cut off.
func cutVersion(b []byte) (target []byte, v version, ok bool) {
	b = trimSpaces(b)
	const form = "HTTP/1.1"
	if len(b) < len(form) {
		return nil, v, false
	}
	tail := b[len(b)-len(form):]
	if string(tail[:5]) != "HTTP/" || !isDigit(tail[5]) || tail[6] != '.' || !isDigit(tail[7]) {
		return nil, v, false
	}
	b = b[:len(b)-len(form)]
	if len(b) > 0 && b[len(b)-1] != ' ' {
		return nil, v, false
	}
	return trimSpaces(b), version{tail[5] - '0', tail[7] - '0'}, true
}

// parseStatusLine reads line (without its end) into h. The reason phrase, and
// the space before it, may be missing.
func (h *head) parseStatusLine(line []byte) bool {
	const form = "HTTP/1.1 200"
	if len(line) < len(form) || string(line[:5]) != "HTTP/" || !isDigit(line[5]) || line[6] != '.' || !isDigit(line[7]) || line[8] != ' ' {
		return false
	}
	code := line[9:12]
	if !isDigit(code[0]) || !isDigit(code[1]) || !isDigit(code[2]) || code[0] == '0' {
		return false
	}
	if len(line) > len(form) && line[len(form)] != ' ' {
		return false
	}
	h.version = version{line[5] - '0', line[7] - '0'}
	h.status = int(code[0]-'0')*100 + int(code[1]-'0')*10 + int(code[2]-'0')
	return h.version.major == 1
}

// Field kinds: which field a folded line continues.
const (
	fieldNone = iota // the start line
	fieldOther
	fieldFraming
)

// parseFields reads the field lines of block, from offset at (after the start
// line) to the empty line. whole says that there is one, and n is where it
// ends.
func (h *head) parseFields(block []byte, at int) (n int, whole bool) {
	kind := fieldNone
	start, ends := at, 0 // of lines, with a carriage return
	if at >= 2 && block[at-2] == '\r' {
		ends++
	}
	for range block { // a line takes a byte at least
		i := bytes.IndexByte(block[at:], '\n')
		if i < 0 {
			break
		}
		line := block[at : at+i]
		if i > 0 && line[i-1] == '\r' {
			line = line[:i-1]
			ends++
		}
		if len(line) == 0 {
			n = at + i + 1
			if bytes.Count(block[:n], []byte{'\r'}) != ends {
				h.bareReturn(block[:n], start)
			}
			return n, true
		}
		if line[0] == ' ' || line[0] == '\t' {
			h.fold(line, at, kind)
		} else {
			kind = h.field(line, at)
		}
		at += i + 1
	}
	return 0, false
}

// bareReturn finds the first line of block that has a carriage return inside.
// Its fields begin at offset start.
func (h *head) bareReturn(block []byte, start int) {
	where, at := doubt{}, start
	if bytes.IndexByte(block[:max(start-2, 0)], '\r') >= 0 {
		where.set("a carriage return inside the start line", 0)
	}
	for line := range bytes.Lines(block[start:]) {
		if bytes.IndexByte(trimLineEnd(line), '\r') >= 0 {
			where.set("a carriage return inside a line", at)
		}
		at += len(line)
	}
	if where.why != "" && (h.structure.why == "" || where.at <= h.structure.at) {
		h.structure = where
	}
}

// fold judges a line that begins with white space. It continues the field
// before it (RFC 9112, section 5.2), but readers that are not aware of folding
// take it for a field of its own.
func (h *head) fold(line []byte, at, kind int) {
	switch kind {
	case fieldNone:
		h.structure.set("white space before the first field", at)
	case fieldFraming:
		h.sizing.set("a framing field is folded", at)
	default:
		line = trim(line)
		if n := bytes.IndexByte(line, ':'); n >= 0 && looksFraming(line[:n], false) {
			h.sizing.set("a folded line looks like a framing field", at)
		}
	}
}

// field takes one field line.
func (h *head) field(line []byte, at int) (kind int) {
	// The first letter tells most fields from those that matter here, and from
	// all that could be taken for one about framing.
	switch first := line[0] | 0x20; {
	case first == 'c' || first == 't' || first < 'a' || first > 'z':
	case first == 'h' || first == 'e' || first == 'u':
		h.fieldOf(line)
		return fieldOther
	default:
		return fieldOther
	}
	n := tokenLen(line)
	if n == 0 || n == len(line) || line[n] != ':' {
		// Not a field as the RFC has it. Most servers refuse it, some drop the
		// line, some repair it; that only matters where it is about framing.
		colon := bytes.IndexByte(line, ':')
		name := line
		if colon >= 0 {
			name = line[:colon]
		}
		word := name // for readers that stop at a space
		if n := bytes.IndexAny(name, " \t"); n > 0 {
			word = name[:n]
		}
		if looksFraming(name, colon < 0) || looksFraming(word, false) {
			h.sizing.set("a framing field with an odd name", at)
			return fieldFraming
		}
		return fieldOther
	}
	name, value := line[:n], trim(line[n+1:])
	switch n {
	case len("Connection"):
		if equalFold(name, "connection") {
			h.connection(value)
		}
	case len("Content-Length"):
		if equalFold(name, "content-length") {
			h.contentLength(value, at)
			return fieldFraming
		}
		if looksFraming(name, false) { // Content_Length
			h.sizing.set("a framing field with an odd name", at)
			return fieldFraming
		}
	case len("Transfer-Encoding"):
		if equalFold(name, "transfer-encoding") {
			h.transferEncoding(value, at)
			return fieldFraming
		}
		if looksFraming(name, false) {
			h.sizing.set("a framing field with an odd name", at)
			return fieldFraming
		}
	}
	return fieldOther
}

// fieldOf takes a field whose name begins with H, E or U.
func (h *head) fieldOf(line []byte) {
	if value, ok := cutName(line, "host"); ok && !h.hasHost {
		h.host, h.hasHost = value, true
	} else if value, ok := cutName(line, "expect"); ok {
		h.expect = h.expect || equalFold(value, "100-continue")
	} else if value, ok := cutName(line, "upgrade"); ok {
		h.upgradeTo = h.upgradeTo || len(value) > 0
	}
}

// cutName is the value of a field line if its name is lower, which is in lower
// case.
func cutName(line []byte, lower string) (value []byte, ok bool) {
	if n := len(lower); len(line) > n && line[n] == ':' && hasPrefixFold(line, lower) {
		return trim(line[n+1:]), true
	}
	return nil, false
}

func (h *head) connection(value []byte) {
	for range value { // an option takes a byte at least
		if len(value) == 0 {
			break
		}
		var option []byte
		option, value = cutElement(value)
		switch {
		case equalFold(option, "close"):
			h.close = true
		case equalFold(option, "keep-alive"):
			h.keepAlive = true
		case equalFold(option, "upgrade"):
			h.upgrade = true
		}
	}
}

// contentLength takes one Content-Length field. A repeated one is harmless
// only when it is the same, byte for byte.
func (h *head) contentLength(value []byte, at int) {
	h.lengths++
	if h.lengths > 1 {
		if !bytes.Equal(value, h.lengthIn) {
			h.sizing.set("two content lengths that differ", at)
		}
		return
	}
	h.lengthIn = value
	if len(value) == 0 {
		h.sizing.set("an empty content length", at)
		return
	}
	var n int64
	for _, c := range value {
		if !isDigit(c) {
			h.sizing.set("a content length that is not a number", at)
			return
		}
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			h.sizing.set("a content length beyond 2^63", at)
			return
		}
		n = n*10 + digit
	}
	h.length = n
}

func (h *head) transferEncoding(value []byte, at int) {
	if h.encoding {
		h.sizing.set("two transfer coding fields", at) // some read the first one, some the last
	}
	h.encoding = true
	if len(value) > 0 && value[len(value)-1] == ',' {
		h.sizing.set("an empty element in a transfer coding", at)
	}
	if bytes.IndexByte(value, '"') >= 0 {
		// A comma inside quotes ends an element for some.
		h.sizing.set("a quoted transfer coding", at)
		return
	}
	for range value { // an element takes a byte at least
		if len(value) == 0 {
			break
		}
		var coding []byte
		coding, value = cutElement(value)
		if len(coding) == 0 {
			h.sizing.set("an empty element in a transfer coding", at)
			continue
		}
		h.codings++
		h.last = coding
		if equalFold(coding, "chunked") {
			h.chunked++
		}
		h.identity = h.identity || equalFold(coding, "identity")
		h.unknown = h.unknown || !knownCoding(coding)
	}
}
