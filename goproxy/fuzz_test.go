package goproxy

import (
	"bytes"
	"testing"
)

// FuzzR22Relay carries any bytes, in any pieces, through the whole proxy with
// capture on: each piece must arrive as it was sent, whatever is made of it.
// A cut's high bit is the direction, the rest how many bytes.
func FuzzR22Relay(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), []byte{27, 168})
	f.Add([]byte("*1\r\n$4\r\nPING\r\n+PONG\r\n"), []byte{14, 135})
	f.Add([]byte("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\nHTTP/1.1 101 a\r\n\r\nabc"), []byte{51, 146, 3})
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\nGET /"), []byte{67, 5, 5})
	ln := listenLoop(f)
	b := start(f, ln.Addr().String(), quiet)
	f.Fuzz(func(t *testing.T, data, cuts []byte) {
		client, server := connect(t, ln, b.Addr().String())
		for _, cut := range cuts[:min(len(cuts), 64)] {
			n := min(int(cut&127), len(data))
			from, to := client, server
			if cut>>7 == 1 {
				from, to = server, client
			}
			if got := exchange(t, from, to, data[:n], 0); !bytes.Equal(got, data[:n]) {
				t.Fatalf("sent %q, received %q", data[:n], got)
			}
			data = data[n:]
		}
		_ = client.CloseWrite()
		_ = server.CloseWrite()
		if c, s := ending(client), ending(server); c != "FIN" || s != "FIN" {
			t.Errorf("both ended with a FIN; they see %s and %s", c, s)
		}
		if n := b.ledger.Faults.Load(); n != 0 {
			t.Errorf("%d faults of capture", n)
		}
	})
}
