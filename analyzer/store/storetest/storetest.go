// Package storetest is what every engine of a store has to pass, and makes the
// frames for it. Answers are compared with those of memstore, and of the
// query's own matcher.
package storetest

import (
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// Engine is what is tested.
type Engine interface {
	store.Writer
	store.Reader
}

// Suite is the tests of one engine.
type Suite struct {
	// Open gives an empty engine that is ready; it is closed by t.Cleanup.
	Open func(t *testing.T) Engine
	// Settle, when set, waits until the engine is at rest: everything is asked
	// once before, when answers come from memory in part, and once after.
	Settle func(t *testing.T, e Engine)
	// Every, when set, leaves out all but every so manieth query.
	Every int
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	s.Every = max(s.Every, 1)
	for _, c := range []struct {
		name string
		run  func(*testing.T, Engine)
	}{
		{"VisibleWhenAppended", visible},
		{"SentAgain", sentAgain},
		{"BySeveralSpools", severalSpools},
		{"FramesWithoutPairs", withoutPairs},
		{"FramesThatCannotBeOpened", unreadable},
		{"FramesThatMakeNoSense", nonsense},
		{"InAnyOrder", anyOrder},
		{"Missing", missing},
		{"DeclaredLost", declaredLost},
		{"PairsWithoutAnID", withoutID},
		{"OddTexts", oddTexts},
		{"OddTimes", oddTimes},
		{"Sampled", sampled},
		{"Cancelled", cancelled},
		{"CancelledSoon", cancelledSoon},
		{"SumsOfNothing", sumsOfNothing},
		{"Ownership", ownership},
		{"Tail", tail},
		{"Concurrent", concurrent},
		{"OnceWhileItArrives", onceWhileItArrives},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s.Open(t)) })
	}
	t.Run("Answers", s.answers)
	t.Run("Partial", s.partial)
	t.Run("U26U27Insight", s.insight)
	t.Run("QueryTable", func(t *testing.T) { queryTable(t, s.Open(t), nil) })
	if s.Settle != nil {
		t.Run("QueryTableAtRest", func(t *testing.T) { queryTable(t, s.Open(t), s.Settle) })
	}
	t.Run("RandomQueries", s.randomAnswers)
}

func add(t *testing.T, e Engine, f *Forwarder, frames ...*capturev1.Frame) {
	t.Helper()
	if err := e.Append(t.Context(), f.Spool, frames); err != nil {
		t.Fatal(err)
	}
}

// All lists everything, whole.
func All(t testing.TB, e store.Reader, l store.List) []*store.Stored {
	t.Helper()
	if l.Limit == 0 {
		l.Limit = 1 << 20
	}
	var out []*store.Stored
	for st, err := range e.List(t.Context(), l) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, st)
	}
	return out
}

// Numbers are which pairs (see Pair) are in a list.
func Numbers(list []*store.Stored) []uint64 {
	out := make([]uint64, len(list))
	for i, st := range list {
		out[i] = Number(store.ID(st.Pair.GetId()))
	}
	return out
}

func parse(t testing.TB, src string) *query.Query {
	t.Helper()
	q, err := query.Parse(src)
	if err != nil {
		t.Fatalf("parse %q: %v", src, err)
	}
	return q
}
