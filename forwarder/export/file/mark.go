package file

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/weir-capture/weir/forwarder/export"
	"github.com/weir-capture/weir/internal/slotfile"
	"github.com/weir-capture/weir/internal/vfs"
)

const (
	// markBytes is room for the counts of maxRules rules.
	markBytes = 16 << 10
	// maxRules is how many rules are counted each by its name, so that the mark
	// never outgrows its room when rules come and go; a filter has fewer.
	// otherRules counts the rest.
	maxRules   = 128
	otherRules = "other"
	// tailBytes is how much of the file's end its mark knows.
	tailBytes = 4 << 10
)

// mark says how far the file is. It is written after the file's bytes are
// durable, to a file that never grows, and what stands in the file behind it
// is cut at the next start: so each record is written whole, once.
type mark struct {
	// Spool names the spool that the offsets are of.
	Spool []byte `json:"spool"`
	// Offset is where reading goes on; Last is where the last record that was
	// taken stands, Sum its CRC-32C: a spool that has another one there is an
	// older copy.
	Offset uint64 `json:"offset"`
	Last   uint64 `json:"last"`
	Sum    uint32 `json:"sum"`
	// Size is the file's length, Tail the CRC-32C of its last tailBytes.
	Size int64  `json:"size"`
	Tail uint32 `json:"tail"`
	// Rotated is the number of the last file that was rotated.
	Rotated uint64 `json:"rotated"`
	counts
}

// counts are what this destination did with the pairs that it read, since it
// was made.
type counts struct {
	Written  uint64            `json:"written"`
	Filtered map[string]uint64 `json:"filtered,omitempty"`
	Dropped  map[string]uint64 `json:"dropped,omitempty"`
}

func (c counts) clone() counts {
	c.Filtered, c.Dropped = cloneOf(c.Filtered), cloneOf(c.Dropped)
	return c
}

// filter counts pairs that a rule left out.
func (c counts) filter(rule string, n uint64) {
	if _, is := c.Filtered[rule]; !is && len(c.Filtered) >= maxRules {
		rule = otherRules
	}
	c.Filtered[rule] += n
}

// bound leaves the counts that there is room for.
func (c *counts) bound() {
	all := c.Filtered
	c.Filtered = make(map[string]uint64, min(len(all), maxRules)+1)
	for _, rule := range slices.Sorted(maps.Keys(all)) {
		c.filter(rule, all[rule])
	}
}

func cloneOf(m map[string]uint64) map[string]uint64 {
	n := make(map[string]uint64, len(m)+1)
	for k, v := range m {
		n[k] = v
	}
	return n
}

// castagnoli is for the tail of the file.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openMark reads the mark of a file; known is false where there is none yet or
// it cannot be read, which lost tells.
func openMark(d vfs.FS, base string) (f *slotfile.File, m mark, known, lost bool, err error) {
	f, value, err := slotfile.Open(d, export.MarkName(base), markBytes)
	if errors.Is(err, slotfile.ErrDamaged) {
		return f, mark{}, false, true, nil
	}
	if err != nil {
		return nil, mark{}, false, false, err
	}
	if value == nil {
		return f, mark{}, false, false, nil
	}
	if err := json.Unmarshal(value, &m); err != nil {
		return f, mark{}, false, true, nil
	}
	m.bound()
	return f, m, true, false, nil
}

func storeMark(f *slotfile.File, m mark) error {
	b, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode mark: %w", err)
	}
	return f.Store(b)
}
