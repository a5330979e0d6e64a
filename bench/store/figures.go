package main

import (
	"math"
	"slices"
	"time"
)

// Figure is one measured number.
type Figure struct {
	// Value is what is held against the goal; Median and Max, where there are
	// several samples, say more.
	Value, Median, Max float64
	// Cold is the same with nothing in memory, where that was measured.
	Cold float64 `json:",omitempty"`
	// CPU is what a question took of it, milliseconds in the mean: on a busy
	// machine it says more than the clock.
	CPU float64 `json:",omitempty"`
	// Note says what the number leaves open.
	Note string `json:",omitempty"`
	// Missing says why there is no number.
	Missing string `json:",omitempty"`
}

// Figures are those of one subject and size, by the key of their row.
type Figures map[string]Figure

// note adds words to a figure.
func (f Figures) note(key, words string) {
	x := f[key]
	if x.Note != "" {
		x.Note += "; "
	}
	x.Note += words
	f[key] = x
}

// spread is a figure whose value is the 95th percentile of durations, in
// milliseconds.
func spread(samples []time.Duration) Figure {
	if len(samples) == 0 {
		return Figure{Missing: "nothing was sampled"}
	}
	return Figure{Value: ms(quantile(samples, 0.95)), Median: ms(quantile(samples, 0.5)), Max: ms(slices.Max(samples))}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// quantile is the smallest sample that so large a part of them does not
// exceed.
func quantile(samples []time.Duration, q float64) time.Duration {
	s := slices.Sorted(slices.Values(samples))
	at := int(math.Ceil(q*float64(len(s)))) - 1
	return s[min(max(at, 0), len(s)-1)]
}
