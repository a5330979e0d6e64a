package ingest

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/internal/tlsfiles"
	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
)

// keys are tokens by themselves, and the spools of each.
type keys struct {
	mu     sync.Mutex
	valid  map[string]bool
	spools map[store.ID]string
}

func newKeys(tokens ...string) *keys {
	k := &keys{valid: map[string]bool{}, spools: map[store.ID]string{}}
	for _, t := range tokens {
		k.valid[t] = true
	}
	return k
}

func (k *keys) revoke(token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.valid, token)
}

func (k *keys) authenticate(_ context.Context, token string) (Identity, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.valid[token] {
		return Identity{}, ErrDenied
	}
	return Identity{ID: token, Name: token}, nil
}

func (k *keys) bind(_ context.Context, spool store.ID, key string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if owner, bound := k.spools[spool]; bound && owner != key {
		return ErrDenied
	}
	if key != "" {
		k.spools[spool] = key
	}
	return nil
}

// as opens a stream with a token; creds may be nil.
func as(t *testing.T, f *fixture, token string, creds credentials.TransportCredentials) *client {
	t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	conn, err := grpc.NewClient("passthrough:///"+f.addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	g, err := capturev1.NewIngestServiceClient(conn).Export(ctx)
	if err != nil {
		return &client{t, replay{nil, err}}
	}
	return &client{t, g}
}

// greet says hello and gives how that ended: OK where there was an answer.
func (c *client) greet(fw *storetest.Forwarder) codes.Code {
	_ = c.Send(&capturev1.ExportRequest{Kind: &capturev1.ExportRequest_Hello{Hello: hello(fw)}})
	r, err := c.Recv()
	if err == nil && r.GetHave() != nil {
		return codes.OK
	}
	return (&client{c.t, replay{c.BidiStreamingClient, err}}).code()
}

// replay is a stream that has ended with err.
type replay struct {
	grpc.BidiStreamingClient[capturev1.ExportRequest, capturev1.ExportResponse]
	err error
}

func (r replay) Send(*capturev1.ExportRequest) error { return r.err }

func (r replay) Recv() (*capturev1.ExportResponse, error) { return nil, r.err }

// TestS05Forwarders: on the loopback nobody needs a token, and one that is
// wrong is refused all the same; a spool is written by whose it is.
func TestS05Forwarders(t *testing.T) {
	k := newKeys("a", "b")
	f := serve(t, Config{Door: Door{Authenticate: k.authenticate, BindSpool: k.bind}})
	one, two := storetest.NewForwarder(1, storetest.NewProxy(1)), storetest.NewForwarder(2, storetest.NewProxy(2))
	for _, c := range []struct {
		token string
		fw    *storetest.Forwarder
		want  codes.Code
	}{
		{"", one, codes.OK},
		{"wrong", one, codes.Unauthenticated},
		{"a", one, codes.OK},
		{"b", one, codes.PermissionDenied},
		{"", one, codes.PermissionDenied},
		{"b", two, codes.OK},
		{"a", two, codes.PermissionDenied},
		{"a", one, codes.OK},
	} {
		if got := as(t, f, c.token, nil).greet(c.fw); got != c.want {
			t.Errorf("token %q: %v, want %v", c.token, got, c.want)
		}
	}
	if n := f.server.Counters().TurnedAway; n[string(grpcdoor.Forbidden)] != 3 || n[string(grpcdoor.BadToken)] != 1 {
		t.Errorf("counted %v", n)
	}
}

// TestS05Revoked: what a revoked token has open ends, and what came before it
// was acknowledged stays.
func TestS05Revoked(t *testing.T) {
	k := newKeys("a", "b")
	f := serve(t, Config{Door: Door{Authenticate: k.authenticate, BindSpool: k.bind, Recheck: 10 * time.Millisecond}})
	one, two := storetest.NewForwarder(1, storetest.NewProxy(1)), storetest.NewForwarder(2, storetest.NewProxy(2))
	mine, theirs := as(t, f, "a", nil), as(t, f, "b", nil)
	if mine.greet(one) != codes.OK || theirs.greet(two) != codes.OK {
		t.Fatal("they did not get in")
	}
	mine.frames(one.Frame(storetest.Pairs(0, 2)...))
	mine.ack()
	k.revoke("a")
	if got := mine.code(); got != codes.Unauthenticated {
		t.Errorf("it ended with %v", got)
	}
	if got := as(t, f, "a", nil).greet(one); got != codes.Unauthenticated {
		t.Errorf("it came back: %v", got)
	}
	theirs.frames(two.Frame(storetest.Pairs(10, 12)...))
	theirs.ack()
	if n := len(numbers(t, f)); n != 4 {
		t.Errorf("%d pairs are stored", n)
	}
}

// TestS05BeyondLoopback: where the listener is reached from elsewhere, being on
// the same machine is not enough: somebody may speak for others.
func TestS05BeyondLoopback(t *testing.T) {
	k := newKeys("a")
	ca := tlstest.NewAuthority(t)
	dir := t.TempDir()
	var files tlsfiles.Files
	files.Cert, files.Key = ca.Write(t, dir, tlstest.Leaf{Name: "analyzer"})
	files.CA = ca.WriteCA(t, dir, "ca.pem")
	srv, err := tlsfiles.NewServer(files, tlsfiles.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	expired := false
	f := serveOn(t, Config{Door: Door{
		Authenticate: k.authenticate, BindSpool: k.bind, TLS: srv.Config("h2"), Recheck: 10 * time.Millisecond,
		Verify: func(chain []*x509.Certificate) error {
			k.mu.Lock()
			defer k.mu.Unlock()
			if expired {
				return errors.New("expired")
			}
			return srv.Verify(chain)
		},
	}}, "0.0.0.0:0")
	tls := func(name string, authority *tlstest.Authority) credentials.TransportCredentials {
		var own tlsfiles.Files
		own.CA = files.CA
		if name != "" {
			own.Cert, own.Key = authority.Write(t, dir, tlstest.Leaf{Name: name})
		}
		c, err := tlsfiles.NewClient(own, tlsfiles.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		return credentials.NewTLS(c.Config("localhost"))
	}
	fw := storetest.NewForwarder(1, storetest.NewProxy(1))
	if got := as(t, f, "", tls("", nil)).greet(fw); got != codes.Unauthenticated {
		t.Errorf("with nothing: %v", got)
	}
	if got := as(t, f, "", tls("stranger", tlstest.NewAuthority(t))).greet(fw); got != codes.Unavailable {
		t.Errorf("with a stranger's certificate: %v", got)
	}
	if got := as(t, f, "a", nil).greet(fw); got != codes.Unavailable {
		t.Errorf("in the clear: %v", got)
	}
	if got := as(t, f, "a", tls("", nil)).greet(storetest.NewForwarder(2, storetest.NewProxy(2))); got != codes.OK {
		t.Errorf("with a token: %v", got)
	}
	certified := as(t, f, "", tls("edge-1", ca))
	if got := certified.greet(fw); got != codes.OK {
		t.Errorf("with a certificate: %v", got)
	}
	k.mu.Lock()
	expired = true
	k.mu.Unlock()
	if got := certified.code(); got != codes.Unauthenticated {
		t.Errorf("a certificate that expired meanwhile: %v", got)
	}
}

func serveOn(t *testing.T, cfg Config, addr string) *fixture {
	t.Helper()
	f := serve(t, cfg)
	f.stop()
	f.server = New(cfg, f.store, f.dir, slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	f.addr = net.JoinHostPort("127.0.0.1", port)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.server.Serve(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f
}
