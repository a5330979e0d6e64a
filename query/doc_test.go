package query_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/weir-capture/weir/query"
)

const page = "../docs/query-language.md"

// TestPageExamples: every line of the page's blocks says what it says.
func TestPageExamples(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	queries, mistakes := 0, 0
	for i := 0; i < len(lines); i++ {
		switch lines[i] {
		case "```query":
			for i++; lines[i] != "```"; i++ {
				queries++
				if _, err := query.Parse(lines[i]); err != nil {
					t.Errorf("%s:%d: %s: %v", page, i+1, lines[i], err)
				}
			}
		case "```query-error":
			for i++; lines[i] != "```"; i++ {
				if lines[i] == "" {
					continue
				}
				mistakes++
				_, err := query.Parse(lines[i])
				if err == nil || err.Error() != lines[i+1] {
					t.Errorf("%s:%d: %s: %v", page, i+1, lines[i], err)
				}
				i++
			}
		default:
			if strings.HasPrefix(lines[i], "```") {
				t.Errorf("%s:%d: block of an unknown kind", page, i+1)
			}
		}
	}
	if queries < 20 || mistakes < 3 {
		t.Errorf("only %d queries and %d mistakes found", queries, mistakes)
	}
}

// TestPageFields: the page's table of fields is that of the code.
func TestPageFields(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), "-update` -->\n")
	if !ok {
		t.Fatal("no place for the table")
	}
	table, after, ok := strings.Cut(rest, "<!-- /fields -->")
	if !ok {
		t.Fatal("no end of the table")
	}
	var want strings.Builder
	want.WriteString("\n| field | value | what it is | example |\n|---|---|---|---|\n")
	for _, f := range query.Fields() {
		kind := map[query.Type]string{query.TypeAny: "text or number", query.TypeWords: "words"}[f.Type]
		if kind == "" {
			kind = string(f.Type)
		}
		if len(f.Values) > 0 {
			kind = "`" + strings.Join(f.Values, "` `") + "`"
		}
		fmt.Fprintf(&want, "| `%s` | %s | %s | `%s` |\n", f.Label(), kind, f.Description, f.Example)
	}
	want.WriteString("\n")
	if table == want.String() {
		return
	}
	if !*update {
		t.Fatalf("%s: the table of fields is not current; run go test ./query -update", page)
	}
	if err := os.WriteFile(page, []byte(before+"-update` -->\n"+want.String()+"<!-- /fields -->"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
