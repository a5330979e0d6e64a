package pair

import (
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/protocol"
)

// TestSampling: ordinary pairs of a connection are kept or left out together;
// what failed or took long is kept, and stands for itself.
func TestSampling(t *testing.T) {
	const second = int64(time.Second)
	plays := []struct {
		name     string
		ordinary bool
		play     func(c *Conn)
	}{
		{"ordinary", true, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			body(c, s2c, "hello")
			end(c, s2c, 9+second)
		}},
		{"a client's mistake", true, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 499, 0)
			end(c, s2c, 13)
		}},
		{"one way", true, func(c *Conn) {
			c.Begin(protocol.Begin{Kind: protocol.Request, Dir: c2s, First: 9, At: 9, NoResponse: true})
			end(c, c2s, 10)
		}},
		{"a server's mistake", false, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 500, 0)
			end(c, s2c, 13)
		}},
		{"slow", false, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			end(c, s2c, 10+second)
		}},
		{"a slow upload", false, func(c *Conn) {
			request(c, 10, "/", 0)
			response(c, 12, 200, 0)
			end(c, s2c, 13)
			end(c, c2s, 10+second)
		}},
		{"no response, and nobody knows why", false, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			c.Close()
		}},
		{"half a response", false, func(c *Conn) {
			request(c, 10, "/", 0)
			end(c, c2s, 11)
			response(c, 12, 200, 0)
			broken(c, s2c, 13)
			c.SetCause("reset by server")
			c.Settle()
		}},
		{"half a response to nobody", false, func(c *Conn) {
			response(c, 12, 200, 0)
			end(c, s2c, 13)
		}},
	}
	for _, c := range plays {
		t.Run(c.name, func(t *testing.T) {
			for _, link := range []Link{{}, {KeepOneIn: 1}, {KeepOneIn: 10}, {KeepOneIn: 10, Sampled: true}} {
				b := newBook(1<<20, 1<<10)
				c.play(b.Conn(&link, "http", nil, nil))
				out := c.ordinary && link.Sampled
				weight := uint32(0)
				if c.ordinary && link.KeepOneIn > 1 {
					weight = link.KeepOneIn
				}
				l := b.ledger.Pairs()
				switch {
				case out && (len(b.pairs) != 0 || l.Sampled != 1 || b.budget.Used() != 0):
					t.Errorf("%+v: %v came out, %+v, %d bytes are held", link, b.pairs, l, b.budget.Used())
				case !out && (len(b.pairs) != 1 || l.Sampled != 0 || b.budget.Used() != b.held):
					t.Errorf("%+v: %v came out, %+v", link, b.pairs, l)
				case !out && b.pairs[0].SampleWeight != weight:
					t.Errorf("%+v: it stands for %d, want %d", link, b.pairs[0].SampleWeight, weight)
				}
				if l.Seen != uint64(len(b.pairs))+l.Sampled {
					t.Errorf("%+v: %+v", link, l)
				}
			}
		})
	}
}

func TestSamplingOpaqueConnections(t *testing.T) {
	for _, c := range []struct {
		name, why, cause string
		flags            []capturev1.Flag
		kept             bool
	}{
		{name: "as connections do"},
		{name: "joined in the middle", flags: []capturev1.Flag{capturev1.Flag_FLAG_MIDSTREAM}},
		{name: "with a reset", cause: "reset by server", kept: true},
		{name: "undecodable", why: "ambiguous", kept: true},
	} {
		b := newBook(1<<20, 1<<10)
		o := b.Opaque(&Link{KeepOneIn: 5, Sampled: true}, "tls", nil, 0, 7, c.why, c.flags...)
		o.Bytes(c2s, 8, 100)
		o.Bytes(s2c, 8+int64(time.Hour), 100)
		o.Close(c.cause)
		if got := b.ledger.Pairs(); (len(b.pairs) == 1) != c.kept || (got.Sampled == 0) != c.kept || b.budget.Used() != b.held {
			t.Errorf("%s: %v, %+v", c.name, b.pairs, got)
		}
		if c.kept && b.pairs[0].SampleWeight != 0 {
			t.Errorf("%s: it stands for %d", c.name, b.pairs[0].SampleWeight)
		}
	}
	b := newBook(1<<20, 1<<10)
	b.Opaque(&Link{KeepOneIn: 5}, "tls", nil, 0, 7, "").Close("")
	if len(b.pairs) != 1 || b.pairs[0].SampleWeight != 5 {
		t.Errorf("%v", b.pairs)
	}
}
