package budget

import (
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestShedsInOrder(t *testing.T) {
	b := New(1000)
	if !b.Take(Tail, 750) || b.Take(Tail, 1) {
		t.Error("tails end at 3/4")
	}
	if !b.Take(Body, 125) || b.Take(Body, 1) {
		t.Error("bodies end at 7/8")
	}
	if !b.Take(Pair, 125) || b.Take(Pair, 1) {
		t.Error("pairs end at the limit")
	}
	b.Give(1000)
	if b.Used() != 0 {
		t.Errorf("used %d after everything was returned", b.Used())
	}
}

func TestNeverAboveTheLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(0, 1<<20).Draw(t, "limit")
		b := New(limit)
		var held []int64
		var sum int64
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(held) > 0 && rapid.Bool().Draw(t, "give") {
				b.Give(held[0])
				sum -= held[0]
				held = held[1:]
				continue
			}
			n := rapid.Int64Range(0, limit/4+1).Draw(t, "n")
			if b.Take(Class(rapid.IntRange(0, 2).Draw(t, "class")), n) {
				held, sum = append(held, n), sum+n
			}
			if b.Used() != sum || b.Used() > limit {
				t.Fatalf("used %d, held %d, limit %d", b.Used(), sum, limit)
			}
		}
	})
}

func TestNeverAboveTheLimitConcurrently(t *testing.T) {
	b := New(1 << 10)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if b.Take(Class(i%3), 100) {
					if u := b.Used(); u > b.Limit() {
						t.Errorf("used %d", u)
					}
					b.Give(100)
				}
			}
		})
	}
	wg.Wait()
	if b.Used() != 0 {
		t.Errorf("used %d", b.Used())
	}
}
