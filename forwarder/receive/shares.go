package receive

import (
	"maps"
	"sync"

	"github.com/weir-capture/weir/spool"
)

// shareRuns is into how many parts the spool is divided to know what of it is
// whose.
const shareRuns = 256

// shares knows roughly what of the spool is whose, so that one source that
// sends without measure cannot have what others sent dropped to make room for
// it. A source is an identity, or an address where nobody is asked who it is.
//
// It counts from when this process started: of what was there before it knows
// nothing, and holds nobody to it.
type shares struct {
	spool *spool.Spool

	mu sync.Mutex
	// runs are parts of the spool, oldest first; held is their sum.
	runs []run
	held map[string]int64
	all  int64
	// here counts the streams of each source.
	here map[string]int
}

// run is what came while the spool grew up to an offset. Sizes are of batches
// as they came; what matters are their proportions.
type run struct {
	from, until uint64
	by          map[string]int64
}

func newShares(s *spool.Spool) *shares {
	return &shares{spool: s, held: map[string]int64{}, here: map[string]int{}}
}

// join counts a stream of a source; leave has to be called at its end.
func (s *shares) join(source string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here[source]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.here[source]--; s.here[source] == 0 {
			delete(s.here, source)
		}
	}
}

// took counts n bytes of a source that are in the spool.
func (s *shares) took(source string, n int64) {
	next, part := s.spool.Log().Next(), uint64(max(1, s.spool.MaxBytes()/shareRuns))
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.runs) == 0 || next-s.runs[len(s.runs)-1].from > part {
		s.forget()
		s.runs = append(s.runs, run{from: next, by: map[string]int64{}})
	}
	r := &s.runs[len(s.runs)-1]
	r.until = max(r.until, next)
	r.by[source] += n
	s.held[source] += n
	s.all += n
}

// forget takes off what the spool no longer has. s.mu is held.
func (s *shares) forget() {
	oldest := s.spool.Log().Oldest()
	gone := 0
	for _, r := range s.runs {
		if r.until > oldest && len(s.runs)-gone <= 2*shareRuns {
			break
		}
		for source, n := range r.by {
			s.all -= n
			if s.held[source] -= n; s.held[source] <= 0 {
				delete(s.held, source)
			}
		}
		gone++
	}
	s.runs = append(s.runs[:0:0], s.runs[gone:]...)
}

// over says whether a source has to wait: the spool is nearly full, more than
// half of it is the source's, and there are others.
func (s *shares) over(source string) bool {
	limit := s.spool.MaxBytes()
	if s.spool.Log().Bytes() < limit-limit/8 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	if s.held[source] <= s.all/2 {
		return false
	}
	for other := range maps.Keys(s.here) {
		if other != source {
			return true
		}
	}
	return len(s.held) > 1
}
