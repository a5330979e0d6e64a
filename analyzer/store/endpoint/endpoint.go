// Package endpoint gives a path its template: the path with what looks like an
// identifier replaced, so that requests to one endpoint count together.
package endpoint

import "strings"

const placeholder = "{id}"

// Of replaces each segment of path that is a number, a UUID or a long
// hexadecimal word: /users/17/orders/01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa is
// /users/{id}/orders/{id}. Everything else, slashes included, stays as it is.
func Of(path string) string {
	var b strings.Builder
	done := 0 // path[:done] is in b
	for start := 0; start <= len(path); {
		end := len(path)
		if i := strings.IndexByte(path[start:], '/'); i >= 0 {
			end = start + i
		}
		if isID(path[start:end]) {
			b.WriteString(path[done:start])
			b.WriteString(placeholder)
			done = end
		}
		start = end + 1
	}
	if done == 0 {
		return path
	}
	b.WriteString(path[done:])
	return b.String()
}

// minHex is the shortest hexadecimal word that counts as an identifier: what
// is shorter may be a word of a language or a version.
const minHex = 16

// isID reports whether s is all digits, a UUID in its usual form, or at least
// minHex hexadecimal digits with a decimal one among them.
func isID(s string) bool {
	digits, hex := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
			hex++
		case c == '-' && len(s) == 36 && (i == 8 || i == 13 || i == 18 || i == 23):
		default:
			return false
		}
	}
	switch {
	case len(s) == 36 && digits+hex == 32:
		return true
	case digits+hex < len(s): // hyphens elsewhere
		return false
	case hex == 0:
		return digits > 0
	}
	return digits > 0 && len(s) >= minHex
}
