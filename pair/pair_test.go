package pair

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

const (
	c2s = protocol.ClientToServer
	s2c = protocol.ServerToClient
)

// book keeps what a Pairer emits.
type book struct {
	*Pairer
	budget *budget.Budget
	ledger ledger.Ledger
	pairs  []*capturev1.RRPair
	held   int64
}

func newBook(memory int64, bodyLimit int) *book {
	b := &book{budget: budget.New(memory)}
	b.Pairer = New(Settings{
		BodyLimit: bodyLimit, Budget: b.budget, Ledger: &b.ledger, NewID: NewIDs([32]byte{}).New,
		Emit: func(p *capturev1.RRPair, rest [2][][]byte, held int64) {
			b.pairs = append(b.pairs, copyOf(p, rest))
			b.held += held
		},
	})
	return b
}

// copyOf keeps a pair that was only lent, down to the bytes of its strings.
func copyOf(p *capturev1.RRPair, rest [2][][]byte) *capturev1.RRPair {
	data, err := proto.Marshal(p)
	if err != nil {
		panic(err)
	}
	c := new(capturev1.RRPair)
	if err := proto.Unmarshal(data, c); err != nil {
		panic(err)
	}
	for i, m := range [...]*capturev1.Message{c.Request, c.Response} {
		for _, piece := range rest[i] {
			m.Body = append(m.Body, piece...)
		}
	}
	return c
}

func (b *book) conn() *Conn {
	return b.Conn(&Link{ID: 7, Client: "c:1", Server: "s:2", Accepted: 1, Connected: 2, Direction: capturev1.Direction_DIRECTION_INBOUND}, "http", nil, nil)
}

// What a decoder would report, in short.
func request(c *Conn, at int64, path string, key uint64) {
	c.Begin(protocol.Begin{Kind: protocol.Request, Dir: c2s, First: at, At: at, Key: key, Head: []byte("GET " + path), Method: []byte("GET"), Path: []byte(path)})
}

func response(c *Conn, at int64, status int, key uint64) {
	c.Begin(protocol.Begin{Kind: protocol.Response, Dir: s2c, First: at, At: at, Key: key, Head: fmt.Appendf(nil, "HTTP/1.1 %d", status), Status: status})
}

func body(c *Conn, d protocol.Direction, data string) {
	c.Body(protocol.Body{Dir: d, Data: []byte(data)})
}

func end(c *Conn, d protocol.Direction, at int64) { c.End(protocol.End{Dir: d, At: at, Wire: 100}) }

func broken(c *Conn, d protocol.Direction, at int64) {
	c.End(protocol.End{Dir: d, At: at, Wire: 50, Incomplete: true})
}

// line shows what matters of a pair.
func line(p *capturev1.RRPair) string {
	var flags []string
	for _, f := range p.GetFlags() {
		flags = append(flags, strings.ToLower(strings.TrimPrefix(f.String(), "FLAG_")))
	}
	return strings.TrimSpace(fmt.Sprintf("#%d %s %d req=%q res=%q %s %s", p.GetSeq(), p.GetPath(), p.GetStatus(),
		p.GetRequest().GetBody(), p.GetResponse().GetBody(), strings.Join(flags, ","), p.GetError()))
}

func TestPairing(t *testing.T) {
	for _, c := range []struct {
		name string
		play func(c *Conn)
		want []string
	}{
		{"in turn", func(c *Conn) {
			for i := range 2 {
				request(c, 10, fmt.Sprint("/", i), 0)
				end(c, c2s, 11)
				response(c, 12, 200+i, 0)
				end(c, s2c, 13)
			}
		}, []string{`#0 /0 200 req="" res=""`, `#1 /1 201 req="" res=""`}},
		{"pipelined", func(c *Conn) {
			for i := range 3 {
				request(c, 10, fmt.Sprint("/", i), 0)
				end(c, c2s, 11)
			}
			for i := range 3 {
				response(c, 12, 200+i, 0)
				body(c, s2c, fmt.Sprint("b", i))
				end(c, s2c, 13)
			}
		}, []string{`#0 /0 200 req="" res="b0"`, `#1 /1 201 req="" res="b1"`, `#2 /2 202 req="" res="b2"`}},
		{"by key, out of order", func(c *Conn) {
			for i := range 3 {
				request(c, 10, fmt.Sprint("/", i), uint64(i+1))
				end(c, c2s, 11)
			}
			for _, i := range []int{2, 0, 1} {
				response(c, 12, 200+i, uint64(i+1))
				end(c, s2c, 13)
			}
		}, []string{`#2 /2 202 req="" res=""`, `#0 /0 200 req="" res=""`, `#1 /1 201 req="" res=""`}},
		{"a request that never has a response", func(c *Conn) {
			c.Begin(protocol.Begin{Kind: protocol.Request, Dir: c2s, First: 9, At: 9, Path: []byte("/oneway"), NoResponse: true})
			end(c, c2s, 10)
			request(c, 10, "/asks", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			end(c, s2c, 13)
		}, []string{`#0 /oneway 0 req="" res=""`, `#1 /asks 200 req="" res=""`}},
		{"a response that is over before its request", func(c *Conn) {
			request(c, 10, "/upload", 0)
			body(c, c2s, "par")
			response(c, 11, 413, 0)
			end(c, s2c, 12)
			body(c, c2s, "t")
			end(c, c2s, 13)
		}, []string{`#0 /upload 413 req="part" res=""`}},
		{"no response", func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			c.SetCause("reset by server")
			c.Close()
		}, []string{`#0 / 0 req="" res="" no_response reset by server`}},
		{"half a response", func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			body(c, s2c, "so f")
			broken(c, s2c, 13)
			c.SetCause("closed by server")
			c.Settle()
		}, []string{`#0 / 200 req="" res="so f" incomplete closed by server`}},
		{"half a request", func(c *Conn) {
			request(c, 10, "/", 0)
			body(c, c2s, "so f")
			broken(c, c2s, 13)
			c.SetCause("closed by client")
			c.Settle()
			c.Close()
		}, []string{`#0 / 0 req="so f" res="" incomplete,no_response closed by client`}},
		{"half a response, and nothing says so", func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			body(c, s2c, "so f")
			c.SetCause("cut")
			c.Close()
		}, []string{`#0 / 200 req="" res="so f" incomplete cut`}},
		{"a response without a request", func(c *Conn) {
			response(c, 12, 408, 0)
			end(c, s2c, 13)
		}, []string{`#0  408 req="" res="" midstream response without request`}},
		{"an unknown key is nobody's", func(c *Conn) {
			request(c, 10, "/", 1)
			end(c, c2s, 11)
			response(c, 12, 200, 2)
			end(c, s2c, 13)
			c.SetCause("closed by client")
			c.Close()
		}, []string{`#1  200 req="" res="" midstream response without request`, `#0 / 0 req="" res="" no_response closed by client`}},
		{"bytes that were not seen", func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			body(c, s2c, "seen")
			c.Body(protocol.Body{Dir: s2c, Missing: 5})
			body(c, s2c, "late")
			end(c, s2c, 13)
		}, []string{`#0 / 200 req="" res="seen" truncated,gap`}},
		{"a cause does not spoil what is whole", func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			c.SetCause("closed by client")
			response(c, 12, 200, 0)
			end(c, s2c, 13)
			c.Close()
		}, []string{`#0 / 200 req="" res=""`}},
		{"not UTF-8", func(c *Conn) {
			request(c, 10, "/\xff", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			end(c, s2c, 13)
		}, []string{"#0 /\uFFFD 200 req=\"\" res=\"\""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBook(1<<20, 1<<10)
			conn := b.conn()
			c.play(conn)
			var got []string
			for _, p := range b.pairs {
				got = append(got, line(p))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(c.want, "\n\t"))
			}
			if conn.Open() != 0 {
				t.Errorf("%d are open", conn.Open())
			}
			if b.budget.Used() != b.held {
				t.Errorf("the budget says %d, the pairs hold %d", b.budget.Used(), b.held)
			}
			if p := b.ledger.Pairs(); p.Seen != uint64(len(b.pairs)) {
				t.Errorf("seen %d, emitted %d", p.Seen, len(b.pairs))
			}
		})
	}
}

func TestAPairIsWhole(t *testing.T) {
	b := newBook(1<<20, 1<<10)
	c := b.conn()
	c.Begin(protocol.Begin{
		Kind: protocol.Request, Dir: c2s, First: 1_700_000_000_123_456_789, At: 1_700_000_000_200_000_000,
		Head: []byte("POST /a?b HTTP/1.1\r\nHost: x\r\n\r\n"), Method: []byte("POST"), Host: []byte("x"), Path: []byte("/a"), Query: []byte("b"),
	})
	body(c, c2s, "hello")
	c.End(protocol.End{Dir: c2s, At: 30, Wire: 40})
	c.Begin(protocol.Begin{Kind: protocol.Interim, Dir: s2c, First: 31, At: 31, Head: []byte("HTTP/1.1 103 Early\r\n\r\n"), Status: 103})
	c.Begin(protocol.Begin{Kind: protocol.Response, Dir: s2c, First: 32, At: 33, Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Status: 200})
	c.Body(protocol.Body{Dir: s2c, Data: []byte("ab"), Chunk: &protocol.Chunk{Size: 2}})
	c.Body(protocol.Body{Dir: s2c, Data: []byte("c"), Chunk: &protocol.Chunk{Size: 1, Line: []byte("1;x=y")}})
	c.Body(protocol.Body{Dir: s2c, Chunk: &protocol.Chunk{}})
	c.End(protocol.End{Dir: s2c, At: 34, Wire: 60, Trailers: []byte("X: y\r\n\r\n")})
	p := b.pairs[0]
	id := hex.EncodeToString(p.Id)
	if !strings.HasPrefix(id, fmt.Sprintf("%012x7", 1_700_000_000_123)) || p.Id[8]>>6 != 2 {
		t.Errorf("id %s is no UUIDv7 of the request's first byte", id)
	}
	p.Id = nil
	hash := func(s string) []byte { h := xxh3.HashString128(s).Bytes(); return h[:] }
	want := &capturev1.RRPair{
		Direction: capturev1.Direction_DIRECTION_INBOUND, Protocol: "http", Client: "c:1", Server: "s:2", Conn: 7,
		Method: "POST", Host: "x", Path: "/a", Query: "b", Status: 200,
		Timing: &capturev1.Timing{
			Accepted: 1, Connected: 2, RequestFirst: 1_700_000_000_123_456_789, RequestLast: 30, ResponseFirst: 32, ResponseLast: 34,
		},
		Request: &capturev1.Message{
			Head: []byte("POST /a?b HTTP/1.1\r\nHost: x\r\n\r\n"), Body: []byte("hello"), BodySize: 5, BodyHash: hash("hello"), WireSize: 40,
		},
		Response: &capturev1.Message{
			Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Body: []byte("abc"), BodySize: 3, BodyHash: hash("abc"), WireSize: 60,
			Trailers: []byte("X: y\r\n\r\n"), Interim: [][]byte{[]byte("HTTP/1.1 103 Early\r\n\r\n")},
			Chunks: []*capturev1.Chunk{{Size: 2}, {Size: 1, Line: []byte("1;x=y")}},
		},
	}
	if p.String() != want.String() {
		t.Errorf("got  %v\nwant %v", p, want)
	}
	if c.Wire(s2c) != uint64(60+len("HTTP/1.1 103 Early\r\n\r\n")) {
		t.Errorf("wire %d: interim responses count too", c.Wire(s2c))
	}
}

func TestChunksAreListedOnlyWhereNeeded(t *testing.T) {
	chunk := func(size uint64, line string) protocol.Chunk {
		ch := protocol.Chunk{Size: size}
		if line != "" {
			ch.Line = []byte(line)
		}
		return ch
	}
	many := slices.Repeat([]protocol.Chunk{chunk(1, "")}, MaxChunks+1)
	for _, c := range []struct {
		name   string
		chunks []protocol.Chunk
		want   int
		note   string
	}{
		{"one", []protocol.Chunk{chunk(3, ""), chunk(0, "")}, 0, ""},
		{"one, oddly written", []protocol.Chunk{chunk(3, "003"), chunk(0, "")}, 1, ""},
		{"an extension on the last", []protocol.Chunk{chunk(3, ""), chunk(0, "0;a=b")}, 2, ""},
		{"two", []protocol.Chunk{chunk(3, ""), chunk(3, ""), chunk(0, "")}, 2, ""},
		{"too many", many, 0, "1025 chunks, their sizes were not kept"},
		{"lines too long", []protocol.Chunk{chunk(1, strings.Repeat("x", maxChunkLines)), chunk(1, "1;")}, 0, "2 chunks, their sizes were not kept"},
	} {
		b := newBook(1<<20, 1<<10)
		conn := b.conn()
		request(conn, 1, "/", 0)
		end(conn, c2s, 2)
		response(conn, 3, 200, 0)
		for _, ch := range c.chunks {
			conn.Body(protocol.Body{Dir: s2c, Data: bytes.Repeat([]byte("x"), int(ch.Size)), Chunk: &ch})
		}
		end(conn, s2c, 4)
		p := b.pairs[0]
		if len(p.Response.Chunks) != c.want || p.Tags["response.chunks"] != c.note {
			t.Errorf("%s: %d chunks, note %q", c.name, len(p.Response.Chunks), p.Tags["response.chunks"])
		}
		if b.budget.Used() != b.held {
			t.Errorf("%s: the budget says %d, the pair holds %d", c.name, b.budget.Used(), b.held)
		}
	}
}

// TestR08Bodies: what is kept of a body, in pieces of any size, and the hash of
// the whole.
func TestR08Bodies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(0, 5000).Draw(t, "limit")
		whole := rapid.SliceOfN(rapid.Byte(), 0, 12000).Draw(t, "body")
		b := newBook(1<<20, limit)
		c := b.conn()
		request(c, 1, "/", 0)
		for rest := whole; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "piece")
			c.Body(protocol.Body{Dir: c2s, Data: rest[:n]})
			rest = rest[n:]
		}
		end(c, c2s, 2)
		response(c, 3, 200, 0)
		end(c, s2c, 4)
		m := b.pairs[0].Request
		if !bytes.Equal(m.Body, whole[:min(limit, len(whole))]) || m.BodySize != uint64(len(whole)) {
			t.Fatalf("kept %d of %d, limit %d", len(m.Body), m.BodySize, limit)
		}
		var hash []byte
		if len(whole) > 0 {
			h := xxh3.Hash128(whole).Bytes()
			hash = h[:]
		}
		if !bytes.Equal(m.BodyHash, hash) {
			t.Fatalf("hash %x, want %x", m.BodyHash, hash)
		}
		truncated := len(whole) > limit
		if m.Truncated != truncated || slices.Contains(b.pairs[0].Flags, capturev1.Flag_FLAG_TRUNCATED) != truncated {
			t.Fatalf("truncated %v, flags %v", m.Truncated, b.pairs[0].Flags)
		}
		if b.budget.Used() != b.held {
			t.Fatalf("the budget says %d, the pair holds %d", b.budget.Used(), b.held)
		}
	})
}

// TestShedding: on the way to the limit, tails of bodies go first, then whole
// bodies, then pairs; everything is flagged or counted, and the hash is still
// that of the whole.
func TestShedding(t *testing.T) {
	const memory = 256 << 10
	b := newBook(memory, 1<<20)
	whole := strings.Repeat("0123456789abcdef", 1<<10) // 16 KiB
	h := xxh3.HashString128(whole).Bytes()
	var kinds []string
	for range 200 {
		before := len(b.pairs)
		c := b.conn()
		request(c, 1, "/", 0)
		end(c, c2s, 2)
		response(c, 3, 200, 0)
		for i := 0; i < len(whole); i += 1 << 10 {
			body(c, s2c, whole[i:i+1<<10])
		}
		end(c, s2c, 4)
		if used := b.budget.Used(); used > memory {
			t.Fatalf("used %d of %d", used, memory)
		}
		kind := "dropped"
		if len(b.pairs) > before {
			p := b.pairs[before]
			// At the very limit there is no room to hash what is not kept.
			hashed := len(p.Response.BodyHash) > 0 || !slices.Contains(p.Flags, capturev1.Flag_FLAG_BODY_SHED)
			if hashed && !bytes.Equal(p.Response.BodyHash, h[:]) || p.Response.BodySize != uint64(len(whole)) {
				t.Fatalf("the hash is not that of the whole: %v", line(p))
			}
			if !strings.HasPrefix(whole, string(p.Response.Body)) {
				t.Fatal("what is kept is not the body's beginning")
			}
			kind = "whole"
			switch {
			case slices.Contains(p.Flags, capturev1.Flag_FLAG_BODY_SHED):
				kind = "shed"
				if len(p.Response.Body) != 0 {
					t.Fatal("a body that was shed is there")
				}
			case slices.Contains(p.Flags, capturev1.Flag_FLAG_TRUNCATED):
				kind = "tail cut"
				if len(p.Response.Body) == 0 {
					t.Fatal("only a tail was to be cut")
				}
			}
		}
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
	}
	if got := strings.Join(kinds, ", "); got != "whole, tail cut, shed, dropped" {
		t.Errorf("shed in the order %s", got)
	}
	counts := b.ledger.Pairs()
	if counts.Seen != 200 || counts.Dropped["memory"] != 200-uint64(len(b.pairs)) {
		t.Errorf("%+v with %d emitted", counts, len(b.pairs))
	}
	var marked uint64
	for _, p := range b.pairs {
		if p.Response.Truncated {
			marked++
		}
	}
	if b.ledger.BodiesShed.Load() != marked {
		t.Errorf("%d bodies were counted as shed, %d pairs say so", b.ledger.BodiesShed.Load(), marked)
	}
}

// TestAPairThatIsDroppedKeepsItsPlace: the responses behind it find their own
// requests.
func TestAPairThatIsDroppedKeepsItsPlace(t *testing.T) {
	b := newBook(2*pairOverhead+200, 1<<10)
	c := b.conn()
	for i := range 4 {
		request(c, 1, fmt.Sprint("/", i), 0)
		end(c, c2s, 2)
	}
	for i := range 4 {
		response(c, 3, 200+i, 0)
		end(c, s2c, 4)
	}
	if len(b.pairs) != 2 || line(b.pairs[0]) != `#0 /0 200 req="" res=""` || line(b.pairs[1]) != `#1 /1 201 req="" res=""` {
		t.Errorf("%v", b.pairs)
	}
	b.budget.Give(b.held)
	request(c, 1, "/4", 0)
	end(c, c2s, 2)
	response(c, 3, 204, 0)
	end(c, s2c, 4)
	if got := line(b.pairs[2]); got != `#4 /4 204 req="" res=""` {
		t.Error(got)
	}
	if p := b.ledger.Pairs(); p.Seen != 5 || p.Dropped["memory"] != 2 {
		t.Errorf("%+v", p)
	}
}

func TestDiscard(t *testing.T) {
	b := newBook(1<<20, 1<<10)
	c := b.conn()
	request(c, 1, "/", 0)
	body(c, c2s, "x")
	c.Discard(ledger.Fault)
	if b.budget.Used() != 0 || len(b.pairs) != 0 || b.ledger.Pairs().Dropped["fault"] != 1 || b.ledger.Pairs().Open != 0 {
		t.Errorf("%d held, %+v", b.budget.Used(), b.ledger.Pairs())
	}
}

func TestOverflow(t *testing.T) {
	b := newBook(64<<20, 1<<10)
	c := b.conn()
	for i := range MaxOpen + 1 {
		if c.Overflow() {
			t.Fatalf("overflow at %d", i)
		}
		request(c, 1, "/", 0)
		end(c, c2s, 2)
	}
	if !c.Overflow() {
		t.Error("no overflow")
	}
}

func TestOpaque(t *testing.T) {
	b := newBook(1<<20, 1<<10)
	link := &Link{ID: 1, Client: "c:1", Server: "s:2", Accepted: 5, Connected: 6}
	o := b.Opaque(link, "tls", []protocol.Attr{{Key: "tls.sni", Value: "a.example"}}, 3, 7, "", capturev1.Flag_FLAG_MIDSTREAM)
	o.Bytes(s2c, 10, 100)
	o.Bytes(c2s, 11, 20)
	o.Bytes(s2c, 12, 1)
	o.Tag([]protocol.Attr{{Key: "tls.alpn", Value: "h2"}})
	o.Close("reset by client")
	p := b.pairs[0]
	p.Id = nil
	want := &capturev1.RRPair{
		Protocol: "tls", Client: "c:1", Server: "s:2", Conn: 1, Seq: 3, Error: "reset by client",
		Timing:  &capturev1.Timing{Accepted: 5, Connected: 6, RequestFirst: 11, RequestLast: 11, ResponseFirst: 10, ResponseLast: 12},
		Request: &capturev1.Message{BodySize: 20, WireSize: 20}, Response: &capturev1.Message{BodySize: 101, WireSize: 101},
		Flags: []capturev1.Flag{capturev1.Flag_FLAG_MIDSTREAM}, Tags: map[string]string{"tls.sni": "a.example", "tls.alpn": "h2"},
	}
	if p.String() != want.String() {
		t.Errorf("got  %v\nwant %v", p, want)
	}
	// One that nobody has room for is counted.
	if !b.budget.Take(budget.Pair, 1<<20-b.budget.Used()) {
		t.Fatal("no room")
	}
	b.Opaque(link, "tls", nil, 0, 7, "").Close("")
	if c := b.ledger.Pairs(); len(b.pairs) != 1 || c.Dropped["memory"] != 1 || c.Seen != 2 {
		t.Errorf("%+v", c)
	}
}

func TestTagsAreBounded(t *testing.T) {
	var attrs []protocol.Attr
	for i := range 50 {
		attrs = append(attrs, protocol.Attr{Key: fmt.Sprint(i), Value: strings.Repeat("ä", 200)})
	}
	m := tags(attrs)
	if len(m) != maxTags || len(m["0"]) != 256 {
		t.Errorf("%d tags, the first of %d bytes", len(m), len(m["0"]))
	}
}

// TestRandomReports: whatever a decoder reports, every pair is accounted for,
// and the memory comes back.
func TestRandomReports(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory := rapid.Int64Range(0, 40<<10).Draw(t, "memory")
		b := newBook(memory, rapid.IntRange(0, 3000).Draw(t, "limit"))
		c := b.conn()
		if rapid.Bool().Draw(t, "sampling") {
			c.link.KeepOneIn, c.link.Sampled = 3, rapid.Bool().Draw(t, "sampled")
		}
		for i := range rapid.IntRange(0, 80).Draw(t, "steps") {
			d := protocol.Direction(rapid.IntRange(0, 1).Draw(t, "direction"))
			switch rapid.IntRange(0, 6).Draw(t, "step") {
			case 0, 1:
				if c.current[d] != nil {
					continue // a decoder ends a message before it begins another
				}
				if d == c2s {
					request(c, int64(i+1), "/", uint64(rapid.IntRange(0, 3).Draw(t, "key")))
				} else {
					response(c, int64(i+1), 200, uint64(rapid.IntRange(0, 3).Draw(t, "key")))
				}
			case 2, 3:
				b := protocol.Body{Dir: d, Data: make([]byte, rapid.IntRange(0, 5000).Draw(t, "size"))}
				if rapid.Bool().Draw(t, "chunked") {
					b.Chunk = &protocol.Chunk{Size: uint64(len(b.Data))}
				}
				if rapid.IntRange(0, 9).Draw(t, "gap") == 0 {
					b.Data, b.Missing = nil, 7
				}
				c.Body(b)
			case 4:
				end(c, d, int64(i+1))
			case 5:
				broken(c, d, int64(i+1))
				c.SetCause("broken")
				c.Settle()
			case 6:
				c.Begin(protocol.Begin{Kind: protocol.Interim, Dir: s2c, Head: make([]byte, 100)})
			}
			if b.budget.Used() > memory {
				t.Fatalf("used %d of %d", b.budget.Used(), memory)
			}
		}
		c.SetCause("closed")
		c.Close()
		counts := b.ledger.Pairs()
		if counts.Seen != uint64(len(b.pairs))+counts.Sampled+counts.Dropped["memory"] {
			t.Fatalf("%+v, emitted %d", counts, len(b.pairs))
		}
		if b.budget.Used() != b.held {
			t.Fatalf("the budget says %d, the pairs hold %d", b.budget.Used(), b.held)
		}
		for _, p := range b.pairs {
			incomplete := slices.Contains(p.Flags, capturev1.Flag_FLAG_INCOMPLETE) || slices.Contains(p.Flags, capturev1.Flag_FLAG_NO_RESPONSE)
			if incomplete && p.Error == "" {
				t.Fatalf("no reason: %v", line(p))
			}
			if p.Timing.RequestFirst == 0 {
				t.Fatalf("no time: %v", line(p))
			}
		}
	})
}
