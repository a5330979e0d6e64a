package tlsfiles

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
)

type rig struct {
	t       *testing.T
	dir     string
	ca      *tlstest.Authority
	files   Files
	server  *Server
	log     bytes.Buffer
	elapsed time.Duration
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir(), ca: tlstest.NewAuthority(t)}
	r.files.Cert, r.files.Key = r.ca.Write(t, r.dir, tlstest.Leaf{Name: "server"})
	r.files.CA = r.ca.WriteCA(t, r.dir, "clients.pem")
	var err error
	r.server, err = NewServer(r.files, r.options(), r.logger())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) options() Options {
	return Options{Now: func() time.Time { return time.Now().Add(r.elapsed) }}
}
func (r *rig) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&r.log, nil)) }

// shake does a handshake, and a byte in each direction so that what either side
// holds against the other's certificate comes out.
func (r *rig) shake(server *Server, client *tls.Config) (tls.ConnectionState, error) {
	r.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	defer ln.Close()
	b, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		r.t.Fatal(err)
	}
	defer b.Close()
	a, err := ln.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	defer a.Close()
	deadline := time.Now().Add(10 * time.Second)
	_, _ = a.SetDeadline(deadline), b.SetDeadline(deadline)
	s, c := tls.Server(a, server.Config("h2")), tls.Client(b, client)
	served := make(chan error, 1)
	go func() {
		buf := make([]byte, 1)
		_, err := s.Read(buf)
		if err == nil {
			_, err = s.Write(buf)
		}
		if err != nil {
			a.Close()
		}
		served <- err
	}()
	if _, err := c.Write([]byte{1}); err != nil {
		b.Close()
		return tls.ConnectionState{}, fmt.Errorf("%w (server: %w)", err, <-served)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		b.Close()
		return tls.ConnectionState{}, fmt.Errorf("%w (server: %w)", err, <-served)
	}
	return s.ConnectionState(), <-served
}

func (r *rig) client(f Files) *tls.Config {
	r.t.Helper()
	c, err := NewClient(f, r.options(), r.logger())
	if err != nil {
		r.t.Fatal(err)
	}
	return c.Config("localhost")
}

func TestServerAndClient(t *testing.T) {
	r := newRig(t)
	cert, key := r.ca.Write(t, r.dir, tlstest.Leaf{Name: "pod-1"})
	st, err := r.shake(r.server, r.client(Files{Cert: cert, Key: key, CA: r.files.CA}))
	if err != nil {
		t.Fatal(err)
	}
	if len(st.PeerCertificates) != 1 || st.PeerCertificates[0].Subject.CommonName != "pod-1" || st.Version < tls.VersionTLS12 {
		t.Errorf("got %+v", st)
	}
	if err := r.server.Verify(st.PeerCertificates); err != nil {
		t.Error(err)
	}
	if st, err = r.shake(r.server, r.client(Files{CA: r.files.CA})); err != nil || len(st.PeerCertificates) != 0 {
		t.Errorf("without a certificate: %v, %v", st.PeerCertificates, err)
	}
	other := tlstest.NewAuthority(t)
	cert, key = other.Write(t, r.dir, tlstest.Leaf{Name: "stranger"})
	if _, err = r.shake(r.server, r.client(Files{Cert: cert, Key: key, CA: r.files.CA})); err == nil {
		t.Error("a stranger's certificate was taken")
	}
	if _, err = r.shake(r.server, r.client(Files{CA: other.WriteCA(t, r.dir, "other.pem")})); err == nil {
		t.Error("the client took a server of another authority")
	}
	if _, err = r.shake(r.server, &tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

// TestReload: new files count at the second look, a pair that does not fit
// changes nothing and is told of once, and authorities go with the files.
func TestReload(t *testing.T) {
	r := newRig(t)
	own := func() string {
		st, err := r.shake(r.server, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_ = st
		return r.server.material().chain[0].Subject.CommonName
	}
	twice := func() bool { r.server.look(false); return r.server.look(false) }

	cert, key := r.ca.Issue(t, tlstest.Leaf{Name: "second"})
	tlstest.Replace(t, r.files.Cert, cert)
	for range 5 {
		r.server.look(false)
	}
	if got := own(); got != "server" {
		t.Errorf("a certificate without its key was taken: %s", got)
	}
	if n := strings.Count(r.log.String(), "not the key of the first certificate"); n != 1 || !strings.Contains(r.log.String(), r.files.Key) {
		t.Errorf("said %d times: %s", n, r.log.String())
	}
	tlstest.Replace(t, r.files.Key, key)
	if !twice() || own() != "second" {
		t.Errorf("the second pair was not taken: %s", r.log.String())
	}
	// Half of a file.
	tlstest.Replace(t, r.files.Cert, cert[:len(cert)/2])
	if twice() || own() != "second" || !strings.Contains(r.log.String(), "line 1: the PEM block that begins here is damaged") {
		t.Errorf("half a file: %s", r.log.String())
	}
	// One that is out of date does not take the place of one that is not.
	cert, key = r.ca.Issue(t, tlstest.Leaf{Name: "old", NotAfter: time.Now().Add(-time.Minute)})
	tlstest.Replace(t, r.files.Cert, cert)
	tlstest.Replace(t, r.files.Key, key)
	if twice() || own() != "second" || !strings.Contains(r.log.String(), "the certificate expired at") {
		t.Errorf("an expired one: %s", r.log.String())
	}
	// Other authorities: who was let in would not be now.
	c, k := r.ca.Write(t, r.dir, tlstest.Leaf{Name: "pod-1"})
	cert, key = r.ca.Issue(t, tlstest.Leaf{Name: "third"})
	tlstest.Replace(t, r.files.Cert, cert)
	tlstest.Replace(t, r.files.Key, key)
	twice()
	client := r.client(Files{Cert: c, Key: k, CA: r.ca.WriteCA(t, r.dir, "server-ca.pem")})
	st, err := r.shake(r.server, client)
	if err != nil {
		t.Fatal(err)
	}
	tlstest.Replace(t, r.files.CA, tlstest.NewAuthority(t).PEM)
	if !twice() {
		t.Error("the authorities were not taken")
	}
	if r.server.Verify(st.PeerCertificates) == nil {
		t.Error("a certificate of the old authority is verified still")
	}
	if _, err := r.shake(r.server, client); err == nil {
		t.Error("a certificate of the old authority is taken still")
	}
	// Time goes by.
	tlstest.Replace(t, r.files.CA, r.ca.PEM)
	twice()
	r.elapsed = 2 * time.Hour
	r.server.look(false)
	r.server.look(false)
	if r.server.Verify(st.PeerCertificates) == nil {
		t.Error("an expired certificate is verified")
	}
	if n := strings.Count(r.log.String(), "A certificate has expired"); n != 1 {
		t.Errorf("said %d times that it has expired", n)
	}
}

func TestClientReloads(t *testing.T) {
	r := newRig(t)
	path := tlstest.NewAuthority(t).WriteCA(t, r.dir, "ca.pem")
	c, err := NewClient(Files{CA: path}, r.options(), r.logger())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.shake(r.server, c.Config("localhost")); err == nil {
		t.Error("a server of another authority was taken")
	}
	tlstest.Replace(t, path, []byte("-----BEGIN CERT"))
	if _, err := r.shake(r.server, c.Config("localhost")); err == nil {
		t.Error("a damaged file let a server in")
	}
	tlstest.Replace(t, path, r.ca.PEM)
	if _, err := r.shake(r.server, c.Config("localhost")); err != nil {
		t.Error(err)
	}
}

func TestMistakes(t *testing.T) {
	r := newRig(t)
	cert, key := r.ca.Issue(t, tlstest.Leaf{Name: "x"})
	broken := bytes.Replace(cert, []byte("MII"), []byte("MIA"), 1)
	for want, content := range map[string][2][]byte{
		"x.crt: line 1: no PEM block":                                  {[]byte("not PEM"), key},
		"x.crt: line 1: no certificate, only PRIVATE KEY":              {key, key},
		"x.crt: line 3: read certificate":                              {append([]byte("a\nb\n"), broken...), key},
		"x.crt: line 1: a block of type \"CERTIFICATE REQUEST\"":       {[]byte("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"), key},
		"x.key: line 1: no private key, only CERTIFICATE":              {cert, cert},
		"x.key: line 1: read private key":                              {cert, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")},
		"x.key: line 1: the key is encrypted":                          {cert, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")},
		"x.key: line 1: the PEM block that begins here is damaged":     {cert, append(bytes.Clone(key[:40]), key...)},
		"not the key of the first certificate in " + r.dir + "/x.crt":  {cert, read(t, r.files.Key)},
		"read " + r.dir + "/x.key: no such file or directory":          {cert, nil},
		"read " + r.dir + "/x.crt: more than 4194304 bytes":            {make([]byte, maxFile+1), key},
		"read " + r.dir + "/x.crt: not a regular file, or no such fil": {nil, key},
	} {
		f := Files{Cert: r.dir + "/x.crt", Key: r.dir + "/x.key"}
		for path, b := range map[string][]byte{f.Cert: content[0], f.Key: content[1]} {
			os.Remove(path)
			if b != nil {
				tlstest.Replace(t, path, b)
			}
		}
		want, _, _ = strings.Cut(want, " not a regular file, or")
		if _, err := NewServer(f, Options{}, r.logger()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	for _, f := range []Files{{}, {Cert: r.files.Cert}, {Key: r.files.Key}} {
		if _, err := NewServer(f, Options{}, r.logger()); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}

func TestKeyOthersMayRead(t *testing.T) {
	r := newRig(t)
	if strings.Contains(r.log.String(), "private key") {
		t.Error(r.log.String())
	}
	if err := os.Chmod(r.files.Key, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(r.files, Options{}, r.logger()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.log.String(), "Others than its owner may read a private key") {
		t.Error("nothing was said")
	}
}

// TestRun follows the files by itself.
func TestRun(t *testing.T) {
	r := newRig(t)
	opt := r.options()
	opt.Every = time.Millisecond
	s, err := NewServer(r.files, opt, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context(), nil) }()
	tlstest.Replace(t, r.files.CA, tlstest.NewAuthority(t).PEM)
	before := s.material()
	for deadline := time.Now().Add(10 * time.Second); s.material() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the file was not followed")
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzPEM: whatever a file holds, what is wrong with it is said with a line
// that it has.
func FuzzPEM(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("x\n-----BEGIN PRIVATE KEY-----\nAAAA\n"))
	f.Add([]byte("-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----\n-----BEGIN EC PRIVATE KEY-----\nDEK-Info: x\n\nAAAA\n-----END EC PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, certErr := certificates(data)
		_, keyErr := privateKey(data)
		for _, err := range []error{certErr, keyErr} {
			if err == nil {
				continue
			}
			var line int
			if _, serr := fmt.Sscanf(err.Error(), "line %d:", &line); serr != nil || line < 1 || line > 1+bytes.Count(data, []byte("\n")) {
				t.Errorf("%q: %v", data, err)
			}
		}
	})
}
