package pair

import (
	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
)

// A body is kept in pieces. The first one, the pair's own Message.Body, grows
// by doubling as long as it is small; from pieceBytes on nothing that is kept
// is copied again: each further piece is one of the pool's. What the pieces
// have room for counts, not what is in them, so that the budget covers what
// the process takes.

const (
	// pageBytes is the room for a body at first; pieceBytes is that of each
	// piece of a large one.
	pageBytes  = 2 << 10
	pieceBytes = 64 << 10
	// hasherBytes is what the hash of a body takes that is not kept whole,
	// rounded up.
	hasherBytes = 5 << 8
)

// body takes bytes of a body.
func (c *Conn) body(m *message, b []byte) {
	m.size += uint64(len(b))
	if m.out == nil {
		return
	}
	if m.keeps == all {
		n := c.keep(m, b[:min(len(b), c.p.set.BodyLimit-m.kept)])
		if n == len(b) {
			return
		}
		if m.keeps == all {
			m.keeps = part
		} else {
			c.countShed(m.e)
		}
		c.hashKept(m, m.out)
		if m.keeps == none {
			c.letGo(m)
			m.e.flags.set(capturev1.Flag_FLAG_BODY_SHED)
		}
		b = b[n:]
	}
	if m.hash != nil {
		_, _ = m.hash.Write(b) // never fails
	}
}

// keep copies b, or as much of it as there is memory for, behind what is kept,
// and says how much that was. m.keeps says what becomes of the rest.
func (c *Conn) keep(m *message, b []byte) (n int) {
	for n < len(b) {
		last := &m.out.Body
		if len(m.rest) > 0 {
			last = &m.rest[len(m.rest)-1]
		}
		room := min(cap(*last)-len(*last), len(b)-n)
		if room == 0 {
			if m.keeps = c.grow(m, len(b)-n); m.keeps != all {
				return n
			}
			continue
		}
		*last = append(*last, b[n:n+room]...)
		n += room
		m.kept += room
	}
	return n
}

// grow makes room for some of n more bytes of a body that fills what it has,
// within the budget; or it says what may still be kept.
func (c *Conn) grow(m *message, n int) keeping {
	if m.kept >= pieceBytes {
		return c.growRest(m, n)
	}
	have, need := m.kept, min(m.kept+n, pieceBytes)
	if have == 0 && need <= pageBytes && c.take(m, budget.Body, pageBytes) {
		m.out.Body = c.p.page()
		return all
	}
	class := budget.Tail
	if need <= budget.HeadOfBody {
		class = budget.Body
	}
	// Doubling saves copies; where there is no room for that, what is needed.
	for _, want := range [...]int{max(need, min(2*have, c.p.set.BodyLimit, pieceBytes)), need} {
		if c.take(m, class, want-have) {
			body := c.p.buffer(want)
			body = append(body, m.out.Body...)
			c.p.put(m.out.Body)
			m.out.Body = body
			return all
		}
	}
	switch {
	case class == budget.Body:
		return none
	case have > 0:
		return part
	case c.take(m, budget.Body, budget.HeadOfBody):
		// One large piece came first: its head still fits.
		m.out.Body = c.p.buffer(budget.HeadOfBody)
		return all
	}
	return none
}

// growRest begins another piece.
func (c *Conn) growRest(m *message, n int) keeping {
	most := min(pieceBytes, c.p.set.BodyLimit-m.kept)
	for _, want := range [...]int{most, min(most, n)} {
		if c.take(m, budget.Tail, want) {
			m.rest = append(m.rest, c.p.buffer(want))
			return all
		}
	}
	return part
}

// take takes n bytes of the budget for a message.
func (c *Conn) take(m *message, class budget.Class, n int) bool {
	if !c.p.set.Budget.Take(class, int64(n)) {
		return false
	}
	m.e.held += int64(n)
	return true
}

// give returns n bytes of what a message took.
func (c *Conn) give(m *message, n int64) {
	m.e.held -= n
	c.p.set.Budget.Give(n)
}

// letGo gives a body's memory back.
func (c *Conn) letGo(m *message) {
	n := cap(m.out.Body)
	c.p.put(m.out.Body)
	for _, piece := range m.rest {
		n += cap(piece)
		c.p.put(piece)
	}
	m.out.Body, m.rest, m.kept = nil, nil, 0
	c.give(m, int64(n))
}

// trimBody gives the room back that a body does not need: a buffer that grew
// by doubling, and a last piece, may be mostly air.
func (c *Conn) trimBody(m *message, out *capturev1.Message) {
	last := &out.Body
	if len(m.rest) > 0 {
		last = &m.rest[len(m.rest)-1]
	}
	air := cap(*last) - len(*last)
	if air <= len(*last)/2 || cap(*last) == pageBytes {
		return
	}
	trimmed := clone(*last)
	c.p.put(*last)
	*last = trimmed
	c.give(m, int64(air))
}

// hashKept begins the hash of a body with what is kept of it. Without memory
// for a hash there is none.
func (c *Conn) hashKept(m *message, out *capturev1.Message) {
	if !c.take(m, budget.Pair, hasherBytes) {
		return
	}
	m.hash = c.p.hashers.Get().(*xxh3.Hasher) // the pool holds nothing else
	m.hash.Reset()
	_, _ = m.hash.Write(out.Body)
	for _, piece := range m.rest {
		_, _ = m.hash.Write(piece)
	}
}

// release gives the hasher back.
func (c *Conn) release(m *message) {
	if m.hash != nil {
		c.p.hashers.Put(m.hash)
		m.hash = nil
		c.give(m, hasherBytes)
	}
}
