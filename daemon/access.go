package daemon

import (
	"net"
	"net/netip"

	"github.com/weir-capture/weir/internal/access"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// Access reads how to get in at another program: PREFIX_TOKEN (or _FILE),
// PREFIX_TLS, PREFIX_CA_FILE, PREFIX_CERT_FILE and PREFIX_KEY_FILE. addr is
// where that is, as "host:port".
func (e *Env) Access(prefix, addr string) access.Config {
	before := len(e.errs)
	c := access.Config{
		Prefix: prefix, Token: e.Secret(prefix + "_TOKEN"), TokenFile: e.String(prefix+"_TOKEN_FILE", ""),
		TLS: e.OneOf(prefix+"_TLS", "off", []string{"on", "off"}) == "on",
		Files: tlsfiles.Files{
			CA: e.String(prefix+"_CA_FILE", ""), Cert: e.String(prefix+"_CERT_FILE", ""), Key: e.String(prefix+"_KEY_FILE", ""),
		},
	}
	if c.Token != "" {
		if err := access.CheckToken(c.Token); err != nil {
			e.FailSecret(prefix+"_TOKEN", err.Error(), "the token that weir key printed")
		}
	} else if c.TokenFile != "" && len(e.errs) == before {
		e.Fail(prefix+"_TOKEN_FILE", "it is empty", "a file with a token")
	}
	if !c.TLS {
		for _, f := range []struct{ name, path string }{{"CA_FILE", c.Files.CA}, {"CERT_FILE", c.Files.Cert}, {"KEY_FILE", c.Files.Key}} {
			if f.path != "" {
				e.Fail(prefix+"_"+f.name, "it is for TLS, which is off", prefix+"_TLS=on with it")
			}
		}
		host, _, err := net.SplitHostPort(addr)
		if ip, perr := netip.ParseAddr(host); err == nil && perr == nil && c.Token != "" && !ip.Unmap().IsLoopback() {
			e.Fail(prefix+"_TLS", "a token would go to "+addr+" in the clear", "on")
		}
		return c
	}
	e.TLSFiles(c.Files, prefix+"_CERT_FILE", prefix+"_KEY_FILE", prefix+"_CA_FILE")
	return c
}

// TLSFiles records what is wrong with files that the variables of these names
// hold. An empty ca is for who has none.
func (e *Env) TLSFiles(f tlsfiles.Files, cert, key, ca string) {
	inCert, inKey, inCA := f.Check()
	if inCert != nil {
		e.Fail(cert, inCert.Error(), "a PEM file with a certificate and its chain")
	}
	if inKey != nil {
		e.Fail(key, inKey.Error(), "a PEM file with the key of "+cert)
	}
	if inCA != nil {
		e.Fail(ca, inCA.Error(), "a PEM file with certificates of authorities")
	}
}
