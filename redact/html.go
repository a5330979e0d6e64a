package redact

import "bytes"

// fields looks at tags of HTML that name a value: the value of an input whose
// name says password stands in another attribute, or behind the tag.
func (f *finder) fields() {
	if f.at.place != inText || f.depth >= flat {
		return
	}
	v := f.v
	for at := 0; ; {
		i := bytes.IndexByte(v[at:], '<')
		if i < 0 {
			return
		}
		at += i + 1
		if at == len(v) || !alnum(v[at]) {
			continue
		}
		t, end := readTag(v, at)
		if !f.w.spend(end - at) {
			return
		}
		at = end
		f.field(&t, end)
	}
}

// field looks at one tag, which ends at end.
func (f *finder) field(t *htmlTag, end int) {
	rule := -1
	var named []byte
	for _, name := range t.names {
		if name = entities(name); len(name) > 0 {
			if _, i := f.w.named(where{place: inText, name: name}); i >= 0 {
				rule = i
				break
			}
			named = name
		}
	}
	value := t.value
	if value == (span{}) && t.open && end < len(f.v) {
		// <textarea name=…>the value</textarea>
		value = span{from: end, to: len(f.v)}
		if i := bytes.IndexByte(f.v[end:], '<'); i >= 0 {
			value.to = end + i
		}
	}
	if value.from >= value.to || isToken(f.v[value.from:value.to]) {
		return
	}
	switch {
	case rule >= 0:
		f.spans = append(f.spans, span{value.from, value.to, rule})
	case named != nil:
		f.value(named, value.from, value.to)
	}
}

// htmlTag is what a tag says of a field.
type htmlTag struct {
	// names are what the field is called, value where its value stands.
	names [][]byte
	value span
	// open: what follows the tag is its value.
	open bool
}

// readTag reads a tag's name and attributes (WHATWG HTML, section 13.2.5) from
// behind its "<", and gives the place behind it. Of a name that is there twice
// the first counts, as it does to browsers.
func readTag(v []byte, at int) (t htmlTag, end int) {
	blank := func(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '/' }
	from := at
	for at < len(v) && !blank(v[at]) && v[at] != '>' && v[at] != '<' {
		at++
	}
	t.open = bytes.EqualFold(v[from:at], []byte("textarea"))
	for {
		for at < len(v) && blank(v[at]) {
			at++
		}
		if at == len(v) || v[at] == '<' {
			return t, at
		}
		if v[at] == '>' {
			return t, at + 1
		}
		from := at
		for at < len(v) && !blank(v[at]) && v[at] != '>' && v[at] != '<' && (v[at] != '=' || at == from) {
			at++
		}
		name := v[from:at]
		for at < len(v) && blank(v[at]) && v[at] != '/' {
			at++
		}
		if at == len(v) || v[at] != '=' {
			continue
		}
		at++
		for at < len(v) && blank(v[at]) && v[at] != '/' {
			at++
		}
		value := span{from: at}
		if at < len(v) && (v[at] == '"' || v[at] == '\'') {
			value.from = at + 1
			value.to = len(v)
			if i := bytes.IndexByte(v[at+1:], v[at]); i >= 0 {
				value.to = at + 1 + i
			}
			at = min(value.to+1, len(v))
		} else {
			for at < len(v) && (!blank(v[at]) || v[at] == '/') && v[at] != '>' {
				at++
			}
			value.to = at
		}
		switch text := v[value.from:value.to]; {
		case bytes.EqualFold(name, []byte("type")) && bytes.EqualFold(text, []byte("password")),
			bytes.EqualFold(name, []byte("name")), bytes.EqualFold(name, []byte("id")),
			bytes.EqualFold(name, []byte("property")), bytes.EqualFold(name, []byte("itemprop")):
			t.names = append(t.names, text)
		case t.value == (span{}) && (bytes.EqualFold(name, []byte("value")) || bytes.EqualFold(name, []byte("content"))):
			t.value = value
		}
	}
}
