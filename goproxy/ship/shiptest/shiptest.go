// Package shiptest is a forwarder for tests: it takes what a proxy ships,
// keeps it in memory, and can be told to misbehave.
package shiptest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Forwarder implements ProxyService. The zero value is ready.
type Forwarder struct {
	capturev1.UnimplementedProxyServiceServer
	// ID is what it registers proxies as.
	ID string
	// Acked are ranges that Register says it has already.
	Acked []*capturev1.Range
	// Refuse, if set, is the answer to Register.
	Refuse error
	// OnRegister, if set, may change the answer to Register, which says that
	// the forwarder is as new as this program and has nothing to say about
	// capture.
	OnRegister func(*capturev1.RegisterResponse)
	// OnBatch, if set, decides about each batch: whether it is acknowledged,
	// and an error ends the stream. It is called without locks.
	OnBatch func(*capturev1.Batch) (ack bool, err error)

	mu         sync.Mutex
	registered []*capturev1.RegisterRequest
	batches    []*capturev1.Batch
	heartbeats []*capturev1.Heartbeat
	streams    map[*stream]struct{}
}

// stream is one that is open. gRPC wants one sender at a time.
type stream struct {
	grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse]
	cancel context.CancelFunc
	mu     sync.Mutex
}

func (s *stream) send(m *capturev1.PushResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Send(m)
}

// Serve serves on a listener until stop is called.
func (f *Forwarder) Serve(ln net.Listener) (stop func()) {
	srv := grpc.NewServer(
		grpc.MaxRecvMsgSize(16<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 1, PermitWithoutStream: true}),
	)
	capturev1.RegisterProxyServiceServer(srv, f)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(ln) })
	return func() { srv.Stop(); wg.Wait() }
}

// Register implements ProxyServiceServer.
func (f *Forwarder) Register(_ context.Context, r *capturev1.RegisterRequest) (*capturev1.RegisterResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Refuse != nil {
		return nil, f.Refuse
	}
	f.registered = append(f.registered, r)
	resp := &capturev1.RegisterResponse{
		ForwarderId: f.ID, Lease: 45e9, AckedBatches: f.Acked,
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	}
	if f.OnRegister != nil {
		f.OnRegister(resp)
	}
	return resp, nil
}

// Push implements ProxyServiceServer.
func (f *Forwarder) Push(push grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse]) error {
	ctx, cancel := context.WithCancel(push.Context())
	defer cancel()
	s := &stream{BidiStreamingServer: push, cancel: cancel}
	f.mu.Lock()
	if f.streams == nil {
		f.streams = make(map[*stream]struct{})
	}
	f.streams[s] = struct{}{}
	f.mu.Unlock()
	defer func() { f.mu.Lock(); delete(f.streams, s); f.mu.Unlock() }()
	errs := make(chan error, 1)
	go func() { errs <- f.take(s) }()
	select {
	case err := <-errs:
		return err
	case <-ctx.Done():
		return status.Error(codes.Unavailable, "the stream was broken")
	}
}

func (f *Forwarder) take(stream *stream) error {
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h := m.GetHeartbeat(); h != nil {
			f.mu.Lock()
			f.heartbeats = append(f.heartbeats, h)
			f.mu.Unlock()
		}
		b := m.GetBatch()
		if b == nil {
			continue
		}
		ack := true
		if f.OnBatch != nil {
			if ack, err = f.OnBatch(b); err != nil {
				return err
			}
		}
		f.mu.Lock()
		f.batches = append(f.batches, b)
		f.mu.Unlock()
		if !ack {
			continue
		}
		if err := stream.send(&capturev1.PushResponse{Kind: &capturev1.PushResponse_Ack{Ack: &capturev1.Ack{Through: b.GetSeq()}}}); err != nil {
			return err
		}
	}
}

// Break ends the streams that are open.
func (f *Forwarder) Break() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.streams {
		s.cancel()
	}
}

// Say sends something down the streams that are open.
func (f *Forwarder) Say(m *capturev1.PushResponse) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for s := range f.streams {
		errs = append(errs, s.send(m))
	}
	return errors.Join(errs...)
}

// Registered are the registrations so far.
func (f *Forwarder) Registered() []*capturev1.RegisterRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.registered)
}

// Batches are the batches that arrived, also those that came again.
func (f *Forwarder) Batches() []*capturev1.Batch {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.batches)
}

// Heartbeats are the heartbeats that arrived.
func (f *Forwarder) Heartbeats() []*capturev1.Heartbeat {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.heartbeats)
}

// Pairs are the pairs of all batches, each batch once.
func (f *Forwarder) Pairs() []*capturev1.RRPair {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := make(map[uint64]bool)
	var pairs []*capturev1.RRPair
	for _, b := range f.batches {
		if seen[b.GetSeq()] {
			continue
		}
		seen[b.GetSeq()] = true
		for _, p := range b.GetPairs() {
			pairs = append(pairs, proto.CloneOf(p))
		}
	}
	return pairs
}
