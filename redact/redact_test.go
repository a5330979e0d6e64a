package redact_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/redact"
)

var testKeys = func() *redact.Keys {
	k, err := redact.ParseKeys("AAECAwQFBgcICQoLDA0ODw==")
	if err != nil {
		panic(err)
	}
	return k
}()

func standard(tb testing.TB) *redact.Redactor {
	tb.Helper()
	set, ok := redact.Named(redact.Standard)
	if !ok {
		tb.Fatal("no standard rules")
	}
	return redact.New(set, testKeys)
}

func with(tb testing.TB, rules string) *redact.Redactor {
	tb.Helper()
	set, err := redact.Parse("test", []byte(rules))
	if err != nil {
		tb.Fatal(err)
	}
	return redact.New(set, testKeys)
}

// post is a request with a body and an empty answer.
func post(contentType, body string) *capturev1.RRPair {
	return &capturev1.RRPair{
		Protocol: "http", Method: "POST", Path: "/orders", Host: "shop.example",
		Request: &capturev1.Message{
			Head: []byte("POST /orders HTTP/1.1\r\nHost: shop.example\r\nContent-Type: " + contentType + "\r\n\r\n"),
			Body: []byte(body), BodySize: uint64(len(body)), BodyHash: []byte("0123456789abcdef"),
		},
		Response: &capturev1.Message{Head: []byte("HTTP/1.1 204 No Content\r\n\r\n")},
	}
}

func get(target string, fields ...string) *capturev1.RRPair {
	path, query, _ := strings.Cut(target, "?")
	return &capturev1.RRPair{
		Protocol: "http", Method: "GET", Path: path, Query: query,
		Request: &capturev1.Message{Head: []byte("GET " + target + " HTTP/1.1\r\n" + strings.Join(append(fields, "", ""), "\r\n"))},
	}
}

func receipts(p *capturev1.RRPair) string {
	var all []string
	for _, r := range p.GetRedactions() {
		all = append(all, fmt.Sprintf("%s @ %s = %s x%d", r.GetRule(), r.GetLocation(), r.GetType(), r.GetCount()))
	}
	return strings.Join(all, "; ")
}

// secrets are values that standard has to find by their shape.
var secrets = map[string]string{
	"jwt":    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
	"card":   "4111 1111 1111 1111",
	"iban":   "GB82 WEST 1234 5698 7654 32",
	"ssn":    "536-90-4399",
	"aws":    "AKIAQ3EGRIBCD7YPLMNA",
	"github": "ghp_" + strings.Repeat("aB3", 12),
	"slack":  "xoxb-" + "123456789012-abcdefghijkl",
	"stripe": "sk_live_" + "abcdefghijklmnop1234",
	"pem":    "-----BEGIN PRIVATE KEY----- MIIEvQIBADANBgkqhkiG9w0BAQEFAASC -----END PRIVATE KEY-----",
}

// TestS02Places puts each secret into each place in each way of writing it
// that HTTP has, and looks for it in all that is left.
func TestS02Places(t *testing.T) {
	quoted := func(s string) string { b, _ := json.Marshal(s); return string(b) }
	escapes := func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return b.String()
	}
	percent := func(s string) string {
		var b strings.Builder
		for i := range len(s) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
		return b.String()
	}
	zip := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write([]byte(s))
		_ = z.Close()
		return b.String()
	}
	encoded := func(p *capturev1.RRPair, coding string) *capturev1.RRPair {
		p.Request.Head = bytes.Replace(p.GetRequest().GetHead(), []byte("\r\n\r\n"), []byte("\r\nContent-Encoding: "+coding+"\r\n\r\n"), 1)
		return p
	}
	places := map[string]func(s string) *capturev1.RRPair{
		"header":            func(s string) *capturev1.RRPair { return get("/", "X-Note: see "+s+", please") },
		"folded header":     func(s string) *capturev1.RRPair { return get("/", "X-Note: see", " "+s) },
		"cookie":            func(s string) *capturev1.RRPair { return get("/", "Cookie: a=b; note="+s) },
		"query":             func(s string) *capturev1.RRPair { return get("/a?x=1&note=" + url.QueryEscape(s) + "&y=2") },
		"query, all escape": func(s string) *capturev1.RRPair { return get("/a?note=" + percent(s)) },
		"path":              func(s string) *capturev1.RRPair { return get("/a/" + url.PathEscape(s) + "/b") },
		"referer": func(s string) *capturev1.RRPair {
			return get("/", "Referer: https://x.example/a?b="+url.QueryEscape(s))
		},
		"json": func(s string) *capturev1.RRPair {
			return post("application/json", `{"a":[1,{"note":`+quoted("it is "+s)+`}]}`)
		},
		"json, escapes": func(s string) *capturev1.RRPair { return post("application/json", `{"note":"`+escapes(s)+`"}`) },
		"json, name":    func(s string) *capturev1.RRPair { return post("application/json", `{`+quoted(s)+`:1}`) },
		"json in json": func(s string) *capturev1.RRPair {
			return post("application/json", `{"note":`+quoted(`{"deep":`+quoted(s)+`}`)+`}`)
		},
		"json, base64": func(s string) *capturev1.RRPair {
			return post("application/json", `{"note":"`+base64.StdEncoding.EncodeToString([]byte("the secret is "+s))+`"}`)
		},
		"json without type": func(s string) *capturev1.RRPair { return post("", `{"note":`+quoted(s)+`}`) },
		"ndjson": func(s string) *capturev1.RRPair {
			return post("application/x-ndjson", "{\"a\":1}\n{\"note\":"+quoted(s)+"}\n")
		},
		"form": func(s string) *capturev1.RRPair {
			return post("application/x-www-form-urlencoded", "a=1&note="+url.QueryEscape(s))
		},
		"text": func(s string) *capturev1.RRPair {
			return post("text/plain; charset=utf-8", "Dear all,\n"+s+"\nRegards")
		},
		"html":          func(s string) *capturev1.RRPair { return post("text/html", "<p>"+s+"<br>") },
		"xml":           func(s string) *capturev1.RRPair { return post("text/xml", "<a><note>"+s+"</note></a>") },
		"xml attribute": func(s string) *capturev1.RRPair { return post("application/soap+xml", `<a note="`+s+`"/>`) },
		"xml cdata":     func(s string) *capturev1.RRPair { return post("text/xml", "<a><![CDATA["+s+"]]></a>") },
		"multipart": func(s string) *capturev1.RRPair {
			return post("multipart/form-data; boundary=xx", "--xx\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n"+s+"\r\n--xx--\r\n")
		},
		"multipart file": func(s string) *capturev1.RRPair {
			return post("multipart/form-data; boundary=xx", "--xx\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n{\"note\":"+quoted(s)+"}\r\n--xx--\r\n")
		},
		"gzip": func(s string) *capturev1.RRPair {
			return encoded(post("application/json", zip(`{"note":`+quoted(s)+`}`)), "gzip")
		},
		"gzip twice": func(s string) *capturev1.RRPair {
			return encoded(post("application/json", zip(zip(`{"note":`+quoted(s)+`}`))), "gzip, gzip")
		},
		"unknown coding":  func(s string) *capturev1.RRPair { return encoded(post("application/json", s), "x-odd") },
		"not that coding": func(s string) *capturev1.RRPair { return encoded(post("application/json", s), "gzip") },
		"image that is text": func(s string) *capturev1.RRPair {
			return post("image/png", "note="+s)
		},
		"binary":                        func(s string) *capturev1.RRPair { return post("application/octet-stream", "\x00\x01"+s+"\xff\xfe\x00") },
		"protobuf that looks like text": func(s string) *capturev1.RRPair { return post("application/x-protobuf", "\nG"+s) },
		"json that is none": func(s string) *capturev1.RRPair {
			return post("application/json", `{"note": `+s+`, "password": hunter2}`)
		},
		"trailers": func(s string) *capturev1.RRPair {
			p := post("text/plain", "x")
			p.Request.Trailers = []byte("X-Note: " + s + "\r\n\r\n")
			return p
		},
		"interim": func(s string) *capturev1.RRPair {
			p := post("text/plain", "x")
			p.Response.Interim = [][]byte{[]byte("HTTP/1.1 103 Early Hints\r\nLink: </" + url.PathEscape(s) + ">\r\nX-Note: " + s + "\r\n\r\n")}
			return p
		},
		"chunk extension": func(s string) *capturev1.RRPair {
			p := post("text/plain", "x")
			p.Request.Chunks = []*capturev1.Chunk{{Size: 1, Line: []byte("1;note=" + s)}}
			return p
		},
		"ambiguous": func(s string) *capturev1.RRPair {
			p := post("text/plain", s)
			p.Request.Head = []byte("POST /?" + s + " HTTP/1.1\r\nX-Note: " + s + "\r\n\r\n")
			p.Flags = append(p.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS)
			return p
		},
		"opaque": func(s string) *capturev1.RRPair {
			return &capturev1.RRPair{Protocol: "opaque", Request: &capturev1.Message{Body: []byte(s), BodySize: 3}}
		},
		"error": func(s string) *capturev1.RRPair { p := get("/"); p.Error = "cannot use " + s; return p },
		"tag":   func(s string) *capturev1.RRPair { p := get("/"); p.Tags = map[string]string{"note": s}; return p },
	}
	r := standard(t)
	for kind, secret := range secrets {
		for place, build := range places {
			p := build(secret)
			_ = r.Redact(p) // an error withholds, which is as good
			if where := leak(p, secret); where != "" {
				t.Errorf("%s in %s: %s\nreceipts: %s", kind, place, where, receipts(p))
			}
			if !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_REDACTED) && !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD) {
				t.Errorf("%s in %s: neither redacted nor withheld", kind, place)
			}
		}
	}
}

// leak looks for a secret in all of a pair, in several ways of writing it.
func leak(p *capturev1.RRPair, secret string) string {
	b, err := proto.Marshal(p)
	if err != nil {
		return err.Error()
	}
	quoted, _ := json.Marshal(secret)
	for _, s := range []string{
		secret, strings.ReplaceAll(secret, " ", ""), url.QueryEscape(secret), url.PathEscape(secret),
		strings.Trim(string(quoted), `"`), base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if bytes.Contains(b, []byte(s)) {
			return fmt.Sprintf("%q is still there: %q", s, b)
		}
	}
	return ""
}

func TestByName(t *testing.T) {
	r := standard(t)
	for _, c := range []struct {
		name string
		pair *capturev1.RRPair
		want string // of request's head and body, one after the other, without what stands before
		in   string
	}{
		{"bearer", get("/", "Authorization: Bearer abc.def"), "Authorization: Bearer REDACTED-AUTH-", "head"},
		{"basic", get("/", "authorization: Basic dXNlcjpwYXNz"), "authorization: Basic REDACTED-AUTH-", "head"},
		{"odd scheme", get("/", "Authorization: abc"), "Authorization: REDACTED-AUTH-", "head"},
		{"api key", get("/", "X-Api-Key: 12345"), "X-Api-Key: REDACTED-KEY-", "head"},
		{"cookies", get("/", "Cookie: theme=dark; sid=1"), "Cookie: theme=REDACTED-COOKIE-", "head"},
		{"query", get("/login?user=a&password=b%20c"), "/login?user=a&password=REDACTED-PASSWORD-", "head"},
		{"json", post("application/json", `{"user":"a","Pass_word" : "b", "n":1}`), `{"user":"a","Pass_word" : "REDACTED-PASSWORD-`, "body"},
		{"json number", post("application/json", `{"password":1234}`), `{"password":"REDACTED-PASSWORD-`, "body"},
		{"json below", post("application/json", `{"credentials":{"a":["x",2]}}`), `{"credentials":{"a":["REDACTED-SECRET-`, "body"},
		{"form", post("application/x-www-form-urlencoded", "user=a&client_secret=b"), "user=a&client_secret=REDACTED-SECRET-", "body"},
		{"xml", post("text/xml", "<a><password>b</password></a>"), "<a><password>REDACTED-PASSWORD-", "body"},
		{"xml below", post("text/xml", "<a><ns:Password><v>b</v></ns:Password></a>"), "<a><ns:Password><v>REDACTED-PASSWORD-", "body"},
		{"text", post("text/plain", "curl -d password=hunter2 x"), "curl -d password=REDACTED-PASSWORD-", "body"},
		{"log line", post("text/plain", `level=info api_key: "abc" n=1`), `level=info api_key: "REDACTED-TOKEN-`, "body"},
		{"graphql", post("application/json", `{"query":"mutation { login(password: \"x\") }","variables":{"password":"x"}}`), `{"query":"mutation { login(password: \"REDACTED-PASSWORD-`, "body"},
		{"multipart", post("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=password\r\n\r\nx\r\n--b--"), "--b\r\nContent-Disposition: form-data; name=password\r\n\r\nREDACTED-PASSWORD-", "body"},
	} {
		if err := r.Redact(c.pair); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		got := string(c.pair.GetRequest().GetBody())
		if c.in == "head" {
			got = string(c.pair.GetRequest().GetHead())
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q in it", c.name, got, c.want)
		}
		if len(c.pair.GetRedactions()) == 0 {
			t.Errorf("%s: no receipt", c.name)
		}
	}
}

func TestUntouched(t *testing.T) {
	r := standard(t)
	for _, p := range []*capturev1.RRPair{
		get("/a/b?c=d&page=2", "Host: a", "User-Agent: curl/8"),
		post("application/json", `{"id":"018f2f6e-7f2a-7b8c-9d3e-0123456789ab","total_tokens":17,"token_type":"bearer","next":"MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=","at":1732380000123,"ns":1732380000123456789,"price":12.50,"trace":"4bf92f3577b34da6a3ce929d0e0e4736"}`),
		post("text/html", "<html><body><h1>Forgot your password?</h1></body></html>"),
		post("application/json", `not json at all, but nothing in it is of interest`),
		post("image/png", "\x89PNG\r\n\x1a\n\x00\x00"),
		post("application/json", `{"order":"4111111111111112","phone":"030 1234567","date":"2026-11-23 10:00:00"}`),
	} {
		want := proto.Clone(p)
		if err := r.Redact(p); err != nil {
			t.Errorf("%s: %v", p.GetRequest().GetBody(), err)
		}
		if !proto.Equal(p, want) {
			t.Errorf("changed: %s\nto: %v", p.GetRequest().GetBody(), p)
		}
	}
}

func TestTokens(t *testing.T) {
	r := standard(t)
	a, b := get("/", "X-Api-Key: same"), post("application/json", `{"api_key":"same"}`)
	for _, p := range []*capturev1.RRPair{a, b} {
		if err := r.Redact(p); err != nil {
			t.Fatal(err)
		}
	}
	token := testKeys.Tokens("same")[0]
	if len(token) != 12 || !bytes.Contains(a.GetRequest().GetHead(), []byte("KEY-"+token)) || !bytes.Contains(b.GetRequest().GetBody(), []byte("TOKEN-"+token)) {
		t.Errorf("token %q is not in both: %s %s", token, a.GetRequest().GetHead(), b.GetRequest().GetBody())
	}
	// Once more changes nothing.
	again := proto.Clone(a)
	if err := r.Redact(a); err != nil || !proto.Equal(a, again) {
		t.Errorf("redacting twice: %v, %v", a, err)
	}
	both, err := redact.ParseKeys("EBESExQVFhcYGRobHB0eHw==, AAECAwQFBgcICQoLDA0ODw==")
	if err != nil {
		t.Fatal(err)
	}
	if got := both.Tokens("same"); len(got) != 2 || got[1] != token || got[0] == token {
		t.Errorf("with a new key: %v", got)
	}
	for _, bad := range []string{"", "x y", "AAEC", "AAECAwQFBgcICQoLDA0ODw==,"} {
		if _, err := redact.ParseKeys(bad); err == nil {
			t.Errorf("%q is no key", bad)
		}
	}
}

func TestHow(t *testing.T) {
	for how, want := range map[string]string{
		"how: mask":                          `{"a":"********","b":1}`,
		"how: remove":                        `{"a":"","b":1}`,
		"how: keep_last:4":                   `{"a":"****1111","b":1}`,
		"how: token, type: X":                `{"a":"REDACTED-X-` + testKeys.Tokens("4111111111111111")[0] + `","b":1}`,
		"how: withhold":                      "",
		"shadow: true":                       `{"a":"4111111111111111","b":1}`,
		"scope: 'method:PUT'":                `{"a":"4111111111111111","b":1}`,
		"side: response":                     `{"a":"4111111111111111","b":1}`,
		"how: mask, scope: 'path:/orders'":   `{"a":"********","b":1}`,
		"how: mask, keys: ['$.a']":           `{"a":"********","b":1}`,
		"how: mask, keys: ['$.c']":           `{"a":"4111111111111111","b":1}`,
		"how: mask, keys: ['$.b'], what: ''": `{"a":"4111111111111111","b":"********"}`,
	} {
		if !strings.Contains(how, "keys:") {
			how += ", keys: [a]"
		}
		r := with(t, "rules:\n  - {name: r, in: [json], "+how+"}\n")
		p := post("application/json", `{"a":"4111111111111111","b":1}`)
		if err := r.Redact(p); err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if got := string(p.GetRequest().GetBody()); got != want {
			t.Errorf("%s: got %s, want %s; %s", how, got, want, receipts(p))
		}
	}
	r := with(t, "rules:\n  - {name: r, what: card, format: preserve}\n")
	p := post("text/plain", "pay 4111-1111-1111-1111 now")
	if err := r.Redact(p); err != nil {
		t.Fatal(err)
	}
	got := string(p.GetRequest().GetBody())
	if got == "pay 4111-1111-1111-1111 now" || len(got) != 27 || got[:4] != "pay " || got[8] != '-' {
		t.Errorf("format is not preserved: %q", got)
	}
}

// TestOddParts: a part whose name or bytes another reader may see otherwise
// goes, and the others stay.
func TestOddParts(t *testing.T) {
	r := standard(t)
	for _, head := range []string{
		`Content-Disposition: form-data; name="password`,
		"Content-Disposition: form-data; name=a\r\nContent-Disposition: form-data; name=password",
		"Content-Disposition: form-data; name=a\r\nContent-Transfer-Encoding: x-odd",
	} {
		p := post("multipart/form-data; boundary=b", "--b\r\n"+head+"\r\n\r\nhunter2\r\n--b\r\nContent-Disposition: form-data; name=user\r\n\r\nann\r\n--b--")
		if err := r.Redact(p); err != nil {
			t.Errorf("%s: %v", head, err)
		}
		if got := string(p.GetRequest().GetBody()); strings.Contains(got, "hunter2") || !strings.Contains(got, "ann") {
			t.Errorf("%s: left %q", head, got)
		}
	}
}

// TestTwice: what was redacted is left alone by whoever looks at it again, the
// forwarder after the proxy or a sweep of the store.
func TestTwice(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(`{"password":"hunter2","note":"4111 1111 1111 1111"}`))
	_ = z.Close()
	p := post("application/json", zipped.String())
	p.Request.Head = bytes.Replace(p.GetRequest().GetHead(), []byte("\r\n\r\n"), []byte("\r\nContent-Encoding: gzip\r\nCookie: a=b\r\nAuthorization: Basic eDp5\r\n\r\n"), 1)
	r := standard(t)
	if err := r.Redact(p); err != nil || !p.GetRequest().GetBodyDecoded() {
		t.Fatalf("%v: %v", err, p)
	}
	want := proto.CloneOf(p)
	if err := r.Redact(p); err != nil || !proto.Equal(p, want) {
		t.Errorf("%v: %v\nbecame %v", err, want, p)
	}
	for _, how := range []string{"mask", "keep_last:4", "remove"} {
		r := with(t, "rules:\n  - {name: r, in: [json], keys: [password], how: '"+how+"'}\n")
		p := post("application/json", `{"password":"hunter2"}`)
		if err := r.Redact(p); err != nil {
			t.Fatal(err)
		}
		want := proto.CloneOf(p)
		if err := r.Redact(p); err != nil || !proto.Equal(p, want) {
			t.Errorf("%s: %v became %v", how, want, p)
		}
	}
}

func TestSQLLiterals(t *testing.T) {
	r := with(t, "rules:\n  - {name: r, in: [sql], how: mask}\n")
	for in, want := range map[string]string{
		`SELECT * FROM t1 WHERE a = 'it''s' AND b=12 AND "c9" = $1`:    `SELECT * FROM t1 WHERE a = '********' AND b=******** AND "c9" = $1`,
		`insert into t values ('a', E'b\'c', $x$d'e$x$, -1.5e3, NULL)`: `insert into t values ('********', E'********', $x$********$x$, -********, NULL)`,
		`delete from t where a = 'open`:                                `delete from t where a = '********`,
		`Selected 5 of 'those'`:                                        `Selected 5 of 'those'`,
	} {
		p := post("application/json", `{"query":`+string(must(json.Marshal(in)))+`}`)
		if err := r.Redact(p); err != nil {
			t.Error(err)
		}
		var got struct{ Query string }
		if err := json.Unmarshal(p.GetRequest().GetBody(), &got); err != nil || got.Query != want {
			t.Errorf("%s\nbecame %s\nwant   %s (%v)", in, got.Query, want, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestFailsClosed(t *testing.T) {
	r := standard(t)
	deep := strings.Repeat("[", 600) + `"password"` + strings.Repeat("]", 600)
	for name, p := range map[string]*capturev1.RRPair{
		"malformed": post("application/json", `{"password": x}`),
		"too deep":  post("application/json", deep),
		"entities":  post("text/xml", `<!DOCTYPE a [<!ENTITY x "password">]><a>&x;</a>`),
		"no xml":    post("text/xml", `<a password="x>`),
		"no parts":  post("multipart/form-data; boundary=q", "password=x"),
		"no gzip": func() *capturev1.RRPair {
			p := post("a/b", "password")
			p.Request.Head = []byte("POST / HTTP/1.1\r\nContent-Encoding: gzip\r\nCookie2: x\r\nHost: h\r\n\r\n")
			return p
		}(),
	} {
		err := r.Redact(p)
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(p.GetRequest().GetBody()) > 0 || !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD) || len(p.GetRequest().GetBodyHash()) > 0 || !p.GetRequest().GetTruncated() {
			t.Errorf("%s: kept %v", name, p)
		}
		if h := string(p.GetRequest().GetHead()); strings.Contains(h, "Cookie2") || !strings.HasPrefix(h, "POST /") {
			t.Errorf("%s: head %q", name, h)
		}
	}
}

func TestCutShort(t *testing.T) {
	r := standard(t)
	for in, want := range map[string]string{
		`{"a":"b","password":"hun`:   `{"a":"b","password":`,
		`{"a":"b","c":"4111 1111 11`: `{"a":"b","c":`,
		`[{"a":1},{"a":12`:           `[{"a":1},{"a":`,
	} {
		p := post("application/json", in)
		p.Request.Truncated, p.Request.BodySize = true, 1000
		if err := r.Redact(p); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if got := string(p.GetRequest().GetBody()); got != want || len(p.GetRequest().GetBodyHash()) == 0 || len(p.GetRedactions()) > 0 {
			t.Errorf("%s: got %q, want %q; %v", in, got, want, p)
		}
	}
}

// manyNames is a set with more names than a scanner has states.
func manyNames() string {
	var b strings.Builder
	b.WriteString("rules:\n  - {name: a, keys: [x")
	for i := range 510 {
		fmt.Fprintf(&b, ", %0120d", i)
	}
	b.WriteString("]}")
	return b.String()
}

func TestErrorsHaveLines(t *testing.T) {
	for text, want := range map[string]string{
		"rules:\n  - {name: a, what: cards}":                         `line 2: rule "a": what: no detector "cards"`,
		"rules:\n  - {name: a, keys: [x]}\n  - {name: a, keys: [x]}": `line 3: rule "a": it is there twice`,
		"rules:\n  - {name: a, kyes: [x]}":                           `line 2: unknown field "kyes"`,
		"rules:\n  - {name: a}":                                      "it would take every value",
		"rules:\n  - {name: a, keys: [x], how: hide}":                `how: "hide"`,
		"rules:\n  - {name: a, keys: [x], scope: 'nope:1'}":          "scope:",
		"rules:\n  - {name: a, what: '/(/'}":                         "what:",
		"rules:\n  - {name: a, keys: [x], in: [heade]}":              `in: "heade"`,
		"undecodable: maybe":                                         `undecodable: "maybe"`,
		manyNames():                                                  "characters in all",
		"ruels: []":                                                  "ruels",
		"":                                                           "empty",
	} {
		_, err := redact.Parse("test", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q in it", text, err, want)
		}
	}
}

// jsonPair has 2 KiB of JSON in its answer, as an interface gives it.
func jsonPair() *capturev1.RRPair {
	var b strings.Builder
	b.WriteString(`{"items":[`)
	for i := 0; b.Len() < 2000; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":%d,"name":"article %d","price":%d.99,"currency":"EUR","in_stock":true,"tags":["new","sale"]}`, i*7919, i, i*13%100)
	}
	b.WriteString(`]}`)
	p := get("/api/v1/articles?page=2&sort=price", "Host: shop.example", "User-Agent: Mozilla/5.0", "Accept: application/json", "Accept-Encoding: gzip", "X-Request-Id: 7f3a")
	p.Response = &capturev1.Message{
		Head: []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT\r\nServer: demo\r\nCache-Control: no-store\r\n\r\n"),
		Body: []byte(b.String()), BodySize: uint64(b.Len()),
	}
	return p
}

func BenchmarkRedact(b *testing.B) {
	r := standard(b)
	secret := jsonPair()
	secret.Request.Head = bytes.Replace(secret.GetRequest().GetHead(), []byte("X-Request-Id: 7f3a"), []byte("Authorization: Bearer abcdefghijklmnop"), 1)
	secret.Response.Body = bytes.Replace(secret.GetResponse().GetBody(), []byte(`{"items"`), []byte(`{"password":"x","items"`), 1)
	for name, p := range map[string]*capturev1.RRPair{"untouched": jsonPair(), "redacted": secret} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(p.GetResponse().GetBody()) + len(p.GetResponse().GetHead()) + len(p.GetRequest().GetHead())))
			for b.Loop() {
				c := p
				if name == "redacted" { // what is not, does not change
					c = proto.CloneOf(p)
				}
				if err := r.Redact(c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
