package interchange

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestMemoryStaysWhateverTheLength: what a writer holds after 256 pairs of a MiB is what
// it held after 64.
func TestMemoryStaysWhateverTheLength(t *testing.T) {
	const n = 64
	rng := rand.New(rand.NewPCG(1, 2))
	random := func() []byte {
		b := make([]byte, 1<<20)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	// Each body is another, and a greatest or least of its row group.
	bodies := make([][]byte, 16)
	for i := range bodies {
		bodies[i] = random()
	}
	for _, format := range Written {
		t.Run(string(format), func(t *testing.T) {
			w, err := NewWriter(format, io.Discard, "v1")
			if err != nil {
				t.Fatal(err)
			}
			p := exchange(1)
			p.Request = &capturev1.Message{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}
			write := func(from, to int) int64 {
				for i := from; i < to; i++ {
					body := append([]byte{byte(i)}, bodies[i%len(bodies)]...)
					p.Response = &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Body: body, BodySize: uint64(len(body))}
					if err := w.Write(Pair{RRPair: p}); err != nil {
						t.Fatal(err)
					}
				}
				var m runtime.MemStats
				runtime.GC()
				runtime.GC() // pools let go of what they have in the second
				runtime.ReadMemStats(&m)
				return int64(m.HeapAlloc)
			}
			first := write(0, n)
			last := write(n, 4*n)
			t.Logf("%d MiB after %d MiB, %d MiB after %d MiB", first>>20, n, last>>20, 4*n)
			if last > first+first/8+4<<20 {
				t.Errorf("%d MiB are held after %d MiB, %d MiB after %d MiB", first>>20, n, last>>20, 4*n)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
