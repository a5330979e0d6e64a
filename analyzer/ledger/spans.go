package ledger

import (
	"slices"
	"sort"
)

// span is [First, Last] of a process's pair sequence.
type span struct {
	First uint64 `json:"f"`
	Last  uint64 `json:"l"`
}

// spans is which pairs are accounted for: ascending, disjoint, not touching.
// There is one, and one more for each hole.
type spans []span

// add covers [first, last] and says how much of it was not covered before.
func (s *spans) add(first, last uint64) (fresh uint64) {
	fresh = last - first + 1
	list := *s
	// All that overlap or touch become one.
	i := sort.Search(len(list), func(i int) bool { return list[i].Last >= first-1 })
	j := i
	joined := span{first, last}
	for ; j < len(list) && (list[j].First <= last || list[j].First == last+1); j++ {
		if lo, hi := max(list[j].First, first), min(list[j].Last, last); lo <= hi {
			fresh -= hi - lo + 1
		}
		joined.First, joined.Last = min(joined.First, list[j].First), max(joined.Last, list[j].Last)
	}
	*s = slices.Replace(list, i, j, joined)
	return fresh
}

// count is how many are covered up to limit.
func (s spans) count(limit uint64) (n uint64) {
	for _, r := range s {
		if r.First > limit {
			break
		}
		n += min(r.Last, limit) - r.First + 1
	}
	return n
}

// has says whether n from first on are all covered.
func (s spans) has(first, n uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= first })
	return i < len(s) && s[i].First <= first && n > 0 && s[i].Last-first >= n-1
}

func (s spans) highest() uint64 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].Last
}

// closeLowest covers the lowest hole and says how wide it was.
func (s *spans) closeLowest() uint64 {
	list := *s
	if len(list) < 2 {
		return 0
	}
	hole := list[1].First - list[0].Last - 1
	list[1].First = list[0].First
	*s = slices.Delete(list, 0, 1)
	return hole
}

// valid: as its comment says.
func (s spans) valid() bool {
	for i, r := range s {
		if r.First == 0 || r.Last < r.First || r.Last > 1<<49 || i > 0 && r.First <= s[i-1].Last+1 {
			return false
		}
	}
	return true
}
