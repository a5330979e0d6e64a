package receive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/forwarder/registry"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/seglog"
	"github.com/weir-capture/weir/spool"
)

type pushStream = grpc.BidiStreamingServer[capturev1.PushRequest, capturev1.PushResponse]

// session is one Push stream. An epoch has one at a time.
type session struct {
	replies *replies
	once    sync.Once
	end     chan struct{} // closed to end it
	why     error         // set before end is closed
	done    chan struct{} // closed when it has ended

	// What it was told to sample, under the receiver's mu. A proxy that does
	// not know settings is never told.
	app     string
	tunable bool
	told    bool
	keep    uint32
}

func (s *session) stop(why error) {
	s.once.Do(func() {
		s.why = why
		close(s.end)
	})
}

// attach makes a session the epoch's one, and returns when the one before has
// ended: two of them at work on the same batch would take it twice. That one
// waits for nothing but the disk any more, least of all for its peer.
func (r *Receiver) attach(ctx context.Context, epoch registry.Epoch, s *session) error {
	r.mu.Lock()
	prev := r.sessions[epoch]
	if prev == nil && len(r.sessions) >= registry.MaxLive {
		r.mu.Unlock()
		return status.Errorf(codes.ResourceExhausted, "push: %d streams are open", registry.MaxLive)
	}
	r.sessions[epoch] = s
	r.mu.Unlock()
	if prev == nil {
		return nil
	}
	prev.stop(status.Error(codes.Aborted, "push: another stream of this proxy has begun"))
	select {
	case <-prev.done:
		return nil
	case <-ctx.Done():
		// Whoever waits for us goes on when prev is done, not before.
		go func() {
			<-prev.done
			r.detach(epoch, s)
		}()
		return ctx.Err()
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

// Retune tells every connected proxy how to sample from now on, where that
// has changed.
func (r *Receiver) Retune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sessions {
		r.tune(s)
	}
}

// tune is Retune for one. r.mu is held.
func (r *Receiver) tune(s *session) {
	if r.set.KeepOneIn == nil || !s.tunable {
		return
	}
	keep := r.set.KeepOneIn(s.app)
	if s.told && s.keep == keep {
		return
	}
	s.told, s.keep = true, keep
	s.replies.settings(&capturev1.Settings{KeepOneIn: keep})
}

// Push implements capturev1.ProxyServiceServer.
func (r *Receiver) Push(stream pushStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	guest := grpcdoor.From(ctx)
	leave, err := guest.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	// Reading goes on while batches are on their way to the disk: what comes
	// meanwhile is the next group.
	in := make(chan *incoming, maxGroup)
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
				r.let(m)
			}
		}()
	}()

	var first *incoming
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
	if err == nil {
		err = r.may(ctx, src.GetProxyId())
	}
	if err == nil && r.set.Registry.Other(epoch, src.GetProxyId()) {
		err = r.door.Deny(ctx, grpcdoor.Forbidden, "the epoch is another proxy's")
	}
	if err != nil {
		r.let(first)
		return err
	}
	s := &session{replies: newReplies(stream), end: make(chan struct{}), done: make(chan struct{})}
	if err := r.attach(ctx, epoch, s); err != nil {
		r.let(first)
		return err
	}
	defer r.detach(epoch, s)
	version, ok := r.set.Registry.Connect(epoch)
	if !ok {
		r.let(first)
		return status.Error(codes.FailedPrecondition, "push: this proxy is not registered")
	}
	defer r.set.Registry.Disconnect(epoch)
	src = proto.CloneOf(src)
	src.Cluster = r.set.Cluster
	go s.replies.run()
	defer s.flush()
	go func() {
		if err := guest.Watch(ctx, func(id grpcdoor.Identity) bool { return r.allows(id, src.GetProxyId()) }); err != nil {
			s.stop(err)
		}
	}()
	defer r.shares.join(guest.Key())()
	r.mu.Lock()
	s.app, s.tunable = src.GetApp(), version >= 1
	r.tune(s)
	r.mu.Unlock()
	encoded, err := frame.EncodeSource(src)
	if err != nil {
		r.let(first)
		return status.Error(codes.InvalidArgument, err.Error())
	}
	c := &conversation{r: r, replies: s.replies, epoch: epoch, source: &source{src, encoded}, share: guest.Key()}
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
		case <-s.replies.done:
			return s.replies.err
		case <-s.end:
			return s.why
		case <-r.stopping:
			return errStopping
		}
	}
}

// flush lets the last words of a stream go before it ends; not where another
// stream waits for its end.
func (s *session) flush() {
	s.replies.close()
	timer := time.NewTimer(flushTime)
	defer timer.Stop()
	select {
	case <-s.replies.done:
	case <-s.end:
	case <-timer.C:
	}
}

var errStopping = status.Error(codes.Unavailable, "push: the forwarder is stopping")

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (r *Receiver) read(ctx context.Context, stream pushStream, in chan<- *incoming) error {
	guest := grpcdoor.From(ctx)
	for {
		m := new(incoming)
		if err := stream.RecvMsg(m); err != nil {
			return err
		}
		if err := guest.Take(ctx, int(m.size)); err != nil {
			m.release()
			return err
		}
		if err := r.memory.Acquire(ctx, m.size); err != nil {
			m.release()
			return err
		}
		select {
		case in <- m:
		case <-ctx.Done():
			r.let(m)
			return ctx.Err()
		}
	}
}

// let ends a message: nobody has anything of its batch any more.
func (r *Receiver) let(m *incoming) {
	r.memory.Release(m.size)
	m.release()
}

// conversation is one proxy's stream after it said who it is.
type conversation struct {
	r       *Receiver
	replies *replies
	epoch   registry.Epoch
	source  *source
	// share is whose part of the spool it fills.
	share string
	last  uint64 // highest batch sequence on this stream
}

// take works on a message and on those that have come behind it, makes their
// batches durable, and acknowledges them.
func (c *conversation) take(m *incoming, in <-chan *incoming) error {
	group := []*incoming{m}
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
			c.r.let(m)
		}
	}()

	var batches []prepared
	var refused error
	through := uint64(0)
	for _, m := range group {
		b := m.req.GetBatch()
		if b == nil {
			if refused = checkHeartbeat(m.req.GetHeartbeat()); refused != nil {
				break
			}
			continue
		}
		if refused = c.check(b); refused != nil {
			break
		}
		if !c.r.set.Accepted.Has(c.epoch, b.GetSeq()) {
			p, err := c.r.prepare(c.epoch, c.source, m)
			if err != nil {
				refused = status.Error(codes.InvalidArgument, err.Error())
				break
			}
			p.size = m.size
			batches = append(batches, p)
		}
		c.last, through = b.GetSeq(), b.GetSeq()
	}
	if len(batches) > 0 && c.r.shares.over(c.share) {
		c.r.set.Repeated.Log(slog.LevelWarn, "The spool is full, and most of it is of one source; it has to wait so that others lose nothing", slog.String("proxyID", c.source.GetProxyId()))
		return status.Error(codes.Unavailable, "the spool is full, and most of it is yours: it is taken when there is room")
	}
	// However slow the disk is, it is not the proxy that is silent.
	release := c.r.set.Registry.Hold(c.epoch)
	err := c.r.commit(batches)
	release()
	if err != nil {
		return c.failed(err)
	}
	for _, b := range batches {
		c.r.shares.took(c.share, b.size)
	}
	if through > 0 {
		c.replies.ack(through)
	}
	if refused != nil {
		c.r.set.Repeated.Log(slog.LevelError, "Refused what a proxy sent", slog.String("proxyID", c.source.GetProxyId()), slog.String("error", status.Convert(refused).Message()))
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
	case proto.Size(b.GetCounters()) > maxSaid:
		return bad("counters of %d bytes, at most %d", proto.Size(b.GetCounters()), maxSaid)
	case len(b.ProtoReflect().GetUnknown()) > maxUnknown:
		return bad("%d bytes that this version does not know, at most %d", len(b.ProtoReflect().GetUnknown()), maxUnknown)
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

// checkHeartbeat bounds what is kept of a proxy; h may be nil.
func checkHeartbeat(h *capturev1.Heartbeat) error {
	if n := proto.Size(h); n > maxSaid {
		return status.Errorf(codes.InvalidArgument, "heartbeat of %d bytes, at most %d", n, maxSaid)
	}
	return nil
}

// failed turns an error of the spool into what the proxy is told: it keeps its
// batches and comes again.
func (c *conversation) failed(err error) error {
	if errors.Is(err, seglog.ErrClosed) {
		return errStopping
	}
	if errors.Is(err, spool.ErrFull) {
		c.r.set.Repeated.Log(slog.LevelError, "The spool is full, and has no room to say what is dropped; what is not acknowledged stays with the proxies")
		return status.Error(codes.Unavailable, "the forwarder's spool is full and has no room for the count of a loss")
	}
	c.r.set.Repeated.Log(slog.LevelError, "Could not write to the spool; what is not acknowledged stays with the proxies", slog.String("error", err.Error()))
	if _, ok := errors.AsType[*seglog.FullError](err); ok {
		return status.Error(codes.Unavailable, "the forwarder's disk is full")
	}
	return status.Error(codes.Unavailable, "the forwarder cannot write to its disk")
}
