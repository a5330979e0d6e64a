package http1

import "bytes"

// cutElement cuts the first element off a comma-separated list.
func cutElement(list []byte) (element, rest []byte) {
	if n := bytes.IndexByte(list, ','); n >= 0 {
		return trim(list[:n]), list[n+1:]
	}
	return trim(list), nil
}

// trim removes optional white space (RFC 9110, section 5.6.3) from both ends.
// Not more: a vertical tab that one reader trims makes a value differ for
// another.
func trim(b []byte) []byte {
	from, to := len(b), 0
	for i, c := range b {
		if c != ' ' && c != '\t' {
			from = i
			break
		}
	}
	for i := range b[from:] {
		if c := b[len(b)-1-i]; c != ' ' && c != '\t' {
			to = len(b) - i
			break
		}
	}
	return b[from:max(from, to)]
}

// trimSpaces removes the spaces at the end of b.
func trimSpaces(b []byte) []byte {
	for range b {
		if b[len(b)-1] != ' ' {
			break
		}
		b = b[:len(b)-1]
	}
	return b
}

// tokenLen is how long the token is that b begins with.
func tokenLen(b []byte) int {
	for i, c := range b {
		if !isToken[c] {
			return i
		}
	}
	return len(b)
}

// equalFold compares with lower, which is in lower case, ignoring ASCII case.
func equalFold(b []byte, lower string) bool {
	return len(b) == len(lower) && hasPrefixFold(b, lower)
}

func hasPrefixFold(b []byte, lower string) bool {
	if len(b) < len(lower) {
		return false
	}
	for i := range len(lower) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func containsFold(b []byte, lower string) bool {
	for i := range b {
		if hasPrefixFold(b[i:], lower) {
			return true
		}
	}
	return false
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isToken marks the characters of a token (RFC 9110, section 5.6.2).
var isToken = func() (t [256]bool) {
	const (
		digits  = "0123456789"
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	for _, c := range []byte(digits + letters + "!#$%&'*+-.^_`|~") {
		t[c] = true
	}
	return t
}()
