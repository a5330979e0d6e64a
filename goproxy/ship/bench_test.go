package ship

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/observe"
	"github.com/weir-capture/weir/goproxy/tee"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/internal/lograte"
	"github.com/weir-capture/weir/pair"
	"github.com/weir-capture/weir/protocol/protocols"
)

// BenchmarkPair is what capture does with one exchange: detect, decode, pair,
// encode, and make a message to the forwarder of it with others.
func BenchmarkPair(b *testing.B) {
	for _, c := range []struct {
		name string
		per  int // exchanges on a connection
	}{{"keep-alive", 1 << 30}, {"one per connection", 1}} {
		b.Run(c.name, func(b *testing.B) {
			var books ledger.Ledger
			memory := budget.New(64 << 20)
			now := func() int64 { return 1_700_000_000_000_000_000 }
			log := slog.New(slog.DiscardHandler)
			s := New(Settings{
				Register: &capturev1.RegisterRequest{Source: &capturev1.Source{App: "shop", ProxyId: "shop-1", Epoch: make([]byte, 16)}},
				Budget:   memory, Ledger: &books, Now: now,
			})
			observer := observe.New(observe.Settings{
				Protocols: protocols.All(), Detect: protocols.Detect,
				Pairs: pair.New(pair.Settings{
					BodyLimit: 1 << 20, Budget: memory, Ledger: &books, NewID: pair.NewIDs([32]byte{}).New, Emit: s.Add,
				}),
				Budget: memory, Ledger: &books, Now: now, Log: log, Repeated: lograte.New(log, time.Second), Capture: true,
			})
			request := []byte("GET /api/v1/things/1234?page=2&size=50 HTTP/1.1\r\nHost: backend.example:8080\r\n" +
				"User-Agent: load/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n" +
				"X-Request-Id: 0190b6a4-1c2d-7000-8000-000000000000\r\nAuthorization: Bearer " + strings.Repeat("t", 80) + "\r\n\r\n")
			response := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: backend\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n"+
				"Cache-Control: no-store\r\n\r\n%s", strings.Repeat("j", 1024))
			var conn *observe.Conn
			var sent uint64
			at := now()
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				if n%c.per == 0 {
					if conn != nil {
						conn.Close()
					}
					conn = observer.Conn(uint64(n), "127.0.0.1:40000", at)
					conn.Connected("127.0.0.1:8080", at)
				}
				n++
				at += 1000
				conn.Event(tee.Event{Dir: tee.ClientToServer, At: at, Bytes: request})
				conn.Event(tee.Event{Dir: tee.ServerToClient, At: at, Bytes: response})
				if m := s.next(sent, "f"); m != nil {
					data, err := newCodec().Marshal(m)
					if err != nil {
						b.Fatal(err)
					}
					data.Free() // as gRPC does when it was written
					sent++
					s.acked(0, sent)
				}
			}
			if dropped := books.Pairs().Dropped; len(dropped) > 0 {
				b.Fatal(dropped)
			}
		})
	}
}
