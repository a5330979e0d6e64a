// Package receive takes batches from proxies: each exactly once, filtered and
// redacted, durable before it is acknowledged.
//
// For every batch that is accepted one record goes to the spool, also when
// nothing of it is left: the record is the memory that the batch was here.
package receive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/filter"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/spool"
)

const (
	// MaxMessage bounds one gRPC message, in bytes.
	MaxMessage = 16 << 20
	// maxMemory bounds the messages that are being worked on, of all streams.
	maxMemory = 128 << 20
	// maxNameLen bounds each name that a proxy gives, in bytes.
	maxNameLen = 1024
	// A group of batches of one stream is made durable together: those that
	// came while the last group was on its way to the disk.
	maxGroup = 32
	// firstMessage is how long a stream may be silent at its beginning.
	firstMessage = 10 * time.Second
	// flushTime is how long a stream that ends waits for its last words to be
	// on their way.
	flushTime = time.Second
	// preface is how long a connection may take to speak HTTP/2: people look
	// at the port with nc and curl.
	preface = 10 * time.Second
	// stopTime is how long streams have to end when the forwarder stops.
	stopTime = 2 * time.Second
	// A proxy that is silent for pingAfter is asked whether it lives, and has
	// pingWait to say so.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
	// readBuffer is what each connection holds to be read into; messages that
	// are larger do not go through it.
	readBuffer = 4 << 10
	// window is how much a proxy may send ahead of what was read, in bytes:
	// some batches, so that it does not have to wait for leave within one.
	window = 1 << 20
	// maxUnknown bounds what a batch may carry that this version does not
	// know, in bytes; it stands in the head of the frame.
	maxUnknown = 64 << 10
	// maxSaid bounds a source, counters, and a heartbeat, in bytes: the first
	// two stand in each frame, and all of them are kept for each proxy and go to
	// the analyzer each second.
	maxSaid = 16 << 10
)

// Settings are what a Receiver needs.
type Settings struct {
	ForwarderID, Version, Cluster string

	Spool    *spool.Spool
	Accepted *Accepted
	Registry *registry.Registry
	Filter   *filter.Filter
	Redactor Redactor
	// KeepOneIn tells how the proxies of an app shall sample (0: as their own
	// environment says). nil leaves it to all of them.
	KeepOneIn func(app string) uint32
	Log       *slog.Logger
	// Repeated limits lines that every batch could cause.
	Repeated *lograte.Logger
	// Door says who may push: everybody, where it is zero.
	Door Door
}

// Totals count pairs since the start.
type Totals struct {
	// Pairs are those that went into the spool; Bytes is the size of the
	// batches that they came in.
	Pairs, Bytes uint64
	// Filtered is by rule, Dropped by reason.
	Filtered, Dropped map[string]uint64
}

// Receiver serves capturev1.ProxyService.
type Receiver struct {
	capturev1.UnimplementedProxyServiceServer
	set    Settings
	door   *grpcdoor.Door
	shares *shares
	memory *semaphore.Weighted
	// bodies are buffers (*[]byte) for frames before they are compressed.
	bodies sync.Pool

	stopping chan struct{}

	mu       sync.Mutex
	sessions map[registry.Epoch]*session
	totals   Totals
}

// New makes a Receiver. It starts nothing.
func New(set Settings) *Receiver {
	return &Receiver{
		door: newDoor(set), shares: newShares(set.Spool),
		bodies: sync.Pool{New: func() any { return new([]byte) }},
		set:    set, memory: semaphore.NewWeighted(maxMemory),
		stopping: make(chan struct{}), sessions: map[registry.Epoch]*session{},
		totals: Totals{Filtered: map[string]uint64{}, Dropped: map[string]uint64{}},
	}
}

// Totals is what was counted so far.
func (r *Receiver) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Totals{r.totals.Pairs, r.totals.Bytes, maps.Clone(r.totals.Filtered), maps.Clone(r.totals.Dropped)}
}

// Run serves on ln until ctx ends. Then it takes no more, tells proxies to go
// elsewhere, lets what is on its way to the disk arrive, and returns nil. It
// closes ln. It may be called once.
func (r *Receiver) Run(ctx context.Context, ln net.Listener) error {
	s := grpc.NewServer(append(r.doorOptions(),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(16), grpc.MaxHeaderListSize(64<<10),
		grpc.ConnectionTimeout(preface),
		// Thousands of proxies are mostly silent.
		grpc.ReadBufferSize(readBuffer),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
	capturev1.RegisterProxyServiceServer(s, r)
	done := make(chan error, 1)
	go func() { done <- s.Serve(r.door.Listen(ln)) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve proxies: %w", err)
	case <-ctx.Done():
	}
	close(r.stopping)
	timer := time.AfterFunc(stopTime, s.Stop)
	defer timer.Stop()
	s.GracefulStop()
	if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve proxies: %w", err)
	}
	return nil
}

// Register implements capturev1.ProxyServiceServer.
func (r *Receiver) Register(ctx context.Context, req *capturev1.RegisterRequest) (*capturev1.RegisterResponse, error) {
	src, epoch, err := checkSource(req.GetSource())
	if err != nil {
		return nil, err
	}
	if err := r.may(ctx, src.GetProxyId()); err != nil {
		return nil, err
	}
	for _, s := range []string{req.GetVersion(), req.GetListenAddr(), req.GetUpstreamAddr()} {
		if len(s) > maxNameLen {
			return nil, status.Errorf(codes.InvalidArgument, "register: a name of %d bytes, at most %d", len(s), maxNameLen)
		}
	}
	if err := capturev1.CheckVersions("proxy", req.GetApiVersion(), req.GetApiOldest()); err != nil {
		r.set.Repeated.Log(slog.LevelError, "Refused a proxy", slog.String("proxyID", src.GetProxyId()), slog.String("error", err.Error()))
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	src.Cluster = r.set.Cluster
	st := &capturev1.ProxyStatus{
		Source: src, Version: req.GetVersion(), ListenAddr: req.GetListenAddr(), UpstreamAddr: req.GetUpstreamAddr(),
		EpochStarted: req.GetEpochStarted(),
	}
	if req.GetNow() != 0 {
		st.ClockSkew = req.GetNow() - time.Now().UnixNano()
	}
	err = r.set.Registry.Register(epoch, st, req.GetApiVersion())
	if errors.Is(err, registry.ErrOther) {
		return nil, r.door.Deny(ctx, grpcdoor.Forbidden, err.Error())
	}
	if err != nil {
		r.set.Repeated.Log(slog.LevelWarn, "Could not register a proxy", slog.String("proxyID", src.GetProxyId()), slog.String("error", err.Error()))
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	resp := &capturev1.RegisterResponse{
		ForwarderId: r.set.ForwarderID, Version: r.set.Version, Cluster: r.set.Cluster,
		Lease: int64(registry.Lease), AckedBatches: r.set.Accepted.Ranges(epoch),
		ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	}
	if r.set.KeepOneIn != nil {
		resp.Settings = &capturev1.Settings{KeepOneIn: r.set.KeepOneIn(src.GetApp())}
	}
	return resp, nil
}

func checkSource(src *capturev1.Source) (*capturev1.Source, registry.Epoch, error) {
	if n := len(src.GetEpoch()); n != frame.EpochLen {
		return nil, registry.Epoch{}, status.Errorf(codes.InvalidArgument, "source: epoch of %d bytes, want %d", n, frame.EpochLen)
	}
	if src.GetProxyId() == "" {
		return nil, registry.Epoch{}, status.Error(codes.InvalidArgument, "source: no proxy id")
	}
	for _, s := range []string{src.GetNamespace(), src.GetApp(), src.GetPod(), src.GetProxyId()} {
		if len(s) > maxNameLen {
			return nil, registry.Epoch{}, status.Errorf(codes.InvalidArgument, "source: a name of %d bytes, at most %d", len(s), maxNameLen)
		}
	}
	// Beside the names there is what a later version may have to say.
	if n := proto.Size(src); n > maxSaid {
		return nil, registry.Epoch{}, status.Errorf(codes.InvalidArgument, "source: %d bytes, at most %d", n, maxSaid)
	}
	return src, registry.Epoch(src.GetEpoch()), nil
}
