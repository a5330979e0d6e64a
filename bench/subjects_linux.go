package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"
)

// Case is one kind of load.
type Case struct {
	Name, Title string
	// Load are the load generator's arguments beside the address.
	Load []string
	// Idle connections are measured for memory, not for CPU time.
	Idle int
	// Per is what CPU time is counted by.
	Per string
	// Fresh: it begins with processes that have done nothing.
	Fresh bool
	// Offered: the load does not wait for answers. Large: bodies of 1 MiB.
	Offered, Large bool
}

// cases are in an order in which memory is looked at before it was driven up.
func cases(all bool) []Case {
	list := []Case{
		{Name: "ol2k", Title: "1 KiB, 2,000 requests/s, open loop", Load: []string{"-conns", "64", "-rate", "2000"}, Per: "request", Offered: true},
		{Name: "ol8k", Title: "1 KiB, 8,000 requests/s, open loop", Load: []string{"-conns", "64", "-rate", "8000"}, Per: "request", Offered: true},
		{Name: "k64", Title: "1 KiB, 64 connections, saturation", Load: []string{"-conns", "64"}, Per: "request"},
		{Name: "k256", Title: "1 KiB, 256 connections, saturation", Load: []string{"-conns", "256"}, Per: "request"},
		{Name: "churn", Title: "one request per connection", Load: []string{"-conns", "64", "-close"}, Per: "connection"},
		// 200 Mbit/s are 23.84 bodies a second.
		{Name: "big200", Title: "1 MiB bodies at 200 Mbit/s, 8 connections", Load: []string{"-conns", "8", "-path", "/1m", "-rate", "23.84"}, Per: "MiB", Offered: true, Large: true},
		{Name: "big", Title: "1 MiB bodies, 8 connections, saturation", Load: []string{"-conns", "8", "-path", "/1m"}, Per: "MiB", Large: true},
		{Name: "idle", Title: "3,500 idle connections", Idle: 3500, Fresh: true},
	}
	if all {
		return list
	}
	return slices.DeleteFunc(list, func(c Case) bool { return c.Idle > 0 || c.Large || c.Name == "ol8k" })
}

// Subject is a proxy that is measured.
type Subject struct {
	Name, Title string
	// Slow: it needs so much longer that open loops only fill its queue, and
	// that it cannot hold the idle connections.
	Slow bool
	// LargeOnly: it differs from another subject with large bodies only.
	LargeOnly bool
	// Start starts it and says where it listens. The process is nil where
	// there is none. An error that is a *missing means that it is not
	// installed.
	Start func(ctx context.Context, b *Bench) (*Process, string, error)
}

// direct is the name of the subject that is no proxy.
const direct = "direct"

// takes says whether the subject is measured in a case.
func (s Subject) takes(c Case, all bool) bool {
	switch {
	case c.Idle > 0:
		return !s.Slow && !s.LargeOnly && s.Name != direct
	case s.Slow:
		return !c.Offered
	case s.LargeOnly:
		return c.Large || !all
	}
	return true
}

// missing: a program is not on this machine.
type missing struct{ program string }

func (m *missing) Error() string { return m.program + " is not installed" }

func allSubjects(all bool) []Subject {
	list := []Subject{
		{Name: "haproxy-tcp", Title: "HAProxy, mode tcp", Start: haproxy("tcp")},
		{Name: "goproxy", Title: "goproxy, every pair captured", Start: goproxy(alone, "GOMAXPROCS=1")},
		{Name: "goproxy-off", Title: "goproxy, CAPTURE=off", Start: goproxy(alone, "GOMAXPROCS=1", "CAPTURE=off")},
	}
	if !all {
		return list
	}
	return append(list,
		Subject{Name: "goproxy-64k", Title: "goproxy, CAPTURE_BODY_LIMIT=64KiB", LargeOnly: true, Start: goproxy(alone, "GOMAXPROCS=1", "CAPTURE_BODY_LIMIT=64KiB")},
		Subject{Name: "goproxy-p2", Title: "goproxy, GOMAXPROCS=2, on both CPUs", Start: goproxy(anywhere, "GOMAXPROCS=2")},
		Subject{Name: "haproxy-http", Title: "HAProxy, mode http", Start: haproxy("http")},
		Subject{Name: "nginx", Title: "nginx, http", Start: nginx("")},
		Subject{Name: "nginx-mirror", Title: "nginx, http, mirror (a connection for each copy)", Start: nginx("mirror /copy;")},
		Subject{Name: "reverseproxy", Title: "Go httputil.ReverseProxy", Start: reverseproxy},
		Subject{Name: "mitmdump", Title: "mitmdump -w", Slow: true, Start: mitmdump},
		Subject{Name: direct, Title: "no proxy", Start: func(_ context.Context, b *Bench) (*Process, string, error) {
			return nil, "127.0.0.1:" + strconv.Itoa(b.backend), nil
		}},
	)
}

func program(name string) (string, error) {
	for _, dir := range []string{"", "/usr/sbin/", "/usr/local/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", &missing{name}
}

// free is a port that nobody has at the moment.
func free() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a port: %w", err)
	}
	return ln.Addr().(*net.TCPAddr).Port, ln.Close() // "tcp" gives nothing else
}

func goproxy(at place, extra ...string) func(context.Context, *Bench) (*Process, string, error) {
	return func(ctx context.Context, b *Bench) (*Process, string, error) {
		port, err := free()
		if err != nil {
			return nil, "", err
		}
		diagnostics, err := free()
		if err != nil {
			return nil, "", err
		}
		metrics, err := free()
		if err != nil {
			return nil, "", err
		}
		env := append([]string{
			"PROXY_TYPE=reverse", "PROXY_IN_PORT=" + strconv.Itoa(port),
			"REVERSE_PROXY_HOST=127.0.0.1", "REVERSE_PROXY_PORT=" + strconv.Itoa(b.backend),
			"APP_LABEL=bench", "APP_POD_NAME=bench-" + strconv.Itoa(port), "FORWARDER_ADDR=" + b.forwarder,
			"DIAGNOSTICS_ADDR=127.0.0.1:" + strconv.Itoa(diagnostics),
			"METRICS_HTTP_ENABLE=true", "METRICS_HTTP_PORT=" + strconv.Itoa(metrics),
		}, extra...)
		p, err := b.start(ctx, at, env, filepath.Join(b.Bin, "goproxy"))
		if err != nil {
			return nil, "", err
		}
		p.diagnostics = "http://127.0.0.1:" + strconv.Itoa(diagnostics) + "/"
		p.metrics = "http://127.0.0.1:" + strconv.Itoa(metrics) + "/metrics"
		return p, "127.0.0.1:" + strconv.Itoa(port), nil
	}
}

func haproxy(mode string) func(context.Context, *Bench) (*Process, string, error) {
	return func(ctx context.Context, b *Bench) (*Process, string, error) {
		path, err := program("haproxy")
		if err != nil {
			return nil, "", err
		}
		return b.withConfig(ctx, "haproxy-"+mode+".cfg", func(port int) string {
			return fmt.Sprintf(`global
  maxconn 8000
  nbthread 1
defaults
  mode %s
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:%d
  server backend 127.0.0.1:%d
`, mode, port, b.backend)
		}, path, "-db", "-f")
	}
}

func nginx(mirror string) func(context.Context, *Bench) (*Process, string, error) {
	return func(ctx context.Context, b *Bench) (*Process, string, error) {
		path, err := program("nginx")
		if err != nil {
			return nil, "", err
		}
		name := "nginx"
		if mirror != "" {
			name = "nginx-mirror"
		}
		dir := filepath.Join(b.Dir, name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, "", fmt.Errorf("make directory: %w", err)
		}
		return b.withConfig(ctx, name+".conf", func(port int) string {
			return fmt.Sprintf(`daemon off;
master_process off;
pid %[3]s/pid;
error_log /dev/null;
events { worker_connections 16000; }
http {
  access_log off;
  client_body_temp_path %[3]s; proxy_temp_path %[3]s; fastcgi_temp_path %[3]s; uwsgi_temp_path %[3]s; scgi_temp_path %[3]s;
  keepalive_timeout 1h; keepalive_requests 100000000;
  upstream backend { server 127.0.0.1:%[2]d; keepalive 4000; keepalive_requests 100000000; keepalive_timeout 1h; }
  server {
    listen 127.0.0.1:%[1]d;
    location / { proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; %[4]s }
    location = /copy { internal; proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`, port, b.backend, dir, mirror)
		}, path, "-c")
	}
}

func reverseproxy(ctx context.Context, b *Bench) (*Process, string, error) {
	port, err := free()
	if err != nil {
		return nil, "", err
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	p, err := b.start(ctx, alone, nil, filepath.Join(b.Bin, "reverseproxy"), addr, "127.0.0.1:"+strconv.Itoa(b.backend))
	return p, addr, err
}

func mitmdump(ctx context.Context, b *Bench) (*Process, string, error) {
	path, err := program("mitmdump")
	if err != nil {
		return nil, "", err
	}
	port, err := free()
	if err != nil {
		return nil, "", err
	}
	p, err := b.start(ctx, alone, []string{"HOME=" + b.Dir}, path, "-q", "--mode", "reverse:http://127.0.0.1:"+strconv.Itoa(b.backend),
		"--listen-host", "127.0.0.1", "-p", strconv.Itoa(port), "-w", filepath.Join(b.Dir, "flows"))
	if err != nil {
		return nil, "", err
	}
	p.patience = time.Minute
	return p, "127.0.0.1:" + strconv.Itoa(port), nil
}

// withConfig writes a configuration for a free port and starts a program on it.
func (b *Bench) withConfig(ctx context.Context, file string, config func(port int) string, path string, args ...string) (*Process, string, error) {
	port, err := free()
	if err != nil {
		return nil, "", err
	}
	name := filepath.Join(b.Dir, file)
	if err := os.WriteFile(name, []byte(config(port)), 0o644); err != nil {
		return nil, "", fmt.Errorf("write configuration: %w", err)
	}
	p, err := b.start(ctx, alone, nil, path, append(args, name)...)
	return p, "127.0.0.1:" + strconv.Itoa(port), err
}
