package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
)

// jsonPath leads from the root of a JSON text to values in it.
type jsonPath []jsonStep

// jsonStep is one step: into a member by name, into an element by index, or
// into all of either.
type jsonStep struct {
	name  string
	index int // -1: name counts
	any   bool
}

// parseJSONPath reads user.email, items[0].sku, items[*].sku, items.*.sku,
// [0].id and user."first name".
func parseJSONPath(s string) (jsonPath, error) {
	var path jsonPath
	for first := true; s != ""; first = false {
		if s[0] == '[' {
			inner, rest, ok := strings.Cut(s[1:], "]")
			if !ok {
				return nil, errors.New("unclosed bracket")
			}
			s = rest
			if inner == "*" {
				path = append(path, jsonStep{index: -1, any: true})
				continue
			}
			n, err := strconv.ParseUint(inner, 10, 31)
			if err != nil {
				return nil, fmt.Errorf("index %q is neither a number nor a star", inner)
			}
			path = append(path, jsonStep{index: int(n)})
			continue
		}
		if !first {
			if s[0] != '.' {
				return nil, fmt.Errorf("no dot before %q", s)
			}
			s = s[1:]
		}
		if s != "" && s[0] == '"' {
			p := parser{src: s}
			name, err := p.quoted()
			if err != nil {
				return nil, errors.New("unclosed quote")
			}
			path = append(path, jsonStep{name: name, index: -1})
			s = s[p.pos:]
			continue
		}
		end := strings.IndexAny(s, ".[")
		if end < 0 {
			end = len(s)
		}
		name := s[:end]
		s = s[end:]
		switch {
		case name == "":
			return nil, errors.New("empty step")
		case name == "*":
			path = append(path, jsonStep{index: -1, any: true})
		case !plainMember(name):
			return nil, fmt.Errorf("quotes are needed around %s", name)
		default:
			path = append(path, jsonStep{name: name, index: -1})
		}
		if s == "." {
			return nil, errors.New("empty step")
		}
	}
	return path, nil
}

func plainMember(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-/@$", r)
	})
}

// String is the canonical form, which parses to the same path.
func (path jsonPath) String() string {
	var b strings.Builder
	for i, s := range path {
		switch {
		case s.any:
			b.WriteString("[*]")
			continue
		case s.index >= 0:
			fmt.Fprintf(&b, "[%d]", s.index)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		if plainMember(s.name) {
			b.WriteString(s.name)
		} else {
			b.WriteString(quote(s.name))
		}
	}
	return b.String()
}

// jsonKind is the first byte of a JSON value: '{', '[', '"', 't', 'f', 'n' or
// '0' for any number.
type jsonKind byte

// visit calls f for each value at the path in text, which may hold several
// JSON texts one after another, until f answers true; then visit does too. A
// scalar comes with its text, a string without quotes and escapes. What is cut
// short or malformed ends the visit: the values before it have been seen, half
// a value never is.
func (path jsonPath) visit(text string, f func(kind jsonKind, scalar string) bool) bool {
	s := jsonScanner{text: strings.TrimPrefix(text, "\ufeff"), visit: f}
	for {
		s.space()
		if c := s.peek(); c != '{' && c != '[' {
			return false
		}
		if !s.value(path) {
			return s.found
		}
	}
}

// jsonScanner walks over JSON without building it. It is lenient: what it does
// not have to read in order to find its way is not checked.
type jsonScanner struct {
	text  string
	pos   int
	visit func(jsonKind, string) bool
	found bool
}

func (s *jsonScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func (s *jsonScanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// value walks over one value and visits what lies at path in it. It answers
// false when there is nothing more to do: found, or not readable. It goes no
// deeper than the path is long.
func (s *jsonScanner) value(path jsonPath) bool {
	s.space()
	c := s.peek()
	if len(path) == 0 {
		switch c {
		case '{', '[':
			if s.visit(jsonKind(c), "") {
				s.found = true
				return false
			}
			return s.skip()
		}
		return s.scalar()
	}
	switch c {
	case '{':
		return s.members(path)
	case '[':
		return s.elements(path)
	}
	return s.skip()
}

func (s *jsonScanner) members(path jsonPath) bool {
	s.pos++
	for first := true; ; first = false {
		s.space()
		if s.peek() == '}' {
			s.pos++
			return true
		}
		if !first {
			if s.peek() != ',' {
				return false
			}
			s.pos++
			s.space()
		}
		name, ok := s.str()
		if !ok {
			return false
		}
		s.space()
		if s.peek() != ':' {
			return false
		}
		s.pos++
		if path[0].any || path[0].index < 0 && path[0].name == name {
			ok = s.value(path[1:])
		} else {
			ok = s.skip()
		}
		if !ok {
			return false
		}
	}
}

func (s *jsonScanner) elements(path jsonPath) bool {
	s.pos++
	for i := 0; ; i++ {
		s.space()
		if s.peek() == ']' {
			s.pos++
			return true
		}
		if i > 0 {
			if s.peek() != ',' {
				return false
			}
			s.pos++
		}
		var ok bool
		if path[0].any || path[0].index == i {
			ok = s.value(path[1:])
		} else {
			ok = s.skip()
		}
		if !ok {
			return false
		}
	}
}

// scalar visits a string, number or literal.
func (s *jsonScanner) scalar() bool {
	kind, text := jsonKind(s.peek()), ""
	if kind == '"' {
		var ok bool
		if text, ok = s.str(); !ok {
			return false
		}
	} else {
		var ok bool
		if text, ok = s.literal(); !ok {
			return false
		}
		switch text {
		case "true", "false", "null":
		default:
			kind = '0'
			if c := text[0]; c != '-' && (c < '0' || c > '9') {
				return false
			}
		}
	}
	s.found = s.visit(kind, text)
	return !s.found
}

// literal reads up to the next delimiter, which has to be there: a number at
// the end of a body that was cut could be the beginning of a longer one.
func (s *jsonScanner) literal() (string, bool) {
	n := strings.IndexAny(s.text[s.pos:], ",]} \t\r\n")
	if n <= 0 {
		return "", false
	}
	text := s.text[s.pos : s.pos+n]
	s.pos += n
	return text, true
}

// str reads a string.
func (s *jsonScanner) str() (string, bool) {
	raw, escaped, ok := s.rawString()
	if !ok {
		return "", false
	}
	if !escaped {
		return raw[1 : len(raw)-1], true
	}
	var text string
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		// Not JSON, but still something that a reader may want to find.
		return raw[1 : len(raw)-1], true
	}
	return text, true
}

// rawString reads a string with its quotes.
func (s *jsonScanner) rawString() (raw string, escaped, ok bool) {
	if s.peek() != '"' {
		return "", false, false
	}
	start := s.pos
	for i := start + 1; ; {
		n := strings.IndexAny(s.text[i:], `"\`)
		if n < 0 {
			s.pos = len(s.text)
			return "", false, false
		}
		i += n
		if s.text[i] == '"' {
			s.pos = i + 1
			return s.text[start:s.pos], escaped, true
		}
		escaped = true
		i = min(i+2, len(s.text))
	}
}

// skip walks over one value of any depth.
func (s *jsonScanner) skip() bool {
	for depth := 0; ; {
		s.space()
		switch s.peek() {
		case 0:
			return false
		case '"':
			if _, _, ok := s.rawString(); !ok {
				return false
			}
		case '{', '[':
			depth++
			s.pos++
			continue
		case '}', ']':
			if depth == 0 {
				return false
			}
			depth--
			s.pos++
		case ',', ':':
			if depth == 0 {
				return false
			}
			s.pos++
			continue
		default:
			n := strings.IndexAny(s.text[s.pos:], ",]}:[{\" \t\r\n")
			if n < 0 {
				return false
			}
			s.pos += n
		}
		if depth == 0 {
			return true
		}
	}
}
