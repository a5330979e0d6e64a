package frame

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Numbers of fields in capturev1.
const (
	bodyPairs    = 1
	pairSource   = 2
	pairRequest  = 17
	pairResponse = 18
	messageHead  = 1
)

// EncodeSource is src as a pair carries it, for AppendPair.
func EncodeSource(src *capturev1.Source) ([]byte, error) {
	b, err := deterministic.Marshal(src)
	if err != nil {
		return nil, fmt.Errorf("encode source: %w", err)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, pairSource, protowire.BytesType), b), nil
}

// AppendPair writes a pair behind b, which is what MakeEncoded takes. The pair
// is encoded already, and has no source; that is what EncodeSource made.
func AppendPair(b, pair, source []byte) []byte {
	b = protowire.AppendTag(b, bodyPairs, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(len(pair)+len(source)))
	return append(append(b, pair...), source...)
}

// MakeEncoded is Make where the encoding of the pairs is at hand: raw is what
// AppendPair wrote for each of them. The caller vouches for that; raw stays
// its own.
func MakeEncoded(head *capturev1.FrameHead, pairs []*capturev1.RRPair, raw []byte) (headBytes, body []byte, err error) {
	return build(head, pairs, func() ([]byte, error) { return raw, nil })
}

// build makes a frame. encode gives the body before compression; it is called
// when there is a pair in it.
func build(head *capturev1.FrameHead, pairs []*capturev1.RRPair, encode func() ([]byte, error)) (headBytes, body []byte, err error) {
	if len(pairs) > MaxPairs {
		return nil, nil, fmt.Errorf("make frame: %d pairs, at most %d fit", len(pairs), MaxPairs)
	}
	head.Pairs = uint32(len(pairs))
	head.BodyLen = 0
	for i, p := range pairs {
		t := p.GetTiming().GetRequestFirst()
		if i == 0 {
			head.TimeMin, head.TimeMax = t, t
		}
		head.TimeMin, head.TimeMax = min(head.TimeMin, t), max(head.TimeMax, t)
	}
	if len(pairs) > 0 {
		raw, err := encode()
		if err != nil {
			return nil, nil, fmt.Errorf("make frame: encode body: %w", err)
		}
		if len(raw) > MaxBodyLen {
			return nil, nil, fmt.Errorf("make frame: body of %d bytes, at most %d fit", len(raw), MaxBodyLen)
		}
		head.BodyLen = uint32(len(raw))
		if body, err = compress(raw); err != nil {
			return nil, nil, fmt.Errorf("make frame: compress body: %w", err)
		}
	}
	if err := checkHead(head); err != nil {
		return nil, nil, fmt.Errorf("make frame: %w", err)
	}
	if headBytes, err = deterministic.Marshal(head); err != nil {
		return nil, nil, fmt.Errorf("make frame: encode head: %w", err)
	}
	return headBytes, body, nil
}
