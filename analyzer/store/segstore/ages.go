package segstore

import (
	"sync"
	"time"
)

// ages tells how long ago records came. Times of arrival are the wall clock's,
// and that may be set to anything at any time; so it is watched beside a clock
// that only measures what passes, and what it jumped by does not age what had
// come before.
type ages struct {
	elapsed func() time.Duration

	mu    sync.Mutex
	wall  time.Time // without a monotonic reading
	at    time.Duration
	known bool
	jumps []jump
}

// jump is one time that the wall clock was set.
type jump struct {
	by time.Duration
	// at is when it was noticed, by elapsed; off where the log ended then.
	at  time.Duration
	off uint64
}

const (
	// clockAllowance is how far the wall clock may get ahead or behind from
	// one look to the next: as much as it is slewed, not set.
	clockAllowance = 10 * time.Second
	// maxJumps bounds those that are remembered. Beyond them the two oldest
	// count as one.
	maxJumps = 1024
)

// look compares the clocks; end is where the log ends. It gives what the wall
// clock has jumped by, 0 when it has not.
func (a *ages) look(now time.Time, end uint64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now, at := now.Round(0), a.elapsed()
	by := now.Sub(a.wall) - (at - a.at)
	first := !a.known
	a.wall, a.at, a.known = now, at, true
	if first || by.Abs() <= clockAllowance {
		return 0
	}
	if len(a.jumps) == maxJumps {
		a.jumps[1].by += a.jumps[0].by
		a.jumps = a.jumps[1:]
	}
	a.jumps = append(a.jumps, jump{by, at, end})
	return by
}

// of is how long ago the wall clock said stamp, which was written at off.
func (a *ages) of(stamp time.Time, off uint64) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := a.wall.Sub(stamp)
	for i := len(a.jumps) - 1; i >= 0; i-- {
		if j := a.jumps[i]; off < j.off {
			age -= j.by
		} else {
			// It was written since, be it with a time from just before.
			age = min(age, a.at-j.at)
		}
	}
	return age
}

// forget lets go of jumps that came before everything from oldest on.
func (a *ages) forget(oldest uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.jumps) > 0 && a.jumps[0].off <= oldest {
		a.jumps = a.jumps[1:]
	}
}
