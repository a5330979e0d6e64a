package goproxy

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/goproxy/relay"
)

// registry knows the connections that are open, at most as many as the
// listener serves.
type registry struct {
	mu       sync.Mutex
	open     map[*entry]struct{}
	draining bool
	cutting  bool
}

// entry is one open connection.
type entry struct {
	id             uint64
	conn           *relay.Conn
	watch          *observe.Conn
	client, server string
	began          time.Time
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

func (r *registry) remove(e *entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, e)
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
	list := make([]*entry, 0, len(r.open))
	for e := range r.open {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b *entry) int { return cmp.Compare(a.id, b.id) })
	return list
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
