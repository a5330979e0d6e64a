package observe

import (
	"math"
	"testing"

	"github.com/weir-capture/weir/goproxy/tee"
)

func TestSamplerKeepsOneInSoMany(t *testing.T) {
	const conns = 200_000
	for _, n := range []uint32{1, 2, 10, 1000} {
		s := NewSampler([16]byte{1, 2, 3}, n)
		other := NewSampler([16]byte{3, 2, 1}, n)
		kept, same := 0, 0
		for id := range uint64(conns) {
			rate, keep := s.Conn(id)
			if _, again := s.Conn(id); rate != n || again != keep {
				t.Fatalf("connection %d: 1/%d, kept %v, then %v", id, rate, keep, again)
			}
			_, elsewhere := other.Conn(id)
			if keep {
				kept++
				if elsewhere {
					same++
				}
			}
		}
		want := float64(conns) / float64(n)
		if d := math.Abs(float64(kept) - want); d > 5*math.Sqrt(want) {
			t.Errorf("1/%d: kept %d, want about %.0f", n, kept, want)
		}
		if n == 10 && (same < 1500 || same > 2500) {
			t.Errorf("two processes agree on %d of %d", same, kept)
		}
	}
}

func TestSamplerIsTold(t *testing.T) {
	s := NewSampler([16]byte{}, 0)
	for _, c := range []struct{ tell, want uint32 }{{0, 1}, {7, 7}, {1, 1}, {4e9, MaxKeepOneIn}, {0, 1}} {
		if s.Tell(c.tell); s.KeepOneIn() != c.want {
			t.Errorf("told %d, keeps 1/%d", c.tell, s.KeepOneIn())
		}
	}
	s = NewSampler([16]byte{}, 5)
	s.Tell(1)
	if n, kept := s.Conn(1); n != 1 || !kept {
		t.Errorf("told to keep all, keeps 1/%d", n)
	}
	if s.Tell(0); s.KeepOneIn() != 5 {
		t.Errorf("not told any more, keeps 1/%d", s.KeepOneIn())
	}
}

// TestSampledConnections: whole connections are left out, and a change of the
// rate is for those that come.
func TestSampledConnections(t *testing.T) {
	sampler := NewSampler([16]byte{9}, 1)
	l := newLab(t, func(s *Settings) { s.Sampler = sampler })
	connect := func(id uint64) *live {
		c := &live{Conn: l.Conn(id, "c:1", 900), l: l}
		c.Connected("s:2", 950)
		return c
	}
	const conns, each = 300, 3
	before := connect(conns)
	sampler.Tell(4)
	kept := 0
	for id := range uint64(conns) {
		if _, keep := sampler.Conn(id); keep {
			kept++
		}
		c := connect(id)
		for range each {
			c.says(up, get)
			c.says(down, hello)
		}
		c.says(up, get)
		c.says(down, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
		c.hangUp()
	}
	before.says(up, get)
	before.says(down, hello)
	before.hangUp()
	if kept == 0 || kept > conns/2 {
		t.Fatalf("%d connections were kept", kept)
	}
	pairs := map[uint64]int{}
	for _, p := range l.pairs {
		pairs[p.Conn]++
		switch {
		case p.Conn == conns || p.Status == 503:
			if p.SampleWeight > 1 {
				t.Errorf("%v stands for %d", p, p.SampleWeight)
			}
		case p.SampleWeight != 4:
			t.Errorf("%v stands for %d", p, p.SampleWeight)
		}
	}
	for id := range uint64(conns) {
		want := 1
		if _, keep := sampler.Conn(id); keep {
			want = each + 1
		}
		if pairs[id] != want {
			t.Errorf("%d pairs of connection %d, want %d", pairs[id], id, want)
		}
	}
	if c := l.ledger.Pairs(); c.Sampled != uint64(conns-kept)*each {
		t.Errorf("%+v", c)
	}
	l.books()
}

// TestSampledAndSwitchedOff: the law holds when both change what is kept.
func TestSampledAndSwitchedOff(t *testing.T) {
	sampler := NewSampler([16]byte{9}, 3)
	l := newLab(t, func(s *Settings) { s.Sampler = sampler })
	for id := range uint64(60) {
		c := &live{Conn: l.Conn(id, "c:1", 900), l: l}
		c.Connected("s:2", 950)
		c.says(up, get)
		if id%2 == 0 {
			l.SetCapture(false)
			c.says(down, hello)
			l.SetCapture(true)
		}
		c.says(down, hello)
		if id%5 == 0 {
			c.ends(down, tee.ServerReset)
		}
		c.hangUp()
	}
	if c := l.ledger.Pairs(); c.Sampled == 0 || len(l.pairs) == 0 {
		t.Errorf("%+v", c)
	}
	l.books()
}
