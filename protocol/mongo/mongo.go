// Package mongo names the MongoDB wire protocol by the header of a client's
// first message
// (https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/).
package mongo

import (
	"bytes"
	"encoding/binary"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is the MongoDB wire protocol.
var Protocol = protocol.Protocol{
	Name:   "mongo",
	Title:  "MongoDB",
	Detect: protocol.ClientFirst(detect),
	Advice: "Carried unread: MongoDB is named but not decoded yet; commands are not listed, only their connection.",
}

const (
	opQuery = 2004 // drivers say hello with it, up to today
	opMsg   = 2013

	header     = 16
	maxMessage = 48_000_000
	maxName    = 128

	// Flags of OP_MSG that may be set; the lower 16 must be understood.
	msgFlags = 1<<0 | 1<<1 | 1<<16
)

func detect(b []byte) protocol.Verdict {
	// Length, request id, response to, operation; little endian.
	if len(b) < header {
		if len(b) >= 4 && !fits(binary.LittleEndian.Uint32(b)) {
			return protocol.NoMatch
		}
		return protocol.NeedMore
	}
	if !fits(binary.LittleEndian.Uint32(b)) || binary.LittleEndian.Uint32(b[8:]) != 0 {
		return protocol.NoMatch
	}
	body := b[header:]
	switch binary.LittleEndian.Uint32(b[12:]) {
	case opMsg:
		if len(body) < 5 {
			return protocol.NeedMore
		}
		return protocol.Is(binary.LittleEndian.Uint32(body)&^msgFlags == 0 && body[4] <= 1)
	case opQuery:
		if len(body) < 5 {
			return protocol.NeedMore
		}
		// Flags, then the name of a collection: commands go to db.$cmd.
		name := body[4:min(len(body), 4+maxName)]
		end := bytes.IndexByte(name, 0)
		if end < 0 && len(name) < maxName {
			return protocol.NeedMore
		}
		return protocol.Is(end > 0 && bytes.HasSuffix(name[:end], []byte(".$cmd")))
	}
	return protocol.NoMatch
}

func fits(length uint32) bool { return length > header && length <= maxMessage }
