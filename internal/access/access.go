// Package access is how a program shows a gRPC server who it is, and makes sure
// who the server is: a token, TLS, a certificate of its own. Where they come
// from files, these are read again for each connection.
package access

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"

	"github.com/weir-capture/weir/internal/filewatch"
	"github.com/weir-capture/weir/internal/tlsfiles"
)

// maxToken bounds a token, in bytes.
const maxToken = 1 << 10

// Config is what a user sets. Zero: in the clear, and with nothing to show.
type Config struct {
	// Prefix begins the names of its variables, such as "ANALYZER"; with a space
	// in it, it says which entry of a file it is. It is for what people are
	// told.
	Prefix string
	// Token is shown, or what TokenFile holds.
	Token, TokenFile string
	// TLS is spoken; without it Files are not used.
	TLS   bool
	Files tlsfiles.Files
}

// Client is a Config that is ready to connect. A nil one is of the zero Config.
type Client struct {
	cfg Config
	tls *tlsfiles.Client
}

// New reads the files. Its error names the file and the cause.
func New(cfg Config, log *slog.Logger) (*Client, error) {
	c := &Client{cfg: cfg}
	if _, err := c.Token(); err != nil {
		return nil, err
	}
	if cfg.TLS {
		var err error
		if c.tls, err = tlsfiles.NewClient(cfg.Files, tlsfiles.Options{}, log); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Var is the name of a variable, such as "ANALYZER_TLS", or of a key, such as
// "tls of exporter second".
func (c *Client) Var(name string) string {
	switch {
	case c == nil || c.cfg.Prefix == "":
		return name
	case strings.Contains(c.cfg.Prefix, " "):
		return strings.ToLower(name) + " of " + c.cfg.Prefix
	}
	return c.cfg.Prefix + "_" + name
}

// Token is what to show now; empty for nothing.
func (c *Client) Token() (string, error) {
	if c == nil || c.cfg.TokenFile == "" {
		if c == nil {
			return "", nil
		}
		return c.cfg.Token, nil
	}
	b, err := filewatch.Read(c.cfg.TokenFile, maxToken)
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	if err != nil {
		return "", fmt.Errorf("read %s %s: %w", c.Var("TOKEN_FILE"), c.cfg.TokenFile, err)
	}
	token := strings.TrimSpace(string(b))
	if err := CheckToken(token); err != nil {
		return "", fmt.Errorf("%s %s: %w", c.Var("TOKEN_FILE"), c.cfg.TokenFile, err)
	}
	return token, nil
}

// CheckToken says what is wrong with a token, without showing it.
func CheckToken(token string) error {
	switch {
	case token == "":
		return errors.New("it is empty")
	case len(token) > maxToken:
		return fmt.Errorf("it has %d bytes, at most %d can be", len(token), maxToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("it has characters that no token has")
	}
	return nil
}

// Secure: TLS is spoken.
func (c *Client) Secure() bool { return c != nil && c.tls != nil }

// Certified: there is a certificate to show.
func (c *Client) Certified() bool { return c.Secure() && c.cfg.Files.Cert != "" }

// TLS is for a connection to "host:port"; nil where TLS is not spoken.
func (c *Client) TLS(addr string) *tls.Config {
	if !c.Secure() {
		return nil
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	return c.tls.Config(host)
}

// MaySend says whether a token may go to a remote address: in the clear it is
// kept on this machine.
func (c *Client) MaySend(remote net.Addr) bool {
	if c.Secure() {
		return true
	}
	at, err := netip.ParseAddrPort(remote.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
