package observe

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocols"
)

const (
	up   = tee.ClientToServer
	down = tee.ServerToClient
)

// lab observes connections and keeps what comes out.
type lab struct {
	*Observer
	t      *testing.T
	now    int64
	budget *budget.Budget
	ledger ledger.Ledger
	pairs  []*capturev1.RRPair
	held   int64
	log    bytes.Buffer
}

func newLab(t *testing.T, edit func(*Settings)) *lab {
	l := &lab{t: t, now: 1000, budget: budget.New(1 << 20)}
	log := slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	set := Settings{
		Protocols: protocols.All(), Detect: protocols.Detect, Budget: l.budget, Ledger: &l.ledger,
		Now: func() int64 { return l.now }, Log: log, Repeated: lograte.New(log, time.Second), Capture: true,
	}
	t.Cleanup(set.Repeated.Close)
	if edit != nil {
		edit(&set)
	}
	set.Pairs = pair.New(pair.Settings{
		BodyLimit: 1 << 10, Budget: set.Budget, Ledger: &l.ledger, NewID: pair.NewIDs([32]byte{}).New,
		Emit: func(p *capturev1.RRPair, rest [2][][]byte, held int64) {
			l.pairs = append(l.pairs, copyOf(p, rest))
			l.held += held
		},
	})
	l.budget = set.Budget
	l.Observer = New(set)
	return l
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

// live is one connection of a lab.
type live struct {
	*Conn
	l *lab
}

func (l *lab) connect() *live {
	c := &live{Conn: l.Conn(3, "10.0.0.1:1000", 900), l: l}
	c.Connected("10.0.0.2:80", 950)
	return c
}

func (c *live) says(d tee.Direction, text string) {
	c.l.now++
	b := []byte(text)
	c.Event(tee.Event{Dir: d, At: c.l.now, Bytes: b})
	clear(b) // they were only lent
}

func (c *live) ends(d tee.Direction, cause tee.Cause) {
	c.l.now++
	c.Event(tee.Event{Dir: d, At: c.l.now, Cause: cause})
}

// hangUp ends both directions cleanly and closes.
func (c *live) hangUp() {
	c.ends(up, tee.ClientClosed)
	c.ends(down, tee.ServerClosed)
	c.Close()
}

// want compares the pairs that came out, and checks the books.
func (l *lab) want(lines ...string) {
	l.t.Helper()
	if got := l.lines(); !slices.Equal(got, lines) {
		l.t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(lines, "\n\t"))
	}
	l.books()
}

// lines are the pairs that came out, each in one line.
func (l *lab) lines() (got []string) {
	for _, p := range l.pairs {
		var flags []string
		for _, f := range p.GetFlags() {
			flags = append(flags, strings.ToLower(strings.TrimPrefix(f.String(), "FLAG_")))
		}
		var tags []string
		for k, v := range p.GetTags() {
			tags = append(tags, k+"="+v)
		}
		slices.Sort(tags)
		got = append(got, strings.Join(strings.Fields(fmt.Sprintf("#%d %s %s %s %d %d/%d %s %s %s", p.GetSeq(), p.GetProtocol(), p.GetMethod(), p.GetPath(), p.GetStatus(),
			p.GetRequest().GetBodySize(), p.GetResponse().GetBodySize(), strings.Join(flags, ","), strings.Join(tags, " "), p.GetError())), " "))
	}
	return got
}

// books: what was seen came out or was counted, and the memory is back.
func (l *lab) books() {
	l.t.Helper()
	c := l.ledger.Pairs()
	if c.Seen != uint64(len(l.pairs))+c.Sampled+c.Dropped["memory"]+c.Dropped["fault"] {
		l.t.Errorf("%+v, and %d pairs came out", c, len(l.pairs))
	}
	if l.budget.Used() != l.held {
		l.t.Errorf("the budget says %d, the pairs hold %d", l.budget.Used(), l.held)
	}
}

const (
	get   = "GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n"
	hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
)

func TestHTTP(t *testing.T) {
	for _, segment := range []int{1, 3, 1000} {
		l := newLab(t, nil)
		c := l.connect()
		for range 2 {
			for _, m := range []struct {
				d    tee.Direction
				text string
			}{{up, get}, {down, hello}} {
				for s := range slices.Chunk([]byte(m.text), segment) {
					c.says(m.d, string(s))
				}
			}
			if !c.Idle() {
				t.Error("the exchange is over; the connection rests")
			}
		}
		c.hangUp()
		l.want("#0 http GET /a 200 0/5", "#1 http GET /a 200 0/5")
		if got := l.Protocols(); len(got) != 1 || got["http"] != 1 {
			t.Errorf("counted %v", got)
		}
		p := l.pairs[0]
		if string(p.Request.Head) != get || string(p.Response.Body) != "hello" || p.Client != "10.0.0.1:1000" || p.Server != "10.0.0.2:80" || p.Timing.Accepted != 900 || p.Timing.Connected != 950 {
			t.Errorf("%v", p)
		}
		if p.Timing.RequestFirst != 1001 {
			t.Errorf("the first byte came at 1001, the pair says %d", p.Timing.RequestFirst)
		}
	}
}

func TestNotIdleWhileSomethingIsOpen(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	idle := func(want bool, when string) {
		t.Helper()
		if c.Idle() != want {
			t.Errorf("idle is %v %s", !want, when)
		}
	}
	idle(true, "before anything was said")
	c.says(up, "GE")
	idle(false, "in the middle of a method")
	c.says(up, get[2:])
	idle(false, "before the response")
	c.says(down, hello[:len(hello)-1])
	idle(false, "before the response's last byte")
	c.says(down, hello[len(hello)-1:])
	idle(true, "after the response")
	c.says(up, "\r\n")
	c.says(down, "\r\n")
	idle(true, "after line ends that belong to no message")
	c.says(up, "G")
	idle(false, "in the middle of the next request")
	c.hangUp()
}

func TestNamesWhatIsNotDecoded(t *testing.T) {
	mysql := "\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff\xff\x02\x00\xff\xdf\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00abcdefghijkl\x00mysql_native\x00"
	for _, c := range []struct {
		name string
		play func(c *live)
		want []string
	}{
		{"redis", func(c *live) {
			c.says(up, "*1\r\n$4\r\nPING\r\n")
			c.says(down, "+PONG\r\n")
		}, []string{"#0 redis 0 14/7"}},
		{"the server speaks first", func(c *live) {
			c.says(down, mysql)
			c.says(up, "login")
		}, []string{fmt.Sprintf("#0 mysql 0 5/%d", len(mysql))}},
		{"the server speaks first, after the client's end", func(c *live) {
			c.ends(up, tee.ClientClosed)
			c.says(down, mysql)
		}, []string{fmt.Sprintf("#0 mysql 0 0/%d", len(mysql))}},
		{"nothing that is known", func(c *live) {
			c.says(up, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\xff\xff\xff\xff")
			c.says(down, "\xff")
		}, []string{"#0 opaque 0 20/1"}},
		{"too little to tell", func(c *live) { c.says(up, "GE") }, []string{"#0 opaque 0 2/0"}},
		{"nothing at all", func(*live) {}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := newLab(t, nil)
			conn := l.connect()
			c.play(conn)
			conn.hangUp()
			l.want(c.want...)
		})
	}
}

// clientHello is the first flight of Go's own client.
func clientHello(t *testing.T) string {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		_ = tls.Client(client, &tls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}).Handshake()
		_ = client.Close()
	}()
	b := make([]byte, 8<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestTLSIsDescribedHoweverItIsCut(t *testing.T) {
	flight := clientHello(t)
	for _, segment := range []int{1, 100, 1448, 10000} {
		l := newLab(t, nil)
		for range 2 {
			c := l.connect()
			for s := range slices.Chunk([]byte(flight), segment) {
				c.says(up, string(s))
			}
			c.says(down, "\x16\x03\x03\x00\x01\x02")
			c.says(up, "more")
			if doing, proto := c.State(); doing != "opaque" || proto != "tls" {
				t.Errorf("%s %s", doing, proto)
			}
			c.hangUp()
		}
		want := fmt.Sprintf("#0 tls 0 %d/6 tls.alpn=h2,http/1.1 tls.sni=shop.example", len(flight)+4)
		l.want(want, want)
		if n := strings.Count(l.log.String(), "level=INFO"); n != 1 || !strings.Contains(l.log.String(), "terminate TLS before goproxy") {
			t.Errorf("what TLS means is to be said once:\n%s", l.log.String())
		}
	}
}

func TestR26ADecoderThatEnds(t *testing.T) {
	const (
		upgrade  = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		twice    = "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
	)
	t.Run("upgrade", func(t *testing.T) {
		l := newLab(t, nil)
		c := l.connect()
		c.says(up, upgrade)
		c.says(down, switched+"frame") // some of it comes along
		c.says(up, "frames")
		c.ends(up, tee.ClientReset)
		c.ends(down, tee.ClientReset)
		c.Close()
		l.want("#0 http GET /ws 101 0/0", "#1 opaque 0 6/5 upgraded_from=http reset by client")
	})
	t.Run("upgrade and nothing more", func(t *testing.T) {
		l := newLab(t, nil)
		c := l.connect()
		c.says(up, upgrade)
		c.says(down, switched)
		c.hangUp()
		l.want("#0 http GET /ws 101 0/0")
	})
	t.Run("ambiguous", func(t *testing.T) {
		l := newLab(t, nil)
		c := l.connect()
		c.says(up, get)
		c.says(down, hello)
		c.says(up, twice+"abc")
		c.says(down, hello)
		c.hangUp()
		if len(l.pairs) != 3 {
			t.Fatalf("%v", l.pairs)
		}
		for _, p := range l.pairs[1:] {
			if !slices.Contains(p.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS) || !strings.Contains(p.Error, protocol.ErrAmbiguous.Error()) {
				t.Errorf("%v", p)
			}
		}
		if p := l.pairs[1]; p.Path != "/x" || !slices.Contains(p.Flags, capturev1.Flag_FLAG_NO_RESPONSE) || len(p.Request.Body) != 0 {
			t.Errorf("%v", p)
		}
		if p := l.pairs[2]; p.Seq != 2 || p.Request.BodySize+l.pairs[1].Request.WireSize != uint64(len(twice)+3) || p.Response.BodySize != uint64(len(hello)) {
			t.Errorf("%v", p)
		}
		l.books()
	})
	t.Run("malformed response", func(t *testing.T) {
		l := newLab(t, nil)
		c := l.connect()
		c.says(up, get)
		c.says(down, "nonsense\r\n\r\n")
		c.hangUp()
		if len(l.pairs) != 2 || l.pairs[0].Path != "/a" || l.pairs[0].Error == "" || l.pairs[1].Response.BodySize != 12 {
			t.Errorf("%v", l.pairs)
		}
		l.books()
	})
	t.Run("more exchanges than are followed", func(t *testing.T) {
		l := newLab(t, func(s *Settings) { s.Budget = budget.New(64 << 20) })
		c := l.connect()
		for range pair.MaxOpen + 10 {
			c.says(up, get)
		}
		c.hangUp()
		if last := l.pairs[len(l.pairs)-1]; last.Protocol != "opaque" || last.Error == "" {
			t.Errorf("%v", last)
		}
		l.books()
	})
}

func TestR05HowItEndedIsSaid(t *testing.T) {
	for _, c := range []struct {
		play func(c *live)
		want string
	}{
		{func(c *live) { c.ends(up, tee.ClientClosed); c.ends(down, tee.ServerClosed) }, "#0 http GET /a 0 0/0 no_response closed by client"},
		{func(c *live) { c.ends(down, tee.ServerClosed); c.ends(up, tee.ClientClosed) }, "#0 http GET /a 0 0/0 no_response closed by server"},
		{func(c *live) { c.ends(down, tee.ServerReset); c.ends(up, tee.ServerReset) }, "#0 http GET /a 0 0/0 no_response reset by server"},
		{func(c *live) { c.ends(up, tee.ClientClosed); c.ends(down, tee.ServerReset) }, "#0 http GET /a 0 0/0 no_response reset by server"},
		{func(c *live) { c.ends(up, tee.Cut); c.ends(down, tee.Cut) }, "#0 http GET /a 0 0/0 no_response cut when the proxy stopped"},
		{func(c *live) {
			c.says(down, hello[:len(hello)-2])
			c.ends(down, tee.ServerClosed)
			c.ends(up, tee.ClientClosed)
		}, "#0 http GET /a 200 0/3 incomplete closed by server"},
		{func(c *live) {
			c.ends(up, tee.ClientClosed)
			c.says(down, hello)
			c.ends(down, tee.ServerClosed)
		}, "#0 http GET /a 200 0/5"},
		{func(c *live) {
			c.says(down, "HTTP/1.0 200 OK\r\n\r\nuntil the end")
			c.ends(down, tee.ServerClosed)
			c.ends(up, tee.ClientClosed)
		}, "#0 http GET /a 200 0/13"},
	} {
		l := newLab(t, nil)
		conn := l.connect()
		conn.says(up, get)
		c.play(conn)
		conn.Close()
		l.want(c.want)
	}
}

func TestR06AFailedDialIsAPair(t *testing.T) {
	l := newLab(t, nil)
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	l.Conn(0, "10.0.0.1:1000", 900).DialFailed("db:80", 1000, refused)
	l.Conn(1, "10.0.0.1:1001", 900).DialFailed("db:80", 1000, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "db"}})
	l.Conn(2, "10.0.0.1:1002", 900).DialFailed("db:80", 1000, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded})
	l.SetCapture(false)
	l.Conn(3, "10.0.0.1:1003", 900).DialFailed("db:80", 1000, refused)
	l.want(
		"#0 opaque 0 0/0 no_response dial: connection refused",
		"#0 opaque 0 0/0 no_response dial: lookup db: no such host",
		"#0 opaque 0 0/0 no_response dial: timeout",
	)
}

// TestR28CaptureToggledMidstream: what passes while capture is off was never seen, and what
// comes after it on the same connection is the middle of something.
func TestR28CaptureToggledMidstream(t *testing.T) {
	l := newLab(t, nil)
	begun, open, quiet, fresh := l.connect(), l.connect(), l.connect(), l.connect()
	begun.says(up, get)
	begun.says(down, hello)
	open.says(up, get)
	quiet.says(up, get)
	quiet.says(down, hello)
	l.SetCapture(false)
	during := l.connect()
	for _, c := range []*live{begun, open, during} {
		c.says(up, "secret")
		c.says(down, "secret, too")
	}
	if doing, _ := during.State(); doing != "not captured" {
		t.Error(doing)
	}
	l.SetCapture(true)
	for _, c := range []*live{begun, open, during} {
		c.says(up, get)
		c.says(down, hello)
	}
	quiet.says(up, get)
	quiet.says(down, hello)
	fresh.says(up, get)
	fresh.says(down, hello)
	for _, c := range []*live{begun, open, during, quiet, fresh} {
		c.hangUp()
	}
	opaque := fmt.Sprintf("opaque 0 %d/%d midstream", len(get), len(hello))
	l.want(
		"#0 http GET /a 200 0/5",
		"#0 http GET /a 200 0/5",
		"#0 http GET /a 0 0/0 no_response capture was switched off",
		"#1 http GET /a 200 0/5",
		"#0 http GET /a 200 0/5",
		"#1 "+opaque, "#1 "+opaque, "#0 "+opaque,
	)
}

// TestR28CaptureToggledBehindAnUpgrade: the place on the connection is not given away
// twice, although nothing was carried between the upgrade and the switch.
func TestR28CaptureToggledBehindAnUpgrade(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	c.says(up, "GET /ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	c.says(down, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
	l.SetCapture(false)
	c.says(up, "unseen")
	l.SetCapture(true)
	c.says(up, "seen")
	c.hangUp()
	l.want("#0 http GET /ws 101 0/0", "#1 opaque 0 4/0 midstream upgraded_from=http")
}

// TestR24KillSwitchAtTheEnd: an end is no content. A response that the end of its
// connection delimits is whole, although capture was off by then.
func TestR24KillSwitchAtTheEnd(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	c.says(up, "GET /a HTTP/1.0\r\n\r\n")
	c.says(down, "HTTP/1.0 200 OK\r\n\r\nhello")
	l.SetCapture(false)
	c.ends(down, tee.ServerClosed)
	c.ends(up, tee.ClientClosed)
	c.Close()
	l.want("#0 http GET /a 200 0/5")
}

// TestHalfAHeadCounts: what a decoder collects is memory of capture too.
func TestHalfAHeadCounts(t *testing.T) {
	l := newLab(t, func(s *Settings) { s.Budget = budget.New(64 << 10) })
	var conns []*live
	for range 100 {
		c := l.connect()
		conns = append(conns, c)
		c.says(up, get)
		c.says(down, hello)
		c.says(up, "GET / HTTP/1.1\r\n")
		for range 10 {
			c.says(up, "X: "+strings.Repeat("y", 1000)+"\r\n")
		}
		if u := l.budget.Used(); u > 64<<10 {
			t.Fatalf("used %d", u)
		}
	}
	if doing, _ := conns[99].State(); doing != "opaque" {
		t.Errorf("the last one is %s; there is no memory to decode it", doing)
	}
	for _, c := range conns {
		c.hangUp()
	}
	l.books()
}

// TestR21ShortOfMemory: when there is no room for what a decoder keeps, bytes of a
// message that broke off belong to its pair, the others to the opaque rest.
func TestR21ShortOfMemory(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	c.says(up, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello")
	all := l.budget.Limit() - l.budget.Used()
	if !l.budget.Take(budget.Pair, all) {
		t.Fatal("there is room")
	}
	const half = "HTTP/1.1 200 OK\r\nX: "
	c.says(down, half)
	l.budget.Give(all)
	c.says(up, "world")
	c.hangUp()
	l.want(
		"#0 http POST /a 0 5/0 incomplete,no_response capture ran short of memory",
		fmt.Sprintf("#1 opaque 0 5/%d capture ran short of memory", len(half)),
	)
}

// TestOnlyWhatIsKeptCounts: half a head behind a whole message counts; what a
// decoder passed over does not.
func TestOnlyWhatIsKeptCounts(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	c.says(up, get)
	c.says(down, hello)
	for range 1000 {
		c.says(up, strings.Repeat("\r\n", 1000))
	}
	if doing, _ := c.State(); doing != "decoding" {
		t.Fatalf("empty lines made the connection %s", doing)
	}
	l.books()
	const half = 10 << 10
	c.says(up, get+"GET / HTTP/1.1\r\nX: "+strings.Repeat("y", half))
	c.says(down, hello)
	if u := l.budget.Used() - l.held; u < half {
		t.Errorf("%d bytes of a head are kept, %d count", half, u)
	}
	c.hangUp()
	l.books()
}

// faulty is a protocol whose decoder does what it must not.
func faulty(data func(protocol.Sink, []byte) error) func(*Settings) {
	p := protocol.Protocol{
		Name: "faulty", Title: "Faulty", Detect: func(_, _ []byte) protocol.Verdict { return protocol.Match },
		New: func(s protocol.Sink, _ *protocol.Fuel) protocol.Decoder { return &faultyDecoder{s, data} },
	}
	return func(s *Settings) {
		s.Protocols = []protocol.Protocol{p}
		s.Detect = func(_, _ []byte, _ bool) (protocol.Protocol, protocol.Verdict) { return p, protocol.Match }
	}
}

type faultyDecoder struct {
	sink protocol.Sink
	data func(protocol.Sink, []byte) error
}

func (d *faultyDecoder) Data(_ protocol.Direction, _ protocol.Time, b []byte) error {
	return d.data(d.sink, b)
}
func (d *faultyDecoder) Gap(protocol.Direction, protocol.Time, int64) error  { return nil }
func (d *faultyDecoder) Close(protocol.Direction, protocol.Time, bool) error { return nil }
func (d *faultyDecoder) Held() int                                           { return 0 }

func TestR23APanicMakesTheConnectionOpaque(t *testing.T) {
	l := newLab(t, faulty(func(s protocol.Sink, b []byte) error {
		if string(b) == "panic" {
			panic("oh no")
		}
		s.Begin(protocol.Begin{Kind: protocol.Request, First: 1, At: 1, Path: []byte("/lost")})
		s.Body(protocol.Body{Data: b})
		return nil
	}))
	c := l.connect()
	c.says(up, "fine")
	c.says(down, "panic")
	c.says(up, "goes")
	c.says(down, "on")
	c.hangUp()
	l.want("#1 opaque 0 4/2 capture failed on this connection")
	if n := l.ledger.Pairs().Dropped["fault"]; n != 1 || l.ledger.Faults.Load() != 1 {
		t.Errorf("%d pairs dropped, %d faults", n, l.ledger.Faults.Load())
	}
	if !strings.Contains(l.log.String(), "oh no") {
		t.Error("nobody can find the mistake")
	}
}

func TestR23APanicInAConstructor(t *testing.T) {
	p := protocol.Protocol{Name: "faulty", New: func(protocol.Sink, *protocol.Fuel) protocol.Decoder { panic("new") }}
	l := newLab(t, func(s *Settings) {
		s.Detect = func(_, _ []byte, _ bool) (protocol.Protocol, protocol.Verdict) { return p, protocol.Match }
	})
	c := l.connect()
	c.says(up, "a")
	c.says(up, "bc")
	c.hangUp()
	l.want("#0 opaque 0 2/0 capture failed on this connection")
}

func TestR23APanicWhileDescribing(t *testing.T) {
	p := protocol.Protocol{Name: "tls", Describe: func(_, _ []byte) []protocol.Attr { panic("describe") }}
	l := newLab(t, func(s *Settings) {
		s.Detect = func(_, _ []byte, _ bool) (protocol.Protocol, protocol.Verdict) { return p, protocol.Match }
	})
	c := l.connect()
	c.says(up, "a")
	c.says(down, "bc")
	c.says(up, "d")
	c.hangUp()
	l.want()
	if l.ledger.Pairs().Dropped["fault"] != 1 || l.ledger.Pairs().Open != 0 {
		t.Errorf("%+v", l.ledger.Pairs())
	}
}

// undecided never makes up its mind unless it has to.
func undecided(s *Settings) {
	s.Detect = func(_, _ []byte, final bool) (protocol.Protocol, protocol.Verdict) {
		if final {
			return protocol.Protocol{Name: "opaque", Title: "opaque"}, protocol.Match
		}
		return protocol.Protocol{}, protocol.NeedMore
	}
}

func TestDetectionEnds(t *testing.T) {
	t.Run("with patience", func(t *testing.T) {
		l := newLab(t, undecided)
		c := l.connect()
		c.says(up, "a")
		l.now += int64(patience) + 1
		c.says(up, "b")
		if doing, _ := c.State(); doing != "opaque" {
			t.Error(doing)
		}
		c.hangUp()
		l.want("#0 opaque 0 2/0")
	})
	t.Run("with memory", func(t *testing.T) {
		l := newLab(t, func(s *Settings) { undecided(s); s.Budget = budget.New(1000) })
		c := l.connect()
		c.says(up, strings.Repeat("a", 1000))
		c.says(up, strings.Repeat("b", 1000))
		if doing, _ := c.State(); doing != "opaque" {
			t.Error(doing)
		}
		c.hangUp()
		if l.ledger.Pairs().Dropped["memory"] != 1 {
			t.Errorf("%+v", l.ledger.Pairs())
		}
		l.books()
	})
	t.Run("with talk", func(t *testing.T) {
		l := newLab(t, undecided)
		c := l.connect()
		for i := range maxPieces + 1 {
			c.says(tee.Direction(i%2), "a")
		}
		if doing, _ := c.State(); doing != "opaque" {
			t.Error(doing)
		}
		c.hangUp()
		l.want(fmt.Sprintf("#0 opaque 0 %d/%d", maxPieces/2+1, maxPieces/2))
	})
}

func TestLogLines(t *testing.T) {
	l := newLab(t, nil)
	c := l.connect()
	c.says(up, get)
	c.says(down, hello)
	c.hangUp()
	got := regexp.MustCompile(`time=\S+ |duration=\S+`).ReplaceAllStringFunc(l.log.String(), func(s string) string {
		if strings.HasPrefix(s, "duration") {
			return "duration=…"
		}
		return ""
	})
	const who = "remoteAddr=10.0.0.1:1000 directAddr=10.0.0.2:80 cid=3"
	want := `level=DEBUG msg="Connection established" ` + who + `
level=DEBUG msg="CheckProtocol duration" ` + who + ` duration=…
level=DEBUG msg="Detected protocol" ` + who + ` protocol=HTTP
level=DEBUG msg="ProxyAndDecode setup duration" ` + who + ` duration=…
level=DEBUG msg="HTTP REQUEST" ` + who + ` sequenceNum=0 url=/a
level=DEBUG msg="HTTP RESPONSE" ` + who + ` sequenceNum=0 responseLength=5
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestReason(t *testing.T) {
	if got := Reason(fmt.Errorf("a: %w", errors.New("b"))); got != "b" {
		t.Error(got)
	}
}

// FuzzR22Observe gives a connection any bytes, in any pieces: it must neither
// fail nor lose count.
func FuzzR22Observe(f *testing.F) {
	f.Add([]byte(get+hello), []byte{10, 200, 30})
	f.Add([]byte("*1\r\n$4\r\nPING\r\n+PONG\r\n"), []byte{14, 129})
	f.Add([]byte("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\nHTTP/1.1 101 a\r\n\r\nabc"), []byte{51, 150, 3})
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		l := newLab(t, func(s *Settings) { s.Log = slog.New(slog.DiscardHandler) })
		c := l.connect()
		for _, cut := range cuts {
			n := min(int(cut&127), len(data))
			c.says(tee.Direction(cut>>7), string(data[:n]))
			data = data[n:]
		}
		c.hangUp()
		l.books()
		if n := l.ledger.Faults.Load(); n != 0 {
			t.Errorf("%d faults:\n%s", n, l.log.String())
		}
	})
}
