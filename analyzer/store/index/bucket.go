package index

import "math/bits"

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
