package query

import (
	"strconv"
	"strings"
)

// matchWildcard tests a whole value against parts with any run of characters
// between them. With fold, parts are in lower case and the case of s does not
// count.
func matchWildcard(s string, parts []string, fold bool) bool {
	if fold {
		s = lower(s)
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(s) < len(first)+len(last) || !strings.HasPrefix(s, first) || !strings.HasSuffix(s, last) {
		return false
	}
	s = s[len(first) : len(s)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		// The leftmost place leaves the most room for the parts after it.
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return true
}

// findWord tests whether parts occur in s as OpWord says. Both are in lower
// case.
func findWord(s string, parts []string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return indexWord(s, first, isWordByte(first[0]), isWordByte(last[len(last)-1])) >= 0
	}
	if first != "" {
		i := indexWord(s, first, isWordByte(first[0]), false)
		if i < 0 {
			return false
		}
		s = s[i+len(first):]
	}
	for _, p := range parts[1 : len(parts)-1] {
		i := strings.Index(s, p)
		if i < 0 {
			return false
		}
		s = s[i+len(p):]
	}
	return last == "" || indexWord(s, last, false, isWordByte(last[len(last)-1])) >= 0
}

// indexWord finds sub in s where no letter or digit is beside those ends that
// are to be bounded.
func indexWord(s, sub string, left, right bool) int {
	for from := 0; ; {
		i := strings.Index(s[from:], sub)
		if i < 0 {
			return -1
		}
		i += from
		if (!left || i == 0 || !isWordByte(s[i-1])) && (!right || i+len(sub) == len(s) || !isWordByte(s[i+len(sub)])) {
			return i
		}
		from = i + 1
		if left {
			// No other place in this run of letters and digits is bounded.
			for from < len(s) && isWordByte(s[from]) {
				from++
			}
		}
	}
}

// isWordByte: words are made of ASCII letters and digits. All other characters
// separate them, so that a word in a script that puts no spaces between words
// is found wherever it stands.
func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// equalFold compares s with a text in lower case, without regard to the case
// of ASCII letters.
func equalFold(s, lowered string) bool {
	if len(s) != len(lowered) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lowered[i] {
			return false
		}
	}
	return true
}

// readDecimal reads a number as values have them: with surrounding space and
// exponent, but neither hexadecimal nor "inf".
func readDecimal(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}
