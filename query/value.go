package query

import (
	"errors"
	"fmt"
	"math"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// values reads what stands after the colon of t.
func (p *parser) values(t Term) ([]Value, *Error) {
	info, _ := Lookup(t.Field)
	at := p.pos
	if p.atDelimiter(p.pos) {
		return nil, p.errorAt(p.pos, p.pos+1, fmt.Sprintf("Missing value after %s:", info.Label()), "a value right after the colon, as in "+info.Example, "")
	}
	if p.peek() != '(' {
		return p.value(t, info)
	}
	p.pos++
	var all []Value
	for or := false; ; {
		p.space()
		if p.end() {
			return nil, p.errorAt(at, at+1, "Unclosed list of values", "a closing ) further on", "")
		}
		switch {
		case p.peek() == ')' && len(all) == 0:
			return nil, p.errorAt(at, p.pos+1, "Empty list of values", "values in the parentheses, as in method:(GET POST)", "")
		case p.peek() == ')' && !or:
			p.pos++
			// One order, so that method:(POST GET) is the same tree.
			slices.SortFunc(all, Value.compare)
			return all, nil
		case p.peek() == '(':
			return nil, p.errorAt(p.pos, p.pos+1, "Parenthesis within a list of values", `a value, or \( for the character itself`, "")
		case p.keyword("OR") && len(all) > 0 && !or:
			// People write method:(GET OR POST); it says the same.
			p.pos += len("OR")
			or = true
			continue
		case p.peek() == '-' || p.keyword("AND") || p.keyword("NOT") || p.keyword("OR") || p.peek() == ')':
			return nil, p.errorAt(p.pos, p.pos+1, "Operator within a list of values", "values of which one has to fit; put - and NOT before the field", "")
		}
		for _, word := range []string{"or", "and", "not"} {
			if p.keyword(word) {
				return nil, p.errorAt(p.pos, p.pos+len(word), fmt.Sprintf("%q within a list of values", word), "values with spaces between them; quote the word to search for it", "")
			}
		}
		or = false
		vs, err := p.value(t, info)
		if err != nil {
			return nil, err
		}
		for _, v := range vs {
			if !slices.ContainsFunc(all, func(o Value) bool { return v.compare(o) == 0 }) {
				all = append(all, v)
			}
		}
	}
}

// value reads one value. It may stand for several.
func (p *parser) value(t Term, info Info) ([]Value, *Error) {
	at := p.pos
	if err := p.count(at); err != nil {
		return nil, err
	}
	if err := p.noSingleQuote(); err != nil {
		return nil, err
	}
	numeric := info.Type != TypeText && info.Type != TypeEnum && info.Type != TypeWords && info.Type != TypeAny
	switch c := p.peek(); {
	case c == '"':
		text, err := p.quoted()
		if err != nil {
			return nil, err
		}
		if err := p.afterQuote(); err != nil {
			return nil, err
		}
		switch {
		case numeric:
			return nil, p.errorAt(at, p.pos, fmt.Sprintf("Quotes around the value of %s", info.Name), "", text)
		case info.Type == TypeWords && text == "":
			return nil, p.errorAt(at, p.pos, "Empty text", fmt.Sprintf("the text to search for; -%s:* finds pairs without one", info.Name), "")
		case info.Type == TypeWords:
			return []Value{{Op: OpPhrase, Text: lower(text)}}, nil
		}
		return p.textValue(t, info, at, []string{text})
	case c == '<' || c == '>':
		return p.comparison(info, numeric)
	case c == '/' && numeric:
		for !p.atDelimiter(p.pos) {
			p.pos++
		}
		return nil, p.errorAt(at, p.pos, fmt.Sprintf("Regular expression for %s, which is a number", info.Name), "a value, a comparison or a range, as in "+info.Example, "")
	case c == '/':
		v, ok, err := p.expression(t)
		if err != nil {
			return nil, err
		}
		if ok {
			return []Value{v}, nil
		}
	}
	parts, err := p.bare()
	if err != nil {
		return nil, err
	}
	if isStar(parts) {
		return []Value{{Op: OpExists}}, nil
	}
	word := p.src[at:p.pos]
	switch {
	case numeric:
		r, err := p.numbers(info, at, word)
		if err != nil {
			return nil, err
		}
		return []Value{{Op: OpRange, Range: r}}, nil
	case info.Type == TypeWords:
		return []Value{{Op: OpWord, Parts: lowerAll(parts)}}, nil
	case info.Type == TypeAny:
		d, ok, err := p.decimals(at, word)
		if err != nil {
			return nil, err
		}
		if ok {
			return []Value{{Op: OpDecimal, Decimal: d}}, nil
		}
	}
	return p.textValue(t, info, at, parts)
}

// textValue makes a test of a whole text, or several where a shorter way of
// writing stands for them. The value was read from at to pos.
func (p *parser) textValue(t Term, info Info, at int, parts []string) ([]Value, *Error) {
	v := Value{Op: OpWildcard, Parts: parts}
	if len(parts) == 1 {
		v = Value{Op: OpEqual, Text: parts[0]}
	}
	if info.Fold {
		v.Text = lower(v.Text)
		lowerAll(v.Parts)
	}
	switch {
	case t.Field == FieldID && v.Op == OpEqual:
		id, ok := canonicalID(v.Text)
		if !ok {
			return nil, p.errorAt(at, p.pos, "Bad id", "a UUID, or the beginning of one and a star, as in id:01997b2c*", "")
		}
		v.Text = id
	case info.Type == TypeEnum:
		expected := "one of " + strings.Join(info.Values, ", ")
		if v.Op == OpEqual && !slices.Contains(info.Values, v.Text) {
			return nil, p.errorAt(at, p.pos, fmt.Sprintf("Unknown %s %q", info.Name, v.Text), expected, nearest(strings.ReplaceAll(v.Text, "-", "_"), info.Values))
		}
		if v.Op == OpWildcard && !slices.ContainsFunc(info.Values, func(s string) bool { return matchWildcard(s, v.Parts, true) }) {
			return nil, p.errorAt(at, p.pos, fmt.Sprintf("No %s is like %q", info.Name, p.src[at:p.pos]), expected, "")
		}
	case t.Field == FieldHost:
		return hostValues(v), nil
	case t.isAddress():
		return addressValues(v), nil
	}
	return []Value{v}, nil
}

// canonicalID accepts a UUID with or without its hyphens, in lower case.
func canonicalID(s string) (string, bool) {
	hex := strings.ReplaceAll(s, "-", "")
	if len(hex) != 32 || strings.Trim(hex, "0123456789abcdef") != "" {
		return "", false
	}
	id := hex[:8] + "-" + hex[8:12] + "-" + hex[12:16] + "-" + hex[16:20] + "-" + hex[20:]
	return id, s == id || s == hex
}

// quoted reads text in double quotes.
func (p *parser) quoted() (string, *Error) {
	at := p.pos
	var b strings.Builder
	for i := at + 1; i < len(p.src); i++ {
		switch c := p.src[i]; c {
		case '"':
			p.pos = i + 1
			return b.String(), nil
		case '\\':
			i++
			if i == len(p.src) {
				break
			}
			switch c := p.src[i]; c {
			case '"', '\\':
				b.WriteByte(c)
			case 'n':
				b.WriteByte('\n')
			case 'r':
				b.WriteByte('\r')
			case 't':
				b.WriteByte('\t')
			case 'u':
				hex := p.src[i+1 : min(i+5, len(p.src))]
				n, err := strconv.ParseUint(hex, 16, 16)
				if err != nil || len(hex) != 4 || !utf8.ValidRune(rune(n)) {
					return "", p.errorAt(i-1, i+1, "Bad escape", `four hexadecimal digits of a character after \u`, "")
				}
				b.WriteRune(rune(n))
				i += 4
			default:
				_, n := utf8.DecodeRuneInString(p.src[i:])
				return "", p.errorAt(i-1, i+n, fmt.Sprintf("Unknown escape %s", p.src[i-1:i+n]), `one of \" \\ \n \r \t \u0000`, "")
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", p.errorAt(at, at+1, "Unclosed quote", `a closing " further on`, "")
}

// afterQuote refuses anything that is glued to a closing quote.
func (p *parser) afterQuote() *Error {
	if p.atDelimiter(p.pos) {
		return nil
	}
	return p.errorAt(p.pos, p.pos+1, "Text right after a closing quote", `a space; write \" for a quote within quotes`, "")
}

// bare reads a word and splits it at its stars; consecutive stars are one.
func (p *parser) bare() ([]string, *Error) {
	parts := []string{}
	var b strings.Builder
	star := false
	for ; !p.atDelimiter(p.pos); p.pos++ {
		c := p.src[p.pos]
		if c == '*' {
			if !star {
				parts = append(parts, b.String())
				b.Reset()
			}
			star = true
			continue
		}
		star = false
		switch c {
		case '"':
			return nil, p.errorAt(p.pos, p.pos+1, "Quote within a word", `a space before it, or \" for the character itself`, "")
		case '(':
			return nil, p.errorAt(p.pos, p.pos+1, "Parenthesis within a word", `a space before it, or \( for the character itself`, "")
		case '\\':
			if next := p.pos + 1; next < len(p.src) && (p.src[next] == ' ' || isPunct(p.src[next])) {
				p.pos, c = next, p.src[next]
			}
		}
		b.WriteByte(c)
	}
	return append(parts, b.String()), nil
}

func isPunct(c byte) bool {
	return '!' <= c && c <= '/' || ':' <= c && c <= '@' || '[' <= c && c <= '`' || '{' <= c && c <= '~'
}

func isStar(parts []string) bool { return len(parts) == 2 && parts[0] == "" && parts[1] == "" }

// expression reads /a regular expression/. Where a value begins with a slash by nature (see
// pathLike), it answers false for what is not one.
func (p *parser) expression(t Term) (Value, bool, *Error) {
	at := p.pos
	i := at + 1
	var b strings.Builder
	for ; i < len(p.src) && p.src[i] != '/'; i++ {
		if t.pathLike() && p.src[i] != ')' && p.atDelimiter(i) {
			return Value{}, false, nil
		}
		c := p.src[i]
		if c == '\\' && i+1 < len(p.src) {
			i++
			if p.src[i] != '/' {
				b.WriteByte(c)
			}
			c = p.src[i]
		}
		b.WriteByte(c)
	}
	closed := i < len(p.src)
	if t.pathLike() && (!closed || !p.atDelimiter(i+1) || b.Len() == 0) {
		return Value{}, false, nil
	}
	if !closed {
		return Value{}, false, p.errorAt(at, at+1, "Unclosed regular expression", "a closing / further on, or quotes around a value that begins with a slash", "")
	}
	if b.Len() == 0 {
		return Value{}, false, p.errorAt(at, i+1, "Empty regular expression", "an expression between the slashes, or quotes around a value of slashes", "")
	}
	if !p.atDelimiter(i + 1) {
		return Value{}, false, p.errorAt(i, i+1, "Text right after a regular expression", `a space; write \/ for a slash in the expression, or put a value that is none in quotes`, "")
	}
	p.pos = i + 1
	size, err := regexSize(b.String())
	if err != nil {
		hint := "an expression that RE2 accepts"
		if t.pathLike() {
			hint += "; put a path that ends with a slash in quotes"
		}
		return Value{}, false, p.errorAt(at, p.pos, "Bad regular expression: "+err.Error(), hint, "")
	}
	if p.regex += size; p.regex > MaxRegexSize {
		return Value{}, false, p.errorAt(at, p.pos, "Regular expressions too large", fmt.Sprintf("at most %d steps in all expressions, with repetitions written out", MaxRegexSize), "")
	}
	return Value{Op: OpRegex, Text: b.String()}, true, nil
}

// regexSize is about how many instructions the compiled expression has. It
// does not compile it, which could already take much memory.
func regexSize(expr string) (int, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		if e, ok := errors.AsType[*syntax.Error](err); ok && e.Expr != "" {
			return 0, fmt.Errorf("%s: %s", e.Code, e.Expr)
		}
		return 0, err
	}
	return nodeSize(re), nil
}

func nodeSize(re *syntax.Regexp) int {
	size := 1
	switch re.Op {
	case syntax.OpLiteral:
		size = len(re.Rune)
	case syntax.OpConcat, syntax.OpRepeat:
		size = 0
	}
	for _, sub := range re.Sub {
		size = min(size+nodeSize(sub), MaxRegexSize+1)
	}
	if re.Op == syntax.OpRepeat {
		size *= max(re.Min, re.Max, 1)
	}
	return min(size, MaxRegexSize+1)
}

// comparison reads >10, >=10, <10 or <=10.
func (p *parser) comparison(info Info, numeric bool) ([]Value, *Error) {
	at := p.pos
	op := p.src[at : at+1]
	p.pos++
	if p.peek() == '=' {
		p.pos++
		op += "="
	}
	numberAt := p.pos
	for !p.atDelimiter(p.pos) {
		p.pos++
	}
	word := p.src[numberAt:p.pos]
	if !numeric && info.Type != TypeAny {
		return nil, p.errorAt(at, p.pos, fmt.Sprintf("%s is text and cannot be compared with %s", info.Label(), op), fmt.Sprintf(`a text; write \%s for the character itself`, op[:1]), "")
	}
	if word == "" {
		return nil, p.errorAt(p.pos, p.pos+1, "Missing number after "+op, "a number right after it", "")
	}
	if !numeric {
		f, ok := decimal(word)
		if !ok {
			return nil, p.errorAt(numberAt, p.pos, fmt.Sprintf("Bad number %q", word), fmt.Sprintf(`a decimal number; write \%s for the character itself`, op[:1]), "")
		}
		d := Decimal{Lo: math.Inf(-1), Hi: math.Inf(1)}
		switch op {
		case "<":
			d.Hi, d.HiOpen = f, true
		case "<=":
			d.Hi = f
		case ">":
			d.Lo, d.LoOpen = f, true
		case ">=":
			d.Lo = f
		}
		return []Value{{Op: OpDecimal, Decimal: d}}, nil
	}
	n, err := p.number(info, numberAt, word)
	if err != nil {
		return nil, err
	}
	r := Range{Lo: 0, Hi: math.MaxInt64}
	empty := false
	switch op {
	case "<":
		// No status is 0.
		r.Hi, empty = n.Lo-1, n.Lo == 0 || n.Lo == 1 && info.Type == TypeStatus
	case "<=":
		r.Hi = n.Hi
	case ">":
		empty = n.Hi == math.MaxInt64
		if !empty {
			r.Lo = n.Hi + 1
		}
	case ">=":
		r.Lo = n.Lo
	}
	if empty {
		return nil, p.errorAt(at, p.pos, fmt.Sprintf("No %s is %s%s", info.Name, op, word), "a comparison that something can fulfil", "")
	}
	return []Value{{Op: OpRange, Range: r}}, nil
}

// numbers reads a number, a class or a range of them.
func (p *parser) numbers(info Info, at int, word string) (Range, *Error) {
	lo, hi, isRange := strings.Cut(word, "..")
	if !isRange {
		return p.number(info, at, word)
	}
	if lo == "" && hi == "" {
		return Range{}, p.errorAt(at, p.pos, "Range without ends", "a number on at least one side of the dots", "")
	}
	r := Range{Lo: 0, Hi: math.MaxInt64}
	if lo != "" {
		n, err := p.number(info, at, lo)
		if err != nil {
			return Range{}, err
		}
		r.Lo = n.Lo
	}
	if hi != "" {
		n, err := p.number(info, at+len(lo)+2, hi)
		if err != nil {
			return Range{}, err
		}
		r.Hi = n.Hi
	}
	if r.Lo > r.Hi {
		return Range{}, p.errorAt(at, p.pos, "Range ends before it starts", "the smaller end first", hi+".."+lo)
	}
	return r, nil
}

// number reads one number, which begins at byte at. A status class is a range.
func (p *parser) number(info Info, at int, word string) (Range, *Error) {
	fail := func(message, expected, suggestion string) (Range, *Error) {
		return Range{}, p.errorAt(at, at+len(word), message, expected, suggestion)
	}
	bad := fmt.Sprintf("Bad %s %q", info.Name, word)
	switch info.Type {
	case TypeStatus:
		const expected = "a code, a class such as 5xx, a comparison or a range"
		if len(word) == 3 && '1' <= word[0] && word[0] <= '9' {
			switch rest := lower(word[1:]); {
			case rest == "xx":
				lo := int64(word[0]-'0') * 100
				return Range{lo, lo + 99}, nil
			case strings.Trim(rest, "x*0") == "" && strings.ContainsAny(rest, "x*"):
				return fail(bad, expected, word[:1]+"xx")
			}
		}
		if len(word) == 2 && '1' <= word[0] && word[0] <= '9' && strings.ContainsAny(word[1:], "xX*") {
			return fail(bad, expected, word[:1]+"xx")
		}
		n, err := strconv.ParseUint(word, 10, 31)
		if err != nil {
			return fail(bad, expected, "")
		}
		if n == 0 {
			return fail(bad, "a code from 1 up; -status:* finds pairs without a status", "")
		}
		return Range{int64(n), int64(n)}, nil
	case TypeDuration:
		n, err := parseUnits(word, durationUnits[:], true)
		switch {
		case err == errNoUnit && word == "0":
			return Range{}, nil
		case err == errNoUnit:
			return fail(fmt.Sprintf("Duration %q without a unit", word), "", word+"ms")
		case err != nil:
			return fail(bad+": "+err.Error(), "a number with one of the units ns, us, ms, s, m, h, d, as in 200ms or 1m30s", "")
		}
		return Range{n, n}, nil
	case TypeSize:
		n, err := parseUnits(word, sizeUnits[:], false)
		if err != nil {
			suggestion := ""
			if _, again := parseUnits(word+"B", sizeUnits[:], false); again == nil {
				suggestion = word + "B"
			}
			return fail(bad+": "+err.Error(), "bytes, or a number with one of the units B, KB, MB, GB, TB, KiB, MiB, GiB, TiB, as in 64KiB", suggestion)
		}
		return Range{n, n}, nil
	}
	n, err := strconv.ParseUint(word, 10, 63)
	if err != nil {
		return fail(bad, "a whole number from 0, a comparison or a range", "")
	}
	return Range{int64(n), int64(n)}, nil
}

// decimals reads a range of decimal numbers; what is not one is text.
func (p *parser) decimals(at int, word string) (Decimal, bool, *Error) {
	lo, hi, isRange := strings.Cut(word, "..")
	if !isRange || lo == "" && hi == "" {
		return Decimal{}, false, nil
	}
	d := Decimal{Lo: math.Inf(-1), Hi: math.Inf(1)}
	ok := true
	if lo != "" {
		d.Lo, ok = decimal(lo)
	}
	if hi != "" && ok {
		d.Hi, ok = decimal(hi)
	}
	if !ok {
		return Decimal{}, false, nil
	}
	if d.Lo > d.Hi {
		return Decimal{}, false, p.errorAt(at, p.pos, "Range ends before it starts", "the smaller end first", hi+".."+lo)
	}
	return d, true, nil
}
