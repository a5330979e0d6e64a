package redact

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// where is a value's place, for rules and for receipts.
type where struct {
	place place
	name  []byte
	// steps lead to it within a document.
	steps []step
	// label stands for the name where there is none.
	label string
}

// step is a member's name, or an array's element, which has none.
type step struct {
	name  []byte
	array bool
	// safe is what may be shown of the name, once somebody asked.
	safe string
}

// maxSteps is how many steps a receipt names of a place.
const maxSteps = 16

// String is the place as receipts have it. Names that are keys of documents
// are somebody's data: what a detector finds in them is not repeated.
func (w *work) location(at where) string {
	var b strings.Builder
	b.WriteString(w.side)
	if w.side != "" {
		b.WriteByte('.')
	}
	switch at.place {
	case inHeader:
		b.WriteString("header.")
	case inCookie:
		b.WriteString("cookie.")
	case inQuery:
		b.WriteString("query.")
	case inPath:
		b.WriteString("path")
	default:
		b.WriteString("body")
	}
	if len(at.steps) > 0 {
		b.WriteString(" $")
		for i := range at.steps {
			s := &at.steps[i]
			switch {
			case len(at.steps) > maxSteps && i == maxSteps/2:
				b.WriteString("…")
				continue
			case len(at.steps) > maxSteps && maxSteps/2 < i && i < len(at.steps)-maxSteps/2:
				continue
			case s.array:
				b.WriteString("[*]")
				continue
			case s.safe == "":
				s.safe = w.safeName(s.name)
			}
			b.WriteByte('.')
			b.WriteString(s.safe)
		}
	} else if name := cmp.Or(w.safeName(at.name), at.label); name != "" {
		if at.place&(inHeader|inCookie|inQuery) == 0 {
			b.WriteByte(' ')
		}
		b.WriteString(name)
	}
	return b.String()
}

// safeName is a name that may be shown: short, and without anything that a
// detector finds.
func (w *work) safeName(name []byte) string {
	if len(name) > 64 || !utf8.Valid(name) {
		return "…"
	}
	w.quiet++
	defer func() { w.quiet-- }()
	if w.set.scan.look(name) != 0 && len(w.find(where{place: inText}, name, ruleSet{}, flat)) > 0 {
		return "…"
	}
	return strings.ToLower(string(name))
}

// applies reports whether a rule looks at a place of this side of this pair.
func (w *work) applies(i int, at place) bool {
	r := w.set.rules[i]
	return r.in&at != 0 && (r.side == "" || r.side == w.side || w.side == "") && !w.off.has(i)
}

// named gives the rules that take a value by its name or path. whole is the
// first that replaces all of it, or -1.
func (w *work) named(at where) (matched ruleSet, whole int) {
	whole = -1
	take := func(i int, name []byte) {
		if !w.applies(i, at.place) || len(w.set.rules[i].except) > 0 && w.set.rules[i].except[string(name)] || matched.has(i) {
			return
		}
		matched.add(i)
		switch r := w.set.rules[i]; {
		case r.detect != nil:
		case r.shadow:
			w.shadowAt(r, at)
		case whole < 0 || i < whole:
			whole = i
		}
	}
	var buf [maxKeyLen]byte // longer ones are rare
	if len(at.name) > maxKeyLen && !w.spend(len(at.name)) {
		return matched, whole
	}
	if at.place&(inForm|inQuery|inMultipart) != 0 && bytes.HasSuffix(at.name, []byte("]")) {
		// user[password], as many frameworks write their forms.
		for _, part := range bytes.FieldsFunc(at.name, func(r rune) bool { return r == '[' || r == ']' }) {
			inner := at
			if inner.name = part; len(part) < len(at.name) {
				if m, i := w.named(inner); i >= 0 && (whole < 0 || i < whole) {
					matched, whole = m, i
				}
			}
		}
	}
	if len(at.name) > 0 && hasToken(at.name) {
		for _, i := range w.set.anyName {
			take(i, nil)
		}
	} else if len(at.name) > 0 {
		n := appendNormal(buf[:0], at.name)
		if w.set.scan.look(n)&hasWord != 0 { // it has all names' words
			for _, i := range w.set.names[string(n)] {
				take(i, n)
			}
			w.set.scan.globs(n, func(i int) {
				if g := w.set.globs[i]; g.match(n) {
					take(g.rule, n)
				}
			})
		}
		for _, i := range w.set.anyName {
			take(i, n)
		}
	}
	for _, i := range w.set.paths {
		for _, p := range w.set.rules[i].jsonPaths {
			if samePath(p, at.steps) {
				take(i, nil)
			}
		}
	}
	return matched, whole
}

func samePath(want []string, have []step) bool {
	if len(want) != len(have) {
		return false
	}
	for i, s := range want {
		if s != "*" && (have[i].array || s != string(have[i].name)) {
			return false
		}
	}
	return true
}

// value looks at one value, without the escapes of where it stands, and gives
// what is to stand in its place.
func (w *work) value(at where, v []byte, depth int) (out []byte, changed bool) {
	if len(v) == 0 || !w.spend(len(v)) {
		return v, false
	}
	matched, whole := w.named(at)
	if whole >= 0 {
		return w.whole(whole, at, v)
	}
	return w.inside(at, v, matched, depth)
}

// whole replaces all of a value.
func (w *work) whole(i int, at where, v []byte) ([]byte, bool) {
	r := w.set.rules[i]
	scheme, credentials, ok := credential(v)
	if !ok || at.place != inHeader {
		scheme, credentials = nil, v
	}
	if isToken(credentials) || isMask(credentials) {
		return v, false
	}
	w.note(i, at)
	return w.replace(slices.Clone(scheme), r, credentials), true
}

// inside looks for what has to go within a value.
func (w *work) inside(at where, v []byte, matched ruleSet, depth int) ([]byte, bool) {
	if matched == (ruleSet{}) && w.set.scan.look(v) == 0 && len(w.variables) == 0 {
		return v, false
	}
	if depth < flat && looksJSON(v) {
		if depth >= maxNesting {
			w.fail(errNested)
			return v, false
		}
		if out, changed, err := w.json(v, at, depth+1, false); err == nil {
			return out, changed
		}
	}
	literals, changed := w.sql(at, v)
	if changed {
		v = literals
	}
	spans := w.find(at, v, matched, depth)
	if len(spans) == 0 {
		return v, changed
	}
	var out []byte
	done := 0
	for _, s := range spans {
		w.note(s.rule, at)
		out = append(out, v[done:s.from]...)
		out = w.replace(out, w.set.rules[s.rule], v[s.from:s.to])
		done = s.to
	}
	return append(out, v[done:]...), true
}

// note receipts what a rule changes.
func (w *work) note(i int, at where) {
	if w.quiet > 0 {
		if w.firstRule < 0 {
			w.firstRule = i
		}
		return
	}
	r := w.set.rules[i]
	w.noted++
	if len(w.receipts) == maxReceipts {
		w.receipt(receiptsOverflow, receiptsOverflow, receiptsOverflow)
		return
	}
	w.receipt(r.name, w.location(at), r.kind)
}

// looksJSON: it begins and ends as an object or an array.
func looksJSON(v []byte) bool {
	v = bytes.TrimSpace(v)
	return len(v) > 2 && (v[0] == '{' && v[len(v)-1] == '}' || v[0] == '[' && v[len(v)-1] == ']')
}

// credential parts a header's value into a scheme, with its space, and what
// belongs to it (RFC 9110, section 11.4).
func credential(v []byte) (scheme, rest []byte, ok bool) {
	i := bytes.IndexByte(v, ' ')
	if i < 3 || i > 20 || i+1 == len(v) {
		return nil, nil, false
	}
	switch strings.ToLower(string(v[:i])) {
	case "basic", "bearer", "digest", "negotiate", "ntlm", "token", "apikey", "hawk", "hoba", "mutual", "dpop", "gnap", "aws4-hmac-sha256", "sharedkey", "oauth", "signature", "scram-sha-256", "scram-sha-1", "vapid", "key":
		return v[:i+1], v[i+1:], true
	}
	return nil, nil, false
}

// isToken reports whether a value is a token already: redacting twice changes
// nothing.
func isToken(v []byte) bool {
	rest, ok := bytes.CutPrefix(v, []byte("REDACTED-"))
	i := len(rest) - tokenChars - 1 // not searched for: a value may be long
	if !ok || i <= 0 || rest[i] != '-' {
		return false
	}
	for _, c := range rest[:i] {
		if !upper(c) && !digit(c) && c != '-' {
			return false
		}
	}
	for _, c := range rest[i+1:] {
		if upper(c) || !alnum(c) {
			return false
		}
	}
	return true
}

// isMask reports whether a value is what mask and keep_last leave.
func isMask(v []byte) bool {
	rest, ok := bytes.CutPrefix(v, []byte("****"))
	return ok && len(rest) <= 8
}

// hasToken reports whether a name has a token in it: what stands beside it was
// looked at when the token was made.
func hasToken(name []byte) bool {
	i := bytes.Index(name, []byte("REDACTED-"))
	if i < 0 {
		return false
	}
	for end := i + len("REDACTED-X-") + tokenChars; end <= len(name); end++ {
		if isToken(name[i:end]) {
			return true
		}
	}
	return hasToken(name[i+1:])
}

// replace appends what stands for a value.
func (w *work) replace(b []byte, r *rule, v []byte) []byte {
	switch r.act {
	case actMask:
		return append(b, "********"...) // its length is no one's business
	case actRemove:
		return b
	case actWithhold:
		w.stop = true
		return b
	case actKeepLast:
		b = append(b, "****"...)
		if len(v) >= 2*r.keep {
			b = append(b, v[len(v)-r.keep:]...)
		}
		return b
	}
	if r.alike {
		n := len(b)
		out, err := w.keys.appendAlike(b, v, r.detect != nil && r.detect.name == "card" || cardLike(v))
		if err == nil {
			return out
		}
		b = out[:n]
	}
	return w.keys.appendToken(b, r.kind, v)
}

func cardLike(v []byte) bool {
	from, to, ok := findCard(v, 0)
	return len(v) >= 13 && digit(v[0]) && ok && from == 0 && to == len(v)
}
