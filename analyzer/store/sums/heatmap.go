package sums

import (
	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Heatmap counts rows by time and duration.
type Heatmap struct {
	steps index.Steps
	cells map[HeatmapCell]uint64
	out   store.HeatmapCounts
}

// HeatmapCell is a step and a band.
type HeatmapCell struct{ Step, Band int }

// NewHeatmap makes an empty sum. What is added lies within steps.
func NewHeatmap(steps index.Steps) *Heatmap {
	return &Heatmap{steps: steps, cells: map[HeatmapCell]uint64{}}
}

// Add counts a row. It is only read.
func (h *Heatmap) Add(r *index.Row) {
	h.out.Pairs++
	h.out.Sampled = h.out.Sampled || r.Weight > 1
	if r.Duration < 0 {
		h.out.Absent++
		return
	}
	h.cells[HeatmapCell{int((r.Time - h.steps.From) / h.steps.Step), index.BandOf(index.BucketOf(r.Duration))}]++
}

// Counts is the answer, without the bounds of its time.
func (h *Heatmap) Counts() *store.HeatmapCounts {
	out := h.out
	out.Step = h.steps.Step
	Spread(&out, h.steps.Count, h.cells)
	return &out
}

// Spread sets the bands of an answer, and the counts of its cells in them.
func Spread(out *store.HeatmapCounts, steps int, cells map[HeatmapCell]uint64) {
	low, high := store.MaxBands, -1
	for c := range cells {
		low, high = min(low, c.Band), max(high, c.Band)
	}
	if high >= low {
		out.Bands = index.BandRanges(low, high)
	}
	out.Counts = make([][]uint64, steps)
	for i := range out.Counts {
		out.Counts[i] = make([]uint64, len(out.Bands))
	}
	for c, n := range cells {
		out.Counts[c.Step][c.Band-low] += n
	}
}
