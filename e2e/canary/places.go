package canary

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// Request is one to send: head without what frames the body.
type Request struct {
	Target string
	Fields []string
	Type   string
	Body   []byte
	// Chunked cuts the body into chunks of this size; Segment the whole into
	// writes of this size.
	Chunked, Segment int
	Trailer          string
}

// Place is a place and a way of writing.
type Place struct {
	Name string
	// Of makes a request that has the secret there; nil when the secret does
	// not go there.
	Of func(Secret) *Request
	// Refused: servers refuse such a request.
	Refused bool
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // texts always encode
	}
	return string(b)
}

func escapes(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

func percent(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

func packed(coding string, body string) []byte {
	var b bytes.Buffer
	var w io.WriteCloser
	switch coding {
	case "gzip":
		w = gzip.NewWriter(&b)
	case "deflate":
		w = zlib.NewWriter(&b)
	case "raw deflate":
		w, _ = flate.NewWriter(&b, 6) // 6 is a level
	case "br":
		w = brotli.NewWriter(&b)
	case "zstd":
		w, _ = zstd.NewWriter(&b) // without options nothing is wrong
	}
	_, _ = w.Write([]byte(body)) // to memory
	_ = w.Close()
	return b.Bytes()
}

// name is the field that has the secret.
func name(s Secret) string {
	if s.Name != "" {
		return s.Name
	}
	return "note"
}

// free is for secrets that are told by their shape.
func free(f func(v string) *Request) func(Secret) *Request {
	return func(s Secret) *Request {
		if s.Name != "" {
			return nil
		}
		return f(s.Value)
	}
}

func body(contentType, text string) *Request {
	return &Request{Target: "/", Type: contentType, Body: []byte(text)}
}

func document(s Secret) string {
	return fmt.Sprintf(`{"user":"ann","items":[{"n":1,%s:%s}],"more":true}`, quote(name(s)), quote(s.Value))
}

// Places are all of them.
func Places() []Place {
	list := []Place{
		{Name: "json", Of: func(s Secret) *Request { return body("application/json", document(s)) }},
		{Name: "json, below", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{%s:{"a":[%s]}}`, quote(name(s)), quote(s.Value)))
		}},
		{Name: "json, escapes", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"%s":"%s"}`, escapes(name(s)), escapes(s.Value)))
		}},
		{Name: "json in json", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"payload":%s}`, quote(document(s))))
		}},
		{Name: "json in base64 in json", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"payload":"%s"}`, base64.StdEncoding.EncodeToString([]byte(document(s)))))
		}},
		{Name: "json without a type", Of: func(s Secret) *Request { return body("", document(s)) }},
		{Name: "json as another type", Of: func(s Secret) *Request { return body("image/png", document(s)) }},
		{Name: "json lines", Of: func(s Secret) *Request {
			return body("application/x-ndjson", "{\"n\":1}\n"+document(s)+"\n")
		}},
		{Name: "json in chunks", Of: func(s Secret) *Request { r := body("application/json", document(s)); r.Chunked = 7; return r }},
		{Name: "json in chunks of a byte", Of: func(s Secret) *Request { r := body("application/json", document(s)); r.Chunked = 1; return r }},
		{Name: "json in segments", Of: func(s Secret) *Request { r := body("application/json", document(s)); r.Segment = 11; return r }},
		{Name: "graphql variables", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"query":"mutation($v: String!) { login(v: $v) }","variables":{%s:%s}}`, quote(name(s)), quote(s.Value)))
		}},
		{Name: "graphql argument", Of: func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"query":%s}`, quote(fmt.Sprintf("mutation { login(%s: %s) }", name(s), quote(s.Value)))))
		}},
		{Name: "form", Of: func(s Secret) *Request {
			return body("application/x-www-form-urlencoded", "user=ann&"+name(s)+"="+url.QueryEscape(s.Value))
		}},
		{Name: "form, all escapes", Of: func(s Secret) *Request {
			return body("application/x-www-form-urlencoded", "user=ann&"+percent(name(s))+"="+percent(s.Value))
		}},
		{Name: "query", Of: func(s Secret) *Request {
			return &Request{Target: "/search?user=ann&" + name(s) + "=" + url.QueryEscape(s.Value) + "&page=2"}
		}},
		{Name: "query, all escapes", Of: func(s Secret) *Request { return &Request{Target: "/search?" + name(s) + "=" + percent(s.Value)} }},
		{Name: "referer", Of: func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Referer: https://shop.example/login?" + name(s) + "=" + url.QueryEscape(s.Value)}}
		}},
		{Name: "multipart", Of: func(s Secret) *Request {
			return body("multipart/form-data; boundary=cut", "--cut\r\nContent-Disposition: form-data; name=\""+name(s)+"\"\r\n\r\n"+s.Value+"\r\n--cut--\r\n")
		}},
		{Name: "file in multipart", Of: func(s Secret) *Request {
			return body("multipart/form-data; boundary=cut", "--cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n"+document(s)+"\r\n--cut--\r\n")
		}},
		{Name: "xml", Of: func(s Secret) *Request {
			return body("application/xml", "<r><"+name(s)+">"+s.Value+"</"+name(s)+"></r>")
		}},
		{Name: "xml attribute", Of: func(s Secret) *Request { return body("text/xml", "<r "+name(s)+"=\""+s.Value+"\"/>") }},
		{Name: "soap cdata", Of: func(s Secret) *Request {
			return body("application/soap+xml", "<e:Body><"+name(s)+"><![CDATA["+s.Value+"]]></"+name(s)+"></e:Body>")
		}},
		{Name: "log line", Of: func(s Secret) *Request {
			return body("text/plain", "level=info "+name(s)+"="+quote(s.Value)+" took=3ms")
		}},
		{Name: "binary", Of: func(s Secret) *Request {
			return body("application/octet-stream", "\x00\x01\x02\xff"+name(s)+"="+s.Value+"\x00")
		}},
		{Name: "protobuf text", Of: func(s Secret) *Request {
			return body("application/x-protobuf", "\x0a"+string(rune(len(s.Value)))+s.Value)
		}},
		{Name: "sql in json", Of: free(func(v string) *Request {
			return body("application/json", `{"sql":`+quote("INSERT INTO t VALUES ('"+v+"')")+`}`)
		})},
		{Name: "header", Of: free(func(v string) *Request {
			return &Request{Target: "/", Fields: []string{"X-Note: it is " + v + " here"}}
		})},
		{Name: "folded header", Of: free(func(v string) *Request { return &Request{Target: "/", Fields: []string{"X-Note: it is", " " + v}} })},
		{Name: "cookie", Of: func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Cookie: theme=dark; " + name(s) + "=" + strings.ReplaceAll(s.Value, " ", "")}}
		}},
		{Name: "bearer", Of: func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Authorization: Bearer " + s.Value}}
		}},
		{Name: "basic", Of: func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+s.Value))}}
		}},
		{Name: "api key", Of: func(s Secret) *Request { return &Request{Target: "/", Fields: []string{"X-Api-Key: " + s.Value}} }},
		{Name: "path", Of: free(func(v string) *Request { return &Request{Target: "/files/" + url.PathEscape(v) + "/raw"} })},
		{Name: "path, all escapes", Of: free(func(v string) *Request { return &Request{Target: "/files/" + percent(v)} })},
		{Name: "json name", Of: free(func(v string) *Request { return body("application/json", `{`+quote(v)+`:1}`) })},
		{Name: "html", Of: free(func(v string) *Request { return body("text/html", "<p>"+v+"</p>") })},
		{Name: "script", Of: free(func(v string) *Request { return body("text/javascript", "const a = "+quote(v)+";") })},
		{Name: "base64 in json", Of: free(func(v string) *Request {
			return body("application/json", `{"blob":"`+base64.StdEncoding.EncodeToString([]byte("here it is: "+v))+`"}`)
		})},
		{Name: "base64url in a query", Of: free(func(v string) *Request {
			return &Request{Target: "/?blob=" + base64.RawURLEncoding.EncodeToString([]byte("here it is: "+v))}
		})},
		{Name: "userinfo", Of: func(s Secret) *Request {
			return body("application/json", `{"url":"https://ann:`+url.QueryEscape(s.Value)+`@db.example/x"}`)
		}},
		{Name: "trailer", Of: free(func(v string) *Request {
			r := body("text/plain", "some text")
			r.Chunked, r.Trailer = 4, "X-Note: "+v
			return r
		})},
		{Refused: true, Name: "ambiguous framing", Of: func(s Secret) *Request {
			r := body("application/json", document(s))
			r.Fields = []string{"Transfer-Encoding: chunked, identity", "X-Note: " + s.Value}
			return r
		}},
	}
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "br", "zstd"} {
		list = append(list, Place{Name: coding, Of: func(s Secret) *Request {
			r := body("application/json", "")
			r.Body = packed(coding, document(s))
			r.Fields = []string{"Content-Encoding: " + strings.TrimPrefix(coding, "raw ")}
			return r
		}})
	}
	list = append(list, Place{Name: "unknown coding", Of: func(s Secret) *Request {
		r := body("application/json", document(s))
		r.Fields = []string{"Content-Encoding: x-none"}
		return r
	}}, Place{Name: "gzip in gzip", Of: func(s Secret) *Request {
		r := body("application/json", "")
		r.Body = packed("gzip", string(packed("gzip", document(s))))
		r.Fields = []string{"Content-Encoding: gzip, gzip"}
		return r
	}})
	return list
}

// Forms are the ways in which a secret could stand in a byte of somebody's.
func Forms(s Secret) map[string][]byte {
	v := s.Value
	forms := map[string][]byte{
		"as it is":     []byte(v),
		"without gaps": []byte(strings.NewReplacer(" ", "", "-", "").Replace(v)),
		"query":        []byte(url.QueryEscape(v)),
		"path":         []byte(url.PathEscape(v)),
		"json":         []byte(strings.Trim(quote(v), `"`)),
		"\\u":          []byte(escapes(v)),
		"%":            []byte(percent(v)),
		"%, upper":     []byte(strings.ToUpper(percent(v))),
	}
	// Base64 of a text that has it somewhere: what does not depend on its
	// neighbours, at each of three places.
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64url": base64.URLEncoding} {
			b := enc.EncodeToString([]byte(strings.Repeat("x", shift) + v + "xxx"))
			from, to := (shift*8+5)/6, (shift+len(v))*8/6
			forms[fmt.Sprint(name, " ", shift)] = []byte(b[from:to])
		}
	}
	return forms
}
