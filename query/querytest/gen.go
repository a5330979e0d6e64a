package querytest

import (
	"encoding/json"
	"fmt"
	"strings"

	"pgregory.net/rapid"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// The words that generated queries and pairs share, few enough that they often
// meet. Some differ only in case, or lie within each other.
var (
	words   = []string{"a", "b", "ab", "AB", "a-b", "card", "Card", "cards", "declined", "5", "42", "1.5", "x y", "ä", "", "a*b", `q"t`, `b\s`, "/"}
	methods = []string{"GET", "POST", "get", "PUT", ""}
	hosts   = []string{"shop", "Shop", "shop:80", "a.shop", "[::1]", "[::1]:80", ""}
	paths   = []string{"/", "/a", "/A", "/a/b", "/a/b/", "/card", "/a%20b", ""}
	headers = []string{"X-A", "x-a", "X-B", "Content-Length"}
	members = []string{"a", "b", "card", "x y"}
)

// QueryText generates queries that parse.
func QueryText() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string { return queryText(t, 3) })
}

func queryText(t *rapid.T, depth int) string {
	kind := 0
	if depth > 0 {
		kind = rapid.IntRange(0, 5).Draw(t, "kind")
	}
	switch kind {
	case 1, 2:
		n := rapid.IntRange(1, 3).Draw(t, "n")
		parts := make([]string, n)
		for i := range parts {
			parts[i] = queryText(t, depth-1)
		}
		return "(" + strings.Join(parts, rapid.SampledFrom([]string{" ", " AND ", " OR "}).Draw(t, "operator")) + ")"
	case 3:
		return rapid.SampledFrom([]string{"-", "NOT "}).Draw(t, "not") + queryText(t, depth-1)
	}
	return termText(t)
}

func termText(t *rapid.T) string {
	field := rapid.SampledFrom([]string{
		"", "app", "cluster", "direction", "protocol", "method", "path", "host", "query", "status", "error",
		"duration", "ttfb", "size.request", "size.response", "client", "header", "request.header", "response.header",
		"body", "request.body", "response.body", "json", "tag", "flag", "conn", "seq", "endpoint",
	}).Draw(t, "field")
	if field == "" {
		return searchValue(t, true)
	}
	value := func() string {
		if rapid.IntRange(0, 9).Draw(t, "exists") == 0 {
			return "*"
		}
		switch field {
		case "status":
			return numberValue(t, []string{"200", "404", "500", "2xx", "5xx"})
		case "duration", "ttfb":
			return numberValue(t, []string{"0", "1ms", "1.5ms", "20ms", "1s"})
		case "size.request", "size.response":
			return numberValue(t, []string{"0", "5", "10", "1KiB", "2KB"})
		case "conn", "seq":
			return numberValue(t, []string{"0", "1", "2", "7"})
		case "direction":
			return rapid.SampledFrom([]string{"inbound", "Outbound", "in*", "/out/"}).Draw(t, "direction")
		case "flag":
			return rapid.SampledFrom([]string{"truncated", "GAP", "*e*", "/^g/"}).Draw(t, "flag")
		case "body", "request.body", "response.body", "query", "error":
			return searchValue(t, false)
		case "header", "request.header", "response.header", "json", "tag":
			if rapid.Bool().Draw(t, "decimal") {
				return numberValue(t, []string{"-1", "1.5", "5", "42"})
			}
			return textValue(t, words)
		case "method":
			return textValue(t, methods)
		case "host":
			return textValue(t, hosts)
		case "path", "endpoint":
			return textValue(t, paths)
		case "client":
			return textValue(t, []string{"10.0.0.1", "10.0.0.1:80", "::1", "[::1]:80", ":80"})
		}
		return textValue(t, words)
	}
	switch field {
	case "header", "request.header", "response.header":
		field += "." + rapid.SampledFrom(headers).Draw(t, "name")
	case "tag":
		field += "." + rapid.SampledFrom([]string{"a", "A", "tls.sni", `"x y"`}).Draw(t, "name")
	case "json":
		field += "." + rapid.SampledFrom([]string{"a", "b", "[*]", "a.b", "a[0]", "a[*].b", `"x y"`, "*.*", "card.card"}).Draw(t, "path")
	}
	if n := rapid.IntRange(0, 6).Draw(t, "values"); n >= 2 && n <= 3 {
		values := make([]string, n)
		for i := range values {
			values[i] = value()
		}
		return field + ":(" + strings.Join(values, " ") + ")"
	}
	return field + ":" + value()
}

// Quote writes text in quotes, as queries have it.
func Quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

func bareWord(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune(` ()"\*:-/<>='`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

func textValue(t *rapid.T, from []string) string {
	s := rapid.SampledFrom(from).Draw(t, "text")
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		if s != "" {
			return bareWord(s)
		}
	case 1:
		return bareWord(s) + "*"
	case 2:
		if s != "" && s != "/" {
			return "/" + strings.NewReplacer("/", `\/`, " ", `\s`, `\`, `\\`, "[", `\[`, "]", `\]`, "*", `\*`).Replace(s) + "/"
		}
	}
	return Quote(s)
}

func searchValue(t *rapid.T, text bool) string {
	s := rapid.SampledFrom(words).Filter(func(s string) bool { return s != "" }).Draw(t, "word")
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		return "*" + bareWord(s) + "*"
	case 1:
		return bareWord(s) + "*" + bareWord(rapid.SampledFrom(words).Draw(t, "second"))
	case 2:
		if !text && s != "/" {
			return "/" + strings.NewReplacer("/", `\/`, `\`, `\\`, "*", `\*`).Replace(s) + "/"
		}
	case 3:
		return Quote(s)
	}
	return bareWord(s)
}

func numberValue(t *rapid.T, from []string) string {
	a := rapid.SampledFrom(from).Draw(t, "number")
	switch op := rapid.SampledFrom([]string{"", "<", "<=", ">", ">=", ".."}).Draw(t, "op"); op {
	case "":
		return a
	case "<":
		if a == "0" {
			return "<=0"
		}
		return "<" + a
	case "..":
		// The list is sorted, but for the classes at its end.
		if rapid.Bool().Draw(t, "open") {
			return a + ".."
		}
		return ".." + a
	default:
		return op + a
	}
}

// RandomPair generates pairs that generated queries often match. A coding is
// applied to some bodies.
func RandomPair() *rapid.Generator[*capturev1.RRPair] {
	return rapid.Custom(func(t *rapid.T) *capturev1.RRPair {
		word := func() string { return rapid.SampledFrom(words).Draw(t, "word") }
		p := &capturev1.RRPair{
			Id:        rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"),
			Source:    &capturev1.Source{App: word(), Cluster: word(), ProxyId: "proxy-0", Epoch: make([]byte, 16)},
			ProxySeq:  1,
			Direction: capturev1.Direction(rapid.Int32Range(0, 2).Draw(t, "direction")),
			Protocol:  word(),
			Client:    rapid.SampledFrom([]string{"10.0.0.1:80", "10.0.0.11:800", "[::1]:80", ""}).Draw(t, "client"),
			Conn:      rapid.Uint64Range(0, 3).Draw(t, "conn"),
			Seq:       rapid.Uint64Range(0, 3).Draw(t, "seq"),
			Method:    rapid.SampledFrom(methods).Draw(t, "method"),
			Host:      rapid.SampledFrom(hosts).Draw(t, "host"),
			Path:      rapid.SampledFrom(paths).Draw(t, "path"),
			Query:     word(),
			Status:    rapid.SampledFrom([]int32{0, 200, 204, 404, 500, 503}).Draw(t, "status"),
			Error:     word(),
			Request:   randomMessage(t),
			Response:  randomMessage(t),
		}
		at := func() int64 {
			return rapid.SampledFrom([]int64{0, 1e18, 1e18 + 1e6, 1e18 + 15e5, 1e18 + 2e7, 1e18 + 1e9 + 1}).Draw(t, "at")
		}
		p.Timing = &capturev1.Timing{RequestFirst: at(), ResponseFirst: at(), ResponseLast: at()}
		for range rapid.IntRange(0, 2).Draw(t, "flags") {
			p.Flags = append(p.Flags, capturev1.Flag(rapid.Int32Range(1, 9).Draw(t, "flag")))
		}
		for range rapid.IntRange(0, 2).Draw(t, "tags") {
			if p.Tags == nil {
				p.Tags = map[string]string{}
			}
			p.Tags[rapid.SampledFrom([]string{"a", "A", "tls.sni", "x y"}).Draw(t, "tag")] = word()
		}
		return p
	})
}

func randomMessage(t *rapid.T) *capturev1.Message {
	if rapid.IntRange(0, 5).Draw(t, "message") == 0 {
		return nil
	}
	m := &capturev1.Message{}
	var body string
	if rapid.Bool().Draw(t, "json") {
		b, err := json.Marshal(RandomJSON().Draw(t, "body"))
		if err != nil {
			t.Fatal(err)
		}
		body = string(b)
	} else {
		for range rapid.IntRange(0, 4).Draw(t, "words") {
			body += rapid.SampledFrom(words).Draw(t, "word") + rapid.SampledFrom([]string{" ", "", "-", "\n"}).Draw(t, "space")
		}
	}
	m.Body, m.BodySize = []byte(body), uint64(len(body))
	var head strings.Builder
	head.WriteString("a start line\r\n")
	if coding := rapid.SampledFrom([]string{"", "", "gzip", "br", "zstd", "deflate", "rot13"}).Draw(t, "coding"); coding != "" && body != "" {
		encoded, err := Encode(coding, m.Body)
		if err != nil {
			t.Fatal(err)
		}
		m.Body = encoded
		fmt.Fprintf(&head, "content-encoding: %s\r\n", coding)
	}
	for range rapid.IntRange(0, 3).Draw(t, "headers") {
		fmt.Fprintf(&head, "%s: %s\r\n", rapid.SampledFrom(headers).Draw(t, "name"), rapid.SampledFrom(words).Draw(t, "value"))
	}
	head.WriteString("\r\n")
	m.Head = []byte(head.String())
	return m
}

// RandomJSON generates values of encoding/json that generated queries have
// paths into.
func RandomJSON() *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any { return randomJSON(t, 3) })
}

func randomJSON(t *rapid.T, depth int) any {
	limit := 4
	if depth > 0 {
		limit = 8
	}
	switch rapid.IntRange(0, limit).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return json.Number(rapid.SampledFrom([]string{"5", "42", "1.5", "-1", "5e0", "0"}).Draw(t, "number"))
	case 3, 4:
		return rapid.SampledFrom(words).Draw(t, "string")
	case 5, 6:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "n"))
		for i := range list {
			list[i] = randomJSON(t, depth-1)
		}
		return list
	default:
		object := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			object[rapid.SampledFrom(members).Draw(t, "member")] = randomJSON(t, depth-1)
		}
		return object
	}
}
