package goproxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weir-capture/weir/daemon"
	"github.com/weir-capture/weir/goproxy/relay"
	"github.com/weir-capture/weir/internal/ledger"
)

// openServices opens the ports for operators. One that is taken is a warning:
// two proxies on one machine are normal.
func (p *Proxy) openServices() {
	open := func(name, addr string, h http.Handler) {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			p.log.Warn("Could not open "+name+", going on without", slog.String("addr", addr), slog.Any("error", err))
			return
		}
		p.services = append(p.services, service{name: name, ln: ln, server: &http.Server{
			Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
			ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
		}})
	}
	if p.cfg.DiagnosticsAddr != "" {
		open("diagnostics", p.cfg.DiagnosticsAddr, p.diagnostics())
	}
	if p.cfg.Metrics {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", p.metrics())
		open("metrics", ":"+strconv.Itoa(p.cfg.MetricsPort), mux)
	}
}

func (p *Proxy) startServices(wg *sync.WaitGroup) {
	for _, s := range p.services {
		wg.Go(func() {
			if err := s.server.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
				p.log.Warn("Stopped serving "+s.name, slog.Any("error", err))
			}
		})
	}
}

func (p *Proxy) stopServices() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var errs []error
	for _, s := range p.services {
		if s.server.Shutdown(ctx) != nil { // somebody is slow; there is no time
			errs = append(errs, s.server.Close())
		}
	}
	return errors.Join(errs...)
}

// maxListed bounds the connections that diagnostics list.
const maxListed = 1000

// Diagnostics is what GET / of the diagnostics address answers.
type Diagnostics struct {
	Version string `json:"version"`
	Capture bool   `json:"capture"`
	// Connections are the open ones, oldest first; Ended those that ended
	// within the last five minutes, newest first, at most 500 of them.
	Connections []ConnectionInfo `json:"connections"`
	Ended       []ConnectionInfo `json:"ended"`
	// Omitted connections are open and not listed.
	Omitted int          `json:"omitted"`
	Pairs   ledger.Pairs `json:"pairs"`
	Acked   uint64       `json:"acked"`
	// Unacked batches wait for the forwarder.
	Unacked int `json:"unacked_batches"`
	// KeepOneIn connections is captured.
	KeepOneIn uint32     `json:"keep_one_in"`
	Memory    MemoryInfo `json:"memory"`
	// Ring is the one on disk; its limit is 0 while there is none.
	Ring     RingInfo `json:"ring"`
	MemStats MemStats
}

// MemStats are the figures of runtime.MemStats, by their names there, that say
// something without the rest.
type MemStats struct {
	Alloc, TotalAlloc, Sys, Mallocs, Frees                                 uint64
	HeapAlloc, HeapSys, HeapIdle, HeapInuse, HeapReleased, HeapObjects     uint64
	StackInuse, StackSys, MSpanInuse, MCacheInuse, GCSys, OtherSys, NextGC uint64
	// LastGC is in nanoseconds since the Unix epoch.
	LastGC, PauseTotalNs uint64
	NumGC                uint32
	GCCPUFraction        float64
}

// RingInfo says what the ring on disk takes and may take, in bytes.
type RingInfo struct {
	Used  int64 `json:"used"`
	Limit int64 `json:"limit"`
}

// ConnectionInfo is one connection. Sizes are bytes carried.
type ConnectionInfo struct {
	ID             uint64    `json:"cid"`
	Client         string    `json:"client"`
	Server         string    `json:"server"`
	Accepted       time.Time `json:"accepted"`
	Protocol       string    `json:"protocol,omitempty"`
	State          string    `json:"state"`
	ClientToServer uint64    `json:"bytes_client_to_server"`
	ServerToClient uint64    `json:"bytes_server_to_client"`
	// Ended and How are those of a connection that is over.
	Ended time.Time `json:"ended,omitzero"`
	How   string    `json:"how,omitempty"`
	Shape
}

// Shape is what scripts expect that were written for other proxies of this
// kind, by the names that they know.
type Shape struct {
	StartTime time.Time
	// ProxyIn: the connection came in to the application. The proxy carries
	// no others yet.
	ProxyIn              bool
	Downstream, Upstream PeerInfo
	TLS                  bool
	// Protocol is empty while it is not known.
	Protocol string
	// FirstSender is client or server; empty while neither has said anything.
	FirstSender string
}

// PeerInfo is one of the two TCP connections. Addresses are as the proxy sees
// them; what is not known, as of a connection that is over, is empty.
type PeerInfo struct {
	RemoteAddr, LocalAddr string
	// SockState is the kernel's.
	SockState    string
	DataTransfer TransferInfo
}

// TransferInfo says what was read from a peer and written to it, in bytes. The
// proxy keeps nothing of a connection that rests, so what is buffered is in
// the kernel: what it has from the peer, and what the peer has not
// acknowledged.
type TransferInfo struct {
	TotalRead, TotalWritten        uint64
	ReaderBuffered, WriterBuffered int
	// WriterAvailable is what the kernel still takes for the peer, BufferLen
	// what it has of the BufferCap that it may have. HWMReached: it takes no
	// more, and whoever sends to the peer waits.
	WriterAvailable, BufferLen, BufferCap int
	Readable, Closed, HWMReached          bool
}

// MemoryInfo says what capture holds and what the process takes, in bytes.
type MemoryInfo struct {
	CaptureUsed  int64  `json:"capture_used"`
	CaptureLimit int64  `json:"capture_limit"`
	HeapInUse    uint64 `json:"heap_in_use"`
	System       uint64 `json:"system"`
	Goroutines   int    `json:"goroutines"`
}

func (p *Proxy) diagnostics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		_ = enc.Encode(p.Diagnostics()) // the reader left
	})
	if p.cfg.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if p.stopping.Load() {
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return refuseNames(p.cfg.DiagnosticsAddr, mux)
}

// refuseNames answers nobody who has asked for a port on the loopback by a name:
// a page of somebody else's, open in a browser of this machine, may have its own
// name mean 127.0.0.1 (DNS rebinding). Where the port is for other machines,
// these may know it by any name.
func refuseNames(addr string, next http.Handler) http.Handler {
	listen, _, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(listen); err != nil || listen != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if host != "localhost" && net.ParseIP(strings.Trim(host, "[]")) == nil {
			http.Error(w, fmt.Sprintf("%q is not this port's name; ask for localhost or an address", host), http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Diagnostics describes the proxy now.
func (p *Proxy) Diagnostics() Diagnostics {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	open, over := p.conns.lately(time.Now())
	d := Diagnostics{
		Version: daemon.Version, Capture: p.observer.Capture(),
		Connections: make([]ConnectionInfo, 0, min(len(open), maxListed)),
		Ended:       make([]ConnectionInfo, 0, len(over)),
		Omitted:     max(0, len(open)-maxListed),
		Pairs:       p.ledger.Pairs(), Acked: p.ledger.Acked.Load(), Unacked: p.shipper.Parcels(),
		KeepOneIn: p.sampler.KeepOneIn(),
		Memory: MemoryInfo{
			CaptureUsed: p.budget.Used(), CaptureLimit: p.budget.Limit(),
			HeapInUse: mem.HeapInuse, System: mem.Sys, Goroutines: runtime.NumGoroutine(),
		},
	}
	d.Ring.Used, d.Ring.Limit = p.shipper.Ring()
	for _, e := range open[d.Omitted:] {
		d.Connections = append(d.Connections, e.info())
	}
	for i := range over {
		d.Ended = append(d.Ended, over[i].info())
	}
	d.MemStats = MemStats{
		Alloc: mem.Alloc, TotalAlloc: mem.TotalAlloc, Sys: mem.Sys, Mallocs: mem.Mallocs, Frees: mem.Frees,
		HeapAlloc: mem.HeapAlloc, HeapSys: mem.HeapSys, HeapIdle: mem.HeapIdle, HeapInuse: mem.HeapInuse,
		HeapReleased: mem.HeapReleased, HeapObjects: mem.HeapObjects,
		StackInuse: mem.StackInuse, StackSys: mem.StackSys, MSpanInuse: mem.MSpanInuse, MCacheInuse: mem.MCacheInuse,
		GCSys: mem.GCSys, OtherSys: mem.OtherSys, NextGC: mem.NextGC, LastGC: mem.LastGC, PauseTotalNs: mem.PauseTotalNs,
		NumGC: mem.NumGC, GCCPUFraction: mem.GCCPUFraction,
	}
	return d
}

// info describes a connection that is open.
func (e *entry) info() ConnectionInfo {
	now := e.soFar()
	client, server := e.conn.Sockets()
	c := now.info()
	for _, side := range []struct {
		peer   *PeerInfo
		socket relay.Socket
	}{{&c.Downstream, client}, {&c.Upstream, server}} {
		t := &side.peer.DataTransfer
		t.ReaderBuffered, t.WriterBuffered = side.socket.Unread, side.socket.Unacked
		t.Readable, t.Closed = side.socket.Unread > 0, false
		t.BufferLen, t.BufferCap = side.socket.Unacked, side.socket.SendBuffer
		t.WriterAvailable = max(0, t.BufferCap-t.BufferLen)
		t.HWMReached = t.BufferCap > 0 && t.WriterAvailable == 0
		side.peer.SockState = side.socket.State
	}
	c.Downstream.LocalAddr, c.Upstream.LocalAddr = e.downstream.to.String(), e.upstream.from.String()
	return c
}

// info describes a connection that is over.
func (e *ended) info() ConnectionInfo {
	return ConnectionInfo{
		ID: e.id, Client: e.client, Server: e.server, Accepted: e.began, Protocol: e.proto, State: e.state,
		ClientToServer: e.up, ServerToClient: e.down, Ended: e.over, How: e.how,
		Shape: Shape{
			StartTime: e.began, ProxyIn: true, TLS: e.proto == "tls", Protocol: e.proto, FirstSender: e.first,
			Downstream: PeerInfo{RemoteAddr: e.client, DataTransfer: TransferInfo{TotalRead: e.up, TotalWritten: e.down, Closed: true}},
			Upstream:   PeerInfo{RemoteAddr: e.server, DataTransfer: TransferInfo{TotalRead: e.down, TotalWritten: e.up, Closed: true}},
		},
	}
}
