package query

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Completion is what can stand at a place of a text that need not be a query
// yet.
type Completion struct {
	// Column and Length are the characters that a Choice takes the place of,
	// counted as in Error; Length may be 0.
	Column, Length int
	// Field is set where a value of it stands: those that occur are known to
	// the store only. Key is the field's key, Prefix what is written of the
	// value so far.
	Field  Field
	Key    string
	Prefix string
	// Options begin with what is written already, those that are likeliest
	// first.
	Options []Choice
}

// Choice is one way to go on.
type Choice struct {
	// Text stands in place of the characters at Column. One that ends with a
	// colon, a dot or an opening bracket wants to be continued at once.
	Text string
	// Description is for people; empty where the text says enough.
	Description string
}

// Complete says what can stand before the character at a column, from 1; one
// behind the last is the end. Columns outside the text are taken for the
// nearest within.
func Complete(src string, column int) Completion {
	at := 0
	for range column - 1 {
		if at >= len(src) {
			break
		}
		_, n := utf8.DecodeRuneInString(src[at:])
		at += n
	}
	s := scanTo(src[:at])
	word := src[s.word:at]
	c := Completion{Column: utf8.RuneCountInString(src[:s.word]) + 1, Length: utf8.RuneCountInString(word)}
	switch {
	case s.list != nil:
		c.value(*s.list, s.list.Key, word)
	default:
		if t, valueAt, ok := fieldOf(word); ok {
			n := utf8.RuneCountInString(word[:valueAt])
			c.Column, c.Length = c.Column+n, c.Length-n
			c.value(t, t.Key, word[valueAt:])
			break
		}
		if !s.quoted { // nothing is known of free text
			c.terms(word, s.operand)
		}
	}
	return c
}

// place is where a text ends.
type place struct {
	// word is where the word begins that goes on to the end.
	word   int
	quoted bool
	// list is the field whose list of values is open.
	list *Term
	// operand: there is a term before the word, so that an operator can follow.
	operand bool
}

// scanTo walks over src in the way of the parser, but takes everything.
func scanTo(src string) place {
	var s place
	for i := 0; i < len(src); {
		r, n := utf8.DecodeRuneInString(src[i:])
		c := src[i]
		switch {
		case unicode.IsSpace(r):
			s.ended(src[s.word:i])
			s.word = i + n
		case c == '\\' && i+1 < len(src):
			_, m := utf8.DecodeRuneInString(src[i+1:])
			n += m
		case c == '"':
			q := parser{src: src, pos: i}
			if _, err := q.quoted(); err != nil {
				s.quoted = true
				return s
			}
			n = q.pos - i
		case c == '-' && i == s.word && s.list == nil:
			s.word = i + n
		case c == '(' && i == s.word:
			s.operand = false
			s.word = i + n
		case c == '(':
			if t, at, ok := fieldOf(src[s.word:i]); ok && s.word+at == i {
				s.list = &t
				s.word = i + n
			}
		case c == ')':
			s.list = nil
			s.operand = true
			s.word = i + n
		}
		i += n
	}
	return s
}

// ended takes note of a word with a space behind it.
func (s *place) ended(word string) {
	switch word {
	case "":
	case "AND", "OR", "NOT":
		s.operand = false
	default:
		s.operand = true
	}
}

// fieldOf takes a word apart that begins with a field and a colon; at is where
// its value begins.
func fieldOf(word string) (t Term, at int, ok bool) {
	p := parser{src: word}
	colon := p.fieldEnd()
	if colon < 0 {
		return Term{}, 0, false
	}
	t, err := p.field(colon)
	return t, colon + 1, err == nil
}

// terms offers fields and operators.
func (c *Completion) terms(word string, operand bool) {
	folded := lower(word)
	for _, i := range fields {
		text := string(i.Name) + ":"
		if i.Keyed() {
			text = string(i.Name) + "."
		}
		if strings.HasPrefix(text, folded) && text != folded {
			c.Options = append(c.Options, Choice{text, i.Description})
		}
	}
	if word == "" || strings.ToUpper(word) == word {
		operators := []Choice{{"NOT", "What follows must not hold"}}
		if operand {
			operators = append([]Choice{{"OR", "One side must hold"}, {"AND", "Both sides must hold, as without it"}}, operators...)
		}
		for _, o := range operators {
			if strings.HasPrefix(o.Text, word) && o.Text != word {
				c.Options = append(c.Options, o)
			}
		}
	}
}

// value offers values of a field, as far as the language knows them.
func (c *Completion) value(t Term, key, written string) {
	c.Field, c.Key = t.Field, key
	c.Prefix = strings.TrimPrefix(written, `"`)
	info, _ := Lookup(t.Field)
	for _, o := range valuesOf(info) {
		if strings.HasPrefix(lower(o.Text), lower(written)) && o.Text != written {
			c.Options = append(c.Options, o)
		}
	}
}

// valuesOf is what can be written for a field.
func valuesOf(i Info) []Choice {
	var out []Choice
	add := func(description string, texts ...string) {
		for _, t := range texts {
			out = append(out, Choice{t, description})
		}
	}
	switch i.Type {
	case TypeEnum:
		add("", i.Values...)
	case TypeStatus:
		add("a class", "2xx", "3xx", "4xx", "5xx")
		add("", "200", "201", "204", "301", "302", "304", "400", "401", "403", "404", "409", "422", "429", "500", "502", "503", "504")
		add("a range", "400..499")
	case TypeDuration:
		add("longer", ">100ms", ">500ms", ">1s", ">5s")
		add("shorter", "<10ms", "<100ms")
		add("a range", "100ms..1s")
	case TypeSize:
		add("larger", ">1KiB", ">64KiB", ">1MiB")
		add("smaller", "<1KiB")
		add("a range", "1KiB..64KiB")
	case TypeNumber:
		add("", "0", ">0", "0..9")
	}
	switch i.Name {
	case FieldMethod:
		add("", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
	case FieldProtocol:
		add("", "http")
	}
	if !slices.ContainsFunc(out, func(o Choice) bool { return o.Text == "*" }) {
		add("any value at all", "*")
	}
	return out
}
