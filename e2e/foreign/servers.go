package foreign

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/template"

	"github.com/weir-capture/weir/e2e/harness"
	"github.com/weir-capture/weir/e2e/ledger"
)

// files are what every server has, below /p/.
var files = map[string][]byte{
	"small.txt": []byte(strings.Repeat("a line of a small file\n", 45)),
	"large.bin": ledger.Noise([16]byte{1}, 0, 300_000),
	"empty.txt": {},
}

// server is one that is running.
type server struct {
	port int
	// post takes bodies and answers 200; empty where nothing does. hashes: the
	// answer is the SHA-256 of the body.
	post   string
	hashes bool
	// served is its own log.
	served func() ([]ledger.Served, error)
}

// kindOfServer is one that can be started.
type kindOfServer struct {
	// name is also the application's label.
	name    string
	needs   []string
	version []string // the command that tells it
	start   func(t testing.TB) server
}

var servers = []kindOfServer{
	{"go", nil, []string{"go", "version"}, startGo},
	{"python", []string{"python3"}, []string{"python3", "--version"}, startPython},
	{"python-http.server", []string{"python3"}, []string{"python3", "--version"}, startModule},
	{"node", []string{"node"}, []string{"node", "--version"}, startNode},
	{"nginx", []string{"nginx"}, []string{"nginx", "-v"}, startNginx},
	{"apache2", []string{"apache2"}, []string{"apache2", "-v"}, startApache},
}

// put writes the files below a server's root.
func put(t testing.TB, root string) {
	t.Helper()
	dir := filepath.Join(root, "p")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// startGo serves from this process.
func startGo(t testing.TB) server {
	var mu sync.Mutex
	var log []ledger.Served
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusOK, []byte(nil)
		if r.Method == http.MethodPost {
			sum := sha256.New()
			if _, err := io.Copy(sum, r.Body); err != nil {
				return // the client is gone
			}
			body = fmt.Appendf(nil, "%x\n", sum.Sum(nil))
		} else if data, ok := files[path.Base(r.URL.Path)]; ok {
			body = data
		} else {
			status, body = http.StatusNotFound, []byte("there is no such file\n")
		}
		mu.Lock()
		log = append(log, ledger.Served{ID: ledger.FindID(r.RequestURI), Method: r.Method, Target: r.RequestURI, Status: status})
		mu.Unlock()
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return server{port: s.Listener.Addr().(*net.TCPAddr).Port, post: "/post", hashes: true, served: func() ([]ledger.Served, error) {
		mu.Lock()
		defer mu.Unlock()
		return append([]ledger.Served(nil), log...), nil
	}}
}

//go:embed server.py
var pythonServer string

func startPython(t testing.TB) server {
	return startScript(t, "python3", "server.py", pythonServer, "-u")
}

//go:embed server.mjs
var nodeServer string

func startNode(t testing.TB) server { return startScript(t, "node", "server.mjs", nodeServer) }

// startScript starts a server that an interpreter runs, and that writes a JSON
// object a request.
func startScript(t testing.TB, interpreter, name, script string, args ...string) server {
	t.Helper()
	dir, port := harness.Dir(t), harness.Port(t)
	put(t, filepath.Join(dir, "www"))
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	p := harness.Start(t, dir, interpreter, harness.LookPath(t, interpreter), nil,
		append(args, file, strconv.Itoa(port), filepath.Join(dir, "www"))...)
	harness.WaitPort(t, port)
	return server{port: port, post: "/post", hashes: true, served: func() ([]ledger.Served, error) {
		return fromJSON(p.Log())
	}}
}

// fromJSON reads a log of one JSON object a request.
func fromJSON(log string) ([]ledger.Served, error) {
	var out []ledger.Served
	for line := range strings.Lines(log) {
		var s struct {
			Method, Target string
			Status         int
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return nil, fmt.Errorf("read server's log: %w: %s", err, line)
		}
		out = append(out, ledger.Served{ID: ledger.FindID(s.Target), Method: s.Method, Target: s.Target, Status: s.Status})
	}
	return out, nil
}

// startModule starts `python3 -m http.server`, which speaks HTTP/1.0 and takes
// no bodies.
func startModule(t testing.TB) server {
	p := harness.StartPython(t)
	put(t, p.Root)
	return server{port: p.Port, served: p.Served}
}

func startNginx(t testing.TB) server {
	n := harness.StartNginx(t, false)
	put(t, n.Root)
	return server{port: n.Port, post: "/echo", served: n.Served}
}

var apacheConf = template.Must(template.New("apache").Parse(`
ServerRoot "{{.Dir}}"
ServerName foreign.test
PidFile "{{.Dir}}/apache.pid"
DefaultRuntimeDir "{{.Dir}}"
ErrorLog "{{.Dir}}/apache-error.log"
{{range .Modules}}LoadModule {{.}}_module "/usr/lib/apache2/modules/mod_{{.}}.so"
{{end}}
{{if .Super}}User www-data
Group www-data
{{end}}
Listen 127.0.0.1:{{.Port}}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
LogFormat "{\"method\":\"%m\",\"target\":\"%U%q\",\"status\":%>s}" ledger
CustomLog "{{.Dir}}/apache-access.log" ledger
DocumentRoot "{{.Root}}"
<Directory "{{.Root}}">
	Require all granted
</Directory>
`))

// startApache starts one with the event module, as Debian's does. It answers
// a POST to a file as a GET.
func startApache(t testing.TB) server {
	t.Helper()
	dir, port := harness.Dir(t), harness.Port(t)
	root, super := filepath.Join(dir, "www"), os.Geteuid() == 0
	put(t, root)
	if super { // its children are somebody else, who has to get there
		for _, d := range []string{dir, filepath.Dir(dir)} {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	var conf bytes.Buffer
	if err := apacheConf.Execute(&conf, map[string]any{
		"Dir": dir, "Root": root, "Port": port, "Super": super, "Modules": []string{"mpm_event", "authz_core"},
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "apache.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	harness.Start(t, dir, "apache2", harness.LookPath(t, "apache2"), nil, "-DFOREGROUND", "-d", dir, "-f", file)
	harness.WaitPort(t, port)
	return server{port: port, post: "/p/small.txt", served: func() ([]ledger.Served, error) {
		data, err := os.ReadFile(filepath.Join(dir, "apache-access.log"))
		if err != nil {
			return nil, fmt.Errorf("read apache's log: %w", err)
		}
		return fromJSON(string(data[:bytes.LastIndexByte(data, '\n')+1]))
	}}
}
