// Package clock is a wall clock that never runs backwards: one reading of the
// wall clock when it is made, and the monotonic clock from there. Differences
// of its times are durations that are never negative, whatever is done to the
// machine's time meanwhile.
package clock

import "time"

// Clock gives times in nanoseconds since the Unix epoch. It is safe for
// concurrent use.
type Clock struct {
	wall  int64
	start time.Time
}

// New anchors a clock at this moment.
func New() *Clock {
	now := time.Now()
	return &Clock{wall: now.UnixNano(), start: now}
}

// Now is the anchor plus what has passed since.
func (c *Clock) Now() int64 { return c.wall + int64(time.Since(c.start)) }

// Start is the anchor.
func (c *Clock) Start() int64 { return c.wall }
