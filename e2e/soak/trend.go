package soak

import (
	"fmt"
	"math"
	"time"
)

// point is a figure at a time.
type point struct {
	at    time.Duration // since the beginning
	value float64
}

// trend is what the second half of a run says of a figure.
type trend struct {
	// Mean of the half, Slope in units an hour by least squares, and Growth,
	// what that slope makes over the half.
	mean, slope, growth float64
}

// secondHalf is the trend of the points after the middle of their time.
func secondHalf(points []point) (t trend) {
	if len(points) == 0 {
		return t
	}
	first, last := points[0].at, points[len(points)-1].at
	middle := first + (last-first)/2
	var n, sx, sy float64
	for _, p := range points {
		if p.at >= middle {
			n, sx, sy = n+1, sx+p.at.Hours(), sy+p.value
		}
	}
	mx := sx / n
	t.mean = sy / n
	var xx, xy float64
	for _, p := range points {
		if p.at >= middle {
			dx := p.at.Hours() - mx
			xx, xy = xx+dx*dx, xy+dx*(p.value-t.mean)
		}
	}
	if xx > 0 {
		t.slope = xy / xx
	}
	t.growth = t.slope * (last - middle).Hours()
	return t
}

// flat tells whether a figure stays where it is: over the half it grew by less
// than a tenth of its mean, or than slack, which is what it varies by anyway.
func (t trend) flat(slack float64) bool { return t.growth <= math.Max(t.mean/10, slack) }

func (t trend) String() string {
	return fmt.Sprintf("mean %.1f, slope %+.2f an hour, %+.2f over the half", t.mean, t.slope, t.growth)
}
