package index

import (
	"math"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
)

// TestU26Bands: bands follow on each other from 0 to the longest duration
// that there is, and each duration is in its own.
func TestU26Bands(t *testing.T) {
	all := BandRanges(0, store.MaxBands-1)
	if all[0].From != 0 || all[len(all)-1].To != math.MaxInt64 {
		t.Errorf("from %d to %d", all[0].From, all[len(all)-1].To)
	}
	for i, b := range all {
		if b.From >= b.To || i > 0 && all[i-1].To != b.From {
			t.Fatalf("band %d is %+v", i, b)
		}
		for _, d := range []int64{b.From, b.From + (b.To-b.From)/2, b.To - 1} {
			if got := BandOf(BucketOf(d)); got != i {
				t.Fatalf("%d is in band %d, not %d", d, got, i)
			}
		}
	}
	if got := BandOf(BucketOf(math.MaxInt64)); got != store.MaxBands-1 {
		t.Errorf("the longest is in band %d", got)
	}
}
