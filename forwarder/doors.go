package forwarder

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/forwarder/admit"
	"github.com/weir-capture/weir/forwarder/receive"
	"github.com/weir-capture/weir/internal/grpcdoor"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// defaultProxyRate is far above what any one source was seen to send.
const defaultProxyRate = 512 << 20

// Doors say which proxies may push, and how they get here.
type Doors struct {
	// TLS are the forwarder's own certificate and key, and with CA the
	// authorities of proxies; without a certificate no TLS is spoken.
	TLS tlsfiles.Files
	// ProxyTokens is a file for admit.Open.
	ProxyTokens string
	// ProxyRate bounds what one identity, or one address where nobody is asked
	// who it is, may send, in bytes a second; 0: no bound.
	ProxyRate int64
}

// loadDoors reads the variables of Doors.
func loadDoors(env *daemon.Env) Doors {
	d := Doors{
		TLS: tlsfiles.Files{
			Cert: env.String("TLS_CERT_FILE", ""), Key: env.String("TLS_KEY_FILE", ""), CA: env.String("TLS_CLIENT_CA_FILE", ""),
		},
		ProxyTokens: env.String("PROXY_TOKENS_FILE", ""),
		ProxyRate:   env.Size("PROXY_RATE", defaultProxyRate),
	}
	env.TLSFiles(d.TLS, "TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE")
	if d.TLS.CA != "" && d.TLS.Cert == "" {
		env.Fail("TLS_CLIENT_CA_FILE", "certificates of proxies are shown over TLS, which is off", "TLS_CERT_FILE and TLS_KEY_FILE with it")
	}
	if d.ProxyTokens != "" {
		if _, err := admit.Open(d.ProxyTokens, func() {}, slog.New(slog.DiscardHandler)); err != nil {
			env.Fail("PROXY_TOKENS_FILE", err.Error(), `a file with lines such as "checkout-* sha256:…", a name or pattern of proxies and a token`)
		}
	}
	return d
}

// open: proxies are not asked who they are.
func (d Doors) open() bool { return d.ProxyTokens == "" && d.TLS.CA == "" }

// openDoors reads what proxies are held to.
func (f *Forwarder) openDoors() (receive.Door, error) {
	d := receive.Door{May: admit.May, Rate: f.cfg.ProxyRate}
	var err error
	if f.cfg.TLS.Cert != "" {
		if f.tls, err = tlsfiles.NewServer(f.cfg.TLS, tlsfiles.Options{}, f.log); err != nil {
			return d, fmt.Errorf("read TLS_CERT_FILE, TLS_KEY_FILE, TLS_CLIENT_CA_FILE: %w", err)
		}
		d.TLS = f.tls.Config("h2")
	}
	if f.cfg.TLS.CA != "" {
		d.Certificate = f.certified
	}
	if f.cfg.ProxyTokens != "" {
		if f.tokens, err = admit.Open(f.cfg.ProxyTokens, func() { f.receiver.Recheck() }, f.log); err != nil {
			return d, fmt.Errorf("read PROXY_TOKENS_FILE: %w", err)
		}
		d.Token = f.tokens.Token
	}
	return d, nil
}

// certified is the proxy of a certificate that would be taken now.
func (f *Forwarder) certified(chain []*x509.Certificate) (grpcdoor.Identity, error) {
	if err := f.tls.Verify(chain); err != nil {
		return grpcdoor.Identity{}, errors.Join(err, grpcdoor.ErrDenied)
	}
	return admit.Certificate(chain[0])
}

// watchDoors follows the files until ctx ends. reload gives each of them its
// own signals.
func (f *Forwarder) watchDoors(ctx context.Context, reload func(context.Context) <-chan os.Signal) []func() error {
	var all []func() error
	if f.tls != nil {
		all = append(all, func() error { return f.tls.Run(ctx, reload(ctx)) })
	}
	if f.tokens != nil {
		all = append(all, func() error { return f.tokens.Run(ctx, reload(ctx)) })
	}
	return all
}

// sayDoors tells what proxies are asked for.
func (f *Forwarder) sayDoors() {
	if f.cfg.open() {
		if ip, err := netip.ParseAddr(f.cfg.ListenHost); err == nil && ip.IsLoopback() {
			f.log.Info("Proxies are not asked who they are: only this machine reaches this port")
			return
		}
		f.log.Warn("Proxies are not asked who they are: whoever reaches this port can send what looks captured; set PROXY_TOKENS_FILE or TLS_CLIENT_CA_FILE")
		return
	}
	f.log.Info("Proxies have to show who they are",
		slog.Bool("tokens", f.tokens != nil), slog.Bool("certificates", f.cfg.TLS.CA != ""), slog.Bool("tls", f.tls != nil))
}
