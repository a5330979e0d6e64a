package doors

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/internal/tlsfiles/tlstest"
)

var bins *harness.Bins

func TestMain(m *testing.M) { harness.Main(m, "e2e/doors", &bins) }

// site is a proxy and a forwarder whose pairs go to a file, and the
// application.
type site struct {
	*harness.Stack
	t         *testing.T
	ca        *tlstest.Authority
	tokens    string // the forwarder's list
	token     string // the proxy's file
	cert, key string // the forwarder's
	authority string // what the proxy holds it to
	pairs     string
}

const (
	right = "right-token-0123456789"
	wrong = "wrong-token-0123456789"
)

func newSite(t *testing.T) *site {
	t.Helper()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "this is %s", r.URL.Path)
	}))
	t.Cleanup(app.Close)
	s := &site{Stack: harness.NewStack(t, bins, app.Listener.Addr().(*net.TCPAddr).Port), t: t, ca: tlstest.NewAuthority(t)}
	file := func(name, text string) string {
		path := filepath.Join(s.Dir, name)
		tlstest.Replace(t, path, []byte(text))
		return path
	}
	s.tokens = file("tokens", "ip-192-* "+right+"\n")
	s.token = file("token", wrong+"\n")
	s.cert, s.key = s.ca.Write(t, s.Dir, tlstest.Leaf{Name: "forwarder"})
	s.authority = s.ca.WriteCA(t, s.Dir, "authority.pem")
	s.pairs = filepath.Join(s.Dir, "pairs.jsonl")
	delete(s.ForwarderEnv, "ANALYZER_ADDR")
	s.ForwarderEnv["EXPORTERS"] = file("exporters.yml", "exporters:\n- name: f\n  type: file\n  path: "+s.pairs+"\n")
	s.ForwarderEnv["PROXY_TOKENS_FILE"] = s.tokens
	s.ForwarderEnv["TLS_CERT_FILE"], s.ForwarderEnv["TLS_KEY_FILE"] = s.cert, s.key
	s.ProxyEnv["DIAGNOSTICS_ADDR"] = ""
	s.ProxyEnv["FORWARDER_TOKEN_FILE"] = s.token
	s.ProxyEnv["FORWARDER_TLS"], s.ProxyEnv["FORWARDER_CA_FILE"] = "on", s.authority
	return s
}

// get asks the application through the proxy.
func (s *site) get(path string) {
	s.t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Get(s.Front() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || string(b) != "this is "+path {
		s.t.Fatalf("%s: %d %q %v", path, resp.StatusCode, b, err)
	}
}

// arrived waits for a pair in the file.
func (s *site) arrived(path string) {
	s.t.Helper()
	harness.Poll(s.t, 30*time.Second, "the pair of "+path, func() error {
		b, err := os.ReadFile(s.pairs)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !strings.Contains(string(b), path) {
			return fmt.Errorf("%d bytes have come", len(b))
		}
		return err
	})
}

// says waits for a line of the proxy's log with a text in its error, behind the
// first lines.
func (s *site) says(after int, text string) {
	s.t.Helper()
	harness.Poll(s.t, 40*time.Second, text, func() error {
		for _, l := range s.Proxy.Lines()[after:] {
			if strings.Contains(l.Field("error"), text) {
				return nil
			}
		}
		return errors.New("not said")
	})
}

func (s *site) said() int { return len(s.Proxy.Lines()) }

// TestS05Doors: a proxy gets in by its token and over TLS; when it does not,
// its log says what to do, and the application's traffic never feels it.
func TestS05Doors(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.StartForwarder()
	s.StartProxy()
	s.get("/before")
	s.says(0, "it does not take the token of FORWARDER_TOKEN")
	for i := range 20 {
		s.get("/meanwhile/" + strconv.Itoa(i))
	}

	// The right token: what waited comes.
	tlstest.Replace(t, s.token, []byte(right))
	s.arrived("/before")
	s.get("/with-token")
	s.arrived("/with-token")

	// It is revoked while the stream is open: well within a minute.
	at, began := s.said(), time.Now()
	tlstest.Replace(t, s.tokens, []byte("ip-192-* "+wrong+"\n"))
	s.says(at, "it does not take the token of FORWARDER_TOKEN")
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("a revoked token pushed for %v", took)
	}
	s.get("/revoked")
	tlstest.Replace(t, s.tokens, []byte("ip-192-* "+wrong+"\nip-192-* "+right+"\n"))
	s.arrived("/revoked")

	// Another's name.
	at = s.said()
	tlstest.Replace(t, s.tokens, []byte("ip-193-* "+right+"\n"))
	s.says(at, "may not push as this APP_POD_NAME")
	tlstest.Replace(t, s.tokens, []byte("ip-192-168-3-149 "+right+"\n"))
	s.get("/own-name")
	s.arrived("/own-name")

	// The forwarder's certificate is of another authority from now on. Who is
	// connected stays; who connects anew has to know it.
	other := tlstest.NewAuthority(t)
	cert, key := other.Issue(t, tlstest.Leaf{Name: "forwarder"})
	tlstest.Replace(t, s.cert, cert)
	tlstest.Replace(t, s.key, key)
	s.Forwarder.WaitMessage(20*time.Second, "Took new TLS files")
	s.get("/still")
	s.arrived("/still")
	at = s.said()
	tlstest.Replace(t, s.tokens, []byte("ip-192-168-3-149 "+wrong+"\n"))
	s.says(at, "set FORWARDER_CA_FILE to that authority's certificate")
	s.get("/stranger")
	other.WriteCA(t, s.Dir, "authority.pem")
	tlstest.Replace(t, s.tokens, []byte("ip-192-168-3-149 "+right+"\n"))
	s.arrived("/stranger")

	// Half a file changes nothing.
	tlstest.Replace(t, s.cert, cert[:len(cert)/2])
	s.Forwarder.WaitMessage(20*time.Second, "Could not take new TLS files; those from before stay in use")
	s.get("/half")
	s.arrived("/half")

	for _, l := range append(s.Proxy.Lines(), s.Forwarder.Lines()...) {
		if strings.Contains(l.Raw, right) || strings.Contains(l.Raw, wrong) {
			t.Errorf("a token is in the log: %s", l.Raw)
		}
	}
	if n := strings.Count(s.Proxy.Log(), "Not connected to forwarder"); n > 60+int(time.Since(began).Seconds()) {
		t.Errorf("said %d times that there is no forwarder", n)
	}
}

// TestS05Certificates: a proxy may show a certificate instead of a token, and
// one that has expired shuts it out.
func TestS05Certificates(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	clients := tlstest.NewAuthority(t)
	delete(s.ForwarderEnv, "PROXY_TOKENS_FILE")
	delete(s.ProxyEnv, "FORWARDER_TOKEN_FILE")
	s.ForwarderEnv["TLS_CLIENT_CA_FILE"] = clients.WriteCA(t, s.Dir, "clients.pem")
	cert, key := clients.Write(t, s.Dir, tlstest.Leaf{Name: "ip-192-168-3-149", NotAfter: time.Now().Add(-time.Minute)})
	s.ProxyEnv["FORWARDER_CERT_FILE"], s.ProxyEnv["FORWARDER_KEY_FILE"] = cert, key
	s.StartForwarder()
	s.StartProxy()
	s.get("/expired")
	s.says(0, "it does not take this side's certificate")
	renewed, itsKey := clients.Issue(t, tlstest.Leaf{Name: "ip-192-168-3-149"})
	tlstest.Replace(t, cert, renewed)
	tlstest.Replace(t, key, itsKey)
	s.arrived("/expired")

	// A certificate that is another's, and none.
	other, otherKey := clients.Write(t, s.Dir, tlstest.Leaf{Name: "ip-192-168-3-150"})
	for name, env := range map[string]map[string]string{
		"may not push as this APP_POD_NAME": {"FORWARDER_CERT_FILE": other, "FORWARDER_KEY_FILE": otherKey},
		"it wants to know who this is":      {"FORWARDER_CERT_FILE": "", "FORWARDER_KEY_FILE": ""},
	} {
		for k, v := range env {
			s.ProxyEnv[k] = v
		}
		app, err := strconv.Atoi(s.ProxyEnv["REVERSE_PROXY_PORT"])
		if err != nil {
			t.Fatal(err)
		}
		p, _ := s.SecondProxy(app, "my_application_name", "ip-192-168-3-149")
		p.WaitLine(20*time.Second, name, func(l harness.Line) bool { return strings.Contains(l.Field("error"), name) })
		p.Stop(10 * time.Second)
	}
}

// TestS05Open: a forwarder as the guide starts it takes everybody, and says so;
// its port is closed quietly to who only looks whether it is there.
func TestS05Open(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"PROXY_TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"} {
		delete(s.ForwarderEnv, name)
	}
	for _, name := range []string{"FORWARDER_TOKEN_FILE", "FORWARDER_TLS", "FORWARDER_CA_FILE"} {
		delete(s.ProxyEnv, name)
	}
	s.StartForwarder()
	if l := s.Forwarder.WaitLine(10*time.Second, "a warning", func(l harness.Line) bool {
		return strings.HasPrefix(l.Text(), "Proxies are not asked who they are")
	}); l.Level() != "warn" {
		t.Errorf("it is said as %s", l.Level())
	}
	lines := len(s.Forwarder.Lines())
	for _, word := range []string{"", "GET / HTTP/1.0\r\n\r\n"} {
		c, err := net.Dial("tcp", harness.Addr(s.ForwarderPort))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, word)
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%q: %v", word, err)
		}
		_ = c.Close()
	}
	if more := s.Forwarder.Lines()[lines:]; len(more) > 0 {
		t.Errorf("it said: %v", more)
	}
	s.StartProxy()
	s.get("/open")
	s.arrived("/open")
}

// TestS18Names that come from outside never become names of files.
func TestS18Names(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, name := range []string{"PROXY_TOKENS_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"} {
		delete(s.ForwarderEnv, name)
	}
	for _, name := range []string{"FORWARDER_TOKEN_FILE", "FORWARDER_TLS", "FORWARDER_CA_FILE"} {
		delete(s.ProxyEnv, name)
	}
	s.ForwarderEnv["CLUSTER_NAME"] = "../../cluster-name"
	ring := filepath.Join(s.Dir, "ring")
	s.ProxyEnv["CAPTURE_SPOOL_DIR"] = ring
	s.StartForwarder()
	app, err := strconv.Atoi(s.ProxyEnv["REVERSE_PROXY_PORT"])
	if err != nil {
		t.Fatal(err)
	}
	for i, hostile := range []string{"../../../escape", "/etc/escape", "escape\\..\\escape", "CON", "escape:stream", strings.Repeat("escape", 50), "escape\nescape", "~escape", "$(touch escape)"} {
		s.ProxyEnv["APP_POD_NAMESPACE"] = hostile
		s.ProxyEnv["APP_LABEL"] = hostile
		env := map[string]string{}
		for k, v := range s.ProxyEnv {
			env[k] = v
		}
		port := harness.Port(t)
		env["PROXY_IN_PORT"], env["REVERSE_PROXY_PORT"], env["APP_POD_NAME"] = strconv.Itoa(port), strconv.Itoa(app), hostile
		p := harness.Start(t, s.Dir, "goproxy-"+strconv.Itoa(i), bins.Path("goproxy"), env)
		p.WaitMessage(20*time.Second, "Successfully registered with forwarder")
		path := "/hostile-" + strconv.Itoa(i)
		resp, err := http.Get("http://" + harness.Addr(port) + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		s.arrived(path)
		p.Stop(15 * time.Second)
	}
	err = filepath.WalkDir(s.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(s.Dir, path)
		if err != nil {
			return err
		}
		if strings.Contains(rel, "escape") || strings.Contains(rel, "CON") || strings.Contains(rel, "cluster-name") {
			t.Errorf("there is %s", rel)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(s.Dir), "/etc", "/"} {
		if _, err := os.Lstat(filepath.Join(dir, "escape")); err == nil {
			t.Errorf("there is an escape in %s", dir)
		}
	}
}
