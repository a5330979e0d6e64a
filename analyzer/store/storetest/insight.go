package storetest

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weir-capture/weir/analyzer/store"
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// parts select parts of pairs: by what an index decides, by what rows do, and
// by what only frames tell.
var parts = []string{"status:5xx", "duration:>=100ms", "-app:catalog", "error:refused", "path:/users/* OR duration:>400ms", "response.body:declined", ""}

// compareInsight compares what tells one thing from another with the oracle.
func compareInsight(t *testing.T, e, oracle store.Stats, src string, sel store.Selection, limit int) {
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
	for _, client := range []bool{false, true} {
		ask := store.Errors{Selection: sel, ClientErrors: client, Limit: limit, Newest: limit, Whole: 7, Steps: 7 + limit}
		got, gotErr := e.Errors(ctx, ask)
		want, wantErr := oracle.Errors(ctx, ask)
		if gotErr == nil && wantErr == nil {
			sameWhole(t, got, want)
		}
		check(fmt.Sprintf("errors, with 4xx %v", client), got, want, gotErr, wantErr)
	}
	{
		got, gotErr := e.Heatmap(ctx, store.Heatmap{Selection: sel, Steps: 5 + limit})
		want, wantErr := oracle.Heatmap(ctx, store.Heatmap{Selection: sel, Steps: 5 + limit})
		check("heatmap", got, want, gotErr, wantErr)
	}
	in := parts[len(src)%len(parts)]
	ask := store.Difference{Selection: sel, In: parse(t, in), InFrom: Base + 50e9, Limit: limit}
	if limit > 0 {
		ask.InTo = Base + 250e9
	}
	got, gotErr := e.Difference(ctx, ask)
	want, wantErr := oracle.Difference(ctx, ask)
	check("difference of "+in, got, want, gotErr, wantErr)
}

// sameWhole compares the pairs that were read, and takes them out.
func sameWhole(t *testing.T, got, want *store.ErrorList) {
	t.Helper()
	for i := range min(len(got.Lines), len(want.Lines)) {
		g, w := &got.Lines[i], &want.Lines[i]
		if !sameIDs(g.Whole, w.Whole) {
			t.Errorf("line %d: %d pairs were read, want %d", i, len(g.Whole), len(w.Whole))
		} else {
			for j := range g.Whole {
				if err := samePair(g.Whole[j], w.Whole[j], true); err != nil || store.ID(g.Whole[j].Pair.GetId()) != g.Newest[j] {
					t.Errorf("line %d, pair %d: %v", i, j, err)
				}
			}
		}
		g.Whole, w.Whole = nil, nil
	}
}

// insight compares errors, heatmaps and differences with what is counted here
// one by one, in the plainest way, for chosen and for random questions.
func (s Suite) insight(t *testing.T) {
	const count = 500
	e := s.Open(t)
	f := NewForwarder(1, NewProxy(1))
	for n := uint64(0); n < count; n += 50 {
		add(t, e, f, f.Frame(Pairs(n, n+50)...))
		if n == count/2 && s.Settle != nil {
			s.Settle(t, e)
		}
	}
	all := All(t, e, store.List{Whole: true})
	if len(all) != count {
		t.Fatalf("%d pairs", len(all))
	}
	r := rand.New(rand.NewPCG(26, 27))
	for n := range 60 / s.Every {
		src, in := Queries[r.IntN(len(Queries))], parts[n%len(parts)]
		from := Base + r.Int64N(count*1e9)
		sel := store.Selection{Query: parse(t, src), From: from, To: from + 1 + r.Int64N(count*1e9)}
		var of []*store.Stored
		m := sel.Query.Matcher(query.WithEndpoint(endpointOf(all)))
		for _, st := range all { // the newest first
			if at := store.Time(st.Pair); at >= sel.From && at < sel.To && m.Match(st.Pair) {
				of = append(of, st)
			}
		}
		name := fmt.Sprintf("%q in [%d, %d)", src, sel.From, sel.To)
		naiveErrors(t, name, e, sel, of, 1+r.IntN(40), n%2 == 0)
		naiveHeatmap(t, name, e, sel, of, 1+r.IntN(40))
		naiveDifference(t, name, e, sel, of, in, endpointOf(all))
	}
}

// endpointOf is the templates that an engine has given.
func endpointOf(all []*store.Stored) func(*capturev1.RRPair) string {
	of := map[string]string{}
	for _, st := range all {
		of[string(st.Pair.GetId())] = st.Endpoint
	}
	return func(p *capturev1.RRPair) string { return of[string(p.GetId())] }
}

func naiveErrors(t *testing.T, name string, e Engine, sel store.Selection, of []*store.Stored, steps int, client bool) {
	t.Helper()
	got, err := statsOf(t, e).Errors(t.Context(), store.Errors{Selection: sel, ClientErrors: client, Steps: steps, Newest: 3, Whole: 20, Limit: 10_000})
	if err != nil || got.Partial != nil || got.More || got.From != sel.From || got.To != sel.To {
		t.Fatalf("%s: errors %+v, %v", name, got, err)
	}
	want := map[string]*store.ErrorLine{}
	for _, st := range of {
		p := st.Pair
		if p.GetError() == "" && (p.GetStatus() < 500 || p.GetStatus() > 599) && (!client || p.GetStatus() < 400 || p.GetStatus() > 499) {
			continue
		}
		key := fmt.Sprint(p.GetSource().GetApp(), p.GetMethod(), st.Endpoint, p.GetStatus(), p.GetError())
		l := want[key]
		if l == nil {
			l = &store.ErrorLine{
				App: p.GetSource().GetApp(), Method: p.GetMethod(), Endpoint: st.Endpoint, Status: p.GetStatus(), Error: p.GetError(),
				Last: store.Time(p), Steps: make([]uint64, len(stepsOf(got))),
			}
			want[key] = l
		}
		l.Pairs++
		l.Estimated += uint64(store.Weight(p))
		l.First = store.Time(p)
		l.Steps[(store.Time(p)-got.From)/got.Step]++
		if len(l.Newest) < 3 {
			l.Newest = append(l.Newest, store.ID(p.GetId()))
		}
	}
	if len(got.Lines) != len(want) {
		t.Errorf("%s: %d lines of errors, want %d", name, len(got.Lines), len(want))
	}
	turns, read := 0, 0
	for i := range got.Lines {
		l := &got.Lines[i]
		if l.Error == "" {
			turns += len(l.Newest)
		}
		for j, st := range l.Whole {
			if read++; store.ID(st.Pair.GetId()) != l.Newest[j] || st.Pair.GetRequest().GetHead() == nil {
				t.Errorf("%s: pair %d of %+v is %v", name, j, l, st)
			}
		}
		l.Whole = nil
		if w := want[fmt.Sprint(l.App, l.Method, l.Endpoint, l.Status, l.Error)]; !reflect.DeepEqual(l, w) {
			t.Errorf("%s: errors\n got %+v\nwant %+v", name, l, w)
		}
		if i > 0 && got.Lines[i-1].Pairs < l.Pairs {
			t.Errorf("%s: %d before %d", name, got.Lines[i-1].Pairs, l.Pairs)
		}
	}
	if read != min(turns, 20) {
		t.Errorf("%s: %d pairs were read of %d", name, read, turns)
	}
}

// stepsOf are the beginnings of the steps of an answer.
func stepsOf(l *store.ErrorList) (starts []int64) {
	for at := l.From; at < l.To && l.Step > 0; at += l.Step {
		starts = append(starts, at)
	}
	return starts
}

func naiveHeatmap(t *testing.T, name string, e Engine, sel store.Selection, of []*store.Stored, steps int) {
	t.Helper()
	got, err := statsOf(t, e).Heatmap(t.Context(), store.Heatmap{Selection: sel, Steps: steps})
	if err != nil || got.Partial != nil || got.Pairs != uint64(len(of)) || len(got.Counts) > steps || len(got.Bands) > store.MaxBands {
		t.Fatalf("%s: heatmap %+v of %d pairs, %v", name, got, len(of), err)
	}
	for i, b := range got.Bands {
		if b.From >= b.To || i > 0 && got.Bands[i-1].To != b.From || b.From >= 64 && float64(b.To) > 1.26*float64(b.From) {
			t.Errorf("%s: band %d is %+v", name, i, b)
		}
	}
	want := make([][]uint64, len(got.Counts))
	for i := range want {
		want[i] = make([]uint64, len(got.Bands))
	}
	absent := uint64(0)
	for _, st := range of {
		d, ok := query.Duration(st.Pair)
		if !ok {
			absent++
			continue
		}
		at := slices.IndexFunc(got.Bands, func(b store.Band) bool { return d >= b.From && d < b.To })
		if at < 0 {
			t.Fatalf("%s: no band for %d", name, d)
		}
		want[(store.Time(st.Pair)-sel.From)/got.Step][at]++
	}
	if absent != got.Absent || !reflect.DeepEqual(got.Counts, want) {
		t.Errorf("%s: heatmap without %d\n got %v\nwant %v, without %d", name, got.Absent, got.Counts, want, absent)
	}
}

func naiveDifference(t *testing.T, name string, e Engine, sel store.Selection, of []*store.Stored, in string, endpoint func(*capturev1.RRPair) string) {
	t.Helper()
	ask := store.Difference{Selection: sel, In: parse(t, in), InFrom: sel.From + (sel.To-sel.From)/5, Limit: 10_000}
	got, err := statsOf(t, e).Difference(t.Context(), ask)
	if err != nil || got.Partial != nil {
		t.Fatalf("%s: difference %+v, %v", name, got, err)
	}
	m := ask.In.Matcher(query.WithEndpoint(endpoint))
	type value struct{ field, value string }
	counts := map[value][2]float64{}
	var totals [2]float64 // inside, outside
	for _, st := range of {
		p, side := st.Pair, 1
		if store.Time(p) >= ask.InFrom && m.Match(p) {
			side = 0
		}
		totals[side]++
		src := p.GetSource()
		host := func(address string) string { return address[:strings.LastIndexByte(address, ':')] }
		values := map[string]string{
			"app": src.GetApp(), "pod": src.GetPod(), "host": p.GetHost(), "method": p.GetMethod(), "endpoint": st.Endpoint,
			"status": strconv.Itoa(int(p.GetStatus())), "error": p.GetError(), "protocol": p.GetProtocol(),
			"client": host(p.GetClient()), "server": strings.Trim(host(p.GetServer()), "[]"),
		}
		maps.DeleteFunc(values, func(field, v string) bool { return v == "" || field == "status" && v == "0" })
		for k, v := range p.GetTags() {
			values["tag."+k] = v
		}
		for field, v := range values {
			c := counts[value{field, v}]
			c[side]++
			counts[value{field, v}] = c
		}
	}
	if float64(got.Inside) != totals[0] || float64(got.Outside) != totals[1] {
		t.Fatalf("%s: difference of %d and %d, want %v", name, got.Inside, got.Outside, totals)
	}
	score := func(c [2]float64) float64 { return c[0]/max(totals[0], 1) - c[1]/max(totals[1], 1) }
	last := math.Inf(1)
	for _, v := range got.Values {
		c := counts[value{v.Field, v.Value}]
		if c != [2]float64{float64(v.Inside), float64(v.Outside)} || score(c) > last || score(c) <= 0 {
			t.Errorf("%s: difference of %s: %+v, want %v after a score of %v", name, in, v, c, last)
		}
		last = score(c)
		delete(counts, value{v.Field, v.Value})
	}
	for v, c := range counts {
		if score(c) > 0 {
			t.Errorf("%s: difference of %s misses %v: %v", name, in, v, c)
		}
	}
}
