package query_test

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

func drawQuery(t *rapid.T) *query.Query {
	src := querytest.QueryText().Draw(t, "query")
	q, err := query.Parse(src)
	if err != nil {
		t.Fatalf("%s: %v", src, err)
	}
	return q
}

// TestCanonical: a canonical form is a query with the same tree.
func TestCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuery(t)
		again, err := query.Parse(q.String())
		if err != nil {
			t.Fatalf("%s: %v", q, err)
		}
		if !reflect.DeepEqual(q, again) {
			t.Fatalf("%s\n got %#v\nwant %#v", q, again.Root, q.Root)
		}
	})
}

// TestOperators: the answers of a query follow from those of its parts.
func TestOperators(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawQuery(t), drawQuery(t)
		p := querytest.RandomPair().Draw(t, "pair")
		match := func(src string) bool {
			q, err := query.Parse(src)
			if err != nil {
				t.Fatalf("%s: %v", src, err)
			}
			return q.Matcher().Match(p)
		}
		paren := func(q *query.Query) string {
			if s := q.String(); s != "" {
				return "(" + s + ")"
			}
			return "*"
		}
		x, y := match(a.String()), match(b.String())
		if match("-"+paren(a)) == x {
			t.Errorf("%s and its negation are both %v", a, x)
		}
		if got := match(paren(a) + " " + paren(b)); got != (x && y) {
			t.Errorf("%s is %v and %s is %v, but together %v", a, x, b, y, got)
		}
		if got := match(paren(a) + " OR " + paren(b)); got != (x || y) {
			t.Errorf("%s is %v and %s is %v, but either %v", a, x, b, y, got)
		}
		if got := query.All(a, b).Matcher().Match(p); got != (x && y) {
			t.Errorf("%s is %v and %s is %v, but All %v", a, x, b, y, got)
		}
	})
}

// TestSplit: whatever an index can answer, it misses nothing, and when it is
// exact it finds nothing else.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuery(t)
		p := querytest.RandomPair().Draw(t, "pair")
		// Any set of leaves at all, the same answer for the same leaf.
		answers := map[string]bool{}
		can := func(n query.Node) bool {
			a, ok := answers[n.String()]
			if !ok {
				a = rapid.Bool().Draw(t, n.String())
				answers[n.String()] = a
			}
			return a
		}
		part, exact := q.Split(can)
		leaves(part, func(n query.Node) {
			if !answers[n.String()] {
				t.Errorf("%s: part %s asks for %s", q, part, n)
			}
		})
		whole, some := q.Matcher().Match(p), (&query.Query{Root: part}).Matcher().Match(p)
		if whole && !some {
			t.Errorf("%s matches and its part %s does not", q, part)
		}
		if exact && whole != some {
			t.Errorf("%s is %v, its exact part %s is %v", q, whole, part, some)
		}
	})
}

func leaves(n query.Node, f func(query.Node)) {
	switch n := n.(type) {
	case query.And:
		for _, c := range n.Nodes {
			leaves(c, f)
		}
	case query.Or:
		for _, c := range n.Nodes {
			leaves(c, f)
		}
	case query.Not:
		leaves(n.Node, f)
	default:
		f(n)
	}
}

// TestSplitTable: the shapes that matter, to be read.
func TestSplitTable(t *testing.T) {
	for _, test := range []struct {
		query, part string
		exact       bool
	}{
		{"", "", true},
		{"app:a status:5xx", "app:a status:5xx", true},
		{"app:a body:x", "app:a", false},
		{"body:x", "", false},
		{"-body:x app:a", "app:a", false},
		{"app:a OR body:x", "", false},
		{"app:a OR app:b", "app:a OR app:b", true},
		{"(app:a OR app:b body:x) status:5xx", "(app:a OR app:b) status:5xx", false},
		{"-(app:a body:x)", "", false},
		{"-(app:a OR body:x)", "-app:a", false},
		{"-(app:a OR app:b body:x)", "-app:a", false},
		{"-(app:a -body:x)", "", false},
		{"-(app:a OR -(app:b body:x))", "-(app:a OR -app:b)", false},
		{"word app:a", "app:a", false},
		{"-*", "-*", true},
	} {
		q, err := query.Parse(test.query)
		if err != nil {
			t.Fatal(err)
		}
		part, exact := q.Split(func(n query.Node) bool {
			term, ok := n.(query.Term)
			return ok && term.Field != query.FieldBody
		})
		if got := (&query.Query{Root: part}).String(); got != test.part || exact != test.exact {
			t.Errorf("%s: part %q, exact %v; want %q, %v", test.query, got, exact, test.part, test.exact)
		}
	}
}

// TestMatcherKeepsNothing: one Matcher, asked about many pairs one after
// another, answers as fresh ones do, and changes no pair.
func TestMatcherKeepsNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuery(t)
		m := q.Matcher()
		for range 4 {
			p := querytest.RandomPair().Draw(t, "pair")
			before := proto.Clone(p).(*capturev1.RRPair)
			if got, want := m.Match(p), q.Matcher().Match(p); got != want {
				t.Fatalf("%s: used matcher says %v, fresh one %v", q, got, want)
			}
			if !proto.Equal(p, before) {
				t.Fatalf("%s: pair changed", q)
			}
		}
	})
}
