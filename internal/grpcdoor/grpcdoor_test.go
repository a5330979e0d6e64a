package grpcdoor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/lograte"
)

const (
	good  = "good-token-0123456789"
	other = "other-token-0123456789"
)

// service echoes hellos' forwarder ids until it is told to leave.
type service struct {
	capturev1.UnimplementedIngestServiceServer
	entered atomic.Int64
}

func (s *service) Export(g grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) error {
	s.entered.Add(1)
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	guest := From(ctx)
	leave, err := guest.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	go func() {
		if err := guest.Watch(ctx, nil); err != nil {
			cancel(err)
		}
	}()
	got := make(chan error)
	go func() {
		for {
			req, err := g.Recv()
			if err == nil {
				err = guest.Take(ctx, len(req.GetFrame().GetBody())+1)
			}
			if err == nil {
				err = g.Send(&capturev1.ExportResponse{})
			}
			select {
			case got <- err:
			case <-ctx.Done():
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case err := <-got:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

type rig struct {
	t    *testing.T
	door *Door
	svc  service
	addr string
	log  bytes.Buffer

	mu      sync.Mutex
	revoked bool
	broken  error
}

func open(t *testing.T, set Settings) *rig {
	t.Helper()
	r := &rig{t: t}
	set.Methods = []string{capturev1.IngestService_Export_FullMethodName}
	set.Token = func(_ context.Context, token string) (Identity, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		switch {
		case r.broken != nil:
			return Identity{}, r.broken
		case token == good && !r.revoked:
			return Identity{ID: "1", Name: "one"}, nil
		case token == other:
			return Identity{ID: "2", Name: "two"}, nil
		}
		return Identity{}, ErrDenied
	}
	set.Repeated = lograte.New(slog.New(slog.NewTextHandler(&r.log, nil)), time.Hour)
	r.door = New(set)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = ln.Addr().String()
	s := grpc.NewServer(r.door.Option(), grpc.MaxConcurrentStreams(16))
	capturev1.RegisterIngestServiceServer(s, &r.svc)
	done := make(chan error, 1)
	go func() { done <- s.Serve(r.door.Listen(ln)) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return r
}

func (r *rig) revoke(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revoked = yes
}

func (r *rig) dial() *grpc.ClientConn {
	r.t.Helper()
	cc, err := grpc.NewClient("passthrough:///"+r.addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDisableRetry())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = cc.Close() })
	return cc
}

func with(auth ...string) context.Context {
	ctx := context.Background()
	for _, a := range auth {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", a)
	}
	return ctx
}

// stream opens one, and says what comes of a word on it.
func (r *rig) stream(cc *grpc.ClientConn, auth ...string) (grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse], error) {
	ctx, cancel := context.WithTimeout(with(auth...), 20*time.Second)
	r.t.Cleanup(cancel)
	st, err := capturev1.NewIngestServiceClient(cc).Export(ctx)
	if err != nil {
		return nil, err
	}
	_ = st.Send(&capturev1.ExportRequest{})
	_, err = st.Recv()
	return st, err
}

func (r *rig) poll(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("no %s; refused %v", what, r.door.Refused())
		}
	}
}

// TestS05WhoGetsIn: everybody else hears one word, whatever they ask for.
func TestS05WhoGetsIn(t *testing.T) {
	r := open(t, Settings{})
	cc := r.dial()
	if _, err := r.stream(cc, "Bearer "+good); err != nil {
		t.Fatal(err)
	}
	if _, err := r.stream(cc, "bearer  "+other); err != nil {
		t.Fatal(err)
	}
	for name, auth := range map[string][]string{
		"nothing":        nil,
		"empty":          {""},
		"no token":       {"Bearer "},
		"no scheme":      {good},
		"another scheme": {"Basic " + good},
		"wrong":          {"Bearer " + good + "x"},
		"part":           {"Bearer " + good[:5]},
		"two":            {"Bearer " + good, "Bearer " + good},
		"long":           {"Bearer " + strings.Repeat("x", 4096)},
	} {
		for _, method := range []string{
			capturev1.IngestService_Export_FullMethodName,
			"/weir.capture.v1.IngestService/Nothing",
			"/weir.capture.v1.ProxyService/Push",
			"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
			"/grpc.health.v1.Health/Check",
			"/", "//", "/x",
		} {
			err := r.dial().Invoke(with(auth...), method, &capturev1.Ack{}, &capturev1.Ack{})
			if status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != "unauthenticated" {
				t.Errorf("%s, %s: %v", name, method, err)
			}
		}
	}
	for _, method := range []string{
		"/weir.capture.v1.IngestService/Nothing", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/grpc.health.v1.Health/Check",
		"/weir.capture.v1.IngestService/export", "/weir.capture.v1.IngestService/Export/", "//weir.capture.v1.IngestService/Export",
	} {
		err := r.dial().Invoke(with("Bearer "+good), method, &capturev1.Ack{}, &capturev1.Ack{})
		if status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "permission denied" {
			t.Errorf("%s with a token: %v", method, err)
		}
	}
	if n := r.svc.entered.Load(); n != 2 {
		t.Errorf("%d streams got in", n)
	}
	if strings.Contains(r.log.String(), good[:8]) {
		t.Error("the log shows a token")
	}
	// Who cannot be looked up does not get in either.
	r.mu.Lock()
	r.broken = errors.New("no database at 10.1.2.3")
	r.mu.Unlock()
	if _, err := r.stream(r.dial(), "Bearer "+good); status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "10.1") {
		t.Error(err)
	}
}

func TestAnonymous(t *testing.T) {
	r := open(t, Settings{Anonymous: func(a netip.Addr) bool { return a.IsLoopback() }})
	if _, err := r.stream(r.dial()); err != nil {
		t.Error(err)
	}
	// A token that is wrong is not made up for by where it comes from.
	if _, err := r.stream(r.dial(), "Bearer wrong"); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
	closed := open(t, Settings{Anonymous: func(netip.Addr) bool { return false }})
	if _, err := closed.stream(closed.dial()); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
}

// TestS05Revoked: a stream that is open ends soon after its token was revoked,
// and at once where somebody says so.
func TestS05Revoked(t *testing.T) {
	for _, told := range []bool{false, true} {
		set := Settings{Recheck: 10 * time.Millisecond}
		if told {
			set.Recheck = time.Hour
		}
		r := open(t, set)
		mine, err := r.stream(r.dial(), "Bearer "+good)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := r.stream(r.dial(), "Bearer "+other)
		if err != nil {
			t.Fatal(err)
		}
		r.revoke(true)
		if told {
			r.door.Recheck()
		}
		if _, err := mine.Recv(); status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != "unauthenticated" {
			t.Errorf("told %v: %v", told, err)
		}
		_ = theirs.Send(&capturev1.ExportRequest{})
		if _, err := theirs.Recv(); err != nil {
			t.Errorf("told %v, the other: %v", told, err)
		}
	}
	if d := New(Settings{}).set.Recheck; d > 30*time.Second {
		t.Errorf("by itself it asks each %v", d)
	}
}

// raw is a connection that speaks HTTP/2 as it likes.
type raw struct {
	t    *testing.T
	conn net.Conn
	fr   *http2.Framer
}

func (r *rig) raw() *raw {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		r.t.Fatal(err)
	}
	w := &raw{t: r.t, conn: c, fr: http2.NewFramer(c, c)}
	w.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := w.fr.WriteSettings(); err != nil {
		r.t.Fatal(err)
	}
	return w
}

func headers(path string, more ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	pairs := append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "x", "content-type", "application/grpc", "te", "trailers"}, more...)
	for i := 0; i < len(pairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return b.Bytes()
}

// status is the grpc-status of the first answer; empty where the connection or
// the stream was ended without one.
func (w *raw) status() string {
	for {
		f, err := w.fr.ReadFrame()
		if err != nil {
			return ""
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = w.fr.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				if h.Name == "grpc-status" {
					return h.Value
				}
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return ""
		}
	}
}

// TestS05Paths: a name of a method that is none gets nobody past the door. In
// 2026 a path without its slash went past the rules of other servers.
func TestS05Paths(t *testing.T) {
	r := open(t, Settings{})
	name := capturev1.IngestService_Export_FullMethodName
	for _, path := range []string{
		name[1:], name, "/" + name, name + "/", name + "?x", strings.ToUpper(name), "", "*", "http://x" + name, "/\x00" + name, name + "\x00",
		"/weir.capture.v1.IngestService", "weir.capture.v1.IngestService", "/../weir.capture.v1.IngestService/Export", strings.Repeat("/x", 3000),
	} {
		for _, more := range [][]string{nil, {"authorization", "Bearer wrong"}} {
			w := r.raw()
			if err := w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(path, more...), EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			if got := w.status(); got != fmt.Sprint(int(codes.Unauthenticated)) && got != "" && got != fmt.Sprint(int(codes.Unimplemented)) {
				t.Errorf("%q %v: status %s", path, more, got)
			}
		}
	}
	w := r.raw()
	if err := w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers(name[1:], "authorization", "Bearer "+good), EndHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if got := w.status(); got == "0" {
		t.Error("a path without its slash, with a token, was served")
	}
	if n := r.svc.entered.Load(); n != 0 {
		t.Errorf("%d streams got in", n)
	}
}

// TestS06RapidReset: streams that are opened and reset as fast as can be end
// the connection, and others are served meanwhile.
func TestS06RapidReset(t *testing.T) {
	for name, auth := range map[string][]string{"a stranger": nil, "one who is let in": {"authorization", "Bearer " + good}} {
		t.Run(name, func(t *testing.T) {
			r := open(t, Settings{})
			honest, err := r.stream(r.dial(), "Bearer "+other)
			if err != nil {
				t.Fatal(err)
			}
			w := r.raw()
			go func() { _, _ = io.Copy(io.Discard, w.conn) }()
			block := headers(capturev1.IngestService_Export_FullMethodName, auth...)
			var cut error
			for id := uint32(1); id < 100_000 && cut == nil; id += 2 {
				cut = w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
				if cut == nil {
					cut = w.fr.WriteRSTStream(id, http2.ErrCodeCancel)
				}
			}
			if cut == nil {
				t.Error("50,000 streams were opened and reset on one connection")
			}
			if n := r.svc.entered.Load(); n > 1+streamBurst+100 {
				t.Errorf("%d streams got in", n)
			}
			_ = honest.Send(&capturev1.ExportRequest{})
			if _, err := honest.Recv(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestS06Crowd: strangers who say nothing keep nobody out.
func TestS06Crowd(t *testing.T) {
	r := open(t, Settings{Conns: 40, PerAddress: 40, Unproven: 30, ProveTime: 300 * time.Millisecond})
	first, err := r.stream(r.dial(), "Bearer "+good)
	if err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for range 100 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		silent = append(silent, c)
	}
	r.poll("refusal", func() bool { return r.door.Refused()[string(Connections)] >= 70 })
	r.poll("end of the silent", func() bool { return r.door.Refused()[string(Silent)] == 30 })
	for _, c := range silent {
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		// gRPC says its settings first; after that there is nothing.
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatal(err)
		}
	}
	if _, err := r.stream(r.dial(), "Bearer "+other); err != nil {
		t.Error(err)
	}
	_ = first.Send(&capturev1.ExportRequest{})
	if _, err := first.Recv(); err != nil {
		t.Error(err)
	}
	r.door.mu.Lock()
	open, waiting := r.door.conns.open, r.door.conns.waiting.Len()
	r.door.mu.Unlock()
	if open != 2 || waiting != 0 {
		t.Errorf("%d connections are counted, %d unproven", open, waiting)
	}
}

// TestS06FullHouse: where all connections are taken, one that has shown nothing
// makes room.
func TestS06FullHouse(t *testing.T) {
	r := open(t, Settings{Conns: 4, PerAddress: 10, Unproven: 10, ProveTime: time.Hour})
	for range 4 {
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if _, err := r.stream(r.dial(), "Bearer "+good); err != nil {
		t.Error(err)
	}
}

// TestS06ManyStreams: one connection holds a few streams, whatever it asks for.
func TestS06ManyStreams(t *testing.T) {
	r := open(t, Settings{Streams: 8})
	cc := r.dial()
	for i := range 8 {
		if _, err := r.stream(cc, "Bearer "+good); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if _, err := r.stream(r.dial(), "Bearer "+good); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one more: %v", err)
	}
	if _, err := r.stream(r.dial(), "Bearer "+other); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	w := r.raw()
	go func() { _, _ = io.Copy(io.Discard, w.conn) }()
	block := headers(capturev1.IngestService_Export_FullMethodName, "authorization", "Bearer "+good)
	var cut error
	for id := uint32(1); id < 20_000 && cut == nil; id += 2 {
		cut = w.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
	}
	if n := r.svc.entered.Load(); n > 30+16 {
		t.Errorf("%d streams got in", n)
	}
}

// TestS06Rate: one identity waits, another does not.
func TestS06Rate(t *testing.T) {
	r := open(t, Settings{Rate: 100})
	r.door.parties.burst = 1000
	fast, err := r.stream(r.dial(), "Bearer "+good)
	if err != nil {
		t.Fatal(err)
	}
	_ = fast.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: &capturev1.Frame{Body: make([]byte, 900)}}})
	if _, err := fast.Recv(); err != nil {
		t.Fatal(err)
	}
	_ = fast.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Frame{Frame: &capturev1.Frame{Body: make([]byte, 900)}}})
	answered := make(chan struct{})
	go func() { _, _ = fast.Recv(); close(answered) }()
	for range 3 {
		if _, err := r.stream(r.dial(), "Bearer "+other); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-answered:
		t.Error("what was above the rate was taken at once")
	default:
	}
}

// FuzzFrames: no bytes of a stranger's get in, or end the server.
func FuzzFrames(f *testing.F) {
	f.Add(uint8(1), uint8(4), uint32(1), headers("/x"))
	f.Add(uint8(0), uint8(1), uint32(1), []byte("data"))
	f.Add(uint8(9), uint8(0), uint32(1), binary.BigEndian.AppendUint32(nil, 7))
	f.Add(uint8(1), uint8(5), uint32(3), headers("x", "authorization", "Bearer x"))
	var r *rig
	f.Fuzz(func(t *testing.T, kind, flags uint8, stream uint32, payload []byte) {
		if r == nil {
			r = open(t, Settings{})
		}
		r.t = t
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Skip("the listener of an earlier input is gone")
		}
		defer c.Close()
		_, _ = io.WriteString(c, http2.ClientPreface)
		fr := http2.NewFramer(c, c)
		_ = fr.WriteSettings()
		_ = fr.WriteRawFrame(http2.FrameType(kind), http2.Flags(flags), stream, payload)
		_ = c.(*net.TCPConn).CloseWrite()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		_, _ = io.Copy(io.Discard, c)
		if n := r.svc.entered.Load(); n != 0 {
			t.Errorf("%d streams got in", n)
		}
		r = nil // it ends with t
	})
}
