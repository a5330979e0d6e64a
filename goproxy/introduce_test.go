package goproxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-capture/weir/internal/nonblock"
)

// readProxyV2 reads a header as a server does, by section 2.2 of HAProxy's
// proxy-protocol.txt.
func readProxyV2(r io.Reader) (route, error) {
	var head [16]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return route{}, err
	}
	if string(head[:12]) != "\x0D\x0A\x0D\x0A\x00\x0D\x0A\x51\x55\x49\x54\x0A" || head[12] != 0x21 {
		return route{}, fmt.Errorf("not a header: %x", head)
	}
	size := map[byte]int{0x11: 4, 0x21: 16}[head[13]]
	rest := make([]byte, binary.BigEndian.Uint16(head[14:]))
	if size == 0 || len(rest) != 2*size+4 {
		return route{}, fmt.Errorf("family %x with %d bytes", head[13], len(rest))
	}
	if _, err := io.ReadFull(r, rest); err != nil {
		return route{}, err
	}
	from, _ := netip.AddrFromSlice(rest[:size])
	to, _ := netip.AddrFromSlice(rest[size : 2*size])
	return route{
		from: netip.AddrPortFrom(from, binary.BigEndian.Uint16(rest[2*size:])),
		to:   netip.AddrPortFrom(to, binary.BigEndian.Uint16(rest[2*size+2:])),
	}, nil
}

func TestR42ProxyV2Header(t *testing.T) {
	for _, c := range []struct{ from, to, wantFrom, wantTo string }{
		{"192.0.2.7:50000", "198.51.100.1:80", "192.0.2.7:50000", "198.51.100.1:80"},
		{"[::ffff:192.0.2.7]:50000", "198.51.100.1:80", "192.0.2.7:50000", "198.51.100.1:80"},
		{"[2001:db8::7]:50000", "[2001:db8::1]:80", "[2001:db8::7]:50000", "[2001:db8::1]:80"},
		{"[fe80::7%eth0]:50000", "[fe80::1]:80", "[fe80::7]:50000", "[fe80::1]:80"},
		{"[2001:db8::7]:50000", "198.51.100.1:80", "[2001:db8::7]:50000", "[::ffff:198.51.100.1]:80"},
	} {
		in := route{from: netip.MustParseAddrPort(c.from), to: netip.MustParseAddrPort(c.to)}
		rest := bytes.NewReader(proxyV2(in))
		got, err := readProxyV2(rest)
		if err != nil || got.from.String() != c.wantFrom || got.to.String() != c.wantTo || rest.Len() != 0 {
			t.Errorf("%v: %v, %v", in, got, err)
		}
	}
}

// TestR42ProxyV2: the header comes before all else, whoever speaks first, and
// is part of nothing that is captured or counted.
func TestR42ProxyV2(t *testing.T) {
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), func(c *Config) { c.ProxyV2 = true })
	for i, first := range []string{"client", "server", "nobody"} {
		client, server := connect(t, ln, b.Addr().String())
		from, err := readProxyV2(server) // the client is silent
		if err != nil {
			t.Fatal(err)
		}
		if from.from.String() != client.LocalAddr().String() || from.to.String() != b.Addr().String() {
			t.Errorf("%v, but the client is %v at %v", from, client.LocalAddr(), b.Addr())
		}
		const request, response = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"
		up, down := b.ledger.ClientToServer.Load(), b.ledger.ServerToClient.Load()
		switch first {
		case "client":
			exchange(t, client, server, []byte(request), 0)
			exchange(t, server, client, []byte(response), 0)
		case "server":
			exchange(t, server, client, []byte("220 ready\r\n"), 0)
		}
		_ = client.CloseWrite()
		if how := ending(server); how != "FIN" {
			t.Errorf("%s first: the server sees %s", first, how)
		}
		_ = server.Close()
		eventually(t, "it is over", func() bool { return b.conns.len() == 0 })
		up, down = b.ledger.ClientToServer.Load()-up, b.ledger.ServerToClient.Load()-down
		switch first {
		case "client":
			p := b.pairs(i + 1)[i]
			if string(p.Request.Head) != request || p.Request.WireSize != uint64(len(request)) || p.Client != client.LocalAddr().String() {
				t.Errorf("%v", p)
			}
			if up != uint64(len(request)) || down != uint64(len(response)) {
				t.Errorf("counted %d and %d bytes", up, down)
			}
		case "server":
			if p := b.pairs(i + 1)[i]; p.Request.GetBodySize() != 0 || p.Response.BodySize != 11 {
				t.Errorf("%v", p)
			}
		case "nobody":
			if up != 0 || down != 0 {
				t.Errorf("counted %d and %d bytes", up, down)
			}
		}
		_ = client.Close()
	}
}

// TestR42ProxyV2Servers: nginx and HAProxy take the header, and the address
// from it.
func TestR42ProxyV2Servers(t *testing.T) {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n"
	}
	for _, c := range []struct {
		server string
		conf   func(dir, addr string) string
		args   func(dir, file string) []string
	}{
		{
			"nginx",
			func(dir, addr string) string {
				return user + `daemon off; master_process off; pid ` + dir + `/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path ` + dir + `/body; proxy_temp_path ` + dir + `/proxy; fastcgi_temp_path ` + dir + `/fastcgi;
	uwsgi_temp_path ` + dir + `/uwsgi; scgi_temp_path ` + dir + `/scgi;
	server { listen ` + addr + ` proxy_protocol; return 200 "$proxy_protocol_addr:$proxy_protocol_port"; }
}
`
			},
			func(dir, file string) []string { return []string{"-p", dir, "-c", file} },
		},
		{
			"haproxy",
			func(_, addr string) string {
				return `defaults
	mode http
	timeout client 10s
	timeout server 10s
	timeout connect 10s
frontend all
	bind ` + addr + ` accept-proxy
	http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"
`
			},
			func(_, file string) []string { return []string{"-db", "-f", file} },
		},
	} {
		t.Run(c.server, func(t *testing.T) {
			path := installed(c.server)
			if path == "" {
				t.Skipf("%s is not installed; TestR42ProxyV2 has the header read by a parser of its own", c.server)
			}
			dir, addr := t.TempDir(), deadAddr(t)
			file := filepath.Join(dir, c.server+".conf")
			if err := os.WriteFile(file, []byte(c.conf(dir, addr)), 0o600); err != nil {
				t.Fatal(err)
			}
			var log lockedBuffer
			cmd := exec.Command(path, c.args(dir, file)...)
			cmd.Stdout, cmd.Stderr = &log, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
				_ = cmd.Wait()
				if t.Failed() {
					t.Logf("%s says:\n%s", c.server, log.String())
				}
			})
			eventually(t, "it listens", func() bool {
				conn, err := net.Dial("tcp", addr)
				if err == nil {
					_ = conn.Close()
				}
				return err == nil
			})
			b := start(t, addr, func(c *Config) { c.ProxyV2 = true })
			var from string
			tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, addr)
				if err == nil {
					from = conn.LocalAddr().String()
				}
				return conn, err
			}}
			t.Cleanup(tr.CloseIdleConnections)
			if _, body := fetch(t, &http.Client{Transport: tr, Timeout: 10 * time.Second}, "GET", b.url("/"), nil); from == "" || string(body) != from {
				t.Errorf("it says that the client is %q; it is %s", body, from)
			}
			if p := b.pairs(1)[0]; p.Client != from || p.Status != 200 || !strings.HasPrefix(string(p.Request.Head), "GET / ") {
				t.Errorf("%v", p)
			}
		})
	}
}

// installed is a program's file, also where Debian keeps servers, which is not
// on everybody's path; empty when it is not there.
func installed(program string) string {
	for _, name := range []string{program, "/usr/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// TestR42ProxyV2OfAServerThatIsGone: a header that cannot be written is a
// failed dial.
func TestR42ProxyV2OfAServerThatIsGone(t *testing.T) {
	ln := listenLoop(t)
	client, server := connect(t, ln, ln.Addr().String())
	p := &Proxy{cfg: Config{ProxyV2: true}}
	gone, err := nonblock.FromConn(client)
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	if err := p.introduce(gone, route{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	_ = server.Close()
}
