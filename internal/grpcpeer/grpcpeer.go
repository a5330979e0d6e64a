// Package grpcpeer connects to a gRPC server and says in plain words why that
// did not work. gRPC itself only says that it did not; who typed a wrong
// address wants to know what answered there.
package grpcpeer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/weir-capture/weir/internal/access"
)

const (
	connectTime = 5 * time.Second
	// A peer that is silent for pingAfter is asked whether it lives, and has
	// pingWait to say so: one that stalls is found within 20 s.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// Settings say what to connect to.
type Settings struct {
	// Addr is "host:port".
	Addr string
	// Name says what should be there, such as "analyzer".
	Name string
	// MaxMessage bounds a message in both directions, in bytes.
	MaxMessage int
	// WriteBuffer is how much is gathered for one write, in bytes; 0 means
	// gRPC's default.
	WriteBuffer int
	// Dial connects to Addr; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Access is what is shown there, and whether TLS is spoken; nil: nothing,
	// in the clear.
	Access *access.Client
	// Forbidden says what it may mean that the server knows us and still
	// refuses.
	Forbidden string
}

// Peer is a connection that remembers how it began.
type Peer struct {
	*grpc.ClientConn
	set Settings
	// token is what this connection shows.
	token string

	mu     sync.Mutex
	failed error
	first  []byte // what the other side said first
	closed bool   // it said nothing and closed
}

// Connect connects and waits until that worked or did not. The caller closes
// the connection.
func Connect(ctx context.Context, set Settings) (*Peer, error) {
	if set.Dial == nil {
		set.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", addr)
		}
	}
	p := &Peer{set: set}
	var err error
	if p.token, err = set.Access.Token(); err != nil {
		return nil, err
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(p.credentials()),
		grpc.WithContextDialer(p.dial),
		// With no pause of its own it would dial as fast as it can until ready
		// has seen that the first try failed.
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTime}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(set.MaxMessage), grpc.MaxCallSendMsgSize(set.MaxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	}
	if p.token != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(p.token)))
	}
	if set.WriteBuffer > 0 {
		options = append(options, grpc.WithWriteBufferSize(set.WriteBuffer))
	}
	cc, err := grpc.NewClient("passthrough:///"+set.Addr, options...)
	if err != nil {
		return nil, fmt.Errorf("set up connection: %w", err)
	}
	p.ClientConn = cc
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(p.Explain(ctx, err), cc.Close())
	}
	return p, nil
}

func (p *Peer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime+time.Second)
	defer cancel()
	p.ClientConn.Connect()
	for {
		switch s := p.GetState(); s {
		case connectivity.Ready:
			return nil
		case connectivity.TransientFailure, connectivity.Shutdown:
			return errors.New("no connection")
		default:
			if !p.WaitForStateChange(ctx, s) {
				return fmt.Errorf("no answer: %w", ctx.Err())
			}
		}
	}
}

// Explain is err, or what is known better. It may ask the other side whether
// it speaks TLS, within two seconds.
func (p *Peer) Explain(ctx context.Context, err error) error {
	p.mu.Lock()
	failed, first, closed := p.failed, p.first, p.closed
	p.mu.Unlock()
	name := p.set.Name
	speaksTLS := fmt.Errorf("it speaks TLS: set %s=on", p.set.Access.Var("TLS"))
	if denied := p.Denied(err); denied != nil {
		return denied
	}
	const settings = 4 // the type of the frame that every HTTP/2 peer begins with
	switch {
	case failed != nil:
		return failed
	case bytes.HasPrefix(first, []byte("HTTP/")):
		return fmt.Errorf("it speaks HTTP/1, not gRPC: it is no %s", name)
	case len(first) > 2 && (first[0] == 21 || first[0] == 22) && first[1] == 3:
		return speaksTLS
	case len(first) > 3 && first[0] == 0 && first[3] == settings:
		if status.Code(err) == codes.Unimplemented {
			return fmt.Errorf("it speaks gRPC, but not this service: it is no %s", name)
		}
		return Plain(err)
	case len(first) > 0:
		return fmt.Errorf("it speaks another protocol than gRPC (it said %q): it is no %s", first, name)
	case closed && p.answersTLS(ctx):
		return speaksTLS
	case closed:
		return fmt.Errorf("it closed the connection without an answer: it is no %s, or not ready", name)
	}
	return Plain(err)
}

// answersTLS asks whether the other side speaks TLS: most that do close
// quietly when they are spoken to in anything else.
func (p *Peer) answersTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := p.set.Dial(ctx, p.set.Addr)
	if err != nil {
		return false
	}
	defer func() { _ = conn.Close() }()
	host, _, _ := net.SplitHostPort(p.set.Addr)
	// Whether it can be trusted does not matter: nothing is said to it.
	err = tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(ctx)
	_, alert := errors.AsType[tls.AlertError](err)
	return err == nil || alert
}

// Plain is what a gRPC error says, without its wrapping.
func Plain(err error) error {
	if st, ok := status.FromError(err); ok {
		return errors.New(st.Message())
	}
	return err
}

func (p *Peer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := p.set.Dial(ctx, addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.first, p.closed = nil, false
	if err == nil && p.token != "" && !p.set.Access.MaySend(conn.RemoteAddr()) {
		err = errors.Join(fmt.Errorf("a token is not sent in the clear beyond this machine: set %s=on", p.set.Access.Var("TLS")), conn.Close())
	}
	if p.failed = err; err != nil {
		return nil, err
	}
	if p.set.Access.Secure() {
		return conn, nil // what it says is TLS
	}
	return &witness{Conn: conn, p: p}, nil
}

// witness is a connection whose first bytes are remembered.
type witness struct {
	net.Conn
	p *Peer
}

func (w *witness) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == remoteAlert {
		w.p.failed = w.p.untrusted(err)
	}
	const enough = 16
	if have := len(w.p.first); have < enough {
		w.p.first = append(w.p.first, b[:min(n, enough-have)]...)
		w.p.closed = len(w.p.first) == 0 && err != nil
	}
	return n, err
}
