package rangeset_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weir-capture/weir/internal/rangeset"
)

// In whatever order numbers come, the set has just them, in the fewest ranges.
func TestIsTheSetOfWhatWasAdded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var s rangeset.Set
		top := 1 + rng.Uint64N(200)
		// At both ends of what there are numbers for.
		base := []uint64{0, 1 << 40, math.MaxUint64 - top}[rng.IntN(3)]
		want := map[uint64]bool{}
		for range rng.IntN(300) {
			n := base + rng.Uint64N(top+1)
			r := rangeset.Range{First: n, Last: n + rng.Uint64N(min(base+top-n, 20)+1)}
			all, some := true, false
			for i := r.First; ; i++ {
				all, some = all && want[i], some || want[i]
				if i == r.Last {
					break
				}
			}
			if s.HasRange(r) != all || s.HasAny(r) != some {
				t.Fatalf("of %v, %v has all: %v, any: %v", r, s.Ranges(), s.HasRange(r), s.HasAny(r))
			}
			switch rng.IntN(4) {
			case 0:
				s.AddRange(r)
				for i := r.First; ; i++ {
					want[i] = true
					if i == r.Last {
						break
					}
				}
			case 1:
				s.Remove(n)
				delete(want, n)
			default:
				s.Add(n)
				want[n] = true
			}
		}
		ranges := s.Ranges()
		count := 0
		for i, r := range ranges {
			if r.Last < r.First || i > 0 && r.First-ranges[i-1].Last < 2 {
				t.Fatalf("overlap, touch or are not in order: %v", ranges)
			}
			count += int(r.Last - r.First + 1)
		}
		if count != len(want) || s.Len() != len(ranges) {
			t.Fatalf("%d numbers in %v, want %d", count, ranges, len(want))
		}
		for i := range top + 1 {
			if s.Has(base+i) != want[base+i] {
				t.Fatalf("Has(%d) = %v", base+i, s.Has(base+i))
			}
		}
		var again rangeset.Set
		for _, r := range ranges {
			if err := again.Append(r); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(again.Ranges(), ranges) {
			t.Fatalf("read back as %v", again.Ranges())
		}
	}
}

func TestRangeThatEndsBeforeItBegins(t *testing.T) {
	var s rangeset.Set
	if s.AddRange(rangeset.Range{First: 3, Last: 2}); s.Len() != 0 {
		t.Errorf("%v", s.Ranges())
	}
}

func TestDropLowest(t *testing.T) {
	var s rangeset.Set
	s.DropLowest()
	for _, n := range []uint64{9, 1, 2, 5} {
		s.Add(n)
	}
	s.DropLowest()
	if want := []rangeset.Range{{5, 5}, {9, 9}}; !slices.Equal(s.Ranges(), want) {
		t.Errorf("%v, want %v", s.Ranges(), want)
	}
}

func TestAppendTakesOnlyWhatRangesGives(t *testing.T) {
	for _, bad := range [][]rangeset.Range{
		{{2, 1}},
		{{1, 5}, {5, 6}},
		{{1, 5}, {6, 7}},
		{{1, 5}, {0, 0}},
		{{0, math.MaxUint64}, {0, 0}},
	} {
		var s rangeset.Set
		var err error
		for _, r := range bad {
			err = s.Append(r)
		}
		if !errors.Is(err, rangeset.ErrOrder) || s.Len() != len(bad)-1 {
			t.Errorf("%v: %v, kept %v", bad, err, s.Ranges())
		}
	}
}
