package export

import (
	"sync"
	"time"
)

const (
	// rateTime is what the rate of a backlog is taken over.
	rateTime = 10 * time.Second
	// rateStep is the least time between two of its samples.
	rateStep = time.Second
)

// Rate says how long a backlog lasts. The zero value is ready; it is safe for
// concurrent use.
type Rate struct {
	mu      sync.Mutex
	samples []sample // ascending in time; at most rateTime/rateStep and one
}

type sample struct {
	at      time.Time
	backlog uint64
}

// ETA takes the backlog of now, in bytes, and says how long it lasts if it goes
// on to shrink as in the last ten seconds; 0 when there is none, when it does
// not shrink, and while nobody can tell yet. More than a
// year is a year.
func (r *Rate) ETA(now time.Time, backlog uint64) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.samples) > 0 && now.Sub(r.samples[0].at) > rateTime {
		r.samples = append(r.samples[:0], r.samples[1:]...)
	}
	if n := len(r.samples); n == 0 || now.Sub(r.samples[n-1].at) >= rateStep {
		r.samples = append(r.samples, sample{now, backlog})
	}
	first := r.samples[0]
	took := now.Sub(first.at)
	if backlog == 0 || backlog >= first.backlog || took <= 0 {
		return 0
	}
	const ever = 365 * 24 * time.Hour
	return time.Duration(min(float64(backlog)/float64(first.backlog-backlog)*float64(took), float64(ever)))
}
