package duckindex

import (
	"context"
	"time"
)

// patience is how long a statement has to end after its context has.
const patience = 100 * time.Millisecond

// soon gives what do gives, or the error of a context that ended. A statement
// that is interrupted just when it begins may not notice, and the driver says
// so again only after half a second: whoever asked is not made to wait for
// that. Close waits for what was left running; the database's connections
// bound how much that can be.
func soon[T any](ctx context.Context, x *Index, do func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	x.calls.Go(func() {
		v, err := do(ctx)
		done <- result{v, err}
	})
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-done:
		return r.value, r.err
	case <-late.C:
		var none T
		return none, ctx.Err()
	}
}
