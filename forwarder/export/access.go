package export

import (
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// access reads how to get in at an analyzer. Paths are by the working
// directory, as all of the file are.
func (p *parser) access(n *yaml.Node, f map[string]*yaml.Node, d *Destination) {
	c := access.Config{Prefix: "exporter " + d.Name}
	mistakes := len(p.mistakes)
	if v, ok := p.text(n, f, "tls", false); ok {
		switch v {
		case "on", "true":
			c.TLS = true
		case "off", "false":
		default:
			p.fail(f["tls"].Line, "tls %q: want on or off", v)
		}
	}
	for _, file := range []struct {
		key   string
		path  *string
		plain bool // of use without TLS
	}{
		{"token_file", &c.TokenFile, true},
		{"ca_file", &c.Files.CA, false},
		{"cert_file", &c.Files.Cert, false},
		{"key_file", &c.Files.Key, false},
	} {
		v, ok := p.text(n, f, file.key, false)
		abs, err := filepath.Abs(v)
		switch {
		case !ok:
		case v == "" || err != nil:
			p.fail(f[file.key].Line, "%s %q: want the path of a file", file.key, v)
		case !file.plain && !c.TLS:
			p.fail(f[file.key].Line, "%s is for TLS, which is off: add tls: on", file.key)
		default:
			*file.path = abs
		}
	}
	if len(p.mistakes) > mistakes {
		return
	}
	host, _, err := net.SplitHostPort(d.Addr)
	ip, perr := netip.ParseAddr(host)
	if err == nil && perr == nil && c.TokenFile != "" && !c.TLS && !ip.Unmap().IsLoopback() {
		p.fail(f["token_file"].Line, "a token would go to %s in the clear: add tls: on", d.Addr)
		return
	}
	if c.TokenFile != "" || c.TLS {
		line := n.Line
		if _, err := access.New(c, slog.New(slog.DiscardHandler)); err != nil {
			p.fail(line, "%v", err)
			return
		}
	}
	if c != (access.Config{Prefix: c.Prefix, Files: tlsfiles.Files{}}) {
		d.Access = c
	}
}
