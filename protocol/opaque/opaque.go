// Package opaque is the last line of the list of protocols: it matches every
// connection that no other protocol claims. Such a connection is carried and
// counted, and not read.
package opaque

import "github.com/weir-capture/weir/protocol"

// Protocol matches everything.
var Protocol = protocol.Protocol{
	Name:   "opaque",
	Title:  "opaque",
	Detect: func(_, _ []byte) protocol.Verdict { return protocol.Match },
	Advice: "Carried unread: the first bytes are of no protocol that Weir knows; only times and byte counts are recorded.",
}
