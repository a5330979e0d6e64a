package receive

import (
	"sync"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/failpoint"
)

// replies is what a proxy is told on one stream. All of it is sent by one
// goroutine, so that messages go one at a time, and so that a proxy that does
// not read holds up nobody: while it does not, only the newest
// acknowledgement and the newest settings wait.
type replies struct {
	stream pushStream
	wake   chan struct{}
	done   chan struct{} // closed when run has ended
	err    error         // set before done is closed

	mu      sync.Mutex
	through uint64              // to acknowledge; 0 is nothing
	set     *capturev1.Settings // to tell; nil is nothing
	closed  bool
}

func newReplies(stream pushStream) *replies {
	return &replies{stream: stream, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// ack acknowledges all batches through one.
func (q *replies) ack(through uint64) {
	q.mu.Lock()
	q.through = max(q.through, through)
	q.mu.Unlock()
	q.poke()
}

// settings replaces what the proxy was told to do.
func (q *replies) settings(s *capturev1.Settings) {
	q.mu.Lock()
	q.set = s
	q.mu.Unlock()
	q.poke()
}

// close says that nothing more comes; run ends after what is there.
func (q *replies) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.poke()
}

func (q *replies) poke() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// run sends until the stream ends, or until close and nothing is left. The
// stream's end, which is the handler's return, also frees a Send that waits
// for a peer.
func (q *replies) run() {
	defer close(q.done)
	for {
		resp, more := q.next()
		if resp == nil {
			if !more {
				return
			}
			select {
			case <-q.wake:
			case <-q.stream.Context().Done():
				q.err = q.stream.Context().Err()
				return
			}
			continue
		}
		if q.err = q.stream.Send(resp); q.err != nil {
			return
		}
		if resp.GetAck() != nil {
			_ = failpoint.Hit(failpoint.SpoolAfterAck) // nothing can fail behind it
		}
	}
}

// next takes what is to be sent, or nil; more says whether something may come.
func (q *replies) next() (resp *capturev1.PushResponse, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.set != nil:
		resp = &capturev1.PushResponse{Kind: &capturev1.PushResponse_Settings{Settings: q.set}}
		q.set = nil
	case q.through > 0:
		resp = &capturev1.PushResponse{Kind: &capturev1.PushResponse_Ack{Ack: &capturev1.Ack{Through: q.through}}}
		q.through = 0
	}
	return resp, !q.closed
}
