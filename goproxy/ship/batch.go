package ship

import (
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-capture/weir/goproxy/ship/wire"
)

// Pairs are written once, when they are over, into the bytes of the batch that
// is open then. These bytes are what goes to the ring and, behind a few that
// say which batch it is, to the forwarder: nothing marshals or copies them
// again. They are counted by reference, because gRPC's transport keeps a
// message after it was sent, and the queue keeps it until it is acknowledged.
// Who lets go of them last gives them back to the pool.

// openBytes is what a batch has room for: the last pair comes when there are
// nearly maxBytes, and one that does not travel alone has at most aloneBytes.
const openBytes = maxBytes + aloneBytes

// pool holds buffers of openBytes. It is a mem.BufferPool.
type pool struct{ free sync.Pool }

// Get implements mem.BufferPool.
func (p *pool) Get(int) *[]byte {
	if b, ok := p.free.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, 0, openBytes)
	return &b
}

// Put implements mem.BufferPool.
func (p *pool) Put(b *[]byte) {
	*b = (*b)[:0]
	p.free.Put(b)
}

// contents are the encoded pairs of a batch. They are written to (numbered)
// before the first message is made of them, and never after that.
type contents struct {
	data []byte
	refs mem.Buffer // of data
}

// own are contents that nobody else has, and that no pool gets.
func own(b []byte) contents { return contents{b, mem.SliceBuffer(b)} }

// close makes contents of what the open batch holds, and leaves it empty. held
// is what its pairs hold of the budget. The buffer itself goes along where
// that covers it; otherwise a copy does, so that many small batches do not
// take more than they are counted for.
func (p *pool) close(open **[]byte, held int64) contents {
	b := *open
	if held >= openBytes/4*3 {
		*open = nil
		return contents{*b, mem.NewBuffer(b, p)}
	}
	c := own(append(make([]byte, 0, len(*b)), *b...))
	*b = (*b)[:0]
	return c
}

// message is a batch on its way to a forwarder. It has a reference of its own
// to the contents, which the codec hands over.
type message struct {
	seq   uint64
	parts mem.BufferSlice
}

// Numbers of fields in capturev1.
const (
	pushBatch      = 1
	maybeDuplicate = 6
)

// number says which batch p is: the fields of a capturev1.Batch without pairs.
func (p *parcel) number(seq, firstPair uint64, fields []byte) {
	p.seq, p.fields = seq, fields
	wire.Number(p.data, firstPair)
}

// message makes the capturev1.PushRequest of a numbered parcel.
func (p *parcel) message() *message {
	const frame = 16 // what is more than fields, at most
	var more []byte
	if p.duplicate {
		more = protowire.AppendVarint(protowire.AppendTag(make([]byte, 0, 2), maybeDuplicate, protowire.VarintType), 1)
	}
	head := protowire.AppendTag(make([]byte, 0, len(p.fields)+frame), pushBatch, protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(p.fields)+len(more)+len(p.data)))
	head = append(append(head, p.fields...), more...)
	p.refs.Ref()
	return &message{p.seq, mem.BufferSlice{mem.SliceBuffer(head), p.refs}}
}

// codec is protobuf's, but for batches, which are bytes already.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if m, ok := v.(*message); ok {
		return m.parts, nil
	}
	return c.CodecV2.Marshal(v)
}
