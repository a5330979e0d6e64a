package goproxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/weir-capture/weir/daemon"
)

// Where the analyzer listens by convention. Its viewer may trust whoever comes
// from its own machine, and everybody who reaches the proxy would.
const (
	viewerPort = 4190
	ingestPort = 4191
)

// lookupTime bounds how long names are looked up at the start.
const lookupTime = 2 * time.Second

// weirPorts are ports of this machine that are Weir's and no application's, with
// what listens there.
func weirPorts(cfg Config) map[int]string {
	ports := map[int]string{viewerPort: "the analyzer's viewer", ingestPort: "the analyzer's ingest"}
	if _, port, err := net.SplitHostPort(cfg.DiagnosticsAddr); err == nil {
		ports[number(port)] = "this proxy's diagnostics"
	}
	if cfg.Metrics {
		ports[cfg.MetricsPort] = "this proxy's metrics"
	}
	delete(ports, 0) // one that is not chosen yet
	return ports
}

func number(port string) int {
	n, _ := strconv.Atoi(port) // 0 for a name, which no address of ours has
	return n
}

// forwarderAddrs are the addresses of the forwarder that its name has now.
func forwarderAddrs(cfg Config) []netip.AddrPort {
	host, port, err := net.SplitHostPort(cfg.Forwarder)
	if err != nil {
		return nil
	}
	var all []netip.AddrPort
	for _, ip := range lookup(host) {
		all = append(all, netip.AddrPortFrom(ip, uint16(number(port))))
	}
	return all
}

func lookup(host string) []netip.Addr {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTime)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for i := range ips {
		ips[i] = ips[i].Unmap()
	}
	return ips
}

// refuseWeir refuses to carry traffic to a port of Weir's own: whoever reaches
// the proxy would get there as if from this machine.
func refuseWeir(cfg Config) error {
	for _, ip := range lookup(cfg.UpstreamHost) {
		if what := isWeir(netip.AddrPortFrom(ip, uint16(cfg.UpstreamPort)), weirPorts(cfg), forwarderAddrs(cfg)); what != "" {
			return &daemon.Hinted{
				Err:  fmt.Errorf("REVERSE_PROXY_HOST and REVERSE_PROXY_PORT lead to %s, where %s listens", cfg.upstream(), what),
				Hint: selfHint,
			}
		}
	}
	return nil
}

// isWeir says what of Weir's listens at an address; empty for nothing.
func isWeir(to netip.AddrPort, ports map[int]string, forwarder []netip.AddrPort) string {
	if slices.Contains(forwarder, to) {
		return "the forwarder"
	}
	what := ports[int(to.Port())]
	if what == "" || !own(to.Addr(), "") {
		return ""
	}
	return what
}
