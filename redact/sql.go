package redact

import (
	"bytes"
	"slices"
)

// sqlVerbs begin statements.
var sqlVerbs = [][]byte{
	[]byte("select"), []byte("insert"), []byte("update"), []byte("delete"), []byte("with"), []byte("merge"),
	[]byte("replace"), []byte("call"), []byte("values"), []byte("copy"), []byte("create"), []byte("alter"), []byte("set"),
}

func looksSQL(v []byte) bool {
	v = bytes.TrimLeft(v, " \t\r\n(")
	end := 0
	for end < len(v) && end < 8 && alnum(v[end]) {
		end++
	}
	return end < len(v) && (v[end] == ' ' || v[end] == '\n' || v[end] == '\t' || v[end] == '\r') &&
		slices.ContainsFunc(sqlVerbs, func(verb []byte) bool { return bytes.EqualFold(verb, v[:end]) })
}

// sql takes the literals of a statement: texts in single quotes or dollars,
// and numbers. Databases differ in whether a backslash escapes a quote; both
// readings are covered, since one that reads too far takes too much, and never
// too little.
func (w *work) sql(at where, v []byte) (out []byte, changed bool) {
	rule := -1
	for _, i := range w.set.sql {
		if w.applies(i, inSQL) {
			rule = i
			break
		}
	}
	if rule < 0 || !looksSQL(v) {
		return v, false
	}
	r := w.set.rules[rule]
	done := 0
	take := func(from, to int) {
		if from >= to || isToken(v[from:to]) {
			return
		}
		if r.shadow {
			w.shadow(r, w.location(at))
			return
		}
		w.note(rule, at)
		out = w.replace(append(out, v[done:from]...), r, v[from:to])
		done, changed = to, true
	}
	for i := 0; i < len(v); {
		switch c := v[i]; {
		case c == '\'':
			end := i + 1
			for end < len(v) {
				if v[end] == '\\' {
					end++
				} else if v[end] == '\'' {
					if end+1 == len(v) || v[end+1] != '\'' {
						break
					}
					end++
				}
				end++
			}
			end = min(end, len(v))
			take(i+1, end)
			i = end + 1
		case c == '$' && bytes.IndexByte(v[i+1:], '$') >= 0 && tag(v[i+1:i+1+bytes.IndexByte(v[i+1:], '$')]):
			mark := v[i : i+2+bytes.IndexByte(v[i+1:], '$')]
			end := len(v)
			if n := bytes.Index(v[i+len(mark):], mark); n >= 0 {
				end = i + len(mark) + n
			}
			take(i+len(mark), end)
			i = min(end+len(mark), len(v))
		case digit(c) && (i == 0 || !alnum(v[i-1]) && v[i-1] != '_' && v[i-1] != '$' && v[i-1] != '"'):
			end := i
			for end < len(v) && (alnum(v[end]) || v[end] == '.') {
				end++
			}
			take(i, end)
			i = end
		default:
			i++
		}
	}
	if !changed {
		return v, false
	}
	return append(out, v[done:]...), true
}

func tag(b []byte) bool {
	return len(b) < 64 && !bytes.ContainsFunc(b, func(r rune) bool { return r > 127 || !alnum(byte(r)) && r != '_' }) && (len(b) == 0 || !digit(b[0]))
}
