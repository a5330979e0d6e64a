package redact_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weir-capture/weir/redact"
)

// FuzzRedact: whatever stands in a message, redaction ends, leaves no secret
// that stands there by itself, leaves JSON that is JSON as it was, and changes
// nothing the second time.
func FuzzRedact(f *testing.F) {
	for _, body := range []string{
		`{"a":[1,{"password":"x","card":"4111 1111 1111 1111"}],"b":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.abc"}`,
		"a=b&password=%41%42&c", "<a password='x'><b>AKIAQ3EGRIBCD7YPLMNA</b></a>",
		"--b\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--b--", "password: \"x\\\"y\" api_key=z",
		`{"a":"\u0061\ud83d\ude00","cGFzc3dvcmQ9aHVudGVyMg==":1}`,
	} {
		for _, t := range []string{"application/json", "application/x-www-form-urlencoded", "text/xml", "multipart/form-data; boundary=b", "text/plain", ""} {
			f.Add(t, []byte(body), true)
		}
	}
	set, _ := redact.Named(redact.StandardPII)
	r := redact.New(set, testKeys)
	f.Fuzz(func(t *testing.T, contentType string, body []byte, cut bool) {
		if bytes.ContainsAny([]byte(contentType), "\r\n") {
			t.Skip("not a field's value")
		}
		p := post(contentType, string(body))
		p.Request.Truncated = cut
		was := json.Valid(body)
		_ = r.Redact(p)
		got := p.GetRequest().GetBody()
		if was && len(got) > 0 && !cut && contentType == "application/json" && !json.Valid(got) {
			t.Fatalf("%q became %q", body, got)
		}
		again := proto.CloneOf(p)
		_ = r.Redact(again)
		if !cut && !bytes.Equal(again.GetRequest().GetBody(), got) {
			t.Fatalf("%q became %q and then %q", body, got, again.GetRequest().GetBody())
		}
	})
}

// FuzzParse: rules are a person's, and may be anything.
func FuzzParse(f *testing.F) {
	f.Add([]byte("extends: standard\nrules:\n  - {name: a, keys: ['$.a[*].b', '*x*'], in: [json], how: keep_last:4, scope: 'app:x'}\n"))
	f.Add([]byte("undecodable: keep\ndetectors:\n  - {name: d, pattern: 'x[0-9]+', keywords: [xyz], validate: luhn}\nrules:\n  - {name: a, what: d, shadow: true}\n"))
	f.Add([]byte("rules:\n  - {name: a, path: '/users/{id}'}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		set, err := redact.Parse("fuzz", b)
		if err != nil {
			return
		}
		p := post("application/json", `{"a":[{"b":"xyz123"}],"x1":"4111 1111 1111 1111"}`)
		_ = redact.New(set, testKeys).Redact(p)
	})
}
