package goproxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/weir-capture/weir/daemon"
)

const selfHint = "Set REVERSE_PROXY_HOST and REVERSE_PROXY_PORT to where the application itself listens."

// refuseSelf refuses a configuration in which the proxy would carry traffic,
// or ship what it captured, to itself. A name that does not resolve now may
// later: loops finds what that leads to.
func refuseSelf(cfg Config) error {
	if cfg.InPort == 0 {
		return nil // nobody can name a port that is not chosen yet
	}
	for _, to := range []struct{ addr, what, hint string }{
		{cfg.upstream(), "REVERSE_PROXY_HOST and REVERSE_PROXY_PORT", selfHint},
		{cfg.Forwarder, "FORWARDER_ADDR", "Set FORWARDER_ADDR to where the forwarder listens (port 8888 by convention)."},
	} {
		host, port, err := net.SplitHostPort(to.addr)
		if err != nil || port != strconv.Itoa(cfg.InPort) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		cancel()
		if err != nil {
			continue
		}
		for _, ip := range ips {
			if own(ip.Unmap(), cfg.ListenHost) {
				return &daemon.Hinted{
					Err:  fmt.Errorf("%s lead to %s, which is this proxy itself", to.what, to.addr),
					Hint: to.hint,
				}
			}
		}
	}
	return nil
}

// own says whether a listener on host is reached at an address.
func own(ip netip.Addr, host string) bool {
	if listen, err := netip.ParseAddr(host); err == nil && !listen.IsUnspecified() {
		return ip == listen.Unmap() || ip.IsUnspecified()
	}
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if own, ok := netip.AddrFromSlice(n.IP); ok && own.Unmap() == ip {
				return true
			}
		}
	}
	return false
}

// loops finds connections that the proxy made to itself: one whose client is
// the local address of a connection that it dialled. Which of the two ends is
// known first is a matter of luck, so each looks for the other; meanwhile a
// loop may go round a few more times, and every turn of it is found.
type loops struct {
	mu       sync.Mutex
	clients  map[netip.AddrPort]struct{}
	upstream map[netip.AddrPort]struct{}
}

// accept takes note of a client; false if it is the proxy.
func (l *loops) accept(client netip.AddrPort) bool {
	return l.note(&l.clients, &l.upstream, client)
}

// dial takes note of the local address of the connection that was dialled for
// a client; false if the proxy accepted it, or is the client after all.
func (l *loops) dial(local, client netip.AddrPort) bool {
	l.mu.Lock()
	_, met := l.upstream[client]
	l.mu.Unlock()
	return !met && l.note(&l.upstream, &l.clients, local)
}

func (l *loops) note(mine, theirs *map[netip.AddrPort]struct{}, a netip.AddrPort) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, met := (*theirs)[a]; met {
		return false
	}
	if *mine == nil {
		*mine = make(map[netip.AddrPort]struct{})
	}
	(*mine)[a] = struct{}{}
	return true
}

// leave and hangUp forget what accept and dial noted.
func (l *loops) leave(client netip.AddrPort) { l.forget(l.clients, client) }
func (l *loops) hangUp(local netip.AddrPort) { l.forget(l.upstream, local) }

func (l *loops) forget(mine map[netip.AddrPort]struct{}, a netip.AddrPort) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(mine, a)
}
