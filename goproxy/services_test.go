package goproxy

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"
)

// diagnosticsURL is where a proxy's diagnostics are.
func (b *bench) diagnosticsURL(path string) string {
	return "http://" + b.services[0].ln.Addr().String() + path
}

func withDiagnostics(c *Config) { c.DiagnosticsAddr = "127.0.0.1:0" }

// TestDiagnosticsOfConnections: those that are open with what the kernel says
// of them, those that ended with how they did, the newest first.
func TestDiagnosticsOfConnections(t *testing.T) {
	ln := listenLoop(t)
	b := start(t, ln.Addr().String(), withDiagnostics)
	const request, response = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"

	conn, server := connect(t, ln, b.Addr().String())
	exchange(t, conn, server, []byte(request), 0)
	exchange(t, server, conn, []byte(response), 0)
	_ = conn.CloseWrite()
	_ = ending(server)
	_ = server.Close()
	closed := conn.LocalAddr().String()
	eventually(t, "the first is over", func() bool { return b.conns.len() == 0 })

	conn, server = connect(t, ln, b.Addr().String())
	exchange(t, server, conn, []byte("220 ready\r\n"), 0)
	_ = server.SetLinger(0)
	_ = server.Close()
	_ = ending(conn)
	reset := conn.LocalAddr().String()
	eventually(t, "the second is over", func() bool { return b.conns.len() == 0 })

	conn, server = connect(t, ln, b.Addr().String())
	exchange(t, conn, server, []byte(request), 0)

	resp, body := fetch(t, client(t), "GET", b.diagnosticsURL("/"), nil)
	var d Diagnostics
	if err := json.Unmarshal(body, &d); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("%v\n%s", err, body)
	}
	if len(d.Connections) != 1 || len(d.Ended) != 2 {
		t.Fatalf("%s", body)
	}
	c := d.Connections[0]
	if c.Downstream.RemoteAddr != conn.LocalAddr().String() || c.Downstream.LocalAddr != b.Addr().String() ||
		c.Upstream.RemoteAddr != ln.Addr().String() || c.Upstream.LocalAddr != server.RemoteAddr().String() {
		t.Errorf("%+v", c)
	}
	if c.Downstream.SockState != "ESTABLISHED" || c.Upstream.SockState != "ESTABLISHED" || c.Downstream.DataTransfer.Closed || !c.Ended.IsZero() || c.How != "" {
		t.Errorf("%+v", c)
	}
	if c.Downstream.DataTransfer.TotalRead != uint64(len(request)) || c.Upstream.DataTransfer.TotalWritten != uint64(len(request)) || c.Upstream.DataTransfer.TotalRead != 0 {
		t.Errorf("%+v", c)
	}
	if d := c.Upstream.DataTransfer; d.BufferCap == 0 || d.BufferLen+d.WriterAvailable != d.BufferCap || d.HWMReached {
		t.Errorf("%+v", d)
	}
	if c.FirstSender != "client" || !c.ProxyIn || c.TLS || c.Shape.Protocol != "http" || c.Protocol != "http" || !c.StartTime.Equal(c.Accepted) {
		t.Errorf("%+v", c)
	}
	newest, oldest := d.Ended[0], d.Ended[1]
	if newest.Client != reset || newest.How != "reset by server" || newest.FirstSender != "server" || newest.ServerToClient != 11 || newest.Ended.Before(oldest.Ended) {
		t.Errorf("%+v", newest)
	}
	if oldest.Client != closed || oldest.How != "closed by client" || oldest.Protocol != "http" || oldest.ClientToServer != uint64(len(request)) || !oldest.Downstream.DataTransfer.Closed {
		t.Errorf("%+v", oldest)
	}
	for _, name := range []string{
		`"StartTime"`, `"ProxyIn"`, `"Downstream"`, `"Upstream"`, `"SockState"`, `"DataTransfer"`, `"TotalRead"`, `"TotalWritten"`,
		`"ReaderBuffered"`, `"WriterAvailable"`, `"WriterBuffered"`, `"BufferLen"`, `"BufferCap"`, `"Readable"`, `"Closed"`, `"HWMReached"`, `"LocalAddr"`, `"TLS"`, `"Protocol"`, `"FirstSender"`, `"MemStats"`, `"HeapAlloc"`,
	} {
		if !strings.Contains(string(body), name) {
			t.Errorf("%s is missing", name)
		}
	}
	if d.MemStats.HeapAlloc == 0 || d.MemStats.Sys < d.MemStats.HeapInuse {
		t.Errorf("%+v", d.MemStats)
	}
}

// TestDiagnosticsOfFailures: a connection whose upstream cannot be reached is
// listed too.
func TestDiagnosticsOfFailures(t *testing.T) {
	addr := deadAddr(t)
	b := start(t, addr, withDiagnostics)
	conn, err := net.Dial("tcp", b.Addr().String())
	if err == nil {
		_ = ending(conn)
		_ = conn.Close()
	}
	eventually(t, "it is turned away", func() bool { return b.ledger.ConnsFailed.Load() == 1 && len(b.Diagnostics().Ended) == 1 })
	if e := b.Diagnostics().Ended[0]; e.How != "dial: connection refused" || e.Server != addr || e.Client == "" || e.Ended.IsZero() {
		t.Errorf("%+v", e)
	}
}

// TestEndedConnectionsAreForgotten: in the order in which they ended, by number
// and by time.
func TestEndedConnectionsAreForgotten(t *testing.T) {
	var r registry
	at := time.Unix(1e9, 0)
	for i := range 2*maxEnded + 7 {
		r.failed(ended{id: uint64(i), over: at.Add(time.Duration(i) * time.Second)})
		_, over := r.lately(at)
		if len(over) != min(i+1, maxEnded) || over[0].id != uint64(i) || over[len(over)-1].id != uint64(i+1-len(over)) {
			t.Fatalf("after %d: %d, from %d to %d", i, len(over), over[0].id, over[len(over)-1].id)
		}
	}
	last := at.Add(time.Duration(2*maxEnded+6) * time.Second)
	if _, over := r.lately(last); len(over) != int(remember/time.Second)+1 {
		t.Errorf("%d are remembered, one a second", len(over))
	}
	if _, over := r.lately(last.Add(remember + time.Second)); len(over) != 0 {
		t.Errorf("%d are remembered after %v", len(over), remember)
	}
}

func TestProfilingOnlyWhenAskedFor(t *testing.T) {
	addr := deadAddr(t)
	for on, want := range map[bool]int{false: 404, true: 200} {
		b := start(t, addr, func(c *Config) { withDiagnostics(c); c.Pprof = on })
		for _, path := range []string{"", "cmdline", "heap?debug=1", "goroutine?debug=1", "symbol"} {
			if resp, _ := fetch(t, client(t), "GET", b.diagnosticsURL("/debug/pprof/"+path), nil); resp.StatusCode != want {
				t.Errorf("asked for: %v; %q answers %d", on, path, resp.StatusCode)
			}
		}
	}
}
