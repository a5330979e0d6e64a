package frame

import (
	"fmt"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Raw decompresses a body and gives the encoded capturev1.FrameBody in it, for
// who wants to look at it before it is decoded. head is what Head gave for the
// same frame. Where buf has room for the result it is used. A frame without
// pairs has none. The checksum within the body is not looked at: whoever has
// read the frame from where it rests has looked at one of the whole record.
func Raw(head *capturev1.FrameHead, body, buf []byte) ([]byte, error) {
	return open(head, body, buf, trusting)
}

func open(head *capturev1.FrameHead, body, buf []byte, d *zstd.Decoder) ([]byte, error) {
	if IsLoss(head) && len(body) > 0 {
		return nil, fmt.Errorf("%w: a declaration of loss with a body", ErrMalformed)
	}
	if len(body) == 0 {
		if head.GetPairs() != 0 || head.GetBodyLen() != 0 {
			return nil, fmt.Errorf("%w: %d pairs and no body", ErrMalformed, head.GetPairs())
		}
		return nil, nil
	}
	raw, err := decompress(body, int(head.GetBodyLen()), buf, d)
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

// DecodeSome decodes some of the pairs that Raw gave for the frame of head: those of whose
// encoding want says so. Each is given with its place among all, in order. What
// want gets shares raw, the pairs do not.
func DecodeSome(head *capturev1.FrameHead, raw []byte, want func(pair []byte) bool, give func(i int, p *capturev1.RRPair)) error {
	n := 0
	for rest := raw; len(rest) > 0; {
		num, typ, tag := protowire.ConsumeTag(rest)
		if tag < 0 {
			return fmt.Errorf("decode body: %w: %w", ErrMalformed, protowire.ParseError(tag))
		}
		size := protowire.ConsumeFieldValue(num, typ, rest[tag:])
		if size < 0 {
			return fmt.Errorf("decode body: %w: %w", ErrMalformed, protowire.ParseError(size))
		}
		value := rest[tag : tag+size]
		rest = rest[tag+size:]
		if num != bodyPairs || typ != protowire.BytesType {
			continue
		}
		pair, _ := protowire.ConsumeBytes(value) // it was consumed before
		if want(pair) {
			p := new(capturev1.RRPair)
			if err := proto.Unmarshal(pair, p); err != nil {
				return fmt.Errorf("decode body: %w: %w", ErrMalformed, err)
			}
			give(n, p)
		}
		n++
	}
	if n != int(head.GetPairs()) {
		return fmt.Errorf("%w: head says %d pairs, body has %d", ErrMalformed, head.GetPairs(), n)
	}
	return nil
}

// AnyHead reports whether a header block of an encoded pair, request's or
// response's, is what is looked for. Where the encoding is malformed it says
// so too: decoding will tell.
func AnyHead(pair []byte, is func(head []byte) bool) bool {
	return anyBytes(pair, func(num protowire.Number, message []byte) bool {
		return (num == pairRequest || num == pairResponse) && anyBytes(message, func(num protowire.Number, value []byte) bool {
			return num == messageHead && is(value)
		})
	})
}

// anyBytes looks for a field that has a length; a field may stand there twice.
func anyBytes(message []byte, is func(protowire.Number, []byte) bool) bool {
	for len(message) > 0 {
		num, typ, n := protowire.ConsumeTag(message)
		if n < 0 {
			return true
		}
		message = message[n:]
		if typ == protowire.BytesType {
			value, n := protowire.ConsumeBytes(message)
			if n < 0 || is(num, value) {
				return true
			}
			message = message[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, message); n < 0 {
			return true
		}
		message = message[n:]
	}
	return false
}
