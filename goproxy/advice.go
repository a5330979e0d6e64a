package goproxy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
)

// advisor knows what a failed connection usually means where the proxy runs.
type advisor struct{ container bool }

func newAdvisor() advisor {
	return advisor{container: inContainer(
		func(path string) bool { _, err := os.Stat(path); return err == nil },
		os.ReadFile, os.Getenv,
	)}
}

// inContainer says whether this process runs in a container, by the marks that
// container runtimes leave.
func inContainer(exists func(string) bool, read func(string) ([]byte, error), getenv func(string) string) bool {
	if exists("/.dockerenv") || exists("/run/.containerenv") || getenv("KUBERNETES_SERVICE_HOST") != "" {
		return true
	}
	groups, err := read("/proc/1/cgroup")
	if err != nil {
		return false
	}
	for _, mark := range []string{"docker", "kubepods", "containerd", "libpod", "lxc"} {
		if bytes.Contains(groups, []byte(mark)) {
			return true
		}
	}
	return false
}

// hint says what to do about a connection to addr, set by variable, that
// failed with err; empty where that is not known.
func (a advisor) hint(addr, variable string, err error) string {
	dial, ok := errors.AsType[*net.OpError](err)
	if !a.container || !ok || dial.Op != "dial" {
		return ""
	}
	host, _, splitErr := net.SplitHostPort(addr)
	if splitErr != nil {
		return ""
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return fmt.Sprintf("goproxy runs in a container, where the name %q does not resolve: set %s to an address, or give the container the name (--add-host, a shared network).", host, variable)
	}
	ip, ipErr := netip.ParseAddr(host)
	if strings.EqualFold(host, "localhost") || ipErr == nil && ip.IsLoopback() {
		return fmt.Sprintf("goproxy runs in a container, where %s is the container itself: set %s to the name or address of the host.", host, variable)
	}
	return ""
}
