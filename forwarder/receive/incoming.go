package receive

import (
	"errors"
	"slices"
	"sync"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	pb "google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
	"github.com/weir-capture/weir/frame"
)

// Most of what a forwarder does for a pair would be to take it apart and to put
// it together again as it was. So a message stays what it is, bytes: its pairs
// are read where they lie (lean.go), and go on into a frame as they came unless
// somebody edits them.

// incoming is a capturev1.PushRequest with the bytes that it came in.
type incoming struct {
	req *capturev1.PushRequest
	// raw are the encoded pairs of its batch, in their order; nil where the
	// pairs have to be encoded anew. They and the pairs themselves are lent
	// until release.
	raw   [][]byte
	size  int64
	bytes *[]byte
	pairs *pairs
	used  int // of pairs
	pools *pools
}

// maxPooled is the largest buffer that is kept for the next message, in bytes.
const maxPooled = 1 << 20

// pairs are what the pairs of one batch are made of. They are used again.
type pairs struct {
	list [frame.MaxPairs]leanPair
	ptrs [frame.MaxPairs]*capturev1.RRPair
	raw  [frame.MaxPairs][]byte
}

// release gives back what the message was read into. It may be called once,
// and nobody may have the pairs then.
func (in *incoming) release() {
	if in.pairs != nil {
		clear(in.pairs.list[:in.used])
		clear(in.pairs.raw[:in.used])
		in.pools.pairs.Put(in.pairs)
	}
	if in.bytes != nil && cap(*in.bytes) <= maxPooled {
		in.pools.bytes.Put(in.bytes)
	}
	*in = incoming{}
}

// codec is protobuf's, but for incoming.
type codec struct {
	encoding.CodecV2
	pools *pools
}

// pools hold *pairs, and the buffers (*[]byte) of messages: those of gRPC are
// a megabyte for all but the smallest, and cleared each time.
type pools struct{ pairs, bytes sync.Pool }

func newCodec() codec {
	return codec{encoding.GetCodecV2(proto.Name), &pools{
		pairs: sync.Pool{New: func() any { return new(pairs) }},
		bytes: sync.Pool{New: func() any { return new([]byte) }},
	}}
}

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	buf := c.pools.bytes.Get().(*[]byte) // the pool holds nothing else
	b := slices.Grow((*buf)[:0], data.Len())[:data.Len()]
	data.CopyTo(b)
	*buf = b
	*in = incoming{req: new(capturev1.PushRequest), size: int64(len(b)), bytes: buf, pools: c.pools}
	if in.readBatch(b) {
		return nil
	}
	// It is something else than a batch, or not as proxies write one.
	in.release()
	*in = incoming{req: new(capturev1.PushRequest), size: int64(len(b))}
	return c.CodecV2.Unmarshal(data, in.req)
}

var errPair = errors.New("not a pair as proxies write it")

// readBatch reads b without a copy. It returns false where that cannot be done.
func (in *incoming) readBatch(b []byte) bool {
	const pushBatch, batchPairs = 1, 5
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != pushBatch || typ != protowire.BytesType {
		return false
	}
	batch, m := protowire.ConsumeBytes(b[n:])
	if m < 0 || n+m != len(b) {
		return false
	}
	in.pairs = in.pools.pairs.Get().(*pairs) // the pool holds nothing else
	var head []byte                          // the batch without its pairs
	for len(batch) > 0 {
		num, typ, n := protowire.ConsumeTag(batch)
		if n < 0 {
			return false
		}
		if num != batchPairs {
			m := protowire.ConsumeFieldValue(num, typ, batch[n:])
			if m < 0 {
				return false
			}
			head = append(head, batch[:n+m]...)
			batch = batch[n+m:]
			continue
		}
		raw, m := protowire.ConsumeBytes(batch[n:])
		if m < 0 || typ != protowire.BytesType || in.used == frame.MaxPairs {
			return false
		}
		p := &in.pairs.list[in.used]
		in.pairs.raw[in.used], in.pairs.ptrs[in.used] = raw, &p.pair
		in.used++
		// With a source it is not the one that goes into a frame.
		if p.read(raw) != nil && (pb.Unmarshal(raw, &p.pair) != nil || p.pair.GetSource() != nil) {
			return false
		}
		batch = batch[n+m:]
	}
	out := new(capturev1.Batch)
	if pb.Unmarshal(head, out) != nil {
		return false
	}
	out.Pairs, in.raw = in.pairs.ptrs[:in.used:in.used], in.pairs.raw[:in.used:in.used]
	in.req.Kind = &capturev1.PushRequest_Batch{Batch: out}
	return true
}
