package query_test

import (
	"strings"
	"testing"

	"github.com/weir-capture/weir/query"
)

// TestParseAll: what is shown of queries with several mistakes.
func TestParseAll(t *testing.T) {
	for src, want := range map[string]string{
		`app:a status:5xx`:                         "",
		`stauts:5xx path:/x mehtod:GET`:            "1 Unknown field \"stauts\"|20 Unknown field \"mehtod\"",
		`status:abc (duration:5 OR size.request:)`: "8 Bad status \"abc\"|22 Duration \"5\" without a unit|40 Missing value after size.request:",
		`) a`:                         "1 Closing parenthesis without an opening one",
		`a ) b ) nope:1`:              "3 Closing parenthesis without an opening one|7 Closing parenthesis without an opening one|9 Unknown field \"nope\"",
		`a AND AND b OR OR c`:         "7 AND without a term on its left|16 OR without a term on its left",
		`status=500 'x y'`:            "1 Operator \"=\" after a field name|12 Single quote",
		`nope:(a b c) flag:nope`:      "1 Unknown field \"nope\"|19 Unknown flag \"nope\"",
		`method:(GET nope:1`:          "8 Unclosed list of values",
		`nope:"a b" status:"500"`:     "1 Unknown field \"nope\"|19 Quotes around the value of status",
		`a (status:9 nope:1) (b`:      "13 Unknown field \"nope\"|21 Unclosed parenthesis",
		`() -`:                        "1 Empty parentheses|4 Nothing to negate after -",
		`path:/a(/ nope:1 body:/(/ x`: "6 Bad regular expression: missing closing ): a(",
		`ünknown:1 status:x`:          "1 Unknown field \"ünknown\"|18 Bad status \"x\"",
	} {
		q, errs := query.ParseAll(src)
		var got []string
		for _, e := range errs {
			got = append(got, strings.Fields(e.Error()[strings.LastIndex(e.Error(), "at column "):])[2]+" "+e.Message)
		}
		text := strings.ReplaceAll(strings.Join(got, "|"), ".", "")
		want = strings.ReplaceAll(want, ".", "")
		if text != want || (q == nil) != (len(errs) > 0) {
			t.Errorf("%s\n got %s\nwant %s", src, text, want)
		}
	}
	if _, errs := query.ParseAll(strings.Repeat("nope:1 ", 50)); len(errs) != query.MaxErrors {
		t.Errorf("%d errors", len(errs))
	}
}
