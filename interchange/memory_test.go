package interchange

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestMemoryStaysWhateverTheLength: what a writer holds of 256 pairs is what it
// holds of 64.
func TestMemoryStaysWhateverTheLength(t *testing.T) {
	const n = 64
	rng := rand.NewChaCha8([32]byte{1})
	// Each body is another, and a greatest or least of its row group.
	bodies := make([][]byte, 16)
	for i := range bodies {
		bodies[i] = make([]byte, 1<<20)
		_, _ = rng.Read(bodies[i]) // never fails
	}
	for _, format := range Written {
		t.Run(string(format), func(t *testing.T) {
			w, err := NewWriter(format, io.Discard, "v1")
			if err != nil {
				t.Fatal(err)
			}
			size := 1 << 20 // several row groups
			if format != Parquet {
				size = 128 << 10
			}
			p := exchange(1)
			p.Request = &capturev1.Message{Head: []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")}
			runtime.GC()
			runtime.GC() // pools let go of what they have in the second
			// write gives the most that is held after any of them.
			write := func(from, to int) (most int64) {
				for i := from; i < to; i++ {
					body := append([]byte{byte(i)}, bodies[i%len(bodies)][:size]...)
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
			t.Logf("at most %d KiB of %d KiB, %d of %d", first>>10, n*size>>10, last>>10, 4*n*size>>10)
			if last > first+int64(3*n*size/8) {
				t.Errorf("at most %d KiB are held of %d KiB, %d of %d", first>>10, n*size>>10, last>>10, 4*n*size>>10)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
