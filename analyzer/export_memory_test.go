package analyzer

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/weir-capture/weir/analyzer/store/storetest"
	"github.com/weir-capture/weir/client"
	"github.com/weir-capture/weir/interchange"
)

// heapWriter takes a download and remembers the most that was held in between.
type heapWriter struct{ bytes, next, most int64 }

func (h *heapWriter) Write(b []byte) (int, error) {
	h.bytes += int64(len(b))
	if h.bytes >= h.next {
		h.next = h.bytes + 4<<20
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		h.most = max(h.most, int64(m.HeapAlloc))
	}
	return len(b), nil
}

// TestExportTakesTheSameMemory: of four times as many pairs an export holds no
// more, from the log to the socket, in every format.
func TestExportTakesTheSameMemory(t *testing.T) {
	const n, body = 2000, 16 << 10
	api := running(t)
	rng := rand.NewChaCha8([32]byte{7})
	give := func(from, to int) {
		t.Helper()
		r, w := io.Pipe()
		go func() {
			file, err := interchange.NewWriter(interchange.JSONL, w, "v1")
			for i := from; i < to && err == nil; i++ {
				p := storetest.Pairs(uint64(i), uint64(i+1))[0]
				p.Request.Head = fmt.Appendf(nil, "GET /big/%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
				p.Request.Body = make([]byte, body)
				_, _ = rng.Read(p.GetRequest().GetBody()) // what nothing makes shorter; it never fails
				p.Protocol, p.Request.BodySize = "http", body
				err = file.Write(interchange.Pair{RRPair: p})
			}
			w.CloseWithError(err) // never fails
		}()
		if out, err := api.Import(t.Context(), "jsonl", "", r); err != nil || out.Stored != uint64(to-from) {
			t.Fatalf("%+v %v", out, err)
		}
	}
	most := func(f interchange.Format, pairs uint64) *heapWriter {
		t.Helper()
		out := new(heapWriter)
		if e, err := api.Export(t.Context(), client.Select{}, string(f), out); err != nil || e.Pairs != pairs {
			t.Fatalf("%s: %+v %v", f, e, err)
		}
		return out
	}
	first := map[interchange.Format]*heapWriter{}
	give(0, n)
	for _, f := range interchange.Written {
		first[f] = most(f, n)
	}
	give(n, 4*n)
	for _, f := range interchange.Written {
		one, four := first[f], most(f, 4*n)
		t.Logf("%s: %d MiB held of %d MiB, %d of %d", f, one.most>>20, one.bytes>>20, four.most>>20, four.bytes>>20)
		// Records of a MiB are under way, some more or fewer at each look.
		if added := four.bytes - one.bytes; four.most > one.most+added/4 {
			t.Errorf("%s: of %d MiB %d are held, of %d MiB %d", f, one.bytes>>20, one.most>>20, four.bytes>>20, four.most>>20)
		}
	}
}
