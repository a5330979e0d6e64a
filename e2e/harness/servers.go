package harness

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/weir-capture/weir/e2e/ledger"
)

// Nginx is a running nginx that this test owns. It serves
//
//	/p/, /files/   static files from Root; /files/ compresses what is text
//	/slow/         the same files, 40 KB/s
//	/echo          200 with the id in it, for any method
//	/ssi/          server-side includes: chunked, with the id in the answer
//	/empty         204
//	/fail          503
//	/moved         302
//	/dav/          PUT keeps the body under Root, DELETE removes it
type Nginx struct {
	t testing.TB
	// Root holds the files that it serves.
	Root string
	// Port speaks HTTP/1.1, TLSPort HTTP/1.1 and HTTP/2 over TLS, and H2Port
	// HTTP/2 without TLS (prior knowledge).
	Port, TLSPort, H2Port int

	access string
	proc   *Proc
}

// nginxConf works for root and for anybody else: every path that nginx writes
// to is in the test's own folder.
var nginxConf = template.Must(template.New("nginx").Parse(`
{{if .Super}}user root;{{end}}
worker_processes 1;
daemon off;
pid {{.Dir}}/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
	log_format ledger escape=json '{"id":"$http_x_weir_id","method":"$request_method","target":"$request_uri","status":$status,"protocol":"$server_protocol"}';
	access_log {{.Access}} ledger;
	client_body_temp_path {{.Dir}}/nginx-body;
	proxy_temp_path {{.Dir}}/nginx-proxy;
	fastcgi_temp_path {{.Dir}}/nginx-fastcgi;
	uwsgi_temp_path {{.Dir}}/nginx-uwsgi;
	scgi_temp_path {{.Dir}}/nginx-scgi;
	client_max_body_size 0;
	if_modified_since before;
	keepalive_requests 100000;
	keepalive_timeout 60s;
	default_type application/octet-stream;
	types { text/plain txt; text/html html; application/json json; }
	add_header X-Weir-Id $http_x_weir_id always;
	server {
		listen 127.0.0.1:{{.Port}};
		listen 127.0.0.1:{{.H2Port}} http2;
{{- if .TLS}}
		listen 127.0.0.1:{{.TLSPort}} ssl http2;
		ssl_certificate {{.Dir}}/cert.pem;
		ssl_certificate_key {{.Dir}}/key.pem;
{{- end}}
		root {{.Root}};
		location /files/ {
			gzip on;
			gzip_types text/plain application/json;
			gzip_min_length 100;
		}
		location /slow/ {
			alias {{.Root}}/files/;
			limit_rate 40k;
		}
		location /echo {
			default_type text/plain;
			return 200 "this is the answer to $http_x_weir_id\n";
		}
		location /ssi/ { ssi on; }
		location = /empty { return 204; }
		location = /fail { return 503 "no, $http_x_weir_id\n"; }
		location = /moved { return 302 /echo; }
		location /dav/ {
			dav_methods PUT DELETE;
			create_full_put_path on;
		}
	}
}
`))

// StartNginx starts one and waits until it serves. The TLS port is open when
// withTLS is set.
func StartNginx(t testing.TB, withTLS bool) *Nginx {
	t.Helper()
	dir := Dir(t)
	n := &Nginx{t: t, Root: filepath.Join(dir, "www"), Port: Port(t), TLSPort: Port(t), H2Port: Port(t), access: filepath.Join(dir, "nginx-access.log")}
	for _, d := range []string{"p", "files", "ssi", "dav"} {
		if err := os.MkdirAll(filepath.Join(n.Root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	n.Write("ssi/page.html", []byte("<p>this is the answer to <!--# echo var=\"http_x_weir_id\" -->, in chunks</p>\n"))
	if withTLS {
		r := Run(t, dir, nil, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
			"-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=weir.test", "-addext", "subjectAltName=DNS:weir.test")
		if r.Code != 0 {
			t.Fatalf("make certificate: %s", r.Stderr)
		}
	}
	var conf bytes.Buffer
	if err := nginxConf.Execute(&conf, map[string]any{
		"Super": os.Geteuid() == 0, "Dir": dir, "Root": n.Root, "Access": n.access, "TLS": withTLS,
		"Port": n.Port, "TLSPort": n.TLSPort, "H2Port": n.H2Port,
	}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, conf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	n.proc = Start(t, dir, "nginx", LookPath(t, "nginx"), nil, "-p", dir, "-e", "stderr", "-c", file)
	WaitPort(t, n.Port)
	return n
}

// Write makes a file under Root.
func (n *Nginx) Write(name string, data []byte) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.Root, name), data, 0o644); err != nil {
		n.t.Fatal(err)
	}
}

// Served is nginx's log so far. Lines of connections that ended before a
// request was whole have no id and are left out.
func (n *Nginx) Served() ([]ledger.Served, error) {
	data, err := os.ReadFile(n.access)
	if err != nil {
		return nil, fmt.Errorf("read nginx's log: %w", err)
	}
	var out []ledger.Served
	for line := range strings.Lines(string(data)) {
		if !strings.HasSuffix(line, "\n") {
			break // being written
		}
		var s struct {
			ID, Method, Target string
			Status             int
		}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			return nil, fmt.Errorf("read nginx's log: %w: %s", err, line)
		}
		if s.ID != "" {
			out = append(out, ledger.Served(s))
		}
	}
	return out, nil
}

// Python is a running `python3 -m http.server`, which speaks HTTP/1.0.
type Python struct {
	Root string
	Port int
	proc *Proc
}

// StartPython starts one and waits until it serves.
func StartPython(t testing.TB) *Python {
	t.Helper()
	dir := Dir(t)
	p := &Python{Root: filepath.Join(dir, "www"), Port: Port(t)}
	if err := os.MkdirAll(p.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	p.proc = Start(t, dir, "python", LookPath(t, "python3"), nil, "-u", "-m", "http.server", fmt.Sprint(p.Port), "--bind", "127.0.0.1", "--directory", p.Root)
	WaitPort(t, p.Port)
	return p
}

// Served is the server's log so far.
func (p *Python) Served() ([]ledger.Served, error) {
	var out []ledger.Served
	sc := bufio.NewScanner(strings.NewReader(p.proc.Log()))
	for sc.Scan() {
		// 127.0.0.1 - - [23/Nov/2026 12:00:00] "GET /p/x HTTP/1.1" 200 -
		_, rest, ok := strings.Cut(sc.Text(), `] "`)
		if !ok {
			continue
		}
		var s ledger.Served
		var version string
		if n, _ := fmt.Sscanf(strings.ReplaceAll(rest, `"`, ""), "%s %s %s %d", &s.Method, &s.Target, &version, &s.Status); n != 4 {
			continue
		}
		s.ID = ledger.FindID(s.Target)
		if s.ID != "" {
			out = append(out, s)
		}
	}
	return out, sc.Err()
}

// Redis is a running redis-server without a disk.
type Redis struct {
	Port int
	proc *Proc
}

// StartRedis starts one and waits until it serves.
func StartRedis(t testing.TB) *Redis {
	t.Helper()
	dir := Dir(t)
	r := &Redis{Port: Port(t)}
	r.proc = Start(t, dir, "redis", LookPath(t, "redis-server"), nil,
		"--port", fmt.Sprint(r.Port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	WaitPort(t, r.Port)
	return r
}

// Settle waits until a server's log has as many requests as its clients got
// answers to: it writes a request down after it has answered.
func Settle(t testing.TB, log func() ([]ledger.Served, error), want int) []ledger.Served {
	t.Helper()
	var served []ledger.Served
	// Fewer is for the ledger to report.
	_ = Await(t.Context(), 5*time.Second, func() error {
		var err error
		if served, err = log(); err != nil {
			return err
		}
		if len(served) < want {
			return fmt.Errorf("%d of %d", len(served), want)
		}
		return nil
	})
	return served
}
