package errtext

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestU27WhatBodiesSay(t *testing.T) {
	for body, want := range map[string]string{
		"":                                 "",
		"\x00\x01binary":                   "",
		"upstream timed out\nat line 12":   "upstream timed out",
		"  \r\n\tno  such\ttable \x1b[31m": "no such table [31m",
		`{"error":"card declined"}`:        "card declined",
		`{"status":500,"error":"Internal Server Error","message":"card was declined","path":"/pay"}`: "card was declined",
		`{"error":{"code":"E12","message":"no such order"}}`:                                         "no such order",
		`{"errors":["first","second"]}`:                                                              "first",
		`{"errors":[{"message":"Cannot query field","locations":[{"line":2}]}],"data":null}`:         "Cannot query field",
		`{"type":"about:blank","title":"Bad Gateway","detail":"inventory is away","status":502}`:     "inventory is away",
		`{"detail":[{"loc":["body","qty"],"msg":"field required"}]}`:                                 "field required",
		`{"error":"invalid_grant","error_description":"The code has expired"}`:                       "The code has expired",
		`{"message":"cut off here","data":{"items":[{"a":1},{"b`:                                     "cut off here",
		`{"message":"","error":"empty message"}`:                                                     "empty message",
		`{"ok":false}`:                                                                               "",
		`[{"errorMessage":"of a list"}]`:                                                             "of a list",
		`"just a text"`:                                                                              "just a text",
		"{not json at all":                                                                           "{not json at all",
		"{ nginx says no":                                                                            "{ nginx says no",
		"<html><head><TITLE>502 Bad Gateway</TITLE></head><body><h1>x</h1>":                          "502 Bad Gateway",
		"<h1 class=a>Not&nbsp;<b>here</b></h1>":                                                      "Not here",
		"<soap:Fault><faultstring>No &amp; never</faultstring></soap:Fault>":                         "No & never",
		"<Error><Code>NoSuchKey</Code><Message>The key is not there</Message></Error>":               "The key is not there",
		"<p>plain <i>page</i>":                                                                       "plain page",
		"Traceback (most recent call last):\n  File \"a.py\", line 3\nKeyError: 'sku'\n":             "KeyError: 'sku'",
		"\xef\xbb\xbf{\"message\":\"with a mark\"}":                                                  "with a mark",
		strings.Repeat(`{"a":`, 50) + `1`:                                                            "",
	} {
		if got := Said([]byte(body)); got != want {
			t.Errorf("%s\n got %q\nwant %q", body, got, want)
		}
	}
	if got := Said([]byte(strings.Repeat("ab ", 1000))); utf8.RuneCountInString(got) > 2*maxText {
		t.Errorf("%d runes", utf8.RuneCountInString(got))
	}
}

func TestU27Templates(t *testing.T) {
	for _, c := range []struct{ text, want, phrase string }{
		{"card was declined", "card was declined", "card was declined"},
		{"order 4711 not found", "order {n} not found", "not found"},
		{"order-4711 not found after 30s", "order-{n} not found after {n}s", "not found after"},
		{`no item "blue shoe" in stock`, `no item "…" in stock`, "in stock"},
		{"can't read 'a b'", "can't read '…'", "read"},
		{"user 01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa is away.", "user {id} is away.", "is away"},
		{"dial tcp 10.1.2.3:8080: connection refused", "dial tcp {ip}:{n}: connection refused", "connection refused"},
		{"lookup [::1] failed at 2026-11-24T04:05:06.123Z", "lookup [{ip}] failed at {time}", "failed at"},
		{"a.b@example.com is taken", "{email} is taken", "is taken"},
		{"GET http://inventory:8080/stock/991 gave HTTP/1.1 503", "GET http://inventory:{n}/stock/{n} gave HTTP/{n} {n}", ""},
		{"deadbeef01 is no commit; utf8 and http2 are words", "{id} is no commit; utf8 and http2 are words", "is no commit"},
		{"token eyJhbGciOiJIUzI1NiIsInR5cCI6 expired", "token {id} expired", "expired"},
		{"pq: duplicate key value violates unique constraint \"orders_pkey\"", "pq: duplicate key value violates unique constraint \"…\"", "duplicate key value violates unique constraint"},
		{"x=12, y=1.5 (3,000 rows) 100%", "x={n}, y={n} ({n} rows) {n}%", ""},
		{"an \"open quote", "an \"open quote", "open quote"},
		{"0x7ffe12 at 12:13:14", "{id} at {time}", ""},
		{"prüfsumme 12 falsch", "prüfsumme {n} falsch", "falsch"},
		{"", "", ""},
	} {
		template, phrase := Template(c.text)
		if len(c.phrase) < minPhrase {
			c.phrase = ""
		}
		if template != c.want || phrase != c.phrase {
			t.Errorf("%s\n got %s | %s\nwant %s | %s", c.text, template, phrase, c.want, c.phrase)
		}
		if !strings.Contains(c.text, phrase) {
			t.Errorf("%q is not in %q", phrase, c.text)
		}
		if again, _ := Template(template); again != template {
			t.Errorf("%s becomes %s", template, again)
		}
	}
}

// FuzzSaid: whatever a body is, what comes of it is one short line, and so is
// its template.
func FuzzSaid(f *testing.F) {
	for _, seed := range []string{
		`{"error":{"message":"no order 12"}}`, "<title>502</title>", "Traceback (most recent call last):\nx", `["a`, "dial tcp [::1]:80: 'x' 10.0.0.1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		said := Said(body)
		template, phrase := Template(said)
		if !utf8.ValidString(said) || utf8.RuneCountInString(said) > 2*maxText || strings.ContainsAny(said+template, "\n\r\x00") {
			t.Fatalf("%q says %q", body, said)
		}
		if !utf8.ValidString(template) || len(template) > 8*len(said)+8 || !strings.Contains(said, phrase) {
			t.Fatalf("%q becomes %q with %q", said, template, phrase)
		}
	})
}
