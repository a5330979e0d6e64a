package store

import (
	"iter"
	"math"

	"github.com/weir-capture/weir/query"
)

// Errors asks for the pairs that failed: those with a status 5xx or an error,
// one line for each (app, method, endpoint, status, error).
type Errors struct {
	Selection
	// ClientErrors takes those with a status 4xx along.
	ClientErrors bool
	// Limit bounds the lines; 0 is 1,000. The most frequent stay.
	Limit int
	// Newest is how many pairs each line names, Whole how many of those of lines
	// with a response are read: of each line in turn, the most frequent first, so
	// that each has one before one has two.
	Newest, Whole int
	// Steps is how many parts of the time each line is counted in, as the
	// buckets of a Histogram.
	Steps int
}

// ErrorList answers Errors, the most frequent first.
type ErrorList struct {
	// From, To and Step are as in Buckets. Step is 0 where nothing is stored.
	From, To, Step int64
	Lines          []ErrorLine
	// More: there were more lines than Limit.
	More    bool
	Partial *PartialError
}

// ErrorLine sums pairs that failed in the same way, as far as an index knows:
// what their bodies say may tell them apart.
type ErrorLine struct {
	App, Method, Endpoint string
	Status                int32
	Error                 string
	Pairs, Estimated      uint64
	First, Last           int64
	// Steps has the pairs in each step of the time.
	Steps []uint64
	// Newest are pairs of the line by (time, id), the newest first.
	Newest []ID
	// Whole are those of them that were read, in the same order. What is gone, or
	// cannot be read, is left out.
	Whole []*Stored
}

// InTurns yields which pairs of a list are to be read: their line, and their
// place among its Newest.
func (l *ErrorList) InTurns(whole int) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for turn, more := 0, true; more; turn++ {
			more = false
			for i := range l.Lines {
				if line := &l.Lines[i]; line.Error == "" && turn < len(line.Newest) {
					if whole--; whole < 0 || !yield(i, turn) {
						return
					}
					more = true
				}
			}
		}
	}
}

// Failed reports whether a pair of a status and an error failed.
func (e *Errors) Failed(status int32, err string) bool {
	class := StatusClass(status)
	return err != "" || class == 5 || class == 4 && e.ClientErrors
}

// Heatmap asks for counts by time and duration.
type Heatmap struct {
	Selection
	// Steps is how many parts the time has, as the buckets of a Histogram.
	Steps int
}

// HeatmapCounts answers a Heatmap.
type HeatmapCounts struct {
	// From, To and Step are as in Buckets. Step is 0 where nothing is stored.
	From, To, Step int64
	// Bands are of durations, ascending without a gap, from the shortest to the
	// longest that there is; empty where no pair has a duration.
	Bands []Band
	// Counts has the pairs of each step in each band.
	Counts [][]uint64
	// Pairs match in all; Absent of them have no duration.
	Pairs, Absent uint64
	// Sampled: some stand for more than themselves.
	Sampled bool
	Partial *PartialError
}

// Band is durations in [From, To), nanoseconds. Their bounds grow with them:
// there are four to each power of two.
type Band struct{ From, To int64 }

// MaxBands bounds the bands of a heatmap: all that 64 bits can tell apart.
const MaxBands = 232

// Difference asks for the values that are more frequent inside a part of a
// selection than in the rest of it. The part is what In selects of it, with a
// Time in [InFrom, InTo); 0 leaves a side open.
type Difference struct {
	Selection
	In           *query.Query
	InFrom, InTo int64
	// Limit bounds the values of each field; 0 is 10.
	Limit int
}

// Within is whether a time is inside.
func (d *Difference) Within(time int64) bool {
	to := d.InTo
	if to == 0 {
		to = math.MaxInt64
	}
	return time >= d.InFrom && time < to
}

// DifferenceList answers a Difference, the greatest difference of shares first,
// equal ones by field, as DifferenceFields has them, and value.
type DifferenceList struct {
	Values []DifferenceValue
	// Inside and Outside count the pairs of both parts.
	Inside, Outside uint64
	Partial         *PartialError
}

// DifferenceValue is a value and the pairs that have it.
type DifferenceValue struct {
	// Field is one of DifferenceFields, of a tag with its name: "tag.tls.sni".
	Field, Value    string
	Inside, Outside uint64
}

// FieldTag stands for all tags in DifferenceFields.
const FieldTag = "tag"

// DifferenceFields are those whose values are compared.
func DifferenceFields() []string {
	return []string{"app", "pod", "host", "method", "endpoint", "status", "error", "protocol", "client", "server", FieldTag}
}

// Score is how much more of inside a value has than of outside, as shares: from
// -1 to 1.
func (v *DifferenceValue) Score(inside, outside uint64) float64 {
	share := func(part, whole uint64) float64 {
		if whole == 0 {
			return 0
		}
		return float64(part) / float64(whole)
	}
	return share(v.Inside, inside) - share(v.Outside, outside)
}
