package goproxy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/goproxy/relay"
	"github.com/weir-capture/weir/goproxy/tee"
)

// Of the connections that are over, so many are remembered, for so long.
const (
	maxEnded = 500
	remember = 5 * time.Minute
)

// registry knows the connections that are open, at most as many as the
// listener serves, and those that ended lately.
type registry struct {
	mu   sync.Mutex
	open map[*entry]struct{}
	// ended has at most maxEnded places; oldest is the next one to be taken
	// when all are.
	ended    []ended
	oldest   int
	draining bool
	cutting  bool
}

// entry is one open connection.
type entry struct {
	id             uint64
	conn           *relay.Conn
	watch          *observe.Conn
	client, server string
	// The two TCP connections.
	downstream, upstream route
	began                time.Time
	// kept: its upstream has keepalive. The goroutine that calls keepAlive
	// alone looks at it.
	kept bool
}

// ended is what is remembered of a connection: text and numbers, nothing that
// holds on to it.
type ended struct {
	id             uint64
	client, server string
	began, over    time.Time
	proto, state   string
	first          string
	up, down       uint64
	how            string
}

// firstSender is the peer that spoke first; empty while none has.
func (e *entry) firstSender() string {
	first, spoken := e.conn.First()
	switch {
	case !spoken:
		return ""
	case first == tee.ClientToServer:
		return "client"
	default:
		return "server"
	}
}

// soFar is what can be said of a connection while it is open.
func (e *entry) soFar() ended {
	up, down := e.conn.Bytes()
	state, proto := e.watch.State()
	return ended{
		id: e.id, client: e.client, server: e.server, began: e.began, proto: proto, state: state,
		first: e.firstSender(), up: up, down: down,
	}
}

// end is what to remember of a connection that is over.
func (e *entry) end(now time.Time) ended {
	last := e.soFar()
	last.over, last.how = now, e.watch.Cause().String()
	return last
}

// add takes a connection in, and tells it if the proxy is stopping.
func (r *registry) add(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = make(map[*entry]struct{})
	}
	r.open[e] = struct{}{}
	if r.cutting {
		e.conn.Cut()
	} else if r.draining {
		e.conn.Drain()
	}
}

// remove takes a connection out, and remembers it.
func (r *registry) remove(e *entry, last ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, e)
	r.remember(last)
}

// failed remembers a connection that was never carried.
func (r *registry) failed(last ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remember(last)
}

func (r *registry) remember(last ended) {
	if len(r.ended) < maxEnded {
		r.ended = append(r.ended, last)
		return
	}
	r.ended[r.oldest] = last
	r.oldest = (r.oldest + 1) % maxEnded
}

func (r *registry) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// all are the open connections, oldest first.
func (r *registry) all() []*entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list()
}

// lately are the open connections, oldest first, and those that ended within
// the time before now for which they are remembered, newest first.
func (r *registry) lately(now time.Time) (open []*entry, over []ended) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.ended)
	for i := range n {
		e := r.ended[(r.oldest-1-i+2*n)%n]
		if now.Sub(e.over) > remember {
			break
		}
		over = append(over, e)
	}
	return r.list(), over
}

// list is all, for who holds r.mu.
func (r *registry) list() []*entry {
	list := make([]*entry, 0, len(r.open))
	for e := range r.open {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return list
}

// keepAlive has the kernel look after the upstreams of connections that last:
// which is not worth its system calls for one that is over before long.
func (r *registry) keepAlive() {
	var fresh []*entry
	r.mu.Lock()
	for e := range r.open {
		if !e.kept {
			fresh = append(fresh, e)
		}
	}
	r.mu.Unlock()
	for _, e := range fresh {
		e.kept = true
		e.conn.KeepAlive()
	}
}

// drain asks every connection to end when it rests.
func (r *registry) drain() {
	r.mu.Lock()
	r.draining = true
	r.mu.Unlock()
	for _, e := range r.all() {
		e.conn.Drain()
	}
}

// cut ends every connection now.
func (r *registry) cut() {
	r.mu.Lock()
	r.cutting = true
	r.mu.Unlock()
	for _, e := range r.all() {
		e.conn.Cut()
	}
}
