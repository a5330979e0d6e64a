package pair

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/zeebo/xxh3"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

// TestPairsAreMadeOfTheirOwnAlone: nothing of one pair is found in another that
// is made of the same memory, at the same time or later.
func TestPairsAreMadeOfTheirOwnAlone(t *testing.T) {
	memory := budget.New(64 << 20)
	var books ledger.Ledger
	var mu sync.Mutex
	got := make(map[string]*capturev1.RRPair)
	p := New(Settings{
		BodyLimit: 6000, Budget: memory, Ledger: &books, NewID: NewIDs([32]byte{}).New,
		Emit: func(p *capturev1.RRPair, rest [2][][]byte, held int64) {
			c := copyOf(p, rest)
			memory.Give(held)
			mu.Lock()
			defer mu.Unlock()
			got[c.Path] = c
		},
	})
	want := make(map[string]*capturev1.RRPair)
	var all sync.WaitGroup
	for i := range uint64(8) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(i, 1))
			mine := talk(p, i, rnd)
			mu.Lock()
			defer mu.Unlock()
			for _, w := range mine {
				want[w.Path] = w
			}
		})
	}
	all.Wait()
	if len(got) != len(want) {
		t.Fatalf("%d pairs, want %d", len(got), len(want))
	}
	for path, w := range want {
		g := got[path]
		if g == nil {
			t.Fatalf("%s is missing", path)
		}
		g.Id = nil
		if !proto.Equal(g, w) {
			t.Fatalf("got  %v\nwant %v", g, w)
		}
	}
	if used := memory.Used(); used != 0 {
		t.Errorf("%d bytes are held", used)
	}
}

// talk plays exchanges on a connection, up to three open at a time, and says
// what the pairs are to be.
func talk(p *Pairer, id uint64, rnd *rand.Rand) (want []*capturev1.RRPair) {
	link := &Link{ID: id, Client: fmt.Sprint("c:", id), Server: "s:1", Accepted: 1, Connected: 2}
	c := p.Conn(link, "http", nil, nil)
	text := func(max int) []byte {
		return []byte(strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(max)))
	}
	message := func(d protocol.Direction, head []byte) *capturev1.Message {
		m := &capturev1.Message{Head: head, WireSize: 100}
		body := text(9000)
		if rnd.IntN(3) == 0 {
			body = nil
		}
		for rest := body; len(rest) > 0; {
			n := 1 + rnd.IntN(len(rest))
			c.Body(protocol.Body{Dir: d, Data: rest[:n]})
			rest = rest[n:]
		}
		m.BodySize, m.Body = uint64(len(body)), body[:min(len(body), 6000)]
		m.Truncated = len(body) > 6000
		if len(body) > 0 {
			h := xxh3.Hash128(body).Bytes()
			m.BodyHash = h[:]
		}
		if rnd.IntN(3) == 0 {
			m.Trailers = append(text(50), '!')
		}
		c.End(protocol.End{Dir: d, At: 5, Wire: 100, Trailers: m.Trailers})
		return m
	}
	for len(want) < 300 {
		var open []*capturev1.RRPair
		for range 1 + rnd.IntN(3) {
			w := &capturev1.RRPair{
				Protocol: "http", Client: link.Client, Server: link.Server, Conn: id, Seq: uint64(len(want)),
				Method: "GET", Path: fmt.Sprint("/", id, "/", len(want)), Host: string(text(400)), Query: string(text(400)),
				Timing: &capturev1.Timing{Accepted: 1, Connected: 2, RequestFirst: 3, RequestLast: 5, ResponseFirst: 4, ResponseLast: 5},
			}
			head := append(text(900), '!')
			c.Begin(protocol.Begin{
				Kind: protocol.Request, Dir: c2s, First: 3, At: 3, Head: head,
				Method: []byte("GET"), Path: []byte(w.Path), Host: []byte(w.Host), Query: []byte(w.Query),
			})
			w.Request = message(c2s, head)
			open, want = append(open, w), append(want, w)
		}
		for _, w := range open {
			var interim [][]byte
			if rnd.IntN(4) == 0 {
				interim = [][]byte{append(text(100), '!')}
				c.Begin(protocol.Begin{Kind: protocol.Interim, Dir: s2c, Head: interim[0]})
			}
			head := append(text(900), '!')
			w.Status = int32(200 + rnd.IntN(200))
			c.Begin(protocol.Begin{Kind: protocol.Response, Dir: s2c, First: 4, At: 4, Head: head, Status: int(w.Status)})
			w.Response = message(s2c, head)
			w.Response.Interim = interim
			if w.Request.Truncated || w.Response.Truncated {
				w.Flags = []capturev1.Flag{capturev1.Flag_FLAG_TRUNCATED}
			}
		}
	}
	return want
}
