package segstore_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/segstore"
	"github.com/weir-capture/weir/analyzer/store/storetest"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
	"github.com/weir-capture/weir/query"
)

// fullFrame has 64 pairs of about 4 KB.
func fullFrame(f *storetest.Forwarder, n uint64) *capturev1.Frame {
	r := rand.New(rand.NewPCG(n, 0))
	pairs := storetest.Pairs(n*64, n*64+64)
	for _, p := range pairs {
		p.Response = &capturev1.Message{Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")}
		for len(p.Response.Body) < 3000 {
			p.Response.Body = fmt.Appendf(p.Response.Body, `{"id":"%x","name":"an item of some length","price":%d,"tags":["a","b"]},`, r.Uint64(), r.IntN(1000))
		}
		p.Response.BodySize = uint64(len(p.Response.Body))
	}
	return f.Frame(pairs...)
}

// BenchmarkAppend is the way of a frame into the log, 8 at a time, with the
// index following.
func BenchmarkAppend(b *testing.B) {
	s := start(b, segstore.Options{Dir: b.TempDir()})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	var frames []*capturev1.Frame
	for n := range uint64(256) {
		frames = append(frames, fullFrame(f, n))
	}
	b.ResetTimer()
	pairs := 0
	for round := 0; b.Loop(); round++ {
		// The same frames of another spool's and proxy's: what they cost to
		// make is not counted.
		at := round * 8 % len(frames)
		spool := store.ID{1: byte(round / 32), 2: byte(round / 32 >> 8)}
		group := frames[at : at+8]
		for i, fr := range group {
			fr.Head = storetest.Renumber(fr.GetHead(), uint64(round*8+i)+1)
		}
		if err := s.Append(b.Context(), spool, group); err != nil {
			b.Fatal(err)
		}
		pairs += 8 * 64
	}
	if c := s.Counters(); c.Pairs != uint64(pairs) {
		b.Fatalf("%d pairs stored of %d", c.Pairs, pairs)
	}
	b.ReportMetric(float64(pairs)/b.Elapsed().Seconds(), "pairs/s")
}

// BenchmarkNewest100 is the first page of the viewer.
func BenchmarkNewest100(b *testing.B) {
	s := start(b, segstore.Options{Dir: b.TempDir()})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	for n := range uint64(200) {
		if err := s.Append(b.Context(), f.Spool, []*capturev1.Frame{fullFrame(f, n)}); err != nil {
			b.Fatal(err)
		}
	}
	for _, whole := range []bool{false, true} {
		b.Run(fmt.Sprintf("whole=%v", whole), func(b *testing.B) {
			for b.Loop() {
				n := 0
				for _, err := range s.List(b.Context(), store.List{Limit: 100, Whole: whole}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n != 100 {
					b.Fatalf("%d pairs", n)
				}
			}
		})
	}
}

// BenchmarkScan looks into every body for what is in none.
func BenchmarkScan(b *testing.B) {
	s := start(b, segstore.Options{Dir: b.TempDir()})
	f := storetest.NewForwarder(1, storetest.NewProxy(1))
	var bytes int64
	for n := range uint64(400) {
		fr := fullFrame(f, n)
		head, err := frame.Head(fr.GetHead())
		if err != nil {
			b.Fatal(err)
		}
		bytes += int64(head.GetBodyLen())
		if err := s.Append(b.Context(), f.Spool, []*capturev1.Frame{fr}); err != nil {
			b.Fatal(err)
		}
	}
	for name, src := range map[string]string{
		"word":      `nowhere`,
		"substring": `body:*nowhere*`,
		"phrase":    `body:"nowhere tobefound"`,
		"regex":     `body:/name":"an item of [a-z]+ widths/`,
		"anything":  `-body:length app:app`,
	} {
		b.Run(name, func(b *testing.B) {
			q, err := query.Parse(src)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(bytes)
			for b.Loop() {
				for _, err := range s.List(b.Context(), store.List{Query: q, Limit: 100}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
