package sums

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/index"
)

// Errors sums up rows of pairs that failed.
type Errors struct {
	ask   store.Errors
	steps index.Steps
	t     table[errorKey, errorLine]
}

type errorKey struct {
	app, method, endpoint, err string
	status                     int32
}

type errorLine struct {
	store.ErrorLine
	newest []index.Row
}

// NewErrors makes an empty sum. What is added lies within steps.
func NewErrors(ask store.Errors, steps index.Steps) *Errors { return &Errors{ask: ask, steps: steps} }

// Add counts a row, if it is one that failed. It is only read.
func (e *Errors) Add(r *index.Row) {
	if !e.ask.Failed(r.Status, r.Error) {
		return
	}
	l := e.t.line(errorKey{r.App, r.Method, r.Endpoint, r.Error, r.Status}, func() *errorLine {
		return &errorLine{ErrorLine: store.ErrorLine{
			App: r.App, Method: r.Method, Endpoint: r.Endpoint, Status: r.Status, Error: r.Error,
			First: r.Time, Last: r.Time, Steps: make([]uint64, e.steps.Count),
		}}
	})
	if l == nil {
		return
	}
	l.Pairs++
	l.Estimated += uint64(r.Weight)
	l.First, l.Last = min(l.First, r.Time), max(l.Last, r.Time)
	l.Steps[(r.Time-e.steps.From)/e.steps.Step]++
	at, _ := slices.BinarySearchFunc(l.newest, r, func(a index.Row, b *index.Row) int {
		return cmp.Or(cmp.Compare(b.Time, a.Time), bytes.Compare(b.ID[:], a.ID[:]))
	})
	if at < e.ask.Newest {
		l.newest = slices.Insert(l.newest, at, r.Pointer())
		l.newest = l.newest[:min(len(l.newest), e.ask.Newest)]
	}
}

// List is the answer, without the bounds of its time.
func (e *Errors) List() *index.ErrorList {
	limit := Limit(e.ask.Limit, DefaultLines)
	lines := make([]*errorLine, 0, len(e.t.lines))
	for _, l := range e.t.lines {
		lines = append(lines, l)
	}
	slices.SortFunc(lines, func(a, b *errorLine) int {
		return cmp.Or(cmp.Compare(b.Pairs, a.Pairs), cmp.Compare(a.App, b.App), cmp.Compare(a.Method, b.Method),
			cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.Status, b.Status), cmp.Compare(a.Error, b.Error))
	})
	out := &index.ErrorList{ErrorList: store.ErrorList{Step: e.steps.Step, More: len(lines) > limit, Partial: tooMany("ways to fail", e.t.left)}}
	for _, l := range lines[:min(limit, len(lines))] {
		for i := range l.newest {
			l.Newest = append(l.Newest, l.newest[i].ID)
		}
		out.Rows = append(out.Rows, l.newest)
		out.Lines = append(out.Lines, l.ErrorLine)
	}
	return out
}
