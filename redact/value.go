package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
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
}

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
		for _, s := range at.steps {
			if s.array {
				b.WriteString("[*]")
			} else {
				b.WriteByte('.')
				b.WriteString(w.safeName(s.name))
			}
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
	if len(w.find(where{place: inText}, name, ruleSet{}, maxNesting)) > 0 {
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
			w.shadow(r, w.location(at))
		case whole < 0 || i < whole:
			whole = i
		}
	}
	var buf [maxKeyLen]byte
	if len(at.name) > 0 && len(at.name) <= maxKeyLen && !hasToken(at.name) {
		n := appendNormal(buf[:0], at.name)
		if w.set.scan.look(n)&hasWord != 0 { // it has all names' words
			for _, i := range w.set.names[string(n)] {
				take(i, n)
			}
			for _, g := range w.set.globs {
				if g.match(n) {
					take(g.rule, n)
				}
			}
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
	if w.set.scan.look(v) == 0 {
		return v, false
	}
	if depth < maxNesting && looksJSON(v) {
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
	i := bytes.LastIndexByte(rest, '-')
	if !ok || i <= 0 || len(rest)-i-1 != tokenChars {
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

// span is a part of a value that a rule takes.
type span struct{ from, to, rule int }

// find gives the parts of v that have to go, in order, without overlaps.
// matched are the rules that go by the value's name.
func (w *work) find(at where, v []byte, matched ruleSet, depth int) []span {
	f := finder{w: w, at: at, v: v, matched: matched, depth: depth}
	f.words()
	f.numbers()
	f.wholes()
	f.runs()
	return f.merged()
}

// finder is one look for spans.
type finder struct {
	w       *work
	at      where
	v       []byte
	matched ruleSet
	depth   int
	spans   []span
}

// try asks a rule's detector, and notes what it finds.
func (f *finder) try(i, at int) {
	r := f.w.set.rules[i]
	if !f.w.applies(i, f.at.place) || r.keyed && !f.matched.has(i) {
		return
	}
	from, to, ok := r.detect.find(f.v, at)
	if !ok || from >= to || isToken(f.v[from:to]) || r.detect.valid != nil && !r.detect.valid(f.v[from:to]) {
		return
	}
	if r.shadow {
		f.w.shadow(r, f.w.location(f.at))
		return
	}
	f.spans = append(f.spans, span{from, to, i})
}

// words looks at each keyword.
func (f *finder) words() {
	s, v := f.w.set.scan, f.v
	state := 0
	for i, c := range v {
		k := s.class[c]
		if k == classSkip {
			continue
		}
		state = int(s.next[state<<s.shift|int(k)])
		for _, word := range s.out[state] {
			start := i
			for n := word.length; ; start-- {
				if s.class[v[start]] != classSkip {
					if n--; n == 0 {
						break
					}
				}
			}
			if word.rule < 0 {
				f.assignment(start, i+1)
			} else {
				f.try(word.rule, start)
			}
		}
	}
}

// numbers looks at each beginning of digits.
func (f *finder) numbers() {
	if len(f.w.set.scan.numbers) == 0 {
		return
	}
	for i := 0; i < len(f.v); i++ {
		if !digit(f.v[i]) {
			continue
		}
		if i == 0 || !digit(f.v[i-1]) {
			for _, n := range f.w.set.scan.numbers {
				f.try(n, i)
			}
		}
	}
}

// wholes asks the detectors that have no keyword.
func (f *finder) wholes() {
	for _, i := range f.w.set.scan.wholes {
		r := f.w.set.rules[i]
		if !f.w.applies(i, f.at.place) || r.keyed && !f.matched.has(i) {
			continue
		}
		for done := 0; done < len(f.v) && f.w.spend(len(f.v)-done); {
			from, to, ok := r.detect.find(f.v[done:], 0)
			if !ok || from >= to {
				break
			}
			if r.detect.valid == nil || r.detect.valid(f.v[done+from:done+to]) {
				if r.shadow {
					f.w.shadow(r, f.w.location(f.at))
				} else {
					f.spans = append(f.spans, span{done + from, done + to, i})
				}
			}
			done += to
		}
	}
}

// assignment looks at a name within text, v[from:to] being a part of it:
// password=…, "api_key": "…", secret => '…'.
func (f *finder) assignment(from, to int) {
	v := f.v
	part := func(c byte) bool { return alnum(c) || c == '_' || c == '-' || c == '.' }
	for from > 0 && part(v[from-1]) {
		from--
	}
	for to < len(v) && part(v[to]) {
		to++
	}
	if to-from > maxKeyLen || to == len(v) || hasToken(v[from:to]) {
		return
	}
	name, i := v[from:to], to
	for i < len(v) && (v[i] == '"' || v[i] == '\'' || v[i] == '\\' || v[i] == ' ' || v[i] == ']') && i-to < 4 {
		i++
	}
	switch {
	case i < len(v) && (v[i] == '=' || v[i] == ':'):
		i++
		if i < len(v) && (v[i] == '>' || v[i] == '=') {
			i++
		}
	default:
		return
	}
	for i < len(v) && (v[i] == ' ' || v[i] == '\t') {
		i++
	}
	for i < len(v) && v[i] == '\\' {
		i++
	}
	start := i
	var end int
	if i < len(v) && (v[i] == '"' || v[i] == '\'' || v[i] == '`') {
		start++
		end = start
		for end < len(v) && v[end] != v[i] {
			if v[end] == '\\' {
				// An escaped quote ends what an escaped quote began.
				if end+1 < len(v) && v[end+1] == v[i] && i > 0 && v[i-1] == '\\' {
					break
				}
				end++
			}
			end++
		}
		end = min(end, len(v))
	} else {
		if _, rest, ok := credential(v[i:min(len(v), i+4096)]); ok {
			start = min(len(v), i+4096) - len(rest)
		}
		end = start
		for end < len(v) && !bytes.ContainsRune([]byte(" \t\r\n,;&)}]\"'<>\\"), rune(v[end])) {
			end++
		}
	}
	if start >= end || isToken(v[start:end]) {
		return
	}
	if _, rule := f.w.named(where{place: inText, name: name}); rule >= 0 {
		f.spans = append(f.spans, span{start, end, rule})
	}
}

// runs looks into what is written in another alphabet: base64, and escapes.
func (f *finder) runs() {
	v, marks := f.v, &f.w.set.scan.marks
	for i := 0; i < len(v); {
		if marks[v[i]]&markLong == 0 {
			if (v[i] == '%' || v[i] == '\\') && f.depth < maxNesting {
				i = f.escaped(i)
				continue
			}
			i++
			continue
		}
		start := i
		for i < len(v) && marks[v[i]]&markLong != 0 {
			i++
		}
		for i < len(v) && v[i] == '=' && i-start >= longRun {
			i++
		}
		if i-start < longRun {
			continue
		}
		for _, n := range f.w.set.scan.longs {
			f.try(n, start)
		}
		if f.depth < maxNesting {
			f.base64(start, i)
		}
	}
}

// base64 looks into a run of its characters; one that hides something goes as
// a whole.
func (f *finder) base64(from, to int) {
	text := bytes.TrimRight(f.v[from:to], "=")
	if !f.w.spend(len(text)) {
		return
	}
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	var small [512]byte
	plain := small[:]
	if n := enc.DecodedLen(len(text)); n > len(plain) {
		plain = make([]byte, n)
	}
	n, err := enc.Decode(plain, text)
	if err != nil || !readable(plain[:n]) {
		return
	}
	if rule := f.w.hidden(f.at, plain[:n], f.depth+1); rule >= 0 {
		f.spans = append(f.spans, span{from, to, rule})
	}
}

// readable: it is text, or nearly.
func readable(b []byte) bool {
	odd := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			odd++
		}
	}
	return len(b) > 0 && odd*8 <= len(b)
}

// escaped looks into a word with percent or \u escapes, and says where it
// ends. One that hides something goes from the first to the last character of
// what is between separators.
func (f *finder) escaped(at int) int {
	v := f.v
	stop := func(c byte) bool { return bytes.IndexByte([]byte(" \t\r\n&?=;,\"'<>/#"), c) >= 0 }
	from, to := at, at
	for from > 0 && !stop(v[from-1]) {
		from--
	}
	for to < len(v) && !stop(v[to]) {
		to++
	}
	word := v[from:to]
	if !f.w.spend(len(word)) {
		return max(to, at+1)
	}
	plain, ok := unescape(word)
	if ok {
		if rule := f.w.hidden(f.at, plain, f.depth+1); rule >= 0 {
			f.spans = append(f.spans, span{from, to, rule})
		}
	}
	return max(to, at+1)
}

// unescape undoes percent and \u escapes; false when there are none.
func unescape(b []byte) ([]byte, bool) {
	var out []byte
	done := 0
	for i := 0; i < len(b); {
		switch {
		case b[i] == '%' && i+2 < len(b) && unhex(b[i+1]) >= 0 && unhex(b[i+2]) >= 0:
			out = append(append(out, b[done:i]...), byte(unhex(b[i+1])<<4|unhex(b[i+2])))
			i += 3
			done = i
		case b[i] == '\\' && i+5 < len(b) && b[i+1] == 'u':
			r := rune(0)
			for _, c := range b[i+2 : i+6] {
				h := unhex(c)
				if h < 0 {
					r = -1
					break
				}
				r = r<<4 | rune(h)
			}
			if r < 0 {
				i++
				continue
			}
			out = utf8.AppendRune(append(out, b[done:i]...), r)
			i += 6
			done = i
		default:
			i++
		}
	}
	if done == 0 {
		return b, false
	}
	return append(out, b[done:]...), true
}

func unhex(c byte) int {
	switch {
	case digit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// hidden reports the first rule that takes something of a value that stands
// encoded within another one, or -1.
func (w *work) hidden(at where, v []byte, depth int) int {
	if w.set.scan.look(v) == 0 {
		return -1
	}
	if looksJSON(v) {
		w.quiet++
		first := w.firstRule
		w.firstRule = -1
		_, changed, err := w.json(v, at, depth+1, false)
		found := w.firstRule
		w.firstRule = first
		w.quiet--
		if err == nil {
			if changed && found >= 0 {
				return found
			}
			return -1
		}
	}
	if spans := w.find(where{place: at.place}, v, ruleSet{}, depth); len(spans) > 0 {
		return spans[0].rule
	}
	return -1
}

// merged puts spans in order; of those that overlap the one that begins first
// stays, and takes the end of the others.
func (f *finder) merged() []span {
	if len(f.spans) < 2 {
		return f.spans
	}
	slices.SortFunc(f.spans, func(a, b span) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to), cmp.Compare(a.rule, b.rule))
	})
	out := f.spans[:1]
	for _, s := range f.spans[1:] {
		if l := &out[len(out)-1]; s.from < l.to {
			l.to = max(l.to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}
