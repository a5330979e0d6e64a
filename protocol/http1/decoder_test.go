package http1

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/weir-capture/weir/protocol"
)

// counter is a Sink that counts.
type counter struct {
	begun, ended, incomplete int
	body                     int64
}

func (c *counter) Begin(protocol.Begin) { c.begun++ }
func (c *counter) Body(b protocol.Body) { c.body += int64(len(b.Data)) + b.Missing }
func (c *counter) End(e protocol.End) {
	c.ended++
	if e.Incomplete {
		c.incomplete++
	}
}

func TestR25PipelineIsBounded(t *testing.T) {
	request := []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	response := []byte("HTTP/1.1 204 No Content\r\n\r\n")
	c := &counter{}
	d := protocol.Drive(New, c)
	// Many more than may wait, but never too many at once.
	for range 3 * maxPending {
		for range 2 {
			if err := d.Data(protocol.ClientToServer, 0, request); err != nil {
				t.Fatalf("request: %v", err)
			}
		}
		for range 2 {
			if err := d.Data(protocol.ServerToClient, 0, response); err != nil {
				t.Fatalf("response: %v", err)
			}
		}
	}
	if c.begun != 12*maxPending || c.ended != c.begun {
		t.Fatalf("%d messages begun, %d ended", c.begun, c.ended)
	}
	for range maxPending {
		if err := d.Data(protocol.ClientToServer, 0, request); err != nil {
			t.Fatalf("request within the bound: %v", err)
		}
	}
	err := d.Data(protocol.ClientToServer, 0, request)
	if !errors.Is(err, protocol.ErrTooLarge) {
		t.Fatalf("request beyond the bound: %v", err)
	}
	if again := d.Data(protocol.ServerToClient, 0, response); again != err {
		t.Fatalf("after an error the decoder says %v", again)
	}
}

// TestErrorsSayWhere: what is kept with a pair must tell a reader what was
// wrong and where, without the bytes themselves.
func TestErrorsSayWhere(t *testing.T) {
	d := protocol.Drive(New, &counter{})
	err := d.Data(protocol.ClientToServer, 0, []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: s3cret\r\n\r\n"))
	if !errors.Is(err, protocol.ErrAmbiguous) {
		t.Fatalf("it is %v", err)
	}
	const want = "read request, byte 26: a content length that is not a number: framing is ambiguous"
	if err.Error() != want {
		t.Errorf("it says %q, want %q", err, want)
	}
}

// TestR22MemoryIsBounded: a connection that trickles for ever, and one that was
// large once, hold no more than they may.
func TestR22MemoryIsBounded(t *testing.T) {
	const connections = 64
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	decoders := make([]protocol.Decoder, connections)
	for i := range decoders {
		d := protocol.Drive(New, &counter{})
		head := fmt.Appendf(nil, "GET / HTTP/1.1\r\nX: %s\r\n\r\n", bytes.Repeat([]byte{'x'}, maxHead-100))
		for _, piece := range [][]byte{head[:10], head[10:1000], head[1000:]} {
			if err := d.Data(protocol.ClientToServer, 0, piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Data(protocol.ServerToClient, 0, []byte("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nxxx")); err != nil {
			t.Fatal(err)
		}
		decoders[i] = d
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := int64(after.HeapAlloc-before.HeapAlloc) / connections; each > 8<<10 {
		t.Errorf("a quiet connection holds %d bytes", each)
	}
	runtime.KeepAlive(decoders)
}

// TestAllocations: heads that arrive whole are read where they lie.
func TestAllocations(t *testing.T) {
	d := protocol.Drive(New, &counter{})
	request := []byte("GET /index.html?a=b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nUser-Agent: test\r\n\r\n")
	response := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
	n := testing.AllocsPerRun(100, func() {
		if err := errors.Join(d.Data(protocol.ClientToServer, 0, request), d.Data(protocol.ServerToClient, 0, response)); err != nil {
			t.Fatal(err)
		}
	})
	if n > 0 {
		t.Errorf("%v allocations an exchange", n)
	}
}

func BenchmarkExchange(b *testing.B) {
	request := []byte("GET /index.html?a=b HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nX-Request-Id: 0123456789abcdef\r\n\r\n")
	response := append([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 12:00:00 GMT\r\nContent-Length: 1024\r\n\r\n"), make([]byte, 1024)...)
	d := protocol.Drive(New, &counter{})
	b.ReportAllocs()
	b.SetBytes(int64(len(request) + len(response)))
	for b.Loop() {
		if err := d.Data(protocol.ClientToServer, 0, request); err != nil {
			b.Fatal(err)
		}
		if err := d.Data(protocol.ServerToClient, 0, response); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTrickle is the worst that a client can do to a head.
func BenchmarkTrickle(b *testing.B) {
	head := fmt.Appendf(nil, "GET / HTTP/1.1\r\nX: %s\r\n\r\n", bytes.Repeat([]byte("x"), maxHead-100))
	b.SetBytes(int64(len(head)))
	for b.Loop() {
		d := protocol.Drive(New, &counter{})
		for i := range head {
			if err := d.Data(protocol.ClientToServer, 0, head[i:i+1]); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestR22AllocationsAreBounded: no input makes the decoder allocate more than
// 64 times its size and a megabyte, whole or byte by byte.
func TestR22AllocationsAreBounded(t *testing.T) {
	inputs := [][]byte{
		bytes.Repeat([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), maxPending),
		append([]byte("GET / HTTP/1.1\r\n"), bytes.Repeat([]byte("a: b\r\n"), 10_000)...),
		append([]byte("GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n"), bytes.Repeat([]byte("x"), maxHead)...),
		append([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), bytes.Repeat([]byte("1;a\r\nx\r\n"), 10_000)...),
		append([]byte("GET / HTTP/1.1\r\nConnection: "), bytes.Repeat([]byte(","), maxHead-100)...),
	}
	for _, s := range shapes(t) {
		inputs = append(inputs, s.client)
	}
	for _, in := range inputs {
		for _, segment := range []int{1, len(in)} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			d := protocol.Drive(New, &counter{})
			for rest := in; len(rest) > 0; {
				n := min(segment, len(rest))
				if d.Data(protocol.ClientToServer, 0, rest[:n]) != nil {
					break
				}
				rest = rest[n:]
			}
			runtime.ReadMemStats(&after)
			if n, most := after.TotalAlloc-before.TotalAlloc, uint64(64*len(in)+1<<20); n > most {
				t.Errorf("%d bytes are allocated for %d, beginning %.40q", n, len(in), in)
			}
		}
	}
}
