package ingest

import (
	"context"
	"sync"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// queue holds the frames that were received and not appended, bounded by
// bytes. One goroutine puts, one takes.
type queue struct {
	limit int64

	mu     sync.Mutex
	frames []*capturev1.Frame
	bytes  int64
	closed bool
	// changed has room for one: the other side looks again.
	added, taken chan struct{}
}

func newQueue(limit int64) *queue {
	return &queue{limit: limit, added: make(chan struct{}, 1), taken: make(chan struct{}, 1)}
}

func size(f *capturev1.Frame) int64 { return int64(len(f.GetHead()) + len(f.GetBody())) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// put waits for room. A frame that alone is over the limit has the queue to
// itself.
func (q *queue) put(ctx context.Context, f *capturev1.Frame) error {
	for {
		q.mu.Lock()
		if q.bytes == 0 || q.bytes+size(f) <= q.limit {
			q.frames = append(q.frames, f)
			q.bytes += size(f)
			q.mu.Unlock()
			signal(q.added)
			return nil
		}
		q.mu.Unlock()
		select {
		case <-q.taken:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// close says that nothing more comes.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	signal(q.added)
}

// take gives all that is there, and waits when there is nothing. more is false
// when the queue is closed and empty.
func (q *queue) take(ctx context.Context) (frames []*capturev1.Frame, more bool, err error) {
	for {
		q.mu.Lock()
		if len(q.frames) > 0 {
			frames = q.frames
			q.frames, q.bytes = nil, 0
			q.mu.Unlock()
			signal(q.taken)
			return frames, true, nil
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil, false, nil
		}
		select {
		case <-q.added:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
}
