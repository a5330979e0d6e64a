package pair

import (
	"fmt"
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/zeebo/xxh3"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

// slowBodies has n connections, each of which is answered with a body of size bytes,
// in segments, one after the other, so that all bodies are held at a time. At
// the end every pair is let go as soon as it was emitted.
func slowBodies(tb testing.TB, n, size, segment int, memory *budget.Budget, peak func()) (books *ledger.Ledger, tails, shed, whole int) {
	tb.Helper()
	books = new(ledger.Ledger)
	p := New(Settings{
		BodyLimit: 1 << 20, Budget: memory, Ledger: books, NewID: NewIDs([32]byte{}).New,
		Emit: func(p *capturev1.RRPair, _ [2][][]byte, held int64) {
			memory.Give(held)
			switch {
			case slices.Contains(p.Flags, capturev1.Flag_FLAG_BODY_SHED):
				shed++
			case slices.Contains(p.Flags, capturev1.Flag_FLAG_TRUNCATED):
				tails++
			default:
				whole++
			}
		},
	})
	conns := make([]*Conn, n)
	for i := range conns {
		conns[i] = p.Conn(&Link{ID: uint64(i)}, "http", nil, nil)
		request(conns[i], 1, "/", 0)
		end(conns[i], c2s, 2)
		response(conns[i], 3, 200, 0)
	}
	b := make([]byte, segment)
	for sent := 0; sent < size; sent += segment {
		for _, c := range conns {
			c.Body(protocol.Body{Dir: s2c, Data: b[:min(segment, size-sent)]})
			if used := memory.Used(); used > memory.Limit() {
				tb.Fatalf("capture holds %d of %d bytes", used, memory.Limit())
			}
		}
	}
	peak()
	for _, c := range conns {
		end(c, s2c, 4)
	}
	return books, tails, shed, whole
}

// TestOverheadsAreWhatIsTaken: what counts for what is not bytes of traffic
// covers it.
func TestOverheadsAreWhatIsTaken(t *testing.T) {
	if n := int(unsafe.Sizeof(exchange{})) + textBytes; n > pairOverhead {
		t.Errorf("an exchange takes %d bytes, %d count", n, pairOverhead)
	}
	if n := int(unsafe.Sizeof(xxh3.Hasher{})); n > hasherBytes {
		t.Errorf("a hash takes %d bytes, %d count", n, hasherBytes)
	}
}

// TestR08SlowBodiesAreHeldWithinTheLimit: many connections with a large body
// each, at the default limits: what is held is what is counted, and never more
// than the limit; what does not fit is shed in order, flagged and counted.
func TestR08SlowBodiesAreHeldWithinTheLimit(t *testing.T) {
	for _, c := range []struct {
		conns       int
		tails, shed bool // of some of them
	}{
		{40, false, false},
		{64, true, false}, // there is room for the tails of 47
		{500, true, false},
		{20_000, true, true}, // nor for the first 4 KiB of each
	} {
		t.Run(fmt.Sprint(c.conns), func(t *testing.T) {
			const limit = 64 << 20
			memory := budget.New(limit)
			var before, during runtime.MemStats
			runtime.GC()
			runtime.GC() // pools go in two steps
			runtime.ReadMemStats(&before)
			size := 1 << 20
			if c.conns > 1000 {
				size = 8 << 10 // the rest of each would be only counted
			}
			books, tails, shed, whole := slowBodies(t, c.conns, size, 8<<10, memory, func() {
				runtime.GC()
				runtime.GC()
				runtime.ReadMemStats(&during)
				heap, used := int64(during.HeapAlloc-before.HeapAlloc), memory.Used()
				t.Logf("%d connections: %d KiB counted, %d KiB on the heap", c.conns, used>>10, heap>>10)
				if heap > used+used/4+1<<20 {
					t.Errorf("the heap has %d bytes, %d are counted", heap, used)
				}
			})
			if got := books.BodiesShed.Load(); got != uint64(tails+shed) {
				t.Errorf("%d bodies are counted as shed, %d pairs say so", got, tails+shed)
			}
			l := books.Pairs()
			if dropped := l.Dropped["memory"]; uint64(tails+shed+whole)+dropped != l.Seen || int(l.Seen) != c.conns {
				t.Errorf("%d tails cut, %d bodies shed, %d whole, %+v", tails, shed, whole, l)
			}
			t.Logf("%d connections: %d whole, %d tails cut, %d bodies shed, %d pairs dropped", c.conns, whole, tails, shed, l.Dropped["memory"])
			if c.tails != (tails > 0) || c.shed != (shed > 0) {
				t.Errorf("%d tails cut, %d bodies shed", tails, shed)
			}
			if memory.Used() != 0 {
				t.Errorf("%d bytes are still held", memory.Used())
			}
		})
	}
}

// BenchmarkBody is a body of 1 MiB that comes in segments of 16 KiB and is
// kept whole.
func BenchmarkBody(b *testing.B) {
	memory := budget.New(64 << 20)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	var books ledger.Ledger
	p := New(Settings{
		BodyLimit: 1 << 20, Budget: memory, Ledger: &books, NewID: NewIDs([32]byte{}).New,
		Emit: func(_ *capturev1.RRPair, _ [2][][]byte, held int64) { memory.Give(held) },
	})
	c := p.Conn(&Link{}, "http", nil, nil)
	segment := make([]byte, 16<<10)
	for b.Loop() {
		request(c, 1, "/", 0)
		end(c, c2s, 2)
		response(c, 3, 200, 0)
		for range (1 << 20) / len(segment) {
			c.Body(protocol.Body{Dir: s2c, Data: segment})
		}
		end(c, s2c, 4)
	}
}
