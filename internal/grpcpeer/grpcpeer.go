// Package grpcpeer connects to a gRPC server and says in plain words why that
// did not work. gRPC itself only says that it did not; who typed a wrong
// address wants to know what answered there.
package grpcpeer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	connectTime = 5 * time.Second
	// A peer that is silent for pingAfter is asked whether it lives, and has
	// pingWait to say so: one that stalls is found within 20 s.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// Peer is a connection that remembers how it began.
type Peer struct {
	*grpc.ClientConn
	name string

	mu     sync.Mutex
	failed error
	first  []byte // what the other side said first
	closed bool   // it said nothing and closed
}

// Connect connects to addr ("host:port") and waits until that worked or did
// not. name says what should be there, such as "analyzer". Messages of up to
// maxMessage bytes pass in both directions. The caller closes the connection.
func Connect(ctx context.Context, addr, name string, maxMessage int) (*Peer, error) {
	p := &Peer{name: name}
	cc, err := grpc.NewClient(
		"passthrough:///"+addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(p.dial),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTime}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("set up connection: %w", err)
	}
	p.ClientConn = cc
	if err := p.ready(ctx); err != nil {
		return nil, errors.Join(p.Explain(err), cc.Close())
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

// Explain is err, or what is known better.
func (p *Peer) Explain(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	const settings = 4 // the type of the frame that every HTTP/2 peer begins with
	switch {
	case p.failed != nil:
		return p.failed
	case bytes.HasPrefix(p.first, []byte("HTTP/")):
		return fmt.Errorf("it speaks HTTP/1, not gRPC: it is no %s", p.name)
	case len(p.first) > 2 && (p.first[0] == 21 || p.first[0] == 22) && p.first[1] == 3:
		return errors.New("it speaks TLS, which this version does not do here")
	case len(p.first) > 3 && p.first[0] == 0 && p.first[3] == settings:
		if status.Code(err) == codes.Unimplemented {
			return fmt.Errorf("it speaks gRPC, but not this service: it is no %s", p.name)
		}
		return plain(err)
	case len(p.first) > 0:
		return fmt.Errorf("it speaks another protocol than gRPC (it said %q): it is no %s", p.first, p.name)
	case p.closed:
		return fmt.Errorf("it closed the connection without an answer: it is no %s, or not ready", p.name)
	}
	return plain(err)
}

// plain is what a gRPC error says, without its wrapping.
func plain(err error) error {
	if st, ok := status.FromError(err); ok {
		return errors.New(st.Message())
	}
	return err
}

func (p *Peer) dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed = err; err != nil {
		return nil, err
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
	const enough = 16
	if have := len(w.p.first); have < enough {
		w.p.first = append(w.p.first, b[:min(n, enough-have)]...)
		w.p.closed = len(w.p.first) == 0 && err != nil
	}
	return n, err
}
