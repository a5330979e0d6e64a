package observe

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestR28CaptureJoinsMidstream: capture is switched on in the middle of a
// conversation, at any point of it. What was said before was not seen, so
// that nobody can know what the rest means: it is counted, and flagged.
func TestR28CaptureJoinsMidstream(t *testing.T) {
	const (
		preface  = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
		settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		startup  = "\x00\x00\x00\x17\x00\x03\x00\x00user\x00shop\x00\x00"
		post     = "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n"
	)
	for _, c := range []struct {
		name          string
		before, after []said
	}{
		{
			"behind an HTTP/2 preface",
			[]said{{up, preface + settings}, {down, settings}},
			[]said{{up, "\x00\x00\x05\x01\x05\x00\x00\x00\x01\x82\x86\x84\x41\x8a"}, {down, "\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88"}},
		},
		{"in the middle of an HTTP/2 preface", []said{{up, preface[:10]}}, []said{{up, preface[10:] + settings}, {down, settings}}},
		{"behind a ClientHello", []said{{up, clientHello(t)}}, []said{{down, "\x16\x03\x03\x00\x05hello"}, {up, "\x17\x03\x03\x00\x04data"}}},
		{"behind a PostgreSQL startup", []said{{up, startup}, {down, "R\x00\x00\x00\x08\x00\x00\x00\x00"}}, []said{{up, "Q\x00\x00\x00\x0dSELECT 1\x00"}, {down, "C\x00\x00\x00\x0dSELECT 1\x00"}}},
		{"in the middle of a request's body", []said{{up, post + "half of "}}, []said{{up, "it, and GET /not HTTP/1.1\r\n\r\n"}, {down, hello}}},
		{"in the middle of a response's body", []said{{up, get}, {down, hello[:len(hello)-3]}}, []said{{down, "llo"}, {up, get}, {down, hello}}},
		{"in the middle of a head", []said{{up, get[:15]}}, []said{{up, get[15:]}, {down, hello}}},
		{"in the middle of a method", []said{{up, "G"}}, []said{{up, "ET / HTTP/1.1\r\n\r\n"}, {down, hello}}},
		{"between a request and its response", []said{{up, get}}, []said{{down, hello}, {up, get}, {down, hello}}},
		{"in the middle of a pipeline", []said{{up, get + get + get}, {down, hello}}, []said{{down, hello + hello}, {up, get}, {down, hello}}},
		{"in the middle of chunks", []said{{up, get}, {down, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"}}, []said{{down, "llo\r\n0\r\n\r\n"}, {up, get}, {down, hello}}},
		{"between exchanges", []said{{up, get}, {down, hello}}, []said{{up, get}, {down, hello}}},
	} {
		for _, segment := range []int{1, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d", c.name, segment), func(t *testing.T) {
				l := newLab(t, nil)
				conn := l.connect()
				play := func(all []said) (bytes [2]int) {
					for _, s := range all {
						for piece := range slices.Chunk([]byte(s.text), segment) {
							conn.says(s.dir, string(piece))
							bytes[s.dir] += len(piece)
						}
					}
					return bytes
				}
				l.SetCapture(false)
				play(c.before)
				l.SetCapture(true)
				n := play(c.after)
				conn.hangUp()
				l.want(fmt.Sprintf("#0 opaque 0 %d/%d midstream", n[up], n[down]))
			})
		}
	}
}

// TestR29ClockJumps: whatever the clock does while pairs are open, times on a
// connection never run backwards, so that no duration is negative; and the
// order of pairs is that of their sequence.
func TestR29ClockJumps(t *testing.T) {
	const hour, year = int64(time.Hour), 365 * 24 * int64(time.Hour)
	for _, jump := range []int64{-hour, hour, -10 * year, 10 * year} {
		for moment := range 6 {
			t.Run(fmt.Sprint(time.Duration(jump), " at ", moment), func(t *testing.T) {
				l := newLab(t, nil)
				l.now = 1_700_000_000_000_000_000
				c := &live{Conn: l.Conn(3, "10.0.0.1:1000", l.now), l: l}
				steps := []func(){
					func() { l.now++; c.Connected("10.0.0.2:80", l.now) },
					func() { c.says(up, get[:10]) },
					func() { c.says(up, get[10:]+get) },
					func() { c.says(down, hello[:len(hello)-2]) },
					func() { c.says(down, hello[len(hello)-2:]+hello) },
					func() { c.says(up, "\x00 nonsense\r\n"); c.says(up, "more") },
				}
				for i, step := range steps {
					if i == moment {
						l.now += jump
					}
					step()
				}
				l.now -= jump // and back
				c.hangUp()
				if len(l.pairs) != 3 {
					t.Fatalf("%v", l.pairs)
				}
				for i, p := range l.pairs {
					m := p.Timing
					times := []int64{m.Accepted, m.Connected, m.RequestFirst, m.RequestLast}
					if p.Protocol == "http" {
						times = append(times, m.ResponseFirst, m.ResponseLast)
					}
					if !slices.IsSorted(times) {
						t.Errorf("pair %d: times run backwards: %v", i, times)
					}
					if p.Seq != uint64(i) {
						t.Errorf("pair %d has sequence %d", i, p.Seq)
					}
				}
				l.books()
			})
		}
	}
}

// TestR29AFailedDialTakesNoNegativeTime although the clock was set back.
func TestR29AFailedDialTakesNoNegativeTime(t *testing.T) {
	l := newLab(t, nil)
	l.Conn(1, "10.0.0.1:1000", 5000).DialFailed("db:80", 1000, fmt.Errorf("no"))
	p := l.pairs[0]
	if p.Timing.RequestFirst < p.Timing.Accepted {
		t.Errorf("times run backwards: %v", p.Timing)
	}
}
