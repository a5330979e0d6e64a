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
		{"json", func(s Secret) *Request { return body("application/json", document(s)) }},
		{"json, below", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{%s:{"a":[%s]}}`, quote(name(s)), quote(s.Value)))
		}},
		{"json, escapes", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"%s":"%s"}`, escapes(name(s)), escapes(s.Value)))
		}},
		{"json in json", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"payload":%s}`, quote(document(s))))
		}},
		{"json in base64 in json", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"payload":"%s"}`, base64.StdEncoding.EncodeToString([]byte(document(s)))))
		}},
		{"json without a type", func(s Secret) *Request { return body("", document(s)) }},
		{"json as another type", func(s Secret) *Request { return body("image/png", document(s)) }},
		{"json lines", func(s Secret) *Request {
			return body("application/x-ndjson", "{\"n\":1}\n"+document(s)+"\n")
		}},
		{"json in chunks", func(s Secret) *Request { r := body("application/json", document(s)); r.Chunked = 7; return r }},
		{"json in chunks of a byte", func(s Secret) *Request { r := body("application/json", document(s)); r.Chunked = 1; return r }},
		{"json in segments", func(s Secret) *Request { r := body("application/json", document(s)); r.Segment = 11; return r }},
		{"graphql variables", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"query":"mutation($v: String!) { login(v: $v) }","variables":{%s:%s}}`, quote(name(s)), quote(s.Value)))
		}},
		{"graphql argument", func(s Secret) *Request {
			return body("application/json", fmt.Sprintf(`{"query":%s}`, quote(fmt.Sprintf("mutation { login(%s: %s) }", name(s), quote(s.Value)))))
		}},
		{"form", func(s Secret) *Request {
			return body("application/x-www-form-urlencoded", "user=ann&"+name(s)+"="+url.QueryEscape(s.Value))
		}},
		{"form, all escapes", func(s Secret) *Request {
			return body("application/x-www-form-urlencoded", "user=ann&"+percent(name(s))+"="+percent(s.Value))
		}},
		{"query", func(s Secret) *Request {
			return &Request{Target: "/search?user=ann&" + name(s) + "=" + url.QueryEscape(s.Value) + "&page=2"}
		}},
		{"query, all escapes", func(s Secret) *Request { return &Request{Target: "/search?" + name(s) + "=" + percent(s.Value)} }},
		{"referer", func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Referer: https://shop.example/login?" + name(s) + "=" + url.QueryEscape(s.Value)}}
		}},
		{"multipart", func(s Secret) *Request {
			return body("multipart/form-data; boundary=cut", "--cut\r\nContent-Disposition: form-data; name=\""+name(s)+"\"\r\n\r\n"+s.Value+"\r\n--cut--\r\n")
		}},
		{"file in multipart", func(s Secret) *Request {
			return body("multipart/form-data; boundary=cut", "--cut\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.json\"\r\nContent-Type: application/json\r\n\r\n"+document(s)+"\r\n--cut--\r\n")
		}},
		{"xml", func(s Secret) *Request {
			return body("application/xml", "<r><"+name(s)+">"+s.Value+"</"+name(s)+"></r>")
		}},
		{"xml attribute", func(s Secret) *Request { return body("text/xml", "<r "+name(s)+"=\""+s.Value+"\"/>") }},
		{"soap cdata", func(s Secret) *Request {
			return body("application/soap+xml", "<e:Body><"+name(s)+"><![CDATA["+s.Value+"]]></"+name(s)+"></e:Body>")
		}},
		{"log line", func(s Secret) *Request {
			return body("text/plain", "level=info "+name(s)+"="+quote(s.Value)+" took=3ms")
		}},
		{"binary", func(s Secret) *Request {
			return body("application/octet-stream", "\x00\x01\x02\xff"+name(s)+"="+s.Value+"\x00")
		}},
		{"protobuf text", func(s Secret) *Request {
			return body("application/x-protobuf", "\x0a"+string(rune(len(s.Value)))+s.Value)
		}},
		{"sql in json", free(func(v string) *Request {
			return body("application/json", `{"sql":`+quote("INSERT INTO t VALUES ('"+v+"')")+`}`)
		})},
		{"header", free(func(v string) *Request {
			return &Request{Target: "/", Fields: []string{"X-Note: it is " + v + " here"}}
		})},
		{"folded header", free(func(v string) *Request { return &Request{Target: "/", Fields: []string{"X-Note: it is", " " + v}} })},
		{"cookie", func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Cookie: theme=dark; " + name(s) + "=" + strings.ReplaceAll(s.Value, " ", "")}}
		}},
		{"bearer", func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Authorization: Bearer " + s.Value}}
		}},
		{"basic", func(s Secret) *Request {
			return &Request{Target: "/", Fields: []string{"Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann:"+s.Value))}}
		}},
		{"api key", func(s Secret) *Request { return &Request{Target: "/", Fields: []string{"X-Api-Key: " + s.Value}} }},
		{"path", free(func(v string) *Request { return &Request{Target: "/files/" + url.PathEscape(v) + "/raw"} })},
		{"path, all escapes", free(func(v string) *Request { return &Request{Target: "/files/" + percent(v)} })},
		{"json name", free(func(v string) *Request { return body("application/json", `{`+quote(v)+`:1}`) })},
		{"html", free(func(v string) *Request { return body("text/html", "<p>"+v+"</p>") })},
		{"script", free(func(v string) *Request { return body("text/javascript", "const a = "+quote(v)+";") })},
		{"base64 in json", free(func(v string) *Request {
			return body("application/json", `{"blob":"`+base64.StdEncoding.EncodeToString([]byte("here it is: "+v))+`"}`)
		})},
		{"base64url in a query", free(func(v string) *Request {
			return &Request{Target: "/?blob=" + base64.RawURLEncoding.EncodeToString([]byte("here it is: "+v))}
		})},
		{"userinfo", func(s Secret) *Request {
			return body("application/json", `{"url":"https://ann:`+url.QueryEscape(s.Value)+`@db.example/x"}`)
		}},
		{"trailer", free(func(v string) *Request {
			r := body("text/plain", "some text")
			r.Chunked, r.Trailer = 4, "X-Note: "+v
			return r
		})},
		{"ambiguous framing", func(s Secret) *Request {
			r := body("application/json", document(s))
			r.Fields = []string{"Transfer-Encoding: chunked, identity", "X-Note: " + s.Value}
			return r
		}},
	}
	for _, coding := range []string{"gzip", "deflate", "raw deflate", "br", "zstd"} {
		list = append(list, Place{coding, func(s Secret) *Request {
			r := body("application/json", "")
			r.Body = packed(coding, document(s))
			r.Fields = []string{"Content-Encoding: " + strings.TrimPrefix(coding, "raw ")}
			return r
		}})
	}
	list = append(list, Place{"unknown coding", func(s Secret) *Request {
		r := body("application/json", document(s))
		r.Fields = []string{"Content-Encoding: x-none"}
		return r
	}}, Place{"gzip in gzip", func(s Secret) *Request {
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
