package ship

import (
	"bytes"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/goproxy/ship/shiptest"
	"github.com/weir-capture/weir/internal/budget"
)

// TestABufferIsNotUsedTooEarly: buffers go round while streams break, batches
// are sent again, and acknowledgements overtake what the transport still keeps;
// what arrives is what was captured, each time that it does.
func TestABufferIsNotUsedTooEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, 64<<20)
		var mu sync.Mutex
		content := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "<%d>", i), 500) }
		wrong, batches, calm := 0, 0, false
		f := &shiptest.Forwarder{ID: "a"}
		f.OnBatch = func(b *capturev1.Batch) (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			for _, p := range b.Pairs {
				if !bytes.Equal(p.Request.Body, content(int(p.Seq))) || !bytes.Equal(p.Response.Head, content(int(p.Seq))) {
					wrong++
				}
			}
			if calm {
				return true, nil
			}
			if batches++; batches%7 == 0 {
				return false, fmt.Errorf("broken on purpose")
			}
			return batches%3 == 0, nil
		}
		y.reach(f)
		pairs := 0
		for range 60 {
			for range maxPairs + 1 {
				body := content(pairs)
				held := int64(2*len(body) + 1000)
				y.ledger.Seen()
				if !y.budget.Take(budget.Pair, held) {
					t.Fatal("no room")
				}
				y.Add(&capturev1.RRPair{
					Seq: uint64(pairs), Request: &capturev1.Message{Body: body}, Response: &capturev1.Message{Head: body},
				}, [2][][]byte{}, held)
				clear(body) // it was only lent
				pairs++
			}
			time.Sleep(100 * time.Millisecond)
		}
		mu.Lock()
		calm = true
		mu.Unlock()
		y.ledger.Seen()
		if !y.budget.Take(budget.Pair, 1000) {
			t.Fatal("no room")
		}
		last := content(pairs)
		y.Add(&capturev1.RRPair{
			Seq: uint64(pairs), Request: &capturev1.Message{Body: last}, Response: &capturev1.Message{Head: last},
		}, [2][][]byte{}, 1000)
		pairs++
		time.Sleep(30 * time.Second)
		y.exact(pairs, f)
		if wrong > 0 {
			t.Errorf("%d pairs had the bytes of others", wrong)
		}
		for _, p := range f.Pairs() {
			if !bytes.Equal(p.Request.Body, content(int(p.Seq))) {
				t.Fatalf("pair %d has the bytes of another", p.ProxySeq)
			}
		}
	})
}
