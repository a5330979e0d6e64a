package tlsfiles

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/weir-capture/weir/internal/filewatch"
)

// maxFile bounds each file, in bytes: a bundle of all public authorities takes
// a quarter of a megabyte.
const maxFile = 4 << 20

// block is a PEM block (RFC 7468) and the line of its file on which it begins.
type block struct {
	*pem.Block
	line int
}

// blocks reads all PEM blocks of a file. What stands around them is no
// mistake, as long as it is not the beginning of one: a file that is being
// written ends within a block.
func blocks(data []byte) ([]block, error) {
	var all []block
	begin := []byte("-----BEGIN ")
	line := 1
	for {
		at := bytes.Index(data, begin)
		if at < 0 {
			break
		}
		line += bytes.Count(data[:at], []byte("\n"))
		data = data[at:]
		// Decode would pass over a damaged block in silence, for the next.
		this, next := data, len(data)
		if n := bytes.Index(data[len(begin):], begin); n >= 0 {
			next = len(begin) + n
			this = data[:next]
		}
		b, _ := pem.Decode(this)
		if b == nil {
			return nil, fmt.Errorf("line %d: the PEM block that begins here is damaged, or has no end", line)
		}
		all = append(all, block{b, line})
		line += bytes.Count(this, []byte("\n"))
		data = data[next:]
	}
	if len(all) == 0 {
		return nil, errors.New("line 1: no PEM block: want lines that begin with -----BEGIN")
	}
	return all, nil
}

// certificates are those of a file, in its order. A key among them is left to
// whoever reads keys.
func certificates(data []byte) ([]*x509.Certificate, error) {
	found, err := blocks(data)
	if err != nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, b := range found {
		switch {
		case b.Type == "CERTIFICATE":
			c, err := x509.ParseCertificate(b.Bytes)
			if err != nil {
				return nil, fmt.Errorf("line %d: read certificate: %w", b.line, err)
			}
			all = append(all, c)
		case strings.HasSuffix(b.Type, "PRIVATE KEY") || strings.HasSuffix(b.Type, "PARAMETERS"):
		default:
			return nil, fmt.Errorf("line %d: a block of type %q; want CERTIFICATE", b.line, b.Type)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("line %d: no certificate, only %s", found[0].line, found[0].Type)
	}
	return all, nil
}

// privateKey is the first key of a file, in PKCS #8, PKCS #1 or SEC 1.
func privateKey(data []byte) (crypto.Signer, error) {
	found, err := blocks(data)
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		var key any
		switch {
		case b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "":
			return nil, fmt.Errorf("line %d: the key is encrypted with a passphrase, which nobody could enter; want it without one, in a file that only its user can read", b.line)
		case b.Type == "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(b.Bytes)
		case b.Type == "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(b.Bytes)
		case b.Type == "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(b.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: read private key: %w", b.line, err)
		}
		switch key := key.(type) {
		case *rsa.PrivateKey:
			return key, nil
		case *ecdsa.PrivateKey:
			return key, nil
		case ed25519.PrivateKey:
			return key, nil
		}
		return nil, fmt.Errorf("line %d: a key that TLS cannot use; want RSA, ECDSA or Ed25519", b.line)
	}
	return nil, fmt.Errorf("line %d: no private key, only %s", found[0].line, found[0].Type)
}

// content is what the files held when they were looked at; nil where one is not
// named.
type content struct {
	cert, key, ca []byte
	// err is why one could not be read.
	err error
	// exposed: others than the key's owner may read it.
	exposed bool
}

func (c content) equal(o content) bool {
	return fmt.Sprint(c.err) == fmt.Sprint(o.err) && c.exposed == o.exposed &&
		bytes.Equal(c.cert, o.cert) && bytes.Equal(c.key, o.key) && bytes.Equal(c.ca, o.ca)
}

func (f Files) read() content {
	var c content
	for _, r := range []struct {
		path string
		to   *[]byte
	}{{f.Cert, &c.cert}, {f.Key, &c.key}, {f.CA, &c.ca}} {
		if r.path == "" {
			continue
		}
		b, err := filewatch.Read(r.path, maxFile)
		if err != nil {
			return content{err: fmt.Errorf("read %s: %w", r.path, cause(err))}
		}
		*r.to = b
	}
	if f.Key != "" {
		st, err := os.Stat(f.Key)
		c.exposed = err == nil && st.Mode().Perm()&0o077 != 0
	}
	return c
}

// cause is an error without the path that whoever wraps it names.
func cause(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// material is what the files say.
type material struct {
	// chain and key are this side's own; chain is empty where it has none.
	chain []*x509.Certificate
	key   crypto.Signer
	// pool is of the authorities that the other side is held to; nil where
	// none are named.
	pool *x509.CertPool
}

// parse reads what the files held.
func (f Files) parse(c content) (*material, error) {
	if c.err != nil {
		return nil, c.err
	}
	m := &material{}
	var err error
	if f.Cert != "" {
		if m.chain, err = certificates(c.cert); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Cert, err)
		}
		if m.key, err = privateKey(c.key); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Key, err)
		}
		own, ok := m.key.Public().(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !own.Equal(m.chain[0].PublicKey) {
			return nil, fmt.Errorf("%s: not the key of the first certificate in %s; want the two that belong together", f.Key, f.Cert)
		}
	}
	if f.CA != "" {
		authorities, err := certificates(c.ca)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.CA, err)
		}
		m.pool = x509.NewCertPool()
		for _, a := range authorities {
			m.pool.AddCert(a)
		}
	}
	return m, nil
}

// expired says since when this side's certificate is no longer valid; zero
// while it is.
func (m *material) expired(now time.Time) time.Time {
	if len(m.chain) > 0 && now.After(m.chain[0].NotAfter) {
		return m.chain[0].NotAfter
	}
	return time.Time{}
}

// Check says what is wrong with each of the files now, for whoever names them
// to people; nil where nothing is.
func (f Files) Check() (cert, key, ca error) {
	look := func(path string, parse func([]byte) error) error {
		if path == "" {
			return nil
		}
		b, err := filewatch.Read(path, maxFile)
		if err != nil {
			return cause(err)
		}
		return parse(b)
	}
	authorities := func(b []byte) error { _, err := certificates(b); return err }
	cert, ca = look(f.Cert, authorities), look(f.CA, authorities)
	key = look(f.Key, func(b []byte) error { _, err := privateKey(b); return err })
	pair := errors.New("it is not set: a certificate and its key go together")
	switch {
	case f.Cert == "" && f.Key != "":
		cert = pair
	case f.Key == "" && f.Cert != "":
		key = pair
	case cert == nil && key == nil:
		_, key = Files{Cert: f.Cert, Key: f.Key}.parse(Files{Cert: f.Cert, Key: f.Key}.read())
	}
	return cert, key, ca
}
