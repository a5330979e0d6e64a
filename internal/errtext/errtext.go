// Package errtext finds in the body of a failed answer what it says about the
// failure, and makes a template of that: what is another thing each time, such
// as numbers, ids and quoted names, is left out, so that failures of one kind
// have one template. Bodies are whatever a stranger sent: what is looked at and
// what comes out are bounded, and anything may come in.
package errtext

import (
	"bytes"
	"encoding/json"
	"html"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is looked at and what comes out.
const (
	maxBody  = 64 << 10 // bytes of a body
	maxText  = 300      // runes of a text
	maxDepth = 5        // of objects and lists in a JSON document
)

// members are those of JSON documents that say what went wrong, the most
// telling first: those of problem documents (RFC 9457), of OAuth (RFC 6749),
// and of what frameworks answer. Letters are in lower case, without _ and -.
var members = []string{
	"errordescription", "detail", "errormessage", "message", "msg", "faultstring", "error", "errors",
	"reason", "title", "description", "exception", "code",
}

// Said is what a body says went wrong, in one line: from a JSON document, from
// a page's title or an XML fault, or from the first line of a text. It is empty
// where a body says nothing.
func Said(body []byte) string {
	body = body[:min(len(body), maxBody)]
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 || bytes.IndexByte(body, 0) >= 0 {
		return ""
	}
	switch body[0] {
	case '{', '[', '"':
		text, isJSON := ofJSON(body)
		if isJSON {
			return line(text)
		}
	case '<':
		return line(ofMarkup(body))
	}
	return line(ofText(body))
}

// ofJSON reads a document as far as it goes: it may have been cut.
func ofJSON(body []byte) (text string, isJSON bool) {
	type level struct {
		list bool
		key  string // of an object: the member that is next; of a list: its own
		// value: what comes next is a member's value.
		value bool
	}
	var at []level
	best := len(members)
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	for n := 0; ; n++ {
		token, err := dec.Token()
		if err != nil {
			return text, isJSON
		}
		isJSON = n > 0 // a text may begin with a bracket, too
		depth := len(at)
		key := ""
		if depth > 0 {
			key = at[depth-1].key
		}
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{':
				at = append(at, level{})
			case '[':
				at = append(at, level{list: true, key: key})
			default:
				at = at[:depth-1]
			}
			if n := len(at); n > 0 && (v == '}' || v == ']') {
				at[n-1].value = false // of an object, what ended was a member's
			}
			if len(at) == 0 || len(at) > maxDepth {
				return text, isJSON
			}
			continue
		case string:
			switch {
			case n == 0:
				return v, true
			case !at[depth-1].list && !at[depth-1].value:
				at[depth-1].key, at[depth-1].value = folded(v), true
				continue
			}
			for rank, name := range members[:best] {
				if name == key && strings.TrimSpace(v) != "" {
					best, text = rank, v
					break
				}
			}
		}
		if depth > 0 && !at[depth-1].list {
			at[depth-1].value = false
		}
	}
}

// folded is the name of a member as members has it.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return r
	}, name)
}

// elements are those of pages and XML documents that say what went wrong.
var elements = []string{"faultstring", "message", "title", "h1"}

func ofMarkup(body []byte) string {
	folded := asciiLower(body)
	for _, name := range elements {
		from := bytes.Index(folded, []byte("<"+name))
		if from < 0 {
			continue
		}
		rest := from + 1 + len(name)
		if rest >= len(folded) || folded[rest] != '>' && folded[rest] != ' ' {
			continue
		}
		begin := bytes.IndexByte(folded[rest:], '>')
		if begin < 0 {
			continue
		}
		inner := body[rest+begin+1:]
		if end := bytes.Index(folded[rest+begin+1:], []byte("</"+name)); end >= 0 {
			inner = inner[:end]
		}
		if text := withoutTags(inner); strings.TrimSpace(text) != "" {
			return text
		}
	}
	return withoutTags(body)
}

func asciiLower(b []byte) []byte {
	out := bytes.Clone(b)
	for i, c := range out {
		if 'A' <= c && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return out
}

func withoutTags(b []byte) string {
	var out strings.Builder
	inside := false
	for _, c := range b {
		switch {
		case c == '<':
			inside = true
			out.WriteByte(' ')
		case c == '>' && inside:
			inside = false
		case !inside:
			out.WriteByte(c)
		}
	}
	return html.UnescapeString(out.String())
}

// ofText is the first line, of a Python traceback the last, where the error
// stands.
func ofText(body []byte) string {
	if bytes.HasPrefix(body, []byte("Traceback (most recent call last)")) {
		return string(body[bytes.LastIndexByte(body, '\n')+1:])
	}
	first, _, _ := bytes.Cut(body, []byte("\n"))
	return string(first)
}

// line makes one line of a text that can be shown anywhere.
func line(text string) string {
	var out strings.Builder
	space, n := false, 0
	for _, r := range text {
		switch {
		case unicode.IsSpace(r):
			space = out.Len() > 0
			continue
		case r == utf8.RuneError || !unicode.IsPrint(r):
			continue
		}
		if n++; n > maxText {
			break
		}
		if space {
			out.WriteByte(' ')
			space = false
		}
		out.WriteRune(r)
	}
	return out.String()
}
