// Package wire writes pairs as protobuf does (https://protobuf.dev/programming-guides/encoding/),
// by hand: straight to where the batch grows that they are sent in, in one
// pass, without an allocation. It knows capturev1.RRPair, field by field; a
// test compares it with the generated code for every field that there is.
//
// Two things are written otherwise than the generated code does, and read the
// same: lengths of nested messages take four bytes, so that they can be filled
// in when the message is there (a varint may have bytes that add nothing), and
// proxy_seq, which is not known yet, comes first, in eight.
package wire

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

const (
	// MaxPair bounds an encoded pair, in bytes: what its length has room for.
	MaxPair = 1<<28 - 1
	// MaxSeq is the highest sequence that Number can write.
	MaxSeq = 1<<(7*seqBytes) - 1

	lenBytes = 4
	seqBytes = 8
	// A pair begins with its tag in a batch, its length, and its sequence.
	pairTag  = 5<<3 | byte(protowire.BytesType)
	seqTag   = 3<<3 | byte(protowire.VarintType)
	pairHead = 1 + lenBytes + 1 + seqBytes
)

// Append writes p behind b as one of the pairs of a capturev1.Batch. Its
// proxy_seq is left at 0 for Number. Nothing of p is kept. Text that is not
// UTF-8, which no reader would take, has what is wrong in it replaced.
//
// rest are the pieces of the bodies of request and response that come behind
// their Message.Body.
//
// A pair of more than MaxPair bytes panics; Bound says beforehand how large it
// can get.
func Append(b []byte, p *capturev1.RRPair, rest [2][][]byte) []byte {
	at := len(b)
	b = append(b, pairTag, 0, 0, 0, 0, seqTag, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00)
	b = appendBytes(b, 1, p.Id)
	if p.Source != nil {
		b = appendSource(b, p.Source)
	}
	b = appendInt(b, 4, uint64(p.Direction))
	b = appendText(b, 5, p.Protocol)
	b = appendText(b, 6, p.Client)
	b = appendText(b, 7, p.Server)
	b = appendInt(b, 8, p.Conn)
	b = appendInt(b, 9, p.Seq)
	b = appendText(b, 10, p.Method)
	b = appendText(b, 11, p.Host)
	b = appendText(b, 12, p.Path)
	b = appendText(b, 13, p.Query)
	b = appendInt(b, 14, uint64(p.Status))
	b = appendText(b, 15, p.Error)
	if p.Timing != nil {
		b = appendTiming(b, p.Timing)
	}
	if p.Request != nil {
		b = appendMessage(b, 17, p.Request, rest[0])
	}
	if p.Response != nil {
		b = appendMessage(b, 18, p.Response, rest[1])
	}
	if len(p.Flags) > 0 {
		b = appendTag(b, 19, protowire.BytesType)
		n := 0
		for _, f := range p.Flags {
			n += protowire.SizeVarint(uint64(f))
		}
		b = protowire.AppendVarint(b, uint64(n))
		for _, f := range p.Flags {
			b = protowire.AppendVarint(b, uint64(f))
		}
	}
	for k, v := range p.Tags {
		b = begin(b, 20)
		in := len(b)
		b = appendText(b, 1, k)
		b = appendText(b, 2, v)
		end(b, in)
	}
	for _, r := range p.Redactions {
		b = begin(b, 21)
		in := len(b)
		b = appendText(b, 1, r.GetRule())
		b = appendText(b, 2, r.GetLocation())
		b = appendText(b, 3, r.GetType())
		b = appendInt(b, 4, uint64(r.GetCount()))
		end(b, in)
	}
	b = appendInt(b, 22, uint64(p.SampleWeight))
	end(b, at+1+lenBytes)
	return b
}

// Number gives the pairs of b, which Append wrote one behind the other, the
// sequences first, first+1, and so on. It may be called again. The last
// one must not be above MaxSeq.
func Number(b []byte, first uint64) {
	for ; len(b) > 0; first++ {
		n := pairHead - 1 - seqBytes + length(b[1:])
		put(b[pairHead-seqBytes:pairHead], first)
		b = b[n:]
	}
}

// Bound is at least the size of what Append would write for p, and not much
// more.
func Bound(p *capturev1.RRPair, rest [2][][]byte) int {
	n := pairHead + 5*scalar + 8*field + timingBound + len(p.Id) + field +
		len(p.Protocol) + len(p.Client) + len(p.Server) + len(p.Method) + len(p.Host) + len(p.Path) + len(p.Query) + len(p.Error) +
		messageBound(p.Request) + messageBound(p.Response) + size(rest[0]) + size(rest[1]) + field + len(p.Flags)*scalar
	for k, v := range p.Tags {
		n += 3*field + len(k) + len(v)
	}
	for _, r := range p.Redactions {
		n += 4*field + scalar + len(r.GetRule()) + len(r.GetLocation()) + len(r.GetType())
	}
	if s := p.Source; s != nil {
		n += 7*field + len(s.Cluster) + len(s.Namespace) + len(s.App) + len(s.Pod) + len(s.ProxyId) + len(s.Epoch)
	}
	return n
}

// What a number, the surroundings of bytes, and a Timing take at most.
const (
	scalar      = 2 + 10
	field       = 2 + 5
	timingBound = field + 6*scalar
)

func messageBound(m *capturev1.Message) int {
	if m == nil {
		return 0
	}
	n := field + 4*field + 4*scalar + len(m.Head) + len(m.Body) + len(m.Trailers) + len(m.BodyHash)
	for _, c := range m.Chunks {
		n += 2*field + scalar + len(c.GetLine())
	}
	for _, i := range m.Interim {
		n += field + len(i)
	}
	return n
}

func appendSource(b []byte, s *capturev1.Source) []byte {
	b = begin(b, 2)
	in := len(b)
	b = appendText(b, 1, s.Cluster)
	b = appendText(b, 2, s.Namespace)
	b = appendText(b, 3, s.App)
	b = appendText(b, 4, s.Pod)
	b = appendText(b, 5, s.ProxyId)
	b = appendBytes(b, 6, s.Epoch)
	end(b, in)
	return b
}

func appendTiming(b []byte, t *capturev1.Timing) []byte {
	b = begin(b, 16)
	in := len(b)
	b = appendInt(b, 1, uint64(t.Accepted))
	b = appendInt(b, 2, uint64(t.Connected))
	b = appendInt(b, 3, uint64(t.RequestFirst))
	b = appendInt(b, 4, uint64(t.RequestLast))
	b = appendInt(b, 5, uint64(t.ResponseFirst))
	b = appendInt(b, 6, uint64(t.ResponseLast))
	end(b, in)
	return b
}

func appendMessage(b []byte, num protowire.Number, m *capturev1.Message, rest [][]byte) []byte {
	b = begin(b, num)
	in := len(b)
	b = appendBytes(b, 1, m.Head)
	b = appendBody(b, 2, m.Body, rest)
	b = appendBytes(b, 3, m.Trailers)
	b = appendInt(b, 4, m.BodySize)
	b = appendBytes(b, 5, m.BodyHash)
	b = appendInt(b, 6, m.WireSize)
	b = appendBool(b, 7, m.Truncated)
	for _, c := range m.Chunks {
		b = begin(b, 8)
		in := len(b)
		b = appendInt(b, 1, c.GetSize())
		b = appendBytes(b, 2, c.GetLine())
		end(b, in)
	}
	for _, i := range m.Interim {
		b = appendTag(b, 9, protowire.BytesType)
		b = protowire.AppendBytes(b, i)
	}
	b = appendBool(b, 10, m.BodyDecoded)
	end(b, in)
	return b
}

// What the fields of a pair have in common is written without a call: most
// numbers of fields are below 16, so that a tag is one byte, and most lengths
// below 128. These few functions run twenty times for each pair.

func appendTag(b []byte, num protowire.Number, t protowire.Type) []byte {
	if num < 16 {
		return append(b, byte(num)<<3|byte(t))
	}
	return append(b, byte(num&15)<<3|byte(t)|0x80, byte(num>>4)) // there is none above 2047
}

func appendVarint(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

func appendInt(b []byte, num protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return appendVarint(appendTag(b, num, protowire.VarintType), v)
}

func appendBool(b []byte, num protowire.Number, v bool) []byte {
	if !v {
		return b
	}
	return append(appendTag(b, num, protowire.VarintType), 1)
}

func appendBytes(b []byte, num protowire.Number, v []byte) []byte {
	if len(v) == 0 {
		return b
	}
	return append(appendVarint(appendTag(b, num, protowire.BytesType), uint64(len(v))), v...)
}

// appendBody writes bytes that are in pieces.
func appendBody(b []byte, num protowire.Number, first []byte, rest [][]byte) []byte {
	if len(rest) == 0 {
		return appendBytes(b, num, first)
	}
	b = appendVarint(appendTag(b, num, protowire.BytesType), uint64(len(first)+size(rest)))
	b = append(b, first...)
	for _, p := range rest {
		b = append(b, p...)
	}
	return b
}

func size(pieces [][]byte) (n int) {
	for _, p := range pieces {
		n += len(p)
	}
	return n
}

func appendText(b []byte, num protowire.Number, v string) []byte {
	if v == "" {
		return b
	}
	if !ascii(v) && !utf8.ValidString(v) {
		v = strings.ToValidUTF8(v, "\uFFFD")
	}
	return append(appendVarint(appendTag(b, num, protowire.BytesType), uint64(len(v))), v...)
}

// ascii says that v is UTF-8 of the simplest kind.
func ascii(v string) bool {
	or := byte(0)
	for i := range len(v) {
		or |= v[i]
	}
	return or < utf8.RuneSelf
}

// begin opens a nested message, whose length end fills in: in is where it
// begins, behind what begin wrote.
func begin(b []byte, num protowire.Number) []byte {
	return append(appendTag(b, num, protowire.BytesType), 0, 0, 0, 0)
}

func end(b []byte, in int) {
	n := len(b) - in
	if n > MaxPair {
		panic("wire: a message of more than 2^28 bytes")
	}
	put(b[in-lenBytes:in], uint64(n))
}

// put writes v as a varint of len(b) bytes.
func put(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v&0x7f) | 0x80
		v >>= 7
	}
	b[len(b)-1] &= 0x7f
}

// length reads a varint of lenBytes bytes.
func length(b []byte) int {
	v := binary.LittleEndian.Uint32(b)
	return int(v&0x7f | v>>1&(0x7f<<7) | v>>2&(0x7f<<14) | v>>3&(0x7f<<21))
}
