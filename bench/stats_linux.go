package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Interval is a median with the bounds of its 95 % bootstrap interval.
type Interval struct {
	Median, Low, High float64
	N                 int
}

// median of values; they are not changed.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// bootstrap gives the median and its percentile interval from resampling whole
// rounds (Efron, 1979). The seed is fixed: the same samples give the same
// interval.
func bootstrap(values []float64) Interval {
	out := Interval{Median: median(values), N: len(values)}
	if len(values) == 0 {
		out.Low, out.High = math.NaN(), math.NaN()
		return out
	}
	random := rand.New(rand.NewPCG(1, 1))
	medians := make([]float64, 5000)
	sample := make([]float64, len(values))
	for i := range medians {
		for j := range sample {
			sample[j] = values[random.IntN(len(values))]
		}
		medians[i] = median(sample)
	}
	slices.Sort(medians)
	out.Low, out.High = medians[len(medians)*25/1000], medians[len(medians)*975/1000]
	return out
}

// ratios of two subjects, round by round; rounds that tell nothing are left
// out.
func ratios(a, b []Sample, of func(Sample) float64) Interval {
	var r []float64
	for i := range min(len(a), len(b)) {
		if x, y := of(a[i]), of(b[i]); y > 0 && !math.IsNaN(x) {
			r = append(r, x/y)
		}
	}
	return bootstrap(r)
}
