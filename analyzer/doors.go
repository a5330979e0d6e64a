package analyzer

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// Doors say who may come in to the viewer and the API, and how they get here.
type Doors struct {
	// NoAuth lets in everybody on this machine (AUTH=off).
	NoAuth bool
	// PublicURL is where people find the viewer; nil: at ListenAddr.
	PublicURL *url.URL
	// AllowedHosts are names that requests may ask for, besides those of this
	// machine and PublicURL's.
	AllowedHosts []string
	// TrustedProxies are believed what they say of their clients.
	TrustedProxies []netip.Prefix
	// TLSCert and TLSKey are PEM files, of the viewer and of the ingest port;
	// empty: no TLS.
	TLSCert, TLSKey string
	// ControlStore is a file or postgres://…; empty: control.db in DataDir. It
	// may hold a password and is never shown.
	ControlStore string
}

// loadDoors reads the variables of Doors. Beyond the loopback it wants TLS and
// authentication, and says what to set.
func loadDoors(env *daemon.Env, listen string) Doors {
	before := env.Mistakes()
	d := Doors{
		NoAuth:         env.OneOf("AUTH", "on", []string{"on", "off"}) == "off",
		PublicURL:      publicURL(env),
		AllowedHosts:   allowedHosts(env),
		TrustedProxies: trustedProxies(env),
		TLSCert:        env.String("TLS_CERT_FILE", ""),
		TLSKey:         env.String("TLS_KEY_FILE", ""),
		ControlStore:   env.Secret("CONTROL_STORE"),
	}
	if d.TLSCert != "" || d.TLSKey != "" {
		// Read once more when it is used, and followed from then on.
		if _, err := tlsfiles.NewServer(d.tlsFiles(), tlsfiles.Options{}, slog.New(slog.DiscardHandler)); err != nil {
			name := "TLS_CERT_FILE"
			if d.TLSCert == "" {
				name = "TLS_KEY_FILE"
			}
			env.Fail(name, err.Error(), "TLS_CERT_FILE and TLS_KEY_FILE, a certificate with its chain and its key, as PEM")
		}
	}
	sure := env.Mistakes() == before
	if scheme, _, is := strings.Cut(d.ControlStore, "://"); is && scheme != "postgres" && scheme != "postgresql" {
		env.FailSecret("CONTROL_STORE", "no such kind of store", "a file, or postgres://user:password@host/database")
	} else if !is && strings.ContainsAny(d.ControlStore, "?%") {
		env.FailSecret("CONTROL_STORE", "the control store cannot be kept there", "a path without a question mark or a percent sign")
	}
	if listen == "" || onLoopback(listen) {
		return d
	}
	switch {
	case !sure: // what decides it is wrong itself, and has been named
	case d.NoAuth:
		env.Fail("AUTH", "LISTEN_ADDR="+listen+" is reached from other machines, and everybody there could read what was captured", "on, or a LISTEN_ADDR such as "+defaultListen)
	case d.TLSCert == "" && len(d.TrustedProxies) == 0:
		env.Fail("LISTEN_ADDR", "other machines reach it, and passwords and what was captured would go to them in the clear",
			"TLS_CERT_FILE and TLS_KEY_FILE set, or TRUSTED_PROXIES to the addresses of a proxy that speaks TLS for it, or an address such as "+defaultListen)
	}
	if host, _, err := net.SplitHostPort(listen); err == nil {
		// The address that it listens on is one of its names.
		if ip, err := netip.ParseAddr(host); err != nil || !ip.IsUnspecified() {
			d.AllowedHosts = append(d.AllowedHosts, host)
		}
	}
	return d
}

func (d Doors) tlsFiles() tlsfiles.Files { return tlsfiles.Files{Cert: d.TLSCert, Key: d.TLSKey} }

// onLoopback reports whether only this machine reaches an address.
func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

func publicURL(env *daemon.Env) *url.URL {
	const want = "an address such as https://weir.example.com"
	v := env.String("PUBLIC_URL", "")
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		env.Fail("PUBLIC_URL", "not an address of a page", want)
		return nil
	}
	if u.Scheme == "http" && !onLoopback(net.JoinHostPort(u.Hostname(), "1")) {
		env.Fail("PUBLIC_URL", "passwords would go there in the clear", want)
		return nil
	}
	return u
}

func allowedHosts(env *daemon.Env) []string {
	var out []string
	for _, h := range words(env.String("ALLOWED_HOSTS", "")) {
		if strings.ContainsAny(h, "*/:@") && !isAddr(h) {
			env.Fail("ALLOWED_HOSTS", "\""+h+"\" is no name of a host", "names without a port, such as weir.example.com, separated by commas")
			continue
		}
		out = append(out, h)
	}
	return out
}

func isAddr(s string) bool { _, err := netip.ParseAddr(s); return err == nil }

func trustedProxies(env *daemon.Env) []netip.Prefix {
	var out []netip.Prefix
	for _, w := range words(env.String("TRUSTED_PROXIES", "")) {
		p, err := netip.ParsePrefix(w)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(w); err == nil {
				a = a.Unmap().WithZone("")
				p = netip.PrefixFrom(a, a.BitLen())
			}
		}
		switch {
		case err != nil:
			env.Fail("TRUSTED_PROXIES", "\""+w+"\" is no address", "addresses or networks such as 10.1.2.3 or 10.1.0.0/16, separated by commas")
		case p.Bits() == 0:
			env.Fail("TRUSTED_PROXIES", "\""+w+"\" is everybody, who could then claim to be anybody", "the addresses of the proxies")
		default:
			out = append(out, p.Masked())
		}
	}
	return out
}

// words are separated by commas or spaces.
func words(v string) []string {
	return strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
}
