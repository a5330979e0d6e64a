package query_test

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/query"
)

// TestParse runs testdata/parse.txt: each line is a query and its canonical
// form.
func TestParse(t *testing.T) {
	const file = "testdata/parse.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		src, want, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=>")
		if !ok || strings.HasPrefix(line, "# ") {
			out.WriteString(line)
			continue
		}
		src = strings.TrimSuffix(src, " ")
		want = strings.TrimPrefix(want, " ")
		q, err := query.Parse(src)
		if err != nil {
			t.Errorf("%s:%d: %s: %v", file, n, src, err)
			out.WriteString(line)
			continue
		}
		got := q.String()
		out.WriteString(strings.TrimRight(src+" => "+got, " ") + "\n")
		if got != want && !*update {
			t.Errorf("%s:%d: %s\n got %s\nwant %s", file, n, src, got, want)
		}
		again, err := query.Parse(got)
		if err != nil {
			t.Errorf("%s:%d: canonical form %s: %v", file, n, got, err)
			continue
		}
		if !reflect.DeepEqual(q, again) || !q.Equal(again) {
			t.Errorf("%s:%d: canonical form %s has another tree\n got %#v\nwant %#v", file, n, got, again.Root, q.Root)
		}
		if again.String() != got {
			t.Errorf("%s:%d: canonical form %s of itself is %s", file, n, got, again)
		}
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestErrors runs testdata/errors.txt: blocks of a query, a line that marks
// the mistake, and the whole message.
func TestErrors(t *testing.T) {
	const file = "testdata/errors.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for block := range strings.SplitSeq(strings.TrimSuffix(string(text), "\n"), "\n\n") {
		src, _, _ := strings.Cut(block, "\n")
		_, err := query.Parse(src)
		if err == nil {
			t.Errorf("%s: no error", src)
			continue
		}
		e, ok := errors.AsType[*query.Error](err)
		if !ok {
			t.Fatalf("%s: error is a %T", src, err)
		}
		got := fmt.Sprintf("%s\n%s%s\n%s", src, strings.Repeat(" ", e.Column-1), strings.Repeat("^", e.Length), e)
		out = append(out, got)
		if got != block && !*update {
			t.Errorf("got\n%s\nwant\n%s", got, block)
		}
		checkError(t, src, e)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkError holds every error to what an editor relies on: the range lies in
// the query, and a suggestion put in its place removes this mistake.
func checkError(t *testing.T, src string, e *query.Error) {
	t.Helper()
	chars := []rune(src)
	if e.Column < 1 || e.Length < 1 || e.Column+e.Length-1 > len(chars)+1 {
		t.Fatalf("%q: column %d, length %d", src, e.Column, e.Length)
	}
	if e.Message == "" || !strings.Contains(e.Error(), fmt.Sprintf("at column %d.", e.Column)) {
		t.Errorf("%q: message %q", src, e)
	}
	if e.Suggestion == "" {
		return
	}
	fixed := string(chars[:e.Column-1]) + e.Suggestion + string(chars[min(len(chars), e.Column-1+e.Length):])
	_, err := query.Parse(fixed)
	if again, ok := errors.AsType[*query.Error](err); ok && again.Column == e.Column && again.Message == e.Message {
		t.Errorf("%q: suggestion %q leads to %q: %v", src, e.Suggestion, fixed, err)
	}
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		name, good, bad, message string
		column                   int
	}{
		{
			"length", strings.Repeat("ä", query.MaxLength/2), strings.Repeat("ä", query.MaxLength/2) + "b",
			"Query is longer than 8192 bytes", query.MaxLength/2 + 1,
		},
		{
			"parentheses", strings.Repeat("(", query.MaxDepth) + "a" + strings.Repeat(")", query.MaxDepth),
			strings.Repeat("(", query.MaxDepth+1) + "a" + strings.Repeat(")", query.MaxDepth+1), "Nested too deeply", query.MaxDepth + 1,
		},
		{"negations", strings.Repeat("-", query.MaxDepth) + "a", strings.Repeat("-", query.MaxDepth+1) + "a", "Nested too deeply", query.MaxDepth + 1},
		{"both", strings.Repeat("-(", query.MaxDepth/2) + "a" + strings.Repeat(")", query.MaxDepth/2), strings.Repeat("NOT (", query.MaxDepth/2+1), "Nested too deeply", 5*query.MaxDepth/2 + 1},
		{"terms", strings.Repeat("a ", query.MaxTerms), strings.Repeat("a ", query.MaxTerms+1), "More than 256 terms", 2*query.MaxTerms + 1},
		{"values", "app:(" + strings.Repeat("a ", query.MaxTerms) + ")", "app:(" + strings.Repeat("a ", query.MaxTerms+1) + ")", "More than 256 terms", 2*query.MaxTerms + 6},
		{"expression", `app:/(abcd){200}/`, `app:/(abcd){201}/`, "Regular expressions too large", 5},
		{"expressions", strings.Repeat(`app:/x{48}/ `, 20), strings.Repeat(`app:/x{48}/ `, 21), "Regular expressions too large", 12*20 + 5},
		{"encoding", "ä", "ä\xff", "Byte that is not UTF-8", 2},
		{"control", "a\tb\nc\r", "ä\x00", "Control character U+0000", 2},
		{"delete", "a", "a\u007f", "Control character U+007F", 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := query.Parse(test.good); err != nil {
				t.Errorf("just within: %v", err)
			}
			_, err := query.Parse(test.bad)
			e, ok := errors.AsType[*query.Error](err)
			if !ok {
				t.Fatalf("just outside: %v", err)
			}
			if e.Message != test.message || e.Column != test.column {
				t.Errorf("got %v\nwant %s at column %d", e, test.message, test.column)
			}
			if utf8.ValidString(test.bad) {
				checkError(t, test.bad, e)
			}
		})
	}
}

func TestFields(t *testing.T) {
	// The fields that users are promised, in the order of that promise.
	want := strings.Fields(`id app pod namespace cluster direction protocol method path endpoint host query status error
		duration ttfb size.request size.response client server header.<name> request.header.<name> response.header.<name>
		body request.body response.body json.<path> tag.<name> flag conn seq`)
	got := map[string]bool{}
	for _, f := range query.Fields() {
		got[f.Label()] = true
		q, err := query.Parse(f.Example)
		if err != nil {
			t.Errorf("example %s: %v", f.Example, err)
			continue
		}
		if term, ok := q.Root.(query.Term); !ok || term.Field != f.Name {
			t.Errorf("example %s is no term of %s: %#v", f.Example, f.Name, q.Root)
		}
		if f.Description == "" || strings.HasSuffix(f.Description, ".") {
			t.Errorf("description of %s: %q", f.Name, f.Description)
		}
		if (f.Type == query.TypeEnum) != (len(f.Values) > 0) {
			t.Errorf("%s has the type %s and the values %v", f.Name, f.Type, f.Values)
		}
	}
	for _, label := range want {
		if !got[label] {
			t.Errorf("no field %s", label)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d fields, want %d", len(got), len(want))
	}
}

// TestNames holds the names of flags and directions to those of the contract.
func TestNames(t *testing.T) {
	for n, name := range capturev1.Flag_name {
		want := strings.ToLower(strings.TrimPrefix(name, "FLAG_"))
		if n == 0 {
			want = ""
		}
		if got := query.FlagName(capturev1.Flag(n)); got != want {
			t.Errorf("flag %d is %q, want %q", n, got, want)
		}
	}
	for n, name := range capturev1.Direction_name {
		want := strings.ToLower(strings.TrimPrefix(name, "DIRECTION_"))
		if n == 0 {
			want = ""
		}
		if got := query.DirectionName(capturev1.Direction(n)); got != want {
			t.Errorf("direction %d is %q, want %q", n, got, want)
		}
	}
}
