// Package postgres names the PostgreSQL protocol by a connection's first
// message, which has no type byte
// (https://www.postgresql.org/docs/current/protocol-message-formats.html:
// StartupMessage, SSLRequest, GSSENCRequest, CancelRequest).
package postgres

import (
	"encoding/binary"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is the PostgreSQL frontend/backend protocol, version 3.
var Protocol = protocol.Protocol{
	Name:   "postgres",
	Title:  "PostgreSQL",
	Detect: protocol.ClientFirst(detect),
	Advice: "Carried unread: PostgreSQL is named but not decoded yet; statements are not listed, only their connection.",
}

const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104

	// The server refuses longer startup messages.
	maxStartup = 10000
)

func detect(b []byte) protocol.Verdict {
	if b[0] != 0 || len(b) > 1 && b[1] != 0 {
		return protocol.NoMatch
	}
	if len(b) < 8 {
		return protocol.NeedMore
	}
	length := binary.BigEndian.Uint32(b)
	code := binary.BigEndian.Uint32(b[4:])
	switch code {
	case sslRequest, gssRequest:
		return protocol.Is(length == 8)
	case cancelRequest:
		// Protocol 3.2 allows keys of up to 256 bytes.
		return protocol.Is(length >= 16 && length <= 12+256)
	}
	if code>>16 != 3 || code&0xffff > 99 || length < 9 || length > maxStartup {
		return protocol.NoMatch
	}
	// Kafka's first bytes may look the same up to here; but a startup message
	// goes on with the name of a parameter ("user").
	if len(b) == 8 {
		return protocol.NeedMore
	}
	return protocol.Is('a' <= b[8] && b[8] <= 'z' || b[8] == '_')
}
