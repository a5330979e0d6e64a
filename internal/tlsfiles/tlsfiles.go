// Package tlsfiles makes TLS configurations of PEM files, and of what the files
// hold later: certificates are renewed while programs run. What does not make
// sense, or is only half written yet, changes nothing, and is told of once.
package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// pollEvery is how often a server's files are looked at.
const pollEvery = time.Second

// Files name PEM files. Cert and Key belong together: the chain that this side
// shows, its own certificate first, and its key. CA has the authorities that
// the other side's certificate has to come from.
type Files struct{ Cert, Key, CA string }

// Options may be left zero.
type Options struct {
	// Now is the clock: time.Now.
	Now func() time.Time
	// Every is how often Run looks at the files: one second.
	Every time.Duration
}

// set is files and what was last taken from them.
type set struct {
	files Files
	opt   Options
	log   *slog.Logger

	mu   sync.Mutex
	have *material
	// taken is what have was made of, or what was last refused; seen is what
	// the last look found.
	taken, seen content
	// toldExpired: somebody was told that have is out of date.
	toldExpired bool
}

func open(f Files, opt Options, log *slog.Logger) (*set, error) {
	if (f.Cert == "") != (f.Key == "") {
		return nil, errors.New("a certificate and its key go together: one of the two is not set")
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	if opt.Every == 0 {
		opt.Every = pollEvery
	}
	s := &set{files: f, opt: opt, log: log}
	s.taken = f.read()
	s.seen = s.taken
	var err error
	if s.have, err = f.parse(s.taken); err != nil {
		return nil, err
	}
	s.warn(s.taken)
	return s, nil
}

// warn says what is doubtful about what was taken. s.mu is held, or nobody
// else has s yet.
func (s *set) warn(c content) {
	if c.exposed {
		s.log.Warn("Others than its owner may read a private key; set its mode to 0600", slog.String("file", s.files.Key))
	}
	s.checkExpiry()
}

func (s *set) checkExpiry() {
	if at := s.have.expired(s.opt.Now()); !at.IsZero() && !s.toldExpired {
		s.toldExpired = true
		s.log.Warn("A certificate has expired; the other side will refuse it until the file holds a new one",
			slog.String("file", s.files.Cert), slog.Time("expired", at.UTC()))
	}
}

// look reads the files again. Unless asked, what is new has to look the same
// twice before it counts: it may be half written. It says whether something new
// was taken.
func (s *set) look(asked bool) bool {
	now := s.files.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.seen
	s.seen = now
	s.checkExpiry()
	if now.equal(s.taken) || !asked && !now.equal(before) {
		return false
	}
	s.taken = now
	m, err := s.files.parse(now)
	if err == nil {
		if at := m.expired(s.opt.Now()); !at.IsZero() && s.have.expired(s.opt.Now()).IsZero() {
			err = fmt.Errorf("%s: the certificate expired at %s", s.files.Cert, at.UTC().Format(time.RFC3339))
		}
	}
	if err != nil {
		s.log.Warn("Could not take new TLS files; those from before stay in use", slog.String("error", err.Error()))
		return false
	}
	s.have, s.toldExpired = m, false
	s.warn(now)
	s.log.Info("Took new TLS files", slog.String("cert", s.files.Cert), slog.String("ca", s.files.CA))
	return true
}

func (s *set) material() *material {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have
}

// certificate is this side's own.
func (m *material) certificate() tls.Certificate {
	c := tls.Certificate{PrivateKey: m.key, Leaf: m.chain[0]}
	for _, x := range m.chain {
		c.Certificate = append(c.Certificate, x.Raw)
	}
	return c
}

// Server is the TLS side of a listener.
type Server struct{ *set }

// NewServer reads the files; its error names the file, the line and the cause.
// Cert and Key are needed; with CA, certificates of clients are verified where
// they show one, and whoever needs one asks for it (Verify, or the state of the
// connection). It starts nothing: Run follows the files.
func NewServer(f Files, opt Options, log *slog.Logger) (*Server, error) {
	if f.Cert == "" {
		return nil, errors.New("a server needs a certificate and its key")
	}
	s, err := open(f, opt, log)
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// Run looks at the files each second, and at each signal of reload, until ctx
// ends, and returns nil. reload may be nil.
func (s *Server) Run(ctx context.Context, reload <-chan os.Signal) error {
	tick := time.NewTicker(s.opt.Every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.look(false)
		case <-reload:
			s.look(true)
		case <-ctx.Done():
			return nil
		}
	}
}

// Config is for listeners; protocols are what is offered by ALPN, such as "h2".
// Each handshake goes by what the files held last.
func (s *Server) Config(protocols ...string) *tls.Config {
	base := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: protocols}
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := s.material()
		c := &tls.Config{
			MinVersion: tls.VersionTLS12, NextProtos: protocols, Time: s.opt.Now,
			Certificates: []tls.Certificate{m.certificate()},
			// A resumed session would go by the authorities and the clock of
			// the one that it resumes.
			SessionTicketsDisabled: true,
		}
		if m.pool != nil {
			c.ClientAuth, c.ClientCAs = tls.VerifyClientCertIfGiven, m.pool
		}
		return c, nil
	}
	return base
}

// Verify says whether a client's chain, its own certificate first, would be
// taken now: authorities change while connections are open, and certificates
// expire.
func (s *Server) Verify(chain []*x509.Certificate) error {
	m := s.material()
	if m.pool == nil || len(chain) == 0 {
		return errors.New("verify certificate: there is none, or no authority to go by")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: m.pool, Intermediates: between, CurrentTime: s.opt.Now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("verify certificate: %w", err)
	}
	return nil
}

// Client is the TLS side of connections that this program makes.
type Client struct{ *set }

// NewClient reads the files, any of which may be empty: without CA the system's
// authorities count. Its error names the file, the line and the cause.
func NewClient(f Files, opt Options, log *slog.Logger) (*Client, error) {
	s, err := open(f, opt, log)
	if err != nil {
		return nil, err
	}
	return &Client{s}, nil
}

// Config is for one connection to a server of this name, a host or an address.
// It looks at the files first: whoever connects anew goes by what they hold
// now.
func (c *Client) Config(serverName string) *tls.Config {
	c.look(true)
	m := c.material()
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName, RootCAs: m.pool, Time: c.opt.Now}
	if len(m.chain) > 0 {
		own := m.certificate()
		// Also where the server names no authority of ours: it shall say what
		// is wrong with it, not that there was none.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
	}
	return cfg
}
