// Package http1 decodes HTTP/1.x (RFC 9112; semantics of RFC 9110), both
// directions of one connection at a time, and the headerless HTTP/0.9 that
// old clients still send.
//
// It reads what the peers really do, not what they should do: bare line
// feeds, folded fields, odd field names and targets with spaces pass, as long
// as every reader would agree where the message ends. Where two readers could
// disagree, it reports the head and gives up with protocol.ErrAmbiguous,
// because what follows could be anybody's (RFC 9112, section 11.2).
package http1

import (
	"bytes"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is HTTP/1.x.
var Protocol = protocol.Protocol{
	Name:   "http",
	Title:  "HTTP",
	Detect: detect,
	New:    New,
}

// wellKnown are methods that, with a path after them, say HTTP before the
// line's end does: a request line may be longer than the bytes that detection
// sees.
var wellKnown = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"}

// maxMethod is the longest method that detection takes for one. The longest
// registered one has 17 characters (UPDATEREDIRECTREF).
const maxMethod = 24

// detect decides by the client's bytes. A server that speaks first, with a
// status line, speaks HTTP too: the connection was joined midway, or the
// server gave up waiting for a request (408).
func detect(client, server []byte) protocol.Verdict {
	if len(client) == 0 && len(server) > 0 {
		return detectResponse(server)
	}
	return detectRequest(client)
}

func detectRequest(b []byte) protocol.Verdict {
	b = b[lineEnds(b):]
	n := tokenLen(b)
	switch {
	case n > maxMethod:
		return protocol.NoMatch
	case n == len(b):
		return protocol.NeedMore
	case n == 0 || b[n] != ' ':
		return protocol.NoMatch
	}
	method, rest := b[:n], b[n+1:]
	if len(rest) > 0 && (rest[0] == '/' || hasPrefixFold(rest, "http://") || hasPrefixFold(rest, "https://")) {
		for _, m := range wellKnown {
			if string(method) == m {
				return protocol.Match
			}
		}
	}
	end := bytes.IndexByte(rest, '\n')
	if end < 0 {
		return protocol.NeedMore
	}
	_, v, ok := cutVersion(trimLineEnd(rest[:end]))
	return protocol.Is(ok && v.major == 1)
}

func detectResponse(b []byte) protocol.Verdict {
	const prefix = "HTTP/1."
	n := min(len(b), len(prefix))
	if string(b[:n]) != prefix[:n] {
		return protocol.NoMatch
	}
	if len(b) < len(prefix)+2 {
		return protocol.NeedMore
	}
	return protocol.Is(isDigit(b[7]) && b[8] == ' ')
}
