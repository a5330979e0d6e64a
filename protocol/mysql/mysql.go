// Package mysql names the MySQL protocol (MariaDB too) by what the server
// says first: its greeting, or the error that it refuses the client with
// (https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html).
package mysql

import "github.com/weir-capture/weir/protocol"

// Protocol is the MySQL client/server protocol.
var Protocol = protocol.Protocol{
	Name:   "mysql",
	Title:  "MySQL",
	Detect: detect,
	Advice: "Carried unread: MySQL is named but not decoded yet; statements are not listed, only their connection.",
}

const (
	greeting = 10 // protocol version 10, since MySQL 3.21
	refusal  = 0xff

	// A greeting is fixed fields and three short strings.
	minGreeting, maxGreeting = 30, 512
	maxVersion               = 128
)

func detect(client, server []byte) protocol.Verdict {
	if len(server) == 0 {
		if len(client) > 0 {
			return protocol.NoMatch // a MySQL client waits to be greeted
		}
		return protocol.NeedMore
	}
	// Packet header: length (3 bytes, little endian), sequence number.
	if len(server) > 2 && server[2] != 0 || len(server) > 3 && server[3] != 0 {
		return protocol.NoMatch
	}
	if len(server) < 5 {
		return protocol.NeedMore
	}
	length := int(server[0]) | int(server[1])<<8
	body := server[5:]
	switch server[4] {
	case greeting:
		if length < minGreeting || length > maxGreeting {
			return protocol.NoMatch
		}
		return version(body)
	case refusal:
		if length < 9 || length > maxGreeting {
			return protocol.NoMatch
		}
		return refused(body)
	}
	return protocol.NoMatch
}

// version: the server's version ends with NUL and begins with a digit.
func version(b []byte) protocol.Verdict {
	for i, c := range b {
		switch {
		case c == 0 && i > 0:
			return protocol.Match
		case i == 0 && (c < '0' || c > '9'), c < ' ', c > '~', i == maxVersion:
			return protocol.NoMatch
		}
	}
	return protocol.NeedMore
}

// refused: an error number of the server's range, then text.
func refused(b []byte) protocol.Verdict {
	if len(b) < 4 {
		return protocol.NeedMore
	}
	if code := int(b[0]) | int(b[1])<<8; code < 1000 || code >= 2000 {
		return protocol.NoMatch
	}
	for _, c := range b[2:4] {
		if c < ' ' || c > '~' {
			return protocol.NoMatch
		}
	}
	return protocol.Match
}
