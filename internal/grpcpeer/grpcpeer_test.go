package grpcpeer_test

import (
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/weir-capture/weir/internal/grpcpeer"
)

// serve answers each connection with f and closes it.
func serve(t *testing.T, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				f(c)
			}()
		}
	}()
	return ln.Addr().String()
}

func TestConnect(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	defer s.Stop()
	go func() { _ = s.Serve(ln) }()
	p, err := grpcpeer.Connect(t.Context(), grpcpeer.Settings{Addr: ln.Addr().String(), Name: "analyzer", MaxMessage: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	err = p.Invoke(t.Context(), "/x.Y/Z", nil, nil)
	if got := p.Explain(t.Context(), err).Error(); got != "it speaks gRPC, but not this service: it is no analyzer" && !strings.Contains(got, "marshal") {
		t.Error(got)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatIsThereInstead(t *testing.T) {
	say := func(s string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 3))
			_, _ = io.WriteString(c, s)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	for want, addr := range map[string]string{
		"it speaks HTTP/1, not gRPC: it is no analyzer": serve(t, say("HTTP/1.1 400 Bad Request\r\n\r\n")),
		"it speaks TLS": serve(t, say("\x15\x03\x03\x00\x02\x02\x16")),
		`it said "-ERR unknown com"): it is no analyzer`: serve(t, say("-ERR unknown command\r\n")),
		"it closed the connection without an answer":     serve(t, func(net.Conn) {}),
		"connect: connection refused":                    closed(t),
		"lookup":                                         "no-such-host.invalid:1",
	} {
		_, err := grpcpeer.Connect(t.Context(), grpcpeer.Settings{Addr: addr, Name: "analyzer", MaxMessage: 1 << 20})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func closed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
