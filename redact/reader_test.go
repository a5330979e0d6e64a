package redact_test

import (
	"strings"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// TestS02Corners puts secrets where a reader of HTTP finds them and a careless
// redactor does not look.
func TestS02Corners(t *testing.T) {
	const secret, key = "hunter2secret", "AKIAQ3EGRIBCD7YPLMNA"
	multipart := func(body string) *capturev1.RRPair { return post("multipart/form-data; boundary=xx", body) }
	const part = "--xx\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--xx--\r\n"
	ambiguous := get("/a/" + key)
	ambiguous.Flags = append(ambiguous.Flags, capturev1.Flag_FLAG_FRAMING_AMBIGUOUS)
	coded := post("image/png", "password="+secret)
	coded.Request.Head = []byte("POST / HTTP/1.1\r\nContent-Type: image/png\r\nContent-Encoding: x-odd\r\n\r\n")
	for name, p := range map[string]*capturev1.RRPair{
		"name with spaces":         post("application/json", `{"pass word":"`+secret+`"}`),
		"name with points":         post("application/json", `{"api.key":"`+secret+`"}`),
		"escaped slashes":          post("application/json", `{"u":"https:\/\/bob:`+secret+`@h.example\/"}`),
		"cookie with a long name":  get("/", "Cookie: "+strings.Repeat("n", 200)+"="+secret),
		"name in brackets":         get("/?user[token]=" + secret),
		"preamble":                 multipart("password=" + secret + "\r\n" + part),
		"epilogue":                 multipart(part + "password=" + secret),
		"boundary's line":          multipart(strings.Replace(part, "--xx\r\n", "--xx "+key+"\r\n", 1)),
		"head with line feeds":     multipart("--xx\nContent-Disposition: form-data; name=\"password\"\n\n" + secret + "\r\n\r\nb\n--xx--\n"),
		"coding nobody knows":      coded,
		"path of what is withheld": ambiguous,
		"behind the target":        {Protocol: "http", Request: &capturev1.Message{Head: []byte("GET /a " + key + "\r\n\r\n")}},
		"processing instruction":   post("text/xml", `<?x password="`+secret+`"?><a/>`),
		"name of an element":       post("text/xml", `<`+key+`/>`),
		"references":               post("text/xml", `<a>`+references(key)+`</a>`),
	} {
		_ = standard(t).Redact(p)
		for _, s := range []string{secret, key, references(key)} {
			if where := leak(p, s); where != "" {
				t.Errorf("%s: %s", name, where)
			}
		}
	}
}

func references(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("&#" + string('0'+s[i]/10) + string('0'+s[i]%10) + ";")
	}
	return b.String()
}

// TestS02Syntax: what is put in the place of a value is written as its place
// asks for.
func TestS02Syntax(t *testing.T) {
	for in, want := range map[string]string{
		`<a><![CDATA[x<b & 4111111111111111]]></a>`: `<a><![CDATA[x<b & REDACTED-CARD-`,
		`<a b='it&apos;s 4111111111111111'/>`:       `<a b='it&apos;s REDACTED-CARD-`,
	} {
		p := post("text/xml", in)
		if err := standard(t).Redact(p); err != nil || !strings.HasPrefix(string(p.GetRequest().GetBody()), want) {
			t.Errorf("%s became %s (%v)", in, p.GetRequest().GetBody(), err)
		}
	}
}

// TestS02Bounded: bodies made for it take no more than their length asks for.
// The bound is far from what they need, and further from what a loop within a
// loop over them would take.
func TestS02Bounded(t *testing.T) {
	const n = 1 << 20 / slower
	fill := func(s string) string { return strings.Repeat(s, n/len(s)) }
	for name, p := range map[string]*capturev1.RRPair{
		"names":        post("text/plain", fill("password")),
		"values":       post("text/plain", fill("password=")),
		"keys in PEM":  post("text/plain", fill("-----BEGIN PRIVATE KEY")),
		"tokens":       post("text/plain", fill("glpat-aaaaaaaaaaaaaaaaaaaaaaaa-")),
		"declarations": post("text/xml", "<password/>"+fill("<!DOCTYPE>")),
		"depth":        post("text/xml", strings.Repeat("<nopassword>", 511)+fill("x<b/>")),
		"JSON":         post("application/json", `{"password":"`+fill(`\"`)+`"}`),
	} {
		start := time.Now()
		_ = standard(t).Redact(p)
		if took := time.Since(start); took > slower*10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}
