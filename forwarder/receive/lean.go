package receive

import (
	"unicode/utf8"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// leanPair is a pair with room for what nearly all pairs consist of.
type leanPair struct {
	pair              capturev1.RRPair
	timing            capturev1.Timing
	request, response capturev1.Message
	flags             [4]capturev1.Flag
}

// read reads an encoded capturev1.RRPair as the generated code does, but its
// text and bytes are those of b itself. Where there is anything that it does
// not know it returns an error, whether or not the generated code could read
// it: unknown fields, fields that come twice, tags, a source.
func (p *leanPair) read(b []byte) error {
	out := &p.pair
	r := reader{b: b}
	for r.more() {
		switch num, typ := r.num, r.typ; {
		case typ == protowire.BytesType:
			switch num {
			case 1:
				out.Id = r.bytes()
			case 5:
				out.Protocol = r.text()
			case 6:
				out.Client = r.text()
			case 7:
				out.Server = r.text()
			case 10:
				out.Method = r.text()
			case 11:
				out.Host = r.text()
			case 12:
				out.Path = r.text()
			case 13:
				out.Query = r.text()
			case 15:
				out.Error = r.text()
			case 16:
				if out.Timing != nil {
					return errPair
				}
				out.Timing = &p.timing
				readTiming(&r, out.Timing)
			case 17:
				if out.Request != nil {
					return errPair
				}
				out.Request = &p.request
				readMessage(&r, out.Request)
			case 18:
				if out.Response != nil {
					return errPair
				}
				out.Response = &p.response
				readMessage(&r, out.Response)
			case 19:
				if out.Flags != nil {
					return errPair
				}
				out.Flags = p.flags[:0]
				for in := (reader{b: r.bytes()}); len(in.b) > 0 && !in.bad; {
					out.Flags = append(out.Flags, capturev1.Flag(in.varint()))
					r.bad = r.bad || in.bad
				}
			default:
				return errPair
			}
		case typ == protowire.VarintType:
			v := r.varint()
			switch num {
			case 3:
				out.ProxySeq = v
			case 4:
				out.Direction = capturev1.Direction(v)
			case 8:
				out.Conn = v
			case 9:
				out.Seq = v
			case 14:
				out.Status = int32(v)
			case 22:
				out.SampleWeight = uint32(v)
			default:
				return errPair
			}
		default:
			return errPair
		}
	}
	if r.bad {
		return errPair
	}
	return nil
}

func readTiming(outer *reader, out *capturev1.Timing) {
	r := reader{b: outer.bytes()}
	for r.more() {
		if r.typ != protowire.VarintType {
			r.bad = true
			break
		}
		v := int64(r.varint())
		switch r.num {
		case 1:
			out.Accepted = v
		case 2:
			out.Connected = v
		case 3:
			out.RequestFirst = v
		case 4:
			out.RequestLast = v
		case 5:
			out.ResponseFirst = v
		case 6:
			out.ResponseLast = v
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
}

func readMessage(outer *reader, out *capturev1.Message) {
	r := reader{b: outer.bytes()}
	for r.more() {
		switch num := r.num; r.typ {
		case protowire.BytesType:
			v := r.bytes()
			switch num {
			case 1:
				out.Head = v
			case 2:
				out.Body = v
			case 3:
				out.Trailers = v
			case 5:
				out.BodyHash = v
			case 8:
				out.Chunks = append(out.Chunks, readChunk(&r, v))
			case 9:
				out.Interim = append(out.Interim, v)
			default:
				r.bad = true
			}
		case protowire.VarintType:
			v := r.varint()
			switch num {
			case 4:
				out.BodySize = v
			case 6:
				out.WireSize = v
			case 7:
				out.Truncated = v != 0
			case 10:
				out.BodyDecoded = v != 0
			default:
				r.bad = true
			}
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
}

func readChunk(outer *reader, b []byte) *capturev1.Chunk {
	out := new(capturev1.Chunk)
	r := reader{b: b}
	for r.more() {
		switch {
		case r.num == 1 && r.typ == protowire.VarintType:
			out.Size = r.varint()
		case r.num == 2 && r.typ == protowire.BytesType:
			out.Line = r.bytes()
		default:
			r.bad = true
		}
	}
	outer.bad = outer.bad || r.bad
	return out
}

// reader takes fields off bytes. Once it is bad, it has no more.
type reader struct {
	b   []byte
	num protowire.Number
	typ protowire.Type
	bad bool
}

// more reads the next tag.
func (r *reader) more() bool {
	if len(r.b) == 0 || r.bad {
		return false
	}
	num, typ, n := protowire.ConsumeTag(r.b)
	if n < 0 {
		r.bad = true
		return false
	}
	r.num, r.typ, r.b = num, typ, r.b[n:]
	return true
}

func (r *reader) varint() uint64 {
	v, n := protowire.ConsumeVarint(r.b)
	if n < 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes reads a length and as many bytes; what is empty is not nil, as with the
// generated code.
func (r *reader) bytes() []byte {
	v, n := protowire.ConsumeBytes(r.b)
	if n < 0 {
		r.bad = true
		return nil
	}
	r.b = r.b[n:]
	return v[:len(v):len(v)]
}

func (r *reader) text() string {
	v := r.bytes()
	if !utf8.Valid(v) {
		r.bad = true
	}
	return unsafe.String(unsafe.SliceData(v), len(v))
}
