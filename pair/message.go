package pair

import (
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/protocol"
)

// message is one direction of an exchange while it passes.
type message struct {
	e *exchange
	// out is nil while the message has not begun, and when its pair was
	// dropped.
	out *capturev1.Message
	// rest is what is kept of the body behind out.Body, in pieces.
	rest [][]byte
	// kept is how much that is together; size is the body's so far, kept or
	// not.
	kept int
	size uint64
	// keeps is what became of the body.
	keeps keeping
	// hash covers the whole body once less than the whole is kept.
	hash   *xxh3.Hasher
	hashed [16]byte
	chunks chunkList
}

type keeping uint8

const (
	all  keeping = iota
	part         // the first bytes; the rest is counted and hashed
	none         // shed for memory; counted and hashed
	torn         // bytes are missing: the first ones are kept, the rest counted
)

// chunkList is the side list of a message's chunks.
type chunkList struct {
	// count is how many there were with data; lines is the size of their
	// unusual lines.
	count, lines int
	// off: there were too many to list.
	off bool
}

// countShed counts a pair once, whatever is shed of it.
func (c *Conn) countShed(e *exchange) {
	if !e.shed {
		e.shed = true
		c.p.set.Ledger.BodiesShed.Add(1)
	}
}

// missing counts bytes that were carried but not seen: what follows them is
// not the body's beginning any more, so it is not kept.
func (c *Conn) missing(m *message, n uint64) {
	m.size += n
	if m.out == nil {
		return
	}
	m.keeps = torn
	c.release(m)
	m.e.flags.set(capturev1.Flag_FLAG_GAP)
}

func (c *Conn) chunk(m *message, ch *protocol.Chunk) {
	l := &m.chunks
	if ch.Size > 0 {
		l.count++
	}
	l.lines += len(ch.Line)
	if l.off || ch.Size == 0 && ch.Line == nil {
		return // the usual last chunk goes without saying
	}
	n := int64(chunkOverhead + len(ch.Line))
	if len(m.out.Chunks) == MaxChunks || l.lines > maxChunkLines || !c.p.set.Budget.Take(budget.Body, n) {
		c.dropChunks(m.e, m.out)
		l.off = true
		return
	}
	m.e.held += n
	m.out.Chunks = append(m.out.Chunks, &capturev1.Chunk{Size: ch.Size, Line: clone(ch.Line)})
}

func (c *Conn) dropChunks(e *exchange, out *capturev1.Message) {
	var n int64
	for _, ch := range out.Chunks {
		n += int64(chunkOverhead + len(ch.Line))
	}
	out.Chunks = nil
	e.held -= n
	c.p.set.Budget.Give(n)
}

// seal closes the books of a message. Calling it twice is harmless.
func (c *Conn) seal(m *message, incomplete bool) {
	out := m.out
	m.out = nil
	out.BodySize = m.size
	if m.size > 0 && !incomplete {
		switch {
		case m.hash != nil:
			out.BodyHash = m.sum(m.hash.Sum128())
		case m.keeps == all && len(m.rest) == 0:
			out.BodyHash = m.sum(xxh3.Hash128(out.Body))
		case m.keeps == all:
			c.hashKept(m, out)
			if m.hash != nil {
				out.BodyHash = m.sum(m.hash.Sum128())
			}
		}
	}
	c.release(m)
	if uint64(m.kept) < m.size {
		out.Truncated = true
		if m.keeps != none {
			m.e.flags.set(capturev1.Flag_FLAG_TRUNCATED)
		}
	}
	c.trimBody(m, out)
	switch {
	case m.chunks.off:
		c.note(m, strconv.Itoa(m.chunks.count)+" chunks, their sizes were not kept")
	case m.chunks.count <= 1 && m.chunks.lines == 0:
		c.dropChunks(m.e, out)
	}
}

// note tags the pair of a message whose framing cannot be reproduced.
func (c *Conn) note(m *message, text string) {
	key := "response.chunks"
	if m == &m.e.req {
		key = "request.chunks"
	}
	if m.e.pair.Tags == nil {
		m.e.pair.Tags = make(map[string]string, 1)
	}
	m.e.pair.Tags[key] = text
}

func (m *message) sum(h xxh3.Uint128) []byte {
	m.hashed = h.Bytes()
	return m.hashed[:]
}

// Limits of RRPair.tags.
const (
	maxTags     = 30 // two more may be added by note
	maxTagBytes = 256
)

func tags(attrs []protocol.Attr) map[string]string {
	if len(attrs) == 0 {
		return nil
	}
	m := make(map[string]string, len(attrs))
	for _, a := range attrs[:min(len(attrs), maxTags)] {
		m[clip(a.Key)] = clip(a.Value)
	}
	return m
}

func clip(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxTagBytes)], "")
}

// clone is bytes.Clone with nil for what is empty.
func clone(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}
