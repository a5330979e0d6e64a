package index

import (
	"iter"
	"maps"
	"net/netip"
	"strings"
)

// Addresses know which app has which address: see store.Edge. The zero value
// knows none. It is bounded: of more than a crowd of addresses the later ones
// stay unknown.
type Addresses struct {
	// An address that several apps have is there with an empty name.
	apps map[string]string
}

const maxAddresses = 20_000

// Learn takes what a row tells.
func (a *Addresses) Learn(r *Row) {
	switch r.Direction {
	case "outbound":
		a.Add(r.ClientHost, r.App)
	case "inbound":
		a.Add(r.ServerHost, r.App)
	}
}

// Add takes note of an app that has an address.
func (a *Addresses) Add(address, app string) {
	if address == "" || app == "" || loopback(address) {
		return
	}
	if a.apps == nil {
		a.apps = map[string]string{}
	}
	switch was, ok := a.apps[address]; {
	case ok && was != app:
		a.apps[address] = ""
	case !ok && len(a.apps) < maxAddresses:
		a.apps[address] = app
	}
}

// App is the one app that has an address, or empty.
func (a *Addresses) App(address string) string {
	if a == nil {
		return ""
	}
	return a.apps[address]
}

// All yields each address that one app has, and the app.
func (a *Addresses) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if a == nil {
			return
		}
		for address, app := range a.apps {
			if app != "" && !yield(address, app) {
				return
			}
		}
	}
}

// Clone is a copy that can learn for itself.
func (a *Addresses) Clone() *Addresses { return &Addresses{apps: maps.Clone(a.apps)} }

func loopback(address string) bool {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return address == "localhost"
	}
	return ip.IsLoopback() || ip.IsUnspecified()
}

// HostOf is an address without its port: "10.0.0.7:443" and "10.0.0.7" are
// 10.0.0.7, "[::1]:80" is ::1.
func HostOf(address string) string {
	if strings.HasPrefix(address, "[") {
		if i := strings.IndexByte(address, ']'); i > 0 {
			return address[1:i]
		}
		return address
	}
	if i := strings.IndexByte(address, ':'); i >= 0 && strings.IndexByte(address[i+1:], ':') < 0 {
		return address[:i]
	}
	return address
}

// Ends are who called and who was called, as addresses where nobody knows a
// name: see store.Edge.
func Ends(r *Row) (from, to string) {
	if r.Direction != "outbound" {
		return r.ClientHost, r.App
	}
	if r.Host != "" {
		return r.App, HostOf(r.Host)
	}
	return r.App, r.ServerHost
}
