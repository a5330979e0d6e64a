package storetest

import (
	"testing"
	"time"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/analyzer/store/memstore"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// queryTable runs the language's own table of cases, asking the engine.
func queryTable(t *testing.T, e Engine, settle func(*testing.T, Engine)) {
	f := NewForwarder(1, NewProxy(1))
	for _, p := range querytest.Pairs(t) {
		add(t, e, f, f.Frame(p.RRPair))
	}
	if settle != nil {
		settle(t, e)
	}
	querytest.Run(t, func(t *testing.T, q *query.Query) (ids []string) {
		for _, st := range All(t, e, store.List{Query: q}) {
			ids = append(ids, query.FormatID(st.Pair.GetId()))
		}
		return ids
	})
}

// Sizes of the random comparison.
const (
	randomPairs   = 200
	randomQueries = 300
)

// randomAnswers compares generated queries over generated pairs with memstore.
func (s Suite) randomAnswers(t *testing.T) {
	e := s.Open(t)
	oracle := memstore.New(func() int64 { return time.Now().UnixNano() })
	f := NewForwarder(1, NewProxy(1))
	pairs, queries := querytest.RandomPair(), querytest.QueryText()
	for n := 0; n < randomPairs; n += 20 {
		var batch []*capturev1.RRPair
		for i := range 20 {
			p := pairs.Example(n + i)
			id := ID(Base, uint64(n+i))
			p.Id = id[:] // so that each is one of its own
			batch = append(batch, p)
		}
		fr := f.Frame(batch...)
		add(t, e, f, fr)
		add(t, oracle, f, fr)
		if n == randomPairs/2 && s.Settle != nil {
			s.Settle(t, e)
		}
	}
	count := randomQueries / (s.Every * s.Every)
	for n := range count {
		if n == count/2 && s.Settle != nil {
			s.Settle(t, e)
		}
		src := queries.Example(n)
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		got, want := All(t, e, store.List{Query: q}), All(t, oracle, store.List{Query: q})
		if !sameIDs(got, want) {
			t.Errorf("%s: got %v, want %v", src, Numbers(got), Numbers(want))
		}
		h, err := e.Histogram(t.Context(), store.Histogram{Query: q, Buckets: 5})
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if total(h) != uint64(len(want)) {
			t.Errorf("%s: histogram counts %d of %d", src, total(h), len(want))
		}
	}
}
