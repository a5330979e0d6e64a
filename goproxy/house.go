package goproxy

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"
)

const (
	// keepAliveEvery is how long a connection may be open without keepalive
	// towards its upstream.
	keepAliveEvery = 5 * time.Second
	// restTime is how long nothing must have been carried for the proxy to
	// rest, trimEvery how long it has to be since it rested before: giving
	// memory back takes some milliseconds.
	restTime  = time.Second
	trimEvery = 10 * time.Second
)

// keepHouse does what no connection does for itself: it sees to it that
// upstreams that vanish are found, and gives memory back when nothing is
// carried. Connections that spoke and then rest, thousands of them perhaps,
// leave large stacks and the garbage of a burst behind, and while nothing is
// allocated nobody collects it.
func (p *Proxy) keepHouse(ctx context.Context) {
	tick := time.NewTicker(restTime)
	defer tick.Stop()
	var carried, trimmed uint64 // bytes
	var kept, rested time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if now.Sub(kept) >= keepAliveEvery {
				kept = now
				p.conns.keepAlive()
			}
			before := carried
			carried = p.ledger.ClientToServer.Load() + p.ledger.ServerToClient.Load()
			if carried == before && carried != trimmed && now.Sub(rested) >= trimEvery {
				trimmed, rested = carried, now
				runtime.GC() // a pool parts with what nobody took between two collections
				debug.FreeOSMemory()
			}
		}
	}
}
