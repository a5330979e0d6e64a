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
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"time"

	"golang.org/x/net/netutil"
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
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/seglog"
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
	// preface is how long a connection may take to speak HTTP/2: people look
	// at the port with nc and curl.
	preface = 10 * time.Second
	// stopTime is how long streams have to end when the forwarder stops.
	stopTime = 2 * time.Second
	// A proxy that is silent for pingAfter is asked whether it lives, and has
	// pingWait to say so.
	pingAfter = 10 * time.Second
	pingWait  = 5 * time.Second
)

// Settings are what a Receiver needs.
type Settings struct {
	ForwarderID, Version, Cluster string

	Spool    *spool.Spool
	Accepted *Accepted
	Registry *registry.Registry
	Filter   *filter.Filter
	Redactor Redactor
	Log      *slog.Logger
	// Repeated limits lines that every batch could cause.
	Repeated *lograte.Logger
}

// Totals count pairs since the start.
type Totals struct {
	// Pairs are those that went into the spool.
	Pairs uint64
	// Filtered is by rule, Dropped by reason.
	Filtered, Dropped map[string]uint64
}

// Receiver serves capturev1.ProxyService.
type Receiver struct {
	capturev1.UnimplementedProxyServiceServer
	set    Settings
	memory *semaphore.Weighted

	stopping chan struct{}

	mu       sync.Mutex
	sessions map[registry.Epoch]*session
	totals   Totals
}

// New makes a Receiver. It starts nothing.
func New(set Settings) *Receiver {
	return &Receiver{
		set: set, memory: semaphore.NewWeighted(maxMemory),
		stopping: make(chan struct{}), sessions: map[registry.Epoch]*session{},
		totals: Totals{Filtered: map[string]uint64{}, Dropped: map[string]uint64{}},
	}
}

// Totals is what was counted so far.
func (r *Receiver) Totals() Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Totals{r.totals.Pairs, maps.Clone(r.totals.Filtered), maps.Clone(r.totals.Dropped)}
}

// Run serves on ln until ctx ends. Then it takes no more, tells proxies to go
// elsewhere, lets what is on its way to the disk arrive, and returns nil. It
// closes ln. It may be called once.
func (r *Receiver) Run(ctx context.Context, ln net.Listener) error {
	s := grpc.NewServer(
		grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage),
		grpc.MaxConcurrentStreams(16), grpc.MaxHeaderListSize(64<<10),
		grpc.ConnectionTimeout(preface),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingWait}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	capturev1.RegisterProxyServiceServer(s, r)
	done := make(chan error, 1)
	go func() { done <- s.Serve(netutil.LimitListener(ln, registry.MaxLive+128)) }()
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
func (r *Receiver) Register(_ context.Context, req *capturev1.RegisterRequest) (*capturev1.RegisterResponse, error) {
	src, epoch, err := checkSource(req.GetSource())
	if err != nil {
		return nil, err
	}
	for _, s := range []string{req.GetVersion(), req.GetListenAddr(), req.GetUpstreamAddr()} {
		if len(s) > maxNameLen {
			return nil, status.Errorf(codes.InvalidArgument, "register: a name of %d bytes, at most %d", len(s), maxNameLen)
		}
	}
	src.Cluster = r.set.Cluster
	st := &capturev1.ProxyStatus{
		Source: src, Version: req.GetVersion(), ListenAddr: req.GetListenAddr(), UpstreamAddr: req.GetUpstreamAddr(),
		EpochStarted: req.GetEpochStarted(),
	}
	if req.GetNow() != 0 {
		st.ClockSkew = req.GetNow() - time.Now().UnixNano()
	}
	if err := r.set.Registry.Register(epoch, st); err != nil {
		r.set.Repeated.Log(slog.LevelWarn, "Could not register a proxy", slog.String("proxyID", src.GetProxyId()), slog.String("error", err.Error()))
		return nil, status.Error(codes.ResourceExhausted, err.Error())
	}
	return &capturev1.RegisterResponse{
		ForwarderId: r.set.ForwarderID, Version: r.set.Version, Cluster: r.set.Cluster,
		Lease: int64(registry.Lease), AckedBatches: r.set.Accepted.Ranges(epoch),
	}, nil
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
	return src, registry.Epoch(src.GetEpoch()), nil
}

// session is one Push stream. An epoch has one at a time.
type session struct {
	once sync.Once
	end  chan struct{} // closed to end it
	why  error         // set before end is closed
	done chan struct{} // closed when it has ended
}

func (s *session) stop(why error) {
	s.once.Do(func() {
		s.why = why
		close(s.end)
	})
}

// attach makes a session the epoch's one, and returns when the one before has
// ended: two of them at work on the same batch would take it twice.
func (r *Receiver) attach(ctx context.Context, epoch registry.Epoch) (*session, error) {
	s := &session{end: make(chan struct{}), done: make(chan struct{})}
	r.mu.Lock()
	prev := r.sessions[epoch]
	if prev == nil && len(r.sessions) >= registry.MaxLive {
		r.mu.Unlock()
		return nil, status.Errorf(codes.ResourceExhausted, "push: %d streams are open", registry.MaxLive)
	}
	r.sessions[epoch] = s
	r.mu.Unlock()
	if prev == nil {
		return s, nil
	}
	prev.stop(status.Error(codes.Aborted, "push: another stream of this proxy has begun"))
	select {
	case <-prev.done:
		return s, nil
	case <-ctx.Done():
		// Whoever waits for us goes on when prev is done, not before.
		go func() {
			<-prev.done
			r.detach(epoch, s)
		}()
		return nil, ctx.Err()
	}
}

func (r *Receiver) detach(epoch registry.Epoch, s *session) {
	r.mu.Lock()
	if r.sessions[epoch] == s {
		delete(r.sessions, epoch)
	}
	r.mu.Unlock()
	close(s.done)
}

// Expire ends the stream of a proxy whose lease ran out. If it is alive it
// registers again.
func (r *Receiver) Expire(epoch registry.Epoch) {
	r.mu.Lock()
	s := r.sessions[epoch]
	r.mu.Unlock()
	if s != nil {
		s.stop(status.Error(codes.Unavailable, "push: the lease ran out; register again"))
	}
}

// message is a request with what it holds of the memory that all share.
type message struct {
	req  *capturev1.PushRequest
	size int64
}

// Push implements capturev1.ProxyServiceServer.
func (r *Receiver) Push(stream grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	// Reading goes on while batches are on their way to the disk: what comes
	// meanwhile is the next group.
	in := make(chan message, maxGroup)
	var readErr error // set before in is closed
	go func() {
		defer close(in)
		readErr = r.read(ctx, stream, in)
	}()
	defer func() {
		cancel()
		// What was read and not worked on gives its memory back. The reader
		// itself ends with the stream, which ends when we return.
		go func() {
			for m := range in {
				r.memory.Release(m.size)
			}
		}()
	}()

	var first message
	timer := time.NewTimer(firstMessage)
	defer timer.Stop()
	select {
	case m, ok := <-in:
		if !ok {
			return endOf(readErr)
		}
		first = m
	case <-timer.C:
		return status.Error(codes.DeadlineExceeded, "push: nothing was sent")
	case <-r.stopping:
		return errStopping
	}
	src := first.req.GetBatch().GetSource()
	if src == nil {
		src = first.req.GetHeartbeat().GetSource()
	}
	src, epoch, err := checkSource(src)
	if err != nil {
		r.memory.Release(first.size)
		return err
	}
	s, err := r.attach(ctx, epoch)
	if err != nil {
		r.memory.Release(first.size)
		return err
	}
	defer r.detach(epoch, s)
	if !r.set.Registry.Connect(epoch) {
		r.memory.Release(first.size)
		return status.Error(codes.FailedPrecondition, "push: this proxy is not registered")
	}
	defer r.set.Registry.Disconnect(epoch)
	src = proto.CloneOf(src)
	src.Cluster = r.set.Cluster
	c := &conversation{r: r, stream: stream, epoch: epoch, source: src}
	for m, ok := first, true; ; {
		if !ok {
			return endOf(readErr)
		}
		if err := c.take(m, in); err != nil {
			return err
		}
		select {
		case <-s.end:
			return s.why
		case <-r.stopping:
			return errStopping
		default:
		}
		select {
		case m, ok = <-in:
		case <-s.end:
			return s.why
		case <-r.stopping:
			return errStopping
		}
	}
}

var errStopping = status.Error(codes.Unavailable, "push: the forwarder is stopping")

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *Receiver) read(ctx context.Context, stream grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse], in chan<- message) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		m := message{req, int64(proto.Size(req))}
		if err := r.memory.Acquire(ctx, m.size); err != nil {
			return err
		}
		select {
		case in <- m:
		case <-ctx.Done():
			r.memory.Release(m.size)
			return ctx.Err()
		}
	}
}

// conversation is one proxy's stream after it said who it is.
type conversation struct {
	r      *Receiver
	stream grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse]
	epoch  registry.Epoch
	source *capturev1.Source
	last   uint64 // highest batch sequence on this stream
}

// take works on a message and on those that have come behind it, makes their
// batches durable, and acknowledges them.
func (c *conversation) take(m message, in <-chan message) error {
	group := []message{m}
	for len(group) < maxGroup {
		select {
		case next, ok := <-in:
			if ok {
				group = append(group, next)
				continue
			}
		default:
		}
		break
	}
	defer func() {
		for _, m := range group {
			c.r.memory.Release(m.size)
		}
	}()

	var batches []prepared
	var refused error
	through := uint64(0)
	for _, m := range group {
		b := m.req.GetBatch()
		if b == nil {
			continue
		}
		if refused = c.check(b); refused != nil {
			break
		}
		if !c.r.set.Accepted.Has(c.epoch, b.GetSeq()) {
			p, err := c.r.prepare(c.epoch, c.source, b)
			if err != nil {
				refused = status.Error(codes.InvalidArgument, err.Error())
				break
			}
			batches = append(batches, p)
		}
		c.last, through = b.GetSeq(), b.GetSeq()
	}
	if err := c.r.commit(batches); err != nil {
		return c.failed(err)
	}
	if through > 0 {
		c.r.set.Registry.Seen(c.epoch)
		ack := &capturev1.PushResponse{Kind: &capturev1.PushResponse_Ack{Ack: &capturev1.Ack{Through: through}}}
		if err := c.stream.Send(ack); err != nil {
			return err
		}
	}
	if refused != nil {
		c.r.set.Repeated.Log(slog.LevelError, "Refused a batch", slog.String("proxyID", c.source.GetProxyId()), slog.String("error", status.Convert(refused).Message()))
		return refused
	}
	for _, m := range group {
		if h := m.req.GetHeartbeat(); h != nil {
			c.r.set.Registry.Heartbeat(c.epoch, h)
		}
	}
	return nil
}

// check holds a batch to its contract.
func (c *conversation) check(b *capturev1.Batch) error {
	bad := func(format string, args ...any) error {
		return status.Errorf(codes.InvalidArgument, "batch %d: %s", b.GetSeq(), fmt.Sprintf(format, args...))
	}
	_, epoch, err := checkSource(b.GetSource())
	switch {
	case err != nil:
		return bad("%s", status.Convert(err).Message())
	case epoch != c.epoch || b.GetSource().GetProxyId() != c.source.GetProxyId():
		return bad("its source is not the stream's")
	case b.GetSeq() == 0:
		return bad("sequences begin with 1")
	case b.GetSeq() <= c.last:
		return bad("it came after batch %d; sequences must ascend", c.last)
	case len(b.GetPairs()) > frame.MaxPairs:
		return bad("%d pairs, at most %d", len(b.GetPairs()), frame.MaxPairs)
	}
	for i, p := range b.GetPairs() {
		switch {
		case len(p.GetId()) != 16:
			return bad("pair %d: id of %d bytes, want 16", i, len(p.GetId()))
		case p.GetProxySeq() == 0 || p.GetProxySeq() != b.GetFirstPairSeq()+uint64(i):
			return bad("pair %d: sequence %d, want %d: pairs must follow one another", i, p.GetProxySeq(), b.GetFirstPairSeq()+uint64(i))
		}
	}
	return nil
}

// failed turns an error of the spool into what the proxy is told: it keeps its
// batches and comes again.
func (c *conversation) failed(err error) error {
	if errors.Is(err, seglog.ErrClosed) {
		return errStopping
	}
	c.r.set.Repeated.Log(slog.LevelError, "Could not write to the spool; what is not acknowledged stays with the proxies", slog.String("error", err.Error()))
	if _, ok := errors.AsType[*seglog.FullError](err); ok {
		return status.Error(codes.Unavailable, "the forwarder's disk is full")
	}
	return status.Error(codes.Unavailable, "the forwarder cannot write to its disk")
}
