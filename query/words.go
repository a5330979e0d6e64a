package query

import (
	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// A word is a run of ASCII letters and digits, as long as can be, in lower
// case. Everything else separates words.

// Texts calls f with each text of a pair in which words are searched: path,
// query string, header lines, trailer lines and bodies (see Content), each as
// it stands, in any case. Words are those of one text; they never go on in the
// next. What f is given is lent, and not to be changed.
func Texts(p *capturev1.RRPair, f func(text []byte)) {
	f([]byte(p.GetPath()))
	f([]byte(p.GetQuery()))
	for _, m := range [...]*capturev1.Message{p.GetRequest(), p.GetResponse()} {
		_, section := httphead.StartLine(m.GetHead())
		f(section)
		f(m.GetTrailers())
		f(Content(m))
	}
}

// Needed says which words the Texts of a pair have at least when a query
// matches it, so that whoever knows words of pairs, or of many pairs together,
// leaves out those that cannot match. It is one of: a Word; any of Nodes (Any);
// all of Nodes. The zero value needs nothing.
type Needed struct {
	Word  string
	Any   bool
	Nodes []Needed
}

// Nothing reports that no word is needed: everything may match.
func (n Needed) Nothing() bool { return n.Word == "" && !n.Any && len(n.Nodes) == 0 }

// In reports whether a set of words has what is needed. has may say yes to
// words that are not there.
func (n Needed) In(has func(word string) bool) bool {
	if n.Word != "" {
		return has(n.Word)
	}
	for _, c := range n.Nodes {
		if c.In(has) == n.Any {
			return n.Any
		}
	}
	return !n.Any
}

// RequiredWords gives the words that every match has. A query whose terms are
// of other kinds (a text within words, a regular expression) needs nothing.
func (q *Query) RequiredWords() Needed {
	if q == nil || q.Root == nil {
		return Needed{}
	}
	return required(q.Root)
}

func required(n Node) Needed {
	switch n := n.(type) {
	case And:
		return needAll(mapNodes(n.Nodes))
	case Or:
		return needAny(mapNodes(n.Nodes))
	case Text:
		return valueWords(n.Value)
	case Term:
		switch n.Field {
		case FieldBody, FieldRequestBody, FieldResponseBody:
			return needAny(valuesWords(n.Values))
		case FieldHeader, FieldRequestHeader, FieldResponseHeader:
			// The name stands in the same lines as the value.
			return needAll([]Needed{wordsOf([]string{n.Key}, true), needAny(valuesWords(n.Values))})
		}
		// Other fields are not among the texts, or, as those of JSON, may be
		// written in another way there.
	}
	return Needed{}
}

func mapNodes(nodes []Node) []Needed {
	out := make([]Needed, len(nodes))
	for i, n := range nodes {
		out[i] = required(n)
	}
	return out
}

func valuesWords(values []Value) []Needed {
	out := make([]Needed, len(values))
	for i, v := range values {
		out[i] = valueWords(v)
	}
	return out
}

func valueWords(v Value) Needed {
	switch v.Op {
	case OpEqual:
		return wordsOf([]string{v.Text}, true)
	case OpWord, OpWildcard:
		return wordsOf(v.Parts, true)
	case OpPhrase:
		// It may begin and end within words.
		return wordsOf([]string{v.Text}, false)
	}
	return Needed{}
}

// wordsOf needs the words of parts that are whole: those that do not touch a
// star, nor, unless the ends are bounded, an end of the whole.
func wordsOf(parts []string, bounded bool) Needed {
	var words []Needed
	for i, part := range parts {
		for from := 0; from < len(part); {
			if !isWordByte(part[from]) {
				from++
				continue
			}
			to := from + 1
			for to < len(part) && isWordByte(part[to]) {
				to++
			}
			left := from > 0 || bounded && i == 0
			right := to < len(part) || bounded && i == len(parts)-1
			if left && right {
				words = append(words, Needed{Word: lower(part[from:to])})
			}
			from = to
		}
	}
	return needAll(words)
}

func needAll(nodes []Needed) Needed {
	var all []Needed
	for _, n := range nodes {
		switch {
		case n.Nothing():
		case n.Word == "" && !n.Any:
			all = append(all, n.Nodes...)
		default:
			all = append(all, n)
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return Needed{Nodes: all}
}

func needAny(nodes []Needed) Needed {
	for _, n := range nodes {
		if n.Nothing() {
			return Needed{}
		}
	}
	if len(nodes) == 1 {
		return nodes[0]
	}
	return Needed{Any: true, Nodes: nodes}
}
