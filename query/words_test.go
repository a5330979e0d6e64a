package query_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

func show(n query.Needed) string {
	if n.Word != "" {
		return n.Word
	}
	parts := make([]string, len(n.Nodes))
	for i, c := range n.Nodes {
		parts[i] = show(c)
	}
	if n.Any {
		return "[" + strings.Join(parts, "|") + "]"
	}
	return "(" + strings.Join(parts, " ") + ")"
}

func TestRequiredWords(t *testing.T) {
	for src, want := range map[string]string{
		``:                                    "()",
		`declined`:                            "declined",
		`Declined`:                            "declined",
		`card-17_x`:                           "(card 17 x)",
		`fail*`:                               "()",
		`*fail`:                               "()",
		`a-fail*`:                             "a",
		`*x-one-y*z`:                          "one",
		`"card declined"`:                     "()",
		`"the card declined"`:                 "card",
		`" card "`:                            "card",
		`one two`:                             "(one two)",
		`one OR two`:                          "[one|two]",
		`one OR app:x`:                        "()",
		`one app:x`:                           "one",
		`-one`:                                "()",
		`-(-one)`:                             "one",
		`one -two`:                            "one",
		`-*`:                                  "[]",
		`body:(timeout refused)`:              "[refused|timeout]",
		`body:(timeout re*)`:                  "()",
		`body:/timeout/`:                      "()",
		`body:*`:                              "()",
		`header.x-tenant:acme`:                "(x tenant acme)",
		`header.x-tenant:*`:                   "(x tenant)",
		`header.x-tenant:ac*me`:               "(x tenant)",
		`request.header.content-type:text/*`:  "(content type text)",
		`response.header.x:>5`:                "x",
		`json.a:word`:                         "()",
		`path:/one/two`:                       "()",
		`naïve`:                               "(na ve)",
		`(one OR two) three`:                  "([one|two] three)",
		`(one (two OR (three OR four)) five)`: "(one [two|three|four] five)",
	} {
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if got := show(q.RequiredWords()); got != want {
			t.Errorf("%s: %s, want %s", src, got, want)
		}
	}
}

// wordsOfPair is the simplest reading of what a word is.
func wordsOfPair(p *capturev1.RRPair) map[string]bool {
	set := map[string]bool{}
	query.Texts(p, func(text []byte) {
		for _, w := range strings.FieldsFunc(string(text), func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9')
		}) {
			set[strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + 'a' - 'A'
				}
				return r
			}, w)] = true
		}
	})
	return set
}

// TestRequiredWordsAreThere: whatever matches has the words that the query
// says every match has.
func TestRequiredWordsAreThere(t *testing.T) {
	check := func(t interface{ Errorf(string, ...any) }, q *query.Query, p *capturev1.RRPair) {
		set := wordsOfPair(p)
		if q.Matcher().Match(p) && !q.RequiredWords().In(func(w string) bool { return set[w] }) {
			t.Errorf("%s matches a pair without %s", q, show(q.RequiredWords()))
		}
	}
	rapid.Check(t, func(t *rapid.T) { check(t, drawQuery(t), querytest.RandomPair().Draw(t, "pair")) })
	needing, spared := 0, 0
	for _, c := range querytest.Cases(t) {
		q, err := query.Parse(c.Query)
		if err != nil {
			t.Fatal(err)
		}
		need := q.RequiredWords()
		if !need.Nothing() {
			needing++
		}
		for _, p := range querytest.Pairs(t) {
			check(t, q, p.RRPair)
			set := wordsOfPair(p.RRPair)
			if !need.In(func(w string) bool { return set[w] }) {
				spared++
			}
		}
	}
	if needing < 50 || spared < 500 {
		t.Errorf("%d cases need words, which spares %d looks at pairs: the test proves little", needing, spared)
	}
}

func ExampleQuery_RequiredWords() {
	q, _ := query.Parse(`app:checkout declined (visa OR "a b c")`)
	need := q.RequiredWords()
	fmt.Println(need.In(func(word string) bool { return word == "declined" || word == "b" }))
	fmt.Println(need.In(func(word string) bool { return word == "visa" }))
	// Output:
	// true
	// false
}
