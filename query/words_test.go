package query_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

// show writes a formula; a leaf is its text, then its words where they are
// others.
func show(n *query.Need) string {
	switch {
	case n == nil:
		return "()"
	case n.Text != "" && len(n.Words) == 1 && n.Words[0] == n.Text:
		return n.Text
	case n.Text != "":
		return "<" + n.Text + "|" + strings.Join(n.Words, " ") + ">"
	}
	var parts []string
	for _, c := range append(n.All, n.Any...) {
		parts = append(parts, show(c))
	}
	if n.Any != nil {
		return "[" + strings.Join(parts, "|") + "]"
	}
	return "(" + strings.Join(parts, " ") + ")"
}

func TestNeeds(t *testing.T) {
	for src, want := range map[string]string{
		``:                                    "()",
		`declined`:                            "declined",
		`Declined`:                            "declined",
		`card-17_x`:                           "<card-17_x|card 17 x>",
		`fail*`:                               "<fail|>",
		`*fail`:                               "<fail|>",
		`a-fail*`:                             "<a-fail|a>",
		`*x-one-y*z`:                          "(<x-one-y|one> <z|>)",
		`"card declined"`:                     "<card declined|>",
		`"the card declined"`:                 "<the card declined|card>",
		`" card "`:                            "< card |card>",
		`one two`:                             "(one two)",
		`one OR two`:                          "[one|two]",
		`one OR app:x`:                        "()",
		`one app:x`:                           "one",
		`-one`:                                "()",
		`-(-one)`:                             "one",
		`one -two`:                            "one",
		`-*`:                                  "[]",
		`body:(timeout refused)`:              "[refused|timeout]",
		`body:(timeout re*)`:                  "[<re|>|timeout]",
		`body:/timeout/`:                      "<timeout|>",
		`body:/time[a-z]+/`:                   "<time|>",
		`body:/(?i)timeout/`:                  "()",
		`body:*`:                              "()",
		`header.x-tenant:acme`:                "(<x-tenant|x tenant> acme)",
		`header.x-tenant:"Acme Inc"`:          "(<x-tenant|x tenant> acme inc)",
		`header.x-tenant:*`:                   "<x-tenant|x tenant>",
		`header.x-tenant:ac*me`:               "(<x-tenant|x tenant> <ac|> <me|>)",
		`request.header.content-type:text/*`:  "(<content-type|content type> <text/|text>)",
		`response.header.x:>5`:                "x",
		`json.a:word`:                         "()",
		`path:/one/two`:                       "()",
		`naïve`:                               "<naïve|na ve>",
		`(one OR two) three`:                  "([one|two] three)",
		`(one (two OR (three OR four)) five)`: "(one [two|three|four] five)",
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if got := show(q.Needs()); got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
}

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// wordsOfPair is the simplest reading of what a word is.
func wordsOfPair(p *capturev1.RRPair) map[string]bool {
	set := map[string]bool{}
	query.Texts(p, func(text []byte) {
		for _, w := range strings.FieldsFunc(string(text), func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
		}) {
			set[asciiLower(w)] = true
		}
	})
	return set
}

// TestNeedsAreThere: whatever matches has what the query says every match has,
// as words and as text.
func TestNeedsAreThere(t *testing.T) {
	check := func(t interface{ Errorf(string, ...any) }, q *query.Query, p *capturev1.RRPair) (has bool) {
		set := wordsOfPair(p)
		words := func(n *query.Need) bool {
			return !slices.ContainsFunc(n.Words, func(w string) bool { return !set[w] })
		}
		text := func(n *query.Need) (found bool) {
			query.Texts(p, func(text []byte) {
				found = found || strings.Contains(asciiLower(string(text)), n.Text)
			})
			return found
		}
		has = q.Needs().Holds(words)
		if q.Matcher().Match(p) && !(has && q.Needs().Holds(text)) {
			t.Errorf("%s matches a pair without %s", q, show(q.Needs()))
		}
		return has
	}
	rapid.Check(t, func(t *rapid.T) { check(t, drawQuery(t), querytest.RandomPair().Draw(t, "pair")) })
	needing, spared := 0, 0
	for _, c := range querytest.Cases(t) {
		q, err := query.Parse(c.Query)
		if err != nil {
			t.Fatal(err)
		}
		if q.Needs() != nil {
			needing++
		}
		for _, p := range querytest.Pairs(t) {
			if !check(t, q, p.RRPair) {
				spared++
			}
		}
	}
	if needing < 50 || spared < 500 {
		t.Errorf("%d cases need words, which spares %d looks at pairs: the test proves little", needing, spared)
	}
}

func ExampleQuery_Needs() {
	q, _ := query.Parse(`app:checkout declined (visa OR "a b c")`)
	has := func(words ...string) func(*query.Need) bool {
		return func(n *query.Need) bool {
			return !slices.ContainsFunc(n.Words, func(w string) bool { return !slices.Contains(words, w) })
		}
	}
	fmt.Println(q.Needs().Holds(has("declined", "b")))
	fmt.Println(q.Needs().Holds(has("visa")))
	// Output:
	// true
	// false
}
