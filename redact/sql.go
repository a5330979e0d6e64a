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
			w.shadowAt(r, at)
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

// statement looks at literals of an SQL statement that the statement itself
// names: PASSWORD 'x', IDENTIFIED BY 'x', and those of VALUES by the names of
// its columns.
func (f *finder) statement() {
	if !looksSQL(f.v) {
		return
	}
	s := sqlReader{v: f.v}
	var columns [][]byte
	last, lastWord := sqlToken{}, []byte(nil) // the token before, and the word
	for {
		t := s.next()
		if t.kind == sqlEnd {
			return
		}
		text := f.v[t.from:t.to]
		switch {
		case t.kind == sqlText && last.kind == sqlWord:
			word := f.v[last.from:last.to]
			if bytes.EqualFold(word, []byte("by")) {
				word = []byte("password") // IDENTIFIED BY
			}
			f.literal(word, t)
		case t.kind == sqlOpen && bytes.EqualFold(lastWord, []byte("values")) || t.kind == sqlOpen && last.kind == sqlComma && s.inValues:
			s.inValues = true
			f.row(&s, columns)
		case t.kind == sqlOpen && !s.inValues:
			columns = s.list(columns[:0])
			lastWord = nil
		}
		if last = t; t.kind == sqlWord {
			lastWord = text
		}
	}
}

// row looks at a row of VALUES.
func (f *finder) row(s *sqlReader, columns [][]byte) {
	column, depth := 0, 0
	for {
		switch t := s.next(); {
		case t.kind == sqlEnd || t.kind == sqlClose && depth == 0:
			return
		case t.kind == sqlOpen:
			depth++
		case t.kind == sqlClose:
			depth--
		case t.kind == sqlComma && depth == 0:
			column++
		case (t.kind == sqlText || t.kind == sqlWord && digit(f.v[t.from])) && column < len(columns):
			f.literal(columns[column], t)
		}
	}
}

func (f *finder) literal(name []byte, t sqlToken) {
	if t.from < t.to && !isToken(f.v[t.from:t.to]) {
		f.value(name, t.from, t.to)
	}
}

type sqlKind int

const (
	sqlEnd sqlKind = iota
	sqlWord
	sqlText
	sqlOpen
	sqlClose
	sqlComma
	sqlOther
)

// sqlToken is a token; of a text what is between its quotes.
type sqlToken struct {
	kind     sqlKind
	from, to int
}

// sqlReader reads tokens, as far as all dialects have them.
type sqlReader struct {
	v        []byte
	at       int
	inValues bool
}

func (s *sqlReader) next() sqlToken {
	v := s.v
	for s.at < len(v) && (v[s.at] == ' ' || v[s.at] == '\t' || v[s.at] == '\n' || v[s.at] == '\r') {
		s.at++
	}
	from := s.at
	if from == len(v) {
		return sqlToken{kind: sqlEnd}
	}
	word := func(c byte) bool { return alnum(c) || c == '_' || c == '.' || c >= 0x80 }
	s.at++
	switch c := v[from]; {
	case c == '(':
		return sqlToken{sqlOpen, from, s.at}
	case c == ')':
		return sqlToken{sqlClose, from, s.at}
	case c == ',':
		return sqlToken{sqlComma, from, s.at}
	case c == '\'':
		return s.quoted(sqlText, c)
	case c == '"' || c == '`':
		return s.quoted(sqlWord, c)
	case word(c):
		for s.at < len(v) && word(v[s.at]) {
			s.at++
		}
		if s.at == from+1 && s.at < len(v) && v[s.at] == '\'' {
			s.at++ // E'…', N'…'
			return s.quoted(sqlText, '\'')
		}
		return sqlToken{sqlWord, from, s.at}
	}
	return sqlToken{sqlOther, from, s.at}
}

// quoted reads to the end of a quoted text. A backslash may escape the quote
// or not: it is taken to, so that too much goes rather than too little.
func (s *sqlReader) quoted(kind sqlKind, quote byte) sqlToken {
	v, from := s.v, s.at
	for s.at < len(v) {
		switch {
		case v[s.at] == '\\':
			s.at++
		case v[s.at] == quote && s.at+1 < len(v) && v[s.at+1] == quote:
			s.at++
		case v[s.at] == quote:
			s.at++
			return sqlToken{kind, from, s.at - 1}
		}
		s.at++
	}
	s.at = len(v)
	return sqlToken{kind, from, len(v)}
}

// list reads the names to the next closing bracket.
func (s *sqlReader) list(names [][]byte) [][]byte {
	for {
		switch t := s.next(); t.kind {
		case sqlEnd, sqlClose:
			return names
		case sqlWord:
			names = append(names, s.v[t.from:t.to])
		}
	}
}
