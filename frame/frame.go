// Package frame is the encoding of captured pairs on their way to rest. The
// forwarder makes a frame once for every batch that it accepts; spool, wire
// and store carry its bytes as they are.
//
// A frame is a head (a capturev1.FrameHead) and a body (a capturev1.FrameBody
// in one zstd frame, RFC 8878). The head tells what the body holds without
// opening it. The body is empty when no pair is in it. A head may instead
// declare batches lost (Condense).
package frame

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	capturev1 "github.com/weir-capture/weir/api/capture/v1"
)

// Limits of a frame.
const (
	// MaxPairs is the most pairs that one frame holds.
	MaxPairs = 64
	// MaxBodyLen bounds the body before compression, in bytes: what opening
	// a frame may cost in memory.
	MaxBodyLen = 64 << 20
	// EpochLen is the length of a source's epoch, in bytes.
	EpochLen = 16
)

// ErrMalformed: bytes that no Make has made. Errors of Head and Pairs wrap it.
var ErrMalformed = errors.New("malformed frame")

// deterministic: a frame that is made again of the same pairs has the same
// checksum.
var deterministic = proto.MarshalOptions{Deterministic: true}

// Make encodes pairs under head. Of head it sets what follows from the pairs:
// Pairs, BodyLen and, unless pairs is empty, TimeMin and TimeMax; the rest is
// the caller's and has to add up (received = pairs + filtered + dropped). Both
// results are new.
func Make(head *capturev1.FrameHead, pairs []*capturev1.RRPair) (headBytes, body []byte, err error) {
	return build(head, pairs, func() ([]byte, error) { return deterministic.Marshal(&capturev1.FrameBody{Pairs: pairs}) })
}

// Head decodes and checks a frame's head.
func Head(b []byte) (*capturev1.FrameHead, error) {
	h := new(capturev1.FrameHead)
	if err := proto.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("decode head: %w: %w", ErrMalformed, err)
	}
	if err := checkHead(h); err != nil {
		return nil, err
	}
	return h, nil
}

func checkHead(h *capturev1.FrameHead) error {
	if n := len(h.GetSource().GetEpoch()); n != EpochLen {
		return fmt.Errorf("%w: epoch of %d bytes", ErrMalformed, n)
	}
	sum := uint64(h.GetPairs())
	for _, n := range h.GetFiltered() {
		sum += uint64(n)
	}
	for _, n := range h.GetDropped() {
		sum += uint64(n)
	}
	switch {
	case sum != uint64(h.GetReceived()):
		return fmt.Errorf("%w: %d pairs received, %d accounted for", ErrMalformed, h.GetReceived(), sum)
	case h.GetPairs() > MaxPairs:
		return fmt.Errorf("%w: %d pairs", ErrMalformed, h.GetPairs())
	case h.GetBodyLen() > MaxBodyLen:
		return fmt.Errorf("%w: body of %d bytes", ErrMalformed, h.GetBodyLen())
	case IsLoss(h):
		return checkLoss(h)
	case h.GetLostReason() != "":
		return fmt.Errorf("%w: a reason for a loss and no lost batch", ErrMalformed)
	}
	return nil
}

// Pairs opens a body. head is what Head gave for the same frame. The pairs
// are the caller's.
func Pairs(head *capturev1.FrameHead, body []byte) ([]*capturev1.RRPair, error) {
	raw, err := open(head, body, nil, decoder)
	if err != nil {
		return nil, err
	}
	return Decode(head, raw)
}

// The coders hold tables that are dear to make and say nothing about any
// frame, so that one of each serves all; callers share a few workers, which
// also bounds what they take together. They start no goroutines. They are made
// with the program and not when they are first wanted, because they have
// channels: made in a bubble of testing/synctest they would be of no use
// outside of it.
var (
	encoder, encoderErr = newEncoder()
	decoder, decoderErr = newDecoder(false)
	// trusting does not look at zstd's checksum.
	trusting, trustingErr = newDecoder(true)
)

func workers() int { return min(runtime.GOMAXPROCS(0), 8) }

func newDecoder(trust bool) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers()), zstd.WithDecoderMaxMemory(MaxBodyLen), zstd.IgnoreChecksum(trust))
}

func newEncoder() (*zstd.Encoder, error) {
	// A single segment always says how long its content is; otherwise less
	// than 256 bytes would go without.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(workers()), zstd.WithSingleSegment(true))
	if err == nil {
		e.EncodeAll(nil, nil) // makes its channel
	}
	return e, err
}

func compress(raw []byte) ([]byte, error) {
	if encoderErr != nil {
		return nil, encoderErr
	}
	return encoder.EncodeAll(raw, make([]byte, 0, len(raw)/3+64)), nil
}

// decompress gives exactly want bytes or an error. What the body itself says
// about its length is looked at first: nothing is allocated on its word. buf is
// used when it is large enough.
func decompress(body []byte, want int, buf []byte, d *zstd.Decoder) ([]byte, error) {
	if want > MaxBodyLen {
		return nil, fmt.Errorf("body of %d bytes", want)
	}
	var h zstd.Header
	if err := h.Decode(body); err != nil {
		return nil, err
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(want) {
		return nil, fmt.Errorf("head says %d bytes, body says %d", want, h.FrameContentSize)
	}
	if err := errors.Join(decoderErr, trustingErr); err != nil {
		return nil, err
	}
	raw, err := d.DecodeAll(body, buf[:0])
	if err != nil {
		return nil, err
	}
	if len(raw) != want {
		return nil, fmt.Errorf("head says %d bytes, body holds %d", want, len(raw))
	}
	return raw, nil
}
