package segstore

import "testing"

// Batches of which the filters left nothing come as long as health checks do:
// they must not stay either.
func TestRingForgetsRecordsWithoutPairs(t *testing.T) {
	const limit = 64 << 10
	l := newLive(limit, 100, 0)
	for off := uint64(0); off < 10_000; off++ {
		l.publish(&block{off: off, next: off + 1}, nil, 0)
		l.advance(off+1, l.snapshot().stats)
	}
	if n := len(l.ring); n*overhead > limit || n == 0 {
		t.Errorf("the ring has %d records", n)
	}
	at, ok := l.join(l.from())
	entries, _, dropped, _ := l.take(at)
	if !ok || dropped != 0 || len(entries) != maxTake || entries[0].off != l.from() {
		t.Errorf("joined %v, dropped %d, %d entries", ok, dropped, len(entries))
	}
}
