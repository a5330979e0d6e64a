package query

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weir-capture/weir/internal/spelling"
)

// Error is a mistake in a query. Its text is one clear sentence or two:
//
//	Unknown field "stauts" at column 1. Did you mean status?
type Error struct {
	// Column is where the mistake begins, counted in characters (code points)
	// from 1, and Length how many characters it takes, at least 1; at the end
	// of the query it may stand one character behind the last.
	Column, Length int
	// Message says what is wrong, without the column and a full stop.
	Message string
	// Expected says what could have stood there; may be empty.
	Expected string
	// Suggestion is text that would be right in place of the Length
	// characters at Column; may be empty.
	Suggestion string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s at column %d.", e.Message, e.Column)
	if e.Suggestion != "" {
		return s + " Did you mean " + e.Suggestion + "?"
	}
	if e.Expected != "" {
		return s + " Expected " + e.Expected + "."
	}
	return s
}

// errorAt makes an Error about the bytes src[from:to].
func (p *parser) errorAt(from, to int, message, expected, suggestion string) *Error {
	from, to = min(from, len(p.src)), min(to, len(p.src))
	return &Error{
		Column:     utf8.RuneCountInString(p.src[:from]) + 1,
		Length:     max(1, utf8.RuneCountInString(p.src[from:max(from, to)])),
		Message:    message,
		Expected:   expected,
		Suggestion: suggestion,
	}
}

// nearest finds the candidate that name is most likely a slip of. It answers
// "" when none is near.
func nearest(name string, candidates []string) string {
	name = lower(name)
	best, bestDist := "", 1+max(1, min(3, len(name)/3))
	for _, c := range candidates {
		if d := spelling.Distance(name, c); d < bestDist {
			best, bestDist = c, d
		}
	}
	if best != "" || len(name) < 3 {
		return best
	}
	for _, c := range candidates {
		if strings.HasPrefix(c, name) {
			return c
		}
	}
	return ""
}

// lower turns A–Z into a–z and leaves all else as it is.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if c := b[j]; 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

// lowerAll lowers the parts in place.
func lowerAll(parts []string) []string {
	for i, s := range parts {
		parts[i] = lower(s)
	}
	return parts
}
