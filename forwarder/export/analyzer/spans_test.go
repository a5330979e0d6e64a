package analyzer

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestSpans holds the set of ranges to a set of numbers.
func TestSpans(t *testing.T) {
	const n = 40
	rapid.Check(t, func(t *rapid.T) {
		var s spans
		var want [n]bool
		offset := rapid.Uint64Range(0, n)
		for range rapid.IntRange(0, 12).Draw(t, "ranges") {
			r := span{offset.Draw(t, "from"), offset.Draw(t, "to")}
			s.add(r)
			for i := r.from; i < r.to; i++ {
				want[i] = true
			}
		}
		for i, r := range s {
			if r.from >= r.to || i > 0 && r.from <= s[i-1].to {
				t.Fatalf("%v is no list of ranges that lie apart", s)
			}
		}
		q := span{offset.Draw(t, "of"), offset.Draw(t, "up to")}
		var within uint64
		all := true
		for i := q.from; i < q.to; i++ {
			if want[i] {
				within++
			}
			all = all && want[i]
		}
		if q.from < q.to && (s.covers(q) != all || s.within(q.from, q.to) != within) {
			t.Errorf("%v: covers %v says %v, within says %d", s, q, s.covers(q), s.within(q.from, q.to))
		}
		low, top := uint64(0), uint64(0)
		for low < n && want[low] {
			low++
		}
		for i, is := range want {
			if is {
				top = uint64(i) + 1
			}
		}
		if s.low() != low || s.top() != top {
			t.Errorf("%v: low %d, top %d; want %d, %d", s, s.low(), s.top(), low, top)
		}
		end := offset.Draw(t, "end")
		filled := slices.Clone(s)
		for _, h := range s.holes(end) {
			if s.within(h.from, h.to) > 0 || h.to > end || h.from >= h.to {
				t.Errorf("%v is no hole of %v below %d", h, s, end)
			}
			filled.add(h)
		}
		if filled.low() < end {
			t.Errorf("with its holes below %d, %v is %v", end, s, filled)
		}
		filled.forget(end)
		if len(filled) > 0 && filled[0].to <= end {
			t.Errorf("%v is still there", filled)
		}
	})
}
