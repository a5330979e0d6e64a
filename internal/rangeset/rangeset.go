// Package rangeset is a set of numbers that mostly follow one another, kept as
// ranges: what was seen of a sequence takes the memory of its holes.
package rangeset

import (
	"cmp"
	"errors"
	"slices"
)

// Range is the numbers from First to Last, both included.
type Range struct{ First, Last uint64 }

// Set is a set of numbers. The zero value is empty. It is for one goroutine at
// a time.
type Set struct {
	ranges []Range // ascending, disjoint, not touching
}

// ErrOrder: a range that does not lie above those before it, with a hole
// between.
var ErrOrder = errors.New("ranges are not in order")

// Add puts n into the set.
func (s *Set) Add(n uint64) {
	i, found := s.find(n)
	if found {
		return
	}
	// Neither sum can wrap: there is a number on the other side of n.
	joinsLeft := i > 0 && s.ranges[i-1].Last+1 == n
	joinsRight := i < len(s.ranges) && n+1 == s.ranges[i].First
	switch {
	case joinsLeft && joinsRight:
		s.ranges[i-1].Last = s.ranges[i].Last
		s.ranges = slices.Delete(s.ranges, i, i+1)
	case joinsLeft:
		s.ranges[i-1].Last = n
	case joinsRight:
		s.ranges[i].First = n
	default:
		s.ranges = slices.Insert(s.ranges, i, Range{n, n})
	}
}

// AddRange puts all numbers of r into the set. One that ends before it begins
// has none.
func (s *Set) AddRange(r Range) {
	if r.Last < r.First {
		return
	}
	// from is the first range that r joins, to the first one behind those.
	from, _ := slices.BinarySearchFunc(s.ranges, r.First, func(have Range, first uint64) int {
		if have.Last < first && first-have.Last > 1 {
			return -1
		}
		return 1
	})
	to := from
	for to < len(s.ranges) && (s.ranges[to].First <= r.Last || s.ranges[to].First-r.Last == 1) {
		r.First, r.Last = min(r.First, s.ranges[to].First), max(r.Last, s.ranges[to].Last)
		to++
	}
	s.ranges = slices.Replace(s.ranges, from, to, r)
}

// Remove takes n out of the set.
func (s *Set) Remove(n uint64) {
	i, found := s.find(n)
	if !found {
		return
	}
	switch r := s.ranges[i]; {
	case r.First == r.Last:
		s.ranges = slices.Delete(s.ranges, i, i+1)
	case r.First == n:
		s.ranges[i].First++
	case r.Last == n:
		s.ranges[i].Last--
	default:
		s.ranges[i].Last = n - 1
		s.ranges = slices.Insert(s.ranges, i+1, Range{n + 1, r.Last})
	}
}

// HasRange reports whether all numbers of r are in the set.
func (s *Set) HasRange(r Range) bool {
	i, found := s.find(r.First)
	return found && r.Last <= s.ranges[i].Last
}

// HasAny reports whether some number of r is in the set.
func (s *Set) HasAny(r Range) bool {
	i, _ := s.find(r.First)
	return i < len(s.ranges) && s.ranges[i].First <= r.Last
}

// Has reports whether n is in the set.
func (s *Set) Has(n uint64) bool {
	_, found := s.find(n)
	return found
}

// find is the range that n is in, or the place where it would be one.
func (s *Set) find(n uint64) (i int, found bool) {
	i, _ = slices.BinarySearchFunc(s.ranges, n, func(r Range, n uint64) int { return cmp.Compare(r.Last, n) })
	return i, i < len(s.ranges) && s.ranges[i].First <= n
}

// Len is how many ranges there are, which is what the set costs.
func (s *Set) Len() int { return len(s.ranges) }

// DropLowest forgets the lowest range, if there is one. The set never claims
// what was not added; it may no longer know what was.
func (s *Set) DropLowest() {
	if len(s.ranges) > 0 {
		s.ranges = slices.Delete(s.ranges, 0, 1)
	}
}

// Ranges lists the set, ascending. The list is the set's own, to be read until
// the set changes.
func (s *Set) Ranges() []Range { return s.ranges }

// Append adds a range above all others. It is for reading a set back: ErrOrder
// when it is not one that Ranges gave.
func (s *Set) Append(r Range) error {
	if r.Last < r.First {
		return ErrOrder
	}
	if n := len(s.ranges); n > 0 {
		if last := s.ranges[n-1].Last; r.First <= last || r.First-last < 2 {
			return ErrOrder
		}
	}
	s.ranges = append(s.ranges, r)
	return nil
}
