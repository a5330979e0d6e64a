package redact

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestS04: whatever goes wrong while a pair is looked at, nothing of it stays
// that was not seen to be safe, and the pair says why.
func TestS04(t *testing.T) {
	const secret = "hunter2"
	pair := func(contentType, coding, body string) *capturev1.RRPair {
		head := "POST /orders/7?x=" + secret + " HTTP/1.1\r\nHost: shop.example\r\nX-Odd: " + secret + "\r\nAuthorization: Bearer " + secret + "\r\nContent-Type: " + contentType + "\r\n"
		if coding != "" {
			head += "Content-Encoding: " + coding + "\r\n"
		}
		return &capturev1.RRPair{
			Protocol: "http", Method: "POST", Path: "/orders/7", Query: "token=" + secret, Host: "shop.example",
			Request: &capturev1.Message{Head: []byte(head + "\r\n"), Body: []byte(body), BodySize: uint64(len(body)), BodyHash: []byte("0123456789abcdef")},
		}
	}
	named, _ := Named(Standard)
	panics, err := Parse("panics", []byte("rules:\n  - {name: a, what: '/shop+/', in: [json]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	panics.rules[0].detect.find = func([]byte, int) (int, int, bool) { panic("an accident with " + secret) }
	work := strings.Repeat("a3- ", 150_000)
	for range 11 {
		b, err := json.Marshal(map[string]string{"a": work})
		if err != nil {
			t.Fatal(err)
		}
		work = string(b)
	}
	ambiguous := pair("application/json", "", `{"x":"`+secret+`"}`)
	ambiguous.Flags = append(ambiguous.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS)
	cut := pair("application/json", "", `{"password":"`+secret)
	cut.Request.Truncated, cut.Request.BodySize = true, 1000
	for name, c := range map[string]struct {
		set    *Set
		pair   *capturev1.RRPair
		reason string // empty: a prefix stays
	}{
		"panic":          {panics, pair("application/json", "", `{"a":"shop","x":"`+secret+`"}`), ReasonFault},
		"budget":         {named, pair("application/json", "", work), ReasonBudget},
		"coding":         {named, pair("application/json", "x-none", `{"x":"`+secret+`"}`), ReasonCoding},
		"not the coding": {named, pair("application/json", "gzip", `{"x":"`+secret+`"}`), ReasonCoding},
		"framing":        {named, ambiguous, ReasonAmbiguous},
		"malformed":      {named, pair("application/json", "", `{"password":`+secret+`}`), ReasonMalformed},
		"cut short":      {named, cut, ""},
	} {
		err := New(c.set, RandomKeys()).Redact(c.pair)
		m := c.pair.GetRequest()
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error repeats content: %v", name, err)
		}
		if c.reason == "" {
			if err != nil || string(m.GetBody()) != `{"password":` || !strings.Contains(string(m.GetHead()), "X-Odd") {
				t.Errorf("%s: %v, left %v", name, err, c.pair)
			}
			continue
		}
		withheld := slices.ContainsFunc(c.pair.GetRedactions(), func(r *capturev1.Redaction) bool {
			return r.GetRule() == ruleWithheld && r.GetType() == c.reason
		})
		if !withheld || !slices.Contains(c.pair.GetFlags(), capturev1.Flag_FLAG_WITHHELD) {
			t.Errorf("%s: nothing says %s: %v", name, c.reason, c.pair)
		}
		head := string(m.GetHead())
		if len(m.GetBody()) > 0 || len(m.GetBodyHash()) > 0 || strings.Contains(head, secret) || strings.Contains(c.pair.GetQuery(), secret) {
			t.Errorf("%s: left %v", name, c.pair)
		}
		if c.reason != ReasonFault && !strings.HasPrefix(head, "POST /orders/7 HTTP/1.1\r\nHost: shop.example\r\nContent-Type:") {
			t.Errorf("%s: fields of the allow-list are gone: %q", name, head)
		}
	}
}
