package analyzer

import "slices"

// span is [from, to) of the spool's offsets.
type span struct{ from, to uint64 }

// spans is a set of offsets as ranges: ascending, disjoint, not touching. The
// zero value is empty.
type spans []span

// add puts a range into the set; an empty one changes nothing.
func (s *spans) add(n span) {
	if n.from >= n.to {
		return
	}
	all := *s
	// What is added meets all[i:j] and becomes one with it.
	i, _ := slices.BinarySearchFunc(all, n.from, func(r span, from uint64) int {
		if r.to < from {
			return -1
		}
		return 1
	})
	j := i
	for j < len(all) && all[j].from <= n.to {
		n.from, n.to = min(n.from, all[j].from), max(n.to, all[j].to)
		j++
	}
	*s = slices.Replace(all, i, j, n)
}

// forget removes the ranges that end at or below an offset.
func (s *spans) forget(below uint64) {
	*s = slices.DeleteFunc(*s, func(r span) bool { return r.to <= below })
}

// covers says whether all of n is in the set.
func (s spans) covers(n span) bool {
	i, _ := slices.BinarySearchFunc(s, n.from, func(r span, from uint64) int {
		if r.to <= from {
			return -1
		}
		return 1
	})
	return i < len(s) && s[i].from <= n.from && n.to <= s[i].to
}

// low is the offset up to which nothing is missing.
func (s spans) low() uint64 {
	if len(s) == 0 || s[0].from > 0 {
		return 0
	}
	return s[0].to
}

// top is the end of the set.
func (s spans) top() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].to
}

// holes lists what the set lacks below end.
func (s spans) holes(end uint64) []span {
	var holes []span
	at := uint64(0)
	for _, r := range s {
		if r.from >= end {
			break
		}
		if at < r.from {
			holes = append(holes, span{at, r.from})
		}
		at = r.to
	}
	if at < end {
		holes = append(holes, span{at, end})
	}
	return holes
}

// within is how many offsets of [from, to) are in the set.
func (s spans) within(from, to uint64) uint64 {
	var n uint64
	for _, r := range s {
		if a, b := max(r.from, from), min(r.to, to); a < b {
			n += b - a
		}
	}
	return n
}
