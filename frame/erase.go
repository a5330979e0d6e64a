package frame

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Erase makes a frame anew without what is in some of its pairs: raw is what Raw
// gave for the frame of head, gone says for each pair whether it goes. Such a
// pair is one of no bytes, so that the others keep their places. Of head only
// BodyLen changes. small tries harder to make the body short.
func Erase(head *capturev1.FrameHead, raw []byte, gone []bool, small bool) (headBytes, body []byte, err error) {
	out := make([]byte, 0, len(raw))
	n := 0
	for b := raw; len(b) > 0; {
		num, kind, size := protowire.ConsumeField(b)
		if size < 0 {
			return nil, nil, fmt.Errorf("erase pairs: %w: %w", ErrMalformed, protowire.ParseError(size))
		}
		switch {
		case num != bodyPairs || kind != protowire.BytesType:
			out = append(out, b[:size]...)
		case n >= len(gone):
			return nil, nil, fmt.Errorf("erase pairs: %w: more than %d pairs", ErrMalformed, len(gone))
		case gone[n]:
			out = append(protowire.AppendTag(out, bodyPairs, protowire.BytesType), 0)
			n++
		default:
			out = append(out, b[:size]...)
			n++
		}
		b = b[size:]
	}
	if n != len(gone) {
		return nil, nil, fmt.Errorf("erase pairs: %w: %d pairs, not %d", ErrMalformed, n, len(gone))
	}
	if small {
		body, err = compressSmall(out)
	} else {
		body, err = compress(out)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("erase pairs: compress body: %w", err)
	}
	h, ok := proto.Clone(head).(*capturev1.FrameHead)
	if !ok {
		return nil, nil, fmt.Errorf("erase pairs: %w", ErrMalformed)
	}
	h.BodyLen = uint32(len(out))
	if headBytes, err = deterministic.Marshal(h); err != nil {
		return nil, nil, fmt.Errorf("erase pairs: encode head: %w", err)
	}
	return headBytes, body, nil
}

// compressSmall takes its time. Without a checksum of its own: records have one.
func compressSmall(raw []byte) ([]byte, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	b := e.EncodeAll(raw, nil)
	return b, e.Close()
}
