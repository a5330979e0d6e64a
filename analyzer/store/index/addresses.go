package index

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"strconv"
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

// Edge is a row's line among edges, before addresses get their names.
type Edge struct {
	From, To, Protocol string
	// Address is which end is an address: 1 for From, 2 for To, 0 for none.
	Address int
}

// EdgeOf is the edge of a row.
func EdgeOf(r *Row) Edge {
	e := Edge{Protocol: r.Protocol}
	e.From, e.To = Ends(r)
	switch {
	case r.Direction != "outbound":
		e.Address = 1
	case r.Host == "":
		e.Address = 2
	}
	return e
}

// Named has names in place of addresses, where they are known.
func (e Edge) Named(known *Addresses) Edge {
	switch e.Address {
	case 1:
		e.From = cmp.Or(known.App(e.From), e.From)
	case 2:
		e.To = cmp.Or(known.App(e.To), e.To)
	}
	e.Address = 0
	return e
}

// Key is the edge as one text.
func (e Edge) Key() string {
	b := make([]byte, 0, 16+len(e.From)+len(e.To)+len(e.Protocol))
	b = strconv.AppendInt(b, int64(e.Address), 10)
	for _, s := range [...]string{e.From, e.To, e.Protocol} {
		b = strconv.AppendInt(append(b, ' '), int64(len(s)), 10)
		b = append(append(b, ' '), s...)
	}
	return string(b)
}

// ParseEdge reads a key.
func ParseEdge(key string) (Edge, error) {
	var e Edge
	address, rest, ok := strings.Cut(key, " ")
	number := func() int {
		word, after, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(word)
		if err != nil || n < 0 || n > len(after) {
			return -1
		}
		rest = after
		return n
	}
	if !ok || len(address) != 1 || address[0] < '0' || address[0] > '2' {
		return e, fmt.Errorf("%q is no edge", key)
	}
	e.Address = int(address[0] - '0')
	for i, part := range [...]*string{&e.From, &e.To, &e.Protocol} {
		if i > 0 {
			if rest, ok = strings.CutPrefix(rest, " "); !ok {
				return e, fmt.Errorf("%q is no edge", key)
			}
		}
		n := number()
		if n < 0 {
			return e, fmt.Errorf("%q is no edge", key)
		}
		*part, rest = rest[:n], rest[n:]
	}
	if rest != "" {
		return e, fmt.Errorf("%q is no edge", key)
	}
	return e, nil
}
