package redact

import (
	"bytes"
	"slices"
	"unicode"
)

// xml walks a document (W3C XML 1.0): text and attributes by the name of
// their element and their own. It checks no more of its form than that tags
// can be told from text.
func (w *work) xml(v []byte, cut bool) (out []byte, changed bool, err error) {
	if !w.spend(len(v)) {
		return v, false, errBudget
	}
	x := xmlWalk{w: w, in: v}
	err = x.walk()
	if err == nil && w.failed != nil {
		err = w.failed
	}
	switch {
	case err == errCut && cut:
		return append(x.out, v[x.done:max(x.done, x.token)]...), true, errCut
	case err != nil:
		return v, false, err
	case x.done == 0:
		return v, false, nil
	}
	return append(x.out, v[x.done:]...), true, nil
}

type xmlWalk struct {
	w           *work
	in, out     []byte
	token, done int
	// entity: the document was looked through for declarations of entities.
	entity bool
	names  []xmlName
	// pieces are what stands between two tags, parted by comments and CDATA:
	// to who reads the document they are one text.
	pieces, comments []xmlPiece
}

// xmlPiece is a part of a text; raw where no reference is read.
type xmlPiece struct {
	from, to int
	raw      bool
}

// xmlName is an open element's.
type xmlName struct {
	// name is the element's own; by that of the innermost around it, or its
	// own, that a rule takes whole.
	name, by []byte
}

func (x *xmlWalk) replace(from, to int, text []byte, raw bool) {
	x.out = append(x.out, x.in[x.done:from]...)
	if raw { // in a comment or CDATA, where no reference is read
		x.out, x.done = append(x.out, text...), to
		return
	}
	for _, c := range text {
		switch c {
		case '<':
			x.out = append(x.out, "&lt;"...)
		case '&':
			x.out = append(x.out, "&amp;"...)
		case '"':
			x.out = append(x.out, "&quot;"...)
		case '\'':
			x.out = append(x.out, "&apos;"...)
		default:
			x.out = append(x.out, c)
		}
	}
	x.done = to
}

func (x *xmlWalk) walk() error {
	v := x.in
	for pos := 0; pos < len(v); {
		x.token = pos
		lt := bytes.IndexByte(v[pos:], '<')
		if lt < 0 {
			x.piece(pos, len(v), false)
			x.flush()
			if len(x.names) > 0 {
				return errCut
			}
			return nil
		}
		if lt > 0 {
			x.piece(pos, pos+lt, false)
			pos += lt
			x.token = pos
		}
		rest := v[pos:]
		var end int
		switch {
		case bytes.HasPrefix(rest, []byte("<!--")):
			end = indexEnd(rest, "-->")
			if end > 0 {
				x.comments = append(x.comments, xmlPiece{pos + 4, pos + end - 3, true})
			}
		case bytes.HasPrefix(rest, []byte("<![CDATA[")):
			end = indexEnd(rest, "]]>")
			if end > 0 {
				x.piece(pos+9, pos+end-3, true)
			}
		case bytes.HasPrefix(rest, []byte("<?")):
			end = indexEnd(rest, "?>")
			if end > 0 {
				x.comments = append(x.comments, xmlPiece{pos + 2, pos + end - 2, true})
			}
		case bytes.HasPrefix(rest, []byte("<!DOCTYPE")):
			// Entities could say anything in the place of any text.
			if !x.entity && bytes.Contains(rest, []byte("<!ENTITY")) {
				return errMalformed
			}
			x.entity = true
			end = indexEnd(rest, ">")
			if x.secret(rest[:end]) {
				return errMalformed
			}
		case bytes.HasPrefix(rest, []byte("</")):
			x.flush()
			end = indexEnd(rest, ">")
			if end > 0 {
				if len(x.names) == 0 {
					return errMalformed
				}
				if x.secret(rest[:end]) {
					return errMalformed
				}
				x.names = x.names[:len(x.names)-1]
			}
		default:
			x.flush()
			var err error
			if end, err = x.tag(pos); err != nil {
				return err
			}
		}
		if end <= 0 {
			return errCut
		}
		pos += end
	}
	x.flush()
	if len(x.names) > 0 {
		x.token = len(v)
		return errCut
	}
	return nil
}

func indexEnd(v []byte, mark string) int {
	i := bytes.Index(v, []byte(mark))
	if i < 0 {
		return 0
	}
	return i + len(mark)
}

// tag walks an opening tag with its attributes, and gives its length; 0 when
// it is cut.
func (x *xmlWalk) tag(pos int) (int, error) {
	v := x.in
	i := pos + 1
	for i < len(v) && !bytes.ContainsRune([]byte(" \t\r\n/>"), rune(v[i])) {
		i++
	}
	if i == len(v) {
		return 0, nil
	}
	if i == pos+1 {
		return 0, errMalformed
	}
	name := local(v[pos+1 : i])
	if x.secret(v[pos+1 : i]) {
		return 0, errMalformed
	}
	for {
		for i < len(v) && (v[i] == ' ' || v[i] == '\t' || v[i] == '\r' || v[i] == '\n') {
			i++
		}
		switch {
		case i >= len(v):
			return 0, nil
		case v[i] == '>':
			if len(x.names) == maxDepth {
				return 0, errBudget
			}
			open := xmlName{name: name}
			if _, whole := x.w.named(where{place: inXML, name: name}); whole >= 0 {
				open.by = name
			} else if n := len(x.names); n > 0 {
				open.by = x.names[n-1].by
			}
			x.names = append(x.names, open)
			return i + 1 - pos, nil
		case v[i] == '/':
			if i+1 == len(v) {
				return 0, nil
			}
			if v[i+1] != '>' {
				return 0, errMalformed
			}
			return i + 2 - pos, nil
		}
		eq := bytes.IndexByte(v[i:], '=')
		if eq < 0 {
			return 0, nil
		}
		attribute := bytes.TrimSpace(v[i : i+eq])
		i += eq + 1
		for i < len(v) && (v[i] == ' ' || v[i] == '\t' || v[i] == '\r' || v[i] == '\n') {
			i++
		}
		if i == len(v) {
			return 0, nil
		}
		if len(attribute) == 0 || bytes.ContainsAny(attribute, " <>\"'") || v[i] != '"' && v[i] != '\'' {
			return 0, errMalformed
		}
		end := bytes.IndexByte(v[i+1:], v[i])
		if end < 0 {
			return 0, nil
		}
		if x.secret(attribute) {
			return 0, errMalformed
		}
		x.named(local(attribute), i+1, i+1+end, false)
		i += end + 2
	}
}

// secret reports whether a rule takes something of a tag or its names, which
// have no place for a token.
func (x *xmlWalk) secret(v []byte) bool {
	x.w.quiet++
	_, found := x.w.inside(where{place: inXML}, v, ruleSet{}, flat)
	x.w.quiet--
	return found
}

// local is a name without its namespace.
func local(name []byte) []byte { return name[bytes.LastIndexByte(name, ':')+1:] }

func (x *xmlWalk) piece(from, to int, raw bool) {
	if from < to {
		x.pieces = append(x.pieces, xmlPiece{from, to, raw})
	}
}

// flush looks at what stood between two tags: the text, and then the comments
// and instructions in it, which are nobody's value.
func (x *xmlWalk) flush() {
	pieces, comments := x.pieces, x.comments
	x.pieces, x.comments = x.pieces[:0], x.comments[:0]
	if len(pieces)+len(comments) == 0 {
		return
	}
	text := func(p xmlPiece) []byte {
		if p.raw {
			return x.in[p.from:p.to]
		}
		return entities(x.in[p.from:p.to])
	}
	var all []byte
	for _, p := range pieces {
		all = append(all, text(p)...)
	}
	// Any element around it may be the one that a rule names.
	var name []byte
	if n := len(x.names); n > 0 {
		if name = x.names[n-1].by; name == nil {
			name = x.names[n-1].name
		}
	}
	// What was said with white space around it is put back with it.
	trimmed := bytes.TrimSpace(all)
	lead := len(all) - len(bytes.TrimLeftFunc(all, unicode.IsSpace))
	out, changed := x.w.value(where{place: inXML, name: name}, trimmed, 0)
	if changed {
		out = slices.Concat(all[:lead], out, all[lead+len(trimmed):])
	}
	for len(pieces)+len(comments) > 0 {
		if len(comments) == 0 || len(pieces) > 0 && pieces[0].from < comments[0].from {
			if changed {
				x.replace(pieces[0].from, pieces[0].to, out, pieces[0].raw)
				out = nil
			}
			pieces = pieces[1:]
			continue
		}
		c := comments[0]
		comments = comments[1:]
		x.named(name, c.from, c.to, true)
	}
}

func (x *xmlWalk) named(name []byte, from, to int, raw bool) {
	v := x.in[from:to]
	if !raw {
		v = entities(v)
	}
	out, changed := x.w.value(where{place: inXML, name: name}, v, 0)
	if changed {
		x.replace(from, to, out, raw)
	}
}

// entities undoes the references that need no declaration (XML 1.0, sections
// 4.1 and 4.6).
func entities(v []byte) []byte {
	if bytes.IndexByte(v, '&') < 0 {
		return v
	}
	var out []byte
	for len(v) > 0 {
		i := bytes.IndexByte(v, '&')
		if i < 0 {
			break
		}
		out = append(out, v[:i]...)
		v = v[i:]
		end := bytes.IndexByte(v, ';')
		if end < 0 || end > 10 {
			out, v = append(out, '&'), v[1:]
			continue
		}
		r, ok := reference(string(v[1:end]))
		if !ok {
			out, v = append(out, '&'), v[1:]
			continue
		}
		out, v = append(out, string(r)...), v[end+1:]
	}
	return append(out, v...)
}

func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	if len(name) < 2 || name[0] != '#' {
		return 0, false
	}
	base, digits := 10, name[1:]
	if digits[0] == 'x' {
		base, digits = 16, digits[1:]
	}
	r := 0
	for i := range len(digits) {
		h := unhex(digits[i])
		if h < 0 || h >= base || r > 0x10ffff {
			return 0, false
		}
		r = r*base + h
	}
	return rune(r), len(digits) > 0
}
