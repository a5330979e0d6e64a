package observe

import (
	"context"
	"log/slog"
	"time"

	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/protocol"
)

// prefix is what is held of a connection until its protocol is known: at most
// protocol.MaxPrefix bytes of each direction, and the order in which they
// came. After that, of some protocols, the client's first bytes until they can
// be described.
type prefix struct {
	held     [2][]byte
	pieces   []piece
	reserved int64
	// first is when the first byte passed; spent is what detection took.
	first int64
	spent time.Duration
	// describe is set while the client's bytes are held to be described.
	describe func(client, server []byte) []protocol.Attr
}

// piece is a stretch of held bytes, or an end.
type piece struct {
	dir   tee.Direction
	at    int64
	n     int
	cause tee.Cause
}

// maxPieces bounds how often the direction may change before the protocol is
// known.
const maxPieces = 64

// anything says whether bytes are held.
func (c *Conn) anything() bool { return len(c.prefix.held[0])+len(c.prefix.held[1]) > 0 }

// reserve takes memory for held bytes.
func (c *Conn) reserve(n int) bool {
	if !c.o.set.Budget.Take(budget.Pair, int64(n)) {
		return false
	}
	c.prefix.reserved += int64(n)
	return true
}

// forget lets the held bytes go.
func (c *Conn) forget() {
	c.o.set.Budget.Give(c.prefix.reserved)
	c.prefix = prefix{first: c.prefix.first, spent: c.prefix.spent}
}

// detect looks at what is held together with e. When the protocol is known,
// both go on to whom they concern; until then e is held too.
func (c *Conn) detect(e tee.Event) {
	p := &c.prefix
	if e.Cause != tee.Going {
		p.pieces = append(p.pieces, piece{dir: e.Dir, at: e.At, cause: e.Cause})
		return
	}
	if p.first == 0 {
		p.first = e.At
	}
	final := e.At-p.first > int64(patience) || len(p.pieces) >= maxPieces
	held := p.held[e.Dir]
	add := e.Bytes[:min(len(e.Bytes), protocol.MaxPrefix-len(held))]
	view := p.held
	if len(held) == 0 {
		view[e.Dir] = add // most often that is all it takes, and nothing is copied
	} else if c.reserve(len(add)) {
		p.held[e.Dir] = append(held, add...)
		view[e.Dir] = p.held[e.Dir]
	} else {
		final = true
	}
	known := c.decide(view, final)
	if !known && len(held) == 0 {
		if c.reserve(len(add)) {
			p.held[e.Dir] = append([]byte(nil), add...)
		} else {
			known = c.decide(view, true)
		}
	}
	if !known {
		if last := len(p.pieces) - 1; last >= 0 && p.pieces[last].dir == e.Dir && p.pieces[last].cause == tee.Going {
			p.pieces[last].n += len(add)
		} else {
			p.pieces = append(p.pieces, piece{dir: e.Dir, at: e.At, n: len(add)})
		}
		return
	}
	describe := p.describe
	p.describe = nil
	c.replay()
	c.take(e)
	if describe == nil {
		c.forget()
		return
	}
	p.describe = describe
	client := view[tee.ClientToServer]
	if e.Dir == tee.ClientToServer && len(held) == 0 && c.reserve(len(client)) {
		p.held[tee.ClientToServer] = append([]byte(nil), client...)
	}
	if len(view[tee.ServerToClient]) > 0 {
		c.describe(view[tee.ServerToClient])
	}
}

// replay gives what was held to whom it concerns, as it came.
func (c *Conn) replay() {
	pieces, held := c.prefix.pieces, c.prefix.held
	c.prefix.pieces = nil
	for _, q := range pieces {
		c.take(tee.Event{Dir: q.dir, At: q.at, Bytes: held[q.dir][:q.n], Cause: q.cause})
		held[q.dir] = held[q.dir][q.n:]
	}
}

// decide says whether the protocol is known by the first bytes of both
// directions, and if so begins what it asks for. final: no more bytes are
// waited for.
func (c *Conn) decide(view [2][]byte, final bool) bool {
	var began int64
	if c.o.debug {
		began = c.o.set.Now()
	}
	found, verdict := c.o.set.Detect(view[tee.ClientToServer], view[tee.ServerToClient], final)
	if c.o.debug {
		c.prefix.spent += time.Duration(c.o.set.Now() - began)
	}
	if verdict != protocol.Match {
		return false
	}
	c.spoken.Store(&found)
	c.log("CheckProtocol duration", slog.Duration("duration", c.prefix.spent))
	c.log("Detected protocol", slog.String("protocol", found.Title))
	c.tell(&found)
	if found.New == nil {
		c.prefix.describe = found.Describe
		c.become(counting)
		return true
	}
	c.pairs = c.o.set.Pairs.Conn(&c.link, found.Name, nil, c.exchangeLog(&found))
	c.decoder = protocol.Drive(found.New, c.pairs)
	c.become(decoding)
	c.log("ProxyAndDecode setup duration", slog.Duration("duration", time.Duration(c.o.set.Now()-c.link.Accepted)))
	return true
}

// tell counts the protocol, and says once what it means for the user that it
// is not decoded.
func (c *Conn) tell(p *protocol.Protocol) {
	s := c.o.spoken[p.Name]
	if s == nil {
		return
	}
	s.conns.Add(1)
	if p.New == nil && p.Advice != "" && !s.told.Swap(true) {
		c.o.set.Log.LogAttrs(context.Background(), slog.LevelInfo, p.Advice, slog.String("protocol", p.Title))
	}
}

// hear holds more of what the client says at first, until it can be
// described: when the server answers, or enough is held.
func (c *Conn) hear(e tee.Event) {
	p := &c.prefix
	if p.describe == nil {
		return
	}
	if e.Dir == tee.ServerToClient {
		c.describe(e.Bytes)
		return
	}
	held := p.held[tee.ClientToServer]
	add := e.Bytes[:min(len(e.Bytes), protocol.MaxPrefix-len(held))]
	if len(add) == 0 || !c.reserve(len(add)) {
		c.describe(nil)
		return
	}
	p.held[tee.ClientToServer] = append(held, add...)
}

// describe extracts the facts of an undecoded protocol.
func (c *Conn) describe(server []byte) {
	describe := c.prefix.describe
	if describe == nil {
		return
	}
	facts := describe(c.prefix.held[tee.ClientToServer], server[:min(len(server), protocol.MaxPrefix)])
	c.tags = append(c.tags, facts...)
	if c.opaque != nil {
		c.opaque.Tag(facts)
	}
	c.forget()
}
