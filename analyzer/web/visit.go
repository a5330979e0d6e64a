package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/weir-capture/weir/analyzer/control"
)

// visit is what is known of one request and of who sent it. It belongs to the
// request's goroutine.
type visit struct {
	// local: it came by the control socket.
	local bool
	// from is the client, as the last trusted proxy saw it; not valid for the
	// control socket.
	from netip.Addr
	// relayed: something stood between the client and here.
	relayed bool
	// secure: the client came over TLS. host is what it asked for.
	secure bool
	host   string

	// known: who is somebody.
	known bool
	who   control.Identity
	// session ends when; it is of callers who are signed in.
	session control.Session
	// check asks again who this is; nil where that cannot change.
	check func(context.Context) (control.Identity, error)

	// w and r are where cookies are set.
	w http.ResponseWriter
	r *http.Request

	// target and detail are written down with what is done; quiet: nothing
	// was done that has to be.
	target, detail string
	quiet          bool
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

// note says what is done, for the audit log. It never has content of what was
// captured, nor secrets.
func note(ctx context.Context, target, detail string) {
	if v := visitOf(ctx); v != nil {
		v.target, v.detail = cut(text(target), maxNoted), cut(text(detail), maxNoted)
	}
}

// quiet says that what was asked for needs no line in the audit log.
func quiet(ctx context.Context) {
	if v := visitOf(ctx); v != nil {
		v.quiet = true
	}
}

// address is the client's, for people.
func (v *visit) address() string {
	if v.local || !v.from.IsValid() {
		return "local"
	}
	return v.from.String()
}

// onMachine reports whether a program on this machine asks, and asks itself.
func (v *visit) onMachine() bool {
	return v.local || v.from.IsLoopback() && !v.relayed && loopbackHost(v.host)
}

// localConn marks connections of the control socket.
type localConn struct{}

// arrive finds out where a request comes from, before anything else looks at
// it.
func (s *Server) arrive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{host: r.Host, secure: r.TLS != nil, local: r.Context().Value(localConn{}) != nil}
		if !v.local {
			s.trace(v, r)
		}
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		r.Host = v.host
		v.w, v.r = w, r
		next.ServeHTTP(w, r)
	})
}

// trace follows a request back through the proxies that are trusted. What
// others say of a client is not believed.
func (s *Server) trace(v *visit, r *http.Request) {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return
	}
	v.from = peer.Addr().Unmap().WithZone("")
	h := r.Header
	v.relayed = len(h["X-Forwarded-For"]) > 0 || len(h["Forwarded"]) > 0 || len(h["Via"]) > 0
	if !s.trusted(v.from) {
		return
	}
	v.relayed = true
	if s.cfg.PublicURL != nil && s.cfg.PublicURL.Scheme == "https" {
		v.secure = true
	}
	if proto := lastOf(h, "X-Forwarded-Proto"); proto != "" {
		v.secure = strings.EqualFold(proto, "https")
	}
	if host := lastOf(h, "X-Forwarded-Host"); host != "" {
		v.host = host
	}
	hops := listOf(h, "X-Forwarded-For")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(hop)
		if err != nil {
			if addrPort, withPort := netip.ParseAddrPort(hop); withPort == nil {
				addr, err = addrPort.Addr(), nil
			}
		}
		if err != nil {
			return // what is before it nobody vouches for
		}
		v.from = addr.Unmap().WithZone("")
		if !s.trusted(v.from) {
			return
		}
	}
}

func (s *Server) trusted(a netip.Addr) bool {
	return slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// listOf are the elements of a header that holds a list (RFC 9110, section
// 5.6.1), in order.
func listOf(h http.Header, name string) []string {
	var out []string
	for _, line := range h.Values(name) {
		for e := range strings.SplitSeq(line, ",") {
			if e = strings.TrimSpace(e); e != "" {
				out = append(out, e)
			}
		}
	}
	return out
}

// lastOf is what the nearest proxy wrote.
func lastOf(h http.Header, name string) string {
	all := listOf(h, name)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// secure reports whether a client came over TLS, to here or to a trusted
// proxy.
func (s *Server) secure(r *http.Request) bool {
	v := visitOf(r.Context())
	return v != nil && v.secure
}

// from is a client's address, for the audit log and for what is counted by
// address.
func (s *Server) from(r *http.Request) string {
	if v := visitOf(r.Context()); v != nil {
		return v.address()
	}
	return "local"
}

// baseURL is where the viewer is, without a slash at the end.
func (s *Server) baseURL(r *http.Request) string {
	if s.cfg.PublicURL != nil {
		return strings.TrimSuffix(s.cfg.PublicURL.String(), "/")
	}
	scheme := "http"
	if s.secure(r) {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// hostAllowed reports whether a Host header names this analyzer. Any other
// name may be a page's own that was made to point here (DNS rebinding).
func (s *Server) hostAllowed(host string) bool {
	if loopbackHost(host) {
		return true
	}
	name := strings.ToLower(strings.TrimSuffix(hostname(host), "."))
	if name == "" {
		return false
	}
	if s.cfg.PublicURL != nil && name == strings.ToLower(s.cfg.PublicURL.Hostname()) {
		return true
	}
	return slices.ContainsFunc(s.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// hostname is a Host header without its port and brackets.
func hostname(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		return h
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// ownOrigin reports whether an Origin is the viewer's: of the host that was
// asked, or the public one.
func (s *Server) ownOrigin(origin string, v *visit) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	if p := s.cfg.PublicURL; p != nil && strings.EqualFold(u.Scheme, p.Scheme) && strings.EqualFold(u.Host, p.Host) {
		return true
	}
	return strings.EqualFold(u.Host, v.host) && (u.Scheme == "https" || !v.secure)
}
