package goproxy

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// h2 writes frames into a buffer.
func h2(t *testing.T, write func(*http2.Framer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := write(http2.NewFramer(&out, nil)); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// block is a header block.
func block(t *testing.T, fields ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	enc := hpack.NewEncoder(&out)
	for i := 0; i < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

// TestR05BackendIsKilled: a backend in a process of its own is killed after so
// many bytes of a body. The client sees the same bytes and the same end as it
// would without a proxy, and the pair says that it is not whole.
func TestR05BackendIsKilled(t *testing.T) {
	const body = "0123456789abcdef"
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	headers := func(end bool, fields ...string) func(*http2.Framer) error {
		return func(f *http2.Framer) error {
			return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(t, fields...), EndHeaders: true, EndStream: end})
		}
	}
	settings := h2(t, func(f *http2.Framer) error { return f.WriteSettings() })
	data := h2(t, func(f *http2.Framer) error { return f.WriteData(1, true, []byte(body)) })
	const frameHead = 9
	for _, c := range []struct{ name, request, head, body string }{
		{"length", get, "HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n", body},
		{"chunked", get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "10\r\n" + body + "\r\n0\r\n\r\n"},
		{
			"h2",
			http2.ClientPreface + settings + h2(t, headers(true, ":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/")),
			settings + h2(t, headers(false, ":status", "200")) + data[:frameHead], data[frameHead:],
		},
	} {
		for _, unread := range []int{0, 1} { // with something unread the kernel resets
			t.Run(fmt.Sprintf("%s unread=%d", c.name, unread), func(t *testing.T) {
				var says []string
				for _, k := range []int{0, 1, len(c.body) / 2, len(c.body) - 1} {
					says = append(says, c.head+c.body[:k])
				}
				play := script{Read: len(c.request) - unread}
				for _, s := range says { // once directly, once through the proxy
					text := base64.StdEncoding.EncodeToString([]byte(s))
					play.Say = append(play.Say, text, text)
				}
				text, err := json.Marshal(play)
				if err != nil {
					t.Fatal(err)
				}
				backend := startProcess(t, "backend", "", "SCRIPT="+string(text))
				addr := backend.says(`listens at (\S+)`)[1]
				b := start(t, addr, quiet)
				var conns []net.Conn
				for i, s := range says {
					for j, to := range []string{addr, b.Addr().String()} {
						conn, err := net.Dial("tcp", to)
						if err != nil {
							t.Fatal(err)
						}
						defer conn.Close()
						_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
						conns = append(conns, conn)
						if _, err := io.WriteString(conn, c.request); err != nil {
							t.Fatal(err)
						}
						backend.says(fmt.Sprintf("said to %d\n", 2*i+j+1))
						got := make([]byte, len(s))
						if _, err := io.ReadFull(conn, got); err != nil || string(got) != s {
							t.Fatalf("%q of %q, %v", got, s, err)
						}
					}
				}
				backend.signal(syscall.SIGKILL)
				<-backend.done
				for i := range says {
					direct, proxied := ending(conns[2*i]), ending(conns[2*i+1])
					if direct != proxied {
						t.Errorf("after %q: %s directly, %s through the proxy", says[i], direct, proxied)
					}
					want := "FIN"
					if unread > 0 {
						want = "RST"
					}
					if direct != want {
						t.Errorf("the kernel ended it with %s; the test is for %s", direct, want)
					}
				}
				for _, conn := range conns {
					_ = conn.Close()
				}
				for _, p := range b.pairs(len(says)) {
					if c.name == "h2" { // carried unread: nobody knows what is missing
						continue
					}
					if !has(p, capturev1.Flag_FLAG_INCOMPLETE) || !strings.HasSuffix(p.Error, "by server") {
						t.Errorf("%q, %v", p.Error, p.Flags)
					}
				}
			})
		}
	}
}
