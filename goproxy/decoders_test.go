package goproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/protocols"
)

// rogue decodes a protocol whose first word says what its decoder does wrong
// as soon as it reads "now".
type rogue struct {
	sink  protocol.Sink
	fuel  *protocol.Fuel
	does  string
	hoard []byte
	open  bool
}

const rogueMagic = "ROGUE "

var rogueProtocol = protocol.Protocol{
	Name: "rogue", Title: "Rogue",
	Detect: protocol.ClientFirst(func(b []byte) protocol.Verdict { return protocol.HasMagic(b, rogueMagic) }),
	New: func(s protocol.Sink, fuel *protocol.Fuel) protocol.Decoder {
		return &rogue{sink: s, fuel: fuel}
	},
}

func (r *rogue) Data(d protocol.Direction, at protocol.Time, b []byte) error {
	if word, ok := bytes.CutPrefix(b, []byte(rogueMagic)); ok {
		r.does = string(word)
	}
	begin := protocol.Begin{Kind: protocol.Request, Dir: d, First: at, At: at, Path: []byte("/rogue")}
	if !r.open {
		r.open = true
		r.sink.Begin(begin)
	}
	if string(b) != "now" {
		return nil
	}
	switch r.does {
	case "panics":
		panic("a rogue decoder")
	case "overruns":
		_ = b[len(r.does):]
	case "spins":
		for {
			r.fuel.Burn(1)
		}
	case "reports for ever":
		for {
			r.fuel.Burn(1)
			r.sink.Begin(begin)
			r.sink.End(protocol.End{Dir: d, At: at})
		}
	case "allocates for ever":
		for {
			r.fuel.Burn(64)
			r.hoard = append(r.hoard, make([]byte, 64)...)
		}
	case "hoards":
		r.hoard = make([]byte, 1<<20)
	case "gives up":
		return fmt.Errorf("read rogue: %w", protocol.ErrMalformed)
	}
	return nil
}

func (r *rogue) Gap(protocol.Direction, protocol.Time, int64) error { return nil }

func (r *rogue) Close(protocol.Direction, protocol.Time, bool) error {
	if r.does == "panics at the end" {
		panic("a rogue decoder")
	}
	return nil
}

func (r *rogue) Held() int {
	if r.does == "panics when asked" {
		panic("a rogue decoder")
	}
	return len(r.hoard)
}

// withRogue has the proxy detect rogue before all others.
func withRogue(p *Proxy) {
	p.observer = observe.New(observe.Settings{
		Protocols: append(protocols.All(), rogueProtocol),
		Detect: func(client, server []byte, final bool) (protocol.Protocol, protocol.Verdict) {
			if rogueProtocol.Detect(client, server) == protocol.Match {
				return rogueProtocol, protocol.Match
			}
			return protocols.Detect(client, server, final)
		},
		Pairs: pair.New(pair.Settings{
			BodyLimit: int(p.cfg.BodyLimit), Budget: p.budget, Ledger: &p.ledger,
			NewID: pair.NewIDs([32]byte{}).New, Emit: p.shipper.Add,
		}),
		Budget: p.budget, Ledger: &p.ledger, Now: p.clock.Now,
		Log: p.log, Repeated: p.repeated, Capture: true, Sampler: p.sampler,
	})
}

// TestR23RogueDecoders: whatever a decoder does, the bytes of its connection
// arrive, the connection goes on as opaque, that is counted with its reason,
// and connections beside it are captured as ever.
func TestR23RogueDecoders(t *testing.T) {
	for _, c := range []struct {
		does, reason string
		faults       uint64
	}{
		{"panics", "panic", 1},
		{"overruns", "panic", 1},
		{"panics when asked", "panic", 1},
		{"panics at the end", "panic", 1},
		{"spins", "fuel", 1},
		{"reports for ever", "fuel", 1},
		{"allocates for ever", "fuel", 1},
		{"hoards", "memory", 0},
		{"gives up", "malformed", 0},
	} {
		t.Run(c.does, func(t *testing.T) {
			ln := listenLoop(t)
			b := start(t, ln.Addr().String(), func(cfg *Config) { quiet(cfg); cfg.Metrics = true }, withRogue)
			client, server := connect(t, ln, b.Addr().String())
			beside, besideServer := connect(t, ln, b.Addr().String())
			const half, rest = "GET /beside HTTP/1.1\r\nHost: x\r\n", "\r\n"
			const answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
			carry := func(data string) {
				t.Helper()
				for _, dir := range []int{0, 1} {
					from, to := client, server
					if dir == 1 {
						from, to = server, client
					}
					if got := exchange(t, from, to, []byte(data), 0); string(got) != data {
						t.Fatalf("sent %q, received %q", data, got)
					}
				}
			}
			if got := exchange(t, beside, besideServer, []byte(half), 0); string(got) != half {
				t.Fatalf("received %q", got)
			}
			if got := exchange(t, client, server, []byte(rogueMagic+c.does), 0); string(got) != rogueMagic+c.does {
				t.Fatalf("received %q", got)
			}
			carry("now")
			large := strings.Repeat("the wire does not feel it ", 10_000)
			carry(large)
			if got := exchange(t, beside, besideServer, []byte(rest), 0); string(got) != rest {
				t.Fatalf("received %q", got)
			}
			if got := exchange(t, besideServer, beside, []byte(answer), 0); string(got) != answer {
				t.Fatalf("received %q", got)
			}
			for _, conn := range []interface{ CloseWrite() error }{client, server, beside, besideServer} {
				if err := conn.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			for _, conn := range []io.Reader{client, server, beside, besideServer} {
				if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("the connection ended with %d bytes, %v", n, err)
				}
			}
			eventually(t, "no connection is open", func() bool { return b.conns.len() == 0 })
			for reason, n := range b.ledger.Failures() {
				if want := map[bool]uint64{true: 1}[reason == c.reason]; n != want {
					t.Errorf("%d failures for %s, want %d", n, reason, want)
				}
			}
			if n := b.ledger.Faults.Load(); n != c.faults {
				t.Errorf("%d faults, want %d", n, c.faults)
			}
			l := b.ledger.Pairs()
			if c.faults > 0 && l.Dropped["fault"] == 0 {
				t.Errorf("what was open on the connection is not counted: %+v", l)
			}
			eventually(t, "what was seen arrives or is counted", func() bool {
				l = b.ledger.Pairs()
				return l.Open == 0 && l.Seen == uint64(len(b.forwarder.Pairs()))+l.Dropped["fault"]+l.Dropped["memory"]
			})
			var opaque, http *capturev1.RRPair
			for _, p := range b.forwarder.Pairs() {
				switch {
				case p.Path == "/beside":
					http = p
				case p.Protocol == "opaque":
					opaque = p
				}
			}
			if http == nil || http.Status != 200 || len(http.Flags) != 0 || string(http.Response.Body) != "ok" {
				t.Errorf("the connection beside it: %v", http)
			}
			if c.does == "panics at the end" {
				return // nothing came behind it
			}
			if opaque == nil || opaque.Error == "" || opaque.Request.BodySize < uint64(len(large)) || opaque.Response.BodySize < uint64(len(large)) {
				t.Errorf("the rest of the connection: %v", opaque)
			}
		})
	}
}

// TestR23FailuresAreInMetrics: by reason, those too that did not happen.
func TestR23FailuresAreInMetrics(t *testing.T) {
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), func(c *Config) { quiet(c); c.Metrics = true }, withRogue)
	var wg sync.WaitGroup
	for range 3 {
		client, server := connect(t, ln, b.Addr().String())
		wg.Go(func() {
			for _, s := range []string{rogueMagic + "spins", "now", "and on"} {
				if got := exchange(t, client, server, []byte(s), 0); string(got) != s {
					t.Errorf("received %q", got)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "the failures are counted", func() bool { return b.ledger.Failures()["fuel"] == 3 })
	resp, err := client(t).Get("http://" + b.services[0].ln.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	for _, want := range []string{`reason="fuel"} 3`, `reason="panic"} 0`, `reason="framing_ambiguous"} 0`, `reason="memory"} 0`, `reason="malformed"} 0`} {
		if !strings.Contains(string(text), "weir_goproxy_decoder_failures_total{"+want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// TestR26SmugglingOnTheWire: what can be smuggled past a reader is carried as
// it came, byte for byte, in both directions; and what is in doubt is flagged,
// with nothing decoded behind it.
func TestR26SmugglingOnTheWire(t *testing.T) {
	text, err := os.ReadFile("../protocol/http1/testdata/smuggling.txt")
	if err != nil {
		t.Fatal(err)
	}
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), quiet)
	shapes, flagged := 0, 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		var verdict, name, said, answered string
		if _, err := fmt.Sscanf(line, "%s %q %q %q", &verdict, &name, &said, &answered); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		shapes++
		before := b.ledger.Failures()["framing_ambiguous"]
		client, server := connect(t, ln, b.Addr().String())
		if got := exchange(t, client, server, []byte(said), 7); string(got) != said {
			t.Errorf("%s: said %q, received %q", name, said, got)
		}
		if got := exchange(t, server, client, []byte(answered), 7); string(got) != answered {
			t.Errorf("%s: answered %q, received %q", name, answered, got)
		}
		for _, c := range []interface{ CloseWrite() error }{client, server} {
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if c, s := ending(client), ending(server); c != "FIN" || s != "FIN" {
			t.Errorf("%s: both ended with a FIN; they see %s and %s", name, c, s)
		}
		eventually(t, "the connection is over", func() bool { return b.conns.len() == 0 })
		if n := b.ledger.Failures()["framing_ambiguous"] - before; (n == 1) != (verdict == "flagged") {
			t.Errorf("%s: %d connections flagged, the shape is %s", name, n, verdict)
		}
		if verdict == "flagged" {
			flagged++
		}
	}
	if shapes < 80 {
		t.Errorf("only %d shapes", shapes)
	}
	doubtful := make(map[uint64]bool)
	eventually(t, "everything arrives", func() bool {
		l := b.ledger.Pairs()
		return l.Open == 0 && uint64(len(b.forwarder.Pairs())) == l.Seen
	})
	for _, p := range b.forwarder.Pairs() {
		if slices.Contains(p.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS) {
			doubtful[p.Conn] = true
		} else if doubtful[p.Conn] {
			t.Errorf("decoded behind what is in doubt: %v", p)
		}
	}
	if len(doubtful) != flagged {
		t.Errorf("%d connections have pairs in doubt, %d shapes are", len(doubtful), flagged)
	}
	if n := b.ledger.Faults.Load(); n != 0 {
		t.Errorf("%d faults", n)
	}
}
