package query

import (
	"regexp"
	"strings"
	"unsafe"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// Need is something that is in the texts (see Texts) of every pair that a
// query selects, so that a store can pass over what does not have it. It is
// either a leaf, which has a Text, or All or Any of others.
type Need struct {
	// Text occurs in one of the texts, but for the case of ASCII letters. It is
	// in lower case.
	Text string
	// Words are words of Text, which occur in the texts as words: neither
	// continues beyond what is here. Not every word of Text is among them.
	Words    []string
	All, Any []*Need
}

// Holds evaluates the formula; leaf tells of one with a Text. A nil Need
// always holds.
func (n *Need) Holds(leaf func(*Need) bool) bool {
	switch {
	case n == nil:
		return true
	case n.All != nil:
		for _, c := range n.All {
			if !c.Holds(leaf) {
				return false
			}
		}
		return true
	case n.Any != nil:
		for _, c := range n.Any {
			if c.Holds(leaf) {
				return true
			}
		}
		return false
	}
	return leaf(n)
}

// Needs derives what every pair that q selects has in its texts; nil when
// nothing follows from q.
func (q *Query) Needs() *Need {
	if q == nil || q.Root == nil {
		return nil
	}
	return needs(q.Root)
}

func needs(n Node) *Need {
	switch n := n.(type) {
	case And:
		var list []*Need
		for _, c := range n.Nodes {
			list = append(list, needs(c))
		}
		return allOf(list...)
	case Or:
		list := make([]*Need, len(n.Nodes))
		for i, c := range n.Nodes {
			list[i] = needs(c)
		}
		return oneOf(list)
	case Text:
		return needsOf(n.Value)
	case Term:
		return termNeeds(n)
	}
	return nil // of a Not nothing follows
}

func termNeeds(t Term) *Need {
	value := needsOf
	var key *Need
	switch t.Field {
	case FieldBody, FieldRequestBody, FieldResponseBody:
	case FieldHeader, FieldRequestHeader, FieldResponseHeader:
		key, value = need(t.Key, true, true), headerNeeds
	default:
		// Columns are the index's business. What JSON has may be written with
		// escapes, and numbers in many ways.
		return nil
	}
	list := make([]*Need, len(t.Values))
	for i, v := range t.Values {
		list[i] = value(v)
	}
	return allOf(key, oneOf(list))
}

// needsOf is for text that stands as it is.
func needsOf(v Value) *Need {
	switch v.Op {
	case OpWord:
		return partNeeds(v.Parts, need)
	case OpPhrase:
		return need(v.Text, false, false)
	case OpRegex:
		if prefix := literalPrefix(v.Text); prefix != "" {
			return need(prefix, false, false)
		}
	}
	return nil
}

// headerNeeds is for the value of a header, of which every space may have been
// the end of a folded line.
func headerNeeds(v Value) *Need {
	piece := func(s string, left, right bool) *Need {
		var list []*Need
		pieces := strings.Split(s, " ")
		for i, p := range pieces {
			list = append(list, need(p, left || i > 0, right || i < len(pieces)-1))
		}
		return allOf(list...)
	}
	switch v.Op {
	case OpEqual:
		return piece(lower(v.Text), true, true)
	case OpWildcard, OpWord:
		return partNeeds(v.Parts, piece)
	}
	return nil
}

// partNeeds is for parts with anything between them, of which the first begins
// a word and the last ends one.
func partNeeds(parts []string, need func(s string, left, right bool) *Need) *Need {
	var list []*Need
	for i, p := range parts {
		list = append(list, need(lower(p), i == 0, i == len(parts)-1))
	}
	return allOf(list...)
}

// need is a leaf. left and right tell that no word continues beyond that end.
func need(text string, left, right bool) *Need {
	if text == "" {
		return nil
	}
	n := &Need{Text: text}
	for i := 0; i < len(text); {
		if !isWordByte(text[i]) {
			i++
			continue
		}
		from := i
		for i < len(text) && isWordByte(text[i]) {
			i++
		}
		if (from > 0 || left) && (i < len(text) || right) {
			n.Words = append(n.Words, text[from:i])
		}
	}
	return n
}

func allOf(list ...*Need) *Need {
	var all []*Need
	for _, n := range list {
		switch {
		case n == nil:
		case n.All != nil:
			all = append(all, n.All...)
		default:
			all = append(all, n)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return &Need{All: all}
}

func oneOf(list []*Need) *Need {
	for _, n := range list {
		if n == nil {
			return nil
		}
	}
	if len(list) == 1 {
		return list[0]
	}
	return &Need{Any: list}
}

func literalPrefix(expr string) string {
	re, err := regexp.Compile(expr)
	if err != nil {
		return ""
	}
	prefix, _ := re.LiteralPrefix()
	return lower(prefix)
}

// Texts calls do with each text of a pair in which words are searched: path,
// query string, fields of headers and trailers, and the content of bodies. do
// must not keep or change them.
func Texts(p *capturev1.RRPair, do func(text []byte)) {
	do(bytesOf(p.GetPath()))
	do(bytesOf(p.GetQuery()))
	for _, m := range [...]*capturev1.Message{p.GetRequest(), p.GetResponse()} {
		_, section := httphead.StartLine(m.GetHead())
		do(section)
		do(m.GetTrailers())
		do(Content(m))
	}
}

// IsEncoded reports whether a body's content is not what its bytes are, so
// that a text may be found in it that does not stand in them.
func IsEncoded(m *capturev1.Message) bool {
	return len(m.GetBody()) > 0 && !m.GetBodyDecoded() && NamesCoding(m.GetHead())
}

// NamesCoding reports whether a header block names a content coding.
func NamesCoding(head []byte) bool {
	for f := range httphead.Fields(head) {
		if f.Is("content-encoding") {
			return true
		}
	}
	return false
}

// WordByte tells whether a character is of a word, and which it is in lower
// case. Words are the longest runs of such characters.
func WordByte(c byte) (lowered byte, ok bool) {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A', true
	}
	return c, isWordByte(c)
}

// bytesOf lends the bytes of a text, which nobody may write to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
