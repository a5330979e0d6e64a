package redact

import "bytes"

// variables is the member of a request that has them (GraphQL over HTTP).
const variables = "variables"

// maxVariables bounds what is remembered of an operation.
const maxVariables = 1000

// bind looks for arguments that are given a variable, login(password: $p), as
// they stand in a GraphQL document or in a JSON text with one: what a rule
// takes of the argument it takes of the variable, whose own name may say
// nothing.
func (w *work) bind(v []byte) {
	if !w.spend(len(v)) {
		return
	}
	word := func(c byte) bool { return alnum(c) || c == '_' }
	for at := 0; ; {
		i := bytes.IndexByte(v[at:], '$')
		if i < 0 {
			return
		}
		at += i + 1
		end := at
		for end < len(v) && word(v[end]) {
			end++
		}
		to := blankBefore(v, at-1)
		if end == at || to == 0 || v[to-1] != ':' {
			continue
		}
		to = blankBefore(v, to-1)
		from := to
		for from > 0 && word(v[from-1]) {
			from--
		}
		if from == to {
			continue
		}
		w.quiet++
		_, rule := w.named(where{place: inJSON, name: v[from:to]})
		w.quiet--
		if rule < 0 {
			continue
		}
		if len(w.variables) == maxVariables {
			w.fail(errBudget)
			return
		}
		if w.variables == nil {
			w.variables = map[string]int{}
		}
		w.variables[string(v[at:end])] = rule
	}
}

// blankBefore is where the white space before v[at] begins, also as JSON
// escapes it.
func blankBefore(v []byte, at int) int {
	for at > 0 {
		switch c := v[at-1]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			at--
		case at > 1 && v[at-2] == '\\' && (c == 'n' || c == 't' || c == 'r'):
			at -= 2
		default:
			return at
		}
	}
	return 0
}
