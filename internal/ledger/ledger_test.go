package ledger

import (
	"strings"
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
			// Either wraps when it is negative.
			if p.Open > 20000 || p.Waiting > 20000 {
				t.Errorf("more than ever seen: %+v", p)
				return
			}
			if sum := p.Batched + p.Sampled + p.Dropped["memory"] + p.Dropped["fault"] + p.Dropped["ring"] + p.Waiting + p.Open; sum != p.Seen {
				t.Errorf("%+v adds up to %d", p, sum)
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
				switch (i + w) % 5 {
				case 0:
					l.Dropped(Memory)
				case 1:
					l.Dropped(Fault)
				case 2:
					l.Sampled()
				case 3:
					l.Taken()
					l.Lost(Ring, 1)
				default:
					l.Taken()
					l.Batched(1)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	reader.Wait()
	p := l.Pairs()
	if p.Seen != 20000 || p.Open != 0 || p.Waiting != 0 || p.Batched != 4000 || p.Sampled != 4000 || p.Dropped["ring"] != 4000 {
		t.Errorf("%+v", p)
	}
	if got := strings.Join(Reasons(), " "); got != "memory fault stopped ring" {
		t.Error(got)
	}
}
