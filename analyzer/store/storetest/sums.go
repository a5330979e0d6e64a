package storetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	"github.com/weir-capture/weir/query"
)

// statsOf is the part of an engine that sums.
func statsOf(t *testing.T, e Engine) store.Stats {
	t.Helper()
	s, ok := e.(store.Stats)
	if !ok {
		t.Fatalf("a %T has no sums", e)
	}
	return s
}

// spans are times to ask about: all, and open and closed parts of it.
var spans = [][2]int64{{0, 0}, {Base + 100e9, 0}, {0, Base + 200e9}, {Base + 120e9, Base + 280e9}}

// compareSums asks for every kind of sum and compares it with the oracle's.
// The sums are those of the whole answer: nothing in them may be told another
// way, so that they have to be equal in everything.
func (s Suite) compareSums(t *testing.T, e, oracle Engine) {
	t.Helper()
	for i, src := range Queries {
		if i%s.Every != 0 {
			continue
		}
		q := parse(t, src)
		// Another part of the time and another bound for each query, and all of
		// them for the one that selects everything.
		for j, span := range spans {
			if j == (i/s.Every)%len(spans) || src == "" {
				sel := store.Selection{Query: q, From: span[0], To: span[1]}
				compareSum(t, statsOf(t, e), statsOf(t, oracle), src, sel, []int{0, 1, 3}[(i/s.Every+j)%3])
			}
		}
	}
}

func compareSum(t *testing.T, e, oracle store.Stats, src string, sel store.Selection, limit int) {
	t.Helper()
	ctx := t.Context()
	check := func(what string, got, want any, gotErr, wantErr error) {
		t.Helper()
		if gotErr != nil || wantErr != nil {
			t.Errorf("%q %s: %v, and of the oracle %v", src, what, gotErr, wantErr)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%q in [%d, %d), at most %d: %s\n got %+v\nwant %+v", src, sel.From, sel.To, limit, what, got, want)
		}
	}
	prefix := []string{"", "c", "S", "/", "zz"}[limit%5]
	for _, f := range []store.Facets{
		{Selection: sel, Fields: store.FacetFields(), Limit: limit},
		{Selection: sel, Fields: []string{"host", "app"}, Limit: limit, Prefix: prefix},
	} {
		got, gotErr := e.Facets(ctx, f)
		want, wantErr := oracle.Facets(ctx, f)
		check("facets", got, want, gotErr, wantErr)
	}
	{
		got, gotErr := e.Endpoints(ctx, store.Endpoints{Selection: sel, Limit: limit})
		want, wantErr := oracle.Endpoints(ctx, store.Endpoints{Selection: sel, Limit: limit})
		check("endpoints", got, want, gotErr, wantErr)
	}
	got, gotErr := e.Edges(ctx, store.Edges{Selection: sel, Limit: limit})
	want, wantErr := oracle.Edges(ctx, store.Edges{Selection: sel, Limit: limit})
	check("edges", got, want, gotErr, wantErr)
	compareInsight(t, e, oracle, src, sel, limit)
}

// sumsOfNothing: an empty store has sums, and a field that cannot be counted
// is an error.
func sumsOfNothing(t *testing.T, e Engine) {
	s := statsOf(t, e)
	f, err := s.Facets(t.Context(), store.Facets{Fields: []string{"app", "status"}})
	if err != nil || f.Pairs != 0 || f.Partial != nil || len(f.Facets) != 2 || f.Facets[1].Field != "status" || len(f.Facets[0].Values) != 0 {
		t.Errorf("facets: %+v, %v", f, err)
	}
	if l, err := s.Endpoints(t.Context(), store.Endpoints{}); err != nil || len(l.Endpoints) != 0 || l.More || l.Partial != nil {
		t.Errorf("endpoints: %+v, %v", l, err)
	}
	if l, err := s.Edges(t.Context(), store.Edges{}); err != nil || len(l.Edges) != 0 || l.More || l.Partial != nil {
		t.Errorf("edges: %+v, %v", l, err)
	}
	if l, err := s.Errors(t.Context(), store.Errors{Steps: 5, Newest: 2}); err != nil || len(l.Lines) != 0 || l.More || l.Partial != nil {
		t.Errorf("errors: %+v, %v", l, err)
	}
	if h, err := s.Heatmap(t.Context(), store.Heatmap{Steps: 5}); err != nil || h.Pairs != 0 || len(h.Bands) != 0 || h.Partial != nil {
		t.Errorf("heatmap: %+v, %v", h, err)
	}
	if d, err := s.Difference(t.Context(), store.Difference{}); err != nil || d.Inside+d.Outside != 0 || len(d.Values) != 0 || d.Partial != nil {
		t.Errorf("difference: %+v, %v", d, err)
	}
	for _, field := range []string{"body", "header.x-tenant", "nonsense", ""} {
		if f, err := s.Facets(t.Context(), store.Facets{Fields: []string{"app", field}}); err == nil {
			t.Errorf("facets of %q: %+v", field, f)
		}
	}
}

// partial: with next to no budget an answer that has to look into frames says
// that it is not whole, and what it says holds; a list goes on from where it
// came, until everything was found.
func (s Suite) partial(t *testing.T) {
	const count = 300
	e, oracle := s.Open(t), s.oracle()
	f := NewForwarder(1, NewProxy(1))
	for n := uint64(0); n < count; n += 10 {
		fr := f.Frame(Pairs(n, n+10)...)
		add(t, e, f, fr)
		add(t, oracle, f, fr)
		if n == count/2 && s.Settle != nil {
			s.Settle(t, e)
		}
	}
	for _, src := range []string{"body:declined", "-declined", "body:/acc.*ed/ status:2xx", "header.x-tenant:acme"} {
		q := parse(t, src)
		want := All(t, oracle, store.List{Query: q})
		if got := inParts(t, e, q); !sameIDs(got, want) {
			t.Errorf("%q: %d pairs in parts, want %d; first difference at %d", src, len(got), len(want), firstDifference(got, want))
		}
		b, err := e.Histogram(t.Context(), store.Histogram{Query: q, Buckets: 5, ScanBudget: 1})
		switch {
		case err != nil:
			t.Errorf("%q: histogram: %v", src, err)
		case total(b) > uint64(len(want)) || !b.Partial && total(b) < uint64(len(want)):
			t.Errorf("%q: histogram has %d of %d pairs, partial %v", src, total(b), len(want), b.Partial)
		}
		x, err := statsOf(t, e).Facets(t.Context(), store.Facets{Selection: store.Selection{Query: q, ScanBudget: 1}, Fields: []string{"app"}})
		switch {
		case err != nil:
			t.Errorf("%q: facets: %v", src, err)
		case x.Pairs > uint64(len(want)) || x.Partial == nil && x.Pairs < uint64(len(want)):
			t.Errorf("%q: facets have %d of %d pairs, partial %v", src, x.Pairs, len(want), x.Partial)
		case x.Partial != nil && (x.Partial.Reason == "" || !errors.Is(x.Partial, store.ErrPartial)):
			t.Errorf("%q: facets are partial without a reason: %+v", src, x.Partial)
		}
	}
}

// inParts lists with next to no budget, again and again.
func inParts(t *testing.T, e Engine, q *query.Query) (all []*store.Stored) {
	t.Helper()
	l := store.List{Query: q, Limit: 50, ScanBudget: 1}
	for range 10_000 {
		var part []*store.Stored
		var reached *store.Key
		over := false
		for st, err := range e.List(t.Context(), l) {
			if partial, ok := errors.AsType[*store.PartialError](err); ok {
				if reached = partial.Reached; partial.Reason == "" || reached == nil && len(part) == 0 {
					t.Fatalf("partial without a reason, or a way on: %+v", partial)
				}
				over = true
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if over {
				t.Fatal("an error was not the last element")
			}
			part = append(part, st)
		}
		all = append(all, part...)
		if len(part) > 0 {
			last := part[len(part)-1]
			key := store.Key{Time: store.Time(last.Pair), ID: store.ID(last.Pair.GetId())}
			if reached == nil {
				reached = &key
			}
		}
		if !over && len(part) < l.Limit {
			return all
		}
		if l.Before != nil && !before(*reached, *l.Before) {
			t.Fatalf("after %+v it reached %+v, which is no way on", *l.Before, *reached)
		}
		l.Before = reached
	}
	t.Fatal("a list in parts does not end")
	return nil
}

// before: a list has a after b.
func before(a, b store.Key) bool {
	if a.Time != b.Time {
		return a.Time < b.Time
	}
	return slices.Compare(a.ID[:], b.ID[:]) < 0
}

// scanned collects a scan.
func scanned(ctx context.Context, t *testing.T, e Engine, sc store.Scan) []*store.Stored {
	t.Helper()
	s, ok := e.(store.Scanner)
	if !ok {
		t.Fatalf("a %T cannot scan", e)
	}
	var all []*store.Stored
	for st, err := range s.Scan(ctx, sc) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	return all
}

// compareScans: whole pairs, in the order in which they came, from any place.
func (s Suite) compareScans(t *testing.T, e, oracle Engine) {
	t.Helper()
	for i, src := range Queries {
		if i%s.Every != 0 {
			continue
		}
		span := spans[(i/s.Every)%len(spans)]
		sc := store.Scan{Selection: store.Selection{Query: parse(t, src), From: span[0], To: span[1]}}
		want := scanned(t.Context(), t, oracle, sc)
		var last store.Progress
		told := 0
		sc.Progress = func(p store.Progress) {
			if told++; p.Scanned < last.Scanned || p.Of > 0 && p.Scanned > p.Of {
				t.Errorf("%q: progress went from %+v to %+v", src, last, p)
			}
			last = p
		}
		got := scanned(t.Context(), t, e, sc)
		if told > 0 && last.Scanned != last.Of {
			t.Errorf("%q: at the end it is at %+v", src, last)
		}
		if !sameIDs(got, want) {
			t.Errorf("%q: %d pairs scanned, want %d; first difference at %d", src, len(got), len(want), firstDifference(got, want))
			continue
		}
		for j := range got {
			if err := samePair(got[j], want[j], true); err != nil {
				t.Errorf("%q, scanned pair %d: %v", src, j, err)
			}
			if j > 0 && got[j].Seq <= got[j-1].Seq {
				t.Errorf("%q: a scan went from %d to %d", src, got[j-1].Seq, got[j].Seq)
			}
		}
		if n := len(got) / 3; n > 0 {
			sc.After, sc.Progress = got[n].Seq, nil
			if rest := scanned(t.Context(), t, e, sc); !sameIDs(rest, got[n+1:]) {
				t.Errorf("%q: after pair %d came %d pairs, want %d", src, n, len(rest), len(got)-n-1)
			}
		}
	}
}
