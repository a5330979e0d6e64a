package web

import (
	"container/list"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How often somebody may ask. A page of the viewer asks some ten times when it
// opens, and a script in a loop is held to a rate that the store can bear.
const (
	callerRate, callerBurst = 100, 400
	// A stranger has little to ask for.
	strangerRate, strangerBurst = 10, 100
	// guessCost is what a token that is not good takes from that.
	guessCost = 5
	// Tries to sign in: ten in a row from an address, then one in five
	// seconds. The control store holds each name to its own.
	signInRate, signInBurst = 0.2, 10
	// maxRates bounds each table; who was silent longest is forgotten first.
	maxRates = 10_000
)

// limiter holds many callers to one rate each.
type limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu sync.Mutex
	// order has who asked last in front.
	order *list.List
	at    map[string]*list.Element
}

type limited struct {
	key string
	*rate.Limiter
}

func newLimiter(perSecond float64, burst int, now func() time.Time) *limiter {
	return &limiter{rate: rate.Limit(perSecond), burst: burst, now: now, order: list.New(), at: map[string]*list.Element{}}
}

func (l *limiter) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.at[key]; e != nil {
		l.order.MoveToFront(e)
		return e.Value.(limited).Limiter
	}
	if l.order.Len() >= maxRates {
		oldest := l.order.Back()
		delete(l.at, l.order.Remove(oldest).(limited).key)
	}
	r := rate.NewLimiter(l.rate, l.burst)
	l.at[key] = l.order.PushFront(limited{key, r})
	return r
}

// take counts something that a caller does, of a cost. ok: it may; otherwise
// it may after wait.
func (l *limiter) take(key string, cost int) (wait time.Duration, ok bool) {
	r, now := l.of(key), l.now()
	if r.AllowN(now, cost) {
		return 0, true
	}
	return time.Duration((float64(cost) - r.TokensAt(now)) / float64(l.rate) * float64(time.Second)), false
}
