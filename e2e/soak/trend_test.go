package soak

import (
	"math"
	"testing"
	"time"
)

func TestTrend(t *testing.T) {
	line := func(n int, f func(minute int) float64) (all []point) {
		for i := range n {
			all = append(all, point{time.Duration(i) * time.Minute, f(i)})
		}
		return all
	}
	for _, c := range []struct {
		name   string
		points []point
		slope  float64
		flat   bool
	}{
		{"constant", line(61, func(int) float64 { return 50 }), 0, true},
		{"a saw", line(61, func(i int) float64 { return 50 + float64(i%7) }), 0, true},
		{"grows at first only", line(61, func(i int) float64 { return math.Min(20+float64(i), 45) }), 0, true},
		{"a leak of one a minute", line(61, func(i int) float64 { return 50 + float64(i) }), 60, false},
		{"a leak behind a plateau", line(61, func(i int) float64 { return math.Max(50, 20+float64(i)) }), 60, false},
		{"nothing", nil, 0, true},
		{"one", line(1, func(int) float64 { return 9 }), 0, true},
	} {
		got := secondHalf(c.points)
		if tolerance := 5.0; math.Abs(got.slope-c.slope) > tolerance {
			t.Errorf("%s: slope %.1f, want %.1f", c.name, got.slope, c.slope)
		}
		if got.flat(4) != c.flat {
			t.Errorf("%s: flat is %v: %v", c.name, !c.flat, got)
		}
	}
}
