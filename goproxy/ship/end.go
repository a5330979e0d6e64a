package ship

import (
	"context"
	"sync"
	"time"
)

// ending is how a shipper stops: something has begun to end (draining), then
// time is up for what is on its way (expired), then for everything (ctx).
type ending struct {
	draining, expired chan struct{}
	ctx               context.Context // it is what this type is about
	cancel            context.CancelFunc
	once              sync.Once
	mu                sync.Mutex
	timers            []*time.Timer
	// abandoned are the pairs that were given up before the goodbye.
	abandoned int
}

func newEnding() *ending {
	e := &ending{draining: make(chan struct{}), expired: make(chan struct{})}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

func (e *ending) begin() {
	e.once.Do(func() {
		close(e.draining)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.timers = append(
			e.timers,
			time.AfterFunc(drainTime, func() { close(e.expired) }),
			time.AfterFunc(drainTime+goodbyeTime, e.cancel),
		)
	})
}

func (e *ending) begun() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

// sleep waits for d, and no longer than until the end begins: then there is no
// time to wait. Afterwards it says whether the end has not begun. Once it has,
// waits are short.
func (e *ending) sleep(d time.Duration) bool {
	draining := e.draining
	if e.begun() {
		draining = nil
		d = min(d, time.Second)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-draining:
	case <-e.ctx.Done():
	}
	return !e.begun()
}

func (e *ending) stop() {
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.timers {
		t.Stop()
	}
}
