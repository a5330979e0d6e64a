package query_test

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/weir-capture/weir/query"
	"github.com/weir-capture/weir/query/querytest"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

func TestMatcher(t *testing.T) {
	if *update {
		updateMatches(t)
		return
	}
	pairs := querytest.Pairs(t)
	querytest.Run(t, func(t *testing.T, q *query.Query) (ids []string) {
		m := q.Matcher()
		for _, p := range pairs {
			if m.Match(p.RRPair) {
				ids = append(ids, query.FormatID(p.Id))
			}
		}
		return ids
	})
}

// updateMatches rewrites the right sides of match.txt, for a person to read.
func updateMatches(t *testing.T) {
	const file = "querytest/testdata/match.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pairs := querytest.Pairs(t)
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		src, _, ok := strings.Cut(line, "=>")
		if !ok || strings.HasPrefix(line, "# ") {
			out.WriteString(line)
			continue
		}
		src = strings.TrimSpace(src)
		q, err := query.Parse(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		var names []string
		m := q.Matcher()
		for _, p := range pairs {
			if m.Match(p.RRPair) {
				names = append(names, p.Name)
			}
		}
		switch len(names) {
		case 0:
			names = []string{"none"}
		case len(pairs):
			names = []string{"all"}
		}
		out.WriteString(strings.TrimSpace(src+" => "+strings.Join(names, " ")) + "\n")
	}
	if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}
