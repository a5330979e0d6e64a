package main

import (
	"math"
	"testing"
)

func TestBootstrap(t *testing.T) {
	i := bootstrap([]float64{1, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8, 1, 1})
	if i.Median != 1 || i.Low < 0.9 || i.Low > 1 || i.High < 1 || i.High > 1.1 || i.N != 9 {
		t.Errorf("%+v", i)
	}
	if one := bootstrap([]float64{2}); one.Median != 2 || one.Low != 2 || one.High != 2 {
		t.Errorf("%+v", one)
	}
	if none := bootstrap(nil); !math.IsNaN(none.Median) || none.N != 0 {
		t.Errorf("%+v", none)
	}
}

// TestRatiosArePaired: a machine that is twice as slow in a round changes
// nothing.
func TestRatiosArePaired(t *testing.T) {
	var a, b []Sample
	for _, slow := range []float64{1, 2, 0.5, 4, 1} {
		a, b = append(a, Sample{CPU: 12 * slow}), append(b, Sample{CPU: 10 * slow})
	}
	i := ratios(a, b, func(s Sample) float64 { return s.CPU })
	if math.Abs(i.Median-1.2) > 1e-9 || math.Abs(i.Low-1.2) > 1e-9 || math.Abs(i.High-1.2) > 1e-9 {
		t.Errorf("%+v", i)
	}
}
