package redact

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"unicode/utf8"
)

// span is a part of a value that a rule takes.
type span struct{ from, to, rule int }

// find gives the parts of v that have to go, in order, without overlaps.
// matched are the rules that go by the value's name.
func (w *work) find(at where, v []byte, matched ruleSet, depth int) []span {
	f := finder{w: w, at: at, v: v, matched: matched, depth: depth}
	f.words()
	f.fields()
	f.statement()
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
	// named is where the name ended that was looked at last; stops has the
	// value without quotes that was, from its beginning to its end. Without
	// them a name of many words, or a value of many names, would be read once
	// for each.
	named int
	stops span
	// taken is the end of the last value that goes by its name.
	taken int
	// due are detectors that look at all of v, and of which it has a keyword.
	due    ruleSet
	anyDue bool
}

// tryCost is what looking at one place costs at least, in bytes.
const tryCost = 16

// try asks a rule's detector, and notes what it finds.
func (f *finder) try(i, at int) {
	r := f.w.set.rules[i]
	if !f.w.applies(i, f.at.place) || r.keyed && !f.matched.has(i) {
		return
	}
	// What begins within one of the last finds of the same rule goes with it;
	// looking from each place in it would take the square of its length.
	for _, s := range f.spans[max(0, len(f.spans)-8):] {
		if s.rule == i && s.from <= at && at < s.to {
			return
		}
	}
	from, to, ok := r.detect.find(f.v, at)
	if !f.w.spend(max(to-from, tryCost)) {
		return
	}
	if !ok || from >= to || isToken(f.v[from:to]) || r.detect.valid != nil && !r.detect.valid(f.v[from:to]) {
		return
	}
	if r.shadow {
		f.w.shadowAt(r, f.at)
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
			start, ok := s.fits(word, v, i)
			if !ok {
				continue
			}
			switch {
			case word.rule < 0:
				f.assignment(start, i+1)
			case f.w.set.rules[word.rule].detect.whole:
				f.due.add(word.rule)
				f.anyDue = true
			default:
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
		f.whole(i, 0, len(f.v), f.matched)
	}
	for i := 0; f.anyDue && i < len(f.w.set.rules); i++ {
		if f.due.has(i) {
			f.whole(i, 0, len(f.v), f.matched)
		}
	}
}

// whole asks a detector about all of v[from:to].
func (f *finder) whole(i, from, to int, matched ruleSet) {
	r := f.w.set.rules[i]
	if !f.w.applies(i, f.at.place) || r.keyed && !matched.has(i) {
		return
	}
	for done := from; done < to && f.w.spend(to-done); {
		start, end, ok := r.detect.find(f.v[done:to], 0)
		if !ok || start >= end {
			return
		}
		start, end = done+start, done+end
		if !isToken(f.v[start:end]) && (r.detect.valid == nil || r.detect.valid(f.v[start:end])) {
			if r.shadow {
				f.w.shadowAt(r, f.at)
			} else {
				f.spans = append(f.spans, span{start, end, i})
			}
		}
		if done = end; r.detect.once {
			return
		}
	}
}

// assignment looks at a name within text, v[from:to] being a part of it:
// password=…, "api_key": "…", secret => '…'.
func (f *finder) assignment(from, to int) {
	v := f.v
	if to <= f.named {
		return // a part of the name that was looked at last
	}
	part := func(c byte) bool { return alnum(c) || c == '_' || c == '-' || c == '.' }
	for from > f.named && part(v[from-1]) {
		from--
	}
	for to < len(v) && part(v[to]) {
		to++
	}
	f.named = to
	if to == len(v) || !f.w.spend(to-from) || hasToken(v[from:to]) {
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
	if i < f.taken {
		return
	}
	if i < len(v) && (v[i] == '[' || v[i] == '{') {
		end = f.closing(i)
	} else if i < len(v) && (v[i] == '"' || v[i] == '\'' || v[i] == '`') {
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
		if f.stops.from <= start && start < f.stops.to {
			end = f.stops.to
		}
		for end < len(v) && bytes.IndexByte([]byte(" \t\r\n,;&)}]\"'<>\\"), v[end]) < 0 {
			end++
		}
		f.stops = span{from: start, to: end}
	}
	if start >= end || isToken(v[start:end]) {
		return
	}
	if f.value(name, start, end) {
		f.taken = end
	}
}

// value looks at v[from:to], which a name is given, and reports whether all of
// it is taken.
func (f *finder) value(name []byte, from, to int) bool {
	matched, rule := f.w.named(where{place: inText, name: name})
	if rule >= 0 {
		f.spans = append(f.spans, span{from, to, rule})
		return true
	}
	if matched == (ruleSet{}) {
		return false
	}
	for _, i := range f.w.set.scan.wholes {
		if f.w.set.rules[i].keyed {
			f.whole(i, from, to, matched)
		}
	}
	return false
}

// closing is behind where the bracket at v[at] is closed, or the end of v.
func (f *finder) closing(at int) (end int) {
	v, depth, quoted := f.v, 0, false
	defer func() { f.w.spend(end - at) }()
	for i := at; i < len(v); i++ {
		switch c := v[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(v)
}

// runs looks into what is written in another alphabet: base64, and escapes.
func (f *finder) runs() {
	v, marks := f.v, &f.w.set.scan.marks
	for i := 0; i < len(v); {
		if marks[v[i]]&markLong == 0 {
			switch {
			case f.depth >= flat:
			case v[i] == '%' || v[i] == '\\':
				i = f.escaped(i)
				continue
			case v[i] == '&' && i+1 < len(v) && v[i+1] == '#':
				i = f.references(i)
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
		if f.depth < flat {
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

// references looks into a word with references to characters, as HTML writes
// them, and says where it ends.
func (f *finder) references(at int) int {
	v := f.v
	stop := func(c byte) bool { return bytes.IndexByte([]byte(" \t\r\n\"'<>"), c) >= 0 }
	from, to := at, at
	for from > 0 && !stop(v[from-1]) {
		from--
	}
	for to < len(v) && !stop(v[to]) {
		to++
	}
	if !f.w.spend(to - from) {
		return max(to, at+1)
	}
	if rule := f.w.hidden(f.at, entities(v[from:to]), f.depth+1); rule >= 0 {
		f.spans = append(f.spans, span{from, to, rule})
	}
	return to
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
	if depth > maxNesting {
		w.fail(errNested)
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
