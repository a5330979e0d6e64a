package redact

import (
	"bytes"
)

// form walks application/x-www-form-urlencoded and what looks like it (WHATWG
// URL, section 5): name=value&…. Values that change are written with percent
// escapes; all other bytes stay.
func (w *work) form(v []byte, at place) (out []byte, changed bool) {
	if !w.spend(len(v)) {
		return v, false
	}
	done := 0
	for from := 0; from <= len(v); {
		to := from
		for to < len(v) && v[to] != '&' && (v[to] != ';' || at != inQuery) {
			to++
		}
		name, value, found := bytes.Cut(v[from:to], []byte("="))
		plain := plus(name)
		// A name may be data, and so is a part without "=".
		newName, nameChanged := w.inside(where{place: at, label: "(name)"}, plain, ruleSet{}, 0)
		newValue, valueChanged := w.value(where{place: at, name: plain}, plus(value), 0)
		if nameChanged || valueChanged {
			out = append(out, v[done:from]...)
			if nameChanged {
				name = appendEscaped(nil, newName)
			}
			if valueChanged {
				value = appendEscaped(nil, newValue)
			}
			out = append(out, name...)
			if found {
				out = append(append(out, '='), value...)
			}
			changed, done = true, to
		}
		from = to + 1
	}
	if !changed {
		return v, false
	}
	return append(out, v[done:]...), true
}

// plus undoes the escapes of a form.
func plus(v []byte) []byte {
	if bytes.IndexByte(v, '+') >= 0 {
		v = bytes.ReplaceAll(v, []byte("+"), []byte(" "))
	}
	if plain, ok := unescape(v); ok {
		return plain
	}
	return v
}

// appendEscaped appends v as a part of a form, a query or a path.
func appendEscaped(b, v []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, c := range v {
		switch {
		case alnum(c) || c == '-' || c == '.' || c == '_' || c == '~' || c == '*':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// cookies walks the value of Cookie (RFC 6265, section 4.2.1), or with set
// that of Set-Cookie, whose attributes are no secrets. Names stay.
func (w *work) cookies(v []byte, set bool) (out []byte, changed bool) {
	done := 0
	for from := 0; from < len(v); {
		to := from
		for to < len(v) && v[to] != ';' {
			to++
		}
		start := from
		for start < to && (v[start] == ' ' || v[start] == '\t') {
			start++
		}
		name, value, found := bytes.Cut(v[start:to], []byte("="))
		if !found {
			// A cookie without a name is all value.
			name, value = nil, v[start:to]
			if set && from > 0 {
				value = nil // Secure, HttpOnly
			}
		}
		at := where{place: inCookie, name: bytes.TrimSpace(name), label: "(no name)"}
		if len(at.name) == 0 {
			at.name = []byte("(no name)")
		}
		if trimmed := bytes.TrimSpace(value); len(trimmed) > 0 {
			var next []byte
			var ok bool
			if set && from > 0 {
				next, ok = w.inside(where{place: inHeader, label: "set-cookie"}, trimmed, ruleSet{}, 0)
			} else {
				next, ok = w.value(at, trimmed, 0)
			}
			if ok {
				out = append(append(out, v[done:to-len(value)]...), next...)
				changed, done = true, to
			}
		}
		from = to + 1
	}
	if !changed {
		return v, false
	}
	return append(out, v[done:]...), true
}
