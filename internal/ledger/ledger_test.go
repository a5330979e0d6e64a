package ledger

import (
	"sync"
	"testing"
)

func TestEveryPairIsInOneCount(t *testing.T) {
	var l Ledger
	stop := make(chan struct{})
	var reader, writers sync.WaitGroup
	reader.Go(func() {
		for {
			p := l.Pairs()
			if p.Open > 20000 { // it wraps when it is negative
				t.Errorf("more open than ever seen: %+v", p)
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for w := range 4 {
		writers.Go(func() {
			for i := range 5000 {
				l.Seen()
				switch (i + w) % 3 {
				case 0:
					l.Dropped(Memory)
				case 1:
					l.Dropped(Fault)
				default:
					l.Batched(1)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	reader.Wait()
	p := l.Pairs()
	if p.Seen != 20000 || p.Open != 0 || p.Batched+p.Dropped["memory"]+p.Dropped["fault"] != p.Seen {
		t.Errorf("%+v", p)
	}
	if len(Reasons()) != 2 {
		t.Error(Reasons())
	}
}
