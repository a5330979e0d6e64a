package pair

import (
	"bytes"
	"unicode/utf8"
	"unsafe"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// An exchange, what its pair is made of, and the memory for its words and
// small bodies are used again as soon as the pair was emitted: a proxy makes
// tens of thousands a second. It is safe because nobody else has any of it by
// then: Emit has given the pair back, the connection has forgotten the
// exchange, and whatever in a pair does not live here (names, addresses, tags)
// is never written to.

const (
	// textBytes is the room for a pair's words and heads; what does not fit is
	// allocated.
	textBytes = 1 << 10
)

// parts are what an RRPair is made of.
type parts struct {
	pair              capturev1.RRPair
	timing            capturev1.Timing
	request, response capturev1.Message
	id                [16]byte
}

// keep copies b to where the pair finds it until it is emitted; nil for what is
// empty.
func (e *exchange) keep(b []byte) []byte {
	if cap(e.text)-len(e.text) < len(b) {
		return clone(b)
	}
	if len(b) == 0 {
		return nil
	}
	from := len(e.text)
	e.text = append(e.text, b...)
	return e.text[from:len(e.text):len(e.text)]
}

// word is b, with what is not UTF-8 replaced, as a string that holds until the
// pair is emitted: protobuf strings must be UTF-8, and the exact bytes stay in
// the head.
func (e *exchange) word(b []byte) string {
	if !utf8.Valid(b) {
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	b = e.keep(b)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// page is an empty buffer of pageBytes.
func (p *Pairer) page() []byte {
	return p.pages.Get().(*[pageBytes]byte)[:0] // the pool holds nothing else
}

// buffer is an empty buffer of n bytes.
func (p *Pairer) buffer(n int) []byte {
	if n == pieceBytes {
		return p.pieces.Get().(*[pieceBytes]byte)[:0] // the pool holds nothing else
	}
	return make([]byte, 0, n)
}

// put gives a page or piece back that nobody uses any more. Other buffers are
// left to the garbage collector.
func (p *Pairer) put(b []byte) {
	switch cap(b) {
	case pageBytes:
		p.pages.Put((*[pageBytes]byte)(b[:pageBytes]))
	case pieceBytes:
		p.pieces.Put((*[pieceBytes]byte)(b[:pieceBytes]))
	}
}

// air is what of a page holds nothing.
func air(m *capturev1.Message) int64 {
	if b := m.GetBody(); cap(b) == pageBytes {
		return int64(pageBytes - len(b))
	}
	return 0
}

// clear lets go of what a pair is made of.
func (p *Pairer) clear(e *exchange) {
	p.put(e.parts.request.Body)
	p.put(e.parts.response.Body)
	for _, m := range [...]*message{&e.req, &e.resp} {
		for _, piece := range m.rest {
			p.put(piece)
		}
		m.rest = nil
	}
	e.parts = parts{}
}

// recycle keeps an exchange for another one. Nobody may know it any more.
func (p *Pairer) recycle(e *exchange) {
	p.clear(e)
	*e = exchange{text: e.text[:0]}
	p.exchanges.Put(e)
}
