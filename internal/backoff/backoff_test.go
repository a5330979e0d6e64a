package backoff

import (
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	for _, c := range []struct {
		rand float64
		want []time.Duration
	}{
		{0, []time.Duration{50, 100, 200, 400, 500, 500}},
		{0.5, []time.Duration{75, 150, 300, 600, 750, 750}},
	} {
		b := Backoff{Min: 100, Max: 1000, Rand: func() float64 { return c.rand }}
		for range 2 {
			for i, want := range c.want {
				if got := b.Next(); got != want {
					t.Errorf("rand %v, wait %d: %d, want %d", c.rand, i, got, want)
				}
			}
			b.Reset()
		}
	}
}
