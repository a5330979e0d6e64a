// Package endpoint gives a path its template: the path with what looks like an
// identifier replaced, so that requests to one endpoint count together. What a
// segment looks like is decided at once (Of); where a segment of an app's paths
// turns out to have very many values, Templates replaces all of them. Rules say
// what people know better.
package endpoint

import "strings"

const placeholder = "{id}"

// Bounds of a template.
const (
	// maxSegments: what is deeper becomes one placeholder.
	maxSegments = 16
	// maxSegment: what is longer is no name that anybody gave to an endpoint.
	maxSegment = 64
)

// Of replaces each segment of path that is an identifier by its looks: a
// number, a UUID, a date or time, an address of e-mail, a long hexadecimal or
// random word. /users/17/orders/01997b2c-6d3f-7c44-9d6e-2f6a31c0b8aa is
// /users/{id}/orders/{id}. Everything else, slashes included, stays as it is.
func Of(path string) string {
	var b strings.Builder
	done := 0 // path[:done] is in b
	for start, n := 0, 0; start <= len(path); n++ {
		end := len(path)
		if i := strings.IndexByte(path[start:], '/'); i >= 0 {
			end = start + i
		}
		if n > maxSegments {
			end = len(path)
		}
		if n > maxSegments && path[start:end] != "" || isID(path[start:end]) {
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
// is shorter may be a word of a language or a version. minRandom is the same of
// words that mix digits and both cases.
const (
	minHex    = 16
	minRandom = 16
)

func isID(s string) bool {
	if s == "" {
		return false
	}
	if len(s) > maxSegment {
		return true
	}
	digits, hex, upper, lower, hyphens, others := 0, 0, 0, 0, 0, 0
	at, dot := strings.IndexByte(s, '@'), strings.LastIndexByte(s, '.')
	for i := range len(s) {
		c := s[i]
		switch {
		case '0' <= c && c <= '9':
			digits++
		case 'a' <= c && c <= 'z':
			lower++
		case 'A' <= c && c <= 'Z':
			upper++
		case c == '-' || c == '_':
			hyphens++
		default:
			others++
		}
		if 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' {
			hex++
		}
	}
	letters := upper + lower
	switch {
	case digits == len(s):
		return true
	case isUUID(s), isDate(s):
		return true
	case at > 0 && dot > at+1 && dot < len(s)-1:
		return true // e-mail
	case hyphens+others == 0 && digits > 0 && len(s) >= minHex && letters == hex:
		return true
	}
	// Random words, as of base64, base58 and ULIDs: letters and digits mixed, as
	// no name has them.
	padded := strings.TrimRight(s, "=")
	if len(padded) < minRandom || others > len(s)-len(padded) || digits < 2 {
		return false
	}
	if upper > 0 && lower > 0 {
		return changes(padded) >= len(padded)/2
	}
	return hyphens == 0 && digits > 2 && len(padded) >= 20 && changes(padded) >= len(padded)/4
}

// changes counts where a kind of character follows another: names have few.
func changes(s string) int {
	kind := func(c byte) int {
		switch {
		case '0' <= c && c <= '9':
			return 1
		case 'a' <= c && c <= 'z':
			return 2
		case 'A' <= c && c <= 'Z':
			return 3
		}
		return 4
	}
	n := 0
	for i := 1; i < len(s); i++ {
		if kind(s[i]) != kind(s[i-1]) {
			n++
		}
	}
	return n
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F') {
			return false
		}
	}
	return true
}

// isDate: 2026-11-23, 2026-11, and times that begin so (RFC 3339).
func isDate(s string) bool {
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	if len(s) < 7 || !digits(s[:4]) || s[4] != '-' || !digits(s[5:7]) {
		return false
	}
	if len(s) == 7 {
		return true
	}
	if len(s) < 10 || s[7] != '-' || !digits(s[8:10]) {
		return false
	}
	return len(s) == 10 || (s[10] == 'T' || s[10] == 't' || s[10] == ' ') && len(s) > 12 && digits(s[11:13])
}
