package ship

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/grpcpeer"
	"github.com/weir-capture/weir/internal/nonblock"
)

// registerTime bounds the registration.
const registerTime = 10 * time.Second

// session is one connection to the forwarder, from dialling to its end. It
// returns nil after the goodbye.
func (s *Shipper) session(end *ending) error {
	ctx, cancel := context.WithCancel(end.ctx)
	defer cancel()
	peer, err := grpcpeer.Connect(ctx, grpcpeer.Settings{
		Addr: s.set.Addr, Name: "forwarder", MaxMessage: maxMessage, Dial: s.dial,
		WriteBuffer: openBytes, Access: s.set.Access,
		Forbidden: "what FORWARDER_TOKEN or FORWARDER_CERT_FILE stands for may not push as this APP_POD_NAME",
	})
	if err != nil {
		return err
	}
	defer func() { _ = peer.Close() }()
	s.set.Log.Info("Successfully connected to forwarder", slog.String("addr", s.set.Addr))
	client := capturev1.NewProxyServiceClient(peer)
	lease, err := s.register(ctx, client)
	if _, no := errors.AsType[*refusal](err); no {
		return err
	}
	if err != nil {
		return peer.Explain(ctx, err)
	}
	s.set.Log.Info("Successfully registered with forwarder", slog.String("proxyID", s.set.Register.Source.GetProxyId()))
	s.tune(lease.GetSettings())
	for _, r := range lease.GetAckedBatches() {
		s.acked(r.GetFirst(), r.GetLast())
	}
	stream, err := client.Push(ctx, grpc.ForceCodecV2(newCodec()))
	if err != nil {
		return fmt.Errorf("open stream: %w", peer.Explain(ctx, err))
	}
	s.setOnline(true)
	defer s.setOnline(false)
	c := &conversation{s: s, peer: peer, stream: stream, forwarder: lease.GetForwarderId()}
	over := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() { over <- c.listen() })
	err = c.talk(end, over)
	cancel()
	wg.Wait()
	return err
}

// dial connects to the forwarder. The connection is of the quiet kind, so that
// shipping does not wake what watches over calls that may block.
func (s *Shipper) dial(ctx context.Context, addr string) (net.Conn, error) {
	if s.set.Dial != nil {
		return s.set.Dial(ctx, addr)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return nonblock.Wrap(conn), nil
}

func (s *Shipper) register(ctx context.Context, client capturev1.ProxyServiceClient) (*capturev1.RegisterResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, registerTime)
	defer cancel()
	s.set.Log.Debug("Attempting to register with forwarder")
	r := s.set.Register
	lease, err := client.Register(ctx, &capturev1.RegisterRequest{
		Source: r.Source, EpochStarted: r.EpochStarted, Version: r.Version,
		ListenAddr: r.ListenAddr, UpstreamAddr: r.UpstreamAddr, Now: s.set.Now(),
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	})
	switch status.Code(err) {
	case codes.OK:
		if err := capturev1.CheckVersions("forwarder", lease.GetApiVersion(), lease.GetApiOldest()); err != nil {
			return nil, &refusal{err}
		}
		return lease, nil
	case codes.Unimplemented:
		return nil, fmt.Errorf("it answers gRPC or HTTP/2, but is no Weir forwarder: %w", grpcpeer.Plain(err))
	case codes.Unauthenticated, codes.PermissionDenied:
		return nil, err // the connection knows what that means
	case codes.FailedPrecondition:
		return nil, &refusal{fmt.Errorf("it refused the registration: %w", grpcpeer.Plain(err))}
	default:
		return nil, fmt.Errorf("register: %w", grpcpeer.Plain(err))
	}
}

// refusal says that the two programs do not fit: trying again soon is of no
// use, and one of them has to be replaced.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// tune passes on what the forwarder says about capture.
func (s *Shipper) tune(set *capturev1.Settings) {
	if s.set.Tune != nil {
		s.set.Tune(set)
	}
}

// setOnline says whether a forwarder takes batches: then the ring is read.
func (s *Shipper) setOnline(on bool) {
	s.mu.Lock()
	s.online = on
	s.mu.Unlock()
	stir(s.move)
}

// conversation is one Push stream.
type conversation struct {
	s         *Shipper
	peer      *grpcpeer.Peer
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
		select { // also while there is always something to send
		case <-beat.C:
			if err := c.heartbeat(false); err != nil {
				return <-over
			}
		case <-expired:
			return c.goodbye(end, over)
		default:
		}
		if m := c.s.next(c.sent, c.forwarder); m != nil {
			if err := c.send(m); err != nil {
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

// send sends one batch.
func (c *conversation) send(m *message) error {
	c.mu.Lock()
	c.sent = m.seq
	c.mu.Unlock()
	return c.stream.SendMsg(m)
}

func (c *conversation) heartbeat(goodbye bool) error {
	return c.stream.Send(&capturev1.PushRequest{Kind: &capturev1.PushRequest_Heartbeat{Heartbeat: &capturev1.Heartbeat{
		Source: c.s.set.Register.Source, Now: c.s.set.Now(),
		Counters: c.s.counters(), State: c.s.set.State(), Goodbye: goodbye,
	}}})
}

// goodbye ends the stream as a proxy does that stops, and waits until the
// forwarder took notice. Whoever hears it has taken all that was sent before
// it, and what was not is dropped: its counters are the last word.
func (c *conversation) goodbye(end *ending, over <-chan error) error {
	end.abandoned = c.s.abandon()
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
			if denied := c.peer.Denied(err); denied != nil {
				return fmt.Errorf("connection ended: %w", denied)
			}
			return fmt.Errorf("connection ended: %w", grpcpeer.Plain(err))
		}
		if set := m.GetSettings(); set != nil {
			c.s.tune(set)
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
