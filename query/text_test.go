package query

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// drawParts makes what stands between stars, as the parser does: only the ends
// can be empty.
func drawParts(t *rapid.T, n int) []string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = rapid.StringOfN(rapid.SampledFrom([]rune("ab-é")), 0, 3, -1).Filter(func(s string) bool {
			return s != "" || n > 1 && (i == 0 || i == n-1)
		}).Draw(t, "part")
	}
	return parts
}

func quoteParts(parts []string) string {
	quoted := make([]string, len(parts))
	for i, p := range parts {
		quoted[i] = regexp.QuoteMeta(p)
	}
	return strings.Join(quoted, "(?s:.*)")
}

var text = rapid.StringOfN(rapid.SampledFrom([]rune("ab-éA\n")), 0, 20, -1)

func TestWildcardAgainstRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := drawParts(t, rapid.IntRange(2, 4).Draw(t, "n"))
		s := text.Draw(t, "text")
		fold := rapid.Bool().Draw(t, "fold")
		expr := `\A` + quoteParts(parts) + `\z`
		if fold {
			expr = `(?i)` + expr
		}
		if got, want := matchWildcard(s, parts, fold), regexp.MustCompile(expr).MatchString(s); got != want {
			t.Fatalf("%q like %q: got %v, want %v", s, parts, got, want)
		}
	})
}

func TestWordAgainstRegexp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		parts := drawParts(t, rapid.IntRange(1, 4).Draw(t, "n"))
		if isStar(parts) {
			return
		}
		s := lower(text.Draw(t, "text"))
		expr := quoteParts(parts)
		if first := parts[0]; first != "" && isWordByte(first[0]) {
			expr = `(\A|[^0-9A-Za-z])` + expr
		}
		if last := parts[len(parts)-1]; last != "" && isWordByte(last[len(last)-1]) {
			expr += `(\z|[^0-9A-Za-z])`
		}
		if got, want := findWord(s, parts), regexp.MustCompile(expr).MatchString(s); got != want {
			t.Fatalf("%q has %q: got %v, want %v", s, parts, got, want)
		}
	})
}

// drawJSON makes a JSON text with a space here and there.
func drawJSON(t *rapid.T, depth int) string {
	space := func() string { return rapid.SampledFrom([]string{"", "", " ", "\n\t"}).Draw(t, "space") }
	kinds := 3
	if depth > 0 {
		kinds = 7
	}
	switch rapid.IntRange(0, kinds).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "literal")
	case 1:
		return rapid.SampledFrom([]string{"0", "-1.5", "1e3", "12345"}).Draw(t, "number")
	case 2, 3:
		return rapid.SampledFrom([]string{`""`, `"a"`, `"b\"c"`, `"\\"`, `"\u00e9\n"`, `"{[,:]}"`}).Draw(t, "string")
	case 4, 5:
		var items []string
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			items = append(items, space()+drawJSON(t, depth-1)+space())
		}
		return "[" + strings.Join(items, ",") + space() + "]"
	}
	var items []string
	for range rapid.IntRange(0, 3).Draw(t, "n") {
		name := rapid.SampledFrom([]string{`"a"`, `"b"`, `"\u0061"`, `"x.y"`, `""`}).Draw(t, "name")
		items = append(items, space()+name+space()+":"+space()+drawJSON(t, depth-1)+space())
	}
	return "{" + strings.Join(items, ",") + space() + "}"
}

// reference collects what lies at path, with encoding/json, in the words of
// jsonPath.visit.
func reference(t *rapid.T, raw json.RawMessage, path jsonPath) []string {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	token, err := dec.Token()
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	if len(path) == 0 {
		switch v := token.(type) {
		case json.Delim:
			return []string{v.String()}
		case string:
			return []string{`"` + v}
		case json.Number:
			return []string{"0" + v.String()}
		}
		return []string{string(raw[0]) + string(raw)}
	}
	var found []string
	for i := 0; dec.More(); i++ {
		in := path[0].any
		switch token {
		case json.Delim('{'):
			name, err := dec.Token()
			if err != nil {
				t.Fatal(err)
			}
			in = in || path[0].index < 0 && path[0].name == name
		case json.Delim('['):
			in = in || path[0].index == i
		default:
			return nil
		}
		var sub json.RawMessage
		if err := dec.Decode(&sub); err != nil {
			t.Fatal(err)
		}
		if in {
			found = append(found, reference(t, sub, path[1:])...)
		}
	}
	return found
}

func TestJSONPathAgainstEncodingJSON(t *testing.T) {
	paths := []string{"a", "b", `"x.y"`, `""`, "[0]", "[*]", "a.b", "a[0]", "a[*]", "[*][*]", "[1].a", "*.*.*", "a.*.b"}
	rapid.Check(t, func(t *rapid.T) {
		src := drawJSON(t, 3)
		if src[0] != '{' && src[0] != '[' {
			return
		}
		path, err := parseJSONPath(rapid.SampledFrom(paths).Draw(t, "path"))
		if err != nil {
			t.Fatal(err)
		}
		collect := func(text string) (found []string) {
			path.visit(text, func(kind jsonKind, s string) bool {
				found = append(found, string(kind)+s)
				return false
			})
			return found
		}
		want := reference(t, json.RawMessage(src), path)
		if got := collect(src); !slices.Equal(got, want) {
			t.Fatalf("%s at %s\n got %q\nwant %q", src, path, got, want)
		}
		// Two texts give what each of them gives.
		if got := collect("\ufeff" + src + "\n" + src); !slices.Equal(got, append(want, want...)) {
			t.Fatalf("%s twice at %s: got %q", src, path, got)
		}
		// A text that is cut short gives the beginning of it.
		cut := src[:rapid.IntRange(0, len(src)-1).Draw(t, "cut")]
		if got := collect(cut); len(got) > len(want) || !slices.Equal(got, want[:len(got)]) {
			t.Fatalf("%s at %s\n got %q\nof %q", cut, path, got, want)
		}
		// The visit ends where it is told to.
		n := 0
		stopped := path.visit(src, func(jsonKind, string) bool { n++; return true })
		if stopped != (len(want) > 0) || n != min(1, len(want)) {
			t.Fatalf("%s at %s: stopped %v after %d of %d", src, path, stopped, n, len(want))
		}
	})
}

func TestReadDecimal(t *testing.T) {
	for s, ok := range map[string]bool{
		"1": true, " 1 ": true, "-1.5": true, "+2": true, "1e3": true, ".5": true,
		"": false, "inf": false, "NaN": false, "0x10": false, "1_000": false, "1,5": false, "-": false, "1 2": false,
	} {
		if _, got := readDecimal(s); got != ok {
			t.Errorf("readDecimal(%s) is %v", strconv.Quote(s), got)
		}
	}
}

func FuzzJSONPath(f *testing.F) {
	f.Add(`{"a":[{"b":1},{"b":"\u0061"}]}`, "a[*].b")
	f.Add(`{"a":{"x y":null}}`, `a."x y"`)
	f.Add("[[[[", "*.*")
	f.Add(`{"a":"cut`, "a")
	f.Fuzz(func(t *testing.T, src, key string) {
		path, err := parseJSONPath(key)
		if err != nil || !utf8.ValidString(key) {
			// Parse lets only UTF-8 through to here.
			return
		}
		again, err := parseJSONPath(path.String())
		if err != nil || !slices.Equal(again, path) {
			t.Fatalf("canonical form of %q is %q: %v, %v", key, path, again, err)
		}
		n := 0
		path.visit(src, func(jsonKind, string) bool { n++; return false })
		if n > len(src) {
			t.Fatalf("%d values in %d bytes", n, len(src))
		}
	})
}
