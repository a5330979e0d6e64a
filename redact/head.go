package redact

import (
	"bytes"
	"slices"
	"strings"
	"unsafe"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/httphead"
)

// source redacts what a pair says of itself beside its messages. It is done
// first, and in the same way as the header block, so that both have the same
// tokens; only the block's changes are receipted.
func (w *work) source() {
	p := w.pair
	w.quiet++
	defer func() { w.quiet-- }()
	w.side = "request"
	defer func() { w.side = "" }()
	if out, ok := w.path(borrow(p.GetPath())); ok {
		p.Path, w.changed = string(out), true
	}
	if strings.Contains(p.GetQuery(), "variables") {
		w.bind(plus(borrow(p.GetQuery())))
	}
	if out, ok := w.form(borrow(p.GetQuery()), inQuery); ok {
		p.Query, w.changed = string(out), true
	}
	for _, v := range []*string{&p.Host, &p.Error, &p.Method} {
		if out, ok := w.inside(where{place: inText}, borrow(*v), ruleSet{}, 0); ok {
			*v, w.changed = string(out), true
		}
	}
	for name, v := range p.GetTags() {
		if out, ok := w.inside(where{place: inText, name: borrow(name)}, borrow(v), ruleSet{}, 0); ok {
			p.Tags[name], w.changed = string(out), true
		}
	}
}

// borrow reads a text without a copy of it. Nothing in this package writes
// into the values that it looks at.
func borrow(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// head redacts a message's header block, its trailers and the header blocks of
// interim responses.
func (w *work) head(m *capturev1.Message) {
	if out, ok := w.block(m.GetHead(), true); ok {
		m.Head = out
	}
	if out, ok := w.block(m.GetTrailers(), false); ok {
		m.Trailers = out
	}
	for i, b := range m.GetInterim() {
		if out, ok := w.block(b, true); ok {
			m.Interim[i] = out
		}
	}
	for _, c := range m.GetChunks() {
		// A chunk's line may have more than a size; nothing needs it.
		line := c.GetLine()
		size := 0
		for size < len(line) && unhex(line[size]) >= 0 {
			size++
		}
		if len(bytes.TrimSpace(line[size:])) > 0 {
			if _, ok := w.inside(where{place: inHeader, label: "(chunk extension)"}, line, ruleSet{}, 0); ok {
				c.Line = slices.Clone(line[:size])
			}
		}
	}
}

// block rewrites a header block, or a section of fields without start line.
// Bytes of lines that do not change stay as they are.
func (w *work) block(head []byte, startLine bool) (out []byte, changed bool) {
	if len(head) == 0 || !w.spend(len(head)) {
		return head, false
	}
	done, pos := 0, 0
	put := func(from, to int, text []byte) {
		out = append(append(out, head[done:from]...), text...)
		done, changed = to, true
	}
	if startLine {
		line, section := httphead.StartLine(head)
		pos = len(head) - len(section)
		from := bytes.Index(head, line)
		if next, ok := w.startLine(line); ok && len(line) > 0 {
			put(from, from+len(line), next)
		}
	}
	for f, rest, ok := httphead.Next(head[pos:]); ok; f, rest, ok = httphead.Next(rest) {
		from, to := pos, pos+len(f.Raw)
		pos = to
		next, drop, ok := w.field(f)
		switch {
		case drop:
			put(from, to, nil)
		case ok && f.Value == nil:
			put(from, to, append(next, lineEnd(f.Raw)...))
		case ok:
			text := append(slices.Clone(f.Name), ": "...)
			put(from, to, append(append(text, next...), lineEnd(f.Raw)...))
		}
	}
	if !changed {
		return head, false
	}
	return append(out, head[done:]...), true
}

func lineEnd(raw []byte) []byte { return raw[len(bytes.TrimRight(raw, "\r\n")):] }

// field redacts one field's value. A line without a colon is all value.
func (w *work) field(f httphead.Field) (next []byte, drop, changed bool) {
	if f.Value == nil {
		next, changed = w.inside(where{place: inHeader, label: "(line without colon)"}, f.Name, ruleSet{}, 0)
		return next, false, changed
	}
	cookie, set := f.Is("Cookie"), f.Is("Set-Cookie") || f.Is("Set-Cookie2")
	at := where{place: inHeader, name: f.Name}
	matched, whole := w.named(at)
	switch {
	case whole >= 0 && len(f.Value) > 0:
		next, changed = w.whole(whole, at, f.Value)
		drop = changed && w.set.rules[whole].act == actRemove
	case cookie || set:
		next, changed = w.cookies(f.Value, set)
	default:
		next, changed = w.target(at, f.Value, matched)
	}
	return next, drop, changed
}

// target redacts a value that may be a URL: its query goes by names.
func (w *work) target(at where, v []byte, matched ruleSet) ([]byte, bool) {
	if matched == (ruleSet{}) && w.set.scan.look(v) == 0 {
		return v, false
	}
	changed := false
	if i := bytes.IndexByte(v, '?'); i >= 0 && bytes.IndexByte(v[:i], '/') >= 0 && bytes.IndexByte(v, ' ') < 0 {
		fragment := bytes.IndexByte(v[i:], '#')
		end := len(v)
		if fragment >= 0 {
			end = i + fragment
		}
		if q, ok := w.form(v[i+1:end], inQuery); ok {
			v, changed = slices.Concat(v[:i+1], q, v[end:]), true
		}
	}
	out, ok := w.inside(at, v, matched, 0)
	return out, ok || changed
}

// startLine redacts a request's target or a response's reason.
func (w *work) startLine(line []byte) ([]byte, bool) {
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		return w.inside(where{place: inHeader, label: "(status line)"}, line, ruleSet{}, 0)
	}
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 0 {
		return w.inside(where{place: inHeader, label: "(request line)"}, line, ruleSet{}, 0)
	}
	if last == first || !bytes.HasPrefix(line[last:], []byte(" HTTP/")) {
		last = len(line)
	}
	target := line[first+1 : last]
	path, query, hasQuery := bytes.Cut(target, []byte("?"))
	newPath, pathChanged := w.path(path)
	newQuery, queryChanged := w.form(query, inQuery)
	if !pathChanged && !queryChanged {
		return line, false
	}
	out := append(slices.Clone(line[:first+1]), newPath...)
	if hasQuery {
		out = append(append(out, '?'), newQuery...)
	}
	return append(out, line[last:]...), true
}

// path redacts the segments of a path, by template and by what is in them. An
// absolute target has its authority before them.
func (w *work) path(v []byte) (out []byte, changed bool) {
	if !w.spend(len(v)) {
		return v, false
	}
	if !bytes.Contains(v, []byte("://")) {
		return w.segments(v)
	}
	for pos := 0; pos < len(v); {
		// What goes before, the authority of a URL with its scheme, and the rest.
		from, to := len(v), len(v)
		if i := bytes.Index(v[pos:], []byte("://")); i >= 0 {
			from = pos + bytes.LastIndexByte(v[pos:pos+i], '/') + 1
			if end := bytes.IndexByte(v[pos+i+3:], '/'); end >= 0 {
				to = pos + i + 3 + end
			}
		}
		segments, ok := w.segments(v[pos:from])
		authority, found := w.inside(where{place: inPath}, v[from:to], ruleSet{}, 0)
		out, changed = append(append(out, segments...), authority...), changed || ok || found
		pos = to
	}
	if !changed {
		return v, false
	}
	return out, true
}

// segments redacts the segments of a path without authority.
func (w *work) segments(v []byte) (out []byte, changed bool) {
	if len(v) == 0 {
		return v, false
	}
	if len(w.set.templates) == 0 && w.set.scan.look(v) == 0 {
		return v, false
	}
	segments := bytes.Split(v, []byte("/"))
	for _, i := range w.set.templates {
		r := w.set.rules[i]
		if !w.applies(i, inPath) || len(segments) != len(r.template)+1 {
			continue
		}
		fits := true
		for n, t := range r.template {
			if !isParameter(t) && t != "*" && t != string(segments[n+1]) {
				fits = false
				break
			}
		}
		if !fits {
			continue
		}
		for n, t := range r.template {
			if isParameter(t) && len(segments[n+1]) > 0 && !isToken(segments[n+1]) {
				at := where{place: inPath, label: t}
				if r.shadow {
					w.shadowAt(r, at)
					continue
				}
				w.note(i, at)
				segments[n+1] = appendEscaped(nil, w.replace(nil, r, plusless(segments[n+1])))
				changed = true
			}
		}
	}
	for n, s := range segments {
		plain := plusless(s)
		// A name before a value: /token/abc is not looked at, shapes are.
		if next, ok := w.inside(where{place: inPath}, plain, ruleSet{}, 0); ok {
			segments[n], changed = appendEscaped(nil, next), true
		}
	}
	if !changed {
		return v, false
	}
	return bytes.Join(segments, []byte("/")), true
}

func isParameter(t string) bool { return len(t) > 2 && t[0] == '{' && t[len(t)-1] == '}' }

// plusless undoes percent escapes where "+" is itself.
func plusless(v []byte) []byte {
	if plain, ok := unescape(v); ok {
		return plain
	}
	return v
}
