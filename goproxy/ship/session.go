package ship

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

const (
	// connectTime bounds the connection, registerTime the registration.
	connectTime  = 5 * time.Second
	registerTime = 10 * time.Second
	// A forwarder that is silent for pingAfter is asked whether it lives, and
	// has pingWait to say so: one that stalls is found within 20 s.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// session is one connection to the forwarder, from dialling to its end. It
// returns nil after the goodbye.
func (s *Shipper) session(end *ending) error {
	ctx, cancel := context.WithCancel(end.ctx)
	defer cancel()
	seen := &witness{dial: s.set.Dial}
	cc, err := grpc.NewClient(
		"passthrough:///"+s.set.Addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(seen.connect),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTime}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingWait, PermitWithoutStream: true}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return fmt.Errorf("set up connection: %w", err)
	}
	defer func() { _ = cc.Close() }()
	if err := ready(ctx, cc); err != nil {
		return seen.explain(ctx, s.set.Addr, err)
	}
	s.set.Log.Info("Successfully connected to forwarder", slog.String("addr", s.set.Addr))
	client := capturev1.NewProxyServiceClient(cc)
	lease, err := s.register(ctx, client)
	if err != nil {
		return seen.explain(ctx, s.set.Addr, err)
	}
	s.set.Log.Info("Successfully registered with forwarder", slog.String("proxyID", s.set.Register.Source.GetProxyId()))
	for _, r := range lease.GetAckedBatches() {
		s.acked(r.GetFirst(), r.GetLast())
	}
	stream, err := client.Push(ctx)
	if err != nil {
		return fmt.Errorf("open stream: %w", plain(err))
	}
	c := &conversation{s: s, stream: stream, forwarder: lease.GetForwarderId()}
	over := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { over <- c.listen() })
	err = c.talk(end, over)
	cancel()
	wg.Wait()
	return err
}

// ready waits for the connection.
func ready(ctx context.Context, cc *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime+time.Second)
	defer cancel()
	cc.Connect()
	for {
		state := cc.GetState()
		if state == connectivity.Ready {
			return nil
		}
		if state == connectivity.TransientFailure || state == connectivity.Shutdown {
			return errors.New("no connection")
		}
		if !cc.WaitForStateChange(ctx, state) {
			return fmt.Errorf("no answer: %w", ctx.Err())
		}
	}
}

func (s *Shipper) register(ctx context.Context, client capturev1.ProxyServiceClient) (*capturev1.RegisterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	s.set.Log.Debug("Attempting to register with forwarder")
	r := s.set.Register
	lease, err := client.Register(ctx, &capturev1.RegisterRequest{
		Source: r.Source, EpochStarted: r.EpochStarted, Version: r.Version,
		ListenAddr: r.ListenAddr, UpstreamAddr: r.UpstreamAddr, Now: s.set.Now(),
	})
	switch status.Code(err) {
	case codes.OK:
		return lease, nil
	case codes.Unimplemented:
		return nil, fmt.Errorf("it answers gRPC or HTTP/2, but is no Weir forwarder: %w", plain(err))
	case codes.FailedPrecondition:
		return nil, fmt.Errorf("it refused the registration: %w", plain(err))
	default:
		return nil, fmt.Errorf("register: %w", plain(err))
	}
}

// plain is what a gRPC error says, without its wrapping.
func plain(err error) error {
	if st, ok := status.FromError(err); ok {
		return errors.New(st.Message())
	}
	return err
}

// conversation is one Push stream.
type conversation struct {
	s         *Shipper
	stream    grpc.BidiStreamingClient[capturev1.PushRequest, capturev1.PushResponse]
	forwarder string

	mu   sync.Mutex
	sent uint64 // last batch sequence
}

// talk sends batches and heartbeats until the stream breaks or the goodbye is
// said.
func (c *conversation) talk(end *ending, over <-chan error) error {
	beat := time.NewTicker(heartbeats)
	defer beat.Stop()
	if err := c.heartbeat(false); err != nil {
		return <-over
	}
	draining, expired := end.draining, end.expired
	for {
		select {
		case <-beat.C: // also while there is always something to send
			if err := c.heartbeat(false); err != nil {
				return <-over
			}
		default:
		}
		if p := c.s.after(c.sent); p != nil {
			if err := c.send(p); err != nil {
				return <-over
			}
			continue
		}
		if draining == nil && c.s.waiting() == 0 {
			return c.goodbye(end, over)
		}
		select {
		case <-c.s.wake:
		case <-beat.C:
			if err := c.heartbeat(false); err != nil {
				return <-over
			}
		case <-draining:
			draining = nil
		case <-expired:
			return c.goodbye(end, over)
		case err := <-over:
			return err
		}
	}
}

// send sends one batch. Where it may have reached another forwarder before,
// it says so.
func (c *conversation) send(p *parcel) error {
	if p.sentTo != "" && p.sentTo != c.forwarder {
		p.batch.MaybeDuplicate = true
	}
	p.sentTo = c.forwarder
	c.mu.Lock()
	c.sent = p.batch.Seq
	c.mu.Unlock()
	return c.stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Batch{Batch: p.batch}})
}

func (c *conversation) heartbeat(goodbye bool) error {
	return c.stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{
		Source: c.s.set.Register.Source, Now: c.s.set.Now(),
		Counters: c.s.counters(), State: c.s.set.State(), Goodbye: goodbye,
	}}})
}

// goodbye ends the stream as a proxy does that stops, and waits until the
// forwarder took notice.
func (c *conversation) goodbye(end *ending, over <-chan error) error {
	if c.heartbeat(true) == nil && c.stream.CloseSend() == nil {
		select {
		case <-over:
		case <-time.After(goodbyeTime):
		case <-end.ctx.Done():
		}
	}
	return nil
}

// listen takes acknowledgements until the stream ends, and says why it did.
func (c *conversation) listen() error {
	for {
		m, err := c.stream.Recv()
		if err != nil {
			return fmt.Errorf("connection ended: %w", plain(err))
		}
		if ack := m.GetAck(); ack != nil {
			c.mu.Lock()
			sent := c.sent
			c.mu.Unlock()
			// Nobody can have what was not sent.
			c.s.acked(0, min(ack.GetThrough(), sent))
		}
	}
}

// witness remembers how a connection began, to say what is wrong with it: gRPC
// itself only says that it did not work.
type witness struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)

	mu     sync.Mutex
	failed error
	first  []byte // what the other side said first
	closed bool   // it said nothing and closed
}

func (w *witness) connect(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := w.dial(ctx, addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = err
	if err != nil {
		return nil, err
	}
	return &witnessed{Conn: conn, w: w}, nil
}

// explain is err, or what is known better.
func (w *witness) explain(ctx context.Context, addr string, err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	speaksTLS := errors.New("it speaks TLS, which this version of the proxy does not do towards a forwarder")
	const settings = 4 // type of the frame that every HTTP/2 server begins with
	switch {
	case w.failed != nil:
		return w.failed
	case bytes.HasPrefix(w.first, []byte("HTTP/")):
		return errors.New("it speaks HTTP/1, not gRPC: it is no forwarder")
	case len(w.first) > 2 && (w.first[0] == 21 || w.first[0] == 22) && w.first[1] == 3:
		return speaksTLS
	case len(w.first) > 3 && w.first[3] == settings && w.first[0] == 0:
		return err
	case len(w.first) > 0:
		return fmt.Errorf("it speaks another protocol than gRPC (it said %q): it is no forwarder", w.first)
	case w.closed && w.answersTLS(ctx, addr):
		return speaksTLS
	case w.closed:
		return errors.New("it closed the connection without an answer: it is no forwarder, or not ready")
	default:
		return err
	}
}

// answersTLS asks whether the other side speaks TLS: most that do close
// quietly when they are spoken to in anything else.
func (w *witness) answersTLS(ctx context.Context, addr string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := w.dial(ctx, addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	host, _, _ := net.SplitHostPort(addr)
	// Whether it can be trusted does not matter: nothing is said to it.
	err = tls.Client(conn, &tls.Config{ServerName: host, InsecureSkipVerify: true}).HandshakeContext(ctx)
	if _, alert := errors.AsType[tls.AlertError](err); alert {
		return true
	}
	return err == nil
}

// witnessed is a connection whose first bytes are remembered.
type witnessed struct {
	net.Conn
	w *witness
}

func (c *witnessed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	const enough = 16
	if have := len(c.w.first); have < enough {
		c.w.first = append(c.w.first, b[:min(n, enough-have)]...)
		c.w.closed = len(c.w.first) == 0 && err != nil
	}
	return n, err
}
