package grpcdoor

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// minSweep are so few that nobody looks for those who are gone.
	minSweep = 256
	// maxParties bounds those whose limits are kept apart; what comes beyond
	// shares one.
	maxParties = 16 << 10
	// burst is what somebody may send ahead of their rate, in bytes.
	burst = 64 << 20
)

// parties are those who have sent something lately, by Guest.Key.
type parties struct {
	rate  int64
	burst int

	mu    *sync.Mutex
	all   map[string]*party
	sweep int // how many make it worth while to look for those who are gone
	other *party
}

// party is the limits of one.
type party struct {
	mu      *sync.Mutex // the parties'
	streams int
	limit   *rate.Limiter
}

func newParties(perSecond int64) parties {
	p := parties{rate: perSecond, burst: int(max(burst, perSecond)), mu: new(sync.Mutex), all: map[string]*party{}, sweep: minSweep}
	p.other = p.make()
	return p
}

func (p *parties) make() *party {
	return &party{mu: p.mu, limit: rate.NewLimiter(rate.Limit(p.rate), p.burst)}
}

// enter counts a stream; false where limit, unless that is 0, are open. Who
// comes back has used what it had used before.
func (p *parties) enter(key string, limit int) (*party, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.all[key]
	if one == nil {
		one = p.take(key)
	}
	if limit > 0 && one.streams >= limit {
		return nil, false
	}
	one.streams++
	return one, true
}

// take makes room for somebody new. p.mu is held.
func (p *parties) take(key string) *party {
	if len(p.all) >= p.sweep {
		for k, one := range p.all {
			// Nothing of it is to be remembered.
			if one.streams == 0 && one.limit.Tokens() >= float64(p.burst) {
				delete(p.all, k)
			}
		}
		p.sweep = min(max(minSweep, 2*len(p.all)), maxParties)
	}
	if len(p.all) >= maxParties {
		return p.other
	}
	one := p.make()
	p.all[key] = one
	return one
}

func (p *party) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams--
}

// take waits until n bytes may be sent.
func (p *party) take(ctx context.Context, n int) error {
	for n > 0 {
		part := min(n, p.limit.Burst())
		if err := p.limit.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}
