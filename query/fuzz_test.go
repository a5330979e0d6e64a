package query

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// FuzzParse: whatever is typed, there is a query or an error that points into
// it; a query's canonical form is the same query, and it can be compiled.
func FuzzParse(f *testing.F) {
	for _, file := range []string{"testdata/parse.txt", "testdata/errors.txt", "querytest/testdata/match.txt"} {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			src, _, _ := strings.Cut(line, "=>")
			f.Add(strings.TrimSpace(src))
		}
	}
	pair := &capturev1.RRPair{Path: "/a", Request: &capturev1.Message{Head: []byte("GET / HTTP/1.1\r\nA: b\r\n\r\n"), Body: []byte(`{"a":1}`)}}
	f.Fuzz(func(t *testing.T, src string) {
		root, err := Parse(src)
		all, errs := ParseAll(src)
		if (err == nil) != (len(errs) == 0) || (all == nil) != (err != nil) || len(errs) > MaxErrors {
			t.Fatalf("Parse says %v, ParseAll %v", err, errs)
		}
		for _, e := range errs {
			if n := utf8.RuneCountInString(src); e.Column < 1 || e.Length < 1 || e.Column+e.Length-1 > n+1 {
				t.Fatalf("column %d and length %d in %d characters: %v", e.Column, e.Length, n, e)
			}
		}
		for column := range min(utf8.RuneCountInString(src), 40) + 2 {
			Complete(src, column)
		}
		if err != nil {
			e, ok := err.(*Error)
			if !ok {
				t.Fatalf("error is a %T", err)
			}
			if !reflect.DeepEqual(e, errs[0]) {
				t.Fatalf("Parse says %v, ParseAll %v first", e, errs[0])
			}
			return
		}
		if !root.Equal(all) {
			t.Fatalf("Parse gives %s, ParseAll %s", root, all)
		}
		canonical := root.String()
		// Canonical forms can be longer than what people write.
		again, err := parse(canonical, 16*MaxLength)
		if err != nil {
			t.Fatalf("canonical form %q: %v", canonical, err)
		}
		if !reflect.DeepEqual(root, again) {
			t.Fatalf("canonical form %q\n got %#v\nwant %#v", canonical, again.Root, root.Root)
		}
		if s := again.String(); s != canonical {
			t.Fatalf("canonical form of %q is %q", canonical, s)
		}
		root.Matcher().Match(pair)
	})
}
