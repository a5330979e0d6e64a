package query

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// String is the canonical form: Parse of it gives an equal tree, as long as it
// is within the limits of Parse (it can be a little longer than its source).
func (q *Query) String() string {
	if q.Root == nil {
		return ""
	}
	if a, ok := q.Root.(And); ok && len(a.Nodes) == 0 {
		return ""
	}
	return q.Root.String()
}

// String is the canonical form.
func (n And) String() string {
	if len(n.Nodes) == 0 {
		return "*"
	}
	return join(n.Nodes, " ", func(c Node) bool { _, or := c.(Or); return or })
}

// String is the canonical form.
func (n Or) String() string {
	if len(n.Nodes) == 0 {
		return "-*"
	}
	return join(n.Nodes, " OR ", func(Node) bool { return false })
}

// String is the canonical form.
func (n Not) String() string {
	return "-" + join([]Node{n.Node}, "", func(c Node) bool { return !isLeaf(c) })
}

// join writes nodes with sep between them; those for which group holds stand
// in parentheses when they have more than one node themselves.
func join(nodes []Node, sep string, group func(Node) bool) string {
	var b strings.Builder
	for i, n := range nodes {
		if i > 0 {
			b.WriteString(sep)
		}
		if group(n) && width(n) > 1 {
			b.WriteString("(" + n.String() + ")")
		} else {
			b.WriteString(n.String())
		}
	}
	return b.String()
}

func isLeaf(n Node) bool {
	switch n.(type) {
	case Term, Text:
		return true
	}
	return false
}

func width(n Node) int {
	switch n := n.(type) {
	case And:
		return len(n.Nodes)
	case Or:
		return len(n.Nodes)
	}
	return 1
}

// String is the canonical form.
func (n Text) String() string {
	if n.Value.Op == OpPhrase {
		return quote(n.Value.Text)
	}
	// The characters that could make a word look like a field or a comparison.
	return escape(n.Value.Parts, `:=<>!`, "-'")
}

// String is the canonical form.
func (n Term) String() string {
	var b strings.Builder
	b.WriteString(string(n.Field))
	if n.Key != "" {
		b.WriteString(".")
		if n.Field == FieldTag && !plainKey(n.Key) {
			b.WriteString(quote(n.Key))
		} else {
			b.WriteString(n.Key)
		}
	}
	b.WriteByte(':')
	var values []string
	for _, v := range n.Values {
		if n.portVariant(v) {
			continue
		}
		values = append(values, n.formatValue(v))
	}
	if len(values) == 1 {
		b.WriteString(values[0])
	} else {
		b.WriteString("(" + strings.Join(values, " ") + ")")
	}
	return b.String()
}

// portVariant reports whether v is the "a:*" that the parser added to host:a.
func (n Term) portVariant(v Value) bool {
	if n.Field != FieldHost || v.Op != OpWildcard || v.Parts[len(v.Parts)-1] != "" {
		return false
	}
	bare := slices.Clone(v.Parts[:len(v.Parts)-1])
	last := &bare[len(bare)-1]
	if !strings.HasSuffix(*last, ":") {
		return false
	}
	*last = strings.TrimSuffix(*last, ":")
	want := Value{Op: OpWildcard, Parts: bare}
	if len(bare) == 1 {
		want = Value{Op: OpEqual, Text: bare[0]}
	}
	return takesPort(want) && slices.ContainsFunc(n.Values, func(o Value) bool { return want.compare(o) == 0 })
}

// compare orders values; those that are equal test the same.
func (v Value) compare(o Value) int {
	open := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return cmp.Or(
		cmp.Compare(v.Op, o.Op),
		cmp.Compare(v.Text, o.Text),
		slices.Compare(v.Parts, o.Parts),
		cmp.Compare(v.Range.Lo, o.Range.Lo),
		cmp.Compare(v.Range.Hi, o.Range.Hi),
		cmp.Compare(v.Decimal.Lo, o.Decimal.Lo),
		cmp.Compare(v.Decimal.Hi, o.Decimal.Hi),
		cmp.Compare(open(v.Decimal.LoOpen), open(o.Decimal.LoOpen)),
		cmp.Compare(open(v.Decimal.HiOpen), open(o.Decimal.HiOpen)),
	)
}

func (n Term) formatValue(v Value) string {
	info, _ := Lookup(n.Field)
	switch v.Op {
	case OpExists:
		return "*"
	case OpEqual:
		if plainValue(v.Text, n.pathLike()) {
			return v.Text
		}
		return quote(v.Text)
	case OpPhrase:
		return quote(v.Text)
	case OpRegex:
		return "/" + escapeSlashes(v.Text) + "/"
	case OpRange:
		return formatRange(info.Type, v.Range)
	case OpDecimal:
		return formatDecimal(v.Decimal)
	case OpWildcard:
		parts := v.Parts
		if n.isAddress() && len(parts) == 2 && parts[1] == "" {
			// client:10.0.0.7 stands for 10.0.0.7:*.
			if a, ok := strings.CutSuffix(parts[0], ":"); ok && plainValue(a, false) && addressValues(Value{Op: OpEqual, Text: a})[0].compare(v) == 0 {
				return a
			}
		}
		return n.escapeValue(parts)
	case OpWord:
		return n.escapeValue(v.Parts)
	}
	return fmt.Sprintf("?%d", v.Op)
}

func (n Term) escapeValue(parts []string) string {
	first := "-'<>"
	if !n.pathLike() || strings.HasSuffix(parts[len(parts)-1], "/") {
		// It would be read as a regular expression.
		first += "/"
	}
	return escape(parts, "", first)
}

// pathLike fields have values that begin with a slash by nature, so that an
// unclosed one is not taken for a mistake in a regular expression.
func (n Term) pathLike() bool { return n.Field == FieldPath || n.Field == FieldEndpoint }

func (n Term) isAddress() bool { return n.Field == FieldClient || n.Field == FieldServer }

// escape writes parts with stars between them, with a backslash before each
// character that would mean something: those that always do, those of special,
// and those of first at the beginning.
func escape(parts []string, special, first string) string {
	var b strings.Builder
	for i, p := range parts {
		if i > 0 {
			b.WriteByte('*')
		}
		for j, r := range p {
			if strings.ContainsRune(` ()"\*`+special, r) || i == 0 && j == 0 && strings.ContainsRune(first, r) {
				b.WriteByte('\\')
			}
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plainValue reports whether s can stand without quotes as a whole value.
func plainValue(s string, pathLike bool) bool {
	if s == "" || strings.ContainsAny(s, `()"\*`) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return false
	}
	switch s[0] {
	case '-', '\'', '<', '>':
		return false
	case '/':
		if !pathLike || strings.HasSuffix(s, "/") && s != "/" {
			return false
		}
	}
	switch strings.ToUpper(s) {
	case "OR", "AND", "NOT":
		return false
	}
	// A range of numbers, where those are allowed.
	return !strings.Contains(s, "..")
}

// plainKey reports whether s can stand without quotes as one part of a key.
func plainKey(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !isKeyRune(r) })
}

func isKeyRune(r rune) bool {
	return r == '_' || r == '-' || r == '.' || r == '/' || r == '@' || r == '$' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// quote is the inverse of the lexer's quoted text.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case unicode.IsControl(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// escapeSlashes puts a backslash before the slashes of an expression, which
// the lexer takes away again.
func escapeSlashes(expr string) string {
	var b strings.Builder
	escaped := false
	for _, r := range expr {
		if r == '/' && !escaped {
			b.WriteByte('\\')
		}
		escaped = r == '\\' && !escaped
		b.WriteRune(r)
	}
	return b.String()
}

func formatRange(t Type, r Range) string {
	switch {
	case r.Lo == r.Hi:
		return formatNumber(t, r.Lo)
	case t == TypeStatus && r.Lo%100 == 0 && r.Lo >= 100 && r.Lo <= 900 && r.Hi == r.Lo+99:
		return strconv.FormatInt(r.Lo/100, 10) + "xx"
	case r.Hi == math.MaxInt64:
		return shorter(t, ">", r.Lo, r.Lo-1)
	case r.Lo == 0:
		return shorter(t, "<", r.Hi, r.Hi+1)
	}
	return formatNumber(t, r.Lo) + ".." + formatNumber(t, r.Hi)
}

// shorter writes a comparison by the end that belongs to the range or by the
// one beside it, whichever has fewer digits: >200ms and not >=200000001ns.
func shorter(t Type, op string, in, out int64) string {
	a := formatNumber(t, in)
	if out < 0 {
		return op + "=" + a
	}
	if b := formatNumber(t, out); digits(b) < digits(a) {
		return op + b
	}
	return op + "=" + a
}

func formatNumber(t Type, n int64) string {
	switch t {
	case TypeDuration:
		return formatUnit(n, durationUnits[:], "s")
	case TypeSize:
		return formatUnit(n, sizeUnits[:], "")
	}
	return strconv.FormatInt(n, 10)
}

func digits(s string) int {
	n := 0
	for _, c := range s {
		if '0' <= c && c <= '9' {
			n++
		}
	}
	return n
}

// formatUnit writes n with the unit that takes the fewest digits.
func formatUnit(n int64, units []unit, zero string) string {
	if n == 0 {
		return "0" + zero
	}
	best := ""
	for _, u := range units {
		if !u.canonical || n%u.size != 0 {
			continue
		}
		if s := strconv.FormatInt(n/u.size, 10) + u.name; best == "" || digits(s) < digits(best) {
			best = s
		}
	}
	return best
}

func formatDecimal(d Decimal) string {
	num := func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	switch {
	case math.IsInf(d.Hi, 1):
		if d.LoOpen {
			return ">" + num(d.Lo)
		}
		return ">=" + num(d.Lo)
	case math.IsInf(d.Lo, -1):
		if d.HiOpen {
			return "<" + num(d.Hi)
		}
		return "<=" + num(d.Hi)
	}
	return num(d.Lo) + ".." + num(d.Hi)
}

// unit is a suffix of numbers. Those that are canonical are written.
type unit struct {
	name      string
	size      int64
	canonical bool
}

var durationUnits = [...]unit{
	{"ns", 1, true},
	{"us", 1e3, true},
	{"µs", 1e3, false}, // U+00B5
	{"μs", 1e3, false}, // U+03BC
	{"ms", 1e6, true},
	{"s", 1e9, true},
	{"m", 60e9, true},
	{"h", 3600e9, true},
	{"d", 24 * 3600e9, false},
}

var sizeUnits = [...]unit{
	{"", 1, true},
	{"B", 1, false},
	// Where both do, powers of two are written: they come first.
	{"KiB", 1 << 10, true},
	{"MiB", 1 << 20, true},
	{"GiB", 1 << 30, true},
	{"TiB", 1 << 40, true},
	{"KB", 1e3, true},
	{"MB", 1e6, true},
	{"GB", 1e9, true},
	{"TB", 1e12, true},
}

// takesPort reports whether a host is written without a port and could have
// one.
func takesPort(v Value) bool {
	s := v.Text
	if v.Op == OpWildcard {
		s = strings.Join(v.Parts, "*")
	}
	if s == "" || strings.HasSuffix(s, "*") {
		return false
	}
	if s[0] == '[' {
		return s[len(s)-1] == ']'
	}
	return !strings.Contains(s, ":")
}

// hostValues is what a host of a query stands for.
func hostValues(v Value) []Value {
	if !takesPort(v) {
		return []Value{v}
	}
	return []Value{v, withPort(v)}
}

// addressValues is what an address of a query stands for: addresses are always
// captured with their port.
func addressValues(v Value) []Value {
	if v.Op != OpEqual && v.Op != OpWildcard {
		return []Value{v}
	}
	if v.Op == OpEqual && strings.Count(v.Text, ":") > 1 && v.Text[0] != '[' {
		// An IPv6 address without brackets cannot have a port.
		v.Text = "[" + v.Text + "]"
	}
	if v.Op == OpEqual && len(v.Text) > 1 && v.Text[0] == ':' {
		return []Value{{Op: OpWildcard, Parts: []string{"", v.Text}}}
	}
	if takesPort(v) {
		return []Value{withPort(v)}
	}
	return []Value{v}
}

func withPort(v Value) Value {
	if v.Op == OpEqual {
		return Value{Op: OpWildcard, Parts: []string{v.Text + ":", ""}}
	}
	parts := slices.Clone(v.Parts)
	parts[len(parts)-1] += ":"
	return Value{Op: OpWildcard, Parts: append(parts, "")}
}
