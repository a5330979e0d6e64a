package query_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weir-capture/weir/query"
)

// TestComplete: | is where the cursor stands. What is wanted: the characters
// that are replaced, the field of a value with its prefix, and some options;
// those with a - must not be there.
func TestComplete(t *testing.T) {
	for _, c := range []struct{ src, replace, field, options string }{
		{"|", "", "", "method: status: header. NOT -OR -AND"},
		{"st|", "st", "", "status: -path:"},
		{"ST|", "ST", "", "status:"},
		{"app:a |", "", "", "OR AND NOT status:"},
		{"app:a O|", "O", "", "OR -AND"},
		{"app:a or|", "or", "", "-OR"},
		{"app:a OR |", "", "", "NOT status: -AND -OR"},
		{"(|", "", "", "status: -OR"},
		{"(app:a) |", "", "", "OR"},
		{"-st|", "st", "", "status:"},
		{"-(st|", "st", "", "status:"},
		{"request.|", "request.", "", "request.header. request.body:"},
		{"status:|", "", "status", "2xx 5xx 404 *"},
		{"status:5|", "5", "status", "5xx 500 -404"},
		{"-status:5|xx", "5", "status", "5xx"},
		{"status:(404 5|", "5", "status", "5xx -404"},
		{"status:(404 5) |", "", "", "OR path:"},
		{"method:(GET |", "", "method", "POST"},
		{"method:p|", "p", "method", "POST PUT -GET"},
		{"flag:tr|", "tr", "flag", "truncated"},
		{"duration:>|", ">", "duration", ">100ms -<10ms"},
		{"app:che|", "che", "app", ""},
		{`app:"two w|`, `"two w`, "app", ""},
		{`"some te|`, `"some te`, "", ""},
		{"header.x-tenant:ac|", "ac", "header x-tenant", ""},
		{"nope:5|", "nope:5", "", ""},
		{"é app:|", "", "app", "*"},
	} {
		before, after, _ := strings.Cut(c.src, "|")
		src := before + after
		got := query.Complete(src, utf8.RuneCountInString(before)+1)
		runes := []rune(src)
		if r := string(runes[got.Column-1 : got.Column-1+got.Length]); r != c.replace {
			t.Errorf("%s: replaces %q, want %q", c.src, r, c.replace)
		}
		if f := strings.TrimSpace(fmt.Sprintf("%s %s", got.Field, got.Key)); f != c.field {
			t.Errorf("%s: value of %q, want %q", c.src, f, c.field)
		}
		texts := " "
		for _, o := range got.Options {
			texts += o.Text + " "
		}
		for _, o := range strings.Fields(c.options) {
			o, not := strings.CutPrefix(o, "-")
			if strings.Contains(texts, " "+o+" ") == not {
				t.Errorf("%s: options%s: %s", c.src, texts, o)
			}
		}
	}
}

// TestCompleteParses: whatever is offered for a value makes a query.
func TestCompleteParses(t *testing.T) {
	n := 0
	for _, f := range query.Fields() {
		src := string(f.Name) + ":"
		if f.Keyed() {
			src = string(f.Name) + ".a:"
		}
		for _, o := range query.Complete(src, len(src)+1).Options {
			n++
			if _, err := query.Parse(src + o.Text); err != nil {
				t.Errorf("%s%s: %v", src, o.Text, err)
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d options", n)
	}
}
