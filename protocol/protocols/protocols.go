// Package protocols is the one list of protocols that Weir knows, and the
// detection over it.
package protocols

import (
	"slices"

	"github.com/weir-capture/weir/protocol"
	"github.com/weir-capture/weir/protocol/grpc"
	"github.com/weir-capture/weir/protocol/http1"
	"github.com/weir-capture/weir/protocol/http2"
	"github.com/weir-capture/weir/protocol/kafka"
	"github.com/weir-capture/weir/protocol/mongo"
	"github.com/weir-capture/weir/protocol/mysql"
	"github.com/weir-capture/weir/protocol/opaque"
	"github.com/weir-capture/weir/protocol/postgres"
	"github.com/weir-capture/weir/protocol/redis"
	"github.com/weir-capture/weir/protocol/tls"
)

// list is in the order of detection: strong magic first, guesses last. A
// protocol that sits on another comes before it.
var list = [...]protocol.Protocol{
	tls.Protocol,
	grpc.Protocol,
	http2.Protocol,
	http1.Protocol,
	postgres.Protocol,
	mysql.Protocol, // the only one that the server's bytes decide
	mongo.Protocol,
	redis.Protocol,
	kafka.Protocol,
	opaque.Protocol, // always matches
}

// All returns the protocols in the order of detection.
func All() []protocol.Protocol { return slices.Clone(list[:]) }

// ByName finds a protocol by the name that pairs carry.
func ByName(name string) (protocol.Protocol, bool) {
	for _, p := range list {
		if p.Name == name {
			return p, true
		}
	}
	return protocol.Protocol{}, false
}

// Detect says which protocol a connection speaks, from the first bytes that
// passed in both directions. It looks at protocol.MaxPrefix bytes of each.
//
// It answers Match with the protocol, or NeedMore: then it wants to be asked
// again with more bytes. final says that there will be none in time (a stream
// ended, or patience did); then, and when a prefix is full, the answer is
// always Match, if need be with opaque. It never needs bytes of both
// directions where one tells enough, and it keeps nothing.
//
// A match with client empty means that the server spoke first. For a protocol
// in which it never does (every one but mysql and opaque) the connection was
// joined midway, or, with HTTP, the server gave up on a silent client.
func Detect(client, server []byte, final bool) (protocol.Protocol, protocol.Verdict) {
	client = client[:min(len(client), protocol.MaxPrefix)]
	server = server[:min(len(server), protocol.MaxPrefix)]
	final = final || len(client) == protocol.MaxPrefix || len(server) == protocol.MaxPrefix
	for i := range list {
		switch list[i].Detect(client, server) {
		case protocol.Match:
			return list[i], protocol.Match
		case protocol.NeedMore:
			// Not even a match further down counts before this is settled.
			if !final {
				return protocol.Protocol{}, protocol.NeedMore
			}
		}
	}
	return opaque.Protocol, protocol.Match
}
