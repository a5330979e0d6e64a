package doctor

import (
	"net"
	"net/netip"
	"strings"
)

// Unreachable says why a connection to addr failed, from the error's text as
// it came over the wire, and what to do. variable names what the address was
// set with, container whether the one who dialled is known to run in one.
func Unreachable(addr, variable, text string, container bool) Cause {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(text, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("no such host", "not resolve", "server misbehaving", "Temporary failure in name resolution"):
		c := Cause{
			Text: "The name " + host + " does not resolve where the program runs.",
			Fix:  "Set " + variable + " to an address, or to a name that resolves there.",
		}
		if container {
			c.Fix = "Set " + variable + " to an address, or give the container the name (--add-host, a shared network)."
		}
		return c
	case has("refused") && loopback(host):
		c := Cause{
			Text: "Nothing listens on port " + port + " of the machine that the program runs on.",
			Fix:  "Start what should listen there, or set " + variable + " to where it is. Inside a container " + host + " is the container itself: name the host instead.",
		}
		if container {
			c.Text = "The program runs in a container, where " + host + " is the container itself."
			c.Fix = "Set " + variable + " to the name or address of the host, such as host.docker.internal, or put both into one network."
		}
		return c
	case has("refused"):
		return Cause{
			Text: "The machine is there, and nothing listens on port " + port + " of it.",
			Fix:  "Start what should listen there, or correct the port in " + variable + ".",
		}
	case has("timeout", "timed out", "deadline"):
		return Cause{
			Text: "No answer: a firewall drops the packets, or nobody has that address.",
			Fix:  "Check the address in " + variable + ", and what lies between.",
		}
	case has("unreachable", "no route"):
		return Cause{
			Text: "There is no way to that address from where the program runs.",
			Fix:  "Check the address in " + variable + " and the network.",
		}
	case has("too many open files"):
		return Cause{
			Text: "The program has as many files open as it may.",
			Fix:  "Raise its limit on open files (ulimit -n, LimitNOFILE).",
		}
	case has("reset", "broken pipe"):
		return Cause{
			Text: "Something took the connection and cut it.",
			Fix:  "Check that " + variable + " names the right service, and that service's log.",
		}
	}
	return Cause{Text: "The connection failed.", Fix: "Check " + variable + "."}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && (ip.IsLoopback() || ip.IsUnspecified())
}
