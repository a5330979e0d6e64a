// Package faultreport is the line that a fault test leaves for the table of
// `make fault`: what was done to the system, and what became of every pair
// that was on its way meanwhile. It stands in the test's log, so that the
// test says the same on its own, and is found there by its first word.
package faultreport

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// mark begins a line; JSON follows.
const mark = "FAULT {"

// Line is one row of the table. Counts are of pairs, or of whatever the test
// writes and reads in their place (the note says so).
type Line struct {
	// Fault says what was done, beginning with the promise's number: "R13
	// kill -9 of the forwarder, 50 times".
	Fault string `json:"fault"`
	// Generated were made (for pairs: completed by their client).
	Generated uint64 `json:"generated"`
	// Stored can be read.
	Stored   uint64 `json:"stored"`
	Filtered uint64 `json:"filtered,omitempty"`
	Sampled  uint64 `json:"sampled,omitempty"`
	// Dropped were declared, by "hop/reason": "proxy/memory".
	Dropped map[string]uint64 `json:"dropped,omitempty"`
	// AtMost is the sum of the bounds that stand for proxies that were killed.
	AtMost uint64 `json:"at_most,omitempty"`
	// Lost are missing and nobody said so; Twice and Phantom are there twice,
	// or without anybody having made them. All have to be 0.
	Lost    uint64 `json:"lost"`
	Twice   uint64 `json:"twice"`
	Phantom uint64 `json:"phantom"`
	// Canaries were sent with a secret in them; Leaks is how often one was found
	// again in what the programs kept, told or printed, which has to be 0.
	Canaries uint64 `json:"canaries,omitempty"`
	Leaks    uint64 `json:"leaks,omitempty"`
	// Note is what else was measured.
	Note string `json:"note,omitempty"`
}

// OK tells whether the account is as promised.
func (l Line) OK() bool { return l.Lost == 0 && l.Twice == 0 && l.Phantom == 0 && l.Leaks == 0 }

// String is the line as it stands in a log.
func (l Line) String() string {
	b, _ := json.Marshal(l) // strings and numbers: never fails
	return strings.TrimSuffix(mark, "{") + string(b)
}

// Print puts the line into the test's log and fails the test when the account
// is not as promised.
func (l Line) Print(t testing.TB) {
	t.Helper()
	t.Log(l)
	if !l.OK() {
		t.Errorf("%s: %d lost, %d twice, %d phantom, %d leaks", l.Fault, l.Lost, l.Twice, l.Phantom, l.Leaks)
	}
}

// Parse finds a line in a line of a test's output.
func Parse(text string) (l Line, found bool, err error) {
	_, rest, found := strings.Cut(text, mark)
	if !found {
		return l, false, nil
	}
	if err := json.NewDecoder(strings.NewReader("{" + rest)).Decode(&l); err != nil {
		return l, true, fmt.Errorf("read fault line: %w", err)
	}
	return l, true, nil
}

// Table writes lines for people, sorted by their promise, columns divided by
// "|" so that it can be pasted into a Markdown paper.
func Table(w io.Writer, lines []Line) error {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.Fault, b.Fault) })
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(tw, "| %v\t", c)
		}
		fmt.Fprintln(tw, "|")
	}
	row("fault", "generated", "stored", "declared", "lost", "twice", "phantom", "canaries", "leaks", "note")
	row("---", "---:", "---:", "---", "---:", "---:", "---:", "---:", "---:", "---")
	for _, l := range lines {
		row(l.Fault, l.Generated, l.Stored, l.declared(), l.Lost, l.Twice, l.Phantom, l.Canaries, l.Leaks, l.Note)
	}
	return tw.Flush()
}

func (l Line) declared() string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(l.Dropped)) {
		if n := l.Dropped[reason]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", reason, n))
		}
	}
	if l.Filtered > 0 {
		parts = append(parts, fmt.Sprintf("filtered %d", l.Filtered))
	}
	if l.Sampled > 0 {
		parts = append(parts, fmt.Sprintf("sampled %d", l.Sampled))
	}
	if l.AtMost > 0 {
		parts = append(parts, fmt.Sprintf("at most %d with killed proxies", l.AtMost))
	}
	if parts == nil {
		return "–"
	}
	return strings.Join(parts, ", ")
}
