package frame

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Raw decompresses a body and gives the encoded capturev1.FrameBody in it, for
// who wants to look at it before it is decoded. head is what Head gave for the
// same frame. Where buf has room for the result it is used. A frame without
// pairs has none.
func Raw(head *capturev1.FrameHead, body, buf []byte) ([]byte, error) {
	if IsLoss(head) && len(body) > 0 {
		return nil, fmt.Errorf("%w: a declaration of loss with a body", ErrMalformed)
	}
	if len(body) == 0 {
		if head.GetPairs() != 0 || head.GetBodyLen() != 0 {
			return nil, fmt.Errorf("%w: %d pairs and no body", ErrMalformed, head.GetPairs())
		}
		return nil, nil
	}
	raw, err := decompress(body, int(head.GetBodyLen()), buf)
	if err != nil {
		return nil, fmt.Errorf("decompress body: %w: %w", ErrMalformed, err)
	}
	return raw, nil
}

// Decode decodes what Raw gave for the frame of head. The pairs are the
// caller's, and do not share raw.
func Decode(head *capturev1.FrameHead, raw []byte) ([]*capturev1.RRPair, error) {
	var b capturev1.FrameBody
	if err := proto.Unmarshal(raw, &b); err != nil {
		return nil, fmt.Errorf("decode body: %w: %w", ErrMalformed, err)
	}
	if len(b.GetPairs()) != int(head.GetPairs()) {
		return nil, fmt.Errorf("%w: head says %d pairs, body has %d", ErrMalformed, head.GetPairs(), len(b.GetPairs()))
	}
	return b.GetPairs(), nil
}
