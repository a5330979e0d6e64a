package pair

import (
	"slices"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/internal/budget"
	"github.com/weir-capture/weir/internal/ledger"
	"github.com/weir-capture/weir/protocol"
)

// Opaque is a connection, or the rest of one, that is carried without being
// decoded: one pair of sizes and times.
type Opaque struct {
	p        *Pairer
	link     *Link
	protocol string
	tags     []protocol.Attr
	seq      uint64
	began    protocol.Time
	sizes    [2]uint64
	first    [2]protocol.Time
	last     [2]protocol.Time
	flags    flags
	why      string
}

// Opaque begins one at a time, as the seq-th pair of its connection. why says
// what made it opaque where that is an error.
func (p *Pairer) Opaque(link *Link, proto string, tags []protocol.Attr, seq uint64, at protocol.Time, why string, set ...capturev1.Flag) *Opaque {
	p.set.Ledger.Seen()
	o := &Opaque{p: p, link: link, protocol: proto, tags: tags, seq: seq, began: at, why: why}
	for _, f := range set {
		o.flags.set(f)
	}
	return o
}

// Bytes counts n bytes of a direction that passed at a time.
func (o *Opaque) Bytes(d protocol.Direction, at protocol.Time, n uint64) {
	if n == 0 {
		return
	}
	o.sizes[d] += n
	if o.first[d] == 0 {
		o.first[d] = at
	}
	o.last[d] = at
}

// Tag adds facts about the connection that were found out later.
func (o *Opaque) Tag(attrs []protocol.Attr) { o.tags = slices.Concat(o.tags, attrs) }

// Close makes the pair. cause says why the connection ended, empty when it
// ended as connections do.
func (o *Opaque) Close(cause string, set ...capturev1.Flag) {
	for _, f := range set {
		o.flags.set(f)
	}
	if !o.p.set.Budget.Take(budget.Pair, emittedOverhead) {
		o.p.set.Ledger.Dropped(ledger.Memory)
		return
	}
	first := o.first[protocol.ClientToServer]
	if first == 0 {
		// The client said nothing: the pair is dated by its beginning.
		first = o.began
	}
	why := o.why
	if why == "" {
		why = cause
	}
	id := o.p.set.NewID(o.began)
	message := func(d protocol.Direction) *capturev1.Message {
		return &capturev1.Message{BodySize: o.sizes[d], WireSize: o.sizes[d]}
	}
	// Such connections last; only a failure is remarkable.
	o.p.emit(o.link, &capturev1.RRPair{
		Id: id[:], Direction: o.link.Direction, Protocol: o.protocol,
		Client: o.link.Client, Server: o.link.Server, Conn: o.link.ID, Seq: o.seq,
		Timing: &capturev1.Timing{
			Accepted: o.link.Accepted, Connected: o.link.Connected,
			RequestFirst: first, RequestLast: o.last[protocol.ClientToServer],
			ResponseFirst: o.first[protocol.ServerToClient], ResponseLast: o.last[protocol.ServerToClient],
		},
		Request: message(protocol.ClientToServer), Response: message(protocol.ServerToClient),
		Error: why, Flags: o.flags.list(), Tags: tags(o.tags),
	}, [2][][]byte{}, emittedOverhead, why == "")
}
