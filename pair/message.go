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
	// size is the body's so far, kept or not.
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

func (c *Conn) body(m *message, b []byte) {
	m.size += uint64(len(b))
	if m.out == nil {
		return
	}
	if m.keeps != all {
		if m.hash != nil {
			_, _ = m.hash.Write(b) // never fails
		}
		return
	}
	keep := b[:min(len(b), c.p.set.BodyLimit-len(m.out.Body))]
	if m.keeps = c.grow(m, len(keep)); m.keeps != all {
		c.countShed(m.e)
		keep = keep[:min(len(keep), cap(m.out.Body)-len(m.out.Body))]
	}
	if m.keeps == none {
		keep = nil
	}
	m.out.Body = append(m.out.Body, keep...)
	if len(keep) == len(b) {
		m.keeps = all // what was there already was enough
		return
	}
	if m.keeps == all {
		m.keeps = part
	}
	m.hash = c.hasher()
	_, _ = m.hash.Write(m.out.Body)
	_, _ = m.hash.Write(b[len(keep):])
	if m.keeps == none {
		c.letGo(m)
		m.e.flags.set(capturev1.Flag_FLAG_BODY_SHED)
	}
}

func (c *Conn) hasher() *xxh3.Hasher {
	h := c.p.hashers.Get().(*xxh3.Hasher) // the pool holds nothing else
	h.Reset()
	return h
}

// grow makes room for n more bytes of a body, within the budget: all of them,
// or it says what may still be kept.
func (c *Conn) grow(m *message, n int) keeping {
	have, need := cap(m.out.Body), len(m.out.Body)+n
	if need <= have {
		return all
	}
	if have == 0 && need <= pageBytes && c.p.set.Budget.Take(budget.Body, pageBytes) {
		m.e.held += pageBytes
		m.out.Body = c.p.page()
		return all
	}
	class := budget.Tail
	if need <= budget.HeadOfBody {
		class = budget.Body
	}
	// Doubling saves copies; where there is no room for that, what is needed.
	for _, want := range [...]int{max(need, min(2*have, c.p.set.BodyLimit)), need} {
		if !c.p.set.Budget.Take(class, int64(want-have)) {
			continue
		}
		m.e.held += int64(want - have)
		body := make([]byte, len(m.out.Body), want)
		copy(body, m.out.Body)
		c.p.putPage(m.out.Body)
		m.out.Body = body
		return all
	}
	if class == budget.Tail && len(m.out.Body) > 0 {
		return part
	}
	if class == budget.Tail {
		// One large piece came first: its head may still fit.
		if c.p.set.Budget.Take(budget.Body, budget.HeadOfBody) {
			m.e.held += budget.HeadOfBody
			m.out.Body = make([]byte, 0, budget.HeadOfBody)
			return part
		}
	}
	return none
}

// letGo gives a body's memory back.
func (c *Conn) letGo(m *message) {
	n := int64(cap(m.out.Body))
	c.p.putPage(m.out.Body)
	m.out.Body = nil
	m.e.held -= n
	c.p.set.Budget.Give(n)
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

// release gives the hasher back.
func (c *Conn) release(m *message) {
	if m.hash != nil {
		c.p.hashers.Put(m.hash)
		m.hash = nil
	}
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
		case m.keeps == all:
			out.BodyHash = m.sum(xxh3.Hash128(out.Body))
		}
	}
	c.release(m)
	if uint64(len(out.Body)) < m.size {
		out.Truncated = true
		if m.keeps != none {
			m.e.flags.set(capturev1.Flag_FLAG_TRUNCATED)
		}
	}
	// A buffer that grew by doubling may be mostly air.
	if air := cap(out.Body) - len(out.Body); air > len(out.Body)/2 && cap(out.Body) != pageBytes {
		out.Body = clone(out.Body)
		m.e.held -= int64(air)
		c.p.set.Budget.Give(int64(air))
	}
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
