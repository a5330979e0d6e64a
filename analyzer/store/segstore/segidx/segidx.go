// Package segidx is the file beside a sealed segment of the log: which records
// in it hold pairs, from when, and which words each may have. FORMAT.md draws
// it. The log is the truth; the file is made from it, and made again whenever
// it is missing, of another version, of other records, or damaged. Everything
// in it has a checksum that is looked at whenever it is read, so that a bit
// that flipped makes an answer slower and never wrong.
//
// Words are kept as Bloom filters, one for each record's frame, transposed:
// whether any of a segment's frames may have a word is read from four rows of
// bits.
package segidx

import (
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// Version of the files that this package writes; VersionKeyed where words are
// keyed.
const (
	Version      = 3
	VersionKeyed = 4
)

const (
	segmentSuffix = ".seg"
	suffix        = ".idx"
)

// Name is the name of the file beside a segment.
func Name(segment string) string { return strings.TrimSuffix(segment, segmentSuffix) + suffix }

// IsName reports whether a file is one of these, whole or being written, and of
// which segment.
func IsName(name string) (segment string, ok bool) {
	stem, ok := strings.CutSuffix(strings.TrimSuffix(name, tempSuffix), suffix)
	return stem + segmentSuffix, ok
}

// Frame is one record of a segment that holds pairs.
type Frame struct {
	// Off and Next are where in the log it stands and ends.
	Off, Next uint64
	// Rows is how many pairs it has; 0 in one that cannot be read.
	Rows uint32
	// Raw is the length of its body when that is not compressed, in bytes.
	Raw uint32
	// TimeMin and TimeMax bound store.Time of its pairs, Unix nanoseconds.
	TimeMin, TimeMax int64
	// Encoded: a body in it has a content coding.
	Encoded bool
	// key and column say where its bloom stands in the file; 0: it has none.
	key    uint8
	column uint32
}

// Segment is what a file says of its segment as a whole.
type Segment struct {
	// Base and End are where it begins and where its records end.
	Base, End uint64
	// Frames of them hold Pairs, from TimeMin to TimeMax; both are 0 when
	// there are none.
	Frames           int
	Pairs            uint64
	TimeMin, TimeMax int64
}

// ErrUseless: a file that has to be made again. Errors of Open and of what it
// gives wrap it where that is so.
var ErrUseless = errors.New("index of a segment is of no use")

func useless(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrUseless, fmt.Errorf(format, args...))
}

var (
	magic      = []byte("WEIRIDX\n")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

const (
	headerLen = 128
	crcLen    = 4
	classLen  = 24 // of an entry in the table of classes

	// pageBytes is what a page of a matrix has at least, unless the matrix is
	// smaller: it is what is read, and checked, at once.
	pageBytes = 512
	// maxPageRows divides the length of every class.
	maxPageRows = 256

	// maxFrames and maxDirectory bound what a file may claim.
	maxFrames    = 1 << 24
	maxDirectory = 1 << 30
	// minRecord is less than any record takes, so that a length in bytes
	// bounds how many there can be.
	minRecord = 40
)

// matrix is the blooms of one class and kind: a row for each bit, a column for each
// frame. It is cut into pages of whole rows with a checksum behind each.
type matrix struct {
	key     int
	columns int
	// at is where its first page stands in the file.
	at int64
}

func (m matrix) bits() int   { return classBits(m.key / salts) }
func (m matrix) stride() int { return (m.columns + 7) / 8 }

// pageRows is how many rows a page has: a power of two.
func (m matrix) pageRows() int {
	rows := 1
	for rows < maxPageRows && rows*m.stride() < pageBytes {
		rows *= 2
	}
	return rows
}

func (m matrix) pageLen() int { return m.pageRows() * m.stride() }

func (m matrix) size() int64 {
	return int64(m.bits()/m.pageRows()) * int64(m.pageLen()+crcLen)
}

// Summary is what the file of a segment with these entries says of it.
func Summary(base, end uint64, entries []Entry) Segment {
	frames := make([]Frame, len(entries))
	for i := range entries {
		frames[i] = entries[i].Frame
	}
	return summary(base, end, frames)
}

// summary sums frames.
func summary(base, end uint64, frames []Frame) Segment {
	s := Segment{Base: base, End: end, Frames: len(frames), TimeMin: math.MaxInt64, TimeMax: math.MinInt64}
	for _, f := range frames {
		if f.Rows == 0 {
			continue
		}
		s.Pairs += uint64(f.Rows)
		s.TimeMin, s.TimeMax = min(s.TimeMin, f.TimeMin), max(s.TimeMax, f.TimeMax)
	}
	if s.Pairs == 0 {
		s.TimeMin, s.TimeMax = 0, 0
	}
	return s
}
