package redact_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/redact"
)

// nested writes a text as JSON in JSON texts, or as base64 in base64.
func nested(text string, deep int, base bool) string {
	for range deep {
		if base {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		} else {
			text = `{"a":` + string(must(json.Marshal(text))) + `}`
		}
	}
	return text
}

// TestS01Readers: what a reader of each format takes for a secret goes,
// however the format lets it be written.
func TestS01Readers(t *testing.T) {
	const secret = "hunter2secret"
	multi := func(head, body string) *capturev1.RRPair {
		return post("multipart/form-data; boundary=xx", "--xx\r\n"+head+"\r\n\r\n"+body+"\r\n--xx--\r\n")
	}
	chunk := post("text/plain", "x")
	chunk.Request.Chunks = []*capturev1.Chunk{{Size: 1, Line: []byte("1 password=" + secret)}}
	base := base64.StdEncoding.EncodeToString
	jwt := "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	long := strings.Repeat("n", 200)
	for name, c := range map[string]struct {
		pair   *capturev1.RRPair
		secret string
		kept   string // stands in the body afterwards
	}{
		"html input":             {post("text/html", `<form><input type=text name=user value=ann><input type="hidden" name="password" value="`+secret+`"/></form>`), secret, "value=ann"},
		"html, value first":      {post("text/html", `<INPUT VALUE='`+secret+`' NAME='api_key'>`), secret, "NAME='api_key'"},
		"html, without quotes":   {post("text/html", `<input name=password value=`+secret+`>`), secret, "<input name=password"},
		"html, type":             {post("text/html", `<input type=password name=p1 value="`+secret+`">`), secret, "p1"},
		"html textarea":          {post("text/html", `<textarea name=client_secret rows=3>`+secret+"</textarea>"), secret, "</textarea>"},
		"html meta":              {post("text/html", `<meta name="csrf-token" content="`+secret+`">`), secret, "csrf-token"},
		"html references":        {post("text/html", "<p>"+references("AKIAQ3EGRIBCD7YPLMNA")+"</p>"), references("AKIAQ3EGRIBCD7YPLMNA"), "</p>"},
		"part in base64":         {multi("Content-Disposition: form-data; name=f; filename=a.json\r\nContent-Type: application/json\r\nContent-Transfer-Encoding: base64", base([]byte(`{"user":"ann","password":"`+secret+`"}`))), base([]byte(secret))[:12], base([]byte(`{"user":"ann","p`))[:16]},
		"part in base64, field":  {multi("Content-Disposition: form-data; name=password\r\nContent-Transfer-Encoding: base64", base([]byte(secret))), base([]byte(secret)), "name=password"},
		"part quoted-printable":  {multi("Content-Disposition: form-data; name=note\r\nContent-Transfer-Encoding: quoted-printable", "password=3Dhunt=\r\ner2secret"), "hunt=\r\ner2secret", "name=note"},
		"json in json, 9 deep":   {post("application/json", nested(`{"password":"`+secret+`"}`, 9, false)), secret, `"a"`},
		"json in json, 11 deep":  {post("application/json", `{"x":`+nested(`4111 1111 1111 1111`, 11, false)+`}`), "4111 1111 1111 1111", `"x"`},
		"base64, 6 deep":         {post("application/json", `{"x":"`+nested("the password=hunter2secret is", 6, true)+`"}`), nested("the password=hunter2secret is", 6, true), `"x"`},
		"jwt behind a word":      {post("text/plain", "the jwt_"+jwt+" is"), jwt, "the jwt_"},
		"events, array":          {post("text/event-stream", "event: x\ndata: {\"n\":1,\"password\":[\""+secret+"\",2]}\n\n"), secret, `"n":1`},
		"events, array of texts": {post("text/event-stream", "data: [\"4111 1111 1111 1111\",\"b\"]\r\n\r\n"), "4111 1111 1111 1111", `"b"`},
		"events, many lines":     {post("text/event-stream", "data: {\"password\":\ndata: \""+secret+"\",\ndata: \"user\":\"ann\"}\n\n"), secret, "ann"},
		"text, array":            {post("text/plain", `level=info password=["a","`+secret+`"] n=1`), secret, "n=1"},
		"text, object":           {post("text/plain", `level=info "credentials": {"a": {"b":"`+secret+`"}} n=1`), secret, "n=1"},
		"long name, in front":    {post("application/json", `{"password`+long+`":"`+secret+`","n":1}`), secret, `"n":1`},
		"long name, in the text": {post("text/plain", "a password_"+long+"="+secret+" n=1"), secret, "n=1"},
		"long name, form":        {post("application/x-www-form-urlencoded", long+"password"+long+"="+secret+"&n=1"), secret, "n=1"},
		"xml, comment":           {post("text/xml", "<a><b>AKIAQ3EG<!-- x -->RIBCD7YPLMNA</b><n>1</n></a>"), "RIBCD7YPLMNA", "<n>1</n>"},
		"xml, cdata":             {post("text/xml", "<a><b>4111 1111 <![CDATA[1111 1111]]></b><n>1</n></a>"), "1111 1111", "<n>1</n>"},
		"xml, name and comment":  {post("text/xml", "<a><password>hunter2<!-- x -->secret</password><n>1</n></a>"), "secret", "<n>1</n>"},
		"graphql variable":       {post("application/json", `{"query":"mutation M($p: String!) {\n login(user: $u, password:\n $p) { id } }","variables":{"u":"ann","p":"`+secret+`"}}`), secret, "ann"},
		"graphql, variables 1st": {post("application/json", `[{"variables":{"u":"ann","p":{"x":["`+secret+`"]}},"query":"mutation { login(password:$p) }"}]`), secret, "ann"},
		"sql values":             {post("application/json", `{"sql":"INSERT INTO users (name, password, n) VALUES ('ann', '`+secret+`', 1), ('bob', E'`+secret+`', 2)"}`), secret, "ann"},
		"sql identified by":      {post("application/json", `{"sql":"CREATE USER ann IDENTIFIED BY '`+secret+`'"}`), secret, "ann"},
		"sql password":           {post("text/plain", "ALTER ROLE ann WITH PASSWORD '"+secret+"' LOGIN"), secret, "LOGIN"},
		"named by gitleaks":      {post("application/json", `{"asana_client":"`+strings.Repeat("0a1b", 8)+`","n":1}`), strings.Repeat("0a1b", 8), `"n":1`},
		"named, in text":         {post("text/plain", "export ASANA_CLIENT="+strings.Repeat("0a1b", 8)+" n=1"), strings.Repeat("0a1b", 8), "n=1"},
	} {
		if err := standard(t).Redact(c.pair); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got := c.pair.GetRequest().GetBody()
		if bytes.Contains(got, []byte(c.secret)) || !bytes.Contains(got, []byte(c.kept)) {
			t.Errorf("%s: left %q", name, got)
		}
		if len(c.pair.GetRedactions()) == 0 {
			t.Errorf("%s: no receipt", name)
		}
	}
	_ = standard(t).Redact(chunk)
	if got := string(chunk.GetRequest().GetChunks()[0].GetLine()); got != "1" {
		t.Errorf("a chunk's line without ;: %q", got)
	}
	variables := get("/graphql?query=" + url.QueryEscape("query { me(token: $t) { id } }") + "&variables=" + url.QueryEscape(`{"t":"`+secret+`"}`))
	_ = standard(t).Redact(variables)
	if where := leak(variables, secret); where != "" {
		t.Errorf("graphql in a query: %s", where)
	}
	// Absolute targets, also behind a path of their own.
	for _, path := range []string{"http://ann:" + secret + "@h/x", "/proxy/https://ann:" + secret + "@h/x", "http://a/x/y://b:" + secret + "@c"} {
		p := get(path)
		_ = standard(t).Redact(p)
		if where := leak(p, secret); where != "" {
			t.Errorf("%s: %s", path, where)
		}
	}
}

// TestS04TooDeep: values in values, deeper than anybody looks, are withheld.
func TestS04TooDeep(t *testing.T) {
	const card = "4111 1111 1111 1111"
	for name, p := range map[string]*capturev1.RRPair{
		"json":   post("application/json", nested(card, 14, false)),
		"base64": post("application/json", `{"x":"`+nested("the password=hunter2secret is", 18, true)+`"}`),
		"query":  get("/?x=" + url.QueryEscape(nested("the password=hunter2secret is", 18, true))),
		"path":   get("/" + url.PathEscape(nested("the password=hunter2secret is", 18, true))),
	} {
		err := standard(t).Redact(p)
		if err == nil || !slices.Contains(p.GetFlags(), capturev1.Flag_FLAG_WITHHELD) || len(p.GetRequest().GetBody()) > 0 || len(p.GetPath()) > 1000 || len(p.GetQuery()) > 0 || len(p.GetRequest().GetHead()) > 1000 {
			t.Errorf("%s: %v, left %.2000v", name, err, p)
		}
		if r := receipts(p); name != "query" && name != "path" && !strings.Contains(r, redact.ReasonBudget) {
			t.Errorf("%s: the receipts say %s", name, r)
		}
	}
}

// TestS04CutNumber: of a body that is cut short no part of a number stays.
func TestS04CutNumber(t *testing.T) {
	for in, want := range map[string]string{
		"pay with 4111 1111 1111 11":   "pay with ",
		"pay with 4111-1111-1111 1111": "pay with ",
		"from GB82 WEST 1234 5698 76":  "from ",
		"all is WELL, it s":            "all is WELL, it ",
		"data: 4111 1111":              "data: ",
	} {
		p := post("text/plain", in)
		p.Request.Truncated, p.Request.BodySize = true, 1000
		if err := standard(t).Redact(p); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if got := string(p.GetRequest().GetBody()); got != want {
			t.Errorf("%s: left %q, want %q", in, got, want)
		}
	}
	p := post("text/event-stream", "data: a\n\ndata: 4111 1111 1111 1")
	p.Request.Truncated, p.Request.BodySize = true, 1000
	if err := standard(t).Redact(p); err != nil || string(p.GetRequest().GetBody()) != "data: a\n\n" {
		t.Errorf("events: left %q (%v)", p.GetRequest().GetBody(), err)
	}
}

// TestS24Slow is TestS02Bounded for what has been slow before.
func TestS24Slow(t *testing.T) {
	deep := func() string {
		var b strings.Builder
		for i := range 400 {
			fmt.Fprintf(&b, `{"%s%d":`, strings.Repeat("k", 40), i)
		}
		b.WriteString(`["4111 1111 1111 1111"` + strings.Repeat(`,"4111 1111 1111 1111"`, 20_000/slower) + `]` + strings.Repeat("}", 400))
		return b.String()
	}()
	long := get("/" + strings.Repeat("a://b", 100_000/slower))
	var places strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&places, `,"k%d":"4111 1111 1111 1111"`, i)
	}
	for name, p := range map[string]*capturev1.RRPair{
		"path": long, "deep findings": post("application/json", deep),
		"many places": post("application/json", `{"a":1`+places.String()+`}`),
		"brackets":    post("text/plain", strings.Repeat("password=[", 100_000/slower)),
		"tags":        post("text/html", strings.Repeat("<input name=password value=", 40_000/slower)),
		"statement":   post("text/plain", "insert into t (password) values "+strings.Repeat("('x'),(", 100_000/slower)),
		"shapes":      post("text/plain", strings.Repeat("ops_eyJ sc_a live_ dt0c01. ", 30_000/slower)),
		"wholes":      post("text/plain", strings.Repeat("q~ _mmk t3blbkfj sourcegraph ", 30_000/slower)),
		"events":      post("text/event-stream", strings.Repeat("data: [\n", 100_000/slower)),
		"pieces":      post("text/xml", "<password>"+strings.Repeat("x<!-- -->", 100_000/slower)+"</password>"),
		"variables":   post("application/json", `{"variables":{"query":"`+strings.Repeat("password:$p ", 80_000/slower)+`"}}`),
	} {
		start := time.Now()
		_ = standard(t).Redact(p)
		took := time.Since(start)
		t.Logf("%-14s %v", name, took)
		if took > slower*10*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if n := len(receipts(p)); n > 64*1000 {
			t.Errorf("%s: %d characters of receipts", name, n)
		}
	}
}
