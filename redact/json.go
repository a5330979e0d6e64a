package redact

import (
	"bytes"
	"errors"
	"unicode/utf8"
)

// Errors of walking a document.
var (
	errMalformed = errors.New("it is not what its type says")
	errCut       = errors.New("it ends before its syntax does")
)

// maxDepth bounds the nesting of documents.
const maxDepth = 512

// json walks JSON texts (RFC 8259), one or several after another, and gives
// them with the values changed that have to be. All other bytes stay as they
// are. A text that is cut short gives errCut unless cut is set: then it gives
// what stands before the token that is cut.
func (w *work) json(v []byte, at where, depth int, cut bool) (out []byte, changed bool, err error) {
	j := jsonWalk{w: w, in: v, base: at, nesting: depth}
	j.base.place = inJSON
	j.steps = append(make([]step, 0, 16), at.steps...)
	if !w.spend(len(v)) {
		return v, false, errBudget
	}
	for err == nil {
		j.space()
		if j.pos == len(j.in) {
			break
		}
		err = j.value(-1)
	}
	if err == nil && w.failed != nil {
		err = w.failed
	}
	if errors.Is(err, errCut) && cut {
		// The open token is not looked at: it goes.
		return append(j.out, j.in[j.copied:j.token]...), true, errCut
	}
	if err != nil {
		return v, false, err
	}
	if j.copied == 0 {
		return v, false, nil
	}
	return append(j.out, j.in[j.copied:]...), true, nil
}

// jsonWalk is one walk.
type jsonWalk struct {
	w       *work
	in, out []byte
	// pos is where the walk is, token where the token begins that it is in,
	// copied how much of in is in out.
	pos, token, copied int
	base               where
	steps              []step
	level, nesting     int
	// matched are the rules that go by the name of the value that comes next.
	matched ruleSet
	scratch []byte
}

func (j *jsonWalk) space() {
	for j.pos < len(j.in) {
		switch j.in[j.pos] {
		case ' ', '\t', '\r', '\n', 0x1e: // the last is of RFC 7464
			j.pos++
		default:
			return
		}
	}
}

// value walks one value. force is the rule that takes all there is in it, -1
// for none.
func (j *jsonWalk) value(force int) error {
	j.space()
	j.token = j.pos
	if j.pos == len(j.in) {
		return errCut
	}
	switch c := j.in[j.pos]; {
	case c == '{':
		return j.nested(force, '}', j.member)
	case c == '[':
		return j.nested(force, ']', j.element)
	case c == '"':
		return j.text(force)
	case c == '-' || digit(c):
		return j.number(force)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		rest := j.in[j.pos:]
		if bytes.HasPrefix(rest, []byte(word)) {
			j.pos += len(word)
			return nil
		}
		if len(rest) < len(word) && word[:len(rest)] == string(rest) {
			return errCut
		}
	}
	return errMalformed
}

// nested walks an object or an array.
func (j *jsonWalk) nested(force int, end byte, item func(int) error) error {
	if j.level++; j.level > maxDepth {
		return errBudget
	}
	defer func() { j.level-- }()
	j.pos++
	for first := true; ; first = false {
		j.space()
		j.token = j.pos
		if j.pos == len(j.in) {
			return errCut
		}
		if j.in[j.pos] == end {
			j.pos++
			return nil
		}
		if !first {
			if j.in[j.pos] != ',' {
				return errMalformed
			}
			j.pos++
			j.space()
		}
		if err := item(force); err != nil {
			return err
		}
	}
}

func (j *jsonWalk) element(force int) error {
	j.steps = append(j.steps, step{array: true})
	j.matched = ruleSet{}
	err := j.value(force)
	j.steps = j.steps[:len(j.steps)-1]
	return err
}

// isVariable reports whether the walk is at a member of "variables".
func (j *jsonWalk) isVariable() bool {
	n := len(j.steps)
	return n > 1 && string(j.steps[n-2].name) == variables || n == 1 && string(j.base.name) == variables
}

func (j *jsonWalk) member(force int) error {
	j.token = j.pos
	from := j.pos
	raw, escaped, err := j.string()
	if err != nil {
		return err
	}
	name := raw
	if escaped {
		// Other values use the scratch meanwhile.
		if name, err = unquote(nil, raw); err != nil {
			return err
		}
	}
	// A name may be data: {"4111…": …}. It is nobody's value, so that only
	// what is in it counts.
	if out, changed := j.w.inside(j.at(), name, ruleSet{}, j.nesting); changed {
		j.replace(from, j.pos, out)
	}
	j.space()
	j.token = j.pos
	if j.pos == len(j.in) {
		return errCut
	}
	if j.in[j.pos] != ':' {
		return errMalformed
	}
	j.pos++
	j.steps = append(j.steps, step{name: name})
	var matched ruleSet
	if force < 0 {
		matched, force = j.w.named(j.at())
	}
	if rule, ok := j.w.variables[string(name)]; ok && force < 0 && j.isVariable() {
		force = rule
	}
	j.matched = matched
	err = j.value(force)
	j.steps = j.steps[:len(j.steps)-1]
	return err
}

// at is where the walk is.
func (j *jsonWalk) at() where {
	at := where{place: inJSON, steps: j.steps, label: j.base.label}
	if n := len(j.steps); n > 0 && !j.steps[n-1].array {
		at.name = j.steps[n-1].name
	}
	return at
}

// string reads a string, and gives what is between its quotes.
func (j *jsonWalk) string() (raw []byte, escaped bool, err error) {
	if j.pos == len(j.in) {
		return nil, false, errCut
	}
	if j.in[j.pos] != '"' {
		return nil, false, errMalformed
	}
	start := j.pos + 1
	for i := start; i < len(j.in); i++ {
		switch j.in[i] {
		case '"':
			j.pos = i + 1
			return j.in[start:i], escaped, nil
		case '\\':
			escaped = true
			i++
		}
	}
	return nil, false, errCut
}

func (j *jsonWalk) text(force int) error {
	from := j.pos
	v, escaped, err := j.string()
	if err != nil {
		return err
	}
	nested := j.scratch
	if escaped {
		j.scratch = nil // values within this one have their own
		if v, err = unquote(nested[:0], v); err != nil {
			return err
		}
		defer func() { j.scratch = v[:0] }()
	}
	out, changed := v, false
	switch {
	case len(v) == 0:
	case force >= 0:
		if j.w.spend(len(v)) {
			out, changed = j.w.whole(force, j.at(), v)
		}
	default:
		out, changed = j.w.valueIn(j.at(), v, j.matched, j.nesting)
	}
	if changed {
		j.replace(from, j.pos, out)
	}
	return j.w.failed
}

func (j *jsonWalk) number(force int) error {
	from := j.pos
	for j.pos < len(j.in) && (alnum(j.in[j.pos]) || j.in[j.pos] == '-' || j.in[j.pos] == '+' || j.in[j.pos] == '.') {
		j.pos++
	}
	if j.pos == len(j.in) && j.level > 0 {
		return errCut
	}
	v := j.in[from:j.pos]
	var out []byte
	changed := false
	if force >= 0 {
		out, changed = j.w.whole(force, j.at(), v)
	} else {
		out, changed = j.w.valueIn(j.at(), v, j.matched, flat)
	}
	if changed {
		j.replace(from, j.pos, out)
	}
	return j.w.failed
}

// valueIn is value for one whose name was looked at already: no rule takes it
// whole.
func (w *work) valueIn(at where, v []byte, matched ruleSet, depth int) ([]byte, bool) {
	if len(v) == 0 || !w.spend(len(v)) {
		return v, false
	}
	return w.inside(at, v, matched, depth)
}

// replace puts a string in the place of in[from:to].
func (j *jsonWalk) replace(from, to int, text []byte) {
	j.out = append(j.out, j.in[j.copied:from]...)
	j.out = appendQuoted(j.out, text)
	j.copied = to
}

// unquote appends a string's text without its escapes. What is no escape is
// malformed; a surrogate without its other half becomes U+FFFD.
func unquote(b, raw []byte) ([]byte, error) {
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(b, raw...), nil
		}
		b = append(b, raw[:i]...)
		raw = raw[i+1:]
		if len(raw) == 0 {
			return nil, errMalformed
		}
		c := raw[0]
		raw = raw[1:]
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := hex4(raw)
			if !ok {
				return nil, errMalformed
			}
			raw = raw[4:]
			if 0xd800 <= r && r < 0xdc00 && len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				if low, ok := hex4(raw[2:]); ok && 0xdc00 <= low && low < 0xe000 {
					r, raw = 0x10000+(r-0xd800)<<10+(low-0xdc00), raw[6:]
				}
			}
			b = utf8.AppendRune(b, r) // U+FFFD for half a pair
		default:
			return nil, errMalformed
		}
	}
	return b, nil
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	r := rune(0)
	for _, c := range b[:4] {
		h := unhex(c)
		if h < 0 {
			return 0, false
		}
		r = r<<4 | rune(h)
	}
	return r, true
}

// appendQuoted appends text as a string.
func appendQuoted(b, text []byte) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
