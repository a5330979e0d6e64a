// Package redis names the Redis protocol, RESP, by a client's first command
// (https://redis.io/docs/latest/develop/reference/protocol-spec/).
package redis

import (
	"bytes"
	"strings"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is RESP2 and RESP3.
var Protocol = protocol.Protocol{
	Name:   "redis",
	Title:  "Redis",
	Detect: detect,
	Advice: "Carried unread: Redis is named but not decoded yet; commands are not listed, only their connection.",
}

func detect(client, server []byte) protocol.Verdict {
	switch {
	case len(client) == 0 && len(server) > 0:
		return protocol.NoMatch
	case len(client) == 0:
		return protocol.NeedMore
	case client[0] == '*':
		return command(client)
	}
	return inline(client, server)
}

// command: an array of bulk strings, "*2\r\n$4\r\n".
func command(b []byte) protocol.Verdict {
	for _, kind := range [...]byte{'*', '$'} {
		if len(b) == 0 {
			return protocol.NeedMore
		}
		if b[0] != kind {
			return protocol.NoMatch
		}
		n := 1
		for _, c := range b[1:] {
			if c < '0' || '9' < c {
				break
			}
			n++
		}
		if n > 10 || n == 1 && n < len(b) || n > 1 && b[1] == '0' {
			return protocol.NoMatch // no length, or none that a command has
		}
		b = b[n:]
		if v := protocol.HasMagic(b, "\r\n"); v != protocol.Match {
			return v
		}
		b = b[2:]
	}
	return protocol.Match
}

// inline: the command that somebody types into telnet. One word says little,
// so it counts only with a fitting answer.
func inline(client, server []byte) protocol.Verdict {
	const longest = 128
	end := bytes.IndexByte(client, '\n')
	if end < 0 {
		end = len(client)
	}
	word, _, spaced := strings.Cut(upper(bytes.TrimRight(client[:min(end, longest)], "\r")), " ")
	answers := ""
	for _, c := range [...]struct{ word, answers string }{
		{"PING", "+-"},
		{"INFO", "$-"},
		{"AUTH", "+-"},
		{"HELLO", "*%-"},
		{"COMMAND", "*-"},
		{"SELECT", "+-"},
	} {
		if word == c.word || end == len(client) && !spaced && strings.HasPrefix(c.word, word) {
			answers = c.answers
			break
		}
	}
	switch {
	case answers == "" || end > longest:
		return protocol.NoMatch
	case len(server) == 0 || end == len(client):
		return protocol.NeedMore
	case strings.IndexByte(answers, server[0]) < 0:
		return protocol.NoMatch
	}
	return protocol.Match
}

// upper is b with its ASCII letters in upper case. Letters beyond ASCII stay:
// some of them have an ASCII letter for their upper case.
func upper(b []byte) string {
	u := bytes.Clone(b)
	for i, c := range u {
		if 'a' <= c && c <= 'z' {
			u[i] = c - 'a' + 'A'
		}
	}
	return string(u)
}
