package http1

import "bytes"

var (
	root     = []byte("/")
	asterisk = []byte("*")
)

// splitTarget takes a request target apart (RFC 9112, section 3.2): the
// authority of the absolute and authority forms (nil otherwise), the path, and
// the query without its question mark. User names and passwords before an @
// are no part of a host and are left out.
func splitTarget(method, target []byte) (host, path, query []byte) {
	if string(method) == "CONNECT" {
		if n := bytes.IndexAny(target, "/ "); n >= 0 {
			target = target[:n] // not in the form, but this much is
		}
		if len(target) == 0 {
			return nil, nil, nil
		}
		return withoutUser(target), nil, nil
	}
	if len(target) > 0 && target[0] == '/' {
		// Most often; nothing to look for.
	} else if n := schemeLen(target); n > 0 {
		rest := target[n:]
		end := bytes.IndexAny(rest, "/?#")
		if end < 0 {
			end = len(rest)
		}
		host, target = withoutUser(rest[:end]), rest[end:]
		if host == nil {
			host = []byte{} // present, and wins over the Host field
		}
	}
	path = target
	if n := bytes.IndexByte(target, '?'); n >= 0 {
		path, query = target[:n], target[n+1:]
	}
	if len(path) == 0 && host != nil {
		path = root
		if string(method) == "OPTIONS" {
			path = asterisk
		}
	}
	return host, path, query
}

// schemeLen is the length of "scheme://" at the start of target, or 0.
func schemeLen(target []byte) int {
	for i, c := range target {
		switch {
		case 'a' <= c|0x20 && c|0x20 <= 'z':
		case i > 0 && (isDigit(c) || c == '+' || c == '-' || c == '.'):
		case i > 0 && c == ':' && bytes.HasPrefix(target[i:], []byte("://")):
			return i + len("://")
		default:
			return 0
		}
	}
	return 0
}

func withoutUser(authority []byte) []byte {
	return authority[bytes.LastIndexByte(authority, '@')+1:]
}
