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
			// write gives the most that is held after any of them.
			write := func(from, to int) (most int64) {
				for i := from; i < to; i++ {
					body := append([]byte{byte(i)}, bodies[i%len(bodies)]...)
					p.Response = &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\n\r\n"), Body: body, BodySize: uint64(len(body))}
					if err := w.Write(Pair{RRPair: p}); err != nil {
						t.Fatal(err)
					}
					if i%4 > 0 {
						continue
					}
					var m runtime.MemStats
					runtime.GC()
					runtime.ReadMemStats(&m)
					most = max(most, int64(m.HeapAlloc))
				}
				return most
			}
			first := write(0, n)
			last := write(n, 4*n)
			t.Logf("at most %d MiB in the first %d MiB, %d MiB until %d MiB", first>>20, n, last>>20, 4*n)
			if last > first+first/8+4<<20 {
				t.Errorf("at most %d MiB are held in the first %d MiB, %d MiB until %d MiB", first>>20, n, last>>20, 4*n)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
