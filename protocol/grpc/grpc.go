// Package grpc names gRPC: HTTP/2 whose first request has the content type
// application/grpc
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
package grpc

import (
	"strings"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/http2"
)

// Protocol is gRPC over plain HTTP/2.
var Protocol = protocol.Protocol{
	Name:   "grpc",
	Title:  "gRPC",
	Detect: detect,
	Advice: "Carried unread: gRPC is named but not decoded yet; calls are not listed, only their connection.",
}

func detect(client, server []byte) protocol.Verdict {
	if v := http2.Detect(client, server); v != protocol.Match {
		return v
	}
	found := false
	v := http2.FirstHeaders(client, func(name, value string) bool {
		if name == "content-type" {
			found = isGRPC(value)
			return false
		}
		return true
	})
	if v == protocol.Match && !found {
		return protocol.NoMatch
	}
	return v
}

// isGRPC accepts application/grpc with or without a message format or
// parameters. gRPC-Web is another protocol.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
