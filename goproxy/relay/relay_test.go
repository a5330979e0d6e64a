package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/clock"
	"github.com/weir-capture/weir/internal/nonblock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// witness keeps what a tee handed over.
type witness struct {
	mu    sync.Mutex
	bytes [2][]byte
	ends  [2]tee.Cause
	order []tee.Direction
}

func (w *witness) event(e tee.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bytes[e.Dir] = append(w.bytes[e.Dir], e.Bytes...)
	if e.Cause != tee.Going {
		w.ends[e.Dir] = e.Cause
	} else {
		w.order = append(w.order, e.Dir)
	}
}

// proxy carries every connection to an upstream with a Relay.
type proxy struct {
	relay    *Relay
	ln       net.Listener
	wg       sync.WaitGroup
	up, down atomic.Uint64

	mu        sync.Mutex
	witnesses []*witness
}

func newProxy(t testing.TB, upstream string, onConn ...func(*Conn)) *proxy {
	t.Helper()
	p := &proxy{ln: listen(t)}
	p.relay = New(clock.New().Now, &p.up, &p.down)
	dialer := NewDialer(upstream, time.Minute, func(netip.AddrPort) error { return nil })
	p.wg.Go(func() {
		for {
			c, err := p.ln.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() {
				server, err := dialer.Dial(t.Context())
				if err != nil {
					reset(c.(*net.TCPConn))
					return
				}
				w := new(witness)
				p.mu.Lock()
				p.witnesses = append(p.witnesses, w)
				p.mu.Unlock()
				client, err := nonblock.FromConn(c.(*net.TCPConn))
				if err != nil {
					t.Error(err)
					return
				}
				conn := p.relay.Conn(client, server, tee.New(w.event, func() bool { return false }))
				for _, f := range onConn {
					f(conn)
				}
				conn.Run()
			})
		}
	})
	t.Cleanup(func() {
		_ = p.ln.Close()
		p.wg.Wait()
	})
	return p
}

// reset closes a peer's connection with a reset.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

// peer is one end of a conversation: it reads all the time and remembers.
type peer struct {
	conn *net.TCPConn
	mu   sync.Mutex
	got  []byte
	end  string // how reading ended
	done chan struct{}
}

func newPeer(c net.Conn) *peer {
	p := &peer{conn: c.(*net.TCPConn), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		buf := make([]byte, 64<<10)
		for {
			n, err := p.conn.Read(buf)
			p.mu.Lock()
			p.got = append(p.got, buf[:n]...)
			switch {
			case err == nil:
			case errors.Is(err, io.EOF):
				p.end = "FIN"
			case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
				p.end = "RST"
			case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
				p.end = "own"
			default:
				p.end = err.Error()
			}
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return p
}

func (p *peer) received() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// step is something that one end does.
type step struct {
	who  byte   // 'c' or 's'
	what string // "send", "fin", "rst", "close"
	data []byte
	// async: do not wait until the other end has received it.
	async bool
}

func send(who byte, data string) step { return step{who: who, what: "send", data: []byte(data)} }

// converse plays a conversation with the server behind addr, and returns what
// each end received and how it ended.
func converse(t *testing.T, ln net.Listener, addr string, steps []step, segment int) string {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		accepted <- c
	}()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	peers := map[byte]*peer{'c': newPeer(conn), 's': newPeer(<-accepted)}
	sent := map[byte]int{}
	for _, st := range steps {
		me, other := peers[st.who], peers['c'+'s'-st.who]
		switch st.what {
		case "send":
			for b := st.data; len(b) > 0; {
				n := len(b)
				if segment > 0 {
					n = min(n, segment)
				}
				if _, err := me.conn.Write(b[:n]); err != nil {
					t.Fatalf("%c sends: %v", st.who, err)
				}
				b = b[n:]
			}
			sent[st.who] += len(st.data)
			if !st.async {
				wait(t, "bytes arrive", func() bool { return other.received() >= sent[st.who] })
			}
		case "fin":
			if err := me.conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if !st.async {
				wait(t, "a FIN arrives", func() bool { return closed(other.done) })
			}
		case "close":
			_ = me.conn.Close()
		case "rst":
			_ = me.conn.SetLinger(0)
			_ = me.conn.Close()
		}
	}
	var out string
	for _, who := range []byte{'c', 's'} {
		p := peers[who]
		wait(t, fmt.Sprintf("%c sees the end", who), func() bool { return closed(p.done) })
		out += fmt.Sprintf("%c: %d bytes %x, %s\n", who, len(p.got), sha256.Sum256(p.got), p.end)
	}
	for _, p := range peers {
		_ = p.conn.Close()
	}
	return out
}

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !cond(); {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("not within 10 s: %s\n%s", what, buf[:runtime.Stack(buf, true)])
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// big is longer than what two sockets' buffers hold at first.
var big = func() string {
	b := make([]byte, 300<<10)
	rnd := rand.NewChaCha8([32]byte{1})
	_, _ = rnd.Read(b)
	return string(b)
}()

// TestR01TranscriptsAreTheSame plays conversations directly and through the
// proxy: what either end sees, and how it ends, must not differ.
func TestR01TranscriptsAreTheSame(t *testing.T) {
	conversations := map[string][]step{
		"request, response, client closes": {send('c', "GET / HTTP/1.1\r\n\r\n"), send('s', "HTTP/1.1 200 OK\r\n\r\n"), {who: 'c', what: "fin"}, {who: 's', what: "fin"}},
		"server speaks first":              {send('s', "220 ready\r\n"), send('c', "QUIT\r\n"), send('s', "221 bye\r\n"), {who: 's', what: "fin"}, {who: 'c', what: "fin"}},
		"client half-closes, server goes on": {
			send('c', "all of it"),
			{who: 'c', what: "fin"},
			send('s', "still "), send('s', big), send('s', "here"),
			{who: 's', what: "fin"},
		},
		"server half-closes, client goes on": {
			send('s', "all of it"),
			{who: 's', what: "fin"},
			send('c', "still "), send('c', big), send('c', "here"),
			{who: 'c', what: "fin"},
		},
		"nothing at all":                    {{who: 'c', what: "fin"}, {who: 's', what: "fin"}},
		"client resets at once":             {{who: 'c', what: "rst"}},
		"server resets at once":             {{who: 's', what: "rst"}},
		"client resets after the last byte": {send('c', "hello"), send('s', "hi"), send('c', big), {who: 'c', what: "rst"}},
		"server resets after the last byte": {send('c', "hello"), send('s', big), {who: 's', what: "rst"}},
		"server resets after a half-close":  {send('c', "hello"), {who: 'c', what: "fin"}, send('s', "part"), {who: 's', what: "rst"}},
		"client resets after a half-close":  {send('s', "hello"), {who: 's', what: "fin"}, send('c', "part"), {who: 'c', what: "rst"}},
		"a lot both ways":                   {{who: 'c', what: "send", data: []byte(big), async: true}, send('s', big), send('c', big), {who: 'c', what: "fin"}, {who: 's', what: "fin"}},
	}
	for name, steps := range conversations {
		for _, segment := range []int{1, 7, 1448, 0} {
			if segment == 1 {
				steps = shorten(steps)
			}
			t.Run(fmt.Sprintf("%s/%d", name, segment), func(t *testing.T) {
				ln := listen(t)
				direct := converse(t, ln, ln.Addr().String(), steps, segment)
				p := newProxy(t, ln.Addr().String())
				if proxied := converse(t, ln, p.ln.Addr().String(), steps, segment); proxied != direct {
					t.Errorf("direct:\n%sproxied:\n%s", direct, proxied)
				}
				_ = p.ln.Close()
				p.wg.Wait()
				checkWitness(t, p, steps)
			})
		}
	}
}

// shorten keeps segments of one byte from taking forever.
func shorten(steps []step) []step {
	short := append([]step(nil), steps...)
	for i := range short {
		short[i].data = short[i].data[:min(len(short[i].data), 1500)]
	}
	return short
}

// checkWitness compares what the tee handed over with what was sent.
func checkWitness(t *testing.T, p *proxy, steps []step) {
	t.Helper()
	var want [2][]byte
	for _, st := range steps {
		d := tee.ClientToServer
		if st.who == 's' {
			d = tee.ServerToClient
		}
		want[d] = append(want[d], st.data...)
	}
	if len(p.witnesses) == 0 && len(want[0])+len(want[1]) == 0 {
		return // the server's reset came before connect had returned
	}
	if len(p.witnesses) != 1 {
		t.Fatalf("%d connections", len(p.witnesses))
	}
	w := p.witnesses[0]
	for d := range want {
		if !bytes.Equal(w.bytes[d], want[d]) {
			t.Errorf("direction %d: the tee handed over %d bytes of %d", d, len(w.bytes[d]), len(want[d]))
		}
		if w.ends[d] == tee.Going {
			t.Errorf("direction %d: its end was not handed over", d)
		}
	}
	if p.up.Load() != uint64(len(want[0])) || p.down.Load() != uint64(len(want[1])) {
		t.Errorf("counted %d up, %d down", p.up.Load(), p.down.Load())
	}
}

func TestR04AResetSaysWhoseItWas(t *testing.T) {
	for _, c := range []struct {
		steps []step
		want  [2]tee.Cause
	}{
		{[]step{send('c', "a"), {who: 'c', what: "rst"}}, [2]tee.Cause{tee.ClientReset, tee.ClientReset}},
		{[]step{send('c', "a"), {who: 's', what: "rst"}}, [2]tee.Cause{tee.ServerReset, tee.ServerReset}},
		{[]step{send('c', "a"), {who: 'c', what: "fin"}, {who: 's', what: "rst"}}, [2]tee.Cause{tee.ClientClosed, tee.ServerReset}},
		{[]step{send('c', "a"), {who: 'c', what: "fin"}, {who: 's', what: "fin"}}, [2]tee.Cause{tee.ClientClosed, tee.ServerClosed}},
		// The client is gone for good, and the server finds out by writing.
		{[]step{send('c', "a"), {who: 'c', what: "close"}, {who: 's', what: "send", data: []byte(big), async: true}, {who: 's', what: "fin", async: true}}, [2]tee.Cause{tee.ClientClosed, tee.ClientReset}},
	} {
		ln := listen(t)
		p := newProxy(t, ln.Addr().String())
		accepted := make(chan net.Conn, 1)
		go func() { c, _ := ln.Accept(); accepted <- c }()
		conn, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peers := map[byte]*peer{'c': newPeer(conn), 's': newPeer(<-accepted)}
		for _, st := range c.steps {
			me, other := peers[st.who], peers['c'+'s'-st.who]
			switch st.what {
			case "send":
				_, _ = me.conn.Write(st.data)
				if !st.async {
					wait(t, "bytes arrive", func() bool { return other.received() == len(st.data) })
				}
			case "fin":
				_ = me.conn.CloseWrite()
				if !st.async {
					wait(t, "a FIN arrives", func() bool { return closed(other.done) })
				}
			case "close":
				_ = me.conn.Close()
				wait(t, "a FIN arrives", func() bool { return closed(other.done) })
			case "rst":
				reset(me.conn)
			}
		}
		_ = p.ln.Close()
		p.wg.Wait()
		if got := p.witnesses[0].ends; got != c.want {
			t.Errorf("%v: ends %v, want %v", c.steps, got, c.want)
		}
		for _, p := range peers {
			_ = p.conn.Close()
			<-p.done
		}
	}
}

// TestR04BytesBeforeAResetAreDelivered: also to a peer that reads late, as it
// would find them in its own receive buffer.
func TestR04BytesBeforeAResetAreDelivered(t *testing.T) {
	ln := listen(t)
	p := newProxy(t, ln.Addr().String())
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := ln.Accept(); accepted <- c }()
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	// More than a receive window at first, less than the buffers on the way.
	sent, err := server.Write([]byte(big))
	if err != nil {
		t.Fatal(err)
	}
	wait(t, "the proxy has it all", func() bool { return p.down.Load() == uint64(sent) })
	reset(server.(*net.TCPConn))
	wait(t, "the proxy saw the reset", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		w := p.witnesses[0]
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.ends[tee.ServerToClient] == tee.ServerReset
	})
	c := newPeer(conn)
	<-c.done
	if len(c.got) != sent || c.end != "RST" {
		t.Errorf("the client received %d bytes of %d, then %s", len(c.got), sent, c.end)
	}
	_ = conn.Close()
}

// TestR06ARefusedDialIsAReset: what a client sees of a server that is not there.
func TestR06ARefusedDialIsAReset(t *testing.T) {
	dead := listen(t)
	_ = dead.Close()
	p := newProxy(t, dead.Addr().String())
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if errors.Is(err, syscall.ECONNRESET) {
		return // it came before connect had returned
	}
	if err != nil {
		t.Fatal(err)
	}
	c := newPeer(conn)
	<-c.done
	if c.end != "RST" {
		t.Errorf("the client saw %s", c.end)
	}
	_ = conn.Close()
}

// TestR07ASlowReaderHoldsTheSenderBack: the proxy does not take what it cannot
// bring on.
func TestR07ASlowReaderHoldsTheSenderBack(t *testing.T) {
	ln := listen(t)
	p := newProxy(t, ln.Addr().String())
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := ln.Accept(); accepted <- c }()
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	chunk := make([]byte, 64<<10)
	var sent int
	for {
		_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := conn.Write(chunk)
		sent += n
		if err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("the proxy takes without end")
		}
	}
	// It all arrives when the server reads at last.
	_ = conn.(*net.TCPConn).CloseWrite()
	n, err := io.Copy(io.Discard, server)
	if err != nil || n != int64(sent) {
		t.Errorf("%d of %d bytes arrived: %v", n, sent, err)
	}
	_ = server.Close()
	_ = conn.Close()
}

// TestR10NoByteCrossesConnections churns connections under load. Every byte that
// either end receives must be of its own conversation. (A pump that writes to a
// number that it took earlier, in a relay that closes one side of a connection
// while the other direction still runs, fails here; one that holds the
// descriptor does not.)
func TestR10NoByteCrossesConnections(t *testing.T) {
	ln := listen(t)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // echo; resets are part of the game
			})
		}
	})
	t.Cleanup(serving.Wait)
	p := newProxy(t, ln.Addr().String())
	var ids atomic.Uint64
	var wg sync.WaitGroup
	const clients, rounds = 16, 60
	for w := range clients {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(w), 7))
			for range rounds {
				churn(t, p.ln.Addr().String(), ids.Add(1), rnd)
			}
		})
	}
	wg.Wait()
	_ = p.ln.Close()
	p.wg.Wait()
	_ = ln.Close()
	if len(p.witnesses) != clients*rounds {
		t.Errorf("%d connections, want %d", len(p.witnesses), clients*rounds)
	}
	for _, w := range p.witnesses {
		for d := range w.bytes {
			if !oneConversation(w.bytes[d]) {
				t.Fatal("the tee mixed conversations")
			}
		}
		if !bytes.HasPrefix(w.bytes[0], w.bytes[1]) {
			t.Fatal("the tee saw an echo of what was not sent")
		}
	}
}

// churn is one short connection, which ends in one of several ways.
func churn(t *testing.T, addr string, id uint64, rnd *rand.Rand) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	record := binary.BigEndian.AppendUint64(nil, id)
	for range 1 + rnd.IntN(8) {
		msg := bytes.Repeat(record, 1+rnd.IntN(4000))
		if rnd.IntN(8) == 0 {
			_, _ = conn.Write(msg)
			_ = conn.(*net.TCPConn).SetLinger(0)
			return // reset with bytes in flight
		}
		write := make(chan struct{})
		go func() { defer close(write); _, _ = conn.Write(msg) }()
		got := make([]byte, len(msg))
		_, err := io.ReadFull(conn, got)
		<-write
		if err != nil {
			t.Errorf("connection %d: %v", id, err)
			return
		}
		if !bytes.Equal(got, msg) {
			t.Errorf("connection %d received bytes of another", id)
			return
		}
	}
}

func oneConversation(b []byte) bool {
	if len(b) < 8 {
		return true
	}
	for i := range b {
		if b[i] != b[i%8] {
			return false
		}
	}
	return true
}

func TestR31CutEndsAConnectionThatIsIdle(t *testing.T) {
	ln := listen(t)
	conns := make(chan *Conn, 1)
	p := newProxy(t, ln.Addr().String(), func(c *Conn) { conns <- c })
	accepted := make(chan net.Conn, 1)
	go func() { c, _ := ln.Accept(); accepted <- c }()
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, s := newPeer(conn), newPeer(<-accepted)
	(<-conns).Cut()
	<-c.done
	<-s.done
	if c.end != "RST" || s.end != "RST" {
		t.Errorf("the client saw %s, the server %s", c.end, s.end)
	}
	_, _ = conn.Close(), s.conn.Close()
	_ = p.ln.Close()
	p.wg.Wait()
	if got := p.witnesses[0].ends; got != [2]tee.Cause{tee.Cut, tee.Cut} {
		t.Errorf("ends %v", got)
	}
}

// TestR03AHalfClosedPeerThatIsResetEndsTheConnection: the server is silent, and
// nobody reads from the client any more.
func TestR03AHalfClosedPeerThatIsResetEndsTheConnection(t *testing.T) {
	for _, who := range []byte{'c', 's'} {
		ln := listen(t)
		p := newProxy(t, ln.Addr().String())
		accepted := make(chan net.Conn, 1)
		go func() { c, _ := ln.Accept(); accepted <- c }()
		conn, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peers := map[byte]*peer{'c': newPeer(conn), 's': newPeer(<-accepted)}
		me, other := peers[who], peers['c'+'s'-who]
		if err := me.conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		<-other.done // it sees the FIN
		reset(me.conn)
		_ = p.ln.Close()
		p.wg.Wait() // the proxy is done with the connection
		// The other side learns of the reset by the next thing that it does.
		if _, err := other.conn.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("%c was reset; the other side's write says %v", who, err)
		}
		for _, p := range peers {
			_ = p.conn.Close()
			<-p.done
		}
	}
}

// TestR05AnAnswerBeforeTheRequestWasWritten: a server that has seen enough answers
// a large request, and goes, while the rest of it waits to be written. What was
// handed over because of the answer is not handed over again.
func TestR05AnAnswerBeforeTheRequestWasWritten(t *testing.T) {
	const answer = "enough"
	up := listen(t)
	stalled := make(chan *net.TCPConn)
	go func() {
		for {
			c, err := up.Accept()
			if err != nil {
				return
			}
			stalled <- c.(*net.TCPConn)
		}
	}()
	p := newProxy(t, up.Addr().String())
	for i := range 8 { // how much of a chunk fits the last time is up to the kernel
		client, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			b := make([]byte, smallBuf-100*i)
			for {
				if _, err := client.Write(b); err != nil {
					return
				}
			}
		}()
		server := <-stalled
		carried := p.up.Load()
		wait(t, "the request to stall", func() bool {
			before := carried
			time.Sleep(20 * time.Millisecond)
			carried = p.up.Load()
			return carried == before && carried > 0
		})
		if _, err := server.Write([]byte(answer)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(client, make([]byte, len(answer))); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		w := p.witnesses[i]
		p.mu.Unlock()
		wait(t, "the answer to be handed over", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.bytes[tee.ServerToClient]) == len(answer)
		})
		reset(server)
		wait(t, "the end", func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.ends[tee.ClientToServer] == tee.ServerReset
		})
		_ = client.Close()
	}
}

// TestR01BothCloseAtOnce: two FINs that cross are two FINs; none of them is
// taken for the reset of a connection that the kernel has just closed.
func TestR01BothCloseAtOnce(t *testing.T) {
	ln := listen(t)
	p := newProxy(t, ln.Addr().String())
	for i := range 500 {
		conn, err := net.Dial("tcp", p.ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		server, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c, s := newPeer(conn), newPeer(server)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		wait(t, "bytes arrive", func() bool { return s.received() == 1 })
		if err := errors.Join(conn.(*net.TCPConn).CloseWrite(), server.(*net.TCPConn).CloseWrite()); err != nil {
			t.Fatal(err)
		}
		<-c.done
		<-s.done
		if c.end != "FIN" || s.end != "FIN" {
			t.Fatalf("connection %d: the client saw %s, the server %s", i, c.end, s.end)
		}
		_, _ = conn.Close(), server.Close()
	}
}
