// Package kafka names the Kafka protocol by the header of a client's first
// request (https://kafka.apache.org/protocol.html#protocol_messages).
package kafka

import (
	"encoding/binary"

	"github.com/weir-capture/weir/protocol"
)

// Protocol is the Kafka protocol.
var Protocol = protocol.Protocol{
	Name:   "kafka",
	Title:  "Kafka",
	Detect: protocol.ClientFirst(detect),
	Advice: "Carried unread: Kafka is named but not decoded yet; requests are not listed, only their connection.",
}

const (
	// Highest request type and version that are known, with room to grow.
	maxKey     = 100
	maxVersion = 20

	maxRequest  = 100 << 20 // socket.request.max.bytes
	maxClientID = 255

	keyMetadata      = 3
	keySASLHandshake = 17
	keyAPIVersions   = 18
)

func detect(b []byte) protocol.Verdict {
	// Size (4), request type (2), its version (2), correlation id (4), length
	// of the client id (2, -1 is none), client id; big endian.
	const header = 14
	if len(b) >= 4 {
		if size := binary.BigEndian.Uint32(b); size < header-4 || size > maxRequest {
			return protocol.NoMatch
		}
	}
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) > maxKey || len(b) >= 8 && binary.BigEndian.Uint16(b[6:]) > maxVersion {
		return protocol.NoMatch
	}
	if len(b) < header {
		return protocol.NeedMore
	}
	n := int(int16(binary.BigEndian.Uint16(b[12:])))
	if n <= 0 {
		// Without a name, only what clients open a connection with.
		switch binary.BigEndian.Uint16(b[4:]) {
		case keyMetadata, keySASLHandshake, keyAPIVersions:
			return protocol.Is(n == 0 || n == -1)
		}
		return protocol.NoMatch
	}
	if n > maxClientID || uint32(header-4+n) > binary.BigEndian.Uint32(b) {
		return protocol.NoMatch
	}
	for _, c := range b[header:min(header+n, len(b))] {
		if c < ' ' || c > '~' {
			return protocol.NoMatch
		}
	}
	if len(b) < header+n {
		return protocol.NeedMore
	}
	return protocol.Match
}
