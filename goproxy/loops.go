package goproxy

import (
	"context"
	"errors"
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
// later: refuseOwn and loops find what that leads to.
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

// errSelf is what dialling the proxy's own listener gives.
var errSelf = errors.New("the upstream is this proxy itself")

// refuseOwn is asked about each address that is about to be dialled, after its
// name was resolved: a name may have come to lead here since the start.
func (p *Proxy) refuseOwn(to netip.AddrPort) error {
	if int(to.Port()) == p.listener.Addr().Port && own(to.Addr().Unmap(), p.cfg.ListenHost) {
		return errSelf
	}
	if what := isWeir(netip.AddrPortFrom(to.Addr().Unmap(), to.Port()), p.weirPorts, p.forwarderAt); what != "" {
		return fmt.Errorf("the upstream is where %s listens", what)
	}
	return nil
}

// loops finds connections that the proxy made to itself although it dialled
// another address, which somebody translated: one that it accepted and dialled
// too. Which of the two ends is known first is a matter of luck, so
// each looks for the other; meanwhile a loop may go round a few more times, and
// every turn of it is found.
type loops struct {
	mu       sync.Mutex
	accepted map[route]struct{}
	dialled  map[route]struct{}
}

// route is a TCP connection by the addresses of both its ends. One alone says
// too little: the system gives the same port to connections that go to
// different places, so a client on this machine may have the address of a
// connection that the proxy dialled.
type route struct{ from, to netip.AddrPort }

// accept takes note of a client's connection; false if the proxy dialled it.
func (l *loops) accept(client route) bool {
	return l.note(&l.accepted, &l.dialled, client)
}

// dial takes note of the connection that was dialled for a client's; false if
// the proxy accepted it, or dialled the client's after all.
func (l *loops) dial(server, client route) bool {
	l.mu.Lock()
	_, met := l.dialled[client]
	l.mu.Unlock()
	return !met && l.note(&l.dialled, &l.accepted, server)
}

func (l *loops) note(mine, theirs *map[route]struct{}, r route) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, met := (*theirs)[r]; met {
		return false
	}
	if *mine == nil {
		*mine = make(map[route]struct{})
	}
	(*mine)[r] = struct{}{}
	return true
}

// leave and hangUp forget what accept and dial noted.
func (l *loops) leave(client route)  { l.forget(l.accepted, client) }
func (l *loops) hangUp(server route) { l.forget(l.dialled, server) }

func (l *loops) forget(mine map[route]struct{}, r route) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(mine, r)
}
