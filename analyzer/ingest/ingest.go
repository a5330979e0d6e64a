// Package ingest takes frames from forwarders into the store, over gRPC.
//
// On a stream the forwarder says which spool it has, the analyzer what of it
// is here, and the forwarder sends the rest, in any order. Each frame is
// acknowledged when the store has it durably; a frame that comes again is not
// stored again. Forwarders that speak version 0 send in order, and go by a
// single offset.
// While the store makes writers wait, nothing more is read from the stream, so
// that what cannot be stored yet stays in the forwarder's spool.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/grpcdoor"
)

// Config is what the developer of a program sets. Zero values mean the
// defaults that stand beside them.
type Config struct {
	// Version and AnalyzerID are told to forwarders.
	Version, AnalyzerID string
	// Streams is how many are open at once: 256. Each holds at most Buffer
	// bytes of frames that are not stored yet, 16 MiB, or one frame.
	Streams int
	Buffer  int64
	// MaxMessage bounds one message, and so a frame: 32 MiB.
	MaxMessage int
	// HelloTimeout is how long a stream may take to say which spool it has:
	// 10 s.
	HelloTimeout time.Duration
	// StopTimeout bounds how long Serve waits for streams to end: 5 s.
	StopTimeout time.Duration
	// Now is the clock: time.Now.
	Now func() time.Time
	// Door says who gets in: nobody but this machine's own, where it is zero.
	Door Door
}

func (c Config) withDefaults() Config {
	if c.Streams == 0 {
		c.Streams = 256
	}
	if c.Buffer == 0 {
		c.Buffer = 16 << 20
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 32 << 20
	}
	if c.HelloTimeout == 0 {
		c.HelloTimeout = 10 * time.Second
	}
	if c.StopTimeout == 0 {
		c.StopTimeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Server is the IngestService.
type Server struct {
	capturev1.UnimplementedIngestServiceServer

	cfg Config
	w   store.Writer
	dir *Directory
	log *slog.Logger
	// door is made by Serve, which knows where it listens.
	door atomic.Pointer[grpcdoor.Door]

	// slots has one entry for each open stream.
	slots chan struct{}
	// stopping closes when Serve is told to end.
	stopping chan struct{}

	mu      sync.Mutex
	streams map[store.ID]*stream

	frames, bytes, refused atomic.Uint64
}

// stream is the one that a spool has open.
type stream struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// New makes a server that writes to w and keeps dir current. It starts
// nothing.
func New(cfg Config, w store.Writer, dir *Directory, log *slog.Logger) *Server {
	cfg = cfg.withDefaults()
	return &Server{
		cfg: cfg, w: w, dir: dir, log: log,
		slots: make(chan struct{}, cfg.Streams), stopping: make(chan struct{}), streams: map[store.ID]*stream{},
	}
}

// Serve takes streams on ln until ctx ends. Then every stream finishes what it
// is storing, acknowledges it and ends, within StopTimeout, and Serve returns
// nil. It closes ln, and may be called once.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	door, options := s.openDoor(ln.Addr())
	srv := grpc.NewServer(append(options,
		grpc.MaxRecvMsgSize(s.cfg.MaxMessage),
		grpc.MaxConcurrentStreams(16), grpc.MaxHeaderListSize(64<<10),
		grpc.ConnectionTimeout(s.cfg.HelloTimeout),
		// A peer that vanished is noticed although it has nothing to say.
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 15 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)...)
	capturev1.RegisterIngestServiceServer(srv, s)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(door.Listen(ln)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve ingest: %w", err)
	case <-ctx.Done():
	}
	close(s.stopping)
	graceful := make(chan struct{})
	go func() {
		srv.GracefulStop()
		close(graceful)
	}()
	limit := time.NewTimer(s.cfg.StopTimeout)
	defer limit.Stop()
	select {
	case <-graceful:
	case <-limit.C:
		srv.Stop() // makes GracefulStop return
		<-graceful
	}
	if err := <-failed; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serve ingest: %w", err)
	}
	return nil
}

// Why a stream is ended from here.
var (
	errReplaced = status.Error(codes.Aborted, "this spool has opened another stream")
	errStopping = status.Error(codes.Unavailable, "the analyzer is stopping")
)

// Export implements the service.
func (s *Server) Export(g grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) error {
	select {
	case s.slots <- struct{}{}:
	default:
		s.refused.Add(1)
		return status.Errorf(codes.ResourceExhausted, "all %d streams of this analyzer are open", s.cfg.Streams)
	}
	defer func() { <-s.slots }()
	ctx, cancel := context.WithCancelCause(g.Context())
	defer cancel(nil)
	guest := grpcdoor.From(ctx)
	leave, err := guest.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	go func() {
		select {
		case <-s.stopping:
			cancel(errStopping)
		case <-ctx.Done():
		}
	}()
	go func() {
		if err := guest.Watch(ctx, nil); err != nil {
			cancel(&shownOut{err})
		}
	}()

	err = s.export(ctx, cancel, g)
	cause := context.Cause(ctx)
	if out, ok := errors.AsType[*shownOut](cause); ok {
		return out.Unwrap() // whatever it was about to be told
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(cause, errReplaced) || errors.Is(cause, errStopping):
		return cause
	case status.Code(err) == codes.InvalidArgument || status.Code(err) == codes.FailedPrecondition:
		s.refused.Add(1)
		s.log.Warn("Refused what a forwarder sent", slog.String("peer", peerOf(g.Context())), slog.String("error", status.Convert(err).Message()))
	}
	return err
}

func (s *Server) export(ctx context.Context, cancel context.CancelCauseFunc, g grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) error {
	hello, err := s.hello(ctx, g)
	if err != nil {
		return err
	}
	spool := store.ID(hello.GetSpoolId())
	if err := s.bind(ctx, spool); err != nil {
		return err
	}
	leave, err := s.enter(ctx, spool, cancel)
	if err != nil {
		return err
	}
	defer leave()

	log := s.log.With(slog.String("forwarder", hello.GetForwarderId()), slog.String("peer", peerOf(g.Context())))
	have := s.w.Have(spool)
	gap := s.look(hello, have, log)
	gone := s.dir.connect(hello, peerOf(g.Context()), gap, s.cfg.Now())
	defer gone()
	log.Info("Forwarder connected", slog.String("cluster", hello.GetCluster()), slog.String("version", hello.GetVersion()))

	in := &session{
		forwarder: hello.GetForwarderId(), spool: spool,
		inOrder: hello.GetApiVersion() == 0, q: newQueue(s.cfg.Buffer), out: newAnswers(s.greeting(have)),
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := in.out.send(g); err != nil {
			cancel(err)
		}
	}()
	received := make(chan error, 1)
	go func() {
		err := s.receive(ctx, g, in, have.Next)
		in.q.close()
		if err != nil {
			cancel(err)
		}
		received <- err
	}()
	err = s.store(ctx, in)
	// Nothing more is stored: the spool's next stream need not wait for a peer
	// that reads slowly, or not at all.
	leave()
	in.out.close()
	s.join(ctx, sent)
	switch {
	case err == nil || g.Context().Err() != nil:
		// It has no more, or went away: why is what receiving ended with.
		err = <-received
	case errors.Is(err, context.Canceled):
		err = context.Cause(ctx)
	}
	if err == nil || status.Code(err) == codes.Canceled {
		log.Info("Forwarder disconnected")
	} else {
		log.Info("Forwarder disconnected", slog.String("reason", status.Convert(err).Message()))
	}
	return err
}

// hello is the first message.
func (s *Server) hello(ctx context.Context, g grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse]) (*capturev1.Hello, error) {
	type result struct {
		req *capturev1.ExportRequest
		err error
	}
	first := make(chan result, 1)
	go func() {
		// It ends with the stream at the latest.
		req, err := g.Recv()
		first <- result{req, err}
	}()
	limit := time.NewTimer(s.cfg.HelloTimeout)
	defer limit.Stop()
	var r result
	select {
	case r = <-first:
	case <-limit.C:
		return nil, status.Error(codes.DeadlineExceeded, "no hello")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if r.err != nil {
		return nil, r.err
	}
	h := r.req.GetHello()
	switch {
	case h == nil:
		return nil, status.Error(codes.InvalidArgument, "the first message has to be a hello")
	case len(h.GetSpoolId()) != len(store.ID{}):
		return nil, status.Errorf(codes.InvalidArgument, "spool id of %d bytes, want %d", len(h.GetSpoolId()), len(store.ID{}))
	case h.GetForwarderId() == "" || len(h.GetForwarderId()) > 256:
		return nil, status.Errorf(codes.InvalidArgument, "forwarder id of %d bytes, want 1 to 256", len(h.GetForwarderId()))
	case h.GetOldestOffset() > h.GetNextOffset():
		return nil, status.Errorf(codes.InvalidArgument, "oldest offset %d is above the next, %d", h.GetOldestOffset(), h.GetNextOffset())
	}
	if err := capturev1.CheckVersions("forwarder", h.GetApiVersion(), h.GetApiOldest()); err != nil {
		return nil, status.Error(codes.FailedPrecondition, err.Error())
	}
	return h, nil
}

// look compares what a spool has with what is here of it. gap: some of it was
// removed there, and nobody says what that was.
func (s *Server) look(hello *capturev1.Hello, have store.Have, log *slog.Logger) (gap bool) {
	next := have.Next
	if n := len(have.Ranges); n > 0 {
		next = have.Ranges[n-1].To
	}
	if hello.GetNextOffset() < next {
		// Going on from Have it would lose nothing that it takes from here on;
		// for what it took before this it has to come under another id.
		log.Warn("The spool ends before what the analyzer has of it: the forwarder's directory is an older copy",
			slog.Uint64("spool_next", hello.GetNextOffset()), slog.Uint64("stored_next", next))
	}
	// Since version 1 what is removed is declared.
	if hello.GetApiVersion() == 0 && hello.GetOldestOffset() > have.Next {
		log.Warn("A stretch of the spool was removed before it came here",
			slog.Uint64("from", have.Next), slog.Uint64("to", hello.GetOldestOffset()))
		return true
	}
	return false
}

// greeting is the answer to a hello.
func (s *Server) greeting(have store.Have) *capturev1.ExportResponse {
	h := &capturev1.ExportResponse_Have{
		NextOffset: have.Next, AnalyzerId: s.cfg.AnalyzerID, Version: s.cfg.Version,
		Ranges: ranges(have), ApiVersion: capturev1.APIVersion, ApiOldest: capturev1.APIOldest,
	}
	if have.Known {
		h.Last = &capturev1.ExportResponse_LastFrame{Offset: have.Last, Checksum: have.Sum}
	}
	return &capturev1.ExportResponse{Kind: &capturev1.ExportResponse_Have_{Have: h}}
}

func ranges(have store.Have) []*capturev1.OffsetRange {
	out := make([]*capturev1.OffsetRange, len(have.Ranges))
	for i, r := range have.Ranges {
		out[i] = &capturev1.OffsetRange{From: r.From, To: r.To}
	}
	return out
}

// session is a stream after its hello.
type session struct {
	forwarder string
	spool     store.ID
	// inOrder: the forwarder speaks version 0.
	inOrder bool
	q       *queue
	out     *answers
}

// join waits for what is still to be said. A stream that was replaced has
// nothing to say any more; who does not read is not waited for.
func (s *Server) join(ctx context.Context, sent <-chan struct{}) {
	if errors.Is(context.Cause(ctx), errReplaced) {
		return
	}
	limit := time.NewTimer(s.cfg.StopTimeout)
	defer limit.Stop()
	select {
	case <-sent:
	case <-limit.C:
	}
}

// enter makes this the spool's stream. An earlier one is ended, and has stored
// what it was storing when enter returns.
func (s *Server) enter(ctx context.Context, spool store.ID, cancel context.CancelCauseFunc) (leave func(), err error) {
	mine := &stream{cancel: cancel, done: make(chan struct{})}
	s.mu.Lock()
	before := s.streams[spool]
	s.streams[spool] = mine
	s.mu.Unlock()
	leave = sync.OnceFunc(func() {
		s.mu.Lock()
		if s.streams[spool] == mine {
			delete(s.streams, spool)
		}
		s.mu.Unlock()
		close(mine.done)
	})
	if before == nil {
		return leave, nil
	}
	before.cancel(errReplaced)
	select {
	case <-before.done:
		return leave, nil
	case <-ctx.Done():
		// Whoever replaced this one must not go on before the first has ended.
		go func() { <-before.done; leave() }()
		return nil, context.Cause(ctx)
	}
}

// receive queues what comes, until the forwarder has no more. next is where a
// forwarder goes on that sends in order.
func (s *Server) receive(ctx context.Context, g grpc.BidiStreamingServer[capturev1.ExportRequest, capturev1.ExportResponse], in *session, next uint64) error {
	guest := grpcdoor.From(ctx)
	for {
		req, err := g.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch k := req.GetKind().(type) {
		case *capturev1.ExportRequest_Frame:
			f := k.Frame
			if in.inOrder && f.GetOffset() < next {
				return status.Errorf(codes.InvalidArgument, "frame at offset %d: offsets have to grow, and it comes after %d", f.GetOffset(), next)
			}
			next = f.GetNextOffset()
			s.frames.Add(1)
			s.bytes.Add(uint64(size(f)))
			if err := guest.Take(ctx, int(size(f))); err != nil {
				return err
			}
			if err := in.q.put(ctx, f); err != nil {
				return err
			}
		case *capturev1.ExportRequest_Status:
			s.dir.update(in.forwarder, k.Status, s.cfg.Now())
		default:
			return status.Error(codes.InvalidArgument, "message of no known kind")
		}
	}
}

// store appends what is queued and acknowledges it, until there is no more.
func (s *Server) store(ctx context.Context, in *session) error {
	for {
		frames, more, err := in.q.take(ctx)
		if err != nil || !more {
			return err
		}
		if err := s.w.Append(ctx, in.spool, frames); err != nil {
			if wrong, ok := errors.AsType[*store.FrameError](err); ok {
				return status.Error(codes.InvalidArgument, wrong.Error())
			}
			switch {
			case ctx.Err() != nil:
				return context.Canceled
			case errors.Is(err, store.ErrFull):
				return status.Error(codes.ResourceExhausted, "the analyzer's disk is full")
			}
			s.log.Error("Could not store what a forwarder sent", slog.String("error", err.Error()))
			return status.Error(codes.Unavailable, "the analyzer could not store it; its log says why")
		}
		missing := 0
		for _, f := range frames {
			if why := f.GetMissing(); why != "" && why != capturev1.MissingDeclared {
				missing++
			}
		}
		s.dir.missing(in.forwarder, missing)
		if in.inOrder {
			// What lies between its frames are places where none ever was.
			last := frames[len(frames)-1]
			s.w.Skip(in.spool, last.GetOffset())
			in.out.acknowledge(&capturev1.ExportResponse_Ack{NextOffset: last.GetNextOffset()})
			continue
		}
		// What it no longer has it says itself: a hole that was closed for it
		// would be one of which nobody ever hears why.
		have := s.w.Have(in.spool)
		in.out.acknowledge(&capturev1.ExportResponse_Ack{NextOffset: have.Next, Ranges: ranges(have)})
	}
}

func peerOf(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return ""
}
