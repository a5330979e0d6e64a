package index

import (
	"math"
	"math/bits"

	"github.com/weir-capture/weir/analyzer/store"
)

// Durations fall into buckets whose bounds grow with them: 64 to each power of
// two, so that none is wider than 1/64 (1.6 %) of its lower bound, and those
// below 128 ns have each its own. Counts of buckets can be added where
// percentiles cannot.
const bucketBits = 6

// BucketOf is the bucket of a duration, which is not negative; -1 for Absent.
func BucketOf(duration int64) int16 {
	if duration < 0 {
		return -1
	}
	shift := max(bits.Len64(uint64(duration))-1-bucketBits, 0)
	return int16(shift<<bucketBits + int(duration>>shift))
}

// BucketValue is the middle of a bucket.
func BucketValue(bucket int16) int64 {
	if bucket < 0 {
		return Absent
	}
	shift := max(int(bucket)>>bucketBits-1, 0)
	low := int64(int(bucket)-shift<<bucketBits) << shift
	return low + (int64(1)<<shift-1)/2
}

// bandBits is how many buckets a band of a heatmap takes together.
const bandBits = 4

// BandOf is the band of a bucket that is not -1.
func BandOf(bucket int16) int { return int(bucket >> bandBits) }

// BandRange is the durations of a band.
func BandRange(band int) store.Band {
	low := func(bucket int) int64 {
		shift := max(bucket>>bucketBits-1, 0)
		if shift > 63-1-bucketBits { // the last one ends where 64 bits do
			return math.MaxInt64
		}
		return int64(bucket-shift<<bucketBits) << shift
	}
	return store.Band{From: low(band << bandBits), To: low((band + 1) << bandBits)}
}

// BandRanges are the bands from one to another, both included.
func BandRanges(from, to int) []store.Band {
	bands := make([]store.Band, 0, to-from+1)
	for band := from; band <= to; band++ {
		bands = append(bands, BandRange(band))
	}
	return bands
}
