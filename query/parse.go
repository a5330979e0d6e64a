package query

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of Parse. They bound the work that a query can cause wherever it is
// evaluated; nobody writes such queries by hand.
const (
	MaxLength = 8 << 10 // bytes
	MaxDepth  = 64      // parentheses and negations within each other
	MaxTerms  = 256     // values, in lists too
	// MaxRegexSize bounds the instructions of all regular expressions of a
	// query together, with repetitions written out: matching takes time in
	// proportion to it and to the length of the text.
	MaxRegexSize = 1000
)

// Parse reads a query. An empty one matches everything. The error is always
// an *Error: no mistake is ever taken for "no filter".
func Parse(src string) (*Query, error) {
	return parse(src, MaxLength)
}

func parse(src string, maxLength int) (*Query, error) {
	p := &parser{src: src}
	root, err := p.query(maxLength)
	if err != nil {
		return nil, err
	}
	return &Query{Root: root}, nil
}

// MaxErrors bounds what ParseAll gives.
const MaxErrors = 10

// ParseAll reads a query as Parse does and goes on behind a mistake, so that
// all can be shown at once, in their order. The first is the one that Parse
// gives; there is a query if there is no mistake.
func ParseAll(src string) (*Query, []*Error) {
	p := &parser{src: src, patient: true}
	root, err := p.query(MaxLength)
	if err != nil {
		p.errs = append(p.errs, err)
	}
	if len(p.errs) > 0 {
		return nil, p.errs
	}
	return &Query{Root: root}, nil
}

// All makes the conjunction of queries, which may be none.
func All(queries ...*Query) *Query {
	nodes := make([]Node, 0, len(queries))
	for _, q := range queries {
		nodes = append(nodes, q.Root)
	}
	return &Query{Root: newAnd(nodes)}
}

// parser is a recursive descent over the text itself: whether a character
// begins a word, a quote, a regular expression or a list depends on the field
// before it, so that there is no separate list of tokens.
type parser struct {
	src   string
	pos   int // of the next byte
	depth int
	terms int
	regex int // instructions so far
	// patient: mistakes are gathered in errs, and reading goes on.
	patient bool
	errs    []*Error
}

// note keeps a mistake, so that reading goes on behind it. It answers false
// where reading has to end.
func (p *parser) note(err *Error) bool {
	if !p.patient || len(p.errs) >= MaxErrors-1 || p.terms > MaxTerms || p.depth > MaxDepth || p.regex > MaxRegexSize {
		return false
	}
	if n := len(p.errs); n == 0 || p.errs[n-1].Column != err.Column {
		p.errs = append(p.errs, err)
	}
	return true
}

// skip moves behind what began at byte at, where there was a mistake: a word,
// with its quotes and parentheses, goes as one. Of what is in them nobody knows
// what it was meant to be.
func (p *parser) skip(at int) {
	i, depth := at, 0
	for ; i < len(p.src) && (i < p.pos || depth > 0 || !p.atDelimiter(i)); i++ {
		switch p.src[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			depth = max(depth-1, 0)
		case '"':
			q := parser{src: p.src, pos: i}
			if _, err := q.quoted(); err != nil {
				i = len(p.src)
			} else {
				i = q.pos - 1
			}
		}
	}
	p.pos = max(p.pos, min(i, len(p.src)))
}

func (p *parser) query(maxLength int) (Node, *Error) {
	if err := p.check(maxLength); err != nil {
		return nil, err
	}
	p.space()
	if p.end() {
		return And{}, nil
	}
	for {
		n, err := p.or()
		if err != nil || p.end() {
			return n, err
		}
		// or stops early only at a closing parenthesis.
		err = p.errorAt(p.pos, p.pos+1, "Closing parenthesis without an opening one", `a term, or \) for the character itself`, "")
		if !p.note(err) {
			return nil, err
		}
		p.pos++
		if p.space(); p.end() {
			return n, nil
		}
		for _, word := range []string{"AND", "OR"} {
			if p.keyword(word) {
				p.pos += len(word)
				break
			}
		}
	}
}

// check refuses what is not text, and too much of it.
func (p *parser) check(maxLength int) *Error {
	if !utf8.ValidString(p.src) {
		i := 0
		for i < len(p.src) {
			r, n := utf8.DecodeRuneInString(p.src[i:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			i += n
		}
		return p.errorAt(i, i+1, "Byte that is not UTF-8", "UTF-8 text", "")
	}
	if len(p.src) > maxLength {
		i := maxLength
		for !utf8.RuneStart(p.src[i]) {
			i--
		}
		return p.errorAt(i, len(p.src), fmt.Sprintf("Query is longer than %d bytes", maxLength), "a shorter query", "")
	}
	for i, r := range p.src {
		if unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r' {
			return p.errorAt(i, i+utf8.RuneLen(r), fmt.Sprintf("Control character %U", r), fmt.Sprintf(`the escape "\u%04x" within quotes`, r), "")
		}
	}
	return nil
}

func (p *parser) end() bool { return p.pos >= len(p.src) }

// peek is the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.end() {
		return 0
	}
	return p.src[p.pos]
}

func (p *parser) space() {
	p.pos = len(p.src) - len(strings.TrimLeftFunc(p.src[p.pos:], unicode.IsSpace))
}

// atDelimiter reports whether a value can end before byte i.
func (p *parser) atDelimiter(i int) bool {
	if i >= len(p.src) || p.src[i] == ')' {
		return true
	}
	r, _ := utf8.DecodeRuneInString(p.src[i:])
	return unicode.IsSpace(r)
}

// keyword reports whether the word at pos is the operator word.
func (p *parser) keyword(word string) bool {
	rest, ok := strings.CutPrefix(p.src[p.pos:], word)
	return ok && (p.atDelimiter(p.pos+len(word)) || rest[0] == '(')
}

func (p *parser) enter(at int) *Error {
	if p.depth++; p.depth > MaxDepth {
		return p.errorAt(at, at+1, "Nested too deeply", fmt.Sprintf("at most %d parentheses and negations within each other", MaxDepth), "")
	}
	return nil
}

// or reads and-groups up to the end or a closing parenthesis.
func (p *parser) or() (Node, *Error) {
	var nodes []Node
	for {
		n, err := p.and()
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if p.end() || p.peek() == ')' {
			return newOr(nodes), nil
		}
		p.pos += len("OR") // and stops nowhere else
	}
}

// and reads one term or more, up to OR, a closing parenthesis or the end.
func (p *parser) and() (Node, *Error) {
	var nodes []Node
	for operator := ""; ; {
		p.space()
		switch {
		case p.end(), p.peek() == ')', p.keyword("OR"):
			if len(nodes) > 0 && operator == "" {
				return newAnd(nodes), nil
			}
			err := p.missingOperand(operator)
			if !p.note(err) {
				return nil, err
			}
			return newAnd(nodes), nil
		case p.keyword("AND"):
			if len(nodes) == 0 || operator != "" {
				err := p.missingOperand(operator)
				if !p.note(err) {
					return nil, err
				}
			}
			operator = "AND"
			p.pos += len(operator)
			continue
		}
		at := p.pos
		n, err := p.unary()
		if err != nil {
			if !p.note(err) {
				return nil, err
			}
			p.skip(at)
			n = And{}
		}
		nodes = append(nodes, n)
		operator = ""
	}
}

// missingOperand explains why there must be a term at pos.
func (p *parser) missingOperand(before string) *Error {
	const term = "a term such as status:5xx"
	switch {
	case p.keyword("OR"):
		return p.errorAt(p.pos, p.pos+2, "OR without a term on its left", term, "")
	case p.keyword("AND"):
		return p.errorAt(p.pos, p.pos+3, "AND without a term on its left", term, "")
	case before != "":
		return p.errorAt(p.pos, p.pos+1, "Missing term after "+before, term, "")
	}
	left := strings.TrimRightFunc(p.src[:p.pos], unicode.IsSpace)
	switch {
	case strings.HasSuffix(left, "OR"):
		return p.errorAt(p.pos, p.pos+1, "Missing term after OR", term, "")
	case strings.HasSuffix(left, "(") && p.end():
		return p.errorAt(len(left)-1, len(left), "Unclosed parenthesis", "a term and a closing ) further on", "")
	case strings.HasSuffix(left, "("):
		return p.errorAt(len(left)-1, p.pos+1, "Empty parentheses", term, "")
	}
	// Only possible for a closing parenthesis at the beginning.
	return p.errorAt(p.pos, p.pos+1, "Closing parenthesis without an opening one", term, "")
}

func (p *parser) unary() (Node, *Error) {
	at, n := p.pos, 0
	switch {
	case p.keyword("NOT"):
		n = len("NOT")
	case p.peek() == '-':
		n = 1
	default:
		return p.primary()
	}
	if err := p.enter(at); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.pos += n
	word := p.src[at:p.pos]
	if word == "NOT" {
		p.space()
	}
	if p.atDelimiter(p.pos) || p.keyword("OR") || p.keyword("AND") {
		return nil, p.errorAt(at, p.pos, "Nothing to negate after "+word, "a term right after it, such as "+word+map[bool]string{true: " "}[n > 1]+"status:5xx", "")
	}
	node, err := p.unary()
	if err != nil {
		return nil, err
	}
	return newNot(node), nil
}

func (p *parser) primary() (Node, *Error) {
	if p.peek() != '(' {
		return p.term()
	}
	at := p.pos
	if err := p.enter(at); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.pos++
	n, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.end() {
		return nil, p.errorAt(at, at+1, "Unclosed parenthesis", "a closing ) further on", "")
	}
	p.pos++
	return n, nil
}

// term reads a field with its values, or text.
func (p *parser) term() (Node, *Error) {
	at := p.pos
	if err := p.noSingleQuote(); err != nil {
		return nil, err
	}
	if p.peek() == '"' {
		return p.phrase()
	}
	if colon := p.fieldEnd(); colon >= 0 {
		t, err := p.field(colon)
		if err != nil {
			return nil, err
		}
		if t.Values, err = p.values(t); err != nil {
			return nil, err
		}
		return t, nil
	}
	if err := p.count(at); err != nil {
		return nil, err
	}
	parts, err := p.bare()
	if err != nil {
		return nil, err
	}
	word := p.src[at:p.pos]
	switch upper := strings.ToUpper(word); upper {
	case "AND", "OR", "NOT":
		return nil, p.errorAt(at, p.pos, fmt.Sprintf("The word %q without quotes", word), upper+" as the operator, or quotes around the text", upper)
	}
	if err := p.foreignComparison(at); err != nil {
		return nil, err
	}
	if isStar(parts) {
		return And{}, nil
	}
	return Text{Value{Op: OpWord, Parts: lowerAll(parts)}}, nil
}

func (p *parser) phrase() (Node, *Error) {
	at := p.pos
	if err := p.count(at); err != nil {
		return nil, err
	}
	text, err := p.quoted()
	if err != nil {
		return nil, err
	}
	if p.peek() == ':' {
		return nil, p.errorAt(at, p.pos, "Quotes around a field name", "", text)
	}
	if err := p.afterQuote(); err != nil {
		return nil, err
	}
	if text == "" {
		return nil, p.errorAt(at, p.pos, "Empty text", "the text to search for", "")
	}
	return Text{Value{Op: OpPhrase, Text: lower(text)}}, nil
}

// count refuses a query with too many values; at is where the next one begins.
func (p *parser) count(at int) *Error {
	if p.terms++; p.terms > MaxTerms {
		return p.errorAt(at, at+1, fmt.Sprintf("More than %d terms", MaxTerms), "a regular expression or a wildcard in place of many values", "")
	}
	return nil
}

// noSingleQuote: other languages quote with them, and a query that looks
// quoted and is not would quietly ask for something else.
func (p *parser) noSingleQuote() *Error {
	if p.peek() != '\'' {
		return nil
	}
	end, suggestion := p.pos+1, ""
	if n := strings.IndexByte(p.src[p.pos+1:], '\''); n >= 0 {
		end = p.pos + n + 2
		suggestion = quote(p.src[p.pos+1 : end-1])
	}
	return p.errorAt(p.pos, end, "Single quote", `double quotes, or \' for the character itself`, suggestion)
}

// foreignComparison finds words such as status=500 and duration>1s, which are
// right in other languages and would quietly search for that text here.
func (p *parser) foreignComparison(at int) *Error {
	word := p.src[at:p.pos]
	i := strings.IndexAny(word, "=<>!~")
	if i <= 0 {
		return nil
	}
	rest := word[i:]
	op := rest[:len(rest)-len(strings.TrimLeft(rest, "=<>!~"))]
	if _, _, ok := splitName(word[:i]); !ok {
		return nil
	}
	value := rest[len(op):]
	suggestion := ""
	switch op {
	case "=", "==":
		suggestion = word[:i] + ":" + value
	case "!=":
		suggestion = "-" + word[:i] + ":" + value
	case "<", ">", "<=", ">=":
		suggestion = word[:i] + ":" + op + value
	}
	return p.errorAt(at, p.pos, fmt.Sprintf("Operator %q after a field name", op), "a colon after the field, or quotes around text", suggestion)
}

// fieldEnd finds the colon that ends a field name beginning at pos, or -1 when
// what begins there is a word.
func (p *parser) fieldEnd() int {
	for i := p.pos; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == ':':
			return i
		case c == '\\':
			i++
		case c == '"':
			// A quoted part of a key: json.a."b c", tag."x y".
			if i == p.pos || p.src[i-1] != '.' {
				return -1
			}
			q := parser{src: p.src, pos: i}
			if _, err := q.quoted(); err != nil {
				return -1
			}
			i = q.pos - 1
		case c == '(', c == ')':
			return -1
		case p.atDelimiter(i):
			return -1
		}
	}
	return -1
}

// field reads the name up to the colon.
func (p *parser) field(colon int) (Term, *Error) {
	at, name := p.pos, p.src[p.pos:colon]
	p.pos = colon + 1
	if name == "" {
		return Term{}, p.errorAt(at, colon+1, "Missing field name", `a field before the colon, or \: for the character itself`, "")
	}
	info, key, ok := splitName(name)
	if !ok {
		return Term{}, p.unknownField(at, colon)
	}
	if !info.Keyed() {
		return Term{Field: info.Name}, nil
	}
	keyAt := colon - len(key)
	if key == "" {
		return Term{}, p.errorAt(at, colon, fmt.Sprintf("Field %s without a %s", info.Name, info.Placeholder), info.Label()+", as in "+info.Example, "")
	}
	switch info.Name {
	case FieldJSON:
		path, err := parseJSONPath(key)
		if err != nil {
			return Term{}, p.errorAt(keyAt, colon, "Bad JSON path: "+err.Error(), "a path such as user.email, items[0].sku, items[*].sku or user.\"first name\"", "")
		}
		return Term{Field: info.Name, Key: path.String()}, nil
	case FieldTag:
		if key[0] == '"' {
			q := parser{src: p.src, pos: keyAt}
			text, err := q.quoted()
			if err != nil {
				return Term{}, err
			}
			if q.pos == colon && text != "" {
				return Term{Field: info.Name, Key: text}, nil
			}
		} else if plainKey(key) {
			return Term{Field: info.Name, Key: key}, nil
		}
		return Term{}, p.errorAt(keyAt, colon, "Bad tag name", `letters, digits and _-./@$, or quotes as in tag."two words"`, "")
	}
	if strings.ContainsFunc(key, func(r rune) bool { return !isTokenRune(r) }) {
		return Term{}, p.errorAt(keyAt, colon, "Bad header name", "letters, digits and !#$%&'+-.^_`|~", "")
	}
	return Term{Field: info.Name, Key: lower(key)}, nil
}

// isTokenRune: tchar of RFC 9110, section 5.6.2, without the star, which a
// reader would take for a wildcard.
func isTokenRune(r rune) bool {
	return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("!#$%&'+-.^_`|~", r))
}

// splitName finds the field of a written name, and its key.
func splitName(name string) (info Info, key string, ok bool) {
	folded := lower(name)
	for _, i := range fields {
		if !i.Keyed() {
			if folded == string(i.Name) {
				return i, "", true
			}
			continue
		}
		rest, found := strings.CutPrefix(folded, string(i.Name))
		switch {
		case !found:
		case rest == "":
			return i, "", true
		case rest[0] == '.':
			return i, name[len(i.Name)+1:], true
		case rest[0] == '[' && i.Name == FieldJSON:
			return i, name[len(i.Name):], true
		}
	}
	return Info{}, "", false
}

// synonyms are names that other tools have for our fields.
var synonyms = map[string]Field{
	"service": FieldApp, "application": FieldApp, "instance": FieldPod, "ns": FieldNamespace,
	"url": FieldPath, "uri": FieldPath, "route": FieldEndpoint, "code": FieldStatus, "verb": FieldMethod,
	"latency": FieldDuration, "time": FieldDuration, "ip": FieldClient, "src": FieldClient, "dst": FieldServer,
	"upstream": FieldServer, "text": FieldBody, "type": FieldProtocol, "size": FieldResponseSize, "flags": FieldFlag,
}

func (p *parser) unknownField(at, colon int) *Error {
	name := p.src[at:colon]
	return p.errorAt(at, colon, fmt.Sprintf("Unknown field %q", name),
		"a field such as status or path; put text that contains a colon in quotes", nearestField(name))
}

func nearestField(name string) string {
	if f, ok := synonyms[lower(name)]; ok {
		return string(f)
	}
	segments := strings.Split(name, ".")
	var plain []string
	for _, i := range fields {
		if !i.Keyed() {
			plain = append(plain, string(i.Name))
			continue
		}
		// heder.x-tenant: compare as much of it as the field has segments.
		n := strings.Count(string(i.Name), ".") + 1
		if len(segments) > n {
			if base := strings.Join(segments[:n], "."); nearest(base, []string{string(i.Name)}) != "" {
				return string(i.Name) + "." + strings.Join(segments[n:], ".")
			}
		}
	}
	return nearest(name, plain)
}
