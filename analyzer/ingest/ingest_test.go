package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// held is a store that can be made to wait or fail.
type held struct {
	*memstore.Store

	mu     sync.Mutex
	fail   error
	hold   chan struct{} // Append waits for it before it does anything
	groups [][]uint64    // offsets of each call
	inside chan struct{} // gets a value when Append begins
}

func (h *held) Append(ctx context.Context, spool store.ID, frames []*capturev1.Frame) error {
	var offsets []uint64
	for _, f := range frames {
		offsets = append(offsets, f.GetOffset())
	}
	h.mu.Lock()
	h.groups = append(h.groups, offsets)
	fail, hold := h.fail, h.hold
	h.mu.Unlock()
	select {
	case h.inside <- struct{}{}:
	default:
	}
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	return h.Store.Append(ctx, spool, frames)
}

func (h *held) set(fail error, hold chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail, h.hold = fail, hold
}

type fixture struct {
	store  *held
	dir    *Directory
	server *Server
	addr   string
	stop   func()
}

func serve(t *testing.T, cfg Config) *fixture {
	t.Helper()
	f := &fixture{
		store: &held{Store: memstore.New(func() int64 { return time.Now().UnixNano() }), inside: make(chan struct{}, 1)},
		dir:   NewDirectory(),
	}
	f.server = New(cfg, f.store, f.dir, slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f.server.Serve(ctx, ln); err != nil {
			t.Error(err)
		}
	}()
	f.stop = func() { cancel(); <-done }
	t.Cleanup(f.stop)
	return f
}

type client struct {
	t *testing.T
	grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse]
}

// dial opens a stream, and says nothing yet.
func dial(t *testing.T, f *fixture) *client {
	t.Helper()
	conn, err := grpc.NewClient(f.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	g, err := capturev1.NewIngestServiceClient(conn).Export(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, g}
}

func (c *client) hello(h *capturev1.Hello) {
	c.t.Helper()
	if err := c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Hello{Hello: h}}); err != nil {
		c.t.Fatal(err)
	}
}

func hello(f *storetest.Forwarder) *capturev1.Hello {
	return &capturev1.Hello{SpoolId: f.Spool[:], NextOffset: 1 << 40, ForwarderId: "forwarder-1", Cluster: "c", Version: "v1"}
}

func (c *client) have() uint64 {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	if r.GetHave() == nil {
		c.t.Fatalf("got %v", r)
	}
	return r.GetHave().GetNextOffset()
}

func (c *client) ack() uint64 {
	c.t.Helper()
	r, err := c.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	if r.GetStored() == nil {
		c.t.Fatalf("got %v", r)
	}
	return r.GetStored().GetNextOffset()
}

func (c *client) frames(frames ...*capturev1.Frame) {
	c.t.Helper()
	for _, fr := range frames {
		if err := c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: fr}}); err != nil {
			c.t.Fatal(err)
		}
	}
}

// code is how the stream ends.
func (c *client) code() codes.Code {
	c.t.Helper()
	for {
		if _, err := c.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				return codes.OK
			}
			return status.Code(err)
		}
	}
}

func numbers(t *testing.T, f *fixture) []uint64 {
	t.Helper()
	n := storetest.Numbers(storetest.All(t, f.store, store.List{}))
	slices.Sort(n)
	return n
}

func TestStoredThenAcknowledged(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	c.hello(hello(fw))
	if have := c.have(); have != 0 {
		t.Errorf("have %d", have)
	}
	for n := range uint64(5) {
		c.frames(fw.Frame(storetest.Pairs(n*2, n*2+2)...))
		if ack := c.ack(); ack != fw.Offset {
			t.Fatalf("ack %d, want %d", ack, fw.Offset)
		}
		if got := numbers(t, f); len(got) != int(n+1)*2 {
			t.Fatalf("acknowledged, and %d pairs there", len(got))
		}
	}
	// The forwarder has no more: everything is acknowledged, then it ends.
	last := fw.Frame(storetest.Pairs(10, 12)...)
	c.frames(last)
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if ack := c.ack(); ack != fw.Offset {
		t.Errorf("ack %d, want %d", ack, fw.Offset)
	}
	if code := c.code(); code != codes.OK {
		t.Errorf("ended with %v", code)
	}
	if s := f.server.Counters(); s.Frames != 6 || s.Refused != 0 {
		t.Errorf("counters %+v", s)
	}
}

// An acknowledgement that is lost makes everything come again: once is enough.
func TestLostAcknowledgement(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	var sent []*capturev1.Frame
	for n := range uint64(4) {
		sent = append(sent, fw.Frame(storetest.Pairs(n*3, n*3+3)...))
	}
	// Three frames are stored; the stream breaks before anybody reads it.
	hold := make(chan struct{})
	f.store.set(nil, hold)
	c := dial(t, f)
	c.hello(hello(fw))
	c.have()
	c.frames(sent[:3]...)
	<-f.store.inside
	close(hold)
	f.store.set(nil, nil)
	for f.store.Have(fw.Spool).Next < sent[2].GetNextOffset() {
		time.Sleep(time.Millisecond)
	}
	// A forwarder that goes by the answer, and one that sends all again.
	c = dial(t, f)
	c.hello(hello(fw))
	if have := c.have(); have != sent[2].GetNextOffset() {
		t.Errorf("have %d, want %d", have, sent[2].GetNextOffset())
	}
	c.frames(sent[3])
	c.ack()
	if got := numbers(t, f); len(got) != 12 || len(slices.Compact(got)) != 12 {
		t.Errorf("got %v", got)
	}
	c.frames(sent[0])
	if code := c.code(); code != codes.InvalidArgument {
		t.Errorf("a frame from before: %v", code)
	}
}

// While the store waits, no more is taken than the buffer holds; then what has
// gathered is stored in one go.
func TestFullStorePushesBack(t *testing.T) {
	f := serve(t, Config{Buffer: 20_000})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	hold := make(chan struct{})
	f.store.set(nil, hold)
	c := dial(t, f)
	c.hello(hello(fw))
	c.have()
	const count = 400
	body := make([]byte, 4000)
	var sent []*capturev1.Frame
	for range count {
		sent = append(sent, fw.Put(nil, body))
	}
	go func() {
		for _, fr := range sent {
			if c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: fr}}) != nil {
				return
			}
		}
	}()
	<-f.store.inside
	// It stops taking frames, long before all of them.
	var last uint64
	for stable := 0; stable < 20; time.Sleep(5 * time.Millisecond) {
		if n := f.server.Counters().Frames; n == last {
			stable++
		} else {
			last, stable = n, 0
		}
	}
	if last > 20 {
		t.Errorf("took %d frames of 4000 bytes into a buffer of 20000", last)
	}
	close(hold)
	for c.ack() < fw.Offset {
	}
	f.store.mu.Lock()
	defer f.store.mu.Unlock()
	if len(f.store.groups) >= count {
		t.Errorf("%d calls for %d frames", len(f.store.groups), count)
	}
}

func TestStoreFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{fmt.Errorf("append: %w", store.ErrFull), codes.ResourceExhausted},
		{errors.New("secret path"), codes.Unavailable},
	} {
		f := serve(t, Config{})
		f.store.set(c.err, nil)
		fw := storetest.NewForwarder(1, storetest.NewProxy(1))
		cl := dial(t, f)
		cl.hello(hello(fw))
		cl.have()
		cl.frames(fw.Frame(storetest.Pairs(0, 2)...))
		_, err := cl.Recv()
		if status.Code(err) != c.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: got %v", c.err, err)
		}
		// When it works again, so does everything.
		f.store.set(nil, nil)
		fw.Offset = 0
		cl = dial(t, f)
		cl.hello(hello(fw))
		if have := cl.have(); have != 0 {
			t.Errorf("have %d", have)
		}
		cl.frames(fw.Frame(storetest.Pairs(0, 2)...))
		cl.ack()
	}
}

func TestRefused(t *testing.T) {
	f := serve(t, Config{HelloTimeout: 300 * time.Millisecond})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	good := dial(t, f)
	good.hello(hello(fw))
	good.have()
	good.frames(fw.Frame(storetest.Pairs(0, 5)...))
	good.ack()
	for _, c := range []struct {
		name string
		want codes.Code
		do   func(*client)
	}{
		{"nothing", codes.DeadlineExceeded, func(*client) {}},
		{"frame first", codes.InvalidArgument, func(c *client) { c.frames(&capturev1.Frame{NextOffset: 1}) }},
		{"short spool id", codes.InvalidArgument, func(c *client) { c.hello(&capturev1.Hello{SpoolId: []byte("short"), ForwarderId: "f"}) }},
		{"no name", codes.InvalidArgument, func(c *client) { c.hello(&capturev1.Hello{SpoolId: make([]byte, 16)}) }},
		{"upside down", codes.InvalidArgument, func(c *client) {
			c.hello(&capturev1.Hello{SpoolId: make([]byte, 16), ForwarderId: "f", OldestOffset: 9, NextOffset: 8})
		}},
		{"unknown kind", codes.InvalidArgument, func(c *client) {
			c.hello(&capturev1.Hello{SpoolId: make([]byte, 16), ForwarderId: "f"})
			if err := c.Send(&capturev1.ExportRequest{}); err != nil {
				c.t.Error(err)
			}
		}},
		{"offset that does not grow", codes.InvalidArgument, func(c *client) {
			c.hello(&capturev1.Hello{SpoolId: make([]byte, 16), ForwarderId: "f"})
			c.frames(&capturev1.Frame{Offset: 5, NextOffset: 5})
		}},
	} {
		cl := dial(t, f)
		c.do(cl)
		if code := cl.code(); code != c.want {
			t.Errorf("%s: %v, want %v", c.name, code, c.want)
		}
	}
	if got := numbers(t, f); len(got) != 5 {
		t.Errorf("got %v", got)
	}
}

func TestTooMany(t *testing.T) {
	f := serve(t, Config{Streams: 2, MaxMessage: 64 << 10})
	for n := range byte(2) {
		c := dial(t, f)
		c.hello(hello(storetest.NewForwarder(n, storetest.NewProxy(1))))
		c.have()
		if n == 0 {
			big := &capturev1.Frame{NextOffset: 9, Body: make([]byte, 70<<10)}
			_ = c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: big}})
			if code := c.code(); code != codes.ResourceExhausted {
				t.Errorf("message over the limit: %v", code)
			}
			for f.server.Counters().Streams > 0 {
				time.Sleep(time.Millisecond)
			}
			c = dial(t, f)
			c.hello(hello(storetest.NewForwarder(n, storetest.NewProxy(1))))
			c.have()
		}
	}
	if code := dial(t, f).code(); code != codes.ResourceExhausted {
		t.Errorf("a third stream: %v", code)
	}
	if n := f.server.Counters().Refused; n != 1 {
		t.Errorf("refused %d", n)
	}
}

// A spool that ends before what is here of it goes on above that.
func TestOldCopyOfASpool(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	c.hello(hello(fw))
	c.have()
	c.frames(fw.Frame(storetest.Pairs(0, 5)...))
	next := c.ack()
	c = dial(t, f)
	h := hello(fw)
	h.NextOffset = 10
	c.hello(h)
	if have := c.have(); have != next {
		t.Errorf("have %d, want %d", have, next)
	}
	c.frames(fw.Frame(storetest.Pairs(5, 6)...))
	c.ack()
	if got := numbers(t, f); len(got) != 6 {
		t.Errorf("got %v", got)
	}
}

// A spool's second stream ends its first, which has stored what it was storing
// by the time that the second is told what is there.
func TestSecondStreamOfASpool(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	hold := make(chan struct{})
	f.store.set(nil, hold)
	first := dial(t, f)
	first.hello(hello(fw))
	first.have()
	first.frames(fw.Frame(storetest.Pairs(0, 3)...))
	<-f.store.inside
	f.store.set(nil, nil)
	second := dial(t, f)
	second.hello(hello(fw))
	have := second.have()
	if code := first.code(); code != codes.Aborted {
		t.Errorf("the first ended with %v", code)
	}
	if have != 0 {
		// It was waiting, and had stored nothing.
		t.Errorf("have %d", have)
	}
	fw.Offset = 0
	fw2 := storetest.NewForwarder(1, storetest.NewProxy(1))
	second.frames(fw2.Frame(storetest.Pairs(0, 3)...))
	second.ack()
	if got := numbers(t, f); len(got) != 3 {
		t.Errorf("got %v", got)
	}
}

func TestDirectory(t *testing.T) {
	f := serve(t, Config{})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	h := hello(fw)
	h.OldestOffset = 500 // what was below is gone on both sides
	c.hello(h)
	c.have()
	list := f.dir.List()
	if len(list) != 1 || !list[0].Connected || list[0].Status.GetForwarderId() != "forwarder-1" || list[0].Status.GetCluster() != "c" || list[0].Gaps != 1 || list[0].Peer == "" {
		t.Errorf("got %+v", list)
	}
	st := &capturev1.ForwarderStatus{ForwarderId: "somebody else", Cluster: "c2", Proxies: make([]*capturev1.ProxyStatus, maxProxies+3)}
	for i := range st.Proxies {
		st.Proxies[i] = &capturev1.ProxyStatus{}
	}
	if err := c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Status{Status: st}}); err != nil {
		t.Fatal(err)
	}
	fw.Offset = 500
	c.frames(fw.Frame(storetest.Pairs(0, 1)...))
	c.ack()
	list = f.dir.List()
	if len(list) != 1 || list[0].Status.GetCluster() != "c2" || list[0].Status.GetForwarderId() != "forwarder-1" ||
		len(list[0].Status.GetProxies()) != maxProxies || list[0].Status.GetProxiesOmitted() != 3 {
		t.Errorf("got %d entries, %v", len(list), list[0].Status.GetProxiesOmitted())
	}
	if err := c.CloseSend(); err != nil {
		t.Fatal(err)
	}
	c.code()
	for f.dir.List()[0].Connected {
		time.Sleep(time.Millisecond)
	}
}

func TestDirectoryIsBounded(t *testing.T) {
	d := NewDirectory()
	now := time.Unix(1000, 0)
	connected := d.connect(&capturev1.Hello{ForwarderId: "stays"}, "", false, now)
	defer connected()
	for n := range maxForwarders + 50 {
		d.connect(&capturev1.Hello{ForwarderId: fmt.Sprint(n)}, "", false, now.Add(time.Duration(n)*time.Second))()
	}
	list := d.List()
	if len(list) != maxForwarders || !slices.ContainsFunc(list, func(f Forwarder) bool { return f.Status.GetForwarderId() == "stays" }) {
		t.Errorf("%d entries", len(list))
	}
}

// Told to stop, it acknowledges what it has stored and ends every stream.
func TestStop(t *testing.T) {
	f := serve(t, Config{StopTimeout: 10 * time.Second})
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	c := dial(t, f)
	c.hello(hello(fw))
	c.have()
	c.frames(fw.Frame(storetest.Pairs(0, 3)...))
	c.ack()
	started := time.Now()
	f.stop()
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	if code := c.code(); code != codes.Unavailable {
		t.Errorf("ended with %v", code)
	}
}
